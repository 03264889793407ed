"""`yoyak status`: what runs now, which stages are stale and why, and the best result so far."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from yoyak.reports.experiments import BEST_BY, WORKSPACE, Experiment, best_experiment, read_experiments
from yoyak.search.git_dvc import dvc
from yoyak.search.workers import SEARCH_FOLDER
from yoyak.system.errors import YoyakError

MAX_NAMES = 5  # changed files and params of a stage that are named


def status_lines(root: Path) -> list[str]:
    """The lines to print.

    Raises:
        YoyakError: with DVC's message, if it cannot read the repository.
    """
    experiments = read_experiments(root)
    waiting = [line for state in ("queued", "failed") for line in experiments_in(experiments, state)]
    running = [*running_lines(root, experiments), *waiting]
    return [
        "running: " + ("nothing" if not running else ""),
        *(f"  {line}" for line in running),
        *_stale_lines(root),
        *_best_lines(experiments),
    ]


def running_lines(root: Path, experiments: list[Experiment]) -> list[str]:
    """A line for each DVC command, experiment and search that runs now."""
    return [*running_stages(root), *experiments_in(experiments, "running"), *running_searches(root)]


def running_stages(root: Path) -> Iterator[str]:
    """The commands that write outputs in this folder, from DVC's lock file. A killed command leaves its entry there."""
    try:
        locks = json.loads((root / ".dvc/tmp/rwlock").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no command has run, or DVC writes the file at this moment
        return
    outs: dict[tuple[int, str], list[str]] = {}
    for path, holder in (locks.get("write") or {}).items():
        if _is_alive(holder["pid"]):
            outs.setdefault((holder["pid"], holder["cmd"]), []).append(os.path.relpath(path, root))
    for (pid, command), paths in outs.items():
        name = " ".join([Path(command.split()[0]).name, *command.split()[1:]])
        yield f"{name} (process {pid}) writes {_listed(paths)}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True


def experiments_in(experiments: list[Experiment], state: str) -> Iterator[str]:
    if names := [one.name for one in experiments if one.state == state]:
        advice = {"queued": "; `dvc queue start` runs them", "failed": "; `dvc queue logs NAME` says why"}.get(state, "")
        yield f"experiments {state}: {_listed(names)}{advice}"


def running_searches(root: Path) -> Iterator[str]:
    if not (root / SEARCH_FOLDER).is_dir():  # optuna takes a second to import
        return
    from yoyak.reports.search_page import list_studies

    for line in list_studies():
        if " running" in line:
            yield f"search {line}"


def _stale_lines(root: Path) -> list[str]:
    try:
        stages: Mapping[str, list[Any]] = json.loads(dvc(root, "status", "--json"))
    except YoyakError as error:
        if "is busy" in str(error) or "Unable to acquire lock" in str(error):
            return ["stale: not known while another DVC command runs"]
        raise
    stale = {stage: reasons for stage, changes in stages.items() if (reasons := list(_reasons(changes)))}
    if not stale:
        return ["stale: nothing; all results belong to params.yaml, the data and the code as they are"]
    width = max(map(len, stale))
    return ["stale: `dvc repro` runs", *(f"  {stage:{width}}  {'; '.join(reasons)}" for stage, reasons in stale.items())]


def _reasons(changes: list[Any]) -> Iterator[str]:
    """Why a stage must run again, from what `dvc status` says about it."""
    params, code, inputs, outputs = [], [], [], []
    for change in changes:
        if not isinstance(change, dict):  # "changed command", "always changed"
            yield str(change)
            continue
        for path, what in change.get("changed deps", {}).items():
            if isinstance(what, dict):
                params += list(what)
            elif path.endswith(".py"):
                code.append(path)
            else:
                inputs.append(f"{path} ({what})")
        outputs += [f"{path} ({what})" for path, what in change.get("changed outs", {}).items()]
    for heading, names in (("params", params), ("inputs", inputs), ("outputs", outputs), ("code", code)):
        if names:
            yield f"{heading}: {_listed(names)}"


def _best_lines(experiments: list[Experiment]) -> list[str]:
    best = best_experiment(experiments)
    if best is None:
        return ["best so far: nothing has a score yet"]
    scores = ", ".join(f"{key} {value:.2f}" for key, value in best.scores.items())
    advice = "" if best.is_baseline else f"; take it over with `dvc exp apply {best.name}`"
    lines = [f"best so far by {BEST_BY}: {best.name} ({scores}){advice}"]
    workspace = next((one for one in experiments if one.name == WORKSPACE), None)
    if best.name != WORKSPACE and workspace and BEST_BY in workspace.scores:
        lines.append(f"  this folder: {BEST_BY} {workspace.scores[BEST_BY]:.2f}")
    return lines


def _listed(names: list[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
