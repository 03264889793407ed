import os
import signal
import threading
import time
from concurrent.futures.process import BrokenProcessPool

import pytest

from yoyak.system.process_pools import process_pool

TOO_MUCH_FOR_A_PIPE = b"x" * 2**22


def length(data: bytes) -> int:
    return len(data)


def die(_: bytes) -> None:
    time.sleep(0.2)  # the next text is being sent meanwhile
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_come_in_order() -> None:
    with process_pool(2) as pool:
        assert list(pool.map(length, [b"abc", b"", b"a"])) == [3, 0, 1]


def test_a_killed_process_ends_the_work_also_while_texts_are_sent_to_it() -> None:
    """Python 3.11.2, which Debian 12 has, waits here forever unless the reader is closed."""
    seen: list[BaseException] = []

    def work() -> None:
        try:
            with process_pool(1) as pool:
                list(pool.map(die, [TOO_MUCH_FOR_A_PIPE] * 8))
        except BrokenProcessPool as error:
            seen.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout=30)
    if thread.is_alive():
        pytest.fail("the pool waits for a process that is gone")
    assert len(seen) == 1
