"""Generating summaries: order, batches, settings that reach generate(), ends of texts, and counts of faults."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from tests.conftest import DIALOGUES
from yoyak.config.generation_section import Consensus, Generation
from yoyak.data import pair_encoding
from yoyak.data.dialogue import LISTED_TAGS
from yoyak.inference import blocked_scripts, decoding
from yoyak.inference.backends import transformers as transformers_backend
from yoyak.inference.backends.transformers import TransformersWriter
from yoyak.inference.outputs import Output, count_faults, decode_tokens, describe_faults
from yoyak.inference.postprocessing import without_artefacts
from yoyak.models import encoder_decoder, tokenizer_loading
from yoyak.models.families.base import LoadedModel

EOS = 1
GREEDY: dict[str, Any] = {
    "max_new_tokens": 12,
    "min_new_tokens": 0,
    "num_beams": 1,
    "do_sample": False,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 50,
    "repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "early_stopping": True,
    "blocked_scripts": [],
    "seed": 1,
    "batch_size": 3,
    "backend": "transformers",
    "postprocess": "never",
    "long_dialogues": "truncate",
    "window_overlap": 2,
    "window_merge": "turns",
    "consensus": Consensus.off().model_dump(),
    "restore_speakers": False,
}


def settings(**changes: Any) -> Generation:
    return Generation(**(GREEDY | changes))


@pytest.fixture
def tokenizer(tiny: Path) -> Any:
    return tokenizer_loading.load_tokenizer(str(tiny), None, ("#Person1#", "#Person2#"))


@pytest.fixture
def model(tiny: Path, tokenizer: Any) -> Any:
    torch.manual_seed(0)  # the embeddings of the tags are random
    return encoder_decoder.load(str(tiny), None, tokenizer)


def generate(
    model: Any, tokenizer: Any, ids: Sequence[list[int]], dialogues: Sequence[str], chosen: Generation
) -> list[Output]:
    writer = TransformersWriter(LoadedModel("test", model, tokenizer), chosen)
    return decoding.generate(writer, ids, dialogues, settings=chosen, progress="test")


def write(model: Any, tokenizer: Any, dialogues: tuple[str, ...] = DIALOGUES, **changes: Any) -> list[Output]:
    ids = pair_encoding.encode_sources(tokenizer, dialogues, 128)
    return generate(model, tokenizer, ids, dialogues, settings(**changes))


@pytest.fixture
def used_configs(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The GenerationConfig of each call of generate(), with all defaults."""
    seen: list[dict[str, Any]] = []
    prepare = model._prepare_generation_config

    def spy(*args: Any, **kwargs: Any) -> Any:
        config, rest = prepare(*args, **kwargs)
        seen.append(config.to_dict())
        return config, rest

    monkeypatch.setattr(model, "_prepare_generation_config", spy)
    return seen


def set_eos_logit(model: Any, bias: float) -> None:
    model.final_logits_bias[0, EOS] = bias


def test_outputs_are_in_the_order_of_the_dialogues_for_every_batch_size(model: Any, tokenizer: Any) -> None:
    alone = [write(model, tokenizer, (dialogue,))[0] for dialogue in DIALOGUES]
    assert len({output.text for output in alone}) > 5  # so that a mix-up would show
    order = list(range(len(DIALOGUES)))
    for batch_size, seed in ((1, 0), (3, 1), (5, 2), (100, 3)):
        random.Random(seed).shuffle(order)
        outputs = write(model, tokenizer, tuple(DIALOGUES[index] for index in order), batch_size=batch_size)
        assert outputs == [alone[index] for index in order]


@pytest.mark.slow
def test_outputs_are_in_order_also_with_beams(model: Any, tokenizer: Any) -> None:
    alone = [write(model, tokenizer, (dialogue,), num_beams=3)[0] for dialogue in DIALOGUES]
    for batch_size in (2, 100):
        assert write(model, tokenizer, DIALOGUES, num_beams=3, batch_size=batch_size) == alone


