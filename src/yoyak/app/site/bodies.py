"""The HTML of the app's own pages. Without JavaScript the board, the searches and the list of logs are readable too."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from yoyak.app.schema import EXAMPLE, MOST_CHARACTERS
from yoyak.app.site.models import MODEL_FILES, Offer
from yoyak.app.site.shell import text
from yoyak.app.site.try_models import MOST_MODELS, MOST_ROWS
from yoyak.reports.experiments import BEST_BY, WORKSPACE
from yoyak.reports.page.frame import Language
from yoyak.reports.page.markup import escape, table

PLAIN_ROWS = 200  # of the table for readers without JavaScript


def board_body(snapshot: bytes, root: Path, language: Language) -> str:
    """The board. A script fills it."""
    known: dict[str, Any] = json.loads(snapshot)
    heads = [escape(text(key, language, "board")) for key in ("name", "state")] + [BEST_BY]
    rows = [
        [f'<a href="/runs/{quote(row["run"], safe="")}">{escape(row["name"])}</a>', escape(row["state"]),
         escape(row["metrics"].get(BEST_BY) or "–")]
        for row in known["rows"][:PLAIN_ROWS]
    ]  # fmt: skip
    plain = table(heads, rows, label=text("board", language, "sections"), class_name="wide")
    advice = "" if _is_trained(root) else f'<p class="hint" id="advice">{escape(text("not_trained", language))}</p>'
    return (
        f'<p class="lead">{escape(text("board_lead", language))}</p>{advice}'
        f"<noscript><p>{escape(text('no_script', language))}</p>{plain}</noscript>"
        '<div id="board" class="needs-script" aria-live="off"></div>'
    )


def _is_trained(root: Path) -> bool:
    models = root / "models"
    return any((folder / name).is_file() for folder in models.glob("*") if folder.name != "base" for name in MODEL_FILES)


def compare_body(language: Language, most: int) -> str:
    """How to choose what is compared."""
    return f'<div class="panel message"><p>{escape(text("how_to_compare", language, most=most))}</p></div>'


def searches_body(lines: Sequence[str], language: Language) -> str:
    """A link for each study."""
    found = [line.partition(": ") for line in lines if ": " in line]
    if not found:
        return f'<div class="panel message"><p>{escape(text("no_searches", language))}</p></div>'
    rows = [[f'<a href="/searches/{quote(name, safe="")}">{escape(name)}</a>', escape(states)] for name, _, states in found]
    heads = [escape(text(key, language)) for key in ("search", "trials")]
    return table(heads, rows, label=text("searches", language, "sections"), class_name="wide text")


def logs_body(listed: Sequence[Mapping[str, Any]], language: Language) -> str:
    """The list of logs, which a script keeps up to date, and the place for the end of one."""
    rows = [[escape(log["name"]), escape(text(log["kind"], language, "logs")), escape(log["last"])] for log in listed]
    heads = [escape(text(key, language, "logs")) for key in ("log", "what", "last")]
    plain = table(heads, rows, label=text("logs", language, "sections"), class_name="wide text")
    return (
        f'<p class="lead">{escape(text("logs_lead", language))}</p><noscript>{plain}</noscript>'
        '<div id="logs" class="needs-script"></div>'
    )


def try_body(offers: Sequence[Offer], states: Mapping[str, str], language: Language) -> str:
    """The form. A script sends it and shows the summaries."""

    def words(key: str, **values: object) -> str:
        return escape(text(key, language, "try", **values))

    if not offers:
        return f'<div class="panel message"><p>{words("no_models")}</p></div>'
    choices = []
    for number, offer in enumerate(offers):
        name = text("workspace", language, "try") if offer.name == WORKSPACE else offer.name
        size = f" · {offer.size / 1e6:,.1f} MB" if offer.size else ""
        loaded = f" · {words('in_memory')}" if states.get(offer.id) == "ready" else ""
        checked = " checked" if number == 0 else ""
        choices.append(
            f'<label class="choice"><input type="checkbox" name="model" value="{offer.id}" data-name="{escape(name)}"{checked}>'
            f'<span><span class="choice-name">{escape(name)}</span><span class="detail">{escape(offer.family)}{size}{loaded}'
            "</span></span></label>"
        )
    return (
        f'<p class="lead">{words("lead")}</p><noscript><p><strong>{words("no_script")}</strong></p></noscript>'
        '<form id="try" class="needs-script try-form"><div class="panel">'
        f'<label for="dialogue">{words("dialogue")}</label>'
        f'<textarea id="dialogue" rows="9" spellcheck="false" placeholder="{escape(EXAMPLE)}"></textarea>'
        f'<p class="about">{words("limits", characters=f"{MOST_CHARACTERS:,}", rows=MOST_ROWS)}</p>'
        f'<div class="fields"><label>{words("file")} <input type="file" id="file" accept=".txt,.csv"></label>'
        f'<label>{words("topic")} <input type="text" id="topic" maxlength="200"></label>'
        f'<button type="button" id="example" data-text="{escape(EXAMPLE)}">{words("example")}</button></div></div>'
        f'<fieldset class="panel models"><legend>{words("models", most=MOST_MODELS)}</legend>'
        f'<div class="choices">{"".join(choices)}</div></fieldset>'
        f'<button type="submit" class="primary" id="go">{words("go")}</button>'
        '<p id="try-error" role="alert" class="bad-text"></p></form><div id="answers" aria-live="polite"></div>'
    )


def login_body(language: Language, *, wrong: bool) -> str:
    """The form for the key."""
    fault = f'<p role="alert" class="bad-text">{escape(text("wrong_key", language))}</p>' if wrong else ""
    return (
        f'<form method="post" class="panel message"><label>{escape(text("key", language))} '
        f'<input type="password" name="key" autocomplete="current-password" required></label> '
        f'<button type="submit" class="primary">{escape(text("sign_in", language))}</button>{fault}</form>'
    )
