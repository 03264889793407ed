"""The page of augmentation: what each method added to train and why it rejected rows, with new rows beside their sources."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from yoyak.app.site.shell import text
from yoyak.reports.page.frame import Language
from yoyak.reports.page.markup import escape, table
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, read_jsonl

ROWS = 20  # on a page
REPORT, NEW_ROWS = "metrics/augment.json", "data/augmented/train.jsonl"
REJECTED, TRAIN = "data/augmented/rejected.jsonl", "data/processed/train.jsonl"
Row = Mapping[str, Any]


def augmentation_body(root: Path, language: Language, *, method: str, page: int) -> str:
    """The page for the files of the workspace.

    Args:
        root: folder of the repository.
        language: of the words around the rows.
        method: whose rows are shown; those of all methods, if there is none of this name.
        page: counted from 0. After the last page comes the last page.
    """

    def words(key: str, **values: object) -> str:
        return escape(text(key, language, "augmentation", **values))

    try:
        report = read_json(root / REPORT) if (root / REPORT).is_file() else None
        methods: Mapping[str, Any] = (report or {}).get("methods", {})
        if not methods:
            return _message(words("not_run" if report is None else "none"))
        method = method if method in methods else ""
        total = sum(counts["kept"] for name, counts in methods.items() if method in ("", name))
        page = max(0, min(page, (total - 1) // ROWS))
        wanted = (row for row in _read(root / NEW_ROWS) if method in ("", row["method"]))
        shown = list(islice(wanted, page * ROWS, (page + 1) * ROWS))
        rejected = [row for row in _read(root / REJECTED) if method in ("", row["method"])]
        sources = _sources(root, [*shown, *rejected])
    except (YoyakError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return _message(words("damaged", path="data/augmented"))
    heads = [words(key) for key in ("method", "tried", "kept", "rejected")]
    rows = [
        [
            f'<a href="?{urlencode({"method": name})}"{_current(name == method)}>{escape(name)}</a>',
            escape(counts["tried"]),
            escape(counts["kept"]),
            escape(", ".join(f"{reason} {count}" for reason, count in counts["rejected"].items()) or "–"),
        ]
        for name, counts in methods.items()
    ]
    pairs = "".join(_pair(row, sources.get(row["source"]), words) for row in shown)
    return (
        f'<p class="lead">{words("lead")}</p>{table(heads, rows, label=words("lead"), class_name="wide text")}'
        f'<p class="controls"><a href="?"{_current(not method)}>{words("all")}</a>{_pager(words, method, page, total)}</p>'
        f'<div class="answer pairs">{pairs}</div>{_rejected(rejected, sources, words)}'
    )


def _message(words: str) -> str:
    return f'<div class="panel message"><p>{words}</p></div>'


def _current(is_current: bool) -> str:
    return ' aria-current="true"' if is_current else ""


def _read(path: Path) -> Iterable[Row]:
    return read_jsonl(path) if path.is_file() and path.stat().st_size else ()


def _sources(root: Path, rows: Sequence[Row]) -> dict[str, Row]:
    """The rows of train that new rows were made from, by fname."""
    names = {row["source"] for row in rows}
    return {row["fname"]: row for row in _read(root / TRAIN) if row["fname"] in names}


def _pager(words: Any, method: str, page: int, total: int) -> str:
    def link(key: str, to: int) -> str:
        if not 0 <= to * ROWS < total or to == page:
            return ""
        return f' <a href="?{escape(urlencode({"method": method, "page": to}))}">{words(key)}</a>'

    said = words("rows", **{"from": min(total, page * ROWS + 1), "to": min(total, (page + 1) * ROWS), "all": total})
    return f'{link("earlier", page - 1)} <span class="about">{said}</span>{link("later", page + 1)}'


def _pair(new: Row, source: Row | None, words: Any) -> str:
    """A new row beside its source. Lines that the other one does not have are marked."""
    left = f"<p>{words('gone')}</p>" if source is None else _texts(source, new, words)
    right = _texts(new, source or {}, words)
    return (
        f'<section class="panel"><h2 class="pair-name">{escape(new.get("fname", new["source"]))}</h2><div class="side">'
        f"<div><h3>{words('source')}</h3>{left}</div><div><h3>{words('new')}</h3>{right}</div></div></section>"
    )


def _texts(row: Row, other: Row, words: Any) -> str:
    def lines(key: str) -> str:
        others = set(str(other.get(key, "")).split("\n"))
        return "\n".join(
            escape(line) if not other or line in others else f"<mark>{escape(line)}</mark>"
            for line in str(row.get(key, "")).split("\n")
        )

    summary = f"<strong>{words('summary')}</strong> {lines('summary')}"
    return f'<p class="summary dialogue">{lines("dialogue")}</p><p class="summary">{summary}</p>'


def _rejected(rows: Sequence[Row], sources: Mapping[str, Row], words: Any) -> str:
    """Examples of rejected rows, by method and reason."""
    by_reason: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_reason[row["method"], row["reason"]].append(row)
    if not by_reason:
        return ""
    parts = []
    for (method, reason), examples in by_reason.items():
        pairs = "".join(
            _pair(row, sources.get(row["source"]), words) if "dialogue" in row
            else f'<section class="panel"><h2 class="pair-name">{escape(row["source"])}</h2>'
            f'<div class="side"><div>{_texts(sources.get(row["source"], {}), {}, words)}</div></div></section>'
            for row in examples
        )  # fmt: skip
        name = f"{escape(method)}: {escape(reason)} ({len(examples)})"
        parts.append(f'<details class="answer"><summary>{name}</summary>{pairs}</details>')
    most = max(map(len, by_reason.values()))
    return f'<h2>{words("why")}</h2><p class="about">{words("why_about", count=most)}</p>{"".join(parts)}'
