"""Who works on a study, and who is dead: the processes of one clone of the repository see each other by locks on files."""

import contextlib
import fcntl
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from yoyak.search.study import STATE
from yoyak.system import locks


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Alone among the workers of this clone."""
    STATE.mkdir(exist_ok=True)
    (STATE / "lock").touch()
    with locks.exclusive_lock(STATE / "lock"):
        yield


class Worker:
    """This process, as others see it: alive as long as it holds the lock on its file, which a kill releases."""

    def __init__(self) -> None:
        with locked():
            identity = STATE / "id"
            if not identity.exists():
                identity.write_text(uuid.uuid4().hex[:8], encoding="utf-8")
            self.clone = identity.read_text(encoding="utf-8")
            self.name = f"{self.clone}-{uuid.uuid4().hex[:8]}"
            self.folder = STATE / "workers" / self.name
            self.folder.mkdir(parents=True)
            self.lock = open(self._lock_of(self.name), "wb")  # noqa: SIM115
            fcntl.flock(self.lock, fcntl.LOCK_EX)
            for other in self.folder.parent.iterdir():  # what killed workers left
                if self.is_dead(other.name):
                    shutil.rmtree(other, ignore_errors=True)

    def _lock_of(self, name: str) -> Path:
        return STATE / "workers" / name / "lock"

    @property
    def path(self) -> Path:
        return self._lock_of(self.name).resolve()

    def is_dead(self, name: str) -> bool:
        """Whether that worker was one of this clone and is gone. Of other clones only their heartbeats tell."""
        if name == self.name or not name.startswith(f"{self.clone}-"):
            return False
        try:
            with locks.exclusive_lock(self._lock_of(name), wait=False):
                return True
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.close()
