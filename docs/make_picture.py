"""Draw the output of `yoyak show` as docs/images/show.svg: `python docs/make_picture.py`.

An SVG stays sharp, is small, and changes in git only where a number changes.
"""

import json
import re
import textwrap
from html import escape
from pathlib import Path

from yoyak.evaluation.score_table import score_table

ROOT = Path(__file__).resolve().parents[1]
SCORES = ROOT / "metrics/scores.json"
PICTURE = ROOT / "docs/images/show.svg"
COLUMNS = 106  # characters of a line; longer ones (the signature) are wrapped
CHARACTER, LINE = 7.8, 18  # pixels


def _wrapped(text: str) -> list[str]:
    """The lines of `text`, the long ones broken at the separators of a signature."""
    lines: list[str] = []
    for line in text.splitlines():
        if len(line) <= COLUMNS:
            lines.append(line)
        else:
            breakable = re.sub(r"([|,])", r"\1 ", line)
            parts = textwrap.wrap(breakable, COLUMNS, subsequent_indent="           ", break_long_words=False)
            lines += [re.sub(r"([|,]) ", r"\1", part) for part in parts]
    return lines


def draw(output: str, *, command: str) -> str:
    """A terminal window as SVG that shows `command` and its `output`."""
    lines = [f"$ {command}", *_wrapped(output)]
    width, height = round(COLUMNS * CHARACTER) + 32, len(lines) * LINE + 56
    texts = []
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        start = len(line) - len(line.lstrip())
        shown = line.strip()
        style = ' fill="#8bc34a"' if index == 0 else ' fill="#fff" font-weight="700"' if line.startswith("model") else ""
        texts.append(
            f'<text x="{16 + start * CHARACTER:.1f}" y="{52 + index * LINE}" textLength="{len(shown) * CHARACTER:.1f}"'
            f' xml:space="preserve"{style}>{escape(shown)}</text>'
        )
    buttons = zip((20, 38, 56), ("#ff5f56", "#ffbd2e", "#27c93f"), strict=True)
    dots = "".join(f'<circle cx="{x}" cy="18" r="6" fill="{color}"/>' for x, color in buttons)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" aria-label="{escape(command)}">',
            f'<rect width="{width}" height="{height}" rx="8" fill="#263238"/>{dots}',
            '<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13" fill="#cfd8dc">',
            *texts,
            "</g></svg>",
            "",
        ]
    )


def picture() -> str:
    """The picture of the committed scores, as `yoyak show` prints them."""
    scores = json.loads(SCORES.read_text(encoding="utf-8"))
    return draw(score_table(scores), command="yoyak show")


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: written")
