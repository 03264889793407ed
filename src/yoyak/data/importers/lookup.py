"""The importers that FORMATS names, and the choice of one for a file."""

from collections.abc import Sequence
from importlib import import_module

from yoyak.data.importers import FORMATS
from yoyak.data.importers.base import Importer, Look, SourceFile
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import printable


def importer(name: str) -> Importer:
    """The importer of the format `name`."""
    found: Importer = import_module(f"yoyak.data.importers.{name}").IMPORTER
    return found


def choose_importer(file: SourceFile, look: Look, *, name: str) -> Importer:
    """The importer for a file.

    Args:
        file: for messages.
        look: what the file looks like.
        name: a format, or "auto" for the first format that recognizes the file.

    Raises:
        YoyakError: if no format recognizes it. The message names the keys or the first line that were found.
    """
    if name != "auto":
        return importer(name)
    for each in map(importer, FORMATS):
        if each.recognizes(look):
            return each
    raise YoyakError(
        f"{file.name}: no known format{_seen(look)}; name it with --format ({', '.join(FORMATS)}), and for tables and JSON "
        "name the columns: --columns dialogue=text,summary=output"
    )


def _seen(look: Look) -> str:
    if look.first:
        return f" (the first record has the keys {printable(', '.join(keys_of(look.first)), 200)})"
    if look.lines:
        return f" (the first line is {printable(look.lines[0], 60)!r})"
    return f" ({look.kind})"


def keys_of(value: object, *, prefix: str = "", depth: int = 3) -> Sequence[str]:
    """The dotted keys of a JSON value, down to `depth` levels; the elements of a list stand as `key[]`."""
    if isinstance(value, list):
        return keys_of(value[0], prefix=f"{prefix}[]", depth=depth) if value else [f"{prefix}[]"]
    if not isinstance(value, dict) or not depth:
        return [prefix] if prefix else []
    return [
        name
        for key, inner in value.items()
        for name in keys_of(inner, prefix=f"{prefix}.{key}" if prefix else str(key), depth=depth - 1)
    ]
