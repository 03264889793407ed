"""Presets: named overlays that `python -m yoyak use NAME` writes into params.yaml, its comments kept."""

import difflib
import io
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from yoyak.config.params import leaf_keys, parse_params
from yoyak.config.sections import Params
from yoyak.config.yaml_files import read_yaml
from yoyak.system.atomic import atomic_file
from yoyak.system.errors import YoyakError


def preset_names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_preset(name: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of a preset, and what it says `about` its model (sources, shape).

    Raises:
        YoyakError: for an unknown preset (the nearest names are offered).
    """
    valid = preset_names(folder)
    if not valid:
        raise YoyakError(f"{folder}: there are no presets here; run from the repository's root")
    if name not in valid:
        near = difflib.get_close_matches(name, valid, n=3, cutoff=0.4) or valid
        raise YoyakError(f"no preset {name!r} in {folder}; did you mean: {', '.join(near)}?")
    overlay = read_yaml(folder / f"{name}.yaml")
    if not isinstance(overlay, dict):
        raise YoyakError(f"{folder / name}.yaml is no mapping of sections")
    about = overlay.pop("about", None) or {}
    return overlay, about


def params_with_preset(name: str, *, folder: Path, params: Path) -> Params:
    """The params with the preset over them; the file stays as it is. YoyakError if that is not valid."""
    overlay, _ = read_preset(name, folder)
    values = read_yaml(params)
    if not isinstance(values, dict):
        raise YoyakError(f"{params} is no mapping of sections")
    _overlay(values, overlay, "")
    return parse_params(values, source=f"{params} with preset {name}")


def write_preset(name: str, *, folder: Path, params: Path) -> list[str]:
    """Write the preset over `params` and return what changed, as "section.key: old → new".

    Raises:
        YoyakError: for an unknown preset, or if the result would not be valid; then the file stays as it was.
    """
    overlay, _ = read_preset(name, folder)
    return write_overlay(overlay, params=params, source=f"preset {name}")


def write_overlay(overlay: Mapping[str, Any], *, params: Path, source: str) -> list[str]:
    """Lay nested values over the file `params`, and return what changed, as "section.key: old → new".

    Raises:
        YoyakError: naming `source`, if the result would not be valid; then the file stays as it was.
    """
    if not isinstance(read_yaml(params), dict):
        raise YoyakError(f"{params} is no mapping of sections")
    yaml = YAML()  # round trip: keeps comments, order and quotes; lists are indented as `dvc exp run -S` does
    yaml.preserve_quotes = True
    yaml.width = 200
    values = yaml.load(params.read_text(encoding="utf-8"))
    changed = _overlay(values, overlay, "")
    parse_params(values, source=f"{params} with {source}")
    if not changed:
        return []
    text = io.StringIO()
    yaml.dump(values, text)
    if YAML(typ="safe", pure=True).load(text.getvalue()) != values:
        raise YoyakError(f"{params}: {source} cannot be written into it without harm; the file is as it was")
    with atomic_file(params) as file:
        file.write(text.getvalue())
    return changed


def _on_one_line(new: list[Any], values: MutableMapping[str, Any], key: str) -> CommentedSeq:
    """A list as [a, b]. With the comments that ruamel kept for a list on lines of its own, it would run into the next key."""
    if isinstance(values, CommentedMap) and (comments := values.ca.items.get(key)) and not comments[3]:
        comments[3] = None
    sequence = CommentedSeq(new)
    sequence.fa.set_flow_style()
    return sequence


def _overlay(values: MutableMapping[str, Any], overlay: Mapping[str, Any], prefix: str) -> list[str]:
    """Put every leaf of `overlay` into `values`, in place; one that is a mapping (lr_scheduler_kwargs) as a whole."""
    changed, whole = [], leaf_keys()
    for key, new in overlay.items():
        old = values.get(key)
        if isinstance(new, dict) and isinstance(old, dict) and f"{prefix}{key}" not in whole:
            changed += _overlay(old, new, f"{prefix}{key}.")
        elif old != new:
            changed.append(f"{prefix}{key}: {old} → {new}")
            values[key] = _on_one_line(new, values, key) if isinstance(new, list) else new
    return changed
