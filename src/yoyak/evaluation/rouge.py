"""ROUGE over Korean morphemes, row by row, and what a corpus score may claim."""

import importlib.metadata
import multiprocessing
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

from yoyak.data.dialogue import without_tags
from yoyak.system.errors import YoyakError

KEYS = ("rouge1", "rouge2", "rougeL")
References = Literal["mean", "max"]
Scores = NDArray[np.float64]  # (rows, 3): F1 of ROUGE-1, -2 and -L, 0 to 100
Counts = NDArray[np.int64]

TEXTS_A_PROCESS = 2000  # Mecab reads these in about the time that a process needs to start
CHECKED_ROWS = 20


class Morphemes:
    """The surface forms of python-mecab-ko's morphemes. Each text is analysed once, composed (NFC): Mecab knows no
    decomposed Hangul, as files from macOS hold it. `rouge_score` takes it for its tokenizer.

    Raises:
        YoyakError: if Mecab cannot load. There is no fallback: another tokenizer would be another score.
    """

    def __init__(self) -> None:
        try:
            from mecab import MeCab

            self._tagger = MeCab()._tagger
        except Exception as error:  # a missing package, library or dictionary: each raises its own kind
            raise YoyakError(f"Mecab cannot load ({error}); the score needs it: pip install python-mecab-ko==1.3.7") from error
        self._seen: dict[str, list[str]] = {}
        self._numbers: dict[str, int] = {}
        self._lettered: dict[str, str] = {}

    def tokenize(self, text: str) -> list[str]:
        if text not in self._seen:
            self._seen[text] = self._surfaces(unicodedata.normalize("NFC", text))
        return self._seen[text]

    def letters(self, text: str) -> str:
        """The text with each morpheme as one character: its number among all that were seen."""
        if text not in self._lettered:
            numbers = self._numbers
            ids = [numbers.setdefault(token, len(numbers)) for token in self.tokenize(text)]
            if len(numbers) > sys.maxunicode:
                raise YoyakError(f"more than {sys.maxunicode} different morphemes: no Korean text has so many")
            self._lettered[text] = "".join(map(chr, ids))
        return self._lettered[text]

    def _surfaces(self, text: str) -> list[str]:
        """What MeCab.morphs gives, in half the time: it reads each morpheme's eight features first, and drops them."""
        from mecab.utils import create_lattice

        lattice = create_lattice(text)
        if not self._tagger.parse(lattice):
            raise YoyakError(f"Mecab cannot read a text of {len(text)} characters: {self._tagger.what()}")
        return [node.surface for _, node in lattice]

    def read(self, texts: Iterable[str]) -> None:
        """Analyse many texts ahead, in as many processes as there are cores for them."""
        new = [text for text in dict.fromkeys(texts) if text not in self._seen]
        processes = min(len(os.sched_getaffinity(0)), len(new) // TEXTS_A_PROCESS)
        if processes > 1:
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(processes, mp_context=spawn, initializer=_start_reader) as pool:
                for text, joined in zip(new, pool.map(_read, new, chunksize=500), strict=True):
                    self._seen[text] = joined.split("\0") if joined else []


_reader: Morphemes


def _start_reader() -> None:
    global _reader  # noqa: PLW0603  (of a process of its own)
    _reader = Morphemes()


def _read(text: str) -> str:
    """Joined: a list of short strings takes longer from process to process. Mecab's strings have no NUL."""
    return "\0".join(_reader._surfaces(unicodedata.normalize("NFC", text)))


def signature(references: References) -> str:
    """Everything that a ROUGE depends on, in one line, in the manner of sacrebleu."""
    mecab, dictionary, rouge = map(importlib.metadata.version, ("python-mecab-ko", "python-mecab-ko-dic", "rouge-score"))
    return (
        f"tok:mecab-ko-{mecab}+dic-{dictionary}+nfc|impl:rouge_score-{rouge}|metric:F1x100"
        f"|references:{references}|rows:mean|content:tags-removed"
    )


def score_rows(
    *,
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    tokenizer: Morphemes,
    how: References = "mean",
) -> Scores:
    """F1 (0 to 100) of each prediction against its references, as (rows, 3) in the order of KEYS.

    With several references each measure is the mean over them, or the best of them (`how`): the competition's page
    states the first in words and the second as a formula.

    Raises:
        ValueError: if the lengths differ, or a row has no reference.
    """
    for at, (_, texts) in enumerate(zip(predictions, references, strict=True)):
        if not texts:
            raise ValueError(f"row {at} has no reference")
    if not predictions:
        return np.zeros((0, len(KEYS)))
    each = [tokenizer.letters(text) for text in predictions]
    written = [letters for letters, texts in zip(each, references, strict=True) for _ in texts]
    wanted = [tokenizer.letters(text) for texts in references for text in texts]
    longest = np.array([LCSseq.similarity(a, b) for a, b in zip(written, wanted, strict=True)], dtype=np.int64)
    lengths = [np.array([len(letters) for letters in texts], dtype=np.int64) for texts in (written, wanted)]
    pairs = 100 * np.stack(
        [
            _f1(_clipped(written, wanted, n=1), *lengths),
            _f1(_clipped(written, wanted, n=2), *(size - 1 for size in lengths)),
            _f1(longest, *lengths),
        ],
        axis=1,
    )
    counts = np.array([len(row) for row in references])
    starts = np.cumsum(counts) - counts
    rows: Scores = np.maximum.reduceat(pairs, starts) if how == "max" else np.add.reduceat(pairs, starts) / counts[:, None]
    return rows


def _clipped(written: Sequence[str], wanted: Sequence[str], *, n: int) -> Counts:
    """Of each pair, how many n-grams (n 1 or 2) it shares: one that comes k and m times counts min(k, m)."""
    (a, a_counts), (b, b_counts) = (np.unique(_grams(texts, n), return_counts=True) for texts in (written, wanted))
    both, at_a, at_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    shared = np.minimum(a_counts[at_a], b_counts[at_b])
    return np.bincount(both // GRAMS[n], weights=shared, minlength=len(written)).astype(np.int64)


GRAMS = {n: (sys.maxunicode + 1) ** n for n in (1, 2)}


def _grams(texts: Sequence[str], n: int) -> Counts:
    """All n-grams of all texts, each as one number that says its text too: place x GRAMS[n] + gram (7 million texts fit)."""
    flat = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
    rows = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    if n == 1:
        grams: Counts = rows * GRAMS[1] + flat
        return grams
    grams = rows[1:] * GRAMS[2] + flat[:-1] * GRAMS[1] + flat[1:]
    inside: Counts = grams[rows[1:] == rows[:-1]]
    return inside


def _f1(shared: Counts, written: Counts, wanted: Counts) -> NDArray[np.float64]:
    """In rouge_score's order of operations, so that the last bit is the same."""
    precision, recall = shared / np.maximum(written, 1), shared / np.maximum(wanted, 1)
    total = precision + recall
    return np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), 0.0)


