"""Validation of a mapping against typed sections: every fault is reported at once, with the nearest valid key."""

import difflib
import functools
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from yoyak.system.errors import YoyakError
from yoyak.system.text_files import printable

MOST_SHOWN = 50  # faults named in a message


@functools.cache
def dotted_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key below `model`."""
    names = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += [prefix + name, *dotted_keys(kind, f"{prefix}{name}.")]
        else:
            names.append(prefix + name)
    return names


def nearest_key_hint(name: str, model: type[BaseModel]) -> str:
    """ " (did you mean KEY?)": the key of `model` that an unknown one was probably meant to be, or nothing.

    That is a sibling of nearly that name, or one of another section.
    """
    section, _, last = name.rpartition(".")
    valid = dotted_keys(model)
    anywhere = {key.rpartition(".")[2]: key for key in valid}
    siblings = {key.rpartition(".")[2]: key for key in valid if key.rpartition(".")[0] == section}
    found = [anywhere[last]] if last in anywhere else []
    for among, cutoff in ((siblings, 0.6), (anywhere, 0.7)):
        found += [among[near] for near in difflib.get_close_matches(last, among, n=1, cutoff=cutoff)]
    return f" (did you mean {found[0]}?)" if found else ""


def _describe(error: dict[str, Any], model: type[BaseModel]) -> str:
    """One line for one of pydantic's errors."""
    name = ".".join(printable(str(part)) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{name}: unknown key{nearest_key_hint(name, model)}"
    if error["type"] == "missing":
        return f"{name}: missing"
    message = printable(str(error["msg"]).removeprefix("Value error, "), 500)
    if error["type"] == "value_error":  # from a check over several keys, which names the key itself
        return f"{name}.{message}" if name else message
    return f"{name}: {message[0].lower()}{message[1:]} (is {_short(error['input'])})"


def _short(value: object) -> str:
    """A value as a message may hold it: Python refuses to write out an integer of very many digits."""
    if isinstance(value, int) and abs(value) >= 10**50:
        return "an integer of very many digits"
    try:
        return printable(repr(value), 200)
    except ValueError:
        return f"a {type(value).__name__} with an integer of very many digits"


Validated = TypeVar("Validated", bound=BaseModel)


def validate(model: type[Validated], values: object, *, source: str) -> Validated:
    """A mapping as a `model`.

    Raises:
        YoyakError: with one line for each unknown, missing, mistyped or out-of-range key. `source` is named in it.
    """
    if not isinstance(values, dict):
        raise YoyakError(f"{source}: no mapping of {', '.join(model.model_fields)}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        count = error.error_count()
        lines = [_describe(dict(item), model) for item in error.errors()[:MOST_SHOWN]]
        more = [f"and {count - MOST_SHOWN} more"] if count > MOST_SHOWN else []
        raise YoyakError("\n  ".join([f"{source}: {count} fault{'s' * (count > 1)}", *lines, *more])) from None
