import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from yoyak.system.errors import YoyakError
from yoyak.training import search_reporting, study_storage


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def evaluate(callback: Any, value: float, epoch: float, metric: str = "rouge_sum") -> None:
    args = SimpleNamespace(metric_for_best_model=metric, num_train_epochs=4)
    callback.on_evaluate(args, SimpleNamespace(epoch=epoch), None, metrics={f"eval_{metric}": value})


def callback_of(
    monkeypatch: pytest.MonkeyPatch, url: str, trial: optuna.Trial, pruner: dict[str, Any]
) -> search_reporting.ReportToStudy:
    about = {"storage": url, "study": "s", "trial": trial._trial_id, "pruner": pruner}
    monkeypatch.setenv(study_storage.TRIAL_VARIABLE, json.dumps(about))
    (callback,) = search_reporting.trial_callbacks()
    assert isinstance(callback, search_reporting.ReportToStudy)
    return callback


MEDIAN = {"name": "median", "n_startup_trials": 2, "n_warmup_steps": 0, "interval_steps": 1}


def test_a_run_that_is_not_a_trial_reports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(study_storage.TRIAL_VARIABLE, raising=False)
    assert search_reporting.trial_callbacks() == []


def test_each_evaluation_is_reported_with_its_epoch(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    trial = study.ask()
    callback = callback_of(monkeypatch, url, trial, {"name": "none"})
    evaluate(callback, 50.0, 0.9999)
    evaluate(callback, 60.0, 2.0)
    assert study.trials[0].intermediate_values == {1: 50.0, 2: 60.0}


def test_a_loss_is_reported_as_its_negative(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    trial = study.ask()
    evaluate(callback_of(monkeypatch, url, trial, {"name": "none"}), 3.5, 1.0, metric="loss")
    assert study.trials[0].intermediate_values == {1: -3.5}


def test_a_trial_below_the_median_ends_with_the_reason(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    for value in (80.0, 90.0):
        trial = study.ask()
        callback = callback_of(monkeypatch, url, trial, MEDIAN)
        evaluate(callback, value, 1.0)
        study.tell(trial, value)
    trial = study.ask()
    with pytest.raises(YoyakError, match=r"pruned: rouge_sum 70\.00 after epoch 1 of 4"):
        evaluate(callback_of(monkeypatch, url, trial, MEDIAN), 70.0, 1.0)
    frozen = study.trials[2]
    assert frozen.user_attrs["pruned"] == "rouge_sum 70.00 after epoch 1 of 4"
    assert frozen.state == TrialState.RUNNING, "the search ends the trial, after its experiment has ended"
    better = study.ask()
    evaluate(callback_of(monkeypatch, url, better, MEDIAN), 95.0, 1.0)


def test_a_run_that_starts_again_may_report_the_same_epochs(monkeypatch: pytest.MonkeyPatch, url: str, recwarn: Any) -> None:
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    trial = study.ask()
    for _ in range(2):
        evaluate(callback_of(monkeypatch, url, trial, {"name": "hyperband"}), 50.0, 1.0)
    assert study.trials[0].intermediate_values == {1: 50.0}
    assert not [str(item.message) for item in recwarn if "reported" in str(item.message)]


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (MEDIAN, optuna.pruners.MedianPruner),
        ({"name": "hyperband", "min_resource": 1, "reduction_factor": 3}, optuna.pruners.HyperbandPruner),
        ({"name": "none"}, optuna.pruners.NopPruner),
    ],
)
def test_the_name_selects_optunas_pruner(settings: dict[str, Any], kind: type) -> None:
    assert isinstance(search_reporting.make_pruner(settings), kind)


def test_training_continues_when_the_database_is_gone(
    monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path, capsys: Any
) -> None:
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    callback = callback_of(monkeypatch, url, study.ask(), MEDIAN)
    (tmp_path / "studies.db").write_bytes(b"this is no database any more, " * 400)
    evaluate(callback, 50.0, 1.0)
    assert "epoch 1 is not reported to the study, training continues" in capsys.readouterr().out
