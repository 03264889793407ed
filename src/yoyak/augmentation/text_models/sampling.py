"""Sampling in which each row of a batch has random numbers of its own, so that a text does not depend on its neighbors."""

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor, TemperatureLogitsWarper, TopPLogitsWarper


class SeededSampling(LogitsProcessor):  # type: ignore[misc]
    """Makes greedy decoding draw from the model's distribution (the Gumbel-max trick, Maddison et al. 2014, arXiv:1411.0030).

    The token with the highest sum of logit and Gumbel noise is a sample of the softmax. transformers' own sampling has one
    stream of random numbers for a batch, so that a text would change with the batch it is in.
    """

    def __init__(self, seeds: Sequence[int], *, temperature: float, top_p: float) -> None:
        """Prepare one call of `generate`.

        Args:
            seeds: of each row.
            temperature: divisor of the logits, above 0.
            top_p: share of the probability from which is drawn.
        """
        self._warpers = [TemperatureLogitsWarper(temperature), *([TopPLogitsWarper(top_p)] if top_p < 1 else [])]
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for warper in self._warpers:
            scores = warper(input_ids, scores)
        exponential = torch.stack([torch.empty(scores.shape[1]).exponential_(generator=one) for one in self._generators])
        return scores.float() - exponential.log().to(scores.device)
