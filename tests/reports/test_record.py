"""Records of experiments: the facts are right, a second call changes nothing that a person wrote, and the index lists them."""

import contextlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from yoyak.cli.main import main as command
from yoyak.reports.record import BEGIN, END, Record, record_path, write_record
from yoyak.reports.record_index import write_index
from yoyak.reports.runs import Run
from yoyak.system.errors import YoyakError

ROWS = 40


def write_run(root: Path, *, raised: float = 0.0, system: Any = None, **changes: Any) -> None:
    """The files of a run, with `raised` more in every row's rouge_sum, and other params."""
    values = np.random.default_rng(0).normal(180, 9, ROWS) + raised
    judge = ["" if row % 4 else f"{3 + row % 3}" for row in range(ROWS)]  # of a sample of the rows
    lines = [f"dev_{row},{value:.4f},{mean}" for row, (value, mean) in enumerate(zip(values, judge, strict=True))]
    mean = float(values.mean())
    scores = {
        "rouge_sum": mean,
        "content": {"rouge_sum": mean - 50},
        "interval": {"rouge_sum": [mean - 3, mean + 3], "content": {"rouge_sum": [mean - 54, mean - 46]}},
        "baselines": {"medoid": {"rouge_sum": 118.67, "content": {"rouge_sum": 53.3}}},
        "signature": "tok:mecab|references:mean|decoding:num_beams=4",
        "judge": {"mean": 4.0, "interval": {"mean": [3.5, 4.5]}, "signature": "judge:x"},
    }
    params = {"model": {"family": "kobart"}, "prompt": {"system": system}, "generation": {"num_beams": 4} | changes}
    files = {
        "metrics/per_dialogue.csv": "\n".join(["fname,rouge_sum,judge_mean", *lines]) + "\n",
        "data/processed/dev.jsonl": "".join(
            json.dumps({"fname": f"dev_{row}", "references": ["요약"]}, ensure_ascii=False) + "\n" for row in range(ROWS)
        ),
        "metrics/scores.json": json.dumps(scores),
        "params.yaml": yaml.safe_dump(params),
        "dvc.lock": yaml.safe_dump({"stages": {"train": {"outs": [{"path": "models/kobart", "size": 2_000_000}]}}}),
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


def record(tmp_path: Path, **changes: Any) -> Record:
    write_run(tmp_path / "parent")
    write_run(tmp_path / "child", **({"raised": 5.0, "num_beams": 8} | changes))
    runs = (Run(tmp_path / name, name, None) for name in ("child", "parent"))
    return Record.of(*runs, samples=200, seed=0)


def test_the_facts_of_a_record(tmp_path: Path) -> None:
    page = tmp_path / "child.md"
    assert write_record(page, record(tmp_path), language="en")
    text = page.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        *("## Purpose", "## Hypothesis", "## Settings that differ from the parent", "## Result", "## Cost", "## Insight"),
        "## Next",
    ]
    assert text.count("> **WRITE HERE**: ") == 4
    assert "| `generation.num_beams` | `4` | `8` |" in text
    mean = np.random.default_rng(0).normal(180, 9, ROWS).mean() + 5
    assert f"| `rouge_sum` | {mean:.2f} | [{mean - 3:.2f}, {mean + 3:.2f}] | 118.67 |" in text
    assert f"| `content.rouge_sum` | {mean - 50:.2f} | [{mean - 54:.2f}, {mean - 46:.2f}] | 53.30 |" in text
    assert "| `judge.mean` | 4.00 | [3.50, 4.50] | - |" in text
    assert f"| `rouge_sum` | {mean - 5:.2f} | {mean:.2f} | +5.00 | [+5.00, +5.00] | 0.0050 | better |" in text
    assert "By `rouge_sum`: better in 40 dialogues, worse in 0, equal in 0." in text
    assert "| `judge_mean` | 3.90 | 3.90 | +0.00 | [+0.00, +0.00] | 1.0000 | no difference shown |" in text
    assert "| megabytes of the model | 2 | 2 |" in text


def test_values_of_another_model_are_not_compared(tmp_path: Path) -> None:
    write_run(tmp_path / "parent")
    write_run(tmp_path / "child")
    path = tmp_path / "child/metrics/scores.json"
    path.write_text(path.read_text(encoding="utf-8").replace("judge:x", "judge:y"), encoding="utf-8")
    runs = (Run(tmp_path / name, name, None) for name in ("child", "parent"))
    comparison = Record.of(*runs, samples=50, seed=0).comparison
    assert comparison and set(comparison.results) == {"rouge_sum"}


