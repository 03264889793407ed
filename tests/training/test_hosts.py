"""Launchers of several hosts, as threads that meet on this machine: what is wrong with one is said on all."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.training.together import free_port
from yoyak.system.errors import YoyakError
from yoyak.system.rendezvous import Rendezvous
from yoyak.training import host_table, hosts
from yoyak.training.hosts import Hosts, LostContactError

FACTS = {"hardware.hosts": 2, "the stage": "train_kobart"}


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that launchers send themselves. The times are short."""
    sent: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _, number: sent.append(number))
    monkeypatch.setattr(os, "_exit", lambda status: None)
    for name, seconds in {"BEAT_SECONDS": 0.05, "SILENT_SECONDS": 0.4, "EXIT_SECONDS": 0.01}.items():
        monkeypatch.setattr(hosts, name, seconds)
    monkeypatch.setattr(host_table, "PAUSE_SECONDS", 0.05)
    monkeypatch.setenv("YOYAK_PROCESS_TIMEOUT", "5")
    return sent


Start = Callable[..., Hosts]


@pytest.fixture
def start(kills: list[int]) -> Iterator[Start]:
    """A function that makes a launcher which is not there yet: `meet(host)` waits for the others."""
    port, made = free_port(), []

    def make(rank: int, *, count: int = 2, **facts: Any) -> Hosts:
        made.append(Hosts(Rendezvous("127.0.0.1", port, rank, count), {**FACTS, **facts}))
        return made[-1]

    yield make
    for host in made:
        host._stop_watching.set()
        host._stop_talking.set()


def meet(*together: Hosts) -> list[str]:
    """What each launcher says when all meet at the same time; empty if it is content."""
    said = [""] * len(together)

    def work(number: int, host: Hosts) -> None:
        try:
            host.meet(host_table.open_table(host.place, timeout=host.timeout))
        except YoyakError as error:
            said[number] = str(host.explain(error))

    threads = [threading.Thread(target=work, args=item) for item in enumerate(together)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_hosts_that_meet_end_together(start: Start, kills: list[int]) -> None:
    first, second = start(0), start(1)
    assert meet(first, second) == ["", ""]
    begin = time.monotonic()
    threading.Timer(0.25, second.end).start()
    first.end()
    assert time.monotonic() - begin > 0.2, "the first host waits for the others"
    assert first.seen[1][0]["ended"]
    assert not kills


@pytest.mark.parametrize(
    ("fact", "value", "message"),
    [
        ("hardware.hosts", 3, "hardware.hosts is 3, but on host 1 of 2"),
        ("the stage", "pretrain", "the stage is pretrain, but on host 1 of 2"),
    ],
)
def test_hosts_with_other_settings_are_named(start: Start, fact: str, value: Any, message: str) -> None:
    first, _ = meet(start(0), start(1, **{fact: value}))
    assert "host 2 of 2" in first and message in first


def test_a_host_that_does_not_come_is_named(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOYAK_PROCESS_TIMEOUT", "0.3")
    assert "host 2 of 2 did not come to 127.0.0.1:" in meet(start(0))[0]
    with pytest.raises(YoyakError, match=r"the first host did not answer at 127.0.0.1:\d+ for 0.2 s .*refused"):
        host_table.open_table(Rendezvous("127.0.0.1", free_port(), 1, 2), timeout=0.2)
    with pytest.raises(YoyakError, match=r"nowhere.invalid has no address"):
        host_table.open_table(Rendezvous("nowhere.invalid", 1, 0, 2), timeout=0)


def test_a_port_or_an_address_that_cannot_be_used_is_named() -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:
        place = Rendezvous("127.0.0.1", other.getsockname()[1], 0, 2)
        with pytest.raises(YoyakError, match=r"port \d+ of this host cannot be used"):
            host_table.open_table(place, timeout=1)
    with pytest.raises(YoyakError, match=r"192.0.2.1 \(192.0.2.1\) is no address of this host, but YOYAK_HOST_RANK is 0"):
        host_table.open_table(Rendezvous("192.0.2.1", 29400, 0, 2), timeout=1)


def test_a_failure_is_told_to_the_other_hosts(start: Start, kills: list[int]) -> None:
    """Also to a host that has only lost contact."""
    first, second = start(0), start(1)
    meet(first, second)
    threading.Thread(target=second.explain, args=(YoyakError("process 2 of 2 was ended by SIGKILL"),)).start()
    error = str(first.explain(LostContactError("lost")))
    assert error == f"host 2 of 2 ({socket.gethostname()}): process 2 of 2 was ended by SIGKILL"
    assert isinstance(start(0).explain(KeyboardInterrupt()), KeyboardInterrupt)


def test_a_silent_host_ends_the_others(start: Start, kills: list[int]) -> None:
    first, second = start(0), start(1)
    meet(first, second)
    second._stop_talking.set()
    second._stop_watching.set()
    deadline = time.monotonic() + 5
    while not kills and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "host 2 of 2" in first.cause and "did not answer for 0.4 s" in first.cause


def test_two_hosts_with_one_number_are_named(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOYAK_PROCESS_TIMEOUT", "0.6")
    first = start(0, count=3)
    said = meet(first, start(1, count=3), start(1, count=3))
    assert any("YOYAK_HOST_RANK: two hosts have the number 1" in text for text in said)


def test_a_host_waits_until_an_earlier_run_is_over(start: Start) -> None:
    first, second = start(0), start(1)
    table = host_table.open_table(first.place, timeout=1)
    table.set(host_table.entry_key(0), json.dumps({**first.entry, "met": True}))
    with pytest.raises(YoyakError, match="still busy with an earlier run"):
        host_table.open_table(second.place, timeout=0.2)
