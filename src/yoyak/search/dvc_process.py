"""DVC in processes that need not start: a server imports it once, and each command runs in a fork of the server."""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

PRELOADED = ["yoyak.search.dvc_modules"]  # what the server imports before it forks
# System libraries of macOS can crash in a fork, so that a command starts in a new process there.
START = "forkserver" if sys.platform == "linux" else "spawn"


class DvcProcess:
    """A dvc command in a process, and a group of processes, of its own. A context manager, which waits for its end."""

    def __init__(self, arguments: list[str], *, folder: Path, environment: Mapping[str, str]) -> None:
        """Start the command.

        Args:
            arguments: the words after `dvc`.
            folder: where it runs.
            environment: all its environment variables.
        """
        context = _server()
        self._output, output = context.Pipe(duplex=False)
        self._process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=_run, args=(arguments, str(folder), dict(environment), output)
        )
        self._process.start()
        output.close()  # so that the end of the processes is the end of their output

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.join()
        self._output.close()

    def lines(self) -> Iterator[str]:
        """What the command, and the processes that it starts, write to both standard outputs, line by line."""
        with open(os.dup(self._output.fileno()), encoding="utf-8", errors="replace") as output:
            yield from output

    def wait(self) -> int:
        """Wait until the command ends. Returns its exit status, which is negative if a signal ended it."""
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    def kill_group(self) -> None:
        """End the command, and the processes that it started even if it has ended itself."""
        assert self._process.pid
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:  # there is no group: all have ended, or the process has not made it yet
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


def _server() -> BaseContext:
    context = multiprocessing.get_context(START)
    context.set_forkserver_preload(PRELOADED)
    return context


def _run(arguments: list[str], folder: str, environment: dict[str, str], output: Connection) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    output.close()
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", errors="replace", buffering=1) for number in (1, 2))  # noqa: SIM115
    from yoyak.search.dvc_modules import main

    raise SystemExit(main(arguments))
