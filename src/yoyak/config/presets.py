"""Presets: named sets of values that `yoyak use NAME` writes into params.yaml. Comments and order are kept."""

import difflib
import io
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from yoyak.config.moved_keys import translated
from yoyak.config.params import leaf_keys, parse_params
from yoyak.config.sections import Params
from yoyak.config.yaml_files import read_yaml
from yoyak.system.atomic import atomic_file
from yoyak.system.errors import YoyakError


def preset_names(folder: Path) -> list[str]:
    """The names of all presets in a folder, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_preset(name: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a preset.

    Args:
        name: name of the preset: its file name without ".yaml".
        folder: the folder of the presets.

    Returns:
        The values by section, and the part `about`, which is not written into params.yaml: the sources of the values, and the
        shape of the model.

    Raises:
        YoyakError: if the preset does not exist (the message offers similar names) or its file is not a mapping.
    """
    valid = preset_names(folder)
    if not valid:
        raise YoyakError(f"{folder}: there are no presets here; run from the repository's root")
    if name not in valid:
        similar = difflib.get_close_matches(name, valid, n=3, cutoff=0.4) or valid
        raise YoyakError(f"no preset {name!r} in {folder}; did you mean: {', '.join(similar)}?")
    values = translated(read_yaml(folder / f"{name}.yaml"))
    if not isinstance(values, dict):
        raise YoyakError(f"{folder / name}.yaml: must be a mapping of sections")
    about = values.pop("about", None) or {}
    return values, about


def params_with_preset(name: str, *, folder: Path, params: Path) -> Params:
    """The values of a params file with a preset's values in place of its own. The file stays unchanged.

    Args:
        name: name of the preset.
        folder: the folder of the presets.
        params: path of the params file.

    Raises:
        YoyakError: if the preset does not exist or the result is not valid.
    """
    overlay, _ = read_preset(name, folder)
    values = read_yaml(params)
    if not isinstance(values, dict):
        raise YoyakError(f"{params}: must be a mapping of sections")
    _merge(values, overlay, "")
    return parse_params(values, source=f"{params} with preset {name}")


def write_preset(name: str, *, folder: Path, params: Path) -> list[str]:
    """Write a preset's values into a params file, and switch off training.debug.

    Args:
        name: name of the preset.
        folder: the folder of the presets.
        params: path of the params file.

    Returns:
        The changes, each as "section.key: old → new".

    Raises:
        YoyakError: if the preset does not exist or the result is not valid. The file stays unchanged then.
    """
    overlay, _ = read_preset(name, folder)
    if isinstance(training := overlay.setdefault("training", {}), dict):
        training.setdefault("debug", False)  # a preset is for a real run
    return write_overlay(overlay, params=params, source=f"preset {name}")


def write_overlay(overlay: Mapping[str, Any], *, params: Path, source: str) -> list[str]:
    """Write values into a params file. Its comments, order and quotes are kept.

    Args:
        overlay: the new values, nested as in the file.
        params: path of the params file.
        source: name of the overlay in error messages.

    Returns:
        The changes, each as "section.key: old → new".

    Raises:
        YoyakError: if the result is not valid. The file stays unchanged then.
    """
    if not isinstance(read_yaml(params), dict):
        raise YoyakError(f"{params}: must be a mapping of sections")
    yaml = YAML()  # the round-trip loader keeps comments; it formats lists as `dvc exp run -S` does
    yaml.preserve_quotes = True
    yaml.width = 200
    values = yaml.load(params.read_text(encoding="utf-8"))
    changes = _merge(values, overlay, "")
    parse_params(values, source=f"{params} with {source}")
    if not changes:
        return []
    text = io.StringIO()
    yaml.dump(values, text)
    if YAML(typ="safe", pure=True).load(text.getvalue()) != values:
        raise YoyakError(
            f"{params}: {source} cannot be written without changing other values; the file stays unchanged; "
            "simplify the layout of the keys that it changes"
        )
    with atomic_file(params) as file:
        file.write(text.getvalue())
    return changes


def _merge(values: MutableMapping[str, Any], overlay: Mapping[str, Any], prefix: str) -> list[str]:
    """Put each value of `overlay` into `values`, in place, and return the changes.

    A value that is itself a mapping, such as lr_scheduler_kwargs, is replaced as a whole.
    """
    changes, leaves = [], leaf_keys()
    for key, new in overlay.items():
        old = values.get(key)
        if isinstance(new, dict) and isinstance(old, dict) and f"{prefix}{key}" not in leaves:
            changes += _merge(old, new, f"{prefix}{key}.")
        elif old != new:
            changes.append(f"{prefix}{key}: {old} → {new}")
            values[key] = _list_on_one_line(new, values, key) if isinstance(new, list) else new
    return changes


def _list_on_one_line(new: list[Any], values: MutableMapping[str, Any], key: str) -> CommentedSeq:
    """A list that ruamel.yaml writes as [a, b].

    ruamel keeps the comments of an old list with one item per line. With these, the new list would run into the next key, so
    they are removed.
    """
    if isinstance(values, CommentedMap) and (comments := values.ca.items.get(key)) and not comments[3]:
        comments[3] = None
    sequence = CommentedSeq(new)
    sequence.fa.set_flow_style()
    return sequence
