"""The preprocess stage as a user starts it: each fault ends in exit status 1, one clear message, and nothing half-written."""

import contextlib
import io
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HEAD = "fname,dialogue,summary,topic\n"
OLD = {"data/processed/train.jsonl": "earlier\n", "metrics/preprocess.json": "{}\n"}


def text(split: str, count: int = 3) -> str:
    lines = [
        f'{split}_{n},"#Person1#: {split} {n}번 문제 풀었어?\n#Person2#: 응, 풀었어.",#Person2#는 문제를 풀었습니다.,공부\n'
        for n in range(count)
    ]
    return HEAD + "".join(lines)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the stage needs, sound data, and the results of an earlier run."""
    for folder in ("src", "stages"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    params = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("dir: data/sample", "dir: data/raw")
    (tmp_path / "params.yaml").write_text(params, encoding="utf-8")
    (tmp_path / "data" / "raw").mkdir(parents=True)
    for split in ("train", "dev", "test"):
        (tmp_path / "data" / "raw" / f"{split}.csv").write_text(text(split), encoding="utf-8")
    for name, content in OLD.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


def run(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Starts in the copy, with the copy's own code: no PYTHONPATH leads elsewhere."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, *(command or ("-m", "stages.preprocess"))],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@dataclass
class Ended:
    """How a stage ended: what `subprocess.run` gives."""

    returncode: int
    stderr: str


def run_here(project: Path) -> Ended:
    """The stage as `run` starts it, but in this process, which takes a tenth of the time."""
    printed = io.StringIO()
    with contextlib.chdir(project), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(printed):
        try:
            runpy.run_path("stages/preprocess.py", run_name="__main__")
        except SystemExit as error:
            return Ended(1 if isinstance(error.code, str) else int(error.code or 0), f"{printed.getvalue()}{error.code or ''}")
    return Ended(0, printed.getvalue())


def results(project: Path) -> dict[str, str]:
    """Every file below data/ and metrics/ but the input."""
    files = [path for top in ("data", "metrics") for path in (project / top).rglob("*") if path.is_file()]
    names = {str(path.relative_to(project)): path for path in files if "raw" not in path.parts}
    return {name: path.read_text(encoding="utf-8") for name, path in sorted(names.items())}


def edit(name: str, change: Callable[[str], str | bytes]) -> Callable[[Path], object]:
    """A fault: the file's text changed, or its bytes."""

    def apply(project: Path) -> None:
        new = change((project / name).read_text(encoding="utf-8"))
        (project / name).write_bytes(new.encode() if isinstance(new, str) else new)

    return apply


def train(change: Callable[[str], str | bytes]) -> Callable[[Path], object]:
    return edit("data/raw/train.csv", change)


def params(old: str, new: str) -> Callable[[Path], object]:
    return edit("params.yaml", lambda t: t.replace(old, new, 1))


