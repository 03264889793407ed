"""Cross-validation: the plan, the numbers over folds, and the files. `tests/search` holds how a plan runs and goes on."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest

from tests.conftest import ROOT
from yoyak.cli.main import main
from yoyak.reports import folds
from yoyak.reports.folds import Fold, fold_interval, folds_plan, folds_table, study_name, summarize_folds, write_folds
from yoyak.system.errors import YoyakError


def make_fold(number: int, scores: list[float]) -> Fold:
    fnames = [f"train_{number}_{row}" for row in range(len(scores))]
    values = {metric: np.array(scores) + place for place, metric in enumerate(folds.METRICS)}
    return Fold(number, f"folds3-abc-t000{number - 1}", fnames, values, {fname: f"{fname}의 요약" for fname in fnames})


FOLDS = [make_fold(1, [10.0, 20.0, 30.0, 40.0]), make_fold(2, [20.0, 40.0, 60.0]), make_fold(3, [22.0, 24.0, 26.0, 28.0])]


def test_the_interval_over_folds_is_that_of_student() -> None:
    """Means 25, 40 and 25: mean 30, standard error 5. The quantile of t with two degrees of freedom is 4.302653."""
    assert fold_interval([25.0, 40.0, 25.0]) == pytest.approx((30 - 4.302653 * 5, 30 + 4.302653 * 5), rel=1e-6)


def test_the_summary_has_folds_and_dialogues() -> None:
    summary = summarize_folds(FOLDS, samples=200, seed=1)
    first = summary["metrics"]["rouge1"]
    assert first["folds"] == [25, 40, 25]
    assert first["mean"] == 30
    assert first["standard_deviation"] == pytest.approx(75**0.5, abs=1e-4)
    assert first["mean_over_dialogues"] == pytest.approx(320 / 11, abs=1e-4), "a larger fold weighs more"
    low, high = first["interval_over_dialogues"]
    assert 20 < low < 320 / 11 < high < 40
    assert summary["folds"][1] == {"fold": 2, "experiment": "folds3-abc-t0001", "dialogues": 3}
    few = summarize_folds(FOLDS[:2], samples=200, seed=1)
    assert few["metrics"]["rouge1"]["interval_over_dialogues"] is None, "seven rows are too few"
    assert any("too few rows" in line for line in folds_table(few))


def test_the_table_names_each_fold() -> None:
    lines = folds_table(summarize_folds(FOLDS, samples=200, seed=1))
    assert lines[0].startswith("3 folds, 11 dialogues.")
    assert [line.split() for line in lines[-3:]][1] == ["2", "3", "43.00", "44.00", "folds3-abc-t0001"]


def test_each_dialogue_has_the_summary_of_the_model_that_did_not_train_on_it(tmp_path: Path) -> None:
    write_folds(FOLDS, summarize_folds(FOLDS, samples=10, seed=1), tmp_path / "out")
    with open(tmp_path / "out" / "predictions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 11
    assert rows[4] == {"fname": "train_2_0", "summary": "train_2_0의 요약", "fold": "2"}


def test_the_plan_is_a_trial_for_each_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = folds_plan(4, {"training.learning_rate": 1e-4}, jobs=2)
    assert plan.is_grid
    assert plan.set == {"training.learning_rate": 1e-4, "data.folds": 4}
    assert plan.parameters["data.fold"].grid_values() == [1, 2, 3, 4]
    monkeypatch.chdir(ROOT)
    names = {study_name(4, {}), study_name(5, {}), study_name(4, {"training.seed": 1}), study_name(4, {})}
    assert len(names) == 3
    assert all(name.startswith(("folds4-", "folds5-")) for name in names)


def test_one_fold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="folds: 1 is too few; use 2 or more"):
        main(["folds", "1"])


def study_with(fold_numbers: list[int]) -> Any:
    """A study as a search leaves it. `changes` lacks the fold that params.yaml has already."""
    study = optuna.create_study(direction="maximize")
    for number in fold_numbers:
        study.add_trial(
            optuna.trial.create_trial(
                params={"data.fold": number},
                distributions={"data.fold": optuna.distributions.CategoricalDistribution([1, 2, 3])},
                value=1.0,
                user_attrs={"experiments": [f"e{number}"], "changes": {} if number == 1 else {"data.fold": number}},
            )
        )
    return SimpleNamespace(study=study)


def test_each_fold_is_read_from_its_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "run_plan", lambda *_, **__: study_with([3, 1, 2]))
    monkeypatch.setattr(Fold, "read", lambda _root, number, experiment: (number, experiment))
    name, found = folds.run_folds(3, {}, name="mine", jobs=1, root=ROOT)
    assert name == "mine"
    assert list(map(str, found)) == ["(1, 'e1')", "(2, 'e2')", "(3, 'e3')"]


def test_a_fold_that_failed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "run_plan", lambda *_, **__: study_with([1, 3]))
    with pytest.raises(YoyakError, match=r"study mine: no result for fold 2; .* another --name"):
        folds.run_folds(3, {}, name="mine", jobs=1, root=ROOT)