def test_batches_have_rows_of_similar_length_and_the_longest_come_first(
    model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lack of memory then shows in the first batch."""
    real: Callable[..., Any] = model.generate
    lengths: list[list[int]] = []

    def spy(**inputs: torch.Tensor) -> Any:
        lengths.append(inputs["attention_mask"].sum(dim=1).tolist())
        return real(**inputs)

    monkeypatch.setattr(model, "generate", spy)
    write(model, tokenizer, batch_size=3)
    assert [len(batch) for batch in lengths] == [3, 3, 2]
    flat = [length for batch in lengths for length in batch]
    assert flat == sorted(flat, reverse=True)


# For each key: a value, and the settings without which it has no effect. Keys of yoyak have tests of their own.
KEYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "max_new_tokens": (5, {}),
    "min_new_tokens": (3, {}),
    "num_beams": (3, {"num_beams": 2}),
    "do_sample": (True, {}),
    "temperature": (0.5, {"do_sample": True}),
    "top_p": (0.6, {"do_sample": True}),
    "top_k": (7, {"do_sample": True}),
    "repetition_penalty": (1.5, {}),
    "length_penalty": (0.5, {"num_beams": 2}),
    "no_repeat_ngram_size": (2, {}),
    "early_stopping": ("never", {"num_beams": 2}),
}
KEYS_OF_YOYAK = {
    "consensus",
    *("blocked_scripts", "seed", "batch_size", "backend", "postprocess"),
    *("long_dialogues", "window_overlap", "window_merge", "restore_speakers"),
}


def test_every_key_has_a_test() -> None:
    assert set(KEYS) | KEYS_OF_YOYAK == set(Generation.model_fields)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_reaches_generate(model: Any, tokenizer: Any, used_configs: list[dict[str, Any]], key: str) -> None:
    value, required = KEYS[key]
    write(model, tokenizer, DIALOGUES[:1], **required)
    write(model, tokenizer, DIALOGUES[:1], **(required | {key: value}))
    before, after = used_configs
    assert before[key] != value
    assert after[key] == value
    assert {name for name in after if after[name] != before[name]} == {key}
    described = [decoding.describe_decoding(settings(**(required | change)), backend="x") for change in ({}, {key: value})]
    assert described[0] != described[1]
    assert f"{key}={value}" in described[1]
    assert described[0].endswith(",backend=x")


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
def test_each_value_of_early_stopping_reaches_generate(
    model: Any, tokenizer: Any, used_configs: list[Any], early_stopping: bool | str
) -> None:
    write(model, tokenizer, DIALOGUES[:1], num_beams=2, early_stopping=early_stopping)
    assert used_configs[0]["early_stopping"] == early_stopping


CHECKPOINT_SETTINGS: dict[str, Any] = {
    "num_beams": 4,
    "no_repeat_ngram_size": 3,
    "encoder_no_repeat_ngram_size": 2,
    "length_penalty": 2.0,
    "repetition_penalty": 1.7,
    "min_length": 9,
    "max_length": 20,
    "min_new_tokens": 8,
    "do_sample": True,
    "temperature": 0.3,
    "top_k": 3,
    "top_p": 0.2,
    "typical_p": 0.5,
    "early_stopping": False,
    "suppress_tokens": [50, 60],
    "begin_suppress_tokens": [70],
    "bad_words_ids": [[80]],
    "num_return_sequences": 2,
    "forced_eos_token_id": 5,
    "renormalize_logits": True,
}


@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
@pytest.mark.parametrize("mode", [{}, {"num_beams": 2}, {"do_sample": True}])
def test_decoding_settings_of_the_checkpoint_have_no_effect(
    tiny: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, file: str, mode: dict[str, Any]
) -> None:
    def config_used() -> dict[str, Any]:
        model = encoder_decoder.load(str(tiny), None, tokenizer)
        seen: list[dict[str, Any]] = []
        prepare = model._prepare_generation_config

        def spy(*args: Any, **kwargs: Any) -> Any:
            config, rest = prepare(*args, **kwargs)
            seen.append(config.to_dict())
            return config, rest

        monkeypatch.setattr(model, "_prepare_generation_config", spy)
        write(model, tokenizer, DIALOGUES[:1], **mode)
        return seen[0]

    torch.manual_seed(0)
    clean = config_used()
    path = tiny / file
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | CHECKPOINT_SETTINGS), encoding="utf-8")
    if file == "config.json":  # older checkpoints have the settings in config.json
        (tiny / "generation_config.json").unlink()
    assert config_used() == clean


def test_the_forced_language_of_a_checkpoint_stays(model: Any, tokenizer: Any, used_configs: list[dict[str, Any]]) -> None:
    """forced_bos_token_id of mBART is the language of the output, not a decoding setting."""
    model.generation_config = GenerationConfig.from_dict(model.generation_config.to_dict() | {"forced_bos_token_id": 77})
    for _ in range(2):  # the second call gives the same
        write(model, tokenizer, DIALOGUES[:1])
    assert [config["forced_bos_token_id"] for config in used_configs] == [77, 77]


def test_special_ids_come_from_the_tokenizer(model: Any, tokenizer: Any, used_configs: list[dict[str, Any]]) -> None:
    write(model, tokenizer, DIALOGUES[:1])
    ids = {key: used_configs[0][key] for key in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")}
    assert ids == {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "decoder_start_token_id": 1}


def test_sampling_follows_the_seed(model: Any, tokenizer: Any) -> None:
    sample: dict[str, Any] = {"do_sample": True, "temperature": 3.0, "top_k": 0}
    first, again, other = (write(model, tokenizer, seed=seed, **sample) for seed in (1, 1, 2))
    assert first == again != other
    assert "seed=2" in decoding.describe_decoding(settings(seed=2, do_sample=True), backend="x")
    assert "seed" not in decoding.describe_decoding(settings(seed=2), backend="x")


@pytest.mark.parametrize(
    ("bias", "min_new_tokens", "hit_limit", "tokens"),
    [(1e4, 0, False, 1), (-1e4, 0, True, 12), (1e4, 12, True, 12), (1e4, 11, False, 12)],
)
def test_hit_limit(model: Any, tokenizer: Any, bias: float, min_new_tokens: int, *, hit_limit: bool, tokens: int) -> None:
    """A text whose last possible token is EOS did not hit the limit."""
    set_eos_logit(model, bias)
    lengths: list[int] = []
    real: Callable[..., torch.Tensor] = model.generate

    def spy(**inputs: torch.Tensor) -> torch.Tensor:
        written = real(**inputs)
        lengths.append(written.shape[1] - 1)
        return written

    model.generate = spy
    outputs = write(model, tokenizer, DIALOGUES[:3], min_new_tokens=min_new_tokens)
    assert [output.hit_limit for output in outputs] == [hit_limit] * 3
    assert all((output.text == "") == (tokens == 1) for output in outputs)
    assert lengths == [tokens]


def test_rows_of_one_batch_can_end_at_different_lengths(model: Any, tokenizer: Any) -> None:
    """hit_limit is right for each row, also if a finished row is padded while others continue."""
    outputs: list[Output] = []
    for bias in range(-4, 9):
        set_eos_logit(model, bias)
        outputs = write(model, tokenizer, batch_size=8)
        if len({output.hit_limit for output in outputs}) == 2:
            break
    assert {output.hit_limit for output in outputs} == {True, False}
    alone = [write(model, tokenizer, (dialogue,))[0] for dialogue in DIALOGUES]
    assert alone == outputs


def test_dropout_is_turned_off(model: Any, tokenizer: Any) -> None:
    expected = write(model, tokenizer)
    model.train()
    assert write(model, tokenizer) == expected


def test_the_model_reads_the_ids_with_padding_on_the_right(model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The padding of an encoder is masked."""
    real: Callable[..., Any] = model.generate
    read: list[list[int]] = []

    def spy(**inputs: Any) -> Any:
        for ids, mask in zip(inputs["input_ids"].tolist(), inputs["attention_mask"].tolist(), strict=True):
            assert mask == sorted(mask, reverse=True)
            read.append([id_ for id_, is_token in zip(ids, mask, strict=True) if is_token])
        return real(**inputs)

    monkeypatch.setattr(model, "generate", spy)
    ids = [[5, 9, 7, EOS], [6, EOS], [8] * 256]
    outputs = generate(model, tokenizer, ids, [""] * 3, settings())
    assert len(outputs) == 3
    assert read == [ids[2], ids[0], ids[1]]


def test_blocked_scripts_are_not_written(model: Any, tokenizer: Any) -> None:
    """A random model at a high temperature writes letters of all scripts. The letters of tags may still occur."""
    sample: dict[str, Any] = {"do_sample": True, "temperature": 2.0, "top_k": 0, "max_new_tokens": 60}
    letters_of_tags = set("".join(LISTED_TAGS))

    def latin(**changes: Any) -> set[str]:
        text = "".join(output.text for output in write(model, tokenizer, **sample, **changes))
        assert len(text) > 50
        return {char for char in text if char.isascii() and char.isalpha()} - letters_of_tags

    assert len(latin()) > 5
    assert len(latin(blocked_scripts=["han", "kana"])) > 5
    assert latin(blocked_scripts=["latin"]) == set()
    assert latin(blocked_scripts=["han", "latin"], num_beams=2) == set()


def test_each_row_may_write_the_words_of_its_own_dialogue(model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are sorted by length. The dialogues that allow words must be in the same order."""
    real: Callable[..., Any] = model.generate
    allowed: list[str] = []
    read: list[str] = []

    def processor(_: object, dialogues: list[str], **rest: Any) -> Any:
        allowed.extend(dialogues)
        assert rest["vocabulary_size"] == model.get_output_embeddings().weight.shape[0]
        return lambda _, scores: scores

    def spy(**inputs: Any) -> Any:
        read.extend(decode_tokens(tokenizer, inputs["input_ids"].tolist()))
        assert len(inputs["logits_processor"]) == 1
        return real(**inputs)

    monkeypatch.setattr(blocked_scripts.BlockedTokens, "processor", processor)
    monkeypatch.setattr(model, "generate", spy)
    write(model, tokenizer, blocked_scripts=["latin"], batch_size=3)
    assert allowed == read
    assert sorted(read) == sorted(DIALOGUES)


def test_the_vocabulary_is_not_searched_if_nothing_is_blocked(
    model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers_backend, "BlockedTokens", None)
    assert write(model, tokenizer, DIALOGUES[:1])


def test_blocked_scripts_are_described() -> None:
    assert "blocked_scripts=none" in decoding.describe_decoding(settings(), backend="x").split(",")
    described = decoding.describe_decoding(settings(blocked_scripts=["latin", "kana"]), backend="x")
    assert "blocked_scripts=latin+kana" in described.split(",")


def test_a_part_of_a_character_is_dropped_and_reported(model: Any, tokenizer: Any) -> None:
    """A byte-level vocabulary can write one of the three bytes of a character."""
    first_byte, whole = tokenizer.convert_tokens_to_ids("ê"), tokenizer("가").input_ids
    for written, expected in (([EOS, *whole, EOS], ("가", False)), ([EOS, first_byte, *whole, first_byte, EOS], ("가", True))):
        model.generate = lambda ids=written, **_: torch.tensor([ids])
        (output,) = write(model, tokenizer, DIALOGUES[:1])
        assert (output.text, output.broken) == expected
        assert not output.hit_limit


@pytest.fixture
def decoder(tokenizer: Any) -> Any:
    """A random decoder-only model with the same tokenizer."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    torch.manual_seed(4)
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("num_beams", [1, 2])
def test_a_decoder_only_model_continues_its_prompt(decoder: Any, tokenizer: Any, num_beams: int) -> None:
    """The output is the same in every batch, and does not contain the prompt."""
    ids = [tokenizer(text).input_ids for text in DIALOGUES]
    expected = []
    for row in ids:
        inputs = {"input_ids": torch.tensor([row]), "attention_mask": torch.ones(1, len(row), dtype=torch.long)}
        written = decoder.generate(**inputs, max_new_tokens=12, num_beams=num_beams, do_sample=False, early_stopping=True)
        expected.append(decode_tokens(tokenizer, [written[0, len(row) :].tolist()])[0].replace("\ufffd", "").strip())
    assert len(set(expected)) > 5
    for batch_size in (1, 3, 8):
        chosen = settings(num_beams=num_beams, batch_size=batch_size)
        outputs = generate(decoder, tokenizer, ids, [""] * 8, chosen)
        assert [output.text for output in outputs] == expected


@pytest.mark.parametrize("end", [1, 77])
def test_every_end_of_text_token_of_the_model_ends_a_summary(decoder: Any, tokenizer: Any, end: int) -> None:
    """A chat model may end a turn with another token than the eos_token of its tokenizer."""
    decoder.generation_config.eos_token_id = [1, 77]
    decoder.lm_head.bias = torch.nn.Parameter(torch.zeros(len(tokenizer)))
    decoder.lm_head.bias.data[end] = 1e4
    for _ in range(2):  # the second call gives the same
        ids = [tokenizer(text).input_ids for text in DIALOGUES[:3]]
        outputs = generate(decoder, tokenizer, ids, [""] * 3, settings())
        assert not any(output.hit_limit for output in outputs)
    decoder.lm_head.bias.data[end] = 0
    decoder.lm_head.bias.data[50] = 1e4
    outputs = generate(decoder, tokenizer, ids, [""] * 3, settings())
    assert all(output.hit_limit for output in outputs)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["가", "나", "다"], {"distinct": 3, "empty": 0, "copied": 0, "mean_characters": 1.0}),
        (["가", "가", ""], {"distinct": 2, "empty": 1, "copied": 0, "mean_characters": 0.67}),
        ([DIALOGUES[0], "", "회의가 취소됐대."], {"distinct": 3, "empty": 1, "copied": 1}),
    ],
)
def test_faults_are_counted(texts: list[str], expected: dict[str, Any]) -> None:
    outputs = [Output("", hit_limit=index == 1) for index in range(3)]
    counts = count_faults(outputs, texts, DIALOGUES[:3])
    assert set(counts) == {
        *("rows", "distinct", "empty", "hit_limit", "broken", "artefacts", "copied"),
        *("foreign_share", "with_foreign", "mean_characters"),
    }
    assert counts | expected | {"rows": 3, "hit_limit": 1, "foreign_share": 0, "with_foreign": 0} == counts


