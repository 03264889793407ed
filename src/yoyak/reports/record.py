"""Experiment records: docs/experiments/NAME.md with the facts of a run filled in, and prose that a person writes.

The facts stand between two marker lines. A later call replaces what is between them and keeps every other byte. The line that
begins them holds their main numbers as JSON, from which the index page is made.
"""

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoyak.evaluation.paired_tests import PairedResult
from yoyak.reports.comparison import Comparison, compare_runs, costs_of
from yoyak.reports.record_texts import TEXTS
from yoyak.reports.runs import Run
from yoyak.search.git_dvc import git
from yoyak.system.atomic import atomic_file
from yoyak.system.errors import YoyakError

FOLDER, INDEX = Path("docs/experiments"), "index.md"
BEGIN, END = "<!-- yoyak record: facts begin; `yoyak record` writes this part again", "<!-- yoyak record: facts end -->"
DATA = re.compile(rf"^{re.escape(BEGIN)} (\{{.*\}}) -->\r?$", re.M)
MAIN = ("rouge_sum", "content.rouge_sum")
MAX_VALUE = 60  # characters of a param's value


@dataclass(frozen=True)
class Record:
    """What a record states.

    Attributes:
        run: the run.
        comparison: with its parent as the base; None without a parent.
        commit: the start of its hash; None for the workspace.
        date: of the commit.
    """

    run: Run
    comparison: Comparison | None
    commit: str | None
    date: str | None

    @classmethod
    def of(cls, run: Run, parent: Run | None, *, samples: int, seed: int) -> "Record":
        """Read the run and compare it with its parent.

        Raises:
            YoyakError: if a file is missing, or the two cannot be compared.
        """
        if parent and (parent.root, parent.revision) == (run.root, run.revision):
            raise YoyakError(
                f"record: {run.name} and its parent {parent.name} are one run; give another --parent, or --no-parent"
            )
        comparison = compare_runs([parent, run], samples=samples, seed=seed) if parent else None
        described = git(run.root, "show", "-s", "--format=%h %cs", run.revision).split() if run.revision else [None, None]
        return cls(run, comparison, *described)


def parent_of(run: Run) -> Run | None:
    """The commit on which an experiment was made, or the one before a commit; for the workspace the last commit."""
    name = "HEAD" if run.revision is None else f"{run.revision}^"
    try:
        found = git(run.root, "rev-parse", "--verify", "--quiet", "--short", name)
    except YoyakError:  # the first commit
        return None
    return Run.find(run.root, found)


def record_path(name: str) -> Path:
    """The page of a run.

    Raises:
        YoyakError: if its name cannot be that of a file.
    """
    stem = name.replace("/", "-")
    if not re.fullmatch(r"[\w가-힣][\w.가-힣~^-]*", stem) or f"{stem}.md" == INDEX:
        raise YoyakError(f"record: {name} is no name for a page; give one with --name")
    return FOLDER / f"{stem}.md"


def write_record(path: Path, record: Record, *, language: str | None) -> bool:
    """Write a new record, or the facts of one that is there. Prose is never changed.

    Args:
        path: the page.
        record: the facts.
        language: "ko" or "en"; None for that of the page that is there, else Korean.

    Returns:
        Whether the page is new.

    Raises:
        YoyakError: if the page has no facts between marker lines.
    """
    old = read_page(path) if path.exists() else None
    if old is None:
        text = _new_page(path.stem, record, language or "ko")
    else:
        data, start, end = facts_of(path, old)
        text = old[:start] + _facts(record, language or str(data.get("language", "ko"))) + old[end:]
    with atomic_file(path) as file:
        file.write(text)
    return old is None


