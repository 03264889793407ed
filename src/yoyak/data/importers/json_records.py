"""Records of JSON files of any size: a list, a list under a key, JSON lines, or one object that is a record itself."""

import json
from collections.abc import Iterator
from typing import Any

from yoyak.data.importers.base import SourceFile
from yoyak.data.importers.encodings import Utf8Bytes, open_text, undecodable
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import MAX_ROW_BYTES, printable

_TURN_KEYS = ("utterance", "utterances", "conversation", "dialogue", "dialog", "body", "messages", "turns")


def json_records(file: SourceFile, *, kind: str, encoding: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a file, each with its place for messages.

    Args:
        file: the file.
        kind: "json" or "jsonl".
        encoding: of the file.

    Raises:
        YoyakError: naming the file and the place, if the JSON is damaged or ends too early, or a record is not an object.
    """
    try:
        yield from (_lines(file, encoding) if kind == "jsonl" else _items(file, encoding))
    except UnicodeDecodeError as error:
        raise undecodable(file.name, encoding, error) from None


def _lines(file: SourceFile, encoding: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with open_text(file.path, encoding) as lines:
        for number, line in enumerate(iter(lambda: lines.readline(MAX_ROW_BYTES), ""), 1):
            if not line.strip():
                continue
            place = f"{file.name}:{number}"
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                raise YoyakError(
                    f"{place}: not a JSON value ({printable(line.strip(), 60)}); a JSON-lines file has one object on each "
                    "line, so the file is cut off or damaged here"
                ) from None
            yield place, _checked(value, place)


def _items(file: SourceFile, encoding: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each element of the first list of records in a JSON file, read as a stream."""
    import ijson

    prefix = records_prefix(file, encoding)
    number = 0
    with Utf8Bytes(file.path, encoding) as source:
        try:
            for number, value in enumerate(ijson.items(source, prefix, use_float=True), 1):
                place = f"{file.name}: record {number}"
                yield place, _checked(value, place)
        except ijson.JSONError as error:
            raise _damaged(file, number, error) from None
    if not number:
        raise YoyakError(f"{file.name}: a JSON file without records; expected a list of dialogues")


def records_prefix(file: SourceFile, encoding: str) -> str:
    """Where the records of a JSON file are, as ijson writes it: "item", "data.item", or "" if the whole file is one record.

    Raises:
        YoyakError: if the JSON is damaged before the first record.
    """
    import ijson

    with Utf8Bytes(file.path, encoding) as source:
        try:
            events = iter(ijson.parse(source, use_float=True))
            _, event, _ = next(events)
            if event == "start_array":
                return "item"
            if event != "start_map":
                raise YoyakError(f"{file.name}: a JSON file with one value that is neither a list nor an object")
            previous = ""
            for prefix, event, _ in events:
                # A list of objects on the first level holds the records, unless it is the list of the turns of one dialogue.
                if event == "start_map" and prefix.endswith(".item") and prefix.count(".") == 1 and previous == "start_array":
                    key = prefix.partition(".")[0]
                    return "" if key.lower() in _TURN_KEYS else prefix
                previous = event
        except StopIteration:
            raise YoyakError(f"{file.name}: the file is empty") from None
        except ijson.JSONError as error:
            raise _damaged(file, 0, error) from None
    return ""


def _damaged(file: SourceFile, count: int, error: Exception) -> YoyakError:
    after = f"after record {count}" if count else "before the first record"
    reason = " ".join(str(error).split())
    return YoyakError(
        f"{file.name}: damaged JSON {after} ({printable(reason, 120)}); the file is cut off or not JSON; copy or download it "
        "again"
    )


def _checked(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise YoyakError(f"{place}: not a JSON object; expected one object for each dialogue")
    return value
