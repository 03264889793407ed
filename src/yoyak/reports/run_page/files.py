"""Reads everything that a page shows about a run. A file that is missing or damaged is named, and the rest is shown."""

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import yaml

from yoyak.config.yaml_files import parse_yaml
from yoyak.data.person_tags import PersonTags, restore_person_tags
from yoyak.reports.comparison import costs_of
from yoyak.reports.run_page.dev_rows import DevRow
from yoyak.reports.runs import DEV_PREDICTIONS, DEV_ROWS, PER_DIALOGUE, SCORES, Run
from yoyak.search.base_params import flatten
from yoyak.search.git_dvc import git
from yoyak.system.errors import YoyakError

T = TypeVar("T")
Points = list[tuple[float, float]]
# Curves under metrics/train/FAMILY/plots/metrics, in the order of the page.
CURVES = ("train/loss", "dev/loss", "dev/rouge1", "dev/rouge2", "dev/rougeL", "train/learning_rate", "train/grad_norm")
REPORTS = ("preprocess", "augment", "tokenize", "predict")  # metrics/NAME.json
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "ctranslate2", "tokenizers", "datasets", "python-mecab-ko", "dvc")


@dataclass
class RunFacts:
    """What is known about a run.

    Attributes:
        name: of the run, as the user wrote it, or a file of predictions.
        commit: short hash and date of its commit; empty for the workspace.
        family: model.family, or an empty text if it is not known.
        params: by dotted name.
        base: what `base_params` are of, such as "HEAD"; empty without.
        base_params: the params that `params` are compared with.
        stale: params that have changed since the stages ran, by dvc.lock.
        scores: metrics/scores.json; None if the run has none.
        pruned: why a search ended this trial early; empty if it did not.
        reports: the metrics of each stage, by name (REPORTS).
        arguments: metrics/train/FAMILY/arguments.json.
        curves: (step, value) of each curve that the run has.
        gates: lines of metrics/gates.txt.
        packages: the versions that the run pins.
        costs: seconds, megabytes and price, see `comparison.costs_of`.
        rows: the dev dialogues.
        missing: why a file could not be read, by its path.
    """

    name: str
    commit: str = ""
    family: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    base: str = ""
    base_params: Mapping[str, Any] | None = None
    stale: Sequence[str] = ()
    scores: dict[str, Any] | None = None
    pruned: str = ""
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, Points] = field(default_factory=dict)
    gates: Sequence[str] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, float | None] = field(default_factory=dict)
    rows: Sequence[DevRow] = ()
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def is_debug(self) -> bool:
        """Whether a debug run made the model or the scores."""
        return bool((self.scores or {}).get("debug_run") or self.reports.get("predict", {}).get("debug_run"))


class _Reader:
    """Reads parts of a run and notes what is missing."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.missing: dict[str, str] = {}

    def part(self, path: str, read: Callable[[], T], default: T) -> T:
        """What `read` returns, or the default if the file is missing or damaged."""
        try:
            return read()
        except YoyakError as error:
            self.missing[path] = str(error)
        except (ValueError, KeyError, TypeError, AttributeError, csv.Error, yaml.YAMLError) as error:
            self.missing[path] = f"{path}: damaged: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return default

    def json(self, path: str) -> dict[str, Any]:
        """The content of a JSON file; empty if it is missing."""
        return self.part(path, lambda: _mapping(json.loads(self.run.read(path))), {})


def collect_run(run: Run) -> RunFacts:
    """Read what there is of a run. It fails only if the run itself does not exist (`Run.find`)."""
    reader = _Reader(run)
    params = reader.part("params.yaml", lambda: dict(run.params), dict[str, Any]())
    family = str(params.get("model.family") or "")
    scores = reader.json(SCORES)
    facts = RunFacts(
        name=run.name,
        commit=_commit(run),
        family=family,
        params=params,
        stale=reader.part("dvc.lock", lambda: _stale_params(run, params), []),
        scores=scores if scores and "pruned" not in scores else None,
        pruned=str(scores.get("pruned") or ""),
        reports={name: found for name in REPORTS if (found := reader.json(f"metrics/{name}.json"))},
        gates=_gate_lines(run),
        packages=_packages(run),
        costs=reader.part("dvc.lock", lambda: _costs(run), {}),
        rows=_read_rows(reader, params),
    )
    facts.base, facts.base_params = _base_params(run)
    if family and family != "endpoint":
        folder = f"metrics/train/{family}"
        facts.arguments = reader.json(f"{folder}/arguments.json")
        facts.curves = _read_curves(run, folder)
    facts.missing = reader.missing
    return facts


def read_dev_rows(run: Run) -> tuple[list[DevRow], dict[str, str]]:
    """The dev dialogues of a run, and why a file could not be read, by its path."""
    reader = _Reader(run)
    params = reader.part("params.yaml", lambda: dict(run.params), dict[str, Any]())
    return _read_rows(reader, params), reader.missing


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("not a JSON object")
    return value


def _commit(run: Run) -> str:
    if run.revision is None:
        return ""
    try:
        return git(run.root, "show", "-s", "--format=%h (%cs)", run.revision)
    except YoyakError:
        return run.revision[:7]


def _base_params(run: Run) -> tuple[str, dict[str, Any] | None]:
    """The params of the last commit for the workspace, and of the commit below for a commit or an experiment."""
    revision = "HEAD" if run.revision is None else f"{run.revision}^"
    try:
        values: Any = parse_yaml(git(run.root, "show", f"{revision}:./params.yaml"))
        name = git(run.root, "rev-parse", "--short", revision)
        return f"HEAD ({name})" if run.revision is None else name, flatten(_mapping(values))
    except (YoyakError, ValueError, TypeError):  # no repository, the first commit, or no params.yaml in it
        return "", None


def _stale_params(run: Run, params: Mapping[str, Any]) -> list[str]:
    """Params whose value in dvc.lock, which is that of the last run, is another one."""
    lock: Any = yaml.safe_load(run.read("dvc.lock"))
    found: dict[str, None] = {}
    for stage in lock["stages"].values():
        used = flatten((stage.get("params") or {}).get("params.yaml") or {})
        found |= dict.fromkeys(name for name, value in used.items() if name in params and not _same(params[name], value))
    return list(found)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal. dvc.lock writes 1.0e-5 as 1e-05, which is a text in YAML 1.1."""
    if isinstance(one, float) and isinstance(other, str):
        try:
            return one == float(other)
        except ValueError:
            return False
    return bool(one == other)


