"""Starts the processes of a training stage, and ends them together.

PyTorch's elastic agent, which is also inside torchrun and `accelerate launch`, starts and watches them. It runs in the process
of the stage. If a process fails, the agent ends the others, and the stage ends with the message of the one that failed first.
With several hosts, each one has an agent (`hosts`).
"""

import logging
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak.config.sections import Hardware
from yoyak.system.errors import YoyakError
from yoyak.system.process_limits import check_process_count, process_timeout
from yoyak.system.processes import LAUNCHED_VARIABLE, is_launched
from yoyak.system.rendezvous import Rendezvous, read_rendezvous

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

LOST_CONTACT = 75  # exit status of a process that ends because another one did: EX_TEMPFAIL of sysexits.h
END_SECONDS = 5  # from the polite to the hard end of the other processes
LINES = 60  # of the output of a failed process


def starts_processes(hardware: Hardware) -> bool:
    """Whether this process only starts those that train together. YoyakError if it has no place among several hosts."""
    return not is_launched() and (read_rendezvous(hardware.hosts) is not None or hardware.processes > 1)


def launch(module: str, hardware: Hardware) -> None:
    """Run `python -m MODULE` in several processes that train together, and wait for all.

    Process 0 writes to this console. What the others write is kept in files, and shown if they fail.

    Args:
        module: of the stage.
        hardware: how many processes.

    Raises:
        YoyakError: if this machine cannot run them, if another host fails or is lost, or a process was ended from outside.
        SystemExit: if a process has failed and has said why.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch would print a stack for each connection that ends
    check_process_count(hardware.processes, hosts=hardware.hosts)
    place = read_rendezvous(hardware.hosts)
    os.environ[LAUNCHED_VARIABLE] = "1"
    os.environ["OMP_NUM_THREADS"] = str(hardware.threads_of_process or 1)
    logs = Path(tempfile.mkdtemp(prefix="yoyak-processes-"))
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # the agent logs each step of starting and ending processes
    try:
        if place:
            _run_with_hosts(module, hardware, logs, place)
        else:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
            _run_agent(module, hardware, logs, None)
    finally:
        logging.disable(before)
        shutil.rmtree(logs, ignore_errors=True)


def _run_with_hosts(module: str, hardware: Hardware, logs: Path, place: Rendezvous) -> None:
    from yoyak.training.hosts import hosts_together

    facts = {"hardware.hosts": hardware.hosts, "hardware.processes": hardware.processes, "the stage": module.partition(".")[2]}
    with hosts_together(place, facts):
        _run_agent(module, hardware, logs, place)


def _run_agent(module: str, hardware: Hardware, logs: Path, place: Rendezvous | None) -> None:
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    meeting: dict[str, Any] = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "local_addr": "localhost"}  # a free port
    if place:
        configs = {"rank": place.rank, "timeout": int(process_timeout())}
        meeting = {"rdzv_backend": "static", "rdzv_endpoint": place.address, "rdzv_configs": configs}
    config = LaunchConfig(
        min_nodes=hardware.hosts,
        max_nodes=hardware.hosts,
        nproc_per_node=hardware.processes,
        run_id="yoyak",
        max_restarts=0,  # the stage resumes when it runs again; a restart here would hide the fault
        shutdown_timeout=END_SECONDS,
        logs_specs=DefaultLogsSpecs(str(logs), redirects=dict.fromkeys(range(1, hardware.processes), Std.ALL)),
        **meeting,
    )
    try:
        elastic_launch(config, sys.executable)("-m", module)
    except ChildFailedError as error:
        raise _failure(error, hardware, logs, place) from None
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + int(error.sigval)) from None
    except (DistError, RendezvousError) as error:
        text = " ".join(str(error).split())[:300]
        raise YoyakError(f"hardware.processes: the processes cannot be connected ({text})") from None


def _failure(error: "ChildFailedError", hardware: Hardware, logs: Path, place: Rendezvous | None) -> BaseException:
    """What the stage ends with, from the failure that came first. Processes that lost contact are no cause."""
    from yoyak.training.hosts import LostContactError

    consequences = (LOST_CONTACT, -signal.SIGABRT)  # gloo may abort a process whose connection to another one breaks
    failures = sorted(error.failures.items(), key=lambda item: (item[1].exitcode in consequences, item[1].timestamp))
    number, failure = failures[0]
    name = f"process {number + 1} of {hardware.all_processes} (pid {failure.pid})"
    if failure.exitcode == LOST_CONTACT or (place and failure.exitcode in consequences):
        return LostContactError(f"{name} lost contact with another one; the same command continues from the last checkpoint")
    if failure.exitcode < 0:
        hint = ", perhaps because the memory was full" if failure.exitcode == -signal.SIGKILL else ""
        return YoyakError(
            f"{name} was ended by the signal {failure.signal_name()}{hint}; the others were ended too. "
            "The same command continues from the last checkpoint"
        )
    if failure.local_rank == 0:  # it has written to this console
        return SystemExit(failure.exitcode)
    text = _last_lines(logs, failure)
    message = re.search(r"^error: (.*)", text, re.MULTILINE | re.DOTALL)
    return YoyakError(f"{name}: {message[1]}" if message else f"{name} failed:\n{text}")


def _last_lines(logs: Path, failure: "ProcessFailure") -> str:
    for file in logs.glob(f"*/attempt_0/{failure.local_rank}/stderr.log"):
        return "\n".join(file.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES:])
    return ""
