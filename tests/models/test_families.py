"""Finding the family of a folder, and loading what training wrote."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from tests.conftest import DIALOGUES, load_trained
from tests.models import test_checkpoints, test_encoder_decoder
from yoyak.config.sections import Params
from yoyak.data import pair_encoding
from yoyak.models import adapters, causal_lm, encoder_decoder
from yoyak.system import hardware
from yoyak.system.errors import YoyakError

TAGS = ("#Person1#", "#Person2#", "#Person3#", "#PhoneNumber#")


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_a_model_that_is_saved_and_loaded_has_the_same_weights_and_tokens(tiny: Path, tmp_path: Path, kind: str) -> None:
    model, tokenizer = test_encoder_decoder.load(tiny if kind == "bart" else test_checkpoints.make_t5(tiny), *TAGS)
    encoder_decoder.save(model, tokenizer, tmp_path / "saved")
    again, tokenizer_again = load_trained(tmp_path / "saved")
    assert (tmp_path / "saved" / "model.safetensors").is_file()
    assert tokenizer_again.get_vocab() == tokenizer.get_vocab()
    ids = pair_encoding.encode_sources(tokenizer, DIALOGUES, 64)
    assert pair_encoding.encode_sources(tokenizer_again, DIALOGUES, 64) == ids
    weights = model.state_dict()
    assert all(torch.equal(weights[key], value.cpu()) for key, value in again.state_dict().items())


def make_empty(folder: Path) -> None:
    folder.mkdir()


def make_not_chosen(folder: Path) -> None:
    """Write what a training stage writes if its family is not chosen."""
    folder.mkdir()
    (folder / "not-chosen.txt").write_text("train_kobart: nothing to do\n", encoding="utf-8")


@pytest.mark.parametrize("make", [make_empty, make_not_chosen, lambda _: None])
def test_a_folder_without_a_model_is_an_error_that_says_what_to_do(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = tmp_path / "kobart"
    make(folder)
    with pytest.raises(YoyakError, match=rf"^{re.escape(str(folder))}: no trained model here; run `dvc repro` .*model\.family"):
        load_trained(folder)


def test_a_damaged_model_is_a_clear_error(tiny: Path) -> None:
    (tiny / "model.safetensors").write_bytes(b"")
    with pytest.raises(YoyakError, match="the model cannot be loaded"):
        load_trained(tiny)
    (tiny / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(YoyakError, match="cannot be loaded"):
        load_trained(tiny)


def test_an_encoder_decoder_is_loaded_onto_the_default_device(tiny: Path, params: Params) -> None:
    model, _ = load_trained(tiny, params)
    assert model.config.model_type == "bart"
    assert model.device == hardware.default_device()


@pytest.fixture
def load_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Record the calls of the functions that load decoder-only models. The replacements return texts instead of models."""
    calls: list[tuple[Any, ...]] = []

    def load(folder: Path, *, expected_base: object = None) -> tuple[str, str]:
        calls.append(("adapter", folder, expected_base))
        return "tuned", "its tokenizer"

    def load_merged(folder: str, tokenizer: object) -> str:
        calls.append(("merged", folder, tokenizer))
        return "merged"

    monkeypatch.setattr(adapters, "load", load)
    monkeypatch.setattr(causal_lm, "load_merged", load_merged)
    return calls


def test_an_adapter_is_loaded_and_compared_with_the_base_of_params(
    tmp_path: Path, params: Params, load_calls: list[tuple[Any, ...]]
) -> None:
    """The folder of an adapter usually has no config.json. Some versions of peft write the config.json of the base into it."""
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert load_trained(tmp_path) == ("tuned", "its tokenizer")
    LlamaConfig().save_pretrained(tmp_path)
    load_trained(tmp_path, params)
    assert load_calls == [("adapter", tmp_path, None), ("adapter", tmp_path, params.model.qlora)]


def test_a_merged_model_is_loaded_as_a_decoder_only_model(tiny: Path, load_calls: list[tuple[Any, ...]]) -> None:
    LlamaConfig().save_pretrained(tiny)
    model, tokenizer = load_trained(tiny)
    assert str(model) == "merged"
    assert load_calls == [("merged", str(tiny), tokenizer)]


def test_loading_a_trained_model_enables_tf32(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(hardware, "enable_tf32", lambda: calls.append(True))
    load_trained(tiny)
    assert calls
