"""Opening a study: it is begun if the database does not have it, and otherwise compared with the search file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from ruamel.yaml import YAML

from yoyak.config.params import parse_params
from yoyak.search.base_params import BaseParams
from yoyak.search.family_rules import model_places
from yoyak.search.freeze_thaw_checks import check_freeze_thaw
from yoyak.search.git_dvc import git
from yoyak.search.objectives import HIGHER_IS_BETTER
from yoyak.search.plan import SearchPlan
from yoyak.search.plan_checks import check_longest_lengths, check_plan
from yoyak.search.snapshots import (
    Snapshot,
    has_snapshot,
    is_missing_from_snapshot,
    protect_snapshot,
    read_snapshot_file,
    take_snapshot,
)
from yoyak.search.storage import is_shared, storage_url
from yoyak.search.trials import FIXED, PLAN, START, was_interrupted
from yoyak.search.workers import exclusive_access
from yoyak.system.errors import YoyakError
from yoyak.training.study_storage import open_study_storage

HEARTBEAT_SECONDS = 20  # A trial is abandoned if its worker on another machine misses three heartbeats.


@dataclass(frozen=True)
class OpenedStudy:
    """A study that this process works on, and everything that its trials share.

    Attributes:
        name: The name of the study; the names of its experiments begin with it.
        plan: The search plan.
        study: Optuna's study.
        storage: The database that contains the study.
        url: The address of the database, which can contain a password.
        root: The user's repository.
        snapshot: The files that all trials start from.
        base: The params that all trials start from.
    """

    name: str
    plan: SearchPlan
    study: optuna.Study
    storage: optuna.storages.RDBStorage
    url: str
    root: Path
    snapshot: Snapshot
    base: BaseParams

    @property
    def is_shared(self) -> bool:
        """Whether workers on other machines can take part. They show by heartbeats that they are alive."""
        return is_shared(self.url)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """All trials, or those in one of the given states."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def count_ended_trials(self) -> int:
        """The number of trials that have ended and are not repeated."""
        return sum(trial.state.is_finished() and not was_interrupted(trial) for trial in self.trials())

    def count_done(self) -> int:
        """How much of the budget is used up: ended trials, or epochs of a freeze-thaw search."""
        return self.count_epochs() if self.plan.is_freeze_thaw else self.count_ended_trials()

    def count_epochs(self) -> int:
        """The number of epochs that the trainings of all trials have reported."""
        return sum(len(trial.intermediate_values) for trial in self.trials())


def open_study(
    name: str, plan: SearchPlan, *, fixed: Mapping[str, Any], snapshot: Snapshot | None, root: Path, source: str
) -> OpenedStudy:
    """Begin a study, or open one that was begun before.

    Args:
        name: The name of the study.
        plan: The search plan.
        fixed: Changes to params.yaml that all trials share, in addition to the plan's `set`.
        snapshot: The files that the trials start from; None: the files as they are now. A study that was begun before
            keeps its own `fixed` and snapshot.
        root: The user's repository.
        source: The name of the search file, for messages.

    Raises:
        YoyakError: if params.yaml does not accept what the plan varies, or if the study was begun with another plan.
    """
    url = storage_url(plan)
    storage = open_study_storage(url, heartbeat=HEARTBEAT_SECONDS if is_shared(url) else None)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with exclusive_access():
        study = _load_begun_study(name, storage)
        if study is None:
            snapshot = snapshot or take_snapshot(root)
            base = _read_base_params(root, snapshot, {**fixed, **plan.set})
            _check_before_begin(plan, base, root=root, snapshot=snapshot, source=source)
            study = _begin_study(name, plan, base, storage=storage, root=root, snapshot=snapshot)
    _check_same_plan(name, now=json.loads(plan.model_dump_json()), begun=study.user_attrs[PLAN])
    snapshot = Snapshot(**study.user_attrs[START])
    if not has_snapshot(root, snapshot):
        raise YoyakError(
            f"study {name} began with commit {snapshot.commit[:10]} and changes to it, and this clone does not have all of "
            "these files; before several clones work on one study, commit and push in the clone that began it, and pull here"
        )
    protect_snapshot(root, name, snapshot)
    base = _read_base_params(root, snapshot, study.user_attrs[FIXED])
    check_freeze_thaw(plan, base, url, source=source)
    return OpenedStudy(name=name, plan=plan, study=study, storage=storage, url=url, root=root, snapshot=snapshot, base=base)


def _load_begun_study(name: str, storage: optuna.storages.RDBStorage) -> optuna.Study | None:
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None
    return study if START in study.user_attrs else None


def _read_base_params(root: Path, snapshot: Snapshot, fixed: Mapping[str, Any]) -> BaseParams:
    return BaseParams(YAML(typ="safe", pure=True).load(read_snapshot_file(root, snapshot, "params.yaml")), fixed)


def _check_before_begin(plan: SearchPlan, base: BaseParams, *, root: Path, snapshot: Snapshot, source: str) -> None:
    parse_params(base.values, source="params.yaml")
    check_plan(plan, base, source=source)
    check_freeze_thaw(plan, base, storage_url(plan), source=source)
    params = parse_params(base.with_fixed(), source="params.yaml")
    for key, path in {"data.dir": params.data.dir, **model_places(params)}.items():
        if is_missing_from_snapshot(root, snapshot, path):
            raise YoyakError(
                f"{key}: neither git nor DVC tracks {path}, so the clones in which trials run would not have it; "
                f"run `dvc add {path}` and `git add {path}.dvc`, or set {key} to an absolute path"
            )
    check_longest_lengths(plan, base)


def _begin_study(
    name: str,
    plan: SearchPlan,
    base: BaseParams,
    *,
    storage: optuna.storages.RDBStorage,
    root: Path,
    snapshot: Snapshot,
) -> optuna.Study:
    directions = [
        StudyDirection.MAXIMIZE if HIGHER_IS_BETTER[objective] else StudyDirection.MINIMIZE for objective in plan.objectives
    ]
    study = optuna.create_study(study_name=name, storage=storage, directions=directions, load_if_exists=True)
    if START in study.user_attrs:  # a worker on another machine began it since this one looked
        return study
    if study.get_trials(deepcopy=False):
        raise YoyakError(f"the database has a study {name} that yoyak did not begin; choose another name with --name")
    if git(root, "for-each-ref", f"{snapshot.experiments_ref}/{name}-t[0-9]*"):
        raise YoyakError(f"this repository has experiments {name}-t... of another study; choose another name with --name")
    study.set_user_attr(FIXED, dict(base.fixed))
    study.set_user_attr(PLAN, json.loads(plan.model_dump_json()))
    # START comes last: a study that has it is complete.
    study.set_user_attr(START, {"commit": snapshot.commit, "tree": snapshot.tree})
    return study


def _check_same_plan(name: str, *, now: Mapping[str, Any], begun: Mapping[str, Any]) -> None:
    for key in ("objectives", "parameters", "set", "seeds"):
        if now[key] != begun[key]:
            raise YoyakError(
                f"study {name} was begun with other {key} than the search file has now, so its results would not be "
                f"comparable; choose another name with --name, or restore {key} in the file"
            )
