"""The reference of all params, generated from the typed sections. The documents and the comments of params.yaml use it."""

from typing import Any, NamedTuple

from pydantic import BaseModel

from yoyak.config.sections import Params

_TYPE_NAMES = {"string": "text", "integer": "integer", "number": "number", "boolean": "true | false", "object": "mapping"}
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


class ParameterEntry(NamedTuple):
    """One key of params.yaml.

    Attributes:
        name: dotted name, such as "training.learning_rate".
        values: type or allowed values, such as "number > 0, ≤ 1" or "minimal | moderate | aggressive".
        description: what the key does. The first sentence alone is the comment in params.yaml.
    """

    name: str
    values: str
    description: str


def parameter_reference() -> list[ParameterEntry]:
    """All keys of params.yaml that have a value, in their order."""
    return _entries(Params, "")


def section_reference() -> dict[str, str]:
    """The description of each section, by dotted name, such as "training" or "model.qlora"."""
    return _sections(Params, "")


def _entries(model: type[BaseModel], prefix: str) -> list[ParameterEntry]:
    entries: list[ParameterEntry] = []
    schemas = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            entries += _entries(field.annotation, f"{prefix}{name}.")
        else:
            entries.append(ParameterEntry(prefix + name, _values_text(schemas[name]), field.description or ""))
    return entries


def _sections(model: type[BaseModel], prefix: str) -> dict[str, str]:
    sections: dict[str, str] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            sections[prefix + name] = " ".join((field.annotation.__doc__ or "").split())
            sections |= _sections(field.annotation, f"{prefix}{name}.")
    return sections


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _values_text(schema: dict[str, Any]) -> str:
    """The type or the allowed values of a JSON schema, as text."""
    if "anyOf" in schema:
        return " or ".join(_values_text(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in schema["enum"])
    if schema["type"] == "null":
        return "empty"
    if schema["type"] == "array":
        return f"list of {_values_text(schema['items'])}"
    bounds = [f"{sign} {_number(schema[bound])}" for bound, sign in _BOUNDS.items() if bound in schema]
    pattern = [f"matching `{schema['pattern']}`"] if "pattern" in schema else []
    return " ".join([_TYPE_NAMES[schema["type"]], ", ".join(bounds), *pattern]).replace("  ", " ").strip()
