"""params.yaml as typed sections, from a file, from a mapping and with single changes."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yoyak.config.sections import Params
from yoyak.config.validation import dotted_keys, nearest_key_hint, validate
from yoyak.config.yaml_files import parse_yaml, read_yaml
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import printable

__all__ = ["Params", "leaf_keys", "load_params", "parse_change", "parse_params"]


@functools.cache
def leaf_keys() -> list[str]:
    """Every dotted name that has a value in params.yaml."""
    valid = dotted_keys(Params)
    return [name for name in valid if not any(other.startswith(f"{name}.") for other in valid)]


def parse_params(values: object, *, source: str) -> Params:
    """The typed parameters of a mapping. YoyakError as `check` has it."""
    return validate(Params, values, source=source)


def parse_change(change: str) -> tuple[str, Any]:
    """Name and value of "section.key=value", the value as YAML, like `dvc exp run -S`. YoyakError if it is none."""
    name, _, value = change.partition("=")
    if name not in leaf_keys():
        raise YoyakError(f"{printable(name)}: unknown key{nearest_key_hint(name, Params)}")
    try:
        return name, parse_yaml(value)
    except ValueError:
        raise YoyakError(f"{name}: {printable(repr(value))} is no YAML value") from None


def load_params(path: Path = Path("params.yaml"), *, changes: Sequence[str] = ()) -> Params:
    """Read and check params.yaml, with `changes` ("section.key=value") put over it."""
    values = read_yaml(path)
    for name, value in map(parse_change, changes):
        *sections, key = name.split(".")
        place = values
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise YoyakError(f"{path}: no section {'.'.join(sections)}")
        place[key] = value
    return parse_params(values, source=str(path))