def read_page(path: Path) -> str:
    """The text of a page with its own line ends. YoyakError if it is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise YoyakError(f"{path}: is not UTF-8; save it as UTF-8") from None


def facts_of(path: Path, text: str) -> tuple[dict[str, Any], int, int]:
    """The data of a record, and where its facts begin and end."""
    begins, ends = list(DATA.finditer(text)), [match.end() for match in re.finditer(f"^{re.escape(END)}(?=\r?$)", text, re.M)]
    if len(begins) != 1 or len(ends) != 1 or ends[0] < begins[0].end():
        raise YoyakError(
            f"{path}: has {len(begins)} begin lines and {len(ends)} end lines of facts, where one of each is expected in this "
            f"order; the lines start with {BEGIN[:29]!r}. Nothing is changed: restore them (git checkout {path}), or move the "
            "file away"
        )
    try:
        data = json.loads(begins[0][1])
    except ValueError:
        data = {}
    return data, begins[0].start(), ends[0]


def _new_page(name: str, record: Record, language: str) -> str:
    texts = TEXTS[language]

    def blank(key: str) -> str:
        return f"## {texts[key]}\n\n> **{texts['write']}**: {texts[f'{key}_ask']}\n"

    facts = _facts(record, language)
    return "\n".join([f"# {name}\n", blank("purpose"), blank("hypothesis"), f"{facts}\n", blank("insight"), blank("next")])


def _facts(record: Record, language: str) -> str:
    """The lines between the markers, with them."""
    texts = TEXTS[language]
    data = json.dumps(_data(record, language), ensure_ascii=False).replace("--", "-\\u002d")
    parent = code(record.comparison.base) if record.comparison else texts["none"]
    lines = [
        f"{BEGIN} {data} -->",
        "",
        f"{texts['run']} {code(record.run.name)}, {texts['commit']} {record.commit or '-'}, "
        f"{texts['date']} {record.date or '-'}, {texts['parent']} {parent}",
        "",
        f"## {texts['settings']}",
        "",
        *_settings(record, texts),
        "",
        f"## {texts['result']}",
        "",
        *_values(record.run.scores, texts),
        *(_tests(record.comparison, record.run.name, texts) if record.comparison else []),
        "",
        f"{texts['signature']}: `{record.run.scores['signature']}`",
        "",
        f"## {texts['cost']}",
        "",
        *_costs(record, texts),
        "",
        END,
    ]
    return "\n".join(lines)


def _settings(record: Record, texts: Mapping[str, str]) -> list[str]:
    if record.comparison is None:
        return [texts["no_parent"]]
    changed = {name: values for name, values in record.comparison.params.items() if not name.startswith("search.")}
    if not changed:
        return [texts["equal"]]
    rows = [[code(name), *map(_value, values)] for name, values in changed.items()]
    return table_of([texts["setting"], record.comparison.base, record.run.name], rows)


def _values(scores: Mapping[str, Any], texts: Mapping[str, str]) -> list[str]:
    """The main scores and those of further metrics, with their intervals and the medoid's value."""
    further = [
        f"{name}.{key}"
        for name, part in scores.items()
        if isinstance(part, dict) and "signature" in part
        for key, ends in part["interval"].items()
        if not isinstance(ends, dict)
    ]
    rows = []
    for name in (*MAIN, *further):
        section, _, key = name.rpartition(".")
        own = scores.get(section, {}) if section else scores
        ends = (scores.get("interval", {}).get(section, {}) if section == "content" else own.get("interval", {})).get(key)
        medoid = scores.get("baselines", {}).get("medoid", {})
        other = (medoid.get(section, {}) if section else medoid).get(key)
        if key in own:
            rows.append([code(name), f"{own[key]:.2f}", range_of(ends), "-" if other is None else f"{other:.2f}"])
    return table_of([texts["metric"], texts["value"], texts["interval"], "medoid"], rows)


def _tests(comparison: Comparison, name: str, texts: Mapping[str, str]) -> list[str]:
    results: dict[str, PairedResult] = {metric: by_run[name] for metric, by_run in comparison.results.items()}
    rows = [
        [
            *(code(metric), f"{one.other_mean:.2f}", f"{one.mean:.2f}", f"{one.difference:+.2f}"),
            *(range_of(one.interval, "+.2f"), f"{one.p_corrected:.4f}", texts[one.verdict]),
        ]
        for metric, one in results.items()
    ]
    headings = [texts["metric"], comparison.base, name, texts["difference"], texts["interval"], "p", texts["verdict"]]
    first = "rouge_sum" if "rouge_sum" in results else next(iter(results))
    counts = {"wins": results[first].wins, "losses": results[first].losses, "ties": results[first].ties}
    return [
        "",
        f"### {texts['against'].format(parent=code(comparison.base), rows=comparison.rows)}",
        "",
        *table_of(headings, rows),
        "",
        f"{texts['wins'].format(metric=code(first), **counts)} {texts['tests']}",
    ]


def _costs(record: Record, texts: Mapping[str, str]) -> list[str]:
    costs = record.comparison.costs if record.comparison else {record.run.name: costs_of(record.run)}
    rows = [
        [texts[kind], *("-" if cost[kind] is None else f"{cost[kind]:,.4g}" for cost in costs.values())]
        for kind in next(iter(costs.values()))
    ]
    return table_of([texts["cost"], *costs], rows)


def _data(record: Record, language: str) -> dict[str, Any]:
    """What the index shows of a record."""
    scores = record.run.scores
    result = record.comparison.results.get("rouge_sum") if record.comparison else None
    return {
        "language": language,
        "run": record.run.name,
        "commit": record.commit,
        "date": record.date,
        "parent": record.comparison.base if record.comparison else None,
        "rouge_sum": scores.get("rouge_sum"),
        "content": scores.get("content", {}).get("rouge_sum"),
        "interval": scores.get("interval", {}).get("rouge_sum"),
        "difference": round(result[record.run.name].difference, 4) if result else None,
        "verdict": result[record.run.name].verdict if result else None,
    }


def table_of(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [[html.escape(heading, quote=False).replace("|", "\\|") for heading in headings], ["---"] * len(headings), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def range_of(ends: Sequence[float] | None, style: str = ".2f") -> str:
    return "-" if ends is None else f"[{ends[0]:{style}}, {ends[1]:{style}}]"


def _value(value: Any) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return code(text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…")


def code(text: str) -> str:
    """A text as code in a cell of a table. What would end the code, the cell or the facts is replaced."""
    text = " ".join(str(text).replace("`", "'").replace("<!--", "<! --").replace("|", "\\|").split())
    return f"`{text}`" if text else "-"
