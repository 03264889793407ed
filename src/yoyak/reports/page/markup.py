"""Pieces of HTML with every text escaped."""

import html
import re
from collections.abc import Sequence
from typing import NamedTuple

from yoyak.system.text_files import to_json

# Characters that nobody sees and that can change how a text looks: controls, marks of direction, characters of zero width, line
# separators, tag characters, halves of a surrogate pair. Joiners stay, because emoji need them.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """`text` with every unseen character as its code, such as [U+202E], so that no text can pretend to be another one."""
    return UNSEEN.sub(lambda match: code_of(match[0]), text)


def code_of(character: str) -> str:
    """What stands for an unseen character: [U+202E]."""
    return f"[U+{ord(character):04X}]"


def escape(text: object) -> str:
    """`text` for an element or a quoted attribute, with unseen characters as codes (`visible`)."""
    return html.escape(visible(str(text)), quote=True)


def data_script(identifier: str, value: object) -> str:
    """A script element with JSON, which a browser does not run. No text in it can end the element."""
    text = to_json(value).encode("utf-8", "replace").decode()
    for sign, code in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029")):
        text = text.replace(sign, code)
    return f'<script type="application/json" id="{escape(identifier)}">{text}</script>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, label: str, class_name: str = "") -> str:
    """A table in a box that scrolls and that the keyboard reaches. The cells are HTML; the first cell of a row is its head.

    Args:
        header: one cell for each column.
        rows: cells.
        label: what the table shows, for screen readers. It is text.
        class_name: of the box, besides "scroll".
    """
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>" for first, *cells in rows
    )
    return (
        f'<div class="scroll {class_name}" role="region" tabindex="0" aria-label="{escape(label)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


class CardLine(NamedTuple):
    """A number of a card, with the name of its series (or an empty text) and a detail, each as text."""

    series: str
    number: str
    detail: str


def cards(items: Sequence[tuple[str, Sequence[CardLine]]]) -> str:
    """Numbers that a reader should see first: for each name the lines of its series, which have the colours of the charts."""
    return '<div class="cards">' + "".join(_card(name, lines) for name, lines in items) + "</div>"


def _card(name: str, lines: Sequence[CardLine]) -> str:
    shown = "".join(
        f'<div class="line">{series_name(line.series, index)}<span class="number">{escape(line.number)}</span>'
        f'<span class="detail">{escape(line.detail)}</span></div>'
        for index, line in enumerate(lines)
    )
    return f'<div class="card"><div class="name">{escape(name)}</div>{shown}</div>'


def series_name(name: str, index: int) -> str:
    """The name of a series behind a dot of its colour; nothing for an empty name."""
    return f'<span class="series"><span class="dot d{index % 4}"></span>{escape(name)}</span>' if name else ""
