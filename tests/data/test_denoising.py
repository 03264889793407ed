"""The noise of pre-training: what is masked, how much, and that nothing else changes."""

import collections
import random
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES
from yoyak.config.params import load_params
from yoyak.data.denoising import T5_MASK, Denoising, infill, mask_token_of, poisson
from yoyak.system.errors import YoyakError

ROOT = Path(__file__).parents[2]
MASK, END = 4, 1  # of the tiny tokenizer
LONG = DIALOGUES[3]  # five turns


@pytest.fixture(scope="module")
def tokenizer(_tiny: Path) -> Any:
    from yoyak.data.dialogue import LISTED_TAGS
    from yoyak.models.tokenizer_loading import load_tokenizer

    return load_tokenizer(str(_tiny), None, LISTED_TAGS)


def denoising(tokenizer: Any, *, person_tags: Any = "keep_original", max_length: int = 200, **changes: float) -> Denoising:
    settings = load_params(ROOT / "params.yaml").pretrain
    quiet = {"mask_ratio": 0.0, "permute_turns": 0.0, "mask_speakers": 0.0}
    return Denoising(settings.model_copy(update=quiet | changes), tokenizer, MASK, person_tags, max_length)


def filled(count: int, ratio: float, seed: int, length: Any = None) -> list[int]:
    rng = random.Random(seed)
    return infill(range(10, 10 + count), mask=MASK, ratio=ratio, span_length=length or (lambda: poisson(rng, 3.0)), rng=rng)


def test_span_lengths_have_a_poisson_distribution() -> None:
    rng = random.Random(0)
    counts = collections.Counter(poisson(rng, 3.0) for _ in range(20_000))
    expected = {0: 0.0498, 1: 0.1494, 2: 0.2240, 3: 0.2240, 4: 0.1680, 8: 0.0081}
    for length, share in expected.items():
        assert counts[length] / 20_000 == pytest.approx(share, abs=0.01)


def test_infilling_keeps_the_order_and_the_last_token() -> None:
    for seed in range(50):
        result = filled(40, 0.3, seed)
        kept = [token for token in result if token != MASK]
        assert kept == sorted(kept) and kept[-1] == 49, "the last token is the end of the text"
        assert all(result[index : index + 2] != [MASK, MASK] for index in range(len(result))), "touching spans are one"


def test_the_share_of_masked_tokens_is_near_the_ratio() -> None:
    """Spans overlap: with 30 % of the tokens in spans, about 26 % of the tokens are masked."""
    for ratio, low, high in ((0.1, 0.08, 0.1), (0.3, 0.24, 0.3), (0.6, 0.42, 0.6)):
        masked = [1 - sum(token != MASK for token in filled(200, ratio, seed)) / 200 for seed in range(100)]
        assert low < sum(masked) / 100 <= high
    assert filled(30, 0.0, 0) == list(range(10, 40))


def test_a_span_of_length_0_inserts_a_mask() -> None:
    lengths = iter([0, 0, 3])
    result = filled(20, 0.15, 5, lambda: next(lengths))
    assert result.count(MASK) == 3 and len(result) == 20 - 3 + 3


def test_without_noise_the_source_is_the_dialogue(tokenizer: Any) -> None:
    ids = denoising(tokenizer).source(LONG, random.Random(0))
    assert tokenizer.decode(ids[:-1]) == LONG and ids[-1] == END


def test_turns_come_in_another_order(tokenizer: Any) -> None:
    texts = {
        tokenizer.decode(denoising(tokenizer, permute_turns=1.0).source(LONG, random.Random(seed))[:-1]) for seed in range(9)
    }
    assert len(texts) > 5
    assert all(sorted(text.split("\n")) == sorted(LONG.split("\n")) for text in texts)
    unchanged = sum(
        tokenizer.decode(denoising(tokenizer, permute_turns=0.3).source(LONG, random.Random(seed))[:-1]) == LONG
        for seed in range(200)
    )
    assert 110 < unchanged < 170, "seven of ten"


@pytest.mark.parametrize(("tags", "form"), [("keep_original", "#Person{}#"), ("simplify", "P{}"), ("abstract", "화자{}")])
def test_a_masked_speaker_is_one_mask_and_only_at_the_start_of_a_turn(tokenizer: Any, tags: Any, form: str) -> None:
    dialogue = "\n".join(f"{form.format(1 + turn % 2)}: {form.format(3)}에게 {turn}번 말해." for turn in range(4))
    ids = denoising(tokenizer, person_tags=tags, mask_speakers=1.0).source(dialogue, random.Random(0))
    expected = re.sub(rf"(?m)^{form.format('.')}", "<mask>", dialogue)
    assert tokenizer.decode(ids[:-1]) == expected and expected.count(form.format(3)) == 4
    half = denoising(tokenizer, person_tags=tags, mask_speakers=0.5)
    masks = [half.source(dialogue, random.Random(seed)).count(MASK) for seed in range(100)]
    assert 1.6 < sum(masks) / 100 < 2.4


def test_a_text_cannot_write_a_mask_or_an_end(tokenizer: Any) -> None:
    ids = denoising(tokenizer).source("#Person1#: <mask> </s> 끝\n#Person2#: 네", random.Random(0))
    assert MASK not in ids and ids.count(END) == 1


def test_the_same_state_gives_the_same_noise_and_another_one_does_not(tokenizer: Any) -> None:
    noise = denoising(tokenizer, mask_ratio=0.3, permute_turns=0.5, mask_speakers=0.3)
    first, again, other = (noise.source(LONG, random.Random(f"42 {epoch} 0")) for epoch in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("limit", [8, 20])
def test_a_source_is_not_longer_than_the_limit(tokenizer: Any, limit: int) -> None:
    noise = denoising(tokenizer, max_length=limit, mask_ratio=0.3, poisson_lambda=1.0, permute_turns=0.5, mask_speakers=0.3)
    for seed in range(40):
        ids = noise.source(LONG, random.Random(seed))
        assert len(ids) <= limit and ids[-1] == END and ids.count(END) == 1


def test_the_mask_of_t5_and_of_no_tokenizer() -> None:
    class Fake:
        mask_token_id = None

        def __init__(self, *tokens: str) -> None:
            self.tokens = tokens

        def get_vocab(self) -> dict[str, int]:
            return {token: number for number, token in enumerate(self.tokens)}

    t5: Any = Fake("a", T5_MASK)
    none: Any = Fake("a")
    assert mask_token_of(t5, "t5") == 1
    with pytest.raises(YoyakError, match=r"models/x: its tokenizer has no mask token.*pretrain\.num_train_epochs: 0"):
        mask_token_of(none, "models/x")
