"""Counts of rows by key, with a few rows of each key as examples."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from yoyak.data.exploration.sampling import LowestSample
from yoyak.data.text_repair import MAX_CHARACTERS

EXAMPLES = 10  # rows of each key
MAX_KEYS = 1000  # of a tally with examples


@dataclass(frozen=True, slots=True)
class Record:
    """One row as a reader sees it. Texts are cut after MAX_CHARACTERS, where preprocess rejects them.

    Attributes:
        place: file and line, such as data/raw/train.csv:17.
        fname, split, topic, dialogue, summary: the cells; the dialogue is cleaned, where that is possible.
        note: what is special about the row, such as what another row has in common with it.
    """

    place: str
    fname: str
    split: str
    topic: str
    dialogue: str
    summary: str
    note: str = ""


def shown(text: str) -> str:
    """`text` as a record holds it."""
    return text[:MAX_CHARACTERS]


@dataclass
class Tally:
    """Number of rows for each key. Keys beyond `max_keys` lose the rarest ones, so that memory stays flat.

    Attributes:
        counts: rows by key.
        examples: a random sample of the rows of each key.
        dropped: rows whose key was dropped because there are too many keys.
    """

    max_keys: int = MAX_KEYS
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, LowestSample[Record]] = field(default_factory=dict)
    dropped: int = 0

    def add(self, key: str, rank: float, place: str, record: Callable[[], Record] | None = None) -> None:
        """Count one row; `record` is called only if the row becomes an example."""
        self.counts[key] += 1
        if record is not None:
            sample = self.examples.get(key)
            if sample is None:
                sample = self.examples[key] = LowestSample(EXAMPLES)
            if sample.would_keep(rank):
                sample.add(rank, place, record())
        self._drop_rarest()

    def merge(self, other: "Tally") -> None:
        """Add the rows of another tally."""
        self.counts.update(other.counts)
        self.dropped += other.dropped
        for key, sample in other.examples.items():
            self.examples.setdefault(key, LowestSample(EXAMPLES)).merge(sample)
        self._drop_rarest()

    def _drop_rarest(self) -> None:
        if len(self.counts) > 2 * self.max_keys:
            for key, count in self.counts.most_common()[self.max_keys :]:
                del self.counts[key]
                self.examples.pop(key, None)
                self.dropped += count
