"""ROUGE over Korean morphemes, row by row, and what a corpus score may claim."""

import importlib.metadata
import unicodedata
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rouge_score import rouge_scorer, tokenizers

from yoyak.dialogue import without_tags
from yoyak.errors import YoyakError

KEYS = ("rouge1", "rouge2", "rougeL")
References = Literal["mean", "max"]
Scores = NDArray[np.float64]  # (rows, 3): F1 of ROUGE-1, -2 and -L, 0 to 100


class Morphemes(tokenizers.Tokenizer):  # type: ignore[misc]
    """The surface forms of python-mecab-ko's morphemes. Each text is analysed once, composed (NFC): Mecab knows no
    decomposed Hangul, as files from macOS hold it.

    Raises:
        YoyakError: if Mecab cannot load. There is no fallback: another tokenizer would be another score.
    """

    def __init__(self) -> None:
        try:
            from mecab import MeCab

            self._mecab = MeCab()
        except Exception as error:  # a missing package, library or dictionary: each raises its own kind
            raise YoyakError(f"Mecab cannot load ({error}); the score needs it: pip install python-mecab-ko==1.3.7") from error
        self._seen: dict[str, list[str]] = {}

    def tokenize(self, text: str) -> list[str]:
        if text not in self._seen:
            self._seen[text] = self._mecab.morphs(unicodedata.normalize("NFC", text))
        return self._seen[text]


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
    scorer = rouge_scorer.RougeScorer(list(KEYS), tokenizer=tokenizer)
    rows = np.zeros((len(predictions), len(KEYS)))
    for at, (prediction, wanted) in enumerate(zip(predictions, references, strict=True)):
        if not wanted:
            raise ValueError(f"row {at} has no reference")
        each = [scorer.score(target=reference, prediction=prediction) for reference in wanted]
        table = np.array([[result[key].fmeasure for key in KEYS] for result in each])
        rows[at] = 100 * (table.mean(axis=0) if how == "mean" else table.max(axis=0))
    return rows


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
    means = np.empty((samples, rows.shape[1]))
    for at in range(samples):
        means[at] = rows[generator.integers(0, len(rows), len(rows))].mean(axis=0)
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
