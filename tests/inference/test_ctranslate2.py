"""CTranslate2 writes what transformers writes."""

import copy
import errno
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from ctranslate2.converters import TransformersConverter
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GenerationConfig,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.conftest import DIALOGUES, ROOT
from yoyak.config.params import load_params
from yoyak.config.sections import Generation
from yoyak.data import pair_encoding
from yoyak.inference import backend_choice, decoding, outputs
from yoyak.inference.backends.ctranslate2 import (
    BACKEND,
    ComputeType,
    ConvertedModel,
    CTranslate2Writer,
)
from yoyak.inference.backends.transformers import TransformersBackend, TransformersWriter
from yoyak.models import encoder_decoder, tokenizer_loading
from yoyak.models.families.base import LoadedModel
from yoyak.system.errors import YoyakError

TOKENS = 24  # few, so that a random model ends its texts now and then
SAME = {"vocab_size": TOKENS, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
BART = {
    **SAME,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 128,
    "init_std": 0.5,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": None,
}
T5 = {
    "vocab_size": TOKENS,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "initializer_factor": 3.0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "decoder_start_token_id": 2,
}
DECODER = {
    **SAME,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}
GROUPED = {**DECODER, "num_key_value_heads": 2}
FAR = {"rope_type": "default", "rope_theta": 500.0}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
MODELS = {
    "bart": lambda: BartForConditionalGeneration(BartConfig(**BART)),
    "bart, scaled": lambda: BartForConditionalGeneration(BartConfig(**BART, scale_embedding=True)),
    "t5": lambda: T5ForConditionalGeneration(T5Config(**T5)),
    "t5, gated": lambda: T5ForConditionalGeneration(T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)),
    "llama, far": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, rope_parameters=FAR)),
    "llama, tied": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, tie_word_embeddings=True)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**GROUPED, rope_parameters=FAR)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**GROUPED, rope_parameters=FAR, head_dim=16)),
}
REFUSED = {
    "llama, scaled positions": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, rope_parameters=LLAMA3)),
    "llama, wide heads": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED, head_dim=16)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**DECODER)),
}


class IdTokenizer:
    """What the converter and the padding ask of a tokenizer."""

    bos_token_id, eos_token_id, pad_token_id = 0, 1, 2

    def pad(self, rows: dict[str, list[list[int]]], *, padding_side: str, return_tensors: str) -> Any:
        longest = max(map(len, rows["input_ids"]))
        left = padding_side == "left"
        ids, mask = [], []
        for row in rows["input_ids"]:
            filler = longest - len(row)
            ids.append([2] * filler + row if left else row + [2] * filler)
            mask.append([0] * filler + [1] * len(row) if left else [1] * len(row) + [0] * filler)
        batch = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
        return type("Batch", (dict,), {"to": lambda batch, device: batch})(batch)


def settings(**changes: Any) -> Generation:
    base = {"max_new_tokens": 30, "batch_size": 8, "num_beams": 1, "early_stopping": True}
    return load_params(ROOT / "params.yaml").generation.model_copy(update={**base, **changes})


def model_of(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    made: PreTrainedModel = {**MODELS, **REFUSED}[name]().eval()  # type: ignore[no-untyped-call]
    made.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=1, pad_token_id=2)
    return made


def rows(count: int = 24) -> list[list[int]]:
    draw = random.Random(0)
    return [[draw.randrange(3, TOKENS) for _ in range(draw.randrange(3, 60))] for _ in range(count)]


def loaded(model: Any, tokenizer: Any = None) -> LoadedModel:
    return LoadedModel("test", model, tokenizer or IdTokenizer())


def converted_writer(
    model: Any, chosen: Generation, *, compute_type: ComputeType = "float32", threads: int = 1
) -> CTranslate2Writer:
    return CTranslate2Writer(ConvertedModel(model, IdTokenizer()), chosen, compute_type=compute_type, threads=threads)


def transformers_tokens(model: Any, chosen: Generation, ids: Sequence[list[int]]) -> list[list[int]]:
    """What transformers generates, up to the end of each text."""
    new = TransformersWriter(loaded(model), chosen).generate(ids, [""] * len(ids), seed=0)
    ends = [row.index(1) + 1 if 1 in row else len(row) for row in new]
    return [row[:end] for row, end in zip(new, ends, strict=True)]


