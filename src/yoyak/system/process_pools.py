"""Pools of processes that end with an error, and do not wait forever, if one of the processes is killed."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import BaseContext


@contextmanager
def process_pool(
    processes: int, *, context: BaseContext | None = None, initializer: Callable[[], None] | None = None
) -> Iterator[ProcessPoolExecutor]:
    """A pool that shuts down at the end of the block.

    Args:
        processes: how many.
        context: how they start; None for the default of the platform.
        initializer: is called once in each of them.

    Raises:
        BrokenProcessPool: if one of them was killed, for example because the memory was full.
    """
    with ProcessPoolExecutor(processes, mp_context=context, initializer=initializer) as pool:
        try:
            yield pool
        except BaseException:  # also an error of this process, after which a caller may end the others
            if sys.version_info < (3, 11, 5):
                _end_writing(pool)
            raise


def _end_writing(pool: ProcessPoolExecutor) -> None:
    """Close the pipe to the processes, none of which reads any more, so that writing to it ends with an error.

    Python before 3.11.5 waits forever if it was just writing (github.com/python/cpython/issues/94777).
    """
    if queue := getattr(pool, "_call_queue", None):
        queue._reader.close()
