"""Pages that take seconds to make: each is made once, in a thread, and kept under a key of what it shows."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 200_000_000  # of all pages that are kept


@dataclass(frozen=True)
class MadePage:
    """A page: HTML in UTF-8 and its Content-Security-Policy."""

    body: bytes
    policy: str


class PageJobs:
    """Makes pages and keeps the last ones."""

    def __init__(self, *, threads: int = 2, most_bytes: int = MOST_BYTES) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="yoyak-page")
        self._jobs: OrderedDict[tuple[Any, ...], Future[MadePage]] = OrderedDict()
        self._lock = threading.Lock()
        self._most_bytes = most_bytes

    def get(self, key: tuple[Any, ...], make: Callable[[], MadePage], *, wait: float) -> MadePage | None:
        """The page, or None if it is still being made after `wait` seconds.

        Raises:
            YoyakError: what `make` raised. The page is made again at the next call.
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is None:
                job = self._jobs[key] = self._pool.submit(make)
            self._jobs.move_to_end(key)
        try:
            page = job.result(wait)
        except NotYetError:
            return None
        except BaseException:
            with self._lock:
                self._jobs.pop(key, None)
            raise
        self._forget_old(key)
        return page

    def _forget_old(self, key: tuple[Any, ...]) -> None:
        with self._lock:
            done = [
                (other, len(job.result().body))
                for other, job in self._jobs.items()
                if job.done() and not job.cancelled() and job.exception() is None
            ]
            total = sum(size for _, size in done)
            for other, size in done:
                if total <= self._most_bytes:
                    break
                if other != key:
                    del self._jobs[other]
                    total -= size

    def close(self) -> None:
        """Drop what waits. A page that is being made ends with the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)
