"""The variables that say where hosts meet: each mistake is named."""

from typing import Any

import pytest

from yoyak.system.errors import YoyakError
from yoyak.system.rendezvous import Rendezvous, read_rendezvous


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that sets YOYAK_RENDEZVOUS and YOYAK_HOST_RANK; None leaves a variable out."""

    def put(address: str | None, rank: str | None = "0") -> None:
        for name, value in (("YOYAK_RENDEZVOUS", address), ("YOYAK_HOST_RANK", rank)):
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("node1:29400", ("node1", 29400)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
        ("[fd00::1]:65535", ("fd00::1", 65535)),
        ("yoyak-0.yoyak.default.svc:29400", ("yoyak-0.yoyak.default.svc", 29400)),
    ],
)
def test_an_address_is_a_host_and_a_port(variables: Any, address: str, expected: tuple[str, int]) -> None:
    variables(address, "1")
    found = read_rendezvous(2)
    assert found == Rendezvous(*expected, rank=1, hosts=2)
    assert found.address == address


@pytest.mark.parametrize("address", ["node1", "node1:", ":29400", "node1:0", "node1:65536", "node1:x", "fd00::1:29400"])
def test_a_wrong_address_is_shown(variables: Any, address: str) -> None:
    variables(address)
    with pytest.raises(YoyakError, match=r"YOYAK_RENDEZVOUS: .* is not HOST:PORT"):
        read_rendezvous(2)


@pytest.mark.parametrize("rank", [None, "", "2", "-1", "one"])
def test_a_wrong_number_of_a_host_is_shown(variables: Any, rank: str | None) -> None:
    variables("node1:29400", rank)
    with pytest.raises(YoyakError, match=r"YOYAK_HOST_RANK: the number of this host is needed, 0 to 1 .*"):
        read_rendezvous(2)


def test_several_hosts_need_an_address_and_one_host_has_none(variables: Any) -> None:
    variables(None, None)
    assert read_rendezvous(1) is None
    with pytest.raises(YoyakError, match=r"hardware\.hosts: 2 hosts need the variable YOYAK_RENDEZVOUS=HOST:PORT"):
        read_rendezvous(2)
    variables("node1:29400")
    with pytest.raises(YoyakError, match=r"YOYAK_RENDEZVOUS is set, but hardware\.hosts is 1"):
        read_rendezvous(1)
