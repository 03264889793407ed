"""The params that all trials of a study start from, and changes to them by dotted name."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoyak.config import presets
from yoyak.config.params import leaf_keys, parse_params
from yoyak.config.sections import Params
from yoyak.config.validation import nearest_key_hint
from yoyak.search.plan import PRESET
from yoyak.system.errors import YoyakError


@dataclass(frozen=True)
class BaseParams:
    """The params that all trials start from.

    Attributes:
        values: The content of params.yaml.
        fixed: Changes to `values` that all trials share, by dotted name.
        presets_folder: The folder of the presets that a trial can choose.
    """

    values: Mapping[str, Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    presets_folder: Path = Path("presets")

    def with_changes(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The content of params.yaml with the changes applied. `fixed` is not applied: `changes_of` includes it."""
        return apply_changes(changes, self.values)

    def with_fixed(self) -> dict[str, Any]:
        """The content of params.yaml with the changes that all trials share."""
        return apply_changes(self.fixed, self.values)

    def changes_of(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """All changes to params.yaml that a trial makes.

        Args:
            point: The value of each searched parameter. Values override the chosen preset, which overrides `fixed`.

        Returns:
            The changed values by dotted name, sorted. Values that params.yaml already has are left out.
        """
        changes = dict(self.fixed)
        if PRESET in point:
            overlay, _ = presets.read_preset(point[PRESET], self.presets_folder)
            changes |= flatten(overlay)
        changes |= {name: value for name, value in point.items() if name != PRESET}
        current = flatten(self.values)
        return {name: value for name, value in sorted(changes.items()) if name not in current or current[name] != value}

    def params_of(self, changes: Mapping[str, Any]) -> Params:
        """The typed params of a trial."""
        return parse_params(self.with_changes(changes), source="the params of the trial")


def apply_changes(changes: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested `values` with `changes` (by dotted name) applied.

    Raises:
        YoyakError: if params.yaml has no such key.
    """
    changed = copy.deepcopy(dict(values))
    for name, value in changes.items():
        if name not in leaf_keys():
            raise YoyakError(f"{name}: params.yaml has no such key{nearest_key_hint(name, Params)}")
        *sections, key = name.split(".")
        section = changed
        for part in sections:
            section = section[part]
        section[key] = value
    return changed


def get_value(values: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name in nested `values`."""
    for part in name.split("."):
        values = values[part]
    return values


def flatten(overlay: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted name. A param whose value is a mapping stays one value."""
    flat: dict[str, Any] = {}
    for key, value in overlay.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) and name not in leaf_keys() else {name: value}
    return flat


def nest(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values from values by dotted name; the reverse of `flatten`."""
    overlay: dict[str, Any] = {}
    for name, value in changes.items():
        *sections, key = name.split(".")
        section = overlay
        for part in sections:
            section = section.setdefault(part, {})
        section[key] = value
    return overlay
