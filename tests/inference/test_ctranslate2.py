"""The backend ctranslate2 writes what transformers writes, and refuses what it would write differently."""

import copy
import errno
import os
import random
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
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
from yoyak.config.generation_section import Generation
from yoyak.config.params import load_params
from yoyak.data import pair_encoding
from yoyak.inference import backend_choice, decoding, outputs
from yoyak.inference.backends.ctranslate2 import (
    BACKEND,
    ComputeType,
    ConvertedModel,
    CTranslate2Writer,
)
from yoyak.inference.backends.lean import LeanBackend
from yoyak.inference.backends.transformers import TransformersWriter
from yoyak.models import encoder_decoder, tokenizer_loading
from yoyak.models.families.base import LoadedModel
from yoyak.system.errors import YoyakError

TOKENS = 24  # few, so that a random model sometimes writes the end-of-text token
TOKEN_IDS = {"vocab_size": TOKENS, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
BART = {
    **TOKEN_IDS,
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
    **TOKEN_IDS,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}
GROUPED_QUERY = {**DECODER, "num_key_value_heads": 2}
LARGE_ROPE = {"rope_type": "default", "rope_theta": 500.0}
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
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED_QUERY)),
    "llama, other rope_theta": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED_QUERY, rope_parameters=LARGE_ROPE)),
    "llama, tied": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED_QUERY, tie_word_embeddings=True)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**GROUPED_QUERY, rope_parameters=LARGE_ROPE)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**GROUPED_QUERY, rope_parameters=LARGE_ROPE, head_dim=16)),
}
REFUSED = {
    "llama, scaled positions": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED_QUERY, rope_parameters=LLAMA3)),
    "llama, wide heads": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED_QUERY, head_dim=16)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**DECODER)),
}


class IdTokenizer:
    """A tokenizer with only what the converter and the padding use."""

    bos_token_id, eos_token_id, pad_token_id = 0, 1, 2

    def pad(self, rows: dict[str, list[list[int]]], *, padding_side: str, return_tensors: str) -> Any:
        longest = max(map(len, rows["input_ids"]))
        left = padding_side == "left"
        ids, mask = [], []
        for row in rows["input_ids"]:
            padding = longest - len(row)
            ids.append([2] * padding + row if left else row + [2] * padding)
            mask.append([0] * padding + [1] * len(row) if left else [1] * len(row) + [0] * padding)
        batch = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
        return type("Batch", (dict,), {"to": lambda batch, device: batch})(batch)


def settings(**changes: Any) -> Generation:
    base = {"max_new_tokens": 30, "batch_size": 8, "num_beams": 1, "early_stopping": True}
    return load_params(ROOT / "params.yaml").generation.model_copy(update={**base, **changes})


def random_model(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = {**MODELS, **REFUSED}[name]().eval()  # type: ignore[no-untyped-call]
    model.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=1, pad_token_id=2)
    return model


def random_rows(count: int = 24) -> list[list[int]]:
    """Random token ids of different lengths."""
    rng = random.Random(0)
    return [[rng.randrange(3, TOKENS) for _ in range(rng.randrange(3, 60))] for _ in range(count)]


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


def share_of_equal_rows(name: str, *, threads: int = 1, **changes: Any) -> float:
    """The share of random rows for which both backends generate the same tokens."""
    model, chosen, ids = random_model(name), settings(**changes), random_rows()
    assert BACKEND.why_not(loaded(model), chosen) is None
    expected = transformers_tokens(copy.deepcopy(model), chosen, ids)
    actual = converted_writer(model, chosen, threads=threads).generate(ids)
    return sum(a == b for a, b in zip(expected, actual, strict=True)) / len(ids)


