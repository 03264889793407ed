"""Params that differ from the last commit. `dvc exp run -S` leaves them in params.yaml, also after a run that failed."""

import subprocess
from pathlib import Path
from typing import Any

from yoyak.config.params import leaf_keys
from yoyak.config.yaml_files import parse_yaml, read_yaml
from yoyak.system.dvc_paths import is_copy
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import printable

RESTORE = "git checkout params.yaml dvc.lock metrics && dvc checkout"
MAX_SHOWN = 20  # params in a message


def uncommitted_params(path: Path = Path("params.yaml")) -> list[str]:
    """The params of a file that differ from the last commit, each as "section.key: committed → now".

    Empty if there is no repository or no commit of the file, or if one of the two versions cannot be read.
    """
    try:
        done = subprocess.run(
            ["git", "show", f"HEAD:./{path.name}"], cwd=path.absolute().parent, capture_output=True, text=True, check=False
        )
        committed, now = parse_yaml(done.stdout) if done.returncode == 0 else None, read_yaml(path)
    except (OSError, ValueError, YoyakError):
        return []
    if not isinstance(committed, dict) or not isinstance(now, dict):
        return []
    pairs = ((name, _value_at(committed, name), _value_at(now, name)) for name in leaf_keys())
    return [f"{name}: {_text(old)} → {_text(new)}" for name, old, new in pairs if old != new or type(old) is not type(new)]


def uncommitted_note(path: Path = Path("params.yaml")) -> str:
    """What a failed or interrupted run says at its end: the params that differ, and how to go back. Often an empty text."""
    differing = uncommitted_params(path)
    if not differing or is_copy():
        return ""
    more = [f"and {len(differing) - MAX_SHOWN} more"] if len(differing) > MAX_SHOWN else []
    return "\n  ".join(
        [
            f"{path} differs from the last commit:",
            *differing[:MAX_SHOWN],
            *more,
            f"To go back to the committed params, model and scores: {RESTORE}",
        ]
    )


def _value_at(values: Any, name: str) -> object:
    for key in name.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "empty" if value is None else printable(str(value), 60)
