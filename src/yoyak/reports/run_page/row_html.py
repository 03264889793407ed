"""A row as HTML without JavaScript, in the same form as rows.js makes it, and the controls above the rows."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from yoyak.data.dialogue import SPEAKER_TAG, TAG
from yoyak.reports.page.markup import escape
from yoyak.reports.run_page.browser import Browser, BrowserRow, Shown
from yoyak.reports.run_page.marks import COPIED, DIFFERENT, NAME, NUMBER, UNKNOWN_TAG, Mark

CLASSES = {COPIED: "copied", NAME: "unknown", NUMBER: "unknown", UNKNOWN_TAG: "unknown", DIFFERENT: "different"}
SPEAKER_COLORS = 7  # colours of speakers; the eighth speaker has the first colour again
_SPEAKER_LINE = re.compile(r"(#Person[1-9][0-9]?#)\s*: ?(.*)", re.DOTALL)


def marked_html(shown: Shown) -> str:
    """A text with its marks and tags as HTML."""
    content, marks = shown
    units = content.encode("utf-16-le", "surrogatepass")  # marks count UTF-16 units, as JavaScript does
    cuts = sorted({0, len(units) // 2, *(place for mark in marks for place in mark[:2])})
    parts = []
    for start, end in pairwise(cuts):
        piece = units[2 * start : 2 * end].decode("utf-16-le", "replace")
        classes = sorted({CLASSES[mark.kind] for mark in marks if mark.start <= start and end <= mark.end})
        html = _with_tags(piece)
        parts.append(f'<span class="{" ".join(classes)}">{html}</span>' if classes else html)
    return "".join(parts)


def _with_tags(piece: str) -> str:
    parts, position = [], 0
    for match in TAG.finditer(piece):
        parts += [escape(piece[position : match.start()]), f'<span class="tag {tag_class(match[0])}">{escape(match[0])}</span>']
        position = match.end()
    return "".join([*parts, escape(piece[position:])])


def tag_class(tag: str) -> str:
    """The class that gives a tag its colour: p1 to p7 for speakers, `private` for other tags."""
    match = SPEAKER_TAG.fullmatch(tag)
    return f"p{(int(match[1]) - 1) % SPEAKER_COLORS + 1}" if match else "private"


def dialogue_html(shown: Shown) -> str:
    """The turns of a dialogue as a list."""
    content, marks = shown
    items, start = [], 0
    for line in content.split("\n"):
        length = len(line.encode("utf-16-le", "surrogatepass")) // 2
        within = [
            Mark(max(a - start, 0), min(b - start, length), kind) for a, b, kind in marks if a < start + length and b > start
        ]
        match = _SPEAKER_LINE.fullmatch(line)
        cut = match.start(2) if match else 0
        speaker = f'<span class="tag {tag_class(match[1])}">{escape(match[1])}</span>' if match else ""
        said = (line[cut:], [Mark(max(a - cut, 0), b - cut, kind) for a, b, kind in within if b > cut])
        items.append(f'<li><span class="who">{speaker}</span><span class="said">{marked_html(said)}</span></li>')
        start += length + 1
    return f'<ol class="turns">{"".join(items)}</ol>'


def row_html(browser: Browser, number: int, words: Mapping[str, str], *, level: int = 3) -> str:
    """One row: name, scores, problems, reference and summary side by side, and its dialogue behind a button."""
    row = browser.rows[number]
    sides = "sides three" if len(browser.runs) > 1 else "sides"
    topic = f'<span class="topic">{escape(row.topic)}</span>' if row.topic else ""
    return (
        f'<article class="dev-row"><div class="row-head"><h{level}>{escape(row.fname)}</h{level}>{topic}'
        f"{_scores(browser, number)}</div>{_problems(row, words)}"
        f'<div class="{sides}">{"".join(_sides(browser, row, words))}</div>{_dialogue(row, words)}</article>'
    )


def _scores(browser: Browser, number: int) -> str:
    pairs = [(name, " → ".join(_number(values[name][number]) for values in browser.values)) for name in browser.metrics]
    shown = "".join(f"<div><dt>{escape(name)}</dt><dd>{values}</dd></div>" for name, values in pairs)
    return f'<dl class="row-scores">{shown}</dl>' if shown else ""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".removesuffix(".00")


def _problems(row: BrowserRow, words: Mapping[str, str]) -> str:
    shown = "".join(
        f"<li><strong>{escape(words[kind])}</strong>{f' <span>{escape(evidence)}</span>' if evidence else ''}</li>"
        for kind, evidence in row.problems
    )
    return f'<ul class="problems">{shown}</ul>' if shown else ""


def _sides(browser: Browser, row: BrowserRow, words: Mapping[str, str]) -> list[str]:
    titles = (
        [words["reference"]]
        if len(row.references) == 1
        else [f"{words['reference']} {n + 1}" for n in range(len(row.references))]
    )
    references = "".join(
        f'<h4>{escape(title)}</h4><p class="text">{marked_html(each)}</p>'
        for title, each in zip(titles, row.references, strict=True)
    )
    summaries = []
    for place, each in enumerate(_marked_summaries(row)):
        title = words["summary"] if len(browser.runs) == 1 else browser.runs[place]
        body = f'<p class="text">{marked_html(each)}</p>' if each else f'<p class="text none">{escape(words["no_summary"])}</p>'
        summaries.append(f'<div class="side own"><h4>{escape(title)}</h4>{body}</div>')
    return [f'<div class="side">{references}</div>', *summaries]


def _marked_summaries(row: BrowserRow) -> Sequence[Shown | None]:
    """The summaries; those of two runs with the marks where they differ."""
    if len(row.pairs) != 1:
        return row.summaries
    return [None if each is None else (each[0], marks) for each, marks in zip(row.summaries, row.pairs[0], strict=True)]


def _dialogue(row: BrowserRow, words: Mapping[str, str]) -> str:
    if not row.dialogue[0]:
        return ""
    turns = row.dialogue[0].count("\n") + 1
    title = words["dialogue_turns"].format(count=turns)
    return f"<details><summary>{escape(title)}</summary>{dialogue_html(row.dialogue)}</details>"


def legend_html(words: Mapping[str, str], *, differences: bool) -> str:
    """What the marks mean."""
    if differences:
        items = [("different", words["mark_different"])]
    else:
        items = [("copied", words["mark_copied"]), ("unknown", words["mark_unknown"])]
    shown = "".join(f'<li><span class="{name}">{escape(words["sample"])}</span> {escape(about)}</li>' for name, about in items)
    tags = "".join(f'<span class="tag p{number}">#Person{number}#</span> ' for number in (1, 2, 3))
    return f'<ul class="legend">{shown}<li>{tags}{escape(words["mark_tags"])}</li></ul>'
