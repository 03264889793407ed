"""params.yaml as typed, frozen sections. All errors are reported at once, by dotted name."""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yoyak.config.moved_keys import note_of, translated, translated_change
from yoyak.config.sections import Params
from yoyak.config.validation import dotted_keys, nearest_key_hint, validate
from yoyak.config.yaml_files import parse_yaml, read_yaml
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import printable

__all__ = ["Params", "leaf_keys", "load_params", "parse_change", "parse_params"]


def load_params(path: Path = Path("params.yaml"), *, changes: Sequence[str] = ()) -> Params:
    """Read and validate a params file.

    Args:
        path: the file.
        changes: values to use instead of the file's, each as "section.key=value". The file stays unchanged.

    Raises:
        YoyakError: naming the file or the key, if the file cannot be read or the values are not valid.
    """
    values = read_yaml(path)
    if values is None:
        raise YoyakError(f"{path}: is empty; restore it: git checkout {path}")
    source = str(path)
    if changes:
        source += " with " + printable(" ".join(f"-S {change}" for change in changes), 300)
    for name, value in map(parse_change, changes):
        *sections, key = name.split(".")
        target = values
        for section in sections:
            target = target.get(section) if isinstance(target, dict) else None
        if not isinstance(target, dict):
            raise YoyakError(f"{path}: section {'.'.join(sections)} is missing")
        target[key] = value
    if note := note_of(values):
        print(f"{path}: {note}", file=sys.stderr)
    return parse_params(values, source=source)


def parse_params(values: object, *, source: str) -> Params:
    """Validate a mapping of sections.

    Args:
        values: the mapping, such as the content of params.yaml.
        source: name of the mapping in error messages.

    Raises:
        YoyakError: with one line for each key that is unknown, is missing, or has a wrong value.
    """
    return validate(Params, translated(values), source=source)


def parse_change(change: str) -> tuple[str, Any]:
    """Split "section.key=value" into the dotted name and the value. The value is YAML, as with `dvc exp run -S`.

    Raises:
        YoyakError: if the key is unknown or the value is not YAML.
    """
    name, _, text = change.partition("=")
    try:
        name, value = translated_change(name, parse_yaml(text))
    except ValueError:
        raise YoyakError(f"{name}: {printable(repr(text))} is not a YAML value") from None
    if name not in leaf_keys():
        raise YoyakError(f"{printable(name)}: unknown key{nearest_key_hint(name, Params)}")
    return name, value


@functools.cache
def leaf_keys() -> list[str]:
    """The dotted names of all keys of params.yaml that have a value, in their order. Sections themselves are left out."""
    names = dotted_keys(Params)
    return [name for name in names if not any(other.startswith(f"{name}.") for other in names)]
