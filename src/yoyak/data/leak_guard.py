"""The guard against leaks: finds dialogues that occur in two splits, in memory that does not grow with the rows."""

import hashlib
import re
import sqlite3
from dataclasses import dataclass, field

from yoyak.system.errors import YoyakError
from yoyak.system.text_files import MAX_LISTED_ROWS, counted, list_rows

_CACHE_KIB = 4000
_SPEAKER = re.compile(r"(?m)^[^:\n]*: ")


class FirstValues:
    """Keeps the first value of each key, as a dict's `setdefault`, but in a temporary file that SQLite manages."""

    def __init__(self) -> None:
        # An empty name is a temporary database. Its one transaction is never committed, so the data go with this object.
        self._database = sqlite3.connect("")
        self._database.execute("pragma journal_mode = off")
        self._database.execute(f"pragma cache_size = -{_CACHE_KIB}")
        self._database.execute("create table first_values (key blob primary key, value text) without rowid")

    def setdefault(self, key: bytes, value: str) -> str:
        """The first value that was given with `key`; this is `value` if the key is new.

        Raises:
            YoyakError: if there is no room for temporary files.
        """
        digest = hashlib.blake2b(key, digest_size=16).digest()
        try:
            if self._database.execute("insert or ignore into first_values values (?, ?)", (digest, value)).rowcount:
                return value
            first: str = self._database.execute("select value from first_values where key = ?", (digest,)).fetchone()[0]
        except sqlite3.OperationalError as error:
            raise YoyakError(
                f"no room for a temporary file ({error}); set SQLITE_TMPDIR to a folder on a disk with free space"
            ) from None
        return first


def without_speakers(dialogue: str) -> str:
    """What is said. Swapped speakers do not make another dialogue."""
    return _SPEAKER.sub("", dialogue)


def letters_of(text: str) -> str:
    """`text` without spaces and punctuation, or `text` itself if it has nothing else."""
    return "".join(re.findall(r"\w+", text)) or text


def spoken_words(dialogue: str) -> str:
    """What is said, without speakers, spaces and punctuation. Two dialogues with the same words are the same dialogue."""
    return letters_of(without_speakers(dialogue))


@dataclass
class LeakGuard:
    """Compares the dialogues of all splits by their words. What evaluation shares with training makes scores too high.

    Attributes:
        leaks: messages about the first MAX_LISTED_ROWS shared dialogues.
        count: the number of shared dialogues.
    """

    leaks: list[str] = field(default_factory=list)
    count: int = 0
    _first_rows: FirstValues = field(default_factory=FirstValues)

    def add(self, *, split: str, row: str, dialogue: str) -> str:
        """Compare one cleaned dialogue with those before it.

        Args:
            split: the split of the dialogue.
            row: the place of the row for messages: file, line and fname.
            dialogue: the text with one turn on each line.

        Returns:
            The message about an earlier row of the same split with the same dialogue, which is allowed, or an empty text.
        """
        words = spoken_words(dialogue).encode()
        first_split, _, first_row = self._first_rows.setdefault(words, f"{split} {row}").partition(" ")
        message = "" if first_row == row else f"{row}: the same dialogue as {first_row}"
        if first_split == split:
            return message
        self.count += 1
        if len(self.leaks) < MAX_LISTED_ROWS:
            self.leaks.append(message)
        return ""

    def check(self) -> None:
        """YoyakError if splits share dialogues."""
        if self.count:
            dialogues = counted(self.count, "dialogue occurs", "dialogues occur")
            raise YoyakError(
                f"{dialogues} in two splits; remove {'it' if self.count == 1 else 'them'} from one of the files:"
                + list_rows(self.leaks, count=self.count)
            )
