"""`yoyak ensemble` with the real DVC, git and pipeline: a kill, an applied experiment, folds, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipeline.repository import command, commit, copy_repository, environment, reset
from yoyak.system.checksums import write_checksums

pytestmark = [pytest.mark.slow, pytest.mark.very_slow]


def yoyak(folder: Path, *words: str, fails: bool = False) -> str:
    return command(folder, sys.executable, "-m", "yoyak", *words, fails=fails, PYTHONPATH="src")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the experiments m1, m2, m3 (one model, three decodings) and f1, f2 (two folds)."""
    folder = tmp_path_factory.mktemp("ensemble") / "repository"
    folder.mkdir()
    copy_repository(folder)
    command(folder, "dvc", "exp", "run", "-S", "generation.backend=transformers", "-S", "training.num_train_epochs=1")
    commit(folder, "run")
    settings: dict[str, tuple[str, ...]] = {f"m{number}": (f"generation.min_new_tokens={2 * number}",) for number in (1, 2, 3)}
    settings |= {f"f{number}": ("data.folds=2", f"data.fold={number}") for number in (1, 2)}
    for name, changes in settings.items():
        command(folder, "dvc", "exp", "run", "-n", name, *(word for change in changes for word in ("-S", change)))
        reset(folder)
    return folder


def experiments(folder: Path) -> str:
    return command(folder, "git", "for-each-ref", "--format=%(refname)", "refs/exps")


def predictions(folder: Path) -> list[str]:
    return (folder / "data/predictions/dev.csv").read_text(encoding="utf-8").splitlines()


def without_stored_summaries(folder: Path) -> None:
    """Take the summaries of dev out of a consensus in the workspace, so that its members must write them."""
    path = folder / "models/ensemble/summaries.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.chmod(0o644)
    path.write_text("".join(line for line in lines if '"dev' not in line[:20]), encoding="utf-8")
    write_checksums(path.parent)


def test_a_killed_ensemble_leaves_nothing_and_the_same_command_makes_it(repository: Path) -> None:
    words = ["ensemble", "three", "m1", "m2", "m3"]
    process = subprocess.Popen(
        [sys.executable, "-m", "yoyak", *words],
        cwd=repository,
        env={**environment(), "PYTHONPATH": "src"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    log = repository / ".searches/logs/three.log"
    deadline = time.monotonic() + 300
    while "Running stage 'ensemble'" not in (log.read_text(encoding="utf-8") if log.is_file() else ""):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert "/three" not in experiments(repository)
    assert "ensemble" in yoyak(repository, *words)
    assert "/three" in experiments(repository)
    assert list((repository / ".searches/workers").iterdir()) == [], "no copy of the repository is left"
    assert command(repository, "git", "status", "--porcelain") == ""
    assert "three is there already" in yoyak(repository, *words)
    assert "another experiment has this name" in yoyak(repository, "ensemble", "three", "m2", "m1", "m3", fails=True)


def test_an_applied_ensemble_has_nothing_to_do(repository: Path) -> None:
    command(repository, "dvc", "exp", "apply", "three")
    try:
        assert "Running stage" not in command(repository, "dvc", "repro")
        report = json.loads((repository / "metrics/ensemble.json").read_text(encoding="utf-8"))
        scores = json.loads((repository / "metrics/scores.json").read_text(encoding="utf-8"))
        assert report["rouge_sum"] == pytest.approx(scores["rouge_sum"], abs=1e-3), "predict chooses as the stage has scored"
        assert len(report["members"]) == 3 and report["held_out"]["optimism"] == pytest.approx(0, abs=1e-3)
        new = "#Person1#: 처음 하는 말\\n#Person2#: 그래?"
        by_members = command(repository, "sh", "-c", f"printf '{new}' | python -m yoyak summarize", PYTHONPATH="src")
        assert by_members.strip()
        written = predictions(repository)
        without_stored_summaries(repository)
        yoyak(repository, "summarize", "data/sample/dev.csv", "--output", "summaries.csv")
        summaries = (repository / "summaries.csv").read_text(encoding="utf-8").splitlines()
        assert summaries == written, "the members write again what they wrote in their own runs"
        assert "a package holds one model" in yoyak(repository, "package", fails=True)
    finally:
        (repository / "summaries.csv").unlink(missing_ok=True)
        reset(repository)


@pytest.mark.parametrize("method", ["average_weights", "average_probabilities"])
def test_a_model_and_itself_write_what_it_writes(repository: Path, method: str) -> None:
    yoyak(repository, "ensemble", method.replace("_", "-"), "m1", "m2", "--method", method, "-S", "model.ensemble.halvings=1")
    command(repository, "dvc", "exp", "apply", "m1")
    alone = predictions(repository)
    reset(repository)
    command(repository, "dvc", "exp", "apply", method.replace("_", "-"))
    try:
        assert predictions(repository) == alone
        assert "Running stage" not in command(repository, "dvc", "repro")
        assert yoyak(repository, "summarize", "data/sample/test.csv", "--output", "summaries.csv")
    finally:
        (repository / "summaries.csv").unlink(missing_ok=True)
        reset(repository)


@pytest.mark.parametrize("method", ["consensus", "average_weights"])
def test_folds_work_together_on_the_dev_that_none_has_read(repository: Path, method: str) -> None:
    name = f"folds-{method.replace('_', '-')}"
    yoyak(repository, "ensemble", name, "f1", "f2", "--method", method, "-S", "model.ensemble.facts=1")
    command(repository, "dvc", "exp", "apply", name)
    try:
        dev = (repository / "data/sample/dev.csv").read_text(encoding="utf-8")
        assert all(line.split(",")[0] in dev for line in predictions(repository))
        assert "folds: 0" in (repository / "params.yaml").read_text(encoding="utf-8")
    finally:
        reset(repository)


def test_what_cannot_be_a_member_is_refused(repository: Path) -> None:
    yoyak(repository, "ensemble", "x", "m1", fails=True)
    assert "no experiment, branch, tag or commit" in yoyak(repository, "ensemble", "x", "m1", "m9", fails=True)
    assert "the same run as m1" in yoyak(repository, "ensemble", "x", "m1", "m1", fails=True)
    assert "always agree equally" in yoyak(repository, "ensemble", "x", "m1", "m2", fails=True)
    assert "workspace: its files can change" in yoyak(repository, "ensemble", "x", "m1", "workspace", fails=True)
    assert "/x" not in experiments(repository)
