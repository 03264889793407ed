"""One thin script a stage, run as `python -m stages.NAME` from the repository's root.

A queued experiment runs in a copy of the repository, while an editable install points to the workspace: so this package puts
the src folder that lies beside it first on the path, and with it the copy's own code.
"""

import fcntl
import importlib.util
import os
import signal
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

if importlib.util.find_spec("pydantic") is None:
    raise SystemExit(f"error: {sys.executable} has not yoyak's packages; run `make setup`, then `source .venv/bin/activate`")


def _parent_of(pid: int | str) -> int:
    """Of a process by Linux's /proc; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _above() -> list[int]:
    """Who started this process: its parent, and DVC behind that if it is the shell that DVC starts commands with."""
    parent = os.getppid()
    try:
        shell = Path(f"/proc/{parent}/comm").read_text(encoding="utf-8").strip() in ("sh", "bash", "dash", "zsh", "fish", "ksh")
    except OSError:
        shell = False
    return [parent, _parent_of(parent)] if shell else [parent]


def _gone(search: Path) -> bool:
    """Whether the search that started this run is gone: a kill releases its lock."""
    try:
        with open(search, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass
    return True


def _end_with_its_starter() -> None:
    """Kill this process once DVC or the search that started it was killed, or it would work on for nobody, beside the next."""
    search, above = os.environ.get("YOYAK_SEARCH"), _above()

    def watch() -> None:
        while _above() == above and not (search and _gone(Path(search))):
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if "DVC_STAGE" in os.environ:
    _end_with_its_starter()
    os.register_at_fork(after_in_child=_end_with_its_starter)  # a tokenizing process ends with its stage