def check(
    rows: Scores, predictions: Sequence[str], references: Sequence[Sequence[str]], tokenizer: Morphemes, how: References
) -> None:
    """Score some rows by rouge_score, by which the signature stands.

    Raises:
        YoyakError: if it gives another score.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(KEYS), tokenizer=tokenizer)
    for at in range(0, len(rows), max(1, len(rows) // CHECKED_ROWS)):
        each = [scorer.score(target=text, prediction=predictions[at]) for text in references[at]]
        table = 100 * np.array([[result[key].fmeasure for key in KEYS] for result in each])
        expected = table.mean(axis=0) if how == "mean" else table.max(axis=0)
        if not np.allclose(rows[at], expected, rtol=0, atol=1e-9):
            raise YoyakError(
                f"row {at}: rouge_score gives {expected.tolist()}, and yoyak {rows[at].tolist()}: please report this"
            )


def content(texts: Sequence[str]) -> list[str]:
    """The texts without speaker and privacy tags."""
    return [without_tags(text) for text in texts]


def with_totals(rows: Scores) -> Scores:
    """(…, 3) to (…, 5): the sum and the mean of the three beside them."""
    total = rows.sum(axis=-1, keepdims=True)
    return np.concatenate([rows, total, total / len(KEYS)], axis=-1)


def summarize(rows: Scores) -> dict[str, float]:
    """The mean over rows: rouge1 rouge2 rougeL rouge_sum rouge_mean, rounded to 4 places."""
    means = with_totals(rows.mean(axis=0))
    return {key: round(float(value), 4) for key, value in zip((*KEYS, "rouge_sum", "rouge_mean"), means, strict=True)}


def resampled_means(rows: Scores, *, samples: int, seed: int) -> Scores:
    """(samples, 3): means over rows drawn with replacement (Efron's bootstrap; Koehn 2004 for paired use)."""
    generator = np.random.default_rng(seed)
    columns = np.ascontiguousarray(rows.T)
    means = np.empty((samples, rows.shape[1]))
    for at in range(samples):
        drawn = np.bincount(generator.integers(0, len(rows), len(rows)), minlength=len(rows))
        means[at] = (drawn * columns).sum(axis=1) / len(rows)
    return means


def interval(means: Scores) -> dict[str, list[float]]:
    """The 95 % percentile interval of each key from resampled means (samples, 3)."""
    low, high = np.percentile(with_totals(means), [2.5, 97.5], axis=0)
    return {
        key: [round(float(a), 4), round(float(b), 4)]
        for key, a, b in zip((*KEYS, "rouge_sum", "rouge_mean"), low, high, strict=True)
    }


def medoid(summaries: Sequence[str], *, tokenizer: Morphemes, most: int = 4000) -> str:
    """The summary that agrees best with the others: the highest mean ROUGE-1 + ROUGE-2 F1 against them.

    The k-th occurrence of a morpheme counts as a feature of its own, so that the number of shared features is exactly
    ROUGE's clipped overlap. Of more than `most` summaries, an evenly spaced `most` are compared.

    Raises:
        ValueError: if there are no summaries.
    """
    if not summaries:
        raise ValueError("no summaries")
    chosen = [summaries[at * len(summaries) // most] for at in range(most)] if len(summaries) > most else summaries
    agreement = np.zeros(len(chosen))
    for n in (1, 2):
        grams = [_features(tokenizer.tokenize(text), n) for text in chosen]
        sizes = np.array([len(gram) for gram in grams])
        holders: dict[tuple[object, ...], list[int]] = {}
        for at, gram in enumerate(grams):
            for feature in gram:
                holders.setdefault(feature, []).append(at)
        where = {feature: np.array(rows) for feature, rows in holders.items()}
        for at, gram in enumerate(grams):
            if gram:
                shared = np.bincount(np.concatenate([where[f] for f in gram]), minlength=len(chosen))
                agreement[at] += (2 * shared / (sizes[at] + sizes)).sum() - 1  # without itself
    return chosen[int(agreement.argmax())]


def _features(tokens: Sequence[str], n: int) -> list[tuple[object, ...]]:
    """The n-grams of `tokens`, each with how often it came before."""
    seen: dict[tuple[str, ...], int] = {}
    features: list[tuple[object, ...]] = []
    for at in range(len(tokens) - n + 1):
        gram = tuple(tokens[at : at + n])
        seen[gram] = seen.get(gram, -1) + 1
        features.append((*gram, seen[gram]))
    return features
