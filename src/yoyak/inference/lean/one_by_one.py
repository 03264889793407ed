"""Greedy decoding and sampling with the rules of transformers (`GenerationMixin._sample`)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from yoyak.inference.lean.bart_steps import BartSteps, BatchState
from yoyak.inference.lean.cache import SHARE_OF_CLOSED, STEPS_BETWEEN_CLEANINGS
from yoyak.inference.lean.scores import TokenRules, best_tokens


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn, as in transformers' GenerationConfig."""

    temperature: float
    top_k: int
    top_p: float

    def draw(self, scores: Tensor, places: Tensor, *, rows: int, vocabulary: int) -> Tensor:
        """Draw a token for each row, with the random numbers that transformers would use for the whole batch.

        Args:
            scores: (open rows, columns); they are changed.
            places: (open rows,); the place of each open row in the batch.
            rows: the number of rows of the batch, with those that have ended.
            vocabulary: the number of tokens.
        """
        scores = scores[:, :vocabulary]
        if self.temperature != 1:
            scores = scores / self.temperature
        shares = torch.zeros(rows, vocabulary)
        shares[:, 0] = 1.0  # of rows that have ended: their token is not used
        if self.top_k == 0 and self.top_p == 1:
            shares[places] = scores.softmax(1)
        else:
            values, tokens = scores.topk(min(self.top_k, vocabulary)) if self.top_k else scores.sort(descending=True)
            if self.top_p < 1:
                # From the least probable token up, as transformers sums: the first one is always kept.
                removed = values.flip(1).softmax(1).cumsum(1).flip(1) <= 1 - self.top_p
                removed[:, 0] = False
                values = values.masked_fill(removed, -math.inf)
            shares[places] = torch.zeros(len(places), vocabulary).scatter_(1, tokens, values.softmax(1))
        return torch.multinomial(shares, 1)[places, 0]


def write_one_by_one(
    steps: BartSteps,
    state: BatchState,
    rules: TokenRules,
    *,
    max_new_tokens: int,
    start_id: int,
    pad_id: int,
    sampling: Sampling | None = None,
    blocked: Tensor | None = None,
) -> Tensor:
    """Write the dialogues of a batch: always the most probable token, or with `sampling` one that is drawn.

    Args:
        steps: the decoder.
        state: from `BartSteps.start`.
        rules: what may be written.
        max_new_tokens: the longest text, in tokens.
        start_id: the token before the first one.
        pad_id: the token after the end of a text.
        sampling: how tokens are drawn. None takes the most probable one.
        blocked: (dialogues, columns); tokens that are never written.

    Returns:
        (dialogues, max_new_tokens); the new tokens with padding.
    """
    dialogues = len(state.padding)
    texts = torch.full((dialogues, max_new_tokens), pad_id)
    places = torch.arange(dialogues)
    written = torch.full((dialogues, 1), start_id)
    has_ended = torch.zeros(dialogues, dtype=torch.bool)
    for length in range(1, max_new_tokens + 1):
        logits = steps.step(written[:, -1:], state)
        rules.apply(logits, written, blocked=blocked)
        if sampling:
            tokens = sampling.draw(logits, places, rows=dialogues, vocabulary=steps.vocabulary)
        else:
            tokens = best_tokens(logits, 1)[1][:, 0]
        tokens = tokens.masked_fill(has_ended, pad_id)
        texts[places, length - 1] = tokens
        written = torch.cat([written, tokens[:, None]], 1)
        has_ended |= torch.isin(tokens, rules.end_ids)
        if bool(has_ended.all()):
            break
        if has_ended.float().mean() >= SHARE_OF_CLOSED or length % STEPS_BETWEEN_CLEANINGS == 0:
            left = has_ended.logical_not().nonzero()[:, 0]
            places, written, has_ended = places[left], written[left], has_ended[left]
            blocked = None if blocked is None else blocked[left]
            state.keep(left)
    return texts
