"""Which split an imported row goes to. Rows of one group, and dialogues that are almost the same, stay together."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from yoyak.data.near_duplicates import THRESHOLD, jaccard, new_index, signature

SPLITS = ("train", "dev", "test")
MAX_CANDIDATES = 20  # rows that a row is compared with; without a limit, 10,000 rows of one template make 50 million pairs


@dataclass
class Units:
    """Sets of rows that must stay in one split: a union-find over row numbers."""

    parents: list[int] = field(default_factory=list)

    def add(self) -> int:
        """A new row; its number."""
        self.parents.append(len(self.parents))
        return len(self.parents) - 1

    def root(self, row: int) -> int:
        """The first row of the set of `row`."""
        while self.parents[row] != row:
            self.parents[row] = self.parents[self.parents[row]]
            row = self.parents[row]
        return row

    def join(self, row: int, other: int) -> None:
        """Put two rows into one set."""
        first, second = sorted((self.root(row), self.root(other)))
        self.parents[second] = first


class DuplicateFinder:
    """Finds rows that are almost the same as a row before them."""

    def __init__(self, letters_of: Callable[[int], str], splits: Sequence[str]) -> None:
        """Prepare an empty index.

        Args:
            letters_of: the `spoken_letters` of a row that was added before, by its number.
            splits: the split of each row that was added before; empty if it is not known yet. The list may grow.
        """
        self._letters_of = letters_of
        self._splits = splits
        self._index = new_index()
        self._first_of: dict[bytes, int] = {}

    def add(self, row: int, letters: str, *, split: str = "") -> list[tuple[int, float]]:
        """Rows before `row` that are near-duplicates, each with its similarity (exact Jaccard index).

        At most MAX_CANDIDATES rows are compared, those of other splits first. Of equal rows only the first is compared with
        others.
        """
        first = self._first_of.setdefault(hashlib.blake2b(letters.encode(), digest_size=16).digest(), row)
        if first != row:
            return [(first, 1.0)]
        minhash = signature(letters)
        order = sorted(self._index.query(minhash), key=lambda other: (self._splits[other] == split, other))
        candidates = [(other, jaccard(letters, self._letters_of(other))) for other in order[:MAX_CANDIDATES]]
        self._index.insert(row, minhash)
        return [(other, similarity) for other, similarity in candidates if similarity >= THRESHOLD]


def split_at_random(units: Units, names: Sequence[str], shares: Mapping[str, float], *, seed: int) -> list[str]:
    """A split for each row.

    The order of sets follows a hash of the seed and the smallest fname in the set, so that it does not depend on the order of
    the files. Each set goes to the split that lacks most of its share.

    Args:
        units: the sets.
        names: the fname of each row.
        shares: of each split, such as train, dev and test; they add up to 1.
        seed: another seed gives another division.
    """
    rows: dict[int, list[int]] = {}
    for row in range(len(names)):
        rows.setdefault(units.root(row), []).append(row)
    keyed = sorted(
        (hashlib.sha256(f"{seed} {min(names[row] for row in members)}".encode()).digest(), members) for members in rows.values()
    )
    counts: Counter[str] = Counter()
    splits = [""] * len(names)
    for _, members in keyed:
        total = counts.total() + len(members)
        wanted = {name: share * total - counts[name] for name, share in shares.items() if share}
        # The first sets go to one split each, so that no split of a small corpus stays empty.
        split = max(wanted, key=lambda name: (not counts[name], wanted[name]))
        counts[split] += len(members)
        for row in members:
            splits[row] = split
    return splits


def evaluation_wins(pairs: Sequence[tuple[int, int, float]], splits: Sequence[str]) -> dict[int, int]:
    """Of near-duplicates in two splits, the rows to leave out, each with a row that stays.

    What evaluates stays: test before dev before train.

    Args:
        pairs: what `DuplicateFinder` found: two rows and their similarity, 1 if they are equal.
        splits: of each row; rows of other files are left alone.
    """
    first_of = {second: first for first, second, similarity in pairs if similarity == 1}
    equal: dict[int, list[int]] = {}  # all rows of each set of equal rows, by its first row
    for row in sorted({row for pair in pairs for row in pair[:2]}):
        if splits[row] in SPLITS:
            equal.setdefault(first_of.get(row, row), []).append(row)
    left_out: dict[int, int] = {}
    for first, second, _ in pairs:
        sets = [equal.get(first_of.get(row, row), []) for row in (first, second)]
        rows = [row for members in sets for row in members]
        winner = max(rows, key=lambda row: SPLITS.index(splits[row]), default=None)
        for row in rows:
            if winner is not None and splits[row] != splits[winner]:
                left_out.setdefault(row, winner)
    return left_out
