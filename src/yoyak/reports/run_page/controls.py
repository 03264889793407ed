"""Search, filters and order of the rows, as real controls that rows.js uses; the count, the list and the pages below them."""

from collections.abc import Mapping, Sequence

from yoyak.reports.page.markup import escape
from yoyak.reports.run_page.browser import Browser

FIELDS = ("all", "dialogue", "reference", "summary", "fname")
PAGE_SIZES = ("25", "50", "100")
SHORTCUTS = {
    "/": "key_search",
    "j": "key_next_row",
    "k": "key_previous_row",
    "o": "key_open",
    "n": "key_next_page",
    "p": "key_previous_page",
    "?": "key_help",
}


def controls_html(browser: Browser, words: Mapping[str, str]) -> str:
    """What is above and below the list of rows. Without JavaScript it is hidden."""
    label = f'role="search" aria-label="{escape(words["controls"])}"'
    return (
        f'<div class="needs-script"><form class="controls" id="rows-form" {label}>{_controls(browser, words)}</form>'
        f'{_shortcuts(words)}<p id="rows-count" class="count" role="status" aria-live="polite"></p>'
        f'<div id="rows-list" class="dev-rows" role="region" aria-label="{escape(words["rows"])}" tabindex="-1"></div>'
        f"{_pager(words)}</div>"
    )


def _controls(browser: Browser, words: Mapping[str, str]) -> str:
    several = len(browser.runs) > 1
    parts = [_search(words), _select("where", words["where"], [(key, words[f"where_{key}"]) for key in FIELDS])]
    if len(browser.runs) > 2:
        pairs = [(str(place), f"{browser.runs[0]} – {name}") for place, name in enumerate(browser.runs) if place]
        parts.append(_select("pair", words["pair"], pairs))
    metrics = [*((name, name) for name in browser.metrics), ("", words["order_of_data"])]
    parts.append(_select("sort", words["sort"], metrics))
    prefix = "difference_" if several else ""
    directions = [(key, words[f"{prefix}{key}"]) for key in ("up", "down", *(["both"] if several else []))]
    parts.append(_select("direction", words["direction"], directions))
    if several:
        outcomes = [("", words["any_outcome"]), *((key, words[key]) for key in ("wins", "losses", "ties"))]
        parts.append(_select("outcome", words["outcome"], outcomes))
    elif browser.problems:
        kinds = [(str(place), words[kind]) for place, kind in enumerate(browser.problems)]
        parts.append(_select("kind", words["kind"], [("", words["any_kind"]), *kinds, ("none", words["no_kind"])]))
    parts += [_number("from", words["from"]), _number("to", words["to"])]
    parts.append(_select("size", words["size"], [(size, size) for size in PAGE_SIZES]))
    parts.append(f'<button type="button" id="rows-open" aria-pressed="false">{escape(words["open_all"])}</button>')
    parts.append(f'<button type="button" id="rows-reset">{escape(words["reset"])}</button>')
    return "".join(parts)


def _select(name: str, label: str, options: Sequence[tuple[str, str]]) -> str:
    shown = "".join(f'<option value="{escape(value)}">{escape(title)}</option>' for value, title in options)
    return f'<label class="control">{escape(label)}<select id="rows-{name}">{shown}</select></label>'


def _search(words: Mapping[str, str]) -> str:
    hint = f'autocomplete="off" spellcheck="false" placeholder="{escape(words["search_hint"])}"'
    return f'<label class="control search">{escape(words["search"])}<input id="rows-query" type="search" {hint}></label>'


def _number(name: str, label: str) -> str:
    field = f'<input id="rows-{name}" type="number" step="any" inputmode="decimal">'
    return f'<label class="control number">{escape(label)}{field}</label>'


def _shortcuts(words: Mapping[str, str]) -> str:
    keys = "".join(f"<li><kbd>{key}</kbd> {escape(words[name])}</li>" for key, name in SHORTCUTS.items())
    switch = f'<label><input type="checkbox" id="rows-keys" checked> {escape(words["shortcuts_on"])}</label>'
    summary = f"<summary>{escape(words['shortcuts'])}</summary>"
    return f'<details class="shortcuts">{summary}{switch}<ul>{keys}</ul></details>'


def _pager(words: Mapping[str, str]) -> str:
    names = ("first", "previous", "next", "last")
    buttons = "".join(f'<button type="button" id="rows-{name}">{escape(words[name])}</button>' for name in names)
    return f'<nav class="pager" aria-label="{escape(words["pages"])}">{buttons}<span id="rows-page"></span></nav>'
