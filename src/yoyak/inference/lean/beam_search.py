"""Beam search with the rules of transformers (`GenerationMixin._beam_search`), without the copies of its caches."""

from dataclasses import dataclass

import torch
from torch import Tensor

from yoyak.inference.lean.bart_steps import BartSteps, BatchState
from yoyak.inference.lean.cache import SHARE_OF_CLOSED, STEPS_BETWEEN_CLEANINGS
from yoyak.inference.lean.scores import TokenRules, best_tokens, log_sums

IMPOSSIBLE = -1e9  # transformers' score of a beam that must not be chosen


@dataclass(frozen=True)
class BeamSettings:
    """The settings of a beam search, as in transformers' GenerationConfig."""

    num_beams: int
    max_new_tokens: int
    length_penalty: float
    early_stopping: bool | str


@dataclass
class Hypotheses:
    """The beams of the dialogues that are still written. The first dimension of each tensor is the dialogue."""

    number: Tensor  # (dialogues,); the number in the batch
    written: Tensor  # (dialogues, beams, tokens)
    scores: Tensor  # (dialogues, beams)
    ended: Tensor  # (dialogues, beams, longest); the best texts that have ended
    ended_scores: Tensor  # (dialogues, beams)
    has_ended: Tensor  # (dialogues, beams)
    closed: Tensor  # (dialogues,); whether the ended texts can no longer change

    def keep(self, dialogues: Tensor) -> None:
        for name, value in vars(self).items():
            setattr(self, name, value[dialogues])


