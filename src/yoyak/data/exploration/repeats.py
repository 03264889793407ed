"""How often each text of a stream occurs, in memory that does not grow with the rows."""

import hashlib
import sqlite3

from yoyak.system.errors import YoyakError

_CACHE_KIB = 8000


class Occurrences:
    """Counts equal keys in a temporary file that SQLite manages, and keeps the first value of each."""

    def __init__(self) -> None:
        # An empty name is a temporary database. Its one transaction is never committed, so the data go with this object.
        self._database = sqlite3.connect("")
        self._database.execute("pragma journal_mode = off")
        self._database.execute(f"pragma cache_size = -{_CACHE_KIB}")
        self._database.execute("create table keys (key blob primary key, count integer, value text) without rowid")

    def add(self, key: bytes, value: str) -> tuple[int, str]:
        """Count `key` once more.

        Returns:
            How often it occurred so far, this time included, and the value of its first time.

        Raises:
            YoyakError: if there is no room for temporary files.
        """
        digest = hashlib.blake2b(key, digest_size=16).digest()
        try:
            count, first = self._database.execute(
                "insert into keys values (?, 1, ?) on conflict (key) do update set count = count + 1 returning count, value",
                (digest, value),
            ).fetchone()
        except sqlite3.OperationalError as error:
            raise YoyakError(
                f"no room for a temporary file ({error}); set SQLITE_TMPDIR to a folder on a disk with free space"
            ) from None
        return count, first

    def repeated(self) -> tuple[int, int]:
        """How many keys occur more than once, and how often all of them together."""
        keys, rows = self._database.execute("select count(*), total(count) from keys where count > 1").fetchone()
        return keys, int(rows)