def test_what_a_person_wrote_is_kept_byte_by_byte(tmp_path: Path) -> None:
    page = tmp_path / "child.md"
    write_record(page, record(tmp_path), language="ko")
    text = page.read_text(encoding="utf-8")
    start, end = text.index(BEGIN), text.index(END) + len(END)
    before = text[:start].replace("> **여기에 쓰기**: 이 실험이", "빔 8개가 나은가?\n\n이 실험이")
    written = before + text[start:end] + text[end:] + "\n## 부록\n\n내 표 |\r\n끝"
    page.write_bytes(written.encode())
    assert not write_record(page, record(tmp_path, raised=-7.0), language=None)
    changed = page.read_bytes().decode()
    assert changed.startswith(before) and changed.endswith(text[end:] + "\n## 부록\n\n내 표 |\r\n끝")
    assert "-7.00" in changed and "| 나쁨 |" in changed and "+5.00" not in changed, "in the language of the page"
    write_record(page, record(tmp_path, raised=-7.0), language=None)
    assert page.read_bytes().decode() == changed


@pytest.mark.parametrize("damage", [(END, ""), (BEGIN, "<!--"), (END, f"{END}\n{END}")])
def test_a_page_without_its_markers_is_not_touched(tmp_path: Path, damage: tuple[str, str]) -> None:
    page = tmp_path / "child.md"
    write_record(page, record(tmp_path), language="en")
    page.write_text(page.read_text(encoding="utf-8").replace(*damage), encoding="utf-8")
    before = page.read_bytes()
    with pytest.raises(YoyakError, match=r"child\.md: has .* begin lines and .* Nothing is changed"):
        write_record(page, record(tmp_path), language="en")
    assert page.read_bytes() == before


def test_values_cannot_break_the_page(tmp_path: Path) -> None:
    hostile = f"a|b `c`\n{END}\n<!-- x --> 끝"
    page = tmp_path / "child.md"
    for _ in range(2):
        write_record(page, record(tmp_path, system=hostile), language="en")
    text = page.read_text(encoding="utf-8")
    assert text.count(END) == 1
    assert r"| `prompt.system` | - | `a\|b 'c' <! -- yoyak record: facts end --> <! -- x --> 끝` |" in text


def test_without_a_parent_nothing_is_compared(tmp_path: Path) -> None:
    write_run(tmp_path)
    page = tmp_path / "first.md"
    write_record(page, Record.of(Run(tmp_path, "workspace", None), None, samples=50, seed=0), language="en")
    text = page.read_text(encoding="utf-8")
    assert "There is no parent to compare with." in text and "Against" not in text and "118.67" in text


def test_a_run_is_not_its_own_parent(tmp_path: Path) -> None:
    run = Run(tmp_path, "workspace", None)
    with pytest.raises(YoyakError, match="are one run"):
        Record.of(run, run, samples=50, seed=0)


@pytest.mark.parametrize(
    ("name", "file"), [("beam1", "beam1.md"), ("team/beam1", "team-beam1.md"), ("HEAD~1", "HEAD~1.md"), ("실험1", "실험1.md")]
)
def test_names_of_pages(name: str, file: str) -> None:
    assert record_path(name) == Path("docs/experiments") / file


@pytest.mark.parametrize("name", ["index", "../x", ".hidden", "a b"])
def test_names_that_are_no_pages(name: str) -> None:
    with pytest.raises(YoyakError, match="--name"):
        record_path(name)


def test_the_index_lists_the_records_and_keeps_other_text(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    folder.mkdir()
    index = write_index(folder, language="en")
    assert "No record yet" in index.read_text(encoding="utf-8")
    index.write_text(
        index.read_text(encoding="utf-8").replace("# Experiments", "# 우리 실험") + "\n끝에 쓴 글\n", encoding="utf-8"
    )
    write_record(folder / "child.md", record(tmp_path), language="en")
    (folder / "notes.md").write_text("# 기록이 아닌 글\n", encoding="utf-8")
    text = write_index(folder, language=None).read_text(encoding="utf-8")
    assert text.startswith("# 우리 실험\n") and text.endswith("\n끝에 쓴 글\n")
    assert "| [child](child.md) | - | - |" in text and "| `parent` | +5.00 | better |" in text
    assert "notes" not in text


@pytest.mark.slow
def test_the_command_compares_a_commit_with_the_one_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def git(*args: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
        done = subprocess.run(["git", *identity, *args], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    from dvc.repo import Repo

    git("init", "-q")
    Repo.init(str(tmp_path)).close()
    for raised in (0.0, 5.0):
        write_run(tmp_path, raised=raised)
        git("add", "-A")
        git("commit", "-qm", "run")
    short = git("rev-parse", "--short", "HEAD~1")
    with contextlib.chdir(tmp_path):
        command(["record", "HEAD", "--name", "five", "--samples", "100", "--language", "en"])
        command(["record", "HEAD~1", "--name", "first", "--samples", "100"])
    printed = capsys.readouterr().out
    assert "docs/experiments/five.md: new; write purpose, hypothesis, insight and next" in printed
    text = (tmp_path / "docs/experiments/five.md").read_text(encoding="utf-8")
    assert f"parent `{short}`" in text and "| +5.00 | [+5.00, +5.00] |" in text
    first = (tmp_path / "docs/experiments/first.md").read_text(encoding="utf-8")
    assert "비교할 부모가 없다." in first, "it is the first commit"
    table = (tmp_path / "docs/experiments/index.md").read_text(encoding="utf-8")
    assert "[five](five.md)" in table and "[first](first.md)" in table
