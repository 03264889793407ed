import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from tests.training.test_tracker_seam import fit_tiny
from yoyak.config.sections import Params
from yoyak.system import resumable
from yoyak.system.errors import YoyakError
from yoyak.training import search_reporting, study_storage


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def evaluate(callback: Any, value: float, epoch: float, metric: str = "rouge_sum") -> None:
    args = SimpleNamespace(metric_for_best_model=metric, num_train_epochs=4)
    callback.on_evaluate(args, SimpleNamespace(epoch=epoch), None, metrics={f"eval_{metric}": value})


def callback_of(
    monkeypatch: pytest.MonkeyPatch, url: str, trial: optuna.Trial, pruner: dict[str, Any], until: int | None = None
) -> search_reporting.ReportToStudy:
    about = {"storage": url, "study": "s", "trial": trial._trial_id, "pruner": pruner, "until": until}
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


def save(callback: Any, folder: Path, *, ends: bool = False) -> None:
    args = SimpleNamespace(num_train_epochs=4, output_dir=str(folder))
    callback.on_save(args, None, SimpleNamespace(should_training_stop=ends))


def test_a_training_is_paused_when_the_checkpoint_of_its_epoch_is_complete(
    monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path
) -> None:
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    callback = callback_of(monkeypatch, url, study.ask(), {"name": "none"}, until=2)
    for epoch in (1, 2):
        save(callback, tmp_path)  # within the epoch
        evaluate(callback, 50.0, float(epoch))
    with pytest.raises(search_reporting.TrialPausedError, match="paused after epoch 2"):
        save(callback, tmp_path)
    (trial,) = study.trials
    assert trial.state == TrialState.RUNNING and trial.user_attrs == {"checkpoints": tmp_path.name, "paused": 2}
    assert (tmp_path / resumable.PAUSED_MARKER).is_file()


def test_a_training_that_ends_is_not_paused(monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path) -> None:
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    callback = callback_of(monkeypatch, url, study.ask(), {"name": "none"}, until=3)
    evaluate(callback, 50.0, 3.0)
    save(callback, tmp_path, ends=True)  # early stopping
    evaluate(callback, 50.0, 4.0)
    save(callback, tmp_path)
    assert study.trials[0].user_attrs == {}


@pytest.mark.slow
def test_a_training_that_was_paused_after_each_epoch_ends_with_the_same_bytes(
    params: Params, monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path
) -> None:
    monkeypatch.delenv(study_storage.TRIAL_VARIABLE, raising=False)
    whole = fit_tiny(params, tmp_path / "whole")
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    trial = study.ask()
    callback_of(monkeypatch, url, trial, {"name": "none"}, until=1)
    work = tmp_path / "paused/work"
    for _ in range(2):  # the second time, its checkpoint is there already, as after a kill
        with pytest.raises(search_reporting.TrialPausedError):
            fit_tiny(params, tmp_path / "paused")
        assert (work / resumable.PAUSED_MARKER).is_file() and (work / "checkpoint-4").is_dir()
        assert sorted(study.trials[0].intermediate_values) == [1]
    callback_of(monkeypatch, url, trial, {"name": "none"}, until=2)
    assert fit_tiny(params, tmp_path / "paused") == whole
    assert not (work / resumable.PAUSED_MARKER).exists(), "an ordinary work folder again"
    assert sorted(study.trials[0].intermediate_values) == [1, 2]
