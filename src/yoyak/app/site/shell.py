"""The frame of the app's own pages, and the links that it puts above the pages of reports. No script or style is inline."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import cast

from yoyak.config.yaml_files import parse_yaml
from yoyak.reports.page.frame import WORDS, Language
from yoyak.reports.page.markup import data_script, escape

SECTIONS = {
    "board": "/",
    "try": "/try",
    "searches": "/searches",
    "explore": "/explore",
    "augmentation": "/augmentation",
    "logs": "/logs",
}
# Colours have a second value for pages without the style of yoyak's pages.
BAR_STYLE = (
    ".app-bar{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;align-items:baseline;max-width:1180px;margin:0 auto;"
    "padding:.7rem 1.25rem 0;font-size:.9rem}.app-bar a{color:var(--soft,#5c6470);text-decoration:none}"
    ".app-bar a:hover{text-decoration:underline}.app-bar strong{letter-spacing:-.01em}"
)


@cache
def _texts() -> dict[str, dict[str, dict[Language, str]]]:
    content = files("yoyak.app.site").joinpath("texts.yaml").read_text(encoding="utf-8")
    return cast("dict[str, dict[str, dict[Language, str]]]", parse_yaml(content))


def text(key: str, language: Language, group: str = "words", **values: object) -> str:
    """One of the texts of texts.yaml with its values."""
    return str(_texts()[group][key][language]).format(**values)


def words_of(group: str, language: Language) -> dict[str, str]:
    """All texts of a group, for a script."""
    return {key: texts[language] for key, texts in _texts()[group].items()}


def _links(language: Language, active: str = "") -> str:
    items = []
    for name, path in SECTIONS.items():
        here = ' aria-current="page"' if name == active else ""
        items.append(f'<a href="{path}"{here}>{escape(text(name, language, "sections"))}</a>')
    return f'<strong><a href="/">yoyak</a></strong>{"".join(items)}'


def above_page(language: Language) -> str:
    """Links to the app, for above a page that is one file."""
    label = escape(text("app", language))
    return f'<style>{BAR_STYLE}</style><div class="app-bar" role="navigation" aria-label="{label}">{_links(language)}</div>'


def app_page(
    name: str,
    body: str,
    language: Language,
    *,
    title: str = "",
    scripts: Sequence[str] = (),
    data: Mapping[str, object] | None = None,
    refresh: int = 0,
) -> str:
    """A page of the app.

    Args:
        name: of its section, which the links mark.
        body: HTML.
        language: of all texts.
        title: text; by default that of the section.
        scripts: names of static files.
        data: JSON for scripts, by the id of its element.
        refresh: seconds until a browser loads the page again; 0 for never.
    """
    shown = escape(title or text(name, language, "sections"))
    themes = {choice: WORDS[f"theme_{choice}"][language] for choice in ("auto", "light", "dark")}
    attributes = " ".join(f'data-{choice}="{escape(words)}"' for choice, words in themes.items())
    reload = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    parts = [
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">{reload}',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>{shown} · yoyak</title><link rel="stylesheet" href="/static/page.css">',
        '<link rel="stylesheet" href="/static/app.css"><link rel="icon" href="/static/icon.svg"></head><body class="app">',
        f'<a class="skip" href="#main">{escape(WORDS["skip"][language])}</a>',
        f'<nav aria-label="{escape(text("app", language))}"><div class="app-bar">{_links(language, name)}',
        f'<button class="theme" id="theme" type="button" hidden {attributes}></button></div></nav>',
        f'<main id="main"><h1>{shown}</h1>{body}</main>',
        *(data_script(key, value) for key, value in (data or {}).items()),
        *(f'<script src="/static/{script}" defer></script>' for script in ("theme.js", *scripts)),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def message_page(name: str, message: str, language: Language, *, title: str = "", refresh: int = 0) -> str:
    """A page that says one thing, as text."""
    lines = "".join(f"<p>{escape(line)}</p>" for line in message.split("\n"))
    return app_page(name, f'<div class="panel message" role="status">{lines}</div>', language, title=title, refresh=refresh)
