"""What a study holds: its trials as Optuna keeps them, read as yoyak means them.

A trial's user attributes: `worker` (whose it is), `changes` (to params.yaml, by dotted name), `experiments` (their names),
`scores` (their metrics), `stages` (that ran), `pruned` (why, if so), `failed` (why, if so), `same_as` (the trial with the
same changes, whose values it has), `retry_of` and `after` (the first and the last trial that was interrupted at this).
"""

import os
import statistics
from collections.abc import Sequence
from pathlib import Path

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, Trial, TrialState

from yoyak.search import space
from yoyak.search.space import OBJECTIVES, Plan
from yoyak.system.errors import YoyakError

STATE = Path(".searches")  # of this clone of the repository: the database, locks, logs, the workers' clones
STORAGE = "OPTUNA_STORAGE"  # as Optuna's own command and its dashboard call it


def known_as(trial: FrozenTrial | Trial) -> str:
    """The label of a trial: the first one's, if this goes on for an interrupted one."""
    return f"t{trial.user_attrs.get('retry_of', trial.number):04d}"


def storage_url(plan: Plan | None) -> str:
    """The database's address: the environment's, else the plan's, else a file of this clone's.

    Raises:
        YoyakError: if the plan holds a password.
    """
    given = os.environ.get(STORAGE) or (plan.storage if plan else None) or f"sqlite:///{STATE}/studies.db"
    try:
        url = sqlalchemy.engine.make_url(given)
    except sqlalchemy.exc.ArgumentError:
        raise YoyakError("storage: no database address; like postgresql+psycopg://user@host/name") from None
    if url.password and not os.environ.get(STORAGE):
        raise YoyakError(f"storage: a password does not belong in a file; put the whole address into {STORAGE}")
    if url.get_backend_name() == "sqlite" and url.database:  # trials run in other folders
        path = Path(url.database).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        url = url.set(database=str(path))
    return url.render_as_string(hide_password=False)


def interrupted(trial: FrozenTrial) -> bool:
    """Ended by no decision of ours: its worker was killed."""
    return trial.state == TrialState.FAIL and "failed" not in trial.user_attrs


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trials with a result of their own."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in trials if "same_as" not in trial.user_attrs]


def best_first(study: optuna.Study, objectives: Sequence[str]) -> list[FrozenTrial]:
    """The finished trials, the best first, of equal ones the earlier. Of a study with several objectives only those that no
    other beats in everything, the best in the first objective first."""
    sign = -1 if OBJECTIVES[objectives[0]] else 1
    trials = finished(study)
    if len(objectives) > 1:
        front = {trial.number for trial in study.best_trials}
        trials = [trial for trial in trials if trial.number in front]
    return sorted(trials, key=lambda trial: (sign * trial.values[0], trial.number))


def noise(trial: FrozenTrial, objective: str) -> float:
    """By how much another trial may be worse and still be a tie: to the lower end of the 95 % interval over dialogues, or two
    standard errors over seeds, whichever is more. 0 for what has no interval."""
    scores = trial.user_attrs.get("scores", [])
    if not scores or objective not in space.ROUGE:
        return 0.0
    values = [space.look_up(part, objective) for part in scores]
    below = statistics.mean(
        value - space.look_up(part["interval"], objective)[0] for value, part in zip(values, scores, strict=True)
    )
    return float(max(below, 2 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0))


def ties(study: optuna.Study, objective: str) -> list[FrozenTrial]:
    """The trials that the best one is not surely better than. For a study with one objective."""
    best, *others = best_first(study, [objective])
    margin = noise(best, objective)
    return [trial for trial in others if abs(best.values[0] - trial.values[0]) <= margin]


def values_of(trial: FrozenTrial, objectives: list[str]) -> str:
    told = []
    for objective, value in zip(objectives, trial.values, strict=True):
        margin = noise(trial, objective)
        told.append(f"{objective} {value:.4g}" if not margin else f"{objective} {value:.2f} ± {margin:.2f}")
    return ", ".join(told)


def apply_command(trial: FrozenTrial) -> str:
    return f"dvc exp apply {trial.user_attrs['experiments'][0]}"
