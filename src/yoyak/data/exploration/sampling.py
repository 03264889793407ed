"""A sample of rows from a stream: the rows whose seeded hashes are the lowest.

Such a sample is uniform, does not depend on the order of the rows or on the number of processes, and two samples of two streams
make the sample of both (bottom-k sampling: Cohen and Kaplan 2007).
"""

import hashlib
import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


def priority(seed: int, key: str) -> int:
    """A number from 0 to 2^64 - 1 that is as good as random, but always the same for a seed and a key."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, salt=str(seed).encode()[:16])
    return int.from_bytes(digest.digest())


class LowestSample(Generic[Item]):
    """The items with the lowest ranks of a stream, at most `size`. Memory does not grow with the stream.

    A rank is a number; a `priority` makes a random sample, a length keeps the shortest rows. Of equal ranks the smaller key is
    the lower one.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._heap: list[tuple[float, _Reversed, Item]] = []  # the highest rank is first

    def __len__(self) -> int:
        return len(self._heap)

    def would_keep(self, rank: float) -> bool:
        """Whether an item with this rank may belong to the sample."""
        return len(self._heap) < self.size or rank <= -self._heap[0][0]

    def add(self, rank: float, key: str, item: Item) -> None:
        """Offer one item. `key` must be its own, such as the place of a row."""
        entry = (-rank, _Reversed(key), item)
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, entry)
        elif self.size and entry[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, entry)

    def merge(self, other: "LowestSample[Item]") -> None:
        """Make this the sample of both streams."""
        for rank, key, item in other._heap:
            self.add(-rank, key.key, item)

    def __iter__(self) -> Iterator[Item]:
        """The items, the lowest rank first."""
        return (item for _, _, item in sorted(self._heap, key=lambda entry: entry[:2], reverse=True))


class _Reversed:
    """A key that sorts the other way around, for a heap whose first entry is the highest one."""

    __slots__ = ("key",)

    def __init__(self, key: str) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __lt__(self, other: "_Reversed") -> bool:
        return self.key > other.key
