"""The stages: one short script per stage. DVC runs each as `python -m stages.NAME` from the root of the repository.

Importing this package prepares the process of a stage:

- It puts the `src` folder next to this package first on the path. A queued experiment runs in a copy of the repository, but an
  editable installation points to the original. Without this line, the copy would run the original's code.
- If DVC started the process, it ends the process when DVC is killed. Otherwise the stage would continue without DVC, in
  parallel with the next run. This works on Linux and macOS. In the same way, processes that train together end with the stage
  that started them.
"""

import fcntl
import importlib.util
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

if importlib.util.find_spec("pydantic") is None:
    raise SystemExit(
        f"error: the packages of yoyak are not installed for {sys.executable}; "
        "run `make setup`, then `source .venv/bin/activate`"
    )

PROC = Path("/proc")  # Linux only
SHELLS = ("sh", "bash", "dash", "zsh", "fish", "ksh")
CHECK_SECONDS = 0.5
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells count


def starter_processes() -> list[int]:
    """Ids of the processes that started this one: its parent and, if the parent is a shell, the shell's parent.

    DVC starts the command of a stage through a shell. When DVC is killed, the shell stays, so its parent matters too. That
    parent is read from /proc. Where /proc is missing, as on macOS, only the parent itself is returned.
    """
    parent = os.getppid()
    try:
        is_shell = (PROC / str(parent) / "comm").read_text(encoding="utf-8").strip() in SHELLS
    except OSError:
        is_shell = False
    return [parent, _parent_of(parent)] if is_shell else [parent]


def _parent_of(pid: int) -> int:
    """The parent of a process, read from /proc, or 0 if the process has ended."""
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def search_has_ended(lock_file: Path) -> bool:
    """Whether the search that started this run has ended. A search locks its file, and a kill releases the lock."""
    try:
        with open(lock_file, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass
    return True


def end_with_starter() -> None:
    """Start a thread that kills this process when DVC, or the search in YOYAK_SEARCH, has ended."""
    search, starters = os.environ.get("YOYAK_SEARCH"), starter_processes()

    def watch() -> None:
        # The id of the parent changes when the parent ends, because the system gives its child a new parent.
        while starter_processes() == starters and not (search and search_has_ended(Path(search))):
            time.sleep(CHECK_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def exit_of_stage() -> Iterator[None]:
    """End a stage with a clear message. After an error or Ctrl-C, it also says which params are not committed.

    `dvc exp run -S` leaves its values in params.yaml when the run fails.

    Raises:
        SystemExit: with status 1 for an error that the user can correct, 130 after Ctrl-C. Other errors are bugs and pass.
    """
    from yoyak.system.errors import exit_with_message

    try:
        with exit_with_message():
            yield
    except SystemExit as error:
        if not isinstance(error.code, str):
            raise
        raise SystemExit("\n".join(filter(None, (error.code, _uncommitted_note())))) from None
    except KeyboardInterrupt:
        lines = ("interrupted; the same command continues from finished work", _uncommitted_note())
        print("", *filter(None, lines), sep="\n", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def _uncommitted_note() -> str:
    if os.environ.get("RANK", "0") != "0":  # one of several processes; the first one says it
        return ""
    from yoyak.config.uncommitted import uncommitted_note

    return uncommitted_note()


if "DVC_STAGE" in os.environ or "YOYAK_LAUNCHED" in os.environ:
    end_with_starter()
    os.register_at_fork(after_in_child=end_with_starter)  # a subprocess that tokenizes ends with its stage
