"""The skeleton of a page: head, navigation, sections, viewer of rows, and the scripts, all in one file."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from yoyak.reports.page.markup import data_script, escape
from yoyak.reports.page.rows import RowPool
from yoyak.system.atomic import atomic_file

Language = Literal["ko", "en"]
# Nothing is loaded from anywhere, whatever a text of the page contains.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; font-src data:; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
WORDS: dict[str, dict[Language, str]] = {
    "skip": {"en": "Skip to the content", "ko": "본문으로 건너뛰기"},
    "contents": {"en": "Contents", "ko": "차례"},
    "summary": {"en": "Summary", "ko": "요약"},
    "dialogue": {"en": "Dialogue", "ko": "대화"},
    "close": {"en": "Close", "ko": "닫기"},
    "examples": {"en": "{count} of these rows", "ko": "그중 {count}행"},
    "no_rows": {"en": "no row to show", "ko": "보여 줄 행이 없습니다"},
    "no_script": {
        "en": "Charts and rows need JavaScript. The tables have the same numbers.",
        "ko": "차트와 행 보기는 JavaScript가 필요합니다. 같은 숫자가 표에 있습니다.",
    },
    "theme_auto": {"en": "Colours: system", "ko": "화면: 시스템"},
    "theme_light": {"en": "Colours: light", "ko": "화면: 밝게"},
    "theme_dark": {"en": "Colours: dark", "ko": "화면: 어둡게"},
}


@dataclass(frozen=True)
class Section:
    """A part of a page: id, title (text), a remark below the title (text), and its HTML."""

    name: str
    title: str
    html: str
    about: str = ""


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title, lead: of the page, as text.
        language: of all texts.
        sections: in their order; the navigation lists them.
        rows: the rows that charts refer to.
        footer: text.
        charts: whether the page has charts of plotly.js, or rows that open from them.
        static: further files of static/, styles (.css) and scripts (.js).
        data: further JSON for scripts, by the id of its element.
        no_script: what a reader without JavaScript should know, as text; by default that of charts.
    """

    title: str
    lead: str
    language: Language
    sections: Sequence[Section]
    rows: RowPool = field(default_factory=RowPool)
    footer: str = ""
    charts: bool = True
    static: Sequence[str] = ()
    data: Mapping[str, object] = field(default_factory=dict)
    no_script: str = ""


def render_page(page: Page, *, above: str = "") -> str:
    """The page as one HTML document that loads nothing.

    Args:
        page: what it shows.
        above: HTML above the head, such as links to other pages.
    """
    words = {key: texts[page.language] for key, texts in WORDS.items()}
    links = "".join(f'<li><a href="#{escape(each.name)}">{escape(each.title)}</a></li>' for each in page.sections)
    styles = [_stylesheet(name) for name in page.static if name.endswith(".css")]
    parts = [
        f'<!doctype html><html lang="{page.language}"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(page.title)}</title><style>{_style()}{''.join(styles)}</style>",
        "<noscript><style>.plot, .needs-script { display: none !important }</style></noscript></head><body>",
        f'<a class="skip" href="#main">{words["skip"]}</a>{above}',
        f'<header><div class="head"><h1>{escape(page.title)}</h1>{_theme_button(words)}</div>',
        f'<p class="lead">{escape(page.lead)}</p>',
        f"<noscript><p><strong>{escape(page.no_script or words['no_script'])}</strong></p></noscript></header>",
        f'<nav aria-label="{words["contents"]}"><ul>{links}</ul></nav><main id="main">',
        *map(_section, page.sections),
        f"</main><footer>{escape(page.footer)}</footer>",
        *(data_script(name, value) for name, value in page.data.items()),
        *_scripts(page, words),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def script_sources(page: Page) -> list[str]:
    """The scripts of a page as sources of a Content-Security-Policy, so that a browser runs no other one."""
    words = {key: texts[page.language] for key, texts in WORDS.items()}
    scripts = [
        part.removeprefix("<script>").removesuffix("</script>") for part in _scripts(page, words) if part[:8] == "<script>"
    ]
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]


def write_page(path: Path, page: Page) -> None:
    """Write the page, whole or not at all."""
    with atomic_file(path) as file:
        file.write(render_page(page))


def _theme_button(words: Mapping[str, str]) -> str:
    texts = " ".join(f'data-{choice}="{words[f"theme_{choice}"]}"' for choice in ("auto", "light", "dark"))
    return f'<button class="theme" id="theme" type="button" hidden {texts}></button>'


def _scripts(page: Page, words: Mapping[str, str]) -> list[str]:
    own = [_static("theme.js"), *(_static(name) for name in page.static if name.endswith(".js"))]
    if not page.charts:
        return [f"<script>{''.join(own)}</script>"]
    data = [_viewer(words), data_script("words", words), data_script("rows", page.rows.rows)]
    return [*data, f"<script>{_plotly()}</script>", f"<script>{''.join([*own, _static('page.js')])}</script>"]


def _section(section: Section) -> str:
    about = f'<p class="about">{escape(section.about)}</p>' if section.about else ""
    return f'<section id="{escape(section.name)}"><h2>{escape(section.title)}</h2>{about}{section.html}</section>'


def _viewer(words: Mapping[str, str]) -> str:
    return (
        '<dialog id="viewer" aria-labelledby="viewer-title"><div class="dialog-head"><div><h3 id="viewer-title"></h3>'
        f'<p id="viewer-detail"></p></div><button id="viewer-close" autofocus>{words["close"]}</button></div>'
        '<div class="rows-list" id="viewer-rows"></div></dialog>'
    )


def _static(name: str) -> str:
    return files("yoyak.reports.page").joinpath("static", name).read_text(encoding="utf-8")


def _stylesheet(name: str) -> str:
    """A style with its dark colours, which stand in a file of their own because two rules need them."""
    return _static(name).replace("DARK_COLORS", _static(name.replace(".css", "-dark.css")))


@cache
def _style() -> str:
    font = files("yoyak.reports.page").joinpath("static", "yoyak-hangul.woff2").read_bytes()
    return _stylesheet("page.css").replace("FONT_URL", f"data:font/woff2;base64,{base64.b64encode(font).decode()}")


@cache
def _plotly() -> str:
    """plotly.js, as the package plotly brings it (4.8 MB). No text in it can end the script element."""
    script = files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
