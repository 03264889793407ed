"""Paths that DVC cannot write into its config.

DVC writes config files by configobj without an encoding, which means ASCII, in every locale. It truncates the file first.
So a command such as `dvc remote add` with another letter leaves an empty config, and the queue cannot write the path of the
cache for its copies.
"""

import os
from pathlib import Path

from yoyak.system.errors import YoyakError


def is_copy() -> bool:
    """Whether this is a copy of the repository that DVC deletes afterwards: a queued or --temp run, or a trial of a search."""
    return Path(os.environ.get("DVC_ROOT") or ".").resolve() != Path.cwd() or "YOYAK_SEARCH" in os.environ


def check_dvc_paths(root: Path) -> str:
    """Check what would break the queue or .dvc/config.

    Raises:
        YoyakError: naming the file or folder, and what works instead.
    """
    config, local = ((root / ".dvc" / name) for name in ("config", "config.local"))
    if config.is_file() and not config.read_bytes().strip():
        raise YoyakError(
            f"{config}: empty; DVC empties it when a command gets a path with letters other than ASCII; "
            "run `git checkout .dvc/config`, and give DVC an ASCII path (a symbolic link works)"
        )
    for path in (config, local):
        if path.is_file() and not path.read_bytes().isascii():
            raise YoyakError(
                f"{path}: has letters other than ASCII; the next `dvc config` or `dvc remote` would empty it; "
                "put a symbolic link with an ASCII path in place of that path"
            )
    if not str(root.resolve()).isascii() and not (local.is_file() and "dir" in local.read_text(encoding="ascii")):
        raise YoyakError(
            f"{root.resolve()}: `dvc queue` and `dvc exp run --temp` fail in a folder with letters other than ASCII; "
            "move the clone, or run `dvc config --local cache.dir FOLDER` with an ASCII path; all other commands work"
        )
    return "DVC can write all paths"
