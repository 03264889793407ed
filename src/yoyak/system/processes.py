"""Which of several processes that train together this process is. A launcher such as torchrun says so in the environment."""

import os

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


def process_name() -> str:
    """How messages name this process, such as `process 2 of 4 (pid 4711)`; processes count from 1."""
    return f"process {rank() + 1} of {world_size()} (pid {os.getpid()})"
