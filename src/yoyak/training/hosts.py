"""The launchers of the hosts that train together: they meet, watch each other, and end together.

Every half second each launcher writes into a common table that it lives, and reads what the others wrote. If one has failed, or
is silent for half a minute, the others end their processes and say which host it was. The processes themselves would notice a
cut cable only after YOYAK_PROCESS_TIMEOUT.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from yoyak.system.errors import YoyakError
from yoyak.system.process_limits import process_timeout
from yoyak.system.rendezvous import Rendezvous
from yoyak.training import host_table

BEAT_SECONDS = 0.5
SILENT_SECONDS = 30.0  # after which a host counts as lost
EXIT_SECONDS = 20.0  # in which this launcher must end its processes, after another host was lost
CONTINUE = "the same command on all hosts continues from the last checkpoint"
STAGE, INTERFACE = "the stage", "the network interface"  # facts
TERMINATED = 128 + signal.SIGTERM


class LostContactError(YoyakError):
    """A process ended only because another one had ended, perhaps on another host."""


class Hosts:
    """This host among those that train together."""

    def __init__(self, place: Rendezvous, facts: dict[str, Any]) -> None:
        """
        Args:
            place: where the hosts meet.
            facts: what must be the same on all hosts, by the words that name it in a message.
        """
        self.place, self.timeout = place, process_timeout()
        self.silent = min(SILENT_SECONDS, self.timeout)
        self.entry: dict[str, Any] = {"name": socket.gethostname(), "id": uuid.uuid4().hex, "beat": 0, "facts": facts}
        self.entry |= {"met": False, "failed": "", "ended": False}
        # The others' entries, and when they last changed. A thread adds to it, so it is copied before it is read.
        self.seen: dict[int, tuple[dict[str, Any], float]] = {}
        self.contact = time.monotonic()  # when this host has read the table
        self.fault = ""  # why this host cannot talk to the others any more
        self.cause = ""  # why this host ends its processes
        self._stop_talking, self._stop_watching = threading.Event(), threading.Event()

    @property
    def name(self) -> str:
        return host_table.name_of(self.place, self.place.rank, self.entry)

    def meet(self, table: Any) -> None:
        """Wait for all hosts and compare their facts, then watch them.

        Args:
            table: from `host_table.open_table`.

        Raises:
            YoyakError: if a host does not come, or has other facts.
        """
        threading.Thread(target=self._talk, args=(table,), daemon=True).start()
        start, is_told = time.monotonic(), False
        while missing := [rank for rank in self._others() if rank not in self.seen]:
            self._check_facts()
            if cause := self._find_cause():
                raise YoyakError(cause)
            names = f"{' and '.join(f'host {rank + 1}' for rank in missing)} of {self.place.hosts}"
            waited = time.monotonic() - start
            if waited > self.timeout:
                raise YoyakError(
                    f"hardware.hosts: {names} did not come to {self.place.address} within {self.timeout:g} s. Start the same "
                    "command there, with its number in YOYAK_HOST_RANK. A host that has the result of this stage already skips "
                    "it: `dvc repro --force STAGE` repeats it there"
                )
            if not is_told and waited > 2 * BEAT_SECONDS:
                print(f"waiting for {names} at {self.place.address} ({self.timeout:g} s at most)", flush=True)
                is_told = True
            time.sleep(0.1)
        self._check_facts()
        self.entry["met"] = True
        threading.Thread(target=self._watch, daemon=True).start()

    def explain(self, error: BaseException) -> BaseException:
        """The error with which this host ends: `error`, or what happened on another host if that is the cause."""
        is_consequence = isinstance(error, LostContactError)
        deadline = time.monotonic() + self.silent + 2 * BEAT_SECONDS
        while is_consequence and not self.cause and time.monotonic() < deadline:  # the other host will say it, or be silent
            self.cause = self._find_cause()
            time.sleep(0.1)
        self._stop_watching.set()
        if self.cause and (is_consequence or (isinstance(error, SystemExit) and error.code == TERMINATED)):
            error = YoyakError(self.cause)
            self.entry["failed"] = self.cause
        else:
            self.entry["failed"] = f"{self.name}: {_text(error)}"
        self.end()
        return error

    def end(self) -> None:
        """Say that this host has ended. The first one, which keeps the table, waits until all have said so or are lost."""
        self._stop_watching.set()
        self.entry["ended"] = True
        deadline = time.monotonic() + self.silent
        while time.monotonic() < deadline and not self.fault and not self._find_silent():
            if self.place.rank == 0 and all(entry["ended"] for entry, _ in list(self.seen.values())):
                break
            time.sleep(0.1)
        if self.place.rank == 0 and self.cause:
            time.sleep(4 * BEAT_SECONDS)  # the hosts that are there read why
        self._stop_talking.set()

    def _others(self) -> list[int]:
        return [rank for rank in range(self.place.hosts) if rank != self.place.rank]

    def _talk(self, table: Any) -> None:
        """Write and read the table, until the end. A cut cable can block this thread."""
        own = host_table.entry_key(self.place.rank)
        try:
            while not self._stop_talking.wait(BEAT_SECONDS if self.entry["met"] else BEAT_SECONDS / 5):
                if self.entry["beat"] and (other := json.loads(table.get(own)))["id"] != self.entry["id"]:
                    self.fault = (
                        f"YOYAK_HOST_RANK: two hosts have the number {self.place.rank}, this one and {other['name']}; give "
                        "each host its own"
                    )
                    return
                self.entry["beat"] += 1
                table.set(own, json.dumps(self.entry))
                for rank in self._others():
                    if table.check([key := host_table.entry_key(rank)]):
                        self._remember(rank, json.loads(table.get(key)))
                self.contact = time.monotonic()
        except RuntimeError:
            if time.monotonic() - self.contact < self.silent / 2:  # else it is silent, which is said when the time is over
                self.fault = f"{self._name_of(0)} has ended; {CONTINUE}"

    def _remember(self, rank: int, entry: dict[str, Any]) -> None:
        before, _ = self.seen.get(rank, (None, 0.0))
        if before and before["id"] != entry["id"] and self.entry["met"]:
            self.fault = f"{self._name_of(rank)} was started again; {CONTINUE}"
        if entry != before:
            self.seen[rank] = (entry, time.monotonic())

    def _name_of(self, rank: int) -> str:
        return host_table.name_of(self.place, rank, self.seen[rank][0] if rank in self.seen else None)

    def _check_facts(self) -> None:
        for rank, (entry, _) in sorted(self.seen.items()):
            for fact, own in self.entry["facts"].items():
                if (other := entry["facts"].get(fact)) != own:
                    raise YoyakError(
                        f"{self._name_of(rank)}: {fact} is {other}, but on {self.name} it is {own}. {_advice(fact)}"
                    )

    def _find_cause(self) -> str:
        """What is wrong with the other hosts; empty if nothing is."""
        failed = [entry["failed"] for entry, _ in list(self.seen.values()) if entry["failed"]]
        return failed[0] if failed else self.fault or self._find_silent()

    def _find_silent(self) -> str:
        there = [(rank, changed) for rank, (entry, changed) in list(self.seen.items()) if not entry["ended"]]
        lost = [rank for rank, changed in there if self.contact - changed > self.silent]
        if time.monotonic() - self.contact > self.silent:  # only the first host can be reached directly
            lost = [0]
        if not lost:
            return ""
        names = " and ".join(self._name_of(rank) for rank in lost)
        return f"{names} did not answer for {self.silent:g} s: it, or the network between, is down. When it is back, {CONTINUE}"

    def _watch(self) -> None:
        """End this launcher if another host is at fault: by SIGTERM, which ends its processes too, or else at once."""
        while not self._stop_watching.wait(BEAT_SECONDS):
            self.cause = self._find_cause()
            if self.cause:
                os.kill(os.getpid(), signal.SIGTERM)
                if not self._stop_watching.wait(EXIT_SECONDS):  # torch waits for another host and does not see the signal
                    print(f"error: {self.cause}", file=sys.stderr, flush=True)
                    os._exit(1)
                return


@contextmanager
def hosts_together(place: Rendezvous, facts: dict[str, Any]) -> Iterator[None]:
    """Inside this context the launchers of all hosts are there, and a fault of one ends all.

    Args:
        place: where they meet.
        facts: what must be the same on all hosts, by the words that name it in a message.

    Raises:
        YoyakError: if a host does not come, differs, fails or is lost.
    """
    signal.signal(signal.SIGTERM, _terminate)
    table = host_table.open_table(place, timeout=process_timeout())
    interface = os.environ.setdefault("GLOO_SOCKET_IFNAME", host_table.network_interface(place))
    kind = "a loopback" if host_table.is_loopback(interface) else "no loopback"
    hosts = Hosts(place, {**facts, INTERFACE: kind})
    try:
        hosts.meet(table)
        yield
    except BaseException as error:
        raise hosts.explain(error) from None
    hosts.end()


def _terminate(number: int, _: Any) -> None:
    raise SystemExit(128 + number)


def _text(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "it was interrupted"
    return str(error) if isinstance(error, YoyakError) else "a process failed; the console of that host says why"


def _advice(fact: str) -> str:
    if fact == STAGE:
        return "One has a result already and skips the stage that the other repeats: `dvc repro --force STAGE` repeats it there"
    if fact == INTERFACE:
        return (
            "A loopback leads to the host itself only. Give YOYAK_RENDEZVOUS an address instead of a name, or set "
            "GLOO_SOCKET_IFNAME on that host to the interface that leads to the others"
        )
    return "Use the same value on all hosts"
