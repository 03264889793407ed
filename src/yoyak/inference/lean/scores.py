"""The scores of the next tokens, with what transformers' logits processors do to them, in place and for all beams at once."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from yoyak.inference.lean.bart_steps import CHUNK


@dataclass(frozen=True)
class TokenRules:
    """What may be written next. The meanings are those of transformers' GenerationConfig.

    Attributes:
        end_ids: (ends,); the tokens that end a text.
        forced_first: the first token of every text, such as mBART's language, or None.
    """

    repetition_penalty: float
    no_repeat_ngram_size: int
    min_new_tokens: int
    end_ids: Tensor
    forced_first: int | None

    def apply(self, scores: Tensor, written: Tensor, *, base: Tensor | None = None, blocked: Tensor | None = None) -> None:
        """Change scores in place, in the order in which transformers applies its processors.

        Args:
            scores: (rows, columns); logits.
            written: (rows, tokens); what each row has written, with the start token.
            base: (rows, 1); subtracted from a logit it gives the score that transformers' processors see: the logarithm of the
                sum in a beam search, which works on logarithms of probabilities. None means zero.
            blocked: (dialogues, columns); the tokens that `blocked_scripts` forbids. A dialogue has rows / dialogues beams.
        """
        if self.repetition_penalty != 1:
            seen = scores.gather(1, written)
            seen = seen if base is None else seen - base
            seen = torch.where(seen < 0, seen * self.repetition_penalty, seen / self.repetition_penalty)
            scores.scatter_(1, written, seen if base is None else seen + base)
        if self.no_repeat_ngram_size:
            self._ban_ngrams(scores, written)
        new_tokens = written.shape[1] - 1
        if new_tokens < self.min_new_tokens:
            scores[:, self.end_ids] = -math.inf
        if self.forced_first is not None and new_tokens == 0:
            scores.fill_(-math.inf)
            scores[:, self.forced_first] = 0 if base is None else base[:, 0]
        if blocked is not None:
            scores.view(len(blocked), -1, scores.shape[1]).masked_fill_(blocked[:, None], -math.inf)

    def _ban_ngrams(self, scores: Tensor, written: Tensor) -> None:
        """Forbid the tokens that followed an earlier occurrence of a row's last n - 1 tokens."""
        size, length = self.no_repeat_ngram_size, written.shape[1]
        starts = length - size + 1
        if starts <= 0:
            return
        matches = torch.ones(len(written), starts, dtype=torch.bool)
        for offset in range(size - 1):
            matches &= written[:, offset : offset + starts] == written[:, starts + offset, None]
        rows, places = matches.nonzero(as_tuple=True)
        scores[rows, written[rows, places + size - 1]] = -math.inf


def log_sums(logits: Tensor, buffer: Tensor) -> Tensor:
    """The logarithm of the sum of the exponentials of each row, (rows, 1). `buffer` has the shape of `logits`."""
    highest = logits.amax(1, keepdim=True)
    return torch.sub(logits, highest, out=buffer).exp_().sum(1, keepdim=True).log_().add_(highest)


def best_tokens(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The highest scores of each row and their columns, (rows, count) each, from the highest to the lowest.

    Only the chunks with the highest maxima are looked at, so that the whole vocabulary is read once and not sorted.

    Args:
        scores: (rows, columns); the columns are a multiple of CHUNK.
        count: the number of tokens.
    """
    rows, columns = scores.shape
    chunks = columns // CHUNK
    if chunks <= 2 * count:
        return tuple(scores.topk(count))  # type: ignore[return-value]
    parts = scores.view(rows, chunks, CHUNK)
    best = parts.amax(2).topk(count).indices
    values, places = parts.gather(1, best[:, :, None].expand(-1, -1, CHUNK)).view(rows, -1).topk(count)
    return values, best.gather(1, places // CHUNK) * CHUNK + places % CHUNK
