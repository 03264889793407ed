"""A student keeps evenly spaced decoder layers; it writes what a model with just these layers writes, also from its folder."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

from yoyak.config.generation_section import Generation
from yoyak.inference.backends.ctranslate2 import ConvertedModel, CTranslate2Writer
from yoyak.models.student import evenly_spaced, keep_decoder_layers, student_config
from yoyak.models.tokenizer_loading import load_tokenizer
from yoyak.system.errors import YoyakError

IDS = {"pad_token_id": 2, "bos_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 1, "forced_eos_token_id": None}


def bart(layers: int, vocabulary: int = 400) -> Any:
    sizes = {"d_model": 16, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "encoder_layers": 1, "max_position_embeddings": 64}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = BartConfig(vocab_size=vocabulary, decoder_layers=layers, init_std=0.5, **sizes, **heads, **IDS)
    return BartForConditionalGeneration(config).eval()


def t5(layers: int) -> Any:
    config = T5Config(vocab_size=400, d_model=16, d_kv=8, d_ff=32, num_layers=4, num_decoder_layers=layers, num_heads=2, **IDS)
    return T5ForConditionalGeneration(config).eval()


def renumbered(weights: dict[str, torch.Tensor], kept: list[int]) -> dict[str, torch.Tensor]:
    found = {}
    for name, value in weights.items():
        match = re.search(r"decoder\.(?:layers|block)\.(\d+)\.", name)
        if match is None:
            found[name] = value
        elif int(match[1]) in kept:
            found[f"{name[: match.start(1)]}{kept.index(int(match[1]))}{name[match.end(1) :]}"] = value
    return found


@pytest.mark.parametrize(
    ("total", "count", "kept"),
    [(12, 6, [0, 2, 4, 7, 9, 11]), (12, 3, [0, 6, 11]), (6, 3, [0, 3, 5]), (6, 1, [0]), (2, 1, [0]), (5, 5, [0, 1, 2, 3, 4])],
)
def test_the_layers_are_evenly_spaced(total: int, count: int, kept: list[int]) -> None:
    assert evenly_spaced(total, count) == kept


@pytest.mark.parametrize(("make", "count"), [(bart, 2), (bart, 1), (t5, 2)])
def test_it_is_the_model_with_just_these_layers(make: Any, count: int, tmp_path: Path) -> None:
    torch.manual_seed(1)
    teacher = make(4)
    student, expected = copy.deepcopy(teacher), make(count)
    kept = keep_decoder_layers(student, "x", count)
    expected.load_state_dict(renumbered(teacher.state_dict(), kept))
    student.save_pretrained(tmp_path / "student")
    again = type(student).from_pretrained(tmp_path / "student")
    batch = {"input_ids": torch.tensor([[5, 6, 7, 8, 9], [11, 12, 13, 14, 15]]), "max_new_tokens": 8, "num_beams": 3}
    written = expected.generate(**batch)
    assert torch.equal(student.generate(**batch), written), "in memory"
    assert torch.equal(again.generate(**batch), written), "from its folder"
    assert not torch.equal(teacher.generate(**batch), written)
    assert student.num_parameters() == expected.num_parameters() < teacher.num_parameters()


def test_ctranslate2_writes_what_transformers_writes(_tiny: Path) -> None:
    tokenizer = load_tokenizer(str(_tiny), None, ())
    torch.manual_seed(1)
    student = bart(4, len(tokenizer))
    keep_decoder_layers(student, "x", 2)
    rows = [[5, 6, 7, 8, 9], [11, 12, 13, 14, 15]]
    settings = Generation.plain(max_new_tokens=5, num_beams=1)
    writer = CTranslate2Writer(ConvertedModel(student, tokenizer), settings, compute_type="float32", threads=1)
    plain = student.generate(input_ids=torch.tensor(rows), max_new_tokens=5, num_beams=1, do_sample=False)[:, 1:]
    ends = [row.index(1) + 1 if 1 in row else len(row) for row in plain.tolist()]
    assert [ids[:end] for ids, end in zip(writer.generate(rows), ends, strict=True)] == [
        row[:end] for row, end in zip(plain.tolist(), ends, strict=True)
    ]


def test_more_layers_than_there_are_is_an_error() -> None:
    with pytest.raises(YoyakError, match=r"model\.kobart\.decoder_layers: 5 is more than the 4 decoder layers of base"):
        keep_decoder_layers(bart(4), "base", 5)
    assert student_config(bart(4).config, "base", 3).decoder_layers == 3
