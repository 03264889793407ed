"""Baselines: what a summarizer that has learned nothing writes. A model must beat them."""

from collections.abc import Sequence

import numpy as np

from yoyak.evaluation.morphemes import Morphemes

BASELINES = ("lead1", "lead2", "lead3", "constant", "medoid")
CONSTANT = "#Person1# #Person2#"
MAX_MEDOID_CANDIDATES = 4000  # the comparison of all pairs is quadratic


def baseline_predictions(dialogues: Sequence[str], *, medoid: str) -> dict[str, list[str]]:
    """Predictions of each baseline, one for each dialogue.

    Args:
        dialogues: one turn on each line, with original speaker tags.
        medoid: the text that the baseline of that name writes for every dialogue.

    Returns:
        lead1, lead2, lead3 (the first turns), constant (CONSTANT: the tags alone) and medoid.
    """
    leads = {f"lead{n}": ["\n".join(text.split("\n")[:n]) for text in dialogues] for n in (1, 2, 3)}
    return leads | {"constant": [CONSTANT] * len(dialogues), "medoid": [medoid] * len(dialogues)}


def medoid(summaries: Sequence[str], *, tokenizer: Morphemes, max_candidates: int = MAX_MEDOID_CANDIDATES) -> str:
    """The summary that agrees best with the others: its mean ROUGE-1 + ROUGE-2 F1 against them is the highest.

    The k-th occurrence of a morpheme counts as a feature of its own. The number of shared features is then exactly the clipped
    overlap of ROUGE. If there are more than `max_candidates` summaries, an evenly spaced selection of that many is compared.

    Raises:
        ValueError: if there are no summaries.
    """
    if not summaries:
        raise ValueError("no summaries")
    count = len(summaries)
    candidates = (
        [summaries[i * count // max_candidates] for i in range(max_candidates)] if count > max_candidates else summaries
    )
    agreement = np.zeros(len(candidates))
    for n in (1, 2):
        features = [_features(tokenizer.tokenize(text), n) for text in candidates]
        sizes = np.array([len(row) for row in features])
        rows_with: dict[tuple[object, ...], list[int]] = {}
        for row, row_features in enumerate(features):
            for feature in row_features:
                rows_with.setdefault(feature, []).append(row)
        indices = {feature: np.array(rows) for feature, rows in rows_with.items()}
        for row, row_features in enumerate(features):
            if row_features:
                shared = np.bincount(np.concatenate([indices[f] for f in row_features]), minlength=len(candidates))
                agreement[row] += (2 * shared / (sizes[row] + sizes)).sum() - 1  # minus the agreement with itself
    return candidates[int(agreement.argmax())]


def _features(tokens: Sequence[str], n: int) -> list[tuple[object, ...]]:
    """The n-grams of `tokens`, each with the number of its earlier occurrences."""
    occurrences: dict[tuple[str, ...], int] = {}
    features: list[tuple[object, ...]] = []
    for start in range(len(tokens) - n + 1):
        ngram = tuple(tokens[start : start + n])
        occurrences[ngram] = occurrences.get(ngram, -1) + 1
        features.append((*ngram, occurrences[ngram]))
    return features
