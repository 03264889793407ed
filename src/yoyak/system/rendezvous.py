"""Where the hosts that train together meet, and which of them this one is, as the environment says."""

import os
from typing import NamedTuple

from yoyak.system.errors import YoyakError

ADDRESS_VARIABLE = "YOYAK_RENDEZVOUS"
RANK_VARIABLE = "YOYAK_HOST_RANK"


class Rendezvous(NamedTuple):
    """Address and port of the first host, as the others reach it, and the number of this host, from 0."""

    host: str
    port: int
    rank: int
    hosts: int

    @property
    def address(self) -> str:
        """HOST:PORT, with an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_rendezvous(hosts: int) -> Rendezvous | None:
    """What YOYAK_RENDEZVOUS and YOYAK_HOST_RANK say, or None for one host.

    Args:
        hosts: `hardware.hosts`.

    Raises:
        YoyakError: if a variable is missing or wrong, or if there is an address although there is one host.
    """
    address = os.environ.get(ADDRESS_VARIABLE, "")
    if hosts == 1:
        if address:
            raise YoyakError(
                f"{ADDRESS_VARIABLE} is set, but hardware.hosts is 1: this host would train alone; set hardware.hosts to the "
                "number of hosts, or unset the variable"
            )
        return None
    if not address:
        raise YoyakError(
            f"hardware.hosts: {hosts} hosts need the variable {ADDRESS_VARIABLE}=HOST:PORT, the same on all of them: an "
            "address of the first host and a free port there"
        )
    host, port = _split(address)
    return Rendezvous(host, port, _read_rank(hosts), hosts)


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    name = host[1:-1] if is_bracketed else host
    is_number = port.isascii() and port.isdigit() and 0 < int(port) < 65536
    if not colon or not name or any(sign in name for sign in " /[]@") or (":" in name) != is_bracketed or not is_number:
        raise YoyakError(
            f"{ADDRESS_VARIABLE}: {address!r} is not HOST:PORT, such as node1:29400, 10.0.0.1:29400 or [fd00::1]:29400 "
            "(ports are 1 to 65535)"
        )
    return name, int(port)


def _read_rank(hosts: int) -> int:
    text = os.environ.get(RANK_VARIABLE, "")
    if not (text.isascii() and text.isdigit() and int(text) < hosts):
        found = f"found {text!r}" if text else "it is not set"
        raise YoyakError(
            f"{RANK_VARIABLE}: the number of this host is needed, 0 to {hosts - 1} for hardware.hosts: {hosts} ({found}). "
            f"Host 0 is the one whose address {ADDRESS_VARIABLE} has"
        )
    return int(text)
