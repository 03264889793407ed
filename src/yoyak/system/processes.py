"""Which of several processes that train together this process is. A launcher such as torchrun says so in the environment."""

import os
import socket

LAUNCHED_VARIABLE = "YOYAK_LAUNCHED"  # set in a process that a stage has started to train together with others


def is_launched() -> bool:
    """Whether a launcher started this process, one of at least one that train together."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """The number of this process among all, from 0. Process 0 writes the outputs."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """The number of the GPU of this process, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def host() -> int:
    """The number of this host among those that train together, from 0. Process 0 is on host 0."""
    return int(os.environ.get("GROUP_RANK", "0"))


def hosts() -> int:
    """How many hosts train together."""
    return int(os.environ.get("GROUP_WORLD_SIZE", "1"))


def process_name() -> str:
    """How messages name this process, such as `process 2 of 4 (pid 4711)`; processes and hosts count from 1."""
    where = f" on {host_name(host(), hosts(), socket.gethostname())}" if hosts() > 1 else ""
    return f"process {rank() + 1} of {world_size()} (pid {os.getpid()}){where}"


def host_name(number: int, hosts: int, name: str) -> str:
    """How messages name a host, such as `host 2 of 2 (node-b)`.

    Args:
        number: from 0.
        hosts: how many there are.
        name: its name in the network.
    """
    return f"host {number + 1} of {hosts} ({name})"
