"""The table of names and values that the launchers of several hosts share (PyTorch's TCPStore). The first host keeps it."""

import ipaddress
import json
import socket
import time
from datetime import timedelta
from typing import Any

import psutil  # type: ignore[import-untyped]
from torch._C._distributed_c10d import PrefixStore, TCPStore
from torch.distributed import DistError

from yoyak.system.errors import YoyakError
from yoyak.system.processes import host_name
from yoyak.system.rendezvous import ADDRESS_VARIABLE, Rendezvous

CONNECT_SECONDS = 5.0  # of one attempt
ANSWER_SECONDS = 30.0  # of the table
PAUSE_SECONDS = 0.5  # between two attempts


def open_table(place: Rendezvous, *, timeout: float) -> Any:
    """Start the table on the first host; on another host connect with it, as soon as it is there.

    Args:
        place: where the hosts meet.
        timeout: seconds that this host waits for the first one.

    Raises:
        YoyakError: if the address is not of this host, which is the first, the port is in use, or nobody answers.
    """
    deadline = time.monotonic() + timeout
    if place.rank == 0:
        return _start_table(place, deadline)
    is_told = False
    while True:
        try:
            socket.create_connection((place.host, place.port), CONNECT_SECONDS).close()
            if table := _connect(place):
                return table
            reason = "the first host is still busy with an earlier run"
        except (OSError, DistError) as error:
            reason = " ".join(str(error).split())[:200]
        if time.monotonic() > deadline:
            raise YoyakError(
                f"{ADDRESS_VARIABLE}: the first host did not answer at {place.address} for {timeout:g} s ({reason}). Start the "
                "same command there with YOYAK_HOST_RANK=0, and let the network pass this port and those that the processes "
                "choose. "
                "If the first host has the result of this stage already, it skips the stage: `dvc repro --force` repeats it"
            )
        if not is_told:
            print(f"waiting for the first host at {place.address} ({timeout:g} s at most)", flush=True)
            is_told = True
        time.sleep(PAUSE_SECONDS)


def _start_table(place: Rendezvous, deadline: float) -> Any:
    while True:
        try:
            family, address = resolve(place)
            break
        except OSError as error:  # a cluster may give a new host its name only after it has started
            if time.monotonic() > deadline:
                raise YoyakError(f"{ADDRESS_VARIABLE}: {place.host} has no address ({error})") from None
            time.sleep(PAUSE_SECONDS)
    try:
        with socket.socket(family) as probe:
            probe.bind((address[0], 0, *address[2:]))
    except OSError:
        raise YoyakError(
            f"{ADDRESS_VARIABLE}: {place.host} ({address[0]}) is no address of this host, but YOYAK_HOST_RANK is 0; give each "
            "host its own number, and 0 to the host with this address"
        ) from None
    try:
        return _store(place, is_master=True)
    except DistError as error:
        text = " ".join(str(error).split())[:200]
        raise YoyakError(
            f"{ADDRESS_VARIABLE}: port {place.port} of this host cannot be used, perhaps because another program has it "
            f"({text}); choose another port on all hosts"
        ) from None


def _connect(place: Rendezvous) -> Any:
    """The table of the first host, or None if it belongs to an earlier run that is not over."""
    table = _store(place, is_master=False)
    key, start = entry_key(0), time.monotonic()
    while not table.check([key]):
        if time.monotonic() - start > CONNECT_SECONDS:
            raise OSError("it does not speak the protocol of torch.distributed")
        time.sleep(0.05)
    first = json.loads(table.get(key))
    return None if first["met"] or first["ended"] else table


def _store(place: Rendezvous, *, is_master: bool) -> Any:
    # The agent of the first host opens the same port again: with `multi_tenant` it gets the server that is there.
    store = TCPStore(
        place.host,
        place.port,
        is_master=is_master,
        timeout=timedelta(seconds=ANSWER_SECONDS),
        wait_for_workers=False,
        multi_tenant=True,
    )
    return PrefixStore("hosts", store)


def entry_key(rank: int) -> str:
    """The name under which a host writes into the table."""
    return f"host/{rank}"


def resolve(place: Rendezvous) -> tuple[socket.AddressFamily, Any]:
    """Family and address of the first host. OSError if its name is not known."""
    family, _, _, _, address = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)[0]
    return family, address


def network_interface(place: Rendezvous) -> str:
    """The network interface of this host, through which it reaches the first one. OSError if the name is not known."""
    family, address = resolve(place)
    with socket.socket(family, socket.SOCK_DGRAM) as probe:  # connecting sends nothing
        probe.connect(address)
        own = ipaddress.ip_address(probe.getsockname()[0].partition("%")[0])
    for name, addresses in psutil.net_if_addrs().items():
        for entry in addresses:
            if entry.family == family and ipaddress.ip_address(entry.address.partition("%")[0]) == own:
                return str(name)
    return "lo"  # a loopback address that no interface lists, such as 127.0.1.1 of Debian's /etc/hosts


def is_loopback(interface: str) -> bool:
    """Whether a network interface connects a host with itself only."""
    return interface in ("lo", "lo0")


def name_of(place: Rendezvous, rank: int, entry: dict[str, Any] | None) -> str:
    """How messages name a host, with the name that it has written into the table."""
    return host_name(rank, place.hosts, entry["name"] if entry else "not there yet")
