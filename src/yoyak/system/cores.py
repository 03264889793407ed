"""How many processor cores this process may use."""

import os


def usable_cores() -> int:
    """The cores that this process may run on, at least 1. On Linux a container or `taskset` may allow fewer than exist."""
    if hasattr(os, "sched_getaffinity"):  # Linux only
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