@pytest.mark.parametrize(
    ("threads", "processes", "parts", "workers"), [(2, 1, 2, 2), (2, 2, 2, 1), (8, 2, 4, 2), (8, 8, 4, 1), (3, 2, 3, 1)]
)
def test_a_batch_has_the_same_parts_for_any_number_of_processes(
    monkeypatch: pytest.MonkeyPatch, threads: int, processes: int, parts: int, workers: int
) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr("ctranslate2.Translator", lambda *_, **options: made.update(options))
    converted: Any = SimpleNamespace(folder="", is_decoder_only=False)
    writer = CTranslate2Writer(converted, settings(), compute_type="int8", threads=threads, processes=processes)
    assert (writer.parts, writer.workers, made["inter_threads"]) == (parts, workers, workers)
    assert made["intra_threads"] * workers * processes <= max(threads, processes)


@pytest.mark.parametrize("changes", [{}, {"min_new_tokens": 15}, {"max_new_tokens": 3}], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_greedy_search_gives_the_same_tokens(name: str, changes: dict[str, Any]) -> None:
    assert share_of_equal_rows(name, **changes) == 1


@pytest.mark.parametrize("name", ["bart", "llama"])
@pytest.mark.parametrize(("threads", "workers"), [(2, 2), (5, 1), (6, 3), (8, 4)])
def test_several_workers_keep_the_order_of_a_batch(name: str, threads: int, workers: int) -> None:
    writer = converted_writer(random_model(name), settings(), compute_type="int8", threads=threads)
    attribute = "num_generators" if writer.converted.is_decoder_only else "num_translators"
    assert writer.workers == getattr(writer.engine, attribute) == workers
    assert writer.generate(random_rows()[:1]), "also with fewer rows than workers"
    assert share_of_equal_rows(name, threads=threads) == 1


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_number_of_threads_of_torch_does_not_change(threads: int) -> None:
    """With another number of threads, sums are rounded differently, so training after an evaluation would change."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        converted_writer(random_model("bart"), settings(), threads=threads).generate(random_rows())
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("changes", [{}, {"length_penalty": 2.0}, {"num_beams": 2}], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_beam_search_gives_the_same_tokens_except_for_near_ties(name: str, changes: dict[str, Any]) -> None:
    """The probabilities of a random model are nearly equal, so rounding can decide between beams."""
    assert share_of_equal_rows(name, **{"num_beams": 4, **changes}) >= 0.75


def test_random_models_write_the_end_of_text_token() -> None:
    ended = {
        name
        for name in MODELS
        if any(row[-1] == 1 for row in transformers_tokens(random_model(name), settings(), random_rows()))
    }
    assert {"bart", "t5, gated", "llama", "llama, tied", "qwen2", "qwen3"} <= ended


@pytest.mark.parametrize("name", REFUSED)
def test_models_that_ctranslate2_writes_differently_are_refused(name: str) -> None:
    model = random_model(name)
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
        {"num_beams": 4, "length_penalty": 0.0},
        {"num_beams": 4, "length_penalty": -5.0},
    ],
    ids=str,
)
def test_settings_that_ctranslate2_treats_differently_use_lean(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LeanBackend, "open", lambda *_, **__: None)  # it would search the vocabulary
    model = random_model("bart")
    assert BACKEND.why_not(loaded(model), settings(**changes))
    assert backend_choice.choose_backend(loaded(model), settings(**changes), threads=1).backend == "lean"


@pytest.mark.parametrize(
    "changes", [{"length_penalty": 0.0, "num_beams": 1}, {"length_penalty": -4.0, "num_beams": 4}], ids=str
)
def test_a_length_penalty_without_effect_or_within_the_compared_range_is_allowed(changes: dict[str, Any]) -> None:
    assert BACKEND.why_not(loaded(random_model("bart")), settings(**changes)) is None


def test_all_reasons_are_named() -> None:
    """A user who changes only the first setting would find the next one in the next run."""
    model = random_model(next(iter(REFUSED)))
    reason = BACKEND.why_not(loaded(model), settings(do_sample=True, repetition_penalty=1.2, no_repeat_ngram_size=3)) or ""
    names = "generation.do_sample, generation.repetition_penalty, generation.no_repeat_ngram_size"
    assert reason.endswith(f"; CTranslate2 does not support {names} as transformers does")


def test_converting_does_not_change_an_encoder_decoder() -> None:
    model = random_model("bart")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = model.config.to_dict()
    for compute_type in get_args(ComputeType):
        converted_writer(model, settings(), compute_type=compute_type).generate(random_rows(4))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.config.to_dict() == config, "the config is saved with the model"
    transformers_tokens(model, settings(), random_rows(4))


def test_a_full_disk_is_not_reported_as_a_fault_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("bart")
    config = model.config.to_dict()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for owner, name in ((type(model.config), "save_pretrained"), (TransformersConverter, "convert")):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
            patch.setattr(owner, name, fail)
            ConvertedModel(model, IdTokenizer())
        assert model.config.to_dict() == config


class FixedScores:
    """Gives the scores of two writers in the order of the calls: float32, then int8."""

    def __init__(self, *means: float, noise: float = 0.0, rows: int = 64) -> None:
        self.means, self.noise, self.rows = list(means), noise, rows

    def __call__(self, writer: Any) -> Any:
        rng = np.random.default_rng(len(self.means))
        return np.full((self.rows, 3), self.means.pop(0) / 3) + self.noise * rng.standard_normal((self.rows, 3))


@pytest.mark.parametrize(
    ("scores", "backend"),
    [
        (FixedScores(90, 90), "ctranslate2-int8"),
        (FixedScores(90, 95), "ctranslate2-int8"),
        (FixedScores(90, 89.9), "ctranslate2"),  # every row loses the same, so this is not noise
        (FixedScores(90, 89.9, noise=1), "ctranslate2-int8"),
        (FixedScores(90, 85, noise=20), "ctranslate2"),  # within the noise, but the loss is too large
        (FixedScores(90, 90, rows=9), "ctranslate2"),  # too few rows to say so
        (FixedScores(90, 90, rows=10), "ctranslate2-int8"),
        (None, "ctranslate2"),
    ],
)
def test_int8_is_chosen_if_the_score_does_not_fall(scores: FixedScores | None, backend: str) -> None:
    model = loaded(random_model("bart"))
    assert backend_choice.choose_backend(model, settings(), threads=1, dev_scores=scores).backend == backend


@pytest.mark.parametrize(("parameters", "dev", "compared"), [(49_999_999, 300, 256), (50_000_000, 300, 64), (1, 100, 100)])
def test_a_small_model_is_compared_on_more_rows(
    monkeypatch: pytest.MonkeyPatch, parameters: int, dev: int, compared: int
) -> None:
    generated: list[list[int]] = []

    def generate(writer: Any, ids: list[list[int]], *args: Any, **kwargs: Any) -> list[outputs.Output]:
        generated.extend(ids)
        return [outputs.Output("P1 비", hit_limit=False, broken=False)] * len(ids)

    monkeypatch.setattr(backend_choice, "generate", generate)
    rows = [{"dialogue": "P1: 비", "references": ["#Person1# 비"]}] * dev
    scores = backend_choice.dev_scorer(
        [[row] for row in range(dev)], rows, settings=settings(), person_tags="simplify", parameters=parameters
    )
    writer = TransformersWriter(loaded(random_model("bart")), settings())
    assert (scores(writer) == 100).all(), "tags are restored before scoring"
    assert len(generated) == compared
    indices = [row for (row,) in generated]
    assert indices[0] == 0 and indices[-1] >= dev - 5 and len({*indices}) == compared, (
        "the rows are spread over the whole split"
    )


def test_the_backend_that_predict_chose_is_used_again() -> None:
    choice = backend_choice.choose_backend(loaded(random_model("bart")), settings(), threads=1, previous="ctranslate2-int8")
    assert choice.backend == "ctranslate2-int8"


@pytest.mark.parametrize("num_beams", [1, 4])
def test_generate_gives_the_same_outputs_with_both_backends(tiny: Path, num_beams: int) -> None:
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
    model = loaded(random_model("bart"))
    writers = [
        backend_choice.backend_named(name).open(model, settings(), threads=1) for name in ("ctranslate2", "ctranslate2-int8")
    ]
    assert len({id(writer.converted) for writer in writers if isinstance(writer, CTranslate2Writer)}) == 1
