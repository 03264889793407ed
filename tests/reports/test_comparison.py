"""Comparison of the runs of a real repository with git and DVC: workspace, commits and experiments."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from dvc.repo import Repo

from yoyak.reports.comparison import compare_runs, comparison_table
from yoyak.reports.runs import Run, find_revision
from yoyak.system.errors import YoyakError
from yoyak.system.timings import record_seconds

ROWS = 40
SIGNATURE = "tok:mecab|references:mean"


def git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def write_run(root: Path, repo: Repo, *, raised: float, beams: int, signature: str = SIGNATURE, rows: int = ROWS) -> str:
    """Write the files of a run, keep the large ones in DVC's cache, and commit."""
    generator = np.random.default_rng(0)
    values = generator.normal(60, 5, rows)
    values = values + raised * generator.random(rows)
    lines = [f"dev_{index},{value:.4f},{3 * value:.4f}" for index, value in enumerate(values)]
    files = {
        "metrics/per_dialogue.csv": "\n".join(["fname,rouge1,rouge_sum", *lines]) + "\n",
        "data/processed/dev.jsonl": "".join(
            json.dumps({"fname": f"dev_{index}", "references": ["요약"]}, ensure_ascii=False) + "\n" for index in range(rows)
        ),
        "metrics/scores.json": json.dumps({"signature": f"{signature}|decoding:num_beams={beams}", "price": 0.25}),
        "models/kobart/SHA256SUMS": f"{beams}  model.safetensors\n",
        "params.yaml": yaml.safe_dump({"model": {"family": "kobart"}, "generation": {"num_beams": beams, "stop": []}}),
        "dvc.lock": yaml.safe_dump({"stages": {"train": {"outs": [{"path": "models/kobart", "size": 2_000_000}]}}}),
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    repo.add([str(root / path) for path in ("metrics/per_dialogue.csv", "data/processed/dev.jsonl", "models/kobart")])
    git(root, "add", "-A")
    git(root, "commit", "-qm", "run")
    return git(root, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Repo]:
    for key, value in {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "t@t")
    git(tmp_path, "init", "-q")
    return tmp_path, Repo.init(str(tmp_path))


def compare(root: Path, *names: str) -> Any:
    return compare_runs([Run.find(root, name) for name in names], samples=500)


def test_commits_experiments_and_the_workspace_are_compared(
    repository: tuple[Path, Repo], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, repo = repository
    first = write_run(root, repo, raised=0, beams=1)
    experiment = write_run(root, repo, raised=8, beams=4)
    monkeypatch.setenv("YOYAK_CHECKPOINTS", str(root / ".checkpoints"))
    record_seconds(root / "models/kobart", 12.5)
    git(root, "update-ref", f"refs/exps/{first[:2]}/{first[2:]}/beams-4", experiment)
    git(root, "update-ref", "refs/exps/exec/EXEC_HEAD", first)  # DVC's own, no experiment
    git(root, "reset", "-q", "--hard", first)
    repo.checkout()
    comparison = compare(root, "workspace", "beams-4", first)
    results = comparison.results["rouge_sum"]
    assert results["beams-4"].verdict == "better" and results["beams-4"].losses == 0
    assert results[first].verdict == "no difference shown" and results[first].difference == 0
    assert list(comparison.results) == ["rouge1", "rouge_sum"]
    assert comparison.params == {"generation.num_beams": [1, 4, 1]}
    assert comparison.costs["beams-4"] == {
        "train_seconds": 12.5,
        "seconds_a_dialogue": None,  # nothing is known of these files on this machine
        "model_megabytes": 2.0,
        "price": 0.25,
    }
    assert comparison.costs[first]["train_seconds"] is None, "another model"
    table = comparison_table(comparison)
    costs = [line.split() for line in table.splitlines() if line.startswith(("cost", "beams-4 "))]
    assert costs[-2:] == [
        ["cost", "train", "s", "s/dialogue", "model", "MB", "price"],
        ["beams-4", "12.5", "-", "2.0", "0.2500"],
    ]
    assert "better" in table and "generation.num_beams  1" in table and "corrected for the number of runs (Holm)" in table
    assert json.loads(json.dumps(comparison.to_json()))["metrics"]["rouge_sum"]["beams-4"]["verdict"] == "better"


def test_runs_that_cannot_be_compared_are_refused(repository: tuple[Path, Repo]) -> None:
    root, repo = repository
    first = write_run(root, repo, raised=0, beams=1)
    shorter = write_run(root, repo, raised=0, beams=1, rows=ROWS - 1)
    otherwise = write_run(root, repo, raised=0, beams=1, signature="tok:words")
    with pytest.raises(YoyakError, match=rf"{shorter}: other dev dialogues .*: 0 are only in {shorter}, 1 only in {first}"):
        compare(root, first, shorter)
    with pytest.raises(YoyakError, match=r"scored otherwise[^~]*tok:words[^~]*tok:mecab"):
        compare(root, first, otherwise)
    (root / "data/processed/dev.jsonl").write_text('{"fname": "dev_0", "references": ["다른 요약"]}\n', encoding="utf-8")
    (root / "metrics/per_dialogue.csv").write_text("fname,rouge_sum\ndev_0,5\n", encoding="utf-8")
    (root / "metrics/scores.json").write_text(json.dumps({"signature": "tok:words|decoding:x"}))
    with pytest.raises(YoyakError, match=r"39 only in|38 only in"):
        compare(root, otherwise, "workspace")


def test_other_references_are_refused(repository: tuple[Path, Repo]) -> None:
    root, repo = repository
    first = write_run(root, repo, raised=0, beams=1)
    path = root / "data/processed/dev.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("요약", "다른 요약", 1), encoding="utf-8")
    with pytest.raises(YoyakError, match=rf"workspace: 1 dialogues have other references than in {first} \(the first is dev_0"):
        compare(root, first, "workspace")


def test_what_is_missing_is_named_with_what_to_do(repository: tuple[Path, Repo]) -> None:
    root, repo = repository
    first = write_run(root, repo, raised=0, beams=1)
    git(root, "update-ref", f"refs/exps/{first[:2]}/{first[2:]}/mine", first)
    with pytest.raises(YoyakError, match="nothing: no experiment, branch, tag or commit of this name; experiments here: mine"):
        find_revision(root, "nothing")
    (root / "metrics/scores.json").unlink()
    with pytest.raises(YoyakError, match=r"metrics/scores.json: no such file; `dvc repro` writes it"):
        _ = Run.find(root, "workspace").scores
    (root / "metrics/scores.json").write_text('{"pruned": "after epoch 1"}')
    with pytest.raises(YoyakError, match=r"workspace: the search ended this trial early.*after epoch 1"):
        _ = Run.find(root, "workspace").scores
    for file in (root / ".dvc/cache/files").rglob("*"):
        if file.is_file():
            file.chmod(0o644)
            file.unlink()
    (root / "metrics/per_dialogue.csv").unlink()
    with pytest.raises(YoyakError, match=r"mine: metrics/per_dialogue.csv is not there; .*dvc exp pull REMOTE mine"):
        _ = Run.find(root, "mine").row_scores


def test_an_experiment_name_that_two_commits_have_means_that_of_head(repository: tuple[Path, Repo]) -> None:
    root, repo = repository
    first = write_run(root, repo, raised=0, beams=1)
    second = write_run(root, repo, raised=1, beams=1)
    third = write_run(root, repo, raised=2, beams=1)
    git(root, "update-ref", f"refs/exps/{first[:2]}/{first[2:]}/mine", second)
    git(root, "update-ref", f"refs/exps/{second[:2]}/{second[2:]}/mine", third)
    git(root, "reset", "-q", "--hard", second)
    assert find_revision(root, "mine") == third
    git(root, "reset", "-q", "--hard", third)
    hashes = ", ".join(sorted([second[:7], third[:7]]))
    with pytest.raises(YoyakError, match=f"mine: 2 experiments have this name; use a hash: {hashes}"):
        find_revision(root, "mine")
