"""Beginning a study and opening one that was begun before."""

import subprocess
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.search.fakes import (
    BEAMS,
    CONTINUOUS,
    RATE,
    FakeClone,
    open_only,
    plan_of,
    run,
    trials,
)
from yoyak.search import study_setup
from yoyak.system.errors import YoyakError


def test_a_study_does_not_continue_with_another_plan(root: Path, clone: type[FakeClone]) -> None:
    run(root, plan_of(CONTINUOUS))
    for other in (
        plan_of({BEAMS: {"low": 1, "high": 2}}),
        plan_of(CONTINUOUS, seeds=2),
        plan_of(CONTINUOUS, objectives=["rouge1"]),
        plan_of(CONTINUOUS, set={RATE: 0.1}),
    ):
        with pytest.raises(YoyakError, match="study s was begun with other"):
            run(root, other)
    assert len(clone.runs) == 4


def test_a_study_continues_with_the_params_it_began_with(root: Path, clone: type[FakeClone], capsys: Any) -> None:
    run(root, plan_of({BEAMS: {"low": 1, "high": 8}}, trials=1))
    text = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(text.replace("num_beams: 4", "num_beams: 8"), encoding="utf-8")
    subprocess.run(["git", "commit", "-qam", "another day"], cwd=root, check=True)
    opened = run(root, plan_of({BEAMS: {"low": 1, "high": 8}}, trials=3))
    assert opened.base.values["generation"]["num_beams"] == 4
    assert "continues with the files of commit" in capsys.readouterr().out


def test_uncommitted_changes_are_part_of_the_study(root: Path, clone: type[FakeClone]) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(text.replace("num_beams: 4", "num_beams: 7"), encoding="utf-8")
    opened = run(root, plan_of({BEAMS: {"low": 1, "high": 8}}, trials=1))
    assert trials(opened)[0].params == {BEAMS: 7}
    subprocess.run(["git", "checkout", "-q", "."], cwd=root, check=True)
    subprocess.run(["git", "gc", "-q", "--prune=now"], cwd=root, check=True)
    assert run(root, plan_of({BEAMS: {"low": 1, "high": 8}}, trials=2)).base.values["generation"]["num_beams"] == 7


def test_experiments_of_another_study_are_not_overwritten(root: Path, clone: type[FakeClone]) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/s-t0000", head], cwd=root, check=True)
    with pytest.raises(YoyakError, match="experiments s-t"):
        run(root, plan_of(CONTINUOUS))
    run(root, plan_of(CONTINUOUS), name="s2")


def test_a_study_that_yoyak_did_not_begin_is_left_alone(root: Path, clone: type[FakeClone]) -> None:
    (root / ".searches").mkdir()
    theirs = optuna.create_study(study_name="s", storage=f"sqlite:///{root}/.searches/studies.db", direction="maximize")
    theirs.tell(theirs.ask(), 1.0)
    with pytest.raises(YoyakError, match="that yoyak did not begin"):
        run(root, plan_of(CONTINUOUS))
    assert len(theirs.trials) == 1


def test_a_study_that_another_worker_begins_at_the_same_moment_is_joined(
    root: Path, clone: type[FakeClone], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another machine, after this worker has looked and found nothing."""
    begun = run(root, plan_of(CONTINUOUS))
    monkeypatch.setattr(study_setup, "_load_begun_study", lambda *_: None)
    subprocess.run(["git", "commit", "-qm", "later", "--allow-empty"], cwd=root, check=True)
    joined = open_only(root, plan_of(CONTINUOUS))
    assert len(joined.study.trials) == len(begun.study.trials) > 0
    assert joined.snapshot == begun.snapshot, "the files that the study began with stay"


def test_no_study_begins_with_an_unknown_parameter(root: Path, clone: type[FakeClone]) -> None:
    with pytest.raises(YoyakError, match=r"training\.learnin_rate: params\.yaml has no such key"):
        run(root, plan_of({"training.learnin_rate": {"low": 0.1, "high": 1}}))
    assert not clone.runs
    with pytest.raises(KeyError):
        optuna.load_study(study_name="s", storage=f"sqlite:///{root}/.searches/studies.db")


def test_a_length_beyond_the_models_positions_stops_before_the_first_trial(
    root: Path, clone: type[FakeClone], tiny: Path
) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("models/base/kobart-tiny", str(tiny)).replace("max_input_length: 512", "max_input_length: 200")
    (root / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(YoyakError, match=r"tokenizer\.max_input_length: 1024 is more than the 256 positions"):
        run(root, plan_of({"tokenizer.max_input_length": {"choices": [128, 1024]}}))
    assert not clone.runs


def test_data_that_a_clone_would_not_have_is_named(root: Path, clone: type[FakeClone]) -> None:
    for name in ("train", "dev", "test"):
        (root / "data/raw").mkdir(parents=True, exist_ok=True)
        (root / f"data/raw/{name}.csv").write_text("fname\n", encoding="utf-8")
    plan = plan_of(CONTINUOUS, trials=1, set={"data.dir": "data/raw"})
    with pytest.raises(YoyakError, match=r"data\.dir: neither git nor DVC tracks data/raw"):
        run(root, plan)
    with pytest.raises(YoyakError, match=r"data\.dir: neither git nor DVC tracks \.\./"):
        run(root, plan_of(CONTINUOUS, trials=1, set={"data.dir": f"../{root.name}/data"}))
    (root / "data/raw.dvc").write_text("outs: []\n", encoding="utf-8")
    subprocess.run(["git", "add", "data/raw.dvc"], cwd=root, check=True)
    run(root, plan)
    assert len(clone.runs) == 1
