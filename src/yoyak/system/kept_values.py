"""Values by the content that they belong to, in a file that a kill cannot damage beyond one line."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from yoyak.system.text_files import to_json


class KeptValues:
    """JSON values by their keys, which are JSON values too. Each value is on the disk when `put` returns.

    Each line of the file has the SHA-256 of the rest, a space, and the hash of the key and the value as JSON. A damaged line is
    skipped, so its value is made again. Several processes may append to one file; each sees what was there when it opened it.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; it and its folder are created."""
        path.parent.mkdir(parents=True, exist_ok=True)
        os.utime(path.parent)  # used now: `resumable.delete_old_work` deletes folders by their age
        self._values: dict[str, Any] = {}
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        data = path.read_bytes()
        for line in data.split(b"\n"):
            digest, _, body = line.partition(b" ")
            if body and hashlib.sha256(body).hexdigest().encode() == digest:
                key, value = json.loads(body)
                self._values[key] = value
        if data and not data.endswith(b"\n"):  # a line that a kill cut off
            os.write(self._file, b"\n")

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: object) -> Any:
        """The value of a key, or None."""
        return self._values.get(_hash(key))

    def put(self, key: object, value: Any) -> None:
        """Keep a value."""
        self.put_all([(key, value)])

    def put_all(self, items: list[tuple[Any, Any]]) -> None:
        """Keep the values of several keys with one write to the disk."""
        lines = []
        for key, value in items:
            self._values[_hash(key)] = value
            body = to_json([_hash(key), value]).encode()
            lines.append(hashlib.sha256(body).hexdigest().encode() + b" " + body + b"\n")
        os.write(self._file, b"".join(lines))  # one call, so that another process cannot write in between
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


def _hash(key: object) -> str:
    return hashlib.sha256(to_json(key).encode()).hexdigest()[:32]
