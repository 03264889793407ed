"""Connects the processes that train together, and says which one is at fault if they lose each other."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from yoyak.system import processes
from yoyak.system.errors import YoyakError
from yoyak.system.process_limits import TIMEOUT_VARIABLE, process_timeout
from yoyak.system.text_files import to_json
from yoyak.training.launcher import LOST_CONTACT

LAST_CALL_SECONDS = 10.0  # in which the processes that wait say so, after one of them has waited too long


@contextmanager
def processes_together(facts: Mapping[str, str]) -> Iterator[None]:
    """Inside this context the processes that a launcher started are connected. Without a launcher it does nothing.

    Args:
        facts: names of things that must be the same in all processes, such as the data, with their hashes.

    Raises:
        YoyakError: if the facts differ, or if a process does not answer for `process_timeout` seconds.
        SystemExit: with LOST_CONTACT, if another process has ended.
    """
    if not processes.is_launched() or processes.world_size() == 1:
        yield
        return
    seconds = process_timeout()
    store = _open_store(seconds)
    try:
        store.set(f"name/{processes.rank()}", processes.process_name())
        store.set(f"facts/{processes.rank()}", to_json(dict(facts)))
        _check_same(store)
        _connect(store, seconds)
        yield
        if processes.hosts() > 1:
            share(None)  # a host must not end with a result if another one fails while it writes its own
        distributed.destroy_process_group()
    except RuntimeError as error:
        if not _is_lost_contact(error):
            raise
        raise _explain(error, store, seconds) from None


def _open_store(seconds: float) -> Any:
    """The table of names and values that all processes share. The launcher keeps it."""
    try:
        store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=seconds)))
    except distributed.DistError as error:
        raise YoyakError(
            f"{processes.process_name()} cannot reach the first one ({' '.join(str(error).split())[:200]})"
        ) from None
    store.set_timeout(timedelta(seconds=seconds))
    return store


def _connect(store: Any, seconds: float) -> None:
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(processes.local_rank())
        backend = "cpu:gloo,cuda:nccl"
        # A wait that lasts too long becomes an exception here. Otherwise NCCL ends the process without a message.
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
    distributed.init_process_group(
        backend,
        store=PrefixStore("group", store),
        rank=processes.rank(),
        world_size=processes.world_size(),
        timeout=timedelta(seconds=seconds),
    )


def _check_same(store: Any) -> None:
    """Compare the facts of all processes with those of the first. Each process comes to the same result."""
    first = store.get("facts/0").decode()
    for rank in range(1, processes.world_size()):
        own = store.get(f"facts/{rank}").decode()
        if own != first:
            expected, found = json.loads(first), json.loads(own)
            names = ", ".join(name for name in expected | found if expected.get(name) != found.get(name))
            raise YoyakError(
                f"{_name(store, rank)} and {_name(store, 0)} differ in: {names}; use the same commit, packages, params, "
                "data and kind of processor for all"
            )


def _name(store: Any, rank: int) -> str:
    key = f"name/{rank}"
    return store.get(key).decode() if store.check([key]) else f"process {rank + 1} of {processes.world_size()}"


def _is_lost_contact(error: RuntimeError) -> bool:
    text = str(error).lower()
    return isinstance(error, distributed.DistError) or "gloo" in text or "connection closed by peer" in text


def _explain(error: RuntimeError, store: Any, seconds: float) -> BaseException:
    """The error for a lost contact. Processes that wait too long name those that do not wait."""
    text = " ".join(str(error).split())
    if "timed out" not in text.lower() and "timeout" not in text.lower():
        return SystemExit(LOST_CONTACT)
    try:
        store.set(f"waits/{processes.rank()}", "1")
        time.sleep(min(LAST_CALL_SECONDS, seconds))
        missing = [rank for rank in range(processes.world_size()) if not store.check([f"waits/{rank}"])]
        names = " and ".join(_name(store, rank) for rank in missing)
    except RuntimeError:
        names = "the launcher"
    names = names or "some process"
    return YoyakError(
        f"{names} did not answer for {seconds:g} s: it hangs. The same command continues from the last "
        f"checkpoint. If it only works for so long, raise {TIMEOUT_VARIABLE} ({text[:200]})"
    )


def share(value: Any) -> list[Any]:
    """The values of all processes, in their order. Each process calls it."""
    if processes.world_size() == 1:
        return [value]
    values: list[Any] = [None] * processes.world_size()
    distributed.all_gather_object(values, value)
    return values


def from_first(value: Any) -> Any:
    """The value of process 0. Each process calls it; only that of process 0 counts."""
    if processes.world_size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]