def _costs(run: Run) -> dict[str, float | None]:
    try:
        return costs_of(run)
    except YoyakError:  # a run without scores has no price
        return {"model_megabytes": None if run.model_bytes is None else round(run.model_bytes / 1e6, 1)}


def _gate_lines(run: Run) -> list[str]:
    try:
        return [line for line in run.read("metrics/gates.txt").splitlines() if line and not line.startswith("no gates")]
    except YoyakError:  # the stage came later than some runs
        return []


def _packages(run: Run) -> dict[str, str]:
    """The versions of PACKAGES that requirements.txt of the run pins."""
    try:
        lines = run.read("requirements.txt").splitlines()
    except YoyakError:
        return {}
    pins = dict(line.split("==", 1) for line in lines if "==" in line and not line.startswith("#"))
    return {name: pins[name].split()[0] for name in PACKAGES if name in pins}


def _read_curves(run: Run, folder: str) -> dict[str, Points]:
    curves = {}
    for name in CURVES:
        try:
            lines = run.read(f"{folder}/plots/metrics/{name}.tsv").splitlines()[1:]
            points = [(float(step), float(value)) for step, value in (line.split("\t") for line in lines)]
        except (YoyakError, ValueError):  # not every training has every curve
            continue
        if points := [point for point in points if all(map(math.isfinite, point))]:
            curves[name] = points
    return curves


def _read_rows(reader: _Reader, params: Mapping[str, Any]) -> list[DevRow]:
    run, none = reader.run, dict[str, Any]
    tags: PersonTags = params.get("preprocess.person_tags") or "keep_original"
    predictions = reader.part(DEV_PREDICTIONS, lambda: _summaries(run), none())
    scores = reader.part(PER_DIALOGUE, lambda: _row_scores(run), none())
    processed = reader.part(DEV_ROWS, lambda: list(map(_mapping, map(json.loads, _lines(run)))), list[dict[str, Any]]())
    if not processed:  # summaries alone are worth showing too
        processed = [{"fname": name, "dialogue": "", "references": []} for name in predictions]
    return [
        DevRow(
            fname=str(row.get("fname", "")),
            topic=str(row.get("topic") or ""),
            dialogue=restore_person_tags(str(row.get("dialogue", "")), tags),
            references=[str(text) for text in row.get("references") or ()],
            summary=predictions.get(str(row.get("fname", ""))),
            scores=scores.get(str(row.get("fname", "")), {}),
        )
        for row in processed
    ]


def _summaries(run: Run) -> dict[str, Any]:
    return {row["fname"]: row["summary"] or "" for row in run.read_table(DEV_PREDICTIONS)}


def _lines(run: Run) -> list[str]:
    """The lines of data/processed/dev.jsonl. `splitlines` would also split at U+2028."""
    return [line for line in run.read(DEV_ROWS).split("\n") if line]


def _row_scores(run: Run) -> dict[str, Any]:
    table = run.read_table(PER_DIALOGUE)
    return {row["fname"]: {key: float(value) for key, value in row.items() if key != "fname" and value} for row in table}
