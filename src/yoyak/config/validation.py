"""Validation of a mapping against typed sections. All errors are reported at once, with the nearest valid key."""

import difflib
import functools
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from yoyak.config import moved_keys
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import printable

MAX_REPORTED = 50  # errors in one message

Validated = TypeVar("Validated", bound=BaseModel)


def validate(model: type[Validated], values: object, *, source: str) -> Validated:
    """Convert a mapping, such as the content of a YAML file, to a model.

    Args:
        model: the class of the result.
        values: the mapping.
        source: name of the mapping in error messages, such as a path.

    Raises:
        YoyakError: with one line for each key that is unknown, is missing, or has a wrong value.
    """
    if not isinstance(values, dict):
        raise YoyakError(f"{source}: must be a mapping with the keys {', '.join(model.model_fields)}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        count = error.error_count()
        lines = [_error_line(dict(item), model) for item in error.errors()[:MAX_REPORTED]]
        more = [f"and {count - MAX_REPORTED} more"] if count > MAX_REPORTED else []
        raise YoyakError("\n  ".join([f"{source}: {count} error{'s' * (count > 1)}", *lines, *more])) from None


@functools.cache
def dotted_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """All keys of a model in their order, as dotted names: first each section, then the keys in it."""
    names = []
    for name, field in model.model_fields.items():
        annotation = field.annotation
        names.append(prefix + name)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            names += dotted_keys(annotation, f"{prefix}{name}.")
    return names


def nearest_key_hint(name: str, model: type[BaseModel]) -> str:
    """The text " (did you mean KEY?)" for an unknown key, or an empty text if no valid key is similar.

    KEY is the key with the same name in another section, or a key with a similar name: first in the same section, then in any
    section.

    Args:
        name: the unknown key, as a dotted name.
        model: the class that has the valid keys.
    """
    if name == moved_keys.OLD:
        return f" ({moved_keys.HINT})"
    section, _, last = name.rpartition(".")
    valid = dotted_keys(model)
    by_last_part = {key.rpartition(".")[2]: key for key in valid}
    siblings = {key.rpartition(".")[2]: key for key in valid if key.rpartition(".")[0] == section}
    candidates = [by_last_part[last]] if last in by_last_part else []
    # The cutoffs are difflib's similarity. A key of another section must be more similar than a sibling.
    for keys, cutoff in ((siblings, 0.6), (by_last_part, 0.7)):
        candidates += [keys[match] for match in difflib.get_close_matches(last, keys, n=1, cutoff=cutoff)]
    return f" (did you mean {candidates[0]}?)" if candidates else ""


def _error_line(error: dict[str, Any], model: type[BaseModel]) -> str:
    """One line for one of pydantic's errors."""
    name = ".".join(printable(str(part)) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{name}: unknown key{nearest_key_hint(name, model)}"
    if error["type"] == "missing":
        return f"{name}: missing"
    message = printable(str(error["msg"]).removeprefix("Value error, "), 500)
    if error["type"] == "value_error":  # from a validator of a section, whose message starts with the key
        return f"{name}.{message}" if name else message
    return f"{name}: {message[0].lower()}{message[1:]} (is {_short(error['input'])})"


def _short(value: object) -> str:
    """A value as text for a message. Python refuses to convert an integer with very many digits to text."""
    if isinstance(value, int) and abs(value) >= 10**50:
        return "an integer with very many digits"
    try:
        return printable(repr(value), 200)
    except ValueError:
        return f"a {type(value).__name__} with an integer with very many digits"
