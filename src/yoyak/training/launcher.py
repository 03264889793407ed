"""Starts the processes of a training stage, and ends them together.

PyTorch's elastic agent, which is also inside torchrun and `accelerate launch`, starts and watches them. It runs in the process
of the stage. If a process fails, the agent ends the others, and the stage ends with the message of the one that failed first.
"""

import logging
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from yoyak.config.sections import Hardware
from yoyak.system.errors import YoyakError
from yoyak.system.process_limits import check_process_count
from yoyak.system.processes import LAUNCHED_VARIABLE, is_launched

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

LOST_CONTACT = 75  # exit status of a process that ends because another one did: EX_TEMPFAIL of sysexits.h
END_SECONDS = 5  # from the polite to the hard end of the other processes
LINES = 60  # of the output of a failed process


def starts_processes(hardware: Hardware) -> bool:
    """Whether this process only starts those that train together."""
    return hardware.processes > 1 and not is_launched()


def launch(module: str, hardware: Hardware) -> None:
    """Run `python -m MODULE` in several processes that train together, and wait for all.

    Process 0 writes to this console. What the others write is kept in files, and shown if they fail.

    Args:
        module: of the stage.
        hardware: how many processes.

    Raises:
        YoyakError: if this machine cannot run them, or a process was ended from outside.
        SystemExit: if a process has failed and has said why.
    """
    check_process_count(hardware.processes)
    os.environ[LAUNCHED_VARIABLE] = "1"
    os.environ["OMP_NUM_THREADS"] = str(hardware.threads_of_process or 1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    logs = Path(tempfile.mkdtemp(prefix="yoyak-processes-"))
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # the agent logs each step of starting and ending processes
    try:
        _run_agent(module, hardware, logs)
    finally:
        logging.disable(before)
        shutil.rmtree(logs, ignore_errors=True)


def _run_agent(module: str, hardware: Hardware, logs: Path) -> None:
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=hardware.processes,
        run_id="yoyak",
        max_restarts=0,  # the stage resumes when it runs again; a restart here would hide the fault
        shutdown_timeout=END_SECONDS,
        logs_specs=DefaultLogsSpecs(str(logs), redirects=dict.fromkeys(range(1, hardware.processes), Std.ALL)),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # a free port
        local_addr="localhost",
    )
    try:
        elastic_launch(config, sys.executable)("-m", module)
    except ChildFailedError as error:
        raise _failure(error, hardware, logs) from None
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + int(error.sigval)) from None
    except (DistError, RendezvousError) as error:
        text = " ".join(str(error).split())[:300]
        raise YoyakError(f"hardware.processes: the processes cannot be connected ({text})") from None


def _failure(error: "ChildFailedError", hardware: Hardware, logs: Path) -> BaseException:
    """What the stage ends with, from the failure that came first. Processes that lost contact are no cause."""
    consequences = (LOST_CONTACT, -signal.SIGABRT)  # gloo may abort a process whose connection to another one breaks
    failures = sorted(error.failures.items(), key=lambda item: (item[1].exitcode in consequences, item[1].timestamp))
    number, failure = failures[0]
    name = f"process {number + 1} of {hardware.processes} (pid {failure.pid})"
    if failure.exitcode < 0:
        hint = ", perhaps because the memory was full" if failure.exitcode == -signal.SIGKILL else ""
        return YoyakError(
            f"{name} was ended by the signal {failure.signal_name()}{hint}; the others were ended too. "
            "The same command continues from the last checkpoint"
        )
    if failure.local_rank == 0 and failure.exitcode != LOST_CONTACT:  # it has written to this console
        return SystemExit(failure.exitcode)
    if failure.exitcode == LOST_CONTACT:
        return YoyakError(f"{name} lost contact with another one; the same command continues from the last checkpoint")
    text = _last_lines(logs, failure)
    message = re.search(r"^error: (.*)", text, re.MULTILINE | re.DOTALL)
    return YoyakError(f"{name}: {message[1]}" if message else f"{name} failed:\n{text}")


def _last_lines(logs: Path, failure: "ProcessFailure") -> str:
    for file in logs.glob(f"*/attempt_0/{failure.local_rank}/stderr.log"):
        return "\n".join(file.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES:])
    return ""
