"""Whether this machine can run the processes that shall train together."""

import os

from yoyak.system.cores import usable_cores
from yoyak.system.errors import YoyakError

TIMEOUT_VARIABLE = "YOYAK_PROCESS_TIMEOUT"
DEFAULT_TIMEOUT = 1800.0  # torch's own; a large checkpoint on a slow disk takes minutes, in which the other processes wait


def process_timeout() -> float:
    """Seconds that processes wait for each other: YOYAK_PROCESS_TIMEOUT, or 1800.

    Raises:
        YoyakError: if the variable is no positive number.
    """
    text = os.environ.get(TIMEOUT_VARIABLE, str(DEFAULT_TIMEOUT))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 1e9:
        raise YoyakError(f"{TIMEOUT_VARIABLE}: {text!r} is not a number of seconds above 0")
    return seconds


def check_process_count(processes: int, *, hosts: int = 1) -> None:
    """Check that each process can have a GPU, or without GPUs a core, of its own.

    Args:
        processes: on this host.
        hosts: how many hosts train together.

    Raises:
        YoyakError: if there are fewer, or if PyTorch cannot connect processes.
    """
    if processes * hosts == 1:
        return
    import torch

    if not torch.distributed.is_available():
        raise YoyakError("this PyTorch is built without torch.distributed; set hardware.processes and hardware.hosts to 1")
    if torch.cuda.is_available():
        if processes > (gpus := torch.cuda.device_count()):
            raise YoyakError(
                f"hardware.processes: {processes} processes need a GPU each, but this machine has {gpus} that can be used "
                "(CUDA_VISIBLE_DEVICES may hide some); lower it"
            )
        if not torch.distributed.is_nccl_available():
            raise YoyakError("this PyTorch has no NCCL, which connects GPUs; set hardware.processes and hardware.hosts to 1")
    elif processes > (cores := usable_cores()):
        raise YoyakError(f"hardware.processes: {processes} processes, but this machine has {cores} cores and no GPU; lower it")
