"""The noise of pre-training: masked spans, turns in another order, masked speakers. An encoder-decoder learns to undo it.

Sources: BART (Lewis et al. 2020, arXiv:1910.13461, section 2.2) for text infilling and permuted sentences; DialogLM (Zhong et
al. 2022, arXiv:2109.02492) for speakers and turns as their units.
"""

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from yoyak.config.pretrain_section import Pretrain
from yoyak.data.encoding_checks import neutralize
from yoyak.data.person_tags import PersonTags, speaker_pattern
from yoyak.system.errors import YoyakError

T5_MASK = "<extra_id_0>"  # T5 has no mask token, but 100 of these


def poisson(rng: random.Random, mean: float) -> int:
    """A number with a Poisson distribution (Knuth, The Art of Computer Programming, 3.4.1)."""
    limit, number, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        number += 1
        product *= rng.random()
    return number


def infill(ids: Sequence[int], *, mask: int, ratio: float, span_length: Callable[[], int], rng: random.Random) -> list[int]:
    """Replace each of some random spans of `ids` by one `mask`. A span of length 0 inserts one.

    As in fairseq's BART, spans are drawn until their lengths add up to `ratio` of the tokens. Spans that overlap or touch
    become one, so slightly fewer tokens are masked. The last token, which mostly is the end of the text, is in no span.

    Args:
        ids: the tokens of a text.
        mask: the id of the mask token.
        ratio: sum of the lengths of all spans, as a share of the tokens.
        span_length: draws the length of the next span. Not all of its values may be 0.
        rng: draws the places.
    """
    hidden, inserted = [False] * len(ids), set[int]()
    budget = round(len(ids) * ratio)
    while budget > 0:
        length = min(span_length(), budget)
        start = rng.randrange(max(1, len(ids) - length))
        if length == 0:
            inserted.add(start)
        hidden[start : start + length] = [True] * len(hidden[start : start + length])
        budget -= length
    result = []
    for index, token in enumerate(ids):
        follows_mask = index > 0 and hidden[index - 1]
        if not follows_mask and (hidden[index] or index in inserted):
            result.append(mask)
        if not hidden[index]:
            result.append(token)
    return result


def mask_token_of(tokenizer: PreTrainedTokenizerBase, checkpoint: str) -> int:
    """The id of the token that stands for what is masked: the tokenizer's mask token, or T5's first sentinel.

    Raises:
        YoyakError: if the tokenizer has neither.
    """
    mask: int | None = tokenizer.mask_token_id
    if mask is None:
        mask = tokenizer.get_vocab().get(T5_MASK)
    if mask is None:
        raise YoyakError(
            f"{checkpoint}: its tokenizer has no mask token, so the model cannot learn to fill masks; "
            "set pretrain.num_train_epochs: 0"
        )
    return mask


@dataclass(frozen=True)
class Denoising:
    """Makes what the model reads from a dialogue.

    Attributes:
        settings: section pretrain.
        tokenizer: of the model.
        mask: the id of its mask token (`mask_token_of`).
        person_tags: preprocess.person_tags.
        max_length: longest source, in tokens.
    """

    settings: Pretrain
    tokenizer: PreTrainedTokenizerBase
    mask: int
    person_tags: PersonTags
    max_length: int

    def source(self, dialogue: str, rng: random.Random) -> list[int]:
        """The token ids of a dialogue with noise, which end with the end-of-text token.

        Args:
            dialogue: one turn on each line.
            rng: draws all noise. The same state gives the same ids.
        """
        turns = [neutralize(self.tokenizer, turn) for turn in dialogue.split("\n")]
        if rng.random() < self.settings.permute_turns:
            rng.shuffle(turns)
        masked = [rng.random() < self.settings.mask_speakers for _ in turns]
        encoded = self.tokenizer("\n".join(turns), return_offsets_mapping=True)
        ids = self._mask_spans(encoded.input_ids, encoded.offset_mapping, list(self._speakers(turns, masked)))
        return self._infill(ids[: self.max_length - 1], rng)

    def _speakers(self, turns: Sequence[str], masked: Sequence[bool]) -> Iterable[tuple[int, int]]:
        """The places of the masked speaker tags: first character, and the one after the last."""
        start, pattern = 0, speaker_pattern(self.person_tags)
        for turn, is_masked in zip(turns, masked, strict=True):
            tag = pattern.match(turn) if is_masked else None
            if tag:
                yield start, start + tag.end()
            start += len(turn) + 1

    def _mask_spans(self, ids: Sequence[int], offsets: Sequence[Any], places: list[tuple[int, int]]) -> list[int]:
        """`ids` in which one mask token stands for all tokens of each place."""
        result: list[int] = []
        last = None
        for token, (start, end) in zip(ids, offsets, strict=True):
            # A token may begin with the space or line break before the tag.
            place = next((place for place in places if start < place[1] and end > place[0]), None) if end > start else None
            if place is None:
                result.append(token)
            elif place != last:
                result.append(self.mask)
            last = place
        return result

    def _infill(self, ids: list[int], rng: random.Random) -> list[int]:
        """Mask spans between the special tokens at the start and the end of the text."""
        settings, special = self.settings, set(self.tokenizer.all_special_ids) - {self.mask}
        start = next((index for index, token in enumerate(ids) if token not in special), len(ids))
        if ids[-1:] != [self.tokenizer.eos_token_id]:
            ids = [*ids, self.tokenizer.eos_token_id]
        text = infill(
            ids[start:],
            mask=self.mask,
            ratio=settings.mask_ratio,
            span_length=lambda: poisson(rng, settings.poisson_lambda),
            rng=rng,
        )
        return [*ids[:start], *text[: self.max_length - start - 1], *text[self.max_length - start - 1 :][-1:]]
