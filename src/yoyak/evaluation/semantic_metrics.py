"""Metrics of meaning, by the vectors of a language model: BERTScore, and the cosine of two texts.

They are computed only if params name a model (`inference.chosen_metrics` builds them), so nothing here loads one.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from yoyak.evaluation.metrics.base import Metric, MetricSettings, Rows
from yoyak.evaluation.rouge import Aggregation

Vectors = NDArray[np.float32]
ROWS_AT_ONCE = 64  # rows whose vectors of tokens are in memory at the same time


@dataclass(frozen=True)
class TokenVectors:
    """The tokens of one text.

    Attributes:
        ids: (tokens,) with special tokens such as [CLS].
        is_special: (tokens,).
        vectors: (tokens, size), each of length 1.
    """

    ids: list[int]
    is_special: NDArray[np.bool_]
    vectors: Vectors


class Encoder(Protocol):
    """A model that gives vectors. `models.text_encoder.TextEncoder` is one."""

    description: str  # model, revision or fingerprint, and versions, as parts of a signature

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, as the model gets them."""

    def token_vectors(self, texts: Sequence[str]) -> list[TokenVectors]:
        """The vectors of the tokens of each text, in the layer that is compared."""

    def text_vectors(self, texts: Sequence[str]) -> Vectors:
        """(texts, size), each of length 1."""


class BertScore(Metric):
    """BERTScore × 100: each token is matched with the most similar token of the other text, by cosine.

    Zhang et al., "BERTScore: Evaluating Text Generation with BERT", ICLR 2020, equations 1 to 4. As in the authors' package
    bert_score 0.3.13, special tokens have no weight but can be matched. Values are not rescaled with a baseline, because there
    are no baselines for Korean models: look at differences, not at the level.
    """

    name = "bert_score"
    keys = ("precision", "recall", "f1")

    def __init__(self, settings: MetricSettings, encoder: Encoder, *, layer: int | None, idf: bool) -> None:
        """Prepare.

        Args:
            settings: of all metrics; the aggregation over references.
            encoder: of the tokens.
            layer: that the encoder compares, for the signature; None is the last one.
            idf: whether rare tokens weigh more.
        """
        super().__init__(settings)
        self.encoder, self.layer, self.idf = encoder, layer, idf

    def score_rows(
        self, *, predictions: Sequence[str], references: Sequence[Sequence[str]], dialogues: Sequence[str] | None
    ) -> Rows:
        """(rows, 3): precision, recall and F1."""
        weights = self._idf_weights(list(chain(*references))) if self.idf else None
        scored: list[Rows] = []
        for start in range(0, len(predictions), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            rows = list(zip(predictions[part], references[part], strict=True))
            texts = list(dict.fromkeys(text for prediction, others in rows for text in (prediction, *others)))
            tokens = dict(zip(texts, self.encoder.token_vectors(texts), strict=True))
            scored += [
                self._score_row(tokens[prediction], [tokens[text] for text in others], weights) for prediction, others in rows
            ]
        return np.array(scored, dtype=np.float64).reshape(len(predictions), len(self.keys))

    def _score_row(self, prediction: TokenVectors, references: Sequence[TokenVectors], weights: "_Weights | None") -> Rows:
        values = [100 * bert_score(prediction, reference, weights) for reference in references]
        return _combined(values, self.settings.aggregation)

    def _idf_weights(self, references: Sequence[str]) -> "_Weights":
        documents = Counter(id_ for ids in self.encoder.token_ids(references) for id_ in set(ids))
        return _Weights({id_: math.log((len(references) + 1) / (n + 1)) for id_, n in documents.items()}, len(references))

    def signature(self) -> str:
        layer = "last" if self.layer is None else self.layer
        idf = "references" if self.idf else "no"
        return (
            f"bert_score:greedy|{self.encoder.description}|layer:{layer}|idf:{idf}|rescaled:no"
            f"|references:{self.settings.aggregation}"
        )

    @classmethod
    def row_keys(cls) -> tuple[str, ...]:
        return ("bert_score_f1",)

    def row_values(self, rows: Rows) -> Rows:
        return rows[:, 2:]


@dataclass(frozen=True)
class _Weights:
    """The inverse document frequency of tokens: log((documents + 1) / (documents with it + 1))."""

    known: dict[int, float]
    documents: int

    def of(self, tokens: TokenVectors) -> NDArray[np.float64]:
        unknown = math.log(self.documents + 1)
        return np.array([self.known.get(id_, unknown) for id_ in tokens.ids], dtype=np.float64)


def bert_score(prediction: TokenVectors, reference: TokenVectors, weights: "_Weights | None" = None) -> Rows:
    """(3,): precision, recall and F1 of one pair, from -1 to 1. A text without tokens scores 0."""
    if prediction.is_special.all() or reference.is_special.all():
        return np.zeros(3)
    similarity = prediction.vectors.astype(np.float64) @ reference.vectors.T.astype(np.float64)
    sides = []
    for tokens, best in ((prediction, similarity.max(axis=1)), (reference, similarity.max(axis=0))):
        weight = np.where(tokens.is_special, 0.0, 1.0 if weights is None else weights.of(tokens))
        if not weight.sum():  # every token is in every reference
            return np.zeros(3)
        sides.append(float(best @ weight / weight.sum()))
    precision, recall = sides
    total = precision + recall
    return np.array([precision, recall, 2 * precision * recall / total if total else 0.0])


def _combined(values: Sequence[Rows], aggregation: Aggregation) -> Rows:
    """(keys,) from one such array for each reference."""
    combined: Rows = np.mean(values, axis=0) if aggregation == "mean" else np.max(values, axis=0)
    return combined


class EmbeddingCosine(Metric):
    """The cosine × 100 of the vectors of a summary and its reference, by a model of sentence vectors."""

    name = "embedding"
    keys = ("cosine",)

    def __init__(self, settings: MetricSettings, encoder: Encoder, *, pooling: str) -> None:
        """Prepare. `encoder` pools the vectors; `pooling` is for the signature."""
        super().__init__(settings)
        self.encoder, self.pooling = encoder, pooling
        self._vectors: dict[str, Vectors] = {}

    def prepare(self, texts: Sequence[str]) -> None:
        self._encode(texts)

    def _encode(self, texts: Sequence[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors |= dict(zip(new, self.encoder.text_vectors(new), strict=True))

    def score_rows(
        self, *, predictions: Sequence[str], references: Sequence[Sequence[str]], dialogues: Sequence[str] | None
    ) -> Rows:
        """(rows, 1). An empty text has the cosine 0 with every other one."""
        self._encode([*predictions, *chain(*references)])
        return np.array([self._score_row(*row) for row in zip(predictions, references, strict=True)], dtype=np.float64).reshape(
            len(predictions), 1
        )

    def _score_row(self, prediction: str, references: Sequence[str]) -> Rows:
        own = self._vectors[prediction].astype(np.float64)
        values = [
            np.array([100 * float(own @ self._vectors[text]) if prediction.strip() and text.strip() else 0.0])
            for text in references
        ]
        return _combined(values, self.settings.aggregation)

    def signature(self) -> str:
        return f"embedding:cosine|{self.encoder.description}|pooling:{self.pooling}|references:{self.settings.aggregation}"
