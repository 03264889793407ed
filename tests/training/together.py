"""Runs a function in several processes that train together, forked from the test so that nothing is imported again."""

import os
import pickle
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def run_together(
    folder: Path, work: Callable[[], Any], *, processes: int = 2, timeout: float = 120, on_hosts: bool = False
) -> list[Any]:
    """What `work` returns in each of the processes. What it raises is raised here.

    Args:
        folder: where the results are kept.
        work: is called with the processes connected (`processes_together`).
        processes: how many.
        timeout: YOYAK_PROCESS_TIMEOUT.
        on_hosts: whether each process believes that it is alone on a host.
    """
    port, children = free_port(), []
    folder.mkdir(parents=True, exist_ok=True)
    for rank in range(processes):
        child = os.fork()
        if child == 0:
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
            if on_hosts:
                place |= {"LOCAL_RANK": 0, "GROUP_RANK": rank, "GROUP_WORLD_SIZE": processes}
            _work_in_child(folder, work, place, timeout)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    results = [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(processes)]
    for failed, result in results:
        if failed:
            raise AssertionError(result)
    return [result for _, result in results]


def _work_in_child(folder: Path, work: Callable[[], Any], place: dict[str, int], timeout: float) -> None:
    from yoyak.training.process_group import processes_together

    os.environ |= {name: str(value) for name, value in place.items()} | {
        "LOCAL_WORLD_SIZE": str(place["WORLD_SIZE"]),
        "MASTER_ADDR": "127.0.0.1",
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "YOYAK_PROCESS_TIMEOUT": str(timeout),
    }
    try:
        torch.set_num_threads(1)
        with processes_together({}):
            result: tuple[bool, Any] = (False, work())
    except BaseException:
        result = (True, traceback.format_exc())
    (folder / f"{place['RANK']}.pickle").write_bytes(pickle.dumps(result))
    os._exit(0)
