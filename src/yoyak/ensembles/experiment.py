"""`yoyak ensemble`: the experiment that makes one of several finished ones."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yoyak.config.params import parse_params
from yoyak.config.yaml_files import parse_yaml, read_yaml
from yoyak.ensembles.members import Member, check_members
from yoyak.reports.runs import Run
from yoyak.search.base_params import apply_changes, flatten, get_value
from yoyak.search.experiments import ExperimentClone, ExperimentOutcome
from yoyak.search.git_dvc import git
from yoyak.search.run import check_name, working
from yoyak.search.snapshots import take_snapshot
from yoyak.search.trial_environment import clone_environment
from yoyak.search.workers import SEARCH_FOLDER
from yoyak.system.errors import YoyakError

OWN_SECTIONS = ("hardware", "score", "search")  # of the working folder; the others are those of the first member
REPORT = "metrics/ensemble.json"
# A consensus writes nothing itself, so what its first member sets for writing must not be in the way.
OFF_IN_CONSENSUS = {
    "generation.long_dialogues": "truncate",
    "generation.postprocess": "never",
    "generation.consensus.candidates": 1,
    "generation.consensus.source": "samples",
    "generation.consensus.weights": "auto",
}


def find_members(root: Path, experiments: Sequence[str]) -> list[Member]:
    """The members that these names mean.

    Raises:
        YoyakError: if there is no such experiment, or two names mean the same one.
    """
    members: dict[str, str] = {}
    found = []
    for experiment in experiments:
        revision = Run.find(root, experiment).revision
        if revision is None:
            raise YoyakError(
                "workspace: its files can change, so that it cannot be a member; commit it, or save it: dvc exp save -n NAME"
            )
        if revision in members:
            raise YoyakError(f"{experiment}: the same run as {members[revision]}; name each member once")
        members[revision] = experiment
        found.append(Member(Run(root, experiment, revision)))
    return found


def ensemble_params(members: Sequence[Member], ensemble: Mapping[str, Any], changes: Mapping[str, Any], root: Path) -> Any:
    """params.yaml of the ensemble, nested: that of the working folder with the sections of the first member.

    Args:
        members: at least two.
        ensemble: keys of model.ensemble besides members.
        changes: further values for params, by dotted name.
        root: folder of the repository.

    Raises:
        YoyakError: if the values are not valid.
    """
    here: Any = read_yaml(root / "params.yaml")
    known = flatten(here)
    theirs: Any = parse_yaml(members[0].run.read("params.yaml"))
    taken = {section: values for section, values in theirs.items() if section in here and section not in OWN_SECTIONS}
    new = {name: value for name, value in flatten(taken).items() if name in known}
    new |= {"model.family": "ensemble", "model.ensemble.members": [member.run.revision for member in members]}
    new |= {f"model.ensemble.{key}": value for key, value in ensemble.items()}
    if len({member.folds for member in members}) > 1:  # the dev of none of them is that of the ensemble
        new |= {"data.folds": 0, "data.fold": 1}
    new |= changes
    if new.get("model.ensemble.method", get_value(here, "model.ensemble.method")) == "consensus":
        new |= OFF_IN_CONSENSUS
    values = apply_changes(new, here)
    parse_params(values, source=f"ensemble of {', '.join(member.name for member in members)}")
    return values


def run_ensemble(
    name: str, experiments: Sequence[str], ensemble: Mapping[str, Any], changes: Mapping[str, Any], root: Path
) -> dict[str, Any]:
    """Run the experiment, if it does not exist yet.

    Args:
        name: of the new experiment.
        experiments: names of the members, the best one first.
        ensemble: keys of model.ensemble besides members.
        changes: further values for params, by dotted name.
        root: folder of the repository, the current one.

    Returns:
        metrics/ensemble.json of the experiment.

    Raises:
        YoyakError: if a member is missing or does not fit, the name is taken, or the run fails.
    """
    check_name(name)
    members = find_members(root, experiments)
    values = ensemble_params(members, ensemble, changes, root)
    if ordinary := next((member for member in members if member.folds[0] == get_value(values, "data.folds")), None):
        check_members(members, ordinary.rows)  # before any work; the stage checks it too
    snapshot = take_snapshot(root)
    if ref := git(root, "for-each-ref", "--format=%(objectname)", f"{snapshot.experiments_ref}/{name}"):
        earlier = Run(root, name, ref)
        if parse_yaml(earlier.read("params.yaml")) != values:
            raise YoyakError(
                f"{name}: another experiment has this name; choose another one, or remove it: dvc exp remove {name}"
            )
        print(f"{name} is there already")
        return _report(earlier)
    log = SEARCH_FOLDER / "logs" / f"{name}.log"
    with working() as worker:
        print(f"{name} runs in a copy of the repository; its output: {log}", flush=True)
        clone = ExperimentClone(root, worker.folder / "ensemble", snapshot)
        outcome = clone.run(name, values, log=log, environment=clone_environment(worker, group=name))
    if outcome.status:
        raise YoyakError(_failure(name, outcome))
    return _report(Run.find(root, name))


def _report(run: Run) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run.read(REPORT))
    return report


def _failure(name: str, outcome: ExperimentOutcome) -> str:
    if outcome.was_killed:
        return f"{name}: the run was killed; the same command goes on with what is finished"
    return f"{name}: the run failed; the last lines of {outcome.log}:\n{outcome.last_lines()}"
