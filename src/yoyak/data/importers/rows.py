"""Rows with one dialogue each, from any table or JSON: which column holds what, and the dialogue in a cell as turns."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yoyak.data.importers.base import ReadOptions, Record
from yoyak.data.importers.turn_lists import SPEAKER_KEYS, TEXT_KEYS, add_turns, is_turn_list, text_of
from yoyak.data.speaker_labels import UnlabelledDialogueError, labelled_turns
from yoyak.system.errors import YoyakError
from yoyak.system.invisible import is_blank
from yoyak.system.text_files import printable

# Column names of other programs, for each of ours; the first that a file has wins.
KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "fname": ("fname", "id", "dialogue_id", "dialogueid", "dialog_id", "filename", "file_name", "번호", "파일명", "대화번호"),
    "dialogue": (
        "dialogue",
        "dialog",
        "conversation",
        "text",
        "document",
        "input",
        "source",
        "transcript",
        "messages",
        "utterances",
        "conversations",
        "turns",
        "lines",
        "body",
        "대화",
        "대화문",
        "본문",
        "원문",
        "utterance",
    ),
    "summary": ("summary", "abstract", "output", "target", "label", "summaries", "요약", "요약문"),
    "topic": ("topic", "subject", "subject_keyword", "주제"),
    "speaker": SPEAKER_KEYS,
    "utterance": TEXT_KEYS,
}
COLUMNS = tuple(KNOWN_NAMES)
_FURTHER_SUMMARY = re.compile(r"summary_?[0-9]+")


def choose_columns(names: Sequence[str], options: ReadOptions, *, place: str) -> dict[str, str]:
    """The file's column for each of ours that it has.

    Args:
        names: the columns or keys of the file.
        options: the user's choice of columns comes first.
        place: of the file, for messages.

    Raises:
        YoyakError: if a column that the user names is missing, or no column holds the dialogue. The message lists the columns.
    """
    listed = printable(", ".join(names), 300)
    by_lower = {name.strip().lower(): name for name in reversed(names)}
    chosen = {}
    for ours, known in KNOWN_NAMES.items():
        if wanted := options.columns.get(ours):
            if wanted not in names and wanted.partition(".")[0] not in names:
                raise YoyakError(f"{place}: no column {printable(wanted)}; the columns are: {listed}")
            chosen[ours] = wanted
        elif name := next((by_lower[other] for other in known if other in by_lower), None):
            chosen[ours] = name
    if options.group and options.group not in names:
        raise YoyakError(f"{place}: no column {printable(options.group)} for --group; the columns are: {listed}")
    has_turns = "speaker" in chosen and "utterance" in chosen and "dialogue" not in options.columns
    # A column such as `text` is the utterance here, unless another one holds the whole dialogue.
    if has_turns and chosen.get("dialogue") in (None, chosen["utterance"]):
        chosen.pop("dialogue", None)
        return chosen
    if "dialogue" not in chosen:
        raise YoyakError(
            f"{place}: no column for the dialogue; the columns are: {listed}; name it with --columns dialogue=NAME,summary=NAME"
        )
    for ours in ("speaker", "utterance"):
        chosen.pop(ours, None)
    if chosen.get("summary") == chosen["dialogue"]:
        del chosen["summary"]
    return chosen


def value_at(row: Mapping[str, Any], name: str) -> Any:
    """The value of a column; a dotted name such as "input.text" goes into nested objects."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def row_record(row: Mapping[str, Any], columns: Mapping[str, str], options: ReadOptions, *, place: str) -> Record:
    """The record of a row that holds a whole dialogue, as text or as a list of utterances."""
    record = _without_turns(row, columns, options, place=place)
    dialogue = value_at(row, columns["dialogue"])
    if is_turn_list(dialogue):
        return add_turns(record, dialogue, speaker=options.columns.get("speaker"), utterance=options.columns.get("utterance"))
    if isinstance(dialogue, list) and all(isinstance(line, str) for line in dialogue):
        dialogue = "\n".join(dialogue)
    return add_text(record, text_of(dialogue), options)


def add_text(record: Record, text: str, options: ReadOptions) -> Record:
    """Add the turns of a dialogue that is one text. A text without speakers sets the record's problem."""
    if is_blank(text):
        record.problem = "empty_dialogue"
        return record
    try:
        record.turns, counts = labelled_turns(text, alternating=options.alternating)
        record.counts.update(counts)
    except UnlabelledDialogueError as error:
        record.problem, record.found = error.reason, error.found
    return record


def utterance_records(
    rows: Iterator[tuple[str, Mapping[str, Any]]], columns: Mapping[str, str], options: ReadOptions, *, where: str
) -> Iterator[Record]:
    """The records of a table with one utterance in each row. Rows of one dialogue follow each other and share their fname.

    Args:
        rows: each with its place.
        columns: from `choose_columns`.
        options: what the user says.
        where: the table, for messages.
    """
    if "fname" not in columns:
        raise YoyakError(
            f"{where}: a table with a column for the speaker and one for the utterance needs a column that names the dialogue; "
            "say which one with --columns fname=NAME"
        )
    current: Record | None = None
    items: list[Mapping[str, Any]] = []
    for place, row in rows:
        following = _without_turns(row, columns, options, place=place)
        if current is None or following.id != current.id:
            if current is not None:
                yield add_turns(current, items, speaker=columns["speaker"], utterance=columns["utterance"])
            current, items = following, []
        current.summaries = current.summaries or following.summaries
        items.append(row)
    if current is not None:
        yield add_turns(current, items, speaker=columns["speaker"], utterance=columns["utterance"])


def _without_turns(row: Mapping[str, Any], columns: Mapping[str, str], options: ReadOptions, *, place: str) -> Record:
    def cell(ours: str) -> str:
        return text_of(value_at(row, columns[ours])).strip() if ours in columns else ""

    split = row.get("split")
    return Record(
        place=place,
        id=cell("fname"),
        summaries=_summaries(row, columns),
        topic=cell("topic"),
        group=text_of(row.get(options.group)) if options.group else "",
        split=_SPLITS.get(split.strip().lower(), "") if isinstance(split, str) else "",
    )


_SPLITS = {"train": "train", "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev", "test": "test"}


def _summaries(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[str]:
    """All reference summaries: the chosen column (which may hold a list), then summary1, summary2 …"""
    value = value_at(row, columns["summary"]) if "summary" in columns else None
    texts = [text_of(each) for each in value] if isinstance(value, list) else [text_of(value)]
    texts += [text_of(row[name]) for name in row if _FURTHER_SUMMARY.fullmatch(name) and name != columns.get("summary")]
    return [text for text in texts if not is_blank(text)]
