"""Keys of params.yaml that have another name today. Files of earlier versions still work, and a note says what to write."""

from collections.abc import Mapping
from typing import Any

OLD, NEW = "prompt.augmentation", "augment.templates.rate"
RATES = {"none": 0, "templates": 4}  # the values of the old key, and what they are today
HINT = f"{OLD} is {NEW} today: write 4 there for templates, 0 for none, and remove the old key"


def translated(values: object) -> object:
    """Nested values, such as the content of params.yaml or of a preset, without old keys. Other values are returned unchanged.

    An old key does not override the new one if that is set to another value than 0.
    """
    section = values.get("prompt") if isinstance(values, dict) else None
    if not isinstance(values, dict) or not isinstance(section, dict) or section.get("augmentation") not in RATES:
        return values
    rate = RATES[section["augmentation"]]
    prompt = {key: value for key, value in section.items() if key != "augmentation"}
    augment = _mapping(values.get("augment"))
    templates = _mapping(augment.get("templates"))
    if rate and not templates.get("rate"):
        augment = {**augment, "templates": {**templates, "rate": rate}}
    return {**values, "prompt": prompt, **({"augment": augment} if augment else {})}


def translated_change(name: str, value: Any) -> tuple[str, Any]:
    """A change of one key by its dotted name, under the name of today."""
    return (NEW, RATES[value]) if name == OLD and value in RATES else (name, value)


def without_old_keys(values: object) -> object:
    """As `translated`, for values without a section augment: those of a trained model, which has its rows behind it."""
    new = translated(values)
    return {key: value for key, value in new.items() if key != "augment"} if isinstance(new, dict) else new


def note_of(values: object) -> str:
    """What to tell a user whose values have an old key; empty if they have none."""
    section = values.get("prompt") if isinstance(values, dict) else None
    return HINT if isinstance(section, dict) and "augmentation" in section else ""


def _mapping(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
