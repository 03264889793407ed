"""ROUGE-1, -2 and -L over Korean morphemes, row by row, equal to rouge_score and much faster."""

import importlib.metadata
import sys
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

from yoyak.data.dialogue import without_tags
from yoyak.evaluation.morphemes import Morphemes
from yoyak.system.errors import YoyakError

KEYS = ("rouge1", "rouge2", "rougeL")
TOTAL_KEYS = (*KEYS, "rouge_sum", "rouge_mean")
Aggregation = Literal["mean", "max"]  # how the scores against several references become one
Scores = NDArray[np.float64]  # (rows, 3): F1 of ROUGE-1, -2 and -L, 0 to 100
Counts = NDArray[np.int64]

CHECKED_ROWS = 20  # rows that `check_against_rouge_score` compares
_GRAM_BASE = {n: (sys.maxunicode + 1) ** n for n in (1, 2)}  # number of different n-grams of characters


def signature(aggregation: Aggregation) -> str:
    """One line that names everything that a ROUGE value depends on, in the format of sacrebleu's signatures."""
    mecab, dictionary, rouge = map(importlib.metadata.version, ("python-mecab-ko", "python-mecab-ko-dic", "rouge-score"))
    return (
        f"tok:mecab-ko-{mecab}+dic-{dictionary}+nfc|impl:rouge_score-{rouge}|metric:F1x100"
        f"|references:{aggregation}|rows:mean|content:tags-removed"
    )


def score_rows(
    *,
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    tokenizer: Morphemes,
    aggregation: Aggregation = "mean",
) -> Scores:
    """F1 × 100 of each prediction against its references.

    Args:
        predictions: one text for each row.
        references: at least one text for each row.
        tokenizer: gives the tokens; each text is analysed once.
        aggregation: with several references each key is the mean over them or the best of them. The page of the competition
            states the first in words and the second as a formula.

    Returns:
        Array (rows, 3) in the order of KEYS.

    Raises:
        ValueError: if the lengths differ, or a row has no reference.
    """
    for index, (_, texts) in enumerate(zip(predictions, references, strict=True)):
        if not texts:
            raise ValueError(f"row {index} has no reference")
    if not predictions:
        return np.zeros((0, len(KEYS)))
    row_predictions = [tokenizer.as_characters(text) for text in predictions]
    # One pair for each reference; the pairs of one row follow each other.
    candidates = [text for text, texts in zip(row_predictions, references, strict=True) for _ in texts]
    targets = [tokenizer.as_characters(text) for texts in references for text in texts]
    pairs = _score_pairs(candidates, targets)
    counts = np.array([len(texts) for texts in references])
    starts = np.cumsum(counts) - counts
    if aggregation == "max":
        rows: Scores = np.maximum.reduceat(pairs, starts)
    else:
        rows = np.add.reduceat(pairs, starts) / counts[:, None]
    return rows


def _score_pairs(candidates: Sequence[str], targets: Sequence[str]) -> Scores:
    """F1 × 100 (pairs, 3) of texts with one character for each token (definitions of Lin 2004)."""
    common = np.array([LCSseq.similarity(a, b) for a, b in zip(candidates, targets, strict=True)], dtype=np.int64)
    lengths = [np.array([len(text) for text in texts], dtype=np.int64) for texts in (candidates, targets)]
    return 100 * np.stack(
        [
            _f1(_shared_ngrams(candidates, targets, n=1), *lengths),
            _f1(_shared_ngrams(candidates, targets, n=2), *(size - 1 for size in lengths)),
            _f1(common, *lengths),
        ],
        axis=1,
    )


def _shared_ngrams(candidates: Sequence[str], targets: Sequence[str], *, n: int) -> Counts:
    """(pairs,): the number of n-grams (n is 1 or 2) that each pair shares. One that occurs k and m times counts min(k, m)."""
    (a, a_counts), (b, b_counts) = (np.unique(_ngrams(texts, n), return_counts=True) for texts in (candidates, targets))
    both, a_index, b_index = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    shared = np.minimum(a_counts[a_index], b_counts[b_index])
    return np.bincount(both // _GRAM_BASE[n], weights=shared, minlength=len(candidates)).astype(np.int64)


def _ngrams(texts: Sequence[str], n: int) -> Counts:
    """All n-grams of all texts as numbers that also contain the index of the text: index × _GRAM_BASE[n] + n-gram.

    int64 holds the numbers of 7 million texts.
    """
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
    indices = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    if n == 1:
        unigrams: Counts = indices * _GRAM_BASE[1] + codes
        return unigrams
    bigrams = indices[1:] * _GRAM_BASE[2] + codes[:-1] * _GRAM_BASE[1] + codes[1:]
    within_a_text: Counts = bigrams[indices[1:] == indices[:-1]]
    return within_a_text


def _f1(shared: Counts, candidate_sizes: Counts, target_sizes: Counts) -> NDArray[np.float64]:
    """F1 in rouge_score's order of operations, so that even the last bit is equal."""
    precision, recall = shared / np.maximum(candidate_sizes, 1), shared / np.maximum(target_sizes, 1)
    total = precision + recall
    return np.where(total > 0, 2 * precision * recall / np.where(total > 0, total, 1), 0.0)


def check_against_rouge_score(
    rows: Scores,
    *,
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    tokenizer: Morphemes,
    aggregation: Aggregation,
) -> None:
    """Compare CHECKED_ROWS of `rows` with the package rouge_score, which the signature names.

    Raises:
        YoyakError: if a value differs.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(KEYS), tokenizer=tokenizer)
    for index in range(0, len(rows), max(1, len(rows) // CHECKED_ROWS)):
        results = [scorer.score(target=text, prediction=predictions[index]) for text in references[index]]
        table = 100 * np.array([[result[key].fmeasure for key in KEYS] for result in results])
        expected = table.mean(axis=0) if aggregation == "mean" else table.max(axis=0)
        if not np.allclose(rows[index], expected, rtol=0, atol=1e-9):
            raise YoyakError(
                f"row {index}: rouge_score gives {expected.tolist()} and yoyak gives {rows[index].tolist()}; "
                "this is a bug in yoyak, please report it"
            )


def remove_tags(texts: Sequence[str]) -> list[str]:
    """The texts without speaker tags and privacy tags: what `content` scores."""
    return [without_tags(text) for text in texts]


def with_totals(rows: Scores) -> Scores:
    """(…, 3) to (…, 5) in the order of TOTAL_KEYS: the three values, their sum and their mean."""
    total = rows.sum(axis=-1, keepdims=True)
    return np.concatenate([rows, total, total / len(KEYS)], axis=-1)


def summarize(rows: Scores) -> dict[str, float]:
    """Means over the rows under TOTAL_KEYS, rounded to 4 decimal places."""
    means = with_totals(rows.mean(axis=0))
    return {key: round(float(value), 4) for key, value in zip(TOTAL_KEYS, means, strict=True)}