class BeamSearch:
    """A beam search over one batch."""

    def __init__(self, steps: BartSteps, rules: TokenRules, settings: BeamSettings, *, start_id: int, pad_id: int) -> None:
        self.steps, self.rules, self.settings = steps, rules, settings
        self.start_id, self.pad_id = start_id, pad_id
        # With fewer, all candidates of a dialogue could be ends of texts.
        self.candidates = max(2, 1 + len(rules.end_ids)) * settings.num_beams

    def run(self, state: BatchState, blocked: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Write the dialogues of a batch.

        Args:
            state: from `BartSteps.start`.
            blocked: (dialogues, columns); tokens that are never written.

        Returns:
            The new tokens with padding, (dialogues, beams, max_new_tokens), from the best text to the worst; and their scores,
            (dialogues, beams): the logarithm of the probability, divided by the length to the power of `length_penalty`.
        """
        settings, dialogues = self.settings, len(state.padding)
        texts = torch.full((dialogues, settings.num_beams, 1 + settings.max_new_tokens), self.pad_id)
        text_scores = torch.zeros(dialogues, settings.num_beams)
        now = self._start(dialogues)
        buffer = torch.empty(0)
        for length in range(1, settings.max_new_tokens + 1):
            tokens = now.written[:, :, -1] if length > 1 else now.written[:, :1, -1]
            logits = self.steps.step(tokens, state)
            buffer = buffer.resize_(logits.shape)
            state.cache.select(self._advance(now, logits, buffer, blocked))
            is_last = bool(now.closed.all()) or length == settings.max_new_tokens
            if is_last or now.closed.float().mean() >= SHARE_OF_CLOSED or length % STEPS_BETWEEN_CLEANINGS == 0:
                left = now.closed | is_last
                texts[now.number[left]] = now.ended[left]
                text_scores[now.number[left]] = now.ended_scores[left]
                if is_last:
                    break
                open_ones = now.closed.logical_not().nonzero()[:, 0]
                now.keep(open_ones)
                state.keep(open_ones)
                blocked = None if blocked is None else blocked[open_ones]
        return texts[:, :, 1:], text_scores

    def _start(self, dialogues: int) -> Hypotheses:
        beams, longest = self.settings.num_beams, 1 + self.settings.max_new_tokens
        scores = torch.zeros(dialogues, beams)
        scores[:, 1:] = IMPOSSIBLE  # all beams are the same at first; only the first one may go on
        return Hypotheses(
            number=torch.arange(dialogues),
            written=torch.full((dialogues, beams, 1), self.start_id),
            scores=scores,
            ended=torch.full((dialogues, beams, longest), self.pad_id),
            ended_scores=torch.full((dialogues, beams), IMPOSSIBLE),
            has_ended=torch.zeros(dialogues, beams, dtype=torch.bool),
            closed=torch.zeros(dialogues, dtype=torch.bool),
        )

    def _advance(self, now: Hypotheses, logits: Tensor, buffer: Tensor, blocked: Tensor | None) -> Tensor:
        """Write one token of each beam, and return the beam that each new beam continues, (dialogues, beams)."""
        settings = self.settings
        values, beams, tokens = self._candidates(now, logits, buffer, blocked)
        length = now.written.shape[2]  # new tokens after this step
        ends = torch.isin(tokens, self.rules.end_ids) | (length == settings.max_new_tokens)

        going_on = (values + ends * IMPOSSIBLE).topk(settings.num_beams)
        parents = beams.gather(1, going_on.indices)
        written = torch.cat([_of_beams(now.written, beams), tokens[:, :, None]], dim=2)
        self._collect(now, values, ends, written, length)
        now.scores = going_on.values
        now.written = _of_beams(written, going_on.indices)
        now.closed |= self._cannot_change(now, length)
        return parents

    def _candidates(
        self, now: Hypotheses, logits: Tensor, buffer: Tensor, blocked: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The best continuations of each dialogue: their scores, beams and tokens, (dialogues, candidates) each."""
        dialogues, rows = len(now.number), len(logits)
        beams = rows // dialogues  # one in the first step, when all beams are the same
        written = now.written[:, :beams].reshape(rows, -1)
        sums = log_sums(logits, buffer)
        self.rules.apply(logits, written, base=sums, blocked=blocked)
        values, tokens = best_tokens(logits, self.candidates)
        tokens.clamp_(max=self.steps.vocabulary - 1)  # if hardly any token is allowed, columns beyond it are among the best
        values = values.sub_(sums).view(dialogues, beams, -1) + now.scores[:, :beams, None]
        values, places = values.view(dialogues, -1).topk(self.candidates)
        return values, places // self.candidates, tokens.view(dialogues, -1).gather(1, places)

    def _collect(self, now: Hypotheses, values: Tensor, ends: Tensor, written: Tensor, length: int) -> None:
        """Put the texts that have just ended among the best ones of their dialogues."""
        beams = self.settings.num_beams
        just_ended = ends[:, :beams] & ~now.closed[:, None]
        if not bool(just_ended.any()):
            return
        scores = (values[:, :beams] / length**self.settings.length_penalty).where(just_ended, IMPOSSIBLE)
        texts = now.ended.new_full((len(values), beams, now.ended.shape[2]), self.pad_id)
        texts[:, :, : length + 1] = written[:, :beams]
        best = torch.cat([now.ended_scores, scores], 1).topk(beams)
        now.ended_scores = best.values
        now.ended = _of_beams(torch.cat([now.ended, texts], 1), best.indices)
        now.has_ended = torch.cat([now.has_ended, just_ended], 1).gather(1, best.indices)

    def _cannot_change(self, now: Hypotheses, length: int) -> Tensor:
        """Whether each beam of a dialogue has an ended text and, by `early_stopping`, no better one is expected."""
        settings = self.settings
        full = now.has_ended.all(1)
        if settings.early_stopping is True:
            return full
        use_longest = settings.early_stopping == "never" and settings.length_penalty > 0
        best = now.scores[:, 0] / (settings.max_new_tokens if use_longest else length) ** settings.length_penalty
        unbeatable: Tensor = full & (best <= now.ended_scores.min(1).values)
        return unbeatable


def _of_beams(values: Tensor, index: Tensor) -> Tensor:
    """Choose beams: (dialogues, beams, tokens) by (dialogues, chosen)."""
    return values.gather(1, index[:, :, None].expand(-1, -1, values.shape[2]))
