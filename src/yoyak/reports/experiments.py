"""The experiments of the repository as `dvc exp show` knows them, and their table in a width that fits a terminal."""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoyak.evaluation.score_table import COLUMNS
from yoyak.search.base_params import flatten
from yoyak.search.git_dvc import dvc

SCORE_COLUMNS = (*COLUMNS, "content.rouge_sum", "price")  # of metrics/summary.json; only API models have a price
BEST_BY = "rouge_sum"
WORKSPACE = "workspace"
LONGEST_NAME, LONGEST_VALUE, WRAPPED_HEADING = 32, 16, 12  # columns of a terminal
NOT_FINISHED = {"queued", "running", "failed"}  # DVC shows the scores of the commit below for these


@dataclass(frozen=True)
class Experiment:
    """The workspace, a commit, or an experiment on a commit.

    Attributes:
        name: its name in `dvc exp apply`; for a commit its branch or the start of its hash.
        is_baseline: whether it is the workspace or a commit.
        state: queued, running, failed, pruned, unreadable, or empty for a finished one.
        scores: the values of SCORE_COLUMNS that it has.
        params: the content of its params.yaml by dotted name.
        revision: its commit; empty for the workspace.
        baseline: the name of the commit that it is on; empty for a commit.
        time: of its commit, in ISO 8601; empty for the workspace.
        error: what DVC could not read.
        metrics: all numbers of its metrics files, by dotted name.
    """

    name: str
    is_baseline: bool
    state: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    revision: str = ""
    baseline: str = ""
    time: str = ""
    error: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


def read_experiments(root: Path, *, all_commits: bool = False, commits: Sequence[str] = ()) -> list[Experiment]:
    """The workspace, the last commit (or all commits, or those named) and the experiments on it, in DVC's order.

    Raises:
        YoyakError: with DVC's message, if it cannot read the repository.
    """
    # DVC prints warnings before the JSON text, for example about a commit that it cannot read.
    named = [option for commit in commits for option in ("--rev", commit)]
    printed = dvc(root, "exp", "show", "--json", *named, *(["--all-commits"] if all_commits else []))
    found = []
    for entry in json.loads(printed[printed.index("[") :]):
        baseline = _experiment(entry, executor=None)
        found.append(baseline)
        for item in entry.get("experiments") or []:
            found += [_experiment(rev, executor=item.get("executor"), baseline=baseline.name) for rev in item["revs"][:1]]
    return found


