"""Pools of processes that each hold a model: each gets a GPU of its own if there are several, and all end together."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from yoyak.system.errors import YoyakError
from yoyak.system.process_pools import process_pool


@contextmanager
def model_pool(processes: int, *, advice: str) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes are started when there is work for them, and ended at the end of the block.

    If one of them is killed, or the block ends with an error, the others are ended too. If this process is killed, they end.

    Args:
        processes: how many.
        advice: how the work goes on, for the message if one of them is killed.

    Raises:
        YoyakError: if one of them was killed, for example because the memory was full.
    """
    context = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    try:
        with process_pool(processes, context=context, initializer=_ProcessStart(context.Value("i", 0))) as pool:
            try:
                yield pool
            except BaseException:
                for process in set(multiprocessing.active_children()) - before:
                    process.terminate()
                raise
    except BrokenProcessPool:
        raise YoyakError(
            "a process that summarizes was killed, perhaps because the memory was full; the others were ended too; " + advice
        ) from None


def _end_with_main_process() -> None:
    main = multiprocessing.parent_process()
    if main is not None:
        main.join()
        os._exit(1)


class _ProcessStart:
    """Starts a process of the pool."""

    def __init__(self, started: Any) -> None:
        self.started = started  # number of processes so far, shared by all

    def __call__(self) -> None:
        os.environ["TQDM_DISABLE"] = "1"  # the main process shows the progress of all
        import torch
        from tqdm import tqdm

        tqdm.set_lock(threading.RLock())  # its default is a semaphore, which a killed process leaves behind with a warning
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the main process answers it
        threading.Thread(target=_end_with_main_process, daemon=True).start()
        with self.started.get_lock():
            os.environ["LOCAL_RANK"] = str(self.started.value % max(1, torch.cuda.device_count()))
            self.started.value += 1
