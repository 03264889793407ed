"""study.py: what a study's trials mean."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from yoyak.search import study
from yoyak.search.space import Plan
from yoyak.system.errors import YoyakError


def scores(rouge_sum: float, low: float, content: float = 50.0) -> dict[str, Any]:
    return {
        "rouge_sum": rouge_sum,
        "content": {"rouge_sum": content},
        "interval": {"rouge_sum": [low, rouge_sum + 5], "content": {"rouge_sum": [content - 1, content + 1]}},
    }


def add(into: optuna.Study, values: list[float] | None, state: TrialState = TrialState.COMPLETE, **attrs: Any) -> None:
    into.add_trial(optuna.trial.create_trial(values=values, state=state, user_attrs=attrs))


def test_the_best_come_first_and_of_equals_the_earlier() -> None:
    made = optuna.create_study(direction="maximize")
    for value in (100.0, 120.0, 120.0, 90.0):
        add(made, [value])
    add(made, [120.0], same_as=1)
    add(made, None, TrialState.PRUNED)
    add(made, None, TrialState.FAIL)
    assert [trial.number for trial in study.best_first(made, ["rouge_sum"])] == [1, 2, 0, 3]


def test_less_is_better_where_it_is() -> None:
    made = optuna.create_study(direction="minimize")
    for value in (3.0, 1.0, 2.0):
        add(made, [value])
    assert [trial.number for trial in study.best_first(made, ["model_megabytes"])] == [1, 2, 0]


def test_of_several_objectives_the_front_is_the_best() -> None:
    made = optuna.create_study(directions=["maximize", "minimize"])
    for values in ([100.0, 1.0], [120.0, 3.0], [110.0, 4.0], [90.0, 0.5]):
        add(made, values)
    assert [trial.number for trial in study.best_first(made, ["rouge_sum", "seconds_per_dialogue"])] == [1, 0, 3]


def test_what_lies_inside_the_interval_of_the_best_is_a_tie() -> None:
    made = optuna.create_study(direction="maximize")
    add(made, [120.0], scores=[scores(120.0, 112.0)])
    for value in (112.0, 111.9):
        add(made, [value], scores=[scores(value, value - 1)])
    assert [trial.number for trial in study.ties(made, "rouge_sum")] == [1]
    assert study.noise(made.trials[0], "rouge_sum") == 8.0


def test_the_noise_between_seeds_counts_where_it_is_larger() -> None:
    made = optuna.create_study(direction="maximize")
    add(made, [100.0], scores=[scores(90.0, 89.0), scores(110.0, 109.0)])
    assert study.noise(made.trials[0], "rouge_sum") == pytest.approx(2 * 14.142135 / 2**0.5)
    assert study.noise(made.trials[0], "content.rouge_sum") == 1.0


def test_what_has_no_interval_has_no_noise() -> None:
    made = optuna.create_study(direction="minimize")
    add(made, [3.0], scores=[scores(120.0, 112.0)])
    assert study.noise(made.trials[0], "model_megabytes") == 0.0
    assert study.values_of(made.trials[0], ["model_megabytes"]) == "model_megabytes 3"


def test_a_trial_that_goes_on_for_another_is_known_by_its_name() -> None:
    made = optuna.create_study()
    add(made, None, TrialState.FAIL)
    add(made, [1.0], retry_of=0, after=0)
    assert [study.known_as(trial) for trial in made.trials] == ["t0000", "t0000"]
    assert [study.interrupted(trial) for trial in made.trials] == [True, False]


def test_a_crash_is_no_interruption() -> None:
    made = optuna.create_study()
    add(made, None, TrialState.FAIL, failed="it raised")
    add(made, None, TrialState.PRUNED, pruned="it was behind")
    assert not any(map(study.interrupted, made.trials))


def plan(storage: str | None) -> Plan:
    return Plan.model_validate({"parameters": {"a": {"choices": [1]}}, "budget": {"trials": 1}, "storage": storage})


def test_the_environment_names_the_storage_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(study.STORAGE, raising=False)
    assert study.storage_url(plan(None)) == f"sqlite:///{tmp_path}/.searches/studies.db"
    assert study.storage_url(plan("postgresql+psycopg://me@host/db")) == "postgresql+psycopg://me@host/db"
    assert study.storage_url(plan("sqlite:///mine/all.db")) == f"sqlite:///{tmp_path}/mine/all.db", "trials run elsewhere"
    monkeypatch.setenv(study.STORAGE, "postgresql+psycopg://me:secret@host/db")
    assert study.storage_url(plan("mysql+pymysql://host/db")) == "postgresql+psycopg://me:secret@host/db"


def test_a_password_in_a_file_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(study.STORAGE, raising=False)
    with pytest.raises(YoyakError, match="OPTUNA_STORAGE") as told:
        study.storage_url(plan("postgresql+psycopg://me:hunter2@host/db"))
    assert "hunter2" not in str(told.value)
    with pytest.raises(YoyakError, match="no database address"):
        study.storage_url(plan("my database"))