def test_foreign_letters_are_counted_except_in_tags_and_words_of_the_dialogue() -> None:
    outputs = [Output("", hit_limit=False, broken=index == 2) for index in range(3)]
    texts = ["#Person1#은 KTX를 탄다.", "TV 会議", "국수"]
    counts = count_faults(outputs, texts, ["#Person1#: KTX 탈래?", "#Person1#: 회의다.", "#Person1#: 국수"])
    # Characters without spaces and tags: 은 KTX를 탄다. is 8, TV 会議 is 4, 국수 is 2; foreign are TV and 会議.
    assert (counts["foreign_share"], counts["with_foreign"]) == (round(4 / 14, 6), 1)
    assert counts["broken"] == 1


def test_different_numbers_of_texts_and_dialogues_raise() -> None:
    with pytest.raises(ValueError, match="shorter"):
        count_faults([Output("가", hit_limit=False)] * 2, ["가", "나"], DIALOGUES[:1])


def test_artefacts_are_removed_and_counted() -> None:
    outputs = [Output("<think>음</think>요약: 비가 온다.", hit_limit=True), Output('"간다."', False), Output("온다.", False)]
    cleaned = without_artefacts(outputs)
    assert [output.text for output in cleaned] == ["비가 온다.", "간다.", "온다."]
    assert cleaned[0].hit_limit and cleaned[2] is outputs[2]
    counts = count_faults(cleaned, [output.text for output in cleaned], DIALOGUES[:3])
    assert counts["artefacts"] == {"prefix": 1, "quotes": 1, "reasoning": 1}


def test_counts_in_words() -> None:
    outputs = [Output("가", hit_limit=True, artefacts=("code_fence",)), Output("나", hit_limit=False)]
    counts = count_faults(outputs, ["가", ""], DIALOGUES[:2])
    assert describe_faults(counts) == (
        "2 summaries, 2 distinct, 0 characters on average; 1 empty, 1 at the length limit (generation.max_new_tokens), "
        "1 with code fence (removed)"
    )
    fine = count_faults([Output("비가 온다", hit_limit=False)], ["비가 온다"], DIALOGUES[:1])
    assert describe_faults(fine) == "1 summaries, 1 distinct, 5 characters on average; no faults"
