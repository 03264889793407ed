"""pruning.py: what a training run tells its study, and how it ends when the study says so."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from yoyak.system.errors import YoyakError
from yoyak.training import pruning


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/studies.db"


def report(callback: Any, value: float, epoch: float, metric: str = "rouge_sum") -> None:
    args = SimpleNamespace(metric_for_best_model=metric, num_train_epochs=4)
    callback.on_evaluate(args, SimpleNamespace(epoch=epoch), None, metrics={f"eval_{metric}": value})


def run_of(monkeypatch: pytest.MonkeyPatch, url: str, trial: optuna.Trial, pruner: dict[str, Any]) -> pruning.Report:
    about = {"storage": url, "study": "s", "trial": trial._trial_id, "pruner": pruner}
    monkeypatch.setenv(pruning.VARIABLE, json.dumps(about))
    (callback,) = pruning.reports()
    assert isinstance(callback, pruning.Report)
    return callback


MEDIAN = {"name": "median", "n_startup_trials": 2, "n_warmup_steps": 0, "interval_steps": 1}


def test_a_run_that_is_no_trial_reports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(pruning.VARIABLE, raising=False)
    assert pruning.reports() == []


def test_each_evaluation_is_reported_by_its_epoch(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    trial = study.ask()
    callback = run_of(monkeypatch, url, trial, {"name": "none"})
    report(callback, 50.0, 0.9999)
    report(callback, 60.0, 2.0)
    assert study.trials[0].intermediate_values == {1: 50.0, 2: 60.0}


def test_a_loss_is_reported_so_that_more_is_better(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    trial = study.ask()
    report(run_of(monkeypatch, url, trial, {"name": "none"}), 3.5, 1.0, metric="loss")
    assert study.trials[0].intermediate_values == {1: -3.5}


def test_a_trial_below_the_median_ends_and_says_why(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    for value in (80.0, 90.0):
        trial = study.ask()
        callback = run_of(monkeypatch, url, trial, MEDIAN)
        report(callback, value, 1.0)
        study.tell(trial, value)
    trial = study.ask()
    with pytest.raises(YoyakError, match=r"pruned: rouge_sum 70\.00 after epoch 1 of 4"):
        report(run_of(monkeypatch, url, trial, MEDIAN), 70.0, 1.0)
    frozen = study.trials[2]
    assert frozen.user_attrs["pruned"] == "rouge_sum 70.00 after epoch 1 of 4"
    assert frozen.state == TrialState.RUNNING, "that it is over, the search itself says, once the experiment says so too"
    better = study.ask()
    report(run_of(monkeypatch, url, better, MEDIAN), 95.0, 1.0)


def test_a_run_that_begins_again_may_report_the_same_steps(monkeypatch: pytest.MonkeyPatch, url: str, recwarn: Any) -> None:
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    trial = study.ask()
    for _ in range(2):
        report(run_of(monkeypatch, url, trial, {"name": "hyperband"}), 50.0, 1.0)
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
def test_pruners_are_optunas(settings: dict[str, Any], kind: type) -> None:
    assert isinstance(pruning.make_pruner(settings), kind)


def connect_at_once(url: str) -> None:
    """Workers that begin at the same moment on a database without tables."""
    with ThreadPoolExecutor(8) as pool:
        together = threading.Barrier(8)

        def one(_: int) -> None:
            together.wait()
            storage = pruning.connect(url)
            storage.get_all_studies()
            storage.engine.dispose()

        list(pool.map(one, range(8)))


def test_workers_that_begin_at_once_make_the_tables_once(tmp_path: Path) -> None:
    for number in range(5):
        connect_at_once(f"sqlite:///{tmp_path}/{number}.db")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:hunter2@127.0.0.1:1/none",
        "mysql+pymysql://me:hunter2@127.0.0.1:1/none",
        "mysql+nodriver://me:hunter2@h/n",
    ],
)
def test_a_storage_that_cannot_be_reached_is_named_without_its_password(url: str) -> None:
    with pytest.raises(YoyakError) as told:
        pruning.connect(url)
    assert "me:***@" in str(told.value) and "hunter2" not in str(told.value)


def test_training_goes_on_when_the_storage_is_gone(
    monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path, capsys: Any
) -> None:
    study = optuna.create_study(study_name="s", storage=url, direction="maximize")
    callback = run_of(monkeypatch, url, study.ask(), MEDIAN)
    (tmp_path / "studies.db").write_bytes(b"this is no database any more, " * 400)
    report(callback, 50.0, 1.0)
    assert "WARNING: the study cannot be told of epoch 1, training goes on" in capsys.readouterr().out
