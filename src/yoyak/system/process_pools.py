"""Pools of processes that end with an error, and do not wait forever, if one of the processes is killed."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
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
        except BrokenProcessPool:
            # Python before 3.11.7 and 3.12.1 waits forever if it was just writing to processes that do not read any more
            # (github.com/python/cpython/issues/94777). Without a reader, the writing ends with an error.
            if queue := getattr(pool, "_call_queue", None):
                queue._reader.close()
            raise
