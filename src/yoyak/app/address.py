"""Where a server listens, and the key that it asks for. Nothing here is slow to import."""

import os
import socket

from yoyak.system.errors import YoyakError

KEY_VARIABLE = "YOYAK_SERVE_KEY"
SHORTEST_KEY = 16  # characters
MOST_CONNECTIONS = 512


def read_key() -> str | None:
    """The key of the environment, or None.

    Raises:
        YoyakError: if it is too short or has characters that a header cannot carry.
    """
    key = os.environ.get(KEY_VARIABLE)
    if key is None:
        return None
    if len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise YoyakError(
            f"{KEY_VARIABLE}: must have at least {SHORTEST_KEY} printable ASCII characters without spaces; make one with "
            'python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    return key


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    return host in ("localhost", "::1") or host.startswith("127.")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address, so that a wrong one shows before a model is loaded.

    Raises:
        YoyakError: if the port is in use or not allowed, or the host has no such address.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # asyncio sends small answers at once (TCP_NODELAY) only where the socket names its protocol. Without it, every answer
        # after the first of a connection waits 40 ms for the client's acknowledgement.
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise YoyakError(f"--host {host}: no such address ({error.strerror})") from None
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(MOST_CONNECTIONS)
    except OSError as error:
        opened.close()
        raise YoyakError(
            f"--port {port}: cannot listen on {host} port {port} ({error.strerror}); choose another port, or 0 for a free one"
        ) from None
    return opened