def _experiment(entry: Mapping[str, Any], *, executor: Mapping[str, Any] | None, baseline: str = "") -> Experiment:
    name = entry.get("name") or (entry["rev"] if entry["rev"] == WORKSPACE else entry["rev"][:7])
    revision = "" if entry["rev"] == WORKSPACE else str(entry["rev"])
    data = entry.get("data")
    if not data:
        state = (executor or {}).get("state") or ("unreadable" if entry.get("error") else "")
        error = str((entry.get("error") or {}).get("msg") or "")
        return Experiment(name, not baseline, state.lower(), revision=revision, baseline=baseline, error=error)
    params = flatten((data["params"].get("params.yaml") or {}).get("data") or {})
    state = ((executor or {}).get("state") or "").lower()
    state = state if state in NOT_FINISHED else ("pruned" if params.get("search.pruned") else "")
    # Commits before metrics/summary.json have their scores in metrics/scores.json.
    values = {
        key: value for file in data["metrics"].values() for key, value in flatten(file.get("data") or {}).items() if not state
    }
    numbers = {key: value for key, value in values.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    scores = {key: numbers[key] for key in SCORE_COLUMNS if key in numbers}
    return Experiment(
        name, not baseline, state, scores, params, revision, baseline, str(data.get("timestamp") or ""), _faults(data), numbers
    )  # fmt: skip


def _faults(data: Mapping[str, Any]) -> str:
    """Files of params and metrics that DVC could not read. One that is missing is no fault: its stage has not run yet."""
    files = {**data["params"], **data["metrics"]}
    errors = {path: file["error"] for path, file in files.items() if (file or {}).get("error")}
    return "; ".join(
        f"{path}: {error.get('msg') or error.get('type')}"
        for path, error in errors.items()
        if "NotFound" not in str(error.get("type"))
    )


def best_experiment(experiments: Sequence[Experiment]) -> Experiment | None:
    """The finished one with the highest rouge_sum. Of equals an experiment or a commit, because the workspace can change."""
    finished = [one for one in experiments if BEST_BY in one.scores]
    return max(finished, key=lambda one: (one.scores[BEST_BY], one.name != WORKSPACE), default=None)


def varying_params(experiments: Sequence[Experiment]) -> list[str]:
    """The dotted names of the params that do not have the same value everywhere, in the order of params.yaml.

    A param that an older commit does not have yet does not vary by that.
    """
    names = dict.fromkeys(name for one in experiments for name in one.params if not name.startswith("search."))
    values = {name: {json.dumps(one.params[name]) for one in experiments if name in one.params} for name in names}
    return [name for name, found in values.items() if len(found) > 1]


def experiments_table(experiments: Sequence[Experiment], params: Sequence[str], *, width: int) -> list[str]:
    """The lines of a table: name, state, the main scores, and as many of the params as fit.

    Args:
        experiments: the rows.
        params: dotted names of the params for the columns, the most important ones first.
        width: columns of the terminal. A last line names the params that did not fit.
    """
    last_parts = [name.rpartition(".")[2] for name in params]
    columns = [_Column.of_text("experiment", [_indented_name(one) for one in experiments], longest=LONGEST_NAME)]
    if any(one.state for one in experiments):
        columns.append(_Column.of_text("state", [one.state for one in experiments]))
    columns += [
        _Column.of_numbers(name, [f"{one.scores[name]:.2f}" if name in one.scores else "-" for one in experiments])
        for name in SCORE_COLUMNS
        if any(name in one.scores for one in experiments)
    ]
    left_out = []
    for name, last_part in zip(params, last_parts, strict=True):
        heading = last_part if last_parts.count(last_part) == 1 else name
        column = _Column.of_text(heading, [_value(one, name) for one in experiments], longest=LONGEST_VALUE)
        if sum(each.width + 2 for each in columns) + column.width <= width:
            columns.append(column)
        else:
            left_out.append(name)
    height = max(len(column.heading) for column in columns)
    headings = [[*[""] * (height - len(column.heading)), *column.heading] for column in columns]
    lines = [_line(columns, [heading[index] for heading in headings]) for index in range(height)]
    lines += [_line(columns, [column.cells[row] for column in columns]) for row in range(len(experiments))]
    if left_out:
        lines += ["", f"no room for {len(left_out)} more that vary: {', '.join(left_out)}", "choose columns with --param NAME"]
    return lines


def _indented_name(one: Experiment) -> str:
    return one.name if one.is_baseline else f"  {one.name}"


def _value(one: Experiment, name: str) -> str:
    if name not in one.params:
        return "-"
    value = one.params[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class _Column:
    """A column: its heading on one or more lines, and its cells."""

    heading: list[str]
    cells: list[str]
    align_right: bool = False

    @classmethod
    def of_text(cls, name: str, cells: Sequence[str], *, longest: int = LONGEST_VALUE) -> "_Column":
        return cls(_wrapped(name), [_shortened(" ".join(cell.split("\n")), longest) for cell in cells])

    @classmethod
    def of_numbers(cls, name: str, cells: list[str]) -> "_Column":
        return cls(_wrapped(name), cells, align_right=True)

    @property
    def width(self) -> int:
        return max(map(_width, (*self.heading, *self.cells)))

    def padded(self, text: str) -> str:
        space = " " * (self.width - _width(text))
        return space + text if self.align_right else text + space


def _line(columns: Sequence[_Column], cells: Sequence[str]) -> str:
    return "  ".join(column.padded(cell) for column, cell in zip(columns, cells, strict=True)).rstrip()


def _wrapped(name: str) -> list[str]:
    """A name on several lines, broken behind _ and dots."""
    lines = [""]
    for part in re.findall(r"[^_.]+[_.]?|[_.]", name):
        if lines[-1] and len(lines[-1]) + len(part) > WRAPPED_HEADING:
            lines.append("")
        lines[-1] += part
    return lines


def _width(text: str) -> int:
    """The columns that a terminal needs for a text. Korean letters take two, so len() and str.ljust would not align them."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text if not unicodedata.combining(letter))


def _shortened(text: str, longest: int) -> str:
    if _width(text) <= longest:
        return text
    while _width(text) > longest - 1:
        text = text[:-1]
    return f"{text}…"
