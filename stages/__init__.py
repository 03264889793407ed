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

# A queued run has neighbours. OpenMP's threads spin while they wait, so that two runs of two threads on two cores train 17
# times slower each (docs/log.md); asleep they wait for nobody. It must be said before torch loads.
if Path(os.environ.get("DVC_ROOT", ROOT)).resolve() != ROOT:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if importlib.util.find_spec("pydantic") is None:
    raise SystemExit(f"error: {sys.executable} has not yoyak's packages; run `make setup`, then `source .venv/bin/activate`")


def _end_with(search: Path) -> None:
    """Kill this process once the search that started it is gone (a kill releases its lock), or it would train on for nobody."""
    while True:
        try:
            with open(search, "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.5)
            continue
        except FileNotFoundError:
            pass
        os.kill(os.getpid(), signal.SIGKILL)


if "YOYAK_SEARCH" in os.environ:
    threading.Thread(target=_end_with, args=[Path(os.environ["YOYAK_SEARCH"])], daemon=True).start()
