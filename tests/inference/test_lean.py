"""The backend lean writes what transformers writes, with settings that CTranslate2 counts otherwise."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, MBartConfig, MBartForConditionalGeneration

from tests.inference.test_ctranslate2 import BART, IdTokenizer, loaded, random_model, settings
from yoyak.config.generation_section import Generation
from yoyak.config.sections import Params
from yoyak.inference import backend_choice
from yoyak.inference.backends.lean import BACKEND, LeanWriter
from yoyak.inference.backends.transformers import BACKEND as PLAIN
from yoyak.inference.lean.cache import BeamCache
from yoyak.inference.lean.scores import best_tokens
from yoyak.models.families.base import LoadedModel
from yoyak.models.families.lookup import family_named

TOKENS = 40
RECOMMENDED = {
    "num_beams": 5,
    "repetition_penalty": 1.5,
    "no_repeat_ngram_size": 3,
    "min_new_tokens": 4,
    "max_new_tokens": 20,  # more than cache.STEPS_BETWEEN_CLEANINGS
}
CHANGES: list[dict[str, Any]] = [
    {},
    {"min_new_tokens": 0, "repetition_penalty": 0.8, "max_new_tokens": 40},
    {"num_beams": 2, "no_repeat_ngram_size": 2, "early_stopping": False},
    {"no_repeat_ngram_size": 1, "early_stopping": "never"},
    {"early_stopping": "never", "length_penalty": -1.0},
    {"early_stopping": False, "length_penalty": 2.0},
    {"num_beams": 1},
    {"num_beams": 1, "do_sample": True, "top_k": 5, "top_p": 0.9, "temperature": 0.7},
    {"num_beams": 1, "do_sample": True, "top_k": 0, "top_p": 0.8},
    {"num_beams": 1, "do_sample": True, "top_k": 0},
]


def model_of(kind: str) -> Any:
    torch.manual_seed(0)
    mbart = kind == "mbart"
    shape = {**BART, "vocab_size": TOKENS, "decoder_layers": 1, "encoder_layers": 1, "scale_embedding": mbart}
    model: Any = (
        MBartForConditionalGeneration(MBartConfig(**shape)) if mbart else BartForConditionalGeneration(BartConfig(**shape))
    ).eval()
    model.final_logits_bias[0, 1] = 2.0  # so that texts end at different lengths
    model.generation_config.eos_token_id = [1, 5] if kind == "bart, two ends" else 1
    model.generation_config.forced_bos_token_id = 7 if mbart else None
    return model


def rows_of(count: int = 6) -> list[list[int]]:
    rng = random.Random(0)
    return [[rng.randrange(3, TOKENS) for _ in range(rng.randrange(3, 20))] for _ in range(count)]


def both(model: Any, chosen: Generation) -> tuple[list[list[int]], list[list[int]]]:
    """The tokens of lean and of transformers, up to the end of each text."""
    rows, found = rows_of(), loaded(model)
    assert BACKEND.why_not(found, chosen) is None
    lean, plain = BACKEND.open(found, chosen, threads=1), PLAIN.open(found, chosen, threads=1)
    ours, theirs = (writer.generate(rows, [""] * len(rows), seed=3) for writer in (lean, plain))
    return ours, [lean._cut(row) for row in theirs]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("kind", ["bart", "bart, two ends", "mbart"])
def test_the_tokens_are_those_of_transformers(kind: str, changes: dict[str, Any]) -> None:
    ours, theirs = both(model_of(kind), settings(**RECOMMENDED | changes))
    assert ours == theirs


def test_the_texts_of_these_models_differ_and_end_at_different_lengths() -> None:
    """Otherwise the comparison would show little."""
    ours, _ = both(model_of("bart"), settings(**RECOMMENDED))
    assert len(set(map(tuple, ours))) == len(ours) and len(set(map(len, ours))) > 1


def test_a_row_does_not_depend_on_the_rest_of_its_batch() -> None:
    writer = BACKEND.open(loaded(model_of("bart")), settings(**RECOMMENDED), threads=1)
    rows = rows_of()
    alone = [writer.generate([row], [""], seed=0)[0] for row in rows]
    assert writer.generate(rows, [""] * len(rows), seed=0) == alone


@pytest.mark.parametrize("changes", [{}, {"length_penalty": 0.5}], ids=str)
def test_the_further_beams_and_their_probabilities_are_those_of_transformers(
    changes: dict[str, Any], tiny: Path, params: Params
) -> None:
    found = family_named("kobart").load_trained(tiny)
    chosen = params.generation.model_copy(update=RECOMMENDED | changes)
    encoded = [found.tokenizer(text).input_ids for text in ("안녕하세요. 회의는 세 시입니다.", "점심 먹었어?")]
    ours, theirs = (
        backend.open(found, chosen, threads=1).write_beams(encoded, ["", ""], seed=0, count=3) for backend in (BACKEND, PLAIN)
    )
    assert [[output for output, _ in row] for row in ours] == [[output for output, _ in row] for row in theirs]
    logs = [[[log for _, log in row] for row in rows] for rows in (ours, theirs)]
    torch.testing.assert_close(torch.tensor(logs[0]), torch.tensor(logs[1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("beams", [1, 4])
def test_blocked_scripts_are_blocked_as_in_transformers(beams: int, tiny: Path, params: Params) -> None:
    found = family_named("kobart").load_trained(tiny)
    chosen = params.generation.model_copy(
        update={**RECOMMENDED, "num_beams": beams, "blocked_scripts": ["latin", "han", "other"]}
    )
    dialogues = ["#Person1#: KTX를 탔어요.", "#Person1#: 점심 먹었어?\n#Person2#: 아니."]
    encoded = [found.tokenizer(text).input_ids for text in dialogues]
    ours, theirs = (backend.open(found, chosen, threads=1).write(encoded, dialogues, seed=0) for backend in (BACKEND, PLAIN))
    assert ours == theirs


def test_auto_takes_it_where_ctranslate2_would_write_otherwise() -> None:
    choice = backend_choice.choose_backend(loaded(model_of("bart")), settings(**RECOMMENDED), threads=1)
    assert choice.backend == "lean" and isinstance(choice.writer, LeanWriter)
    assert "generation.repetition_penalty" in choice.why and "CTranslate2" in choice.why
    default = backend_choice.choose_backend(loaded(random_model("bart")), settings(num_beams=4), threads=1)
    assert default.backend == "ctranslate2", "which is faster"


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("t5", {}, "does not know the layers of t5"),
        ("llama", {}, "does not know the layers of llama"),
        ("bart", {"do_sample": True, "num_beams": 2}, "generation.do_sample with num_beams"),
    ],
)
def test_what_it_cannot_write_goes_to_transformers(name: str, changes: dict[str, Any], reason: str) -> None:
    found, chosen = loaded(random_model(name)), settings(repetition_penalty=1.5, **changes)
    assert reason in (BACKEND.why_not(found, chosen) or "")
    assert backend_choice.choose_backend(found, chosen, threads=1).backend == "transformers"


def test_a_model_in_bfloat16_is_refused() -> None:
    assert "float32" in (BACKEND.why_not(loaded(model_of("bart").to(torch.bfloat16)), settings()) or "")
    assert "not a transformers model" in (BACKEND.why_not(LoadedModel("test", object(), IdTokenizer()), settings()) or "")


@pytest.mark.parametrize("columns", [64, 64 * 40])
def test_the_best_tokens_are_those_of_topk(columns: int) -> None:
    scores = torch.randperm(3 * columns, generator=torch.Generator().manual_seed(0)).view(3, columns).float()
    values, tokens = best_tokens(scores, 10)
    expected = scores.topk(10)
    assert torch.equal(values, expected.values) and torch.equal(tokens, expected.indices)


def test_the_cache_loses_the_slots_that_no_beam_sees() -> None:
    cache = BeamCache(layers=1, dialogues=2, heads=1, head_size=1)
    for step in range(3):
        cache.open_slots(1 if step == 0 else 2)
        new = torch.arange(2.0).view(2, 1, 1, 1).expand(-1, -1, 1 if step == 0 else 2, -1) + 10 * step
        cache.write(0, new, new)
        cache.select(torch.zeros(2, 2, dtype=torch.long))  # both beams go on from the first one
    assert cache.used == 5
    cache.keep(torch.tensor([1]))
    assert cache.used == 3 and cache.keys[0].flatten().tolist() == [1.0, 11.0, 21.0]
    assert bool((cache.bias == 0).all())
