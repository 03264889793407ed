"""What exploration measures of sampled rows with Mecab: morphemes, copied fragments, novel n-grams, facts, terms."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from yoyak.data.dialogue import without_tags
from yoyak.data.exploration.tally import Record
from yoyak.data.leak_guard import without_speakers
from yoyak.evaluation.extractiveness import extractiveness, novel_ngrams
from yoyak.evaluation.facts import FactFinder, Number
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.unsupported_facts import unsupported_facts
from yoyak.system.cores import usable_cores
from yoyak.system.process_pools import process_pool

NOVEL_SIZES = (1, 2, 3, 4)
PARALLEL_ROWS = 2000  # with fewer rows, starting processes takes longer than it saves
_CHUNK = 200
_NOUNS = ("NNG", "NNP", "SL")


@dataclass
class SampledRow:
    """Measures of one row.

    Attributes:
        record: the row.
        numbers: dialogue_morphemes and, with a summary, summary_morphemes, coverage, density, compression, novel_1 … novel_4;
            later also dialogue_tokens and summary_tokens.
        names, figures: names and numbers of the summary that the dialogue does not state, as text.
        terms: the nouns of the dialogue with their numbers.
    """

    record: Record
    numbers: dict[str, float] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    terms: Counter[str] = field(default_factory=Counter)


def spoken_text(dialogue: str) -> str:
    """What is said, without speakers and tags: a tag has four morphemes, and would count as copied."""
    return without_tags(without_speakers(dialogue))


def nouns(tokens: Sequence[tuple[str, str]]) -> Counter[str]:
    """The nouns, names and foreign words of at least two letters among morphemes with their parts of speech."""
    return Counter(surface for surface, tag in tokens if tag.startswith(_NOUNS) and len(surface) > 1)


class RowMeasurer:
    """Measures rows with one Mecab."""

    def __init__(self) -> None:
        self._morphemes = Morphemes()

    def __call__(self, record: Record) -> SampledRow:
        tagged = self._morphemes.with_tags(spoken_text(record.dialogue))
        dialogue = [surface for surface, _ in tagged]
        row = SampledRow(record, {"dialogue_morphemes": len(dialogue)}, terms=nouns(tagged))
        if not record.summary:
            return row
        summary = [surface for surface, _ in self._morphemes.with_tags(without_tags(record.summary))]
        row.numbers["summary_morphemes"] = len(summary)
        if measures := extractiveness(summary, dialogue):
            row.numbers |= vars(measures)
        for size in NOVEL_SIZES:
            share = novel_ngrams(summary, dialogue, size)
            if share is not None:
                row.numbers[f"novel_{size}"] = share
        facts = unsupported_facts(record.summary, record.dialogue, FactFinder(self._morphemes))
        row.names = tuple(sorted(facts.names))
        row.figures = tuple(sorted(map(_number_text, facts.numbers)))
        return row


def _number_text(number: Number) -> str:
    return f"{number.value:g}{number.unit}"


_measurer: RowMeasurer


def _start_process() -> None:
    global _measurer  # noqa: PLW0603  (each process has its own)
    _measurer = RowMeasurer()


def _measure_chunk(records: Sequence[Record]) -> list[SampledRow]:
    return [_measurer(record) for record in records]


def measure_rows(records: Sequence[Record], *, progress: Callable[[int], object] = lambda _: None) -> list[SampledRow]:
    """Measure rows, in their order, with several processes if there are many.

    Raises:
        YoyakError: if Mecab cannot load.
    """
    rows: list[SampledRow] = []
    for chunk in _measured(records):
        rows += chunk
        progress(len(chunk))
    return rows


def _measured(records: Sequence[Record]) -> Iterator[list[SampledRow]]:
    chunks = [records[start : start + _CHUNK] for start in range(0, len(records), _CHUNK)]
    processes = usable_cores() if len(records) >= PARALLEL_ROWS else 1
    if processes == 1:
        measurer = RowMeasurer()
        yield from ([measurer(record) for record in chunk] for chunk in chunks)
        return
    Morphemes()  # a missing Mecab is told here, and not as a broken pool
    with process_pool(processes, initializer=_start_process) as pool:
        yield from pool.map(_measure_chunk, chunks)
