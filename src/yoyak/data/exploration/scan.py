"""One pass over the rows of a corpus: counts of all rows, a random sample of rows, and rows that occur twice.

Memory does not grow with the rows. Chunks of rows are measured in several processes where a file is large; the result does not
depend on their number.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from yoyak.config.sections import Preprocess
from yoyak.data.exploration.corpus import Corpus
from yoyak.data.exploration.repeats import Occurrences
from yoyak.data.exploration.row_measures import MeasuredRow, measure
from yoyak.data.exploration.sampling import LowestSample, priority
from yoyak.data.exploration.tally import Record, Tally
from yoyak.data.leak_guard import spoken_words
from yoyak.data.near_duplicates import THRESHOLD, new_index, signature, spoken_letters
from yoyak.system.cores import usable_cores
from yoyak.system.csv_files import Row
from yoyak.system.process_pools import process_pool

if TYPE_CHECKING:
    from rensa import RMinHash

CHUNK_ROWS = 200
PARALLEL_BYTES = 8 * 2**20  # from this file size on, several processes are faster than one
MAX_TOPICS = 20_000
NEAR_ROWS = 20_000  # of dev and test that are compared with all rows of train
EXTREMES = 10  # the shortest and the longest rows that a scan keeps, for each measure
REPEATED_SUMMARIES = 2000  # different ones whose rows are kept as examples


@dataclass(frozen=True)
class ScanSettings:
    """How a corpus is read.

    Attributes:
        cleaning: section preprocess.
        sample: rows of the random sample of each split.
        seed: of the sample.
    """

    cleaning: Preprocess
    sample: int = 10_000
    seed: int = 42


@dataclass
class Scan:
    """Counts of the rows of one split, or of several together.

    Attributes:
        rows: all rows of the file.
        usable: rows that preprocess would keep.
        with_summary: usable rows that have a summary.
        numbers: for each measure of `row_measures.NUMBERS`, how many rows have each value.
        rejected, dirt, tags, summary_tags, masks, signs, topics: rows by reason, kind, tag, mask, sign and topic.
        shortest, longest: for each measure the rows at its ends.
        sample: a random sample of the usable rows.
    """

    sample_size: int
    rows: int = 0
    usable: int = 0
    with_summary: int = 0
    numbers: dict[str, Counter[float]] = field(default_factory=dict)
    rejected: Tally = field(default_factory=Tally)
    dirt: Tally = field(default_factory=Tally)
    tags: Tally = field(default_factory=Tally)
    summary_tags: Tally = field(default_factory=Tally)
    masks: Tally = field(default_factory=Tally)
    signs: Tally = field(default_factory=Tally)
    topics: Tally = field(default_factory=lambda: Tally(max_keys=MAX_TOPICS))
    shortest: dict[str, LowestSample[Record]] = field(default_factory=dict)
    longest: dict[str, LowestSample[Record]] = field(default_factory=dict)
    sample: LowestSample[Record] = field(init=False)

    def __post_init__(self) -> None:
        self.sample = LowestSample(self.sample_size)

    def add(self, found: MeasuredRow, split: str, rank: float) -> None:
        """Count one row. `rank` is its `sampling.priority`."""
        place = found.place
        self.rows += 1
        for sign in found.signs:
            self.signs.add(sign, rank, place, lambda: found.record(split))
        if found.rejection:
            self.rejected.add(found.rejection, rank, place, lambda: found.record(split, raw=True))
            return
        self.usable += 1
        self.with_summary += "summary_characters" in found.numbers
        for kind in found.dirt:
            self.dirt.add(kind, rank, place, lambda: found.record(split, raw=True))
        for tally, keys in ((self.tags, found.tags), (self.summary_tags, found.summary_tags), (self.masks, found.masks)):
            for key in sorted(keys):
                tally.add(key, rank, place, lambda: found.record(split))
        if topic := (found.row or {}).get("topic"):
            self.topics.add(topic, rank, place)  # examples come from the sample: there may be as many topics as rows
        for name, value in found.numbers.items():
            self.numbers.setdefault(name, Counter())[value] += 1
            for ends, end_rank in ((self.shortest, value), (self.longest, -value)):
                end = ends.setdefault(name, LowestSample(EXTREMES))
                if end.would_keep(end_rank):
                    end.add(end_rank, place, found.record(split))
        if self.sample.would_keep(rank):
            self.sample.add(rank, place, found.record(split))

    def merge(self, other: "Scan") -> None:
        """Add the rows of another scan."""
        self.rows += other.rows
        self.usable += other.usable
        self.with_summary += other.with_summary
        for name, counts in other.numbers.items():
            self.numbers.setdefault(name, Counter()).update(counts)
        for name in ("rejected", "dirt", "tags", "summary_tags", "masks", "signs", "topics"):
            getattr(self, name).merge(getattr(other, name))
        for mine, others in ((self.shortest, other.shortest), (self.longest, other.longest)):
            for name, sample in others.items():
                mine.setdefault(name, LowestSample(EXTREMES)).merge(sample)
        self.sample.merge(other.sample)


@dataclass
class CorpusScan:
    """What a scan of all files of a corpus found.

    Attributes:
        corpus: the files.
        splits: the counts of each split.
        repeats: rows whose dialogue occurs before, by kind: same_split, other_split, and near_other_split (MinHash).
        summaries: rows by summary, of those that occur more than once.
        repeated_summaries: how many different summaries these are, and how many rows have them.
        near_compared: rows of dev and test that all rows of train were compared with; None without near-duplicates.
    """

    corpus: Corpus
    splits: dict[str, Scan] = field(default_factory=dict)
    repeats: Tally = field(default_factory=Tally)
    summaries: Tally = field(default_factory=lambda: Tally(max_keys=REPEATED_SUMMARIES))
    repeated_summaries: tuple[int, int] = (0, 0)
    near_compared: int | None = None

    def whole(self) -> Scan:
        """All splits together."""
        together = Scan(max(scan.sample_size for scan in self.splits.values()))
        for scan in self.splits.values():
            together.merge(scan)
        return together


def scan_corpus(corpus: Corpus, settings: ScanSettings, *, progress: Callable[[int], object] = lambda _: None) -> CorpusScan:
    """Read all rows of a corpus once.

    Args:
        corpus: the files.
        settings: how they are read.
        progress: called with the number of rows since its last call.

    Raises:
        YoyakError: if a file cannot be read, or there is no room for temporary files.
    """
    result = CorpusScan(corpus)
    repeats = _Repeats(result)
    # What evaluates comes first: all rows of train are compared with it, without being kept.
    for split in sorted(corpus.files, key=lambda name: (name == "train", name)):
        scan = result.splits[split] = Scan(settings.sample)
        work = _Chunk(str(corpus.files[split]), split, corpus.has_summaries(split), settings, near=len(corpus.files) > 1)
        is_large = corpus.files[split].stat().st_size >= PARALLEL_BYTES
        for rows, part, keys in _in_order(work, corpus.rows(split), processes=usable_cores() if is_large else 1):
            scan.merge(part)
            for row, key in zip(rows, keys, strict=True):
                repeats.add(row, key, work)
            progress(len(rows))
    result.splits = {split: result.splits[split] for split in corpus.files}
    result.repeated_summaries = repeats.summaries.repeated()
    if len(corpus.files) > 1:
        result.near_compared = repeats.near_rows
    return result


@dataclass(frozen=True)
class _Keys:
    """What the comparison of a row with all others needs; empty texts if the row cannot be used."""

    words: bytes = b""
    summary: str = ""
    minhash: "RMinHash | None" = None


@dataclass(frozen=True)
class _Chunk:
    """Measures chunks of rows of one file, perhaps in another process."""

    file: str
    split: str
    with_summary: bool
    settings: ScanSettings
    near: bool

    def measure(self, row: Row) -> MeasuredRow:
        # A test file may have summaries for some rows only.
        with_summary = self.with_summary and (self.split != "test" or bool(row.cells.get("summary", "").strip()))
        return measure(row, file=self.file, with_summary=with_summary, settings=self.settings.cleaning)

    def rank(self, row: Row) -> int:
        return priority(self.settings.seed, f"{self.split}:{row.line}")

    def __call__(self, rows: list[Row]) -> tuple[Scan, list[_Keys]]:
        part, keys = Scan(self.settings.sample), []
        for row in rows:
            found = self.measure(row)
            part.add(found, self.split, self.rank(row))
            if found.row is None:
                keys.append(_Keys())
                continue
            dialogue = found.row["dialogue"]
            minhash = signature(spoken_letters(dialogue)) if self.near else None
            keys.append(_Keys(spoken_words(dialogue).encode(), found.row.get("summary", ""), minhash))
        return part, keys


class _Repeats:
    """Compares each row with those before it."""

    def __init__(self, result: CorpusScan) -> None:
        self._result = result
        self._dialogues, self.summaries = Occurrences(), Occurrences()
        self._index = new_index() if len(result.corpus.files) > 1 else None
        self._near: list[tuple[str, str, RMinHash]] = []  # split, place and signature of the rows in the index

    @property
    def near_rows(self) -> int:
        return len(self._near)

    def add(self, row: Row, keys: _Keys, work: _Chunk) -> None:
        if not keys.words:
            return
        split, place, rank = work.split, f"{work.file}:{row.line}", work.rank(row)
        count, first = self._dialogues.add(keys.words, f"{split} {place}")
        is_new = count == 1
        if not is_new:
            first_split, _, first_place = first.partition(" ")
            kind = "same_split" if first_split == split else "other_split"
            self._result.repeats.add(kind, rank, place, lambda: work.measure(row).record(split, note=f"= {first_place}"))
        if keys.summary:
            count, first = self.summaries.add(keys.summary.encode(), place)
            if count > 1:
                tally = self._result.summaries
                tally.add(keys.summary, rank, place, lambda: work.measure(row).record(split, note=f"= {first}"))
        if keys.minhash is not None and is_new:
            self._compare(row, keys.minhash, work)

    def _compare(self, row: Row, minhash: "RMinHash", work: _Chunk) -> None:
        """Look for a row of another split that is almost the same."""
        assert self._index is not None
        place = f"{work.file}:{row.line}"
        others = (self._near[number] for number in self._index.query(minhash))
        near = max(
            ((other.jaccard(minhash), other_place) for split, other_place, other in others if split != work.split),
            default=(0.0, ""),
        )
        if near[0] >= THRESHOLD:
            note = f"≈ {near[1]} ({near[0]:.0%})"
            self._result.repeats.add(
                "near_other_split", work.rank(row), place, lambda: work.measure(row).record(work.split, note=note)
            )
        if work.split != "train" and len(self._near) < NEAR_ROWS:
            self._index.insert(len(self._near), minhash)
            self._near.append((work.split, place, minhash))


def _in_order(work: _Chunk, rows: Iterable[Row], *, processes: int) -> Iterator[tuple[list[Row], Scan, list[_Keys]]]:
    """The chunks of rows with what `work` finds, in order. With several processes, a few chunks are measured ahead."""
    rows = iter(rows)
    chunks = iter(lambda: list(islice(rows, CHUNK_ROWS)), [])
    if processes == 1:
        for chunk in chunks:
            yield chunk, *work(chunk)
        return
    pending: deque[tuple[list[Row], Future[tuple[Scan, list[_Keys]]]]] = deque()
    with process_pool(processes) as pool:
        for chunk in chunks:
            pending.append((chunk, pool.submit(work, chunk)))
            if len(pending) > 2 * processes:
                first, future = pending.popleft()
                yield first, *future.result()
        for first, future in pending:
            yield first, *future.result()
