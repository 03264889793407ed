"""Workers: the processes that run trials. The workers of one clone of the repository see each other through file locks."""

import contextlib
import fcntl
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from yoyak.system import locks

# In the root of the repository: the database of studies, locks, logs, and the clones in which trials run.
SEARCH_FOLDER = Path(".searches")


@contextlib.contextmanager
def exclusive_access() -> Iterator[None]:
    """Hold a lock that one worker (or thread of a worker) of this clone can hold at a time."""
    SEARCH_FOLDER.mkdir(exist_ok=True)
    (SEARCH_FOLDER / "lock").touch()
    with locks.exclusive_lock(SEARCH_FOLDER / "lock"):
        yield


class Worker:
    """This process. Other workers consider it alive as long as it holds the lock on its file; a kill releases the lock.

    Attributes:
        clone_id: Identifies this clone of the repository among all clones that work on a study.
        name: Identifies this worker: the clone's id and a random part.
        folder: Contains the lock file, and the clones in which this worker runs trials.
    """

    def __init__(self) -> None:
        with exclusive_access():
            id_file = SEARCH_FOLDER / "id"
            if not id_file.exists():
                id_file.write_text(uuid.uuid4().hex[:8], encoding="utf-8")
            self.clone_id = id_file.read_text(encoding="utf-8")
            self.name = f"{self.clone_id}-{uuid.uuid4().hex[:8]}"
            self.folder = SEARCH_FOLDER / "workers" / self.name
            self.folder.mkdir(parents=True)
            self._lock = open(self._lock_file_of(self.name), "wb")  # noqa: SIM115
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._remove_folders_of_dead_workers()

    def _remove_folders_of_dead_workers(self) -> None:
        for folder in self.folder.parent.iterdir():
            if self.is_dead(folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    def _lock_file_of(self, name: str) -> Path:
        return SEARCH_FOLDER / "workers" / name / "lock"

    @property
    def lock_path(self) -> Path:
        """The absolute path of the lock file. The stages of a trial end themselves when this lock is released."""
        return self._lock_file_of(self.name).resolve()

    def is_dead(self, name: str) -> bool:
        """Whether the worker `name` belonged to this clone and does not run any more.

        Workers of other clones are never reported as dead, because their locks are not visible here. Their heartbeats tell.
        """
        if name == self.name or not name.startswith(f"{self.clone_id}-"):
            return False
        try:
            with locks.exclusive_lock(self._lock_file_of(name), wait=False):
                return True
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Remove the folder and release the lock."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()