FAULTS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "missing file": (lambda p: (p / "data/raw/dev.csv").unlink(), ["data/raw/dev.csv: no such file"]),
    "missing column": (
        train(lambda t: t.replace(",summary,", ",abstract,")),
        ["train.csv:1: no column summary; the columns are: fname, dialogue, abstract, topic", "rename abstract to summary?"],
    ),
    "CP949": (train(lambda t: t.encode("cp949")), ["train.csv:2: not UTF-8", "CP949", "iconv"]),
    "UTF-16": (train(lambda t: t.encode("utf-16")), ["train.csv:1: this is UTF-16"]),
    "unbalanced quote": (train(lambda t: t + '끝,"#Person1#: 안녕,요약,주제\n'), ["train.csv:8: an unbalanced quote"]),
    "missing cells": (train(lambda t: t + "train_9,#Person1#: 안녕\n"), ["train.csv:8 (fname train_9): 2 cells"]),
    "empty file": (train(lambda _: ""), ["train.csv: the file is empty"]),
    "header only": (train(lambda _: HEAD), ["train.csv: a header, but no rows"]),
    "NUL byte": (train(lambda t: t.replace("공부", "공\0부", 1)), ["train.csv:3: a NUL byte"]),
    "empty dialogue": (train(lambda t: t + "train_9,,요약은 있다.,\n"), ["train.csv:8 (fname train_9): empty_dialogue"]),
    "empty summary": (train(lambda t: t + "train_9,#Person1#: 안녕, ,\n"), ["train.csv:8 (fname train_9): empty_summary"]),
    "no speaker": (train(lambda t: t + "train_9,안녕하세요?,인사.,\n"), ["train.csv:8 (fname train_9): no_speaker"]),
    "control character": (
        train(lambda t: t + "train_9,#Person1#: 안\x1b녕,인사.,\n"),
        ["train.csv:8 (fname train_9): control_character"],
    ),
    "100,000 characters": (
        train(lambda t: t + f"train_9,#Person1#: {'가' * 100_000},인사.,\n"),
        ["train.csv:8 (fname train_9): too_long"],
    ),
    "duplicate fname": (train(lambda t: t + "train_0,#Person1#: 안녕,인사.,\n"), ["train.csv:8 (fname train_0)", "line 2"]),
    "dialogue of train in test": (
        edit("data/raw/test.csv", lambda t: t.replace("test 1번", "train 1번")),
        ["data/raw/test.csv:4 (fname test_1): the same dialogue as data/raw/train.csv:4 (fname train_1)"],
    ),
    "typo in the params": (params("  noise:", "  noize:"), ["preprocess.noize: unknown key (did you mean preprocess.noise?)"]),
    "wrong type in the params": (
        params("seed: 42 # Seed of the order", "seed: true # Seed of the order"),
        ["training.seed: input should be a valid integer (is True)"],
    ),
    "min over max tokens": (
        params("min_new_tokens: 0", "min_new_tokens: 101"),
        ["generation.min_new_tokens: 101 is more than"],
    ),
    "no params": (lambda p: (p / "params.yaml").unlink(), ["params.yaml: there is no such file here"]),
    "a file as data.dir": (params("dir: data/raw", "dir: data/raw/train.csv"), ["data/raw/train.csv is not a folder"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_in_one_message_and_nothing_half_written(project: Path, fault: str) -> None:
    make, said = FAULTS[fault]
    make(project)
    ended = run_here(project)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("error: ") == 1
    assert ended.stderr.startswith("error: ")
    assert len(ended.stderr) < 1000
    assert [part for part in said if part not in ended.stderr] == []
    left = results(project)
    rejects = left.pop("data/rejects/rows.jsonl", "")  # whole: each line is a row with its reason
    assert left == OLD
    assert all(json.loads(line)["reason"] for line in rejects.splitlines())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.encode("utf-8-sig"), ""),
        (lambda t: t.replace(",", ";"), 'data/raw/train.csv: the columns are separated by ";"\n'),
        (lambda t: "sep=\t\n" + t.replace(",", "\t"), "data/raw/train.csv: the columns are separated by tab\n"),
        (lambda t: re.sub(r"(?m)(\.|topic|공부)$", r"\1,,", t), "data/raw/train.csv: 2 columns without a name left out\n"),
        (lambda t: t + ",,,\n\n", "data/raw/train.csv: 2 blank rows skipped\n"),
    ],
)
def test_a_file_of_another_program_gives_the_same_bytes(project: Path, change: Callable[[str], str | bytes], told: str) -> None:
    text = (project / "data/raw/train.csv").read_text(encoding="utf-8").replace("응, 풀", "응. 풀")
    (project / "data/raw/train.csv").write_text(text, encoding="utf-8")
    run_here(project)
    expected = results(project)
    train(change)(project)
    ended = run_here(project)
    assert (ended.returncode, ended.stderr) == (0, told)
    assert results(project) == expected


def test_without_a_fault_it_ends_well(project: Path) -> None:
    """Else the faults above would prove nothing."""
    ended = run(project)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert set(results(project).values()).isdisjoint(OLD.values())
    assert sorted(results(project)) == [
        "data/processed/SHA256SUMS",
        "data/processed/dev.jsonl",
        "data/processed/test.jsonl",
        "data/processed/train.jsonl",
        "data/rejects/rows.jsonl",
        "metrics/preprocess.json",
    ]


@pytest.mark.parametrize("nth", [1, 4, 7])
def test_a_full_disk_ends_in_one_message_and_leaves_no_part(project: Path, nth: int) -> None:
    """The disk is full at the nth file that is to be brought to it."""
    program = (
        "import itertools, os, runpy\n"
        "real, calls = os.fsync, itertools.count(1)\n"
        "def full(file):\n"
        f"    if next(calls) >= {nth}:\n"
        "        raise OSError(28, 'No space left on device')\n"
        "    real(file)\n"
        "os.fsync = full\n"
        "runpy.run_module('stages.preprocess', run_name='__main__')\n"
    )
    ended = run(project, "-c", program)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: the disk is full")
    assert "Traceback" not in ended.stderr
    left = results(project)
    left.pop("data/rejects/rows.jsonl", None)
    assert left == OLD
