"""The first look at a file: what kind of file it is, its encoding, its first lines and its first record."""

import itertools
import json
from pathlib import Path

from yoyak.data.importers.base import Look, SourceFile
from yoyak.data.importers.encodings import detect_encoding, open_text, undecodable
from yoyak.data.importers.json_records import json_records
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import first_bytes

FIRST_LINES = 200
MAX_LINE = 100_000  # characters of a line that are looked at
_KINDS = {b"PAR1": "parquet", b"PK\x03\x04": "zip"}
_DATASET_FILES = ("dataset_dict.json", "state.json", "dataset_info.json")


def is_dataset_folder(path: Path) -> bool:
    """Whether Hugging Face `datasets` saved this folder with `save_to_disk`."""
    return path.is_dir() and (
        (path / _DATASET_FILES[0]).is_file() or all((path / name).is_file() for name in _DATASET_FILES[1:])
    )


def look_at(file: SourceFile) -> Look:
    """What a file looks like.

    Raises:
        YoyakError: if it cannot be read, is empty, is no text in a known encoding, or is JSON that is damaged at its start.
    """
    suffix = Path(file.name).suffix.lower()
    if is_dataset_folder(file.path):
        return Look(suffix, "folder")
    head = first_bytes(file.path)
    if not head:
        raise YoyakError(f"{file.name}: the file is empty")
    if kind := _KINDS.get(head):
        return Look(suffix, kind)
    encoding = detect_encoding(file.path, file.name)
    try:
        with open_text(file.path, encoding) as text:
            lines = [line.rstrip("\r\n") for line in itertools.islice(iter(lambda: text.readline(MAX_LINE), ""), FIRST_LINES)]
    except UnicodeDecodeError as error:
        raise undecodable(file.name, encoding, error) from None
    if any("\0" in line for line in lines):
        raise YoyakError(f"{file.name}: not a text file: it has NUL bytes")
    kind = _json_kind(lines, suffix)
    if kind == "text":
        return Look(suffix, kind, encoding, tuple(lines))
    first = next(json_records(file, kind=kind, encoding=encoding), ("", {}))[1]
    return Look(suffix, kind, encoding, tuple(lines), first)


def _json_kind(lines: list[str], suffix: str) -> str:
    """ "json", "jsonl" or "text". A chat line such as "[민수] [오후 3:21]" starts as a JSON list and is text."""
    filled = [line.strip() for line in lines if line.strip()]
    if not filled or filled[0][0] not in "[{":
        return "json" if suffix == ".json" and filled else "text"
    if suffix in (".jsonl", ".ndjson"):
        return "jsonl"
    try:
        value = json.loads(filled[0])
    except ValueError:
        return "json" if suffix == ".json" or _starts_json(filled) else "text"
    if isinstance(value, dict) and len(filled) > 1:
        return "jsonl"
    return "json" if isinstance(value, dict | list) else "text"


def _starts_json(filled: list[str]) -> bool:
    """Whether the first characters that are no white space could begin a JSON value."""
    start = "".join(filled[:3]).replace(" ", "")[:2]
    return start in ("[{", '{"', "[[", "[]", "{}")