def share_same(name: str, *, threads: int = 1, **changes: Any) -> float:
    model, chosen, ids = model_of(name), settings(**changes), rows()
    assert BACKEND.why_not(loaded(model), chosen) is None
    expected = transformers_tokens(copy.deepcopy(model), chosen, ids)
    actual = converted_writer(model, chosen, threads=threads).generate(ids)
    return sum(a == b for a, b in zip(expected, actual, strict=True)) / len(ids)


@pytest.mark.parametrize("changes", [{}, {"min_new_tokens": 15}, {"max_new_tokens": 3}], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_greedy_is_the_same(name: str, changes: dict[str, Any]) -> None:
    assert share_same(name, **changes) == 1


@pytest.mark.parametrize("name", ["bart", "llama"])
@pytest.mark.parametrize(("threads", "workers"), [(2, 2), (5, 1), (6, 3), (8, 4)])
def test_workers_share_a_batch_and_keep_its_order(name: str, threads: int, workers: int) -> None:
    writer = converted_writer(model_of(name), settings(), compute_type="int8", threads=threads)
    attribute = "num_generators" if writer.converted.is_decoder_only else "num_translators"
    assert writer.workers == getattr(writer.engine, attribute) == workers
    assert writer.generate(rows()[:1]), "fewer rows than workers"
    assert share_same(name, threads=threads) == 1


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_torch_keeps_its_threads(threads: int) -> None:
    """Sums round differently with another number of threads. Training after an evaluation must not change."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        converted_writer(model_of("bart"), settings(), threads=threads).generate(rows())
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("changes", [{}, {"length_penalty": 2.0}, {"length_penalty": 0.0}, {"num_beams": 2}], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_beams_are_the_same_but_for_near_ties(name: str, changes: dict[str, Any]) -> None:
    """A random model's probabilities are flat, so that beams end within rounding of each other."""
    assert share_same(name, **{"num_beams": 4, **changes}) >= 0.75


def test_random_models_do_end_their_texts() -> None:
    ended = {name for name in MODELS if any(row[-1] == 1 for row in transformers_tokens(model_of(name), settings(), rows()))}
    assert {"bart", "t5, gated", "llama", "llama, tied", "qwen2", "qwen3"} <= ended


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_come_out_wrong_is_refused(name: str) -> None:
    model = model_of(name)
    assert "CTranslate2" in (BACKEND.why_not(loaded(model), settings()) or "")
    with pytest.raises(YoyakError, match=r"generation\.backend: ctranslate2: .* choose auto or transformers"):
        backend_choice.choose_backend(loaded(model), settings(backend="ctranslate2"), threads=1)
    choice = backend_choice.choose_backend(loaded(model), settings(), threads=1)
    assert choice.backend == "transformers"
    assert isinstance(choice.writer, TransformersWriter) and choice.writer.model is model
    assert "CTranslate2" in choice.why


@pytest.mark.parametrize(
    "changes",
    [
        {"do_sample": True},
        {"blocked_scripts": ["latin"]},
        {"repetition_penalty": 1.2},
        {"no_repeat_ngram_size": 3},
        {"num_beams": 4, "min_new_tokens": 5},
        {"num_beams": 4, "early_stopping": False},
        {"num_beams": 4, "early_stopping": "never"},
    ],
    ids=str,
)
def test_what_ctranslate2_counts_differently_is_left_to_transformers(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TransformersBackend, "open", lambda *_, **__: None)  # it would search the vocabulary
    model = model_of("bart")
    assert BACKEND.why_not(loaded(model), settings(**changes))
    assert backend_choice.choose_backend(loaded(model), settings(**changes), threads=1).backend == "transformers"


def test_converting_leaves_an_encoder_decoder_as_it_is() -> None:
    model = model_of("bart")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = model.config.to_dict()
    for compute_type in get_args(ComputeType):
        converted_writer(model, settings(), compute_type=compute_type).generate(rows(4))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.config.to_dict() == config, "it is saved with the model"
    transformers_tokens(model, settings(), rows(4))


def test_a_full_disk_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("bart")
    config = model.config.to_dict()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for place, name in ((type(model.config), "save_pretrained"), (TransformersConverter, "convert")):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
            patch.setattr(place, name, full)
            ConvertedModel(model, IdTokenizer())
        assert model.config.to_dict() == config


class FixedScores:
    """Scores of two writers, in the order in which they are asked for: float32, int8."""

    def __init__(self, *means: float, noise: float = 0.0) -> None:
        self.means, self.noise = list(means), noise

    def __call__(self, writer: Any) -> Any:
        draw = np.random.default_rng(len(self.means))
        return np.full((64, 3), self.means.pop(0) / 3) + self.noise * draw.standard_normal((64, 3))


@pytest.mark.parametrize(
    ("scores", "backend"),
    [
        (FixedScores(90, 90), "ctranslate2-int8"),
        (FixedScores(90, 95), "ctranslate2-int8"),
        (FixedScores(90, 89.9), "ctranslate2"),  # each row the same: that is no noise
        (FixedScores(90, 89.9, noise=1), "ctranslate2-int8"),
        (FixedScores(90, 85, noise=20), "ctranslate2"),  # within the noise, and too much
        (None, "ctranslate2"),
    ],
)
def test_int8_is_chosen_where_the_score_does_not_fall(scores: FixedScores | None, backend: str) -> None:
    model = loaded(model_of("bart"))
    assert backend_choice.choose_backend(model, settings(), threads=1, dev_scores=scores).backend == backend


@pytest.mark.parametrize(("parameters", "dev", "compared"), [(49_999_999, 300, 256), (50_000_000, 300, 64), (1, 100, 100)])
def test_a_small_model_is_compared_on_more_rows(
    monkeypatch: pytest.MonkeyPatch, parameters: int, dev: int, compared: int
) -> None:
    asked: list[list[int]] = []

    def generate(writer: Any, ids: list[list[int]], *args: Any, **kwargs: Any) -> list[outputs.Output]:
        asked.extend(ids)
        return [outputs.Output("P1 비", hit_limit=False, broken=False)] * len(ids)

    monkeypatch.setattr(backend_choice, "generate", generate)
    rows = [{"dialogue": "P1: 비", "references": ["#Person1# 비"]}] * dev
    scores = backend_choice.dev_scorer(
        [[row] for row in range(dev)], rows, settings=settings(), person_tags="simplify", parameters=parameters
    )
    writer = TransformersWriter(loaded(model_of("bart")), settings())
    assert (scores(writer) == 100).all(), "with the tags restored, as the score is counted"
    assert len(asked) == compared
    indices = [row for (row,) in asked]
    assert indices[0] == 0 and indices[-1] >= dev - 5 and len({*indices}) == compared, "over all of dev"


def test_what_was_chosen_for_dev_is_kept() -> None:
    choice = backend_choice.choose_backend(loaded(model_of("bart")), settings(), threads=1, previous="ctranslate2-int8")
    assert choice.backend == "ctranslate2-int8"


@pytest.mark.parametrize("num_beams", [1, 4])
def test_texts_and_limits_through_generate(tiny: Path, num_beams: int) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(tiny), None, ("#Person1#", "#Person2#"))
    torch.manual_seed(0)
    model = encoder_decoder.load(str(tiny), None, tokenizer)
    ids = pair_encoding.encode_sources(tokenizer, DIALOGUES, 128)
    chosen = settings(num_beams=num_beams, max_new_tokens=12, batch_size=3)
    expected, actual = (
        decoding.generate(
            backend_choice.backend_named(name).open(loaded(model, tokenizer), chosen, threads=1),
            ids,
            DIALOGUES,
            settings=chosen,
            progress="test",
        )
        for name in ("transformers", "ctranslate2")
    )
    assert expected == actual


def test_float32_and_int8_share_one_conversion() -> None:
    model = loaded(model_of("bart"))
    writers = [
        backend_choice.backend_named(name).open(model, settings(), threads=1) for name in ("ctranslate2", "ctranslate2-int8")
    ]
    assert len({id(writer.converted) for writer in writers if isinstance(writer, CTranslate2Writer)}) == 1
