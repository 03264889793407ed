"""Summaries by several models for the page "Try it", as events, in the order in which they are finished."""

import asyncio
import csv
import io
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from yoyak.app.api import Service
from yoyak.app.errors import ApiError
from yoyak.app.metrics import Metrics
from yoyak.app.schema import LONGEST_TOPIC, MOST_CHARACTERS, Summary
from yoyak.app.site.model_pool import LoadedOffer, ModelPool, ready
from yoyak.app.site.models import Offer
from yoyak.data.person_tags import restore_person_tags
from yoyak.evaluation.facts import FactFinder
from yoyak.evaluation.morphemes import Morphemes
from yoyak.reports.page.markup import visible
from yoyak.reports.run_page.marks import composed, find_unsupported
from yoyak.system.errors import YoyakError

MOST_ROWS, MOST_MODELS, MOST_TEXT = 20, 8, 400_000
SECONDS = 300.0  # that one summary may take
LOG = logging.getLogger("yoyak.serve")
KINDS = {1: "name", 2: "number", 3: "tag"}  # of marks (`run_page.marks`)
# One thread: Mecab's results are kept in it.
_MARKING = ThreadPoolExecutor(1, thread_name_prefix="yoyak-marks")


class TryRequest(BaseModel):
    """What the page sends."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    models: list[Annotated[str, Field(max_length=64)]] = Field(min_length=1, max_length=MOST_MODELS)
    text: str = Field(max_length=MOST_TEXT)
    is_csv: bool = False
    topic: str = Field(default="", max_length=LONGEST_TOPIC)


@dataclass(frozen=True)
class Row:
    """A dialogue that somebody wants to see summarized."""

    name: str
    dialogue: str
    topic: str


def rows_of(request: TryRequest) -> list[Row]:
    """The dialogues of a request.

    Raises:
        YoyakError: if the text is no CSV with a column dialogue, or has too much.
    """
    rows = _csv_rows(request.text.removeprefix("\ufeff")) if request.is_csv else [Row("", request.text, request.topic)]
    for number, row in enumerate(rows, 1):
        place = row.name or f"dialogue {number}"
        if not row.dialogue.strip():
            raise YoyakError(f"{place}: no text; write a dialogue with one turn on each line, such as #Person1#: 안녕하세요.")
        if len(row.dialogue) > MOST_CHARACTERS:
            raise YoyakError(f"{place}: {len(row.dialogue):,} characters; at most {MOST_CHARACTERS:,} can be tried")
    return rows


def _csv_rows(text: str) -> list[Row]:
    csv.field_size_limit(MOST_TEXT)
    try:
        table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        names = [name.strip() for name in table.fieldnames or ()]
        if "dialogue" not in names:
            raise YoyakError(f"CSV: no column dialogue; the first line has: {', '.join(names)[:200] or 'nothing'}")
        table.fieldnames = names
        rows: list[Row] = []
        for row in table:
            if len(rows) == MOST_ROWS:
                raise YoyakError(f"CSV: more than {MOST_ROWS} rows; `yoyak summarize FILE` summarizes whole files")
            name = row.get("fname") or f"row {len(rows) + 1}"
            rows.append(Row(name, row["dialogue"] or "", (row.get("topic") or "")[:LONGEST_TOPIC]))
    except csv.Error as error:
        raise YoyakError(f"CSV: line {table.line_num}: {error}; quote cells that have line ends or quotes") from None
    if not rows:
        raise YoyakError("CSV: no rows below the first line")
    return rows


async def try_models(pool: ModelPool, offers: Sequence[Offer], rows: Sequence[Row], metrics: Metrics) -> AsyncIterator[bytes]:
    """Events as lines of JSON: waiting, loading, ready, summary and error for each model, then done."""
    events: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()
    work = asyncio.gather(*(_one_model(pool, offer, rows, metrics, events) for offer in offers))
    work.add_done_callback(lambda _: events.put_nowait(None))
    try:
        while (event := await events.get()) is not None:
            yield _line(event)
        work.result()
        yield _line({"event": "done"})
    finally:
        work.cancel()


def _line(event: Mapping[str, Any]) -> bytes:
    return (json.dumps(event, ensure_ascii=False) + "\n").encode("utf-8", "replace")


async def _one_model(
    pool: ModelPool,
    offer: Offer,
    rows: Sequence[Row],
    metrics: Metrics,
    events: "asyncio.Queue[Mapping[str, Any] | None]",
) -> None:
    def tell(event: str, **values: Any) -> None:
        events.put_nowait({"event": event, "model": offer.id, **values})

    start = time.monotonic()
    tell("waiting")
    try:
        async with pool.use(offer) as loaded:
            if loaded.engine.state == "loading":
                tell("loading")
            model = await ready(loaded)
            tell("ready", seconds=round(time.monotonic() - start, 2), backend=model.choice.backend)
            service = Service(loaded.engine, metrics, offer.name, SECONDS)
            await asyncio.gather(*(_one_row(service, loaded, number, row, tell) for number, row in enumerate(rows)))
    except YoyakError as error:
        lines = str(error).replace(offer.revision or offer.name, offer.name).split("\n")
        if offer.revision and "params.yaml" in lines[0]:
            lines.append("an earlier version of yoyak made this experiment; check out its commit to use its model")
        tell("error", message="\n".join(map(visible, lines)))
    except Exception as error:
        LOG.error("try: %s", type(error).__name__)  # its message may have text of a dialogue
        tell("error", message=f"{offer.name}: this model failed ({type(error).__name__}); the terminal has more")


async def _one_row(service: Service, loaded: LoadedOffer, number: int, row: Row, tell: Any) -> None:
    start = time.monotonic()
    try:
        answer, notes = await service.ask([("dialogue", row.dialogue)], [row.topic], {}, facts=True, status=422)
    except ApiError as error:
        tell("error", row=number, message=visible(error.message))
        return
    assert loaded.engine.model is not None and answer.facts is not None
    described = Summary.of(answer.written[0], answer.facts[0], notes[0])
    tags = loaded.engine.model.base.params.preprocess.person_tags
    source = restore_person_tags(row.dialogue, tags)
    parts, facts = await asyncio.get_running_loop().run_in_executor(_MARKING, marked_parts, described.summary, source)
    tell(
        "summary",
        row=number,
        parts=parts,
        facts=facts,
        notes=[visible(note) for note in described.notes],
        tokens=described.tokens.model_dump(),
        cut_off=described.cut_off,
        seconds=round(time.monotonic() - start, 2),
        writing=round(answer.writing, 2),
    )


def marked_parts(summary: str, dialogue: str) -> tuple[list[tuple[str, str]], list[dict[str, str]]]:
    """A summary in parts, each with the kind of fact (name, number, tag) that the dialogue lacks or "", and these facts."""
    text = composed(summary)
    found = find_unsupported(text, composed(dialogue), FactFinder(Morphemes()))
    parts, at = [], 0
    for mark in sorted(each.place for each in found if each.place is not None):
        if mark.start >= at:
            parts += [(text[at : mark.start], ""), (text[mark.start : mark.end], KINDS[mark.kind])]
            at = mark.end
    parts.append((text[at:], ""))
    shown = [(visible(part), kind) for part, kind in parts if part]
    return shown, [{"text": visible(each.text), "kind": KINDS[each.kind]} for each in found]
