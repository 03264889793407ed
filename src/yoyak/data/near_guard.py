"""The search for dialogues that are almost the same in two splits, in memory that does not grow with the train split."""

import pickle
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, NamedTuple

from yoyak.data.near_duplicates import SHINGLE, THRESHOLD, new_index, signature, spoken_letters
from yoyak.system.text_files import counted

if TYPE_CHECKING:
    from rensa import RMinHash

EVALUATION_SPLITS = ("dev", "test")
MAX_SHOWN_PAIRS = 5  # in the warning


class _Row(NamedTuple):
    split: str
    place: str
    minhash: "RMinHash"


class NearPair(NamedTuple):
    """Two rows in different splits that are almost the same.

    Attributes:
        row, other: their places: file, line and fname. `other` is in dev or test.
        split, other_split: their splits.
        similarity: the Jaccard index as MinHash estimates it, from 0 to 1 (standard error about 0.05).
    """

    row: str
    other: str
    split: str
    other_split: str
    similarity: float


@dataclass
class NearDuplicateGuard:
    """Compares the rows of train, dev and test. What is equal is found by `LeakGuard`, which stops; this one only warns.

    The signatures of train go into a temporary file, those of dev and test into memory.

    Attributes:
        is_available: whether the package rensa is installed. Without it nothing is compared, and `messages` says so.
    """

    is_available: bool = field(default_factory=lambda: find_spec("rensa") is not None)
    _train: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    _evaluation: list[_Row] = field(default_factory=list)

    def add(self, *, split: str, row: str, dialogue: str) -> None:
        """Add one cleaned dialogue.

        Args:
            split: train, dev or test.
            row: the place of the row for messages.
            dialogue: the text with one turn on each line.
        """
        if not self.is_available:
            return
        entry = _Row(split, row, signature(spoken_letters(dialogue)))
        if split in EVALUATION_SPLITS:
            self._evaluation.append(entry)
        else:
            pickle.dump(tuple(entry), self._train)

    def pairs(self) -> list[NearPair]:
        """The most similar row of dev or test for each row of another split that has one, the nearest pairs first."""
        if not self.is_available or not self._evaluation:
            return []
        index = new_index()
        for number, entry in enumerate(self._evaluation):
            index.insert(number, entry.minhash)
        found = []
        for entry in self._rows():
            others = [self._evaluation[number] for number in index.query(entry.minhash)]
            # A pair of dev and test is told once.
            others = [other for other in others if other.split != entry.split and (entry.split, other.split) != ("test", "dev")]
            near = max(
                ((other.minhash.jaccard(entry.minhash), other) for other in others), default=None, key=lambda pair: pair[0]
            )
            if near and near[0] >= THRESHOLD:
                found.append(NearPair(entry.place, near[1].place, entry.split, near[1].split, near[0]))
        return sorted(found, key=lambda pair: -pair.similarity)

    def _rows(self) -> Iterator[_Row]:
        self._train.seek(0)
        while True:
            try:
                yield _Row(*pickle.load(self._train))
            except EOFError:
                break
        yield from self._evaluation

    def messages(self, pairs: list[NearPair]) -> list[str]:
        """A warning that names the nearest pairs and says how near they are; nothing if there are none."""
        if not self.is_available:
            return ["WARNING: near-duplicates are not searched, because the package rensa is not installed; run `make setup`"]
        if not pairs:
            return []
        rows = counted(len(pairs), "dialogue is", "dialogues are")
        lines = [f"\n  {pair.row}: {pair.similarity:.0%} like {pair.other}" for pair in pairs[:MAX_SHOWN_PAIRS]]
        if len(pairs) > MAX_SHOWN_PAIRS:
            lines.append(f"\n  and {len(pairs) - MAX_SHOWN_PAIRS} more, which are less alike")
        return [
            f"WARNING: {rows} almost the same in another split (at least {THRESHOLD:.0%} of the character {SHINGLE}-grams), so "
            "scores may be too high; remove the rows from train, or divide again with `yoyak import --split`:" + "".join(lines)
        ]


def count_by_split(pairs: list[NearPair]) -> Counter[str]:
    """The number of rows of each split that are in a pair."""
    rows = {(pair.split, pair.row) for pair in pairs} | {(pair.other_split, pair.other) for pair in pairs}
    return Counter(split for split, _ in rows)
