"""A second host on this machine: a network namespace with a cable to this one, which can be cut.

A namespace has a network stack of its own, so what is lost is lost as between two machines. It needs root and iproute2.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip"), reason="network namespaces need root and iproute2"
)


class Cable(NamedTuple):
    """A namespace for the other host, and the address of this one as it sees it."""

    host: str
    ours: str
    interface: str

    def cut(self) -> None:
        run("ip", "link", "set", self.interface, "down")

    def mend(self) -> None:
        run("ip", "link", "set", self.interface, "up")

    def on_other_host(self, *command: str) -> list[str]:
        """The command that runs `command` on the other host."""
        return ["ip", "netns", "exec", self.host, *command]


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def laid_cable() -> Iterator[Cable]:
    """Inside this context the other host is there."""
    host, network = f"yoyak{os.getpid()}", f"10.{200 + os.getpid() % 50}.7"
    ours, theirs = f"ya{os.getpid()}", f"yb{os.getpid()}"
    run("ip", "netns", "add", host)
    try:
        run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", host)
        run("ip", "address", "add", f"{network}.1/24", "dev", ours)
        run("ip", "link", "set", ours, "up")
        run("ip", "-n", host, "address", "add", f"{network}.2/24", "dev", theirs)
        run("ip", "-n", host, "link", "set", theirs, "up")
        run("ip", "-n", host, "link", "set", "lo", "up")
        yield Cable(host, f"{network}.1", ours)
    finally:
        run("ip", "netns", "delete", host)
