import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BartConfig, BartForConditionalGeneration, LlamaConfig

from tests.conftest import DIALOGUES, SUMMARIES
from tests.models.test_checkpoints import KOBART, TAGS, edit, t5
from yoyak.data import pair_encoding
from yoyak.models import encoder_decoder, tokenizer_loading
from yoyak.system.errors import YoyakError


def load(folder: Path, *tags: str) -> tuple[Any, Any]:
    tokenizer = tokenizer_loading.load_tokenizer(str(folder), None, tags)
    return encoder_decoder.load(str(folder), None, tokenizer), tokenizer


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    file = folder / "model.safetensors"
    save_file(change({key: value.clone() for key, value in load_file(file).items()}), file, metadata={"format": "pt"})


def loss_of(model: Any, tokenizer: Any) -> torch.Tensor:
    inputs = tokenizer.pad({"input_ids": pair_encoding.encode_sources(tokenizer, DIALOGUES[:1], 64)}, return_tensors="pt")
    labels = torch.tensor(pair_encoding.encode_targets(tokenizer, SUMMARIES[:1], 64))
    loss: torch.Tensor = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels).loss
    return loss


def test_the_model_has_an_embedding_for_every_token(tiny: Path) -> None:
    model, tokenizer = load(tiny, *TAGS)
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) == model.config.vocab_size
    assert model.get_output_embeddings().weight.shape[0] == len(tokenizer)
    assert loss_of(model, tokenizer).isfinite()


def test_embeddings_beyond_the_tokenizer_stay(tiny: Path) -> None:
    """Some checkpoints have more rows than tokens, for speed; shrinking them would gain nothing."""
    config = BartConfig.from_pretrained(tiny)
    config.vocab_size = 450
    BartForConditionalGeneration(config).save_pretrained(tiny)
    assert load(tiny)[0].config.vocab_size == 450


def test_half_precision_on_the_disk_is_float32_in_memory(tiny: Path) -> None:
    change_weights(tiny, lambda weights: {key: value.half() for key, value in weights.items()})
    edit(tiny / "config.json", dtype="float16")
    assert load(tiny)[0].dtype == torch.float32


def without_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda at: (at / "model.safetensors").unlink(), "the model cannot be loaded: .*no file named"),
    "cut weights": (lambda at: os.truncate(at / "model.safetensors", 4000), "the model cannot be loaded"),
    "empty weights": (lambda at: (at / "model.safetensors").write_bytes(b""), "the model cannot be loaded"),
    "weights are text": (lambda at: (at / "model.safetensors").write_text("version https://git-lfs" * 99), "cannot be loaded"),
    "a layer is missing": (
        lambda at: change_weights(at, lambda weights: {k: v for k, v in weights.items() if "decoder.layers.0" not in k}),
        r"26 weights of the model are missing from its files, first model\.decoder\.layers\.0",
    ),
    "a weight of another shape": (
        lambda at: change_weights(at, lambda weights: weights | {"model.encoder.layers.0.fc1.weight": torch.zeros(3, 3)}),
        "the model cannot be loaded",
    ),
    "decoder-only": (lambda at: LlamaConfig().save_pretrained(at), "llama is not an encoder-decoder; set model.family: qlora"),
    "no config": (lambda at: (at / "config.json").unlink(), "this folder has no config.json"),
    "cut config": (lambda at: os.truncate(at / "config.json", 40), "cannot be loaded"),
    "config is a list": (lambda at: (at / "config.json").write_text("[]"), "cannot be loaded"),
    "unknown model type": (lambda at: edit(at / "config.json", model_type="nope"), "cannot be loaded: .*`nope`"),
    "impossible config": (lambda at: edit(at / "config.json", d_model=9), "cannot be loaded: .*divisible"),
    "no tokenizer": (without_tokenizer, r"only \d+ tokens; check that its files are there"),
    "cut tokenizer": (lambda at: os.truncate(at / "tokenizer.json", 500), "its tokenizer cannot be loaded"),
    "tokenizer of another form": (lambda at: (at / "tokenizer.json").write_text("{}"), "its tokenizer cannot be loaded"),
    "no eos": (lambda at: edit(at / "tokenizer_config.json", eos_token=None), "its tokenizer has no eos_token"),
    "no pad": (lambda at: edit(at / "tokenizer_config.json", pad_token=None), "its tokenizer has no pad_token"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_checkpoint_is_one_clear_error(tiny: Path, name: str) -> None:
    damage, message = BROKEN[name]
    damage(tiny)
    with pytest.raises(YoyakError, match=message) as caught:
        load(tiny)
    assert str(caught.value).startswith(str(tiny))
    assert "\n" not in str(caught.value)


def test_a_bin_of_weights_loads(tiny: Path) -> None:
    weights = load_file(tiny / "model.safetensors")
    torch.save(weights, tiny / "pytorch_model.bin")
    (tiny / "model.safetensors").unlink()
    model, _ = load(tiny)
    assert torch.equal(model.model.shared.weight, weights["model.shared.weight"])


def test_remote_code_does_not_run(tiny: Path) -> None:
    """A config that names its own classes, as `trust_remote_code` would run them."""
    (tiny / "own.py").write_text(f"from pathlib import Path\nPath({str(tiny / 'ran')!r}).touch()\n")
    own = {"AutoConfig": "own.Config", "AutoModelForSeq2SeqLM": "own.Model", "AutoTokenizer": "own.Tokenizer"}
    edit(tiny / "config.json", auto_map=own)
    edit(tiny / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Tokenizer", None]})
    load(tiny)
    assert not (tiny / "ran").exists()


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.mkdir, (str(self.file),)  # type: ignore[return-value]


def test_a_malicious_bin_does_not_run(tiny: Path, tmp_path: Path) -> None:
    weights: dict[str, Any] = dict(load_file(tiny / "model.safetensors"))
    torch.save(weights | {"model.shared.weight": Evil(tmp_path / "ran")}, tiny / "pytorch_model.bin")
    (tiny / "model.safetensors").unlink()
    with pytest.raises(YoyakError, match="the model cannot be loaded"):
        load(tiny)
    assert not (tmp_path / "ran").exists()
    torch.load(tiny / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "ran").exists()  # it would have


def wrong_ids(folder: Path, tokenizer: Any) -> None:
    """A random BART whose config has KoBART's mistake: 2 starts and ends the decoder."""
    config = BartConfig.from_pretrained(folder)
    config.vocab_size = len(tokenizer)
    config.decoder_start_token_id = config.forced_eos_token_id = 2
    config.eos_token_id, config.pad_token_id = 1, 3
    BartForConditionalGeneration(config).save_pretrained(folder)
    edit(folder / "config.json", decoder_start_token_id=2, forced_eos_token_id=2)
    edit(folder / "generation_config.json", decoder_start_token_id=2, forced_eos_token_id=2)


@pytest.mark.skipif(not KOBART.is_dir(), reason="no ../shared/tokenizers")
def test_kobarts_wrong_ids_are_corrected_from_its_tokenizer(tiny: Path) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(KOBART), None, TAGS)
    assert tokenizer.convert_ids_to_tokens([1, 2, 3]) == ["</s>", "<usr>", "<pad>"]
    wrong_ids(tiny, tokenizer)
    model = encoder_decoder.load(str(tiny), None, tokenizer)
    for holder in (model.config, model.generation_config):
        ids = (holder.bos_token_id, holder.eos_token_id, holder.pad_token_id, holder.decoder_start_token_id)
        assert ids == (0, 1, 3, 1)
    assert model.generation_config.forced_eos_token_id == 1
    assert getattr(model.config, "forced_eos_token_id", None) is None
    inputs = torch.tensor(pair_encoding.encode_sources(tokenizer, DIALOGUES[:1], 64))
    written = model.generate(input_ids=inputs, max_new_tokens=4, min_new_tokens=4, num_beams=1)
    assert written[0, 0] == 1
    start = model.prepare_decoder_input_ids_from_labels(torch.tensor([[9, 1]]))
    assert start.tolist() == [[1, 9]]  # training starts the decoder as generation does
    encoder_decoder.save(model, tokenizer, tiny / "saved")
    again, _ = load(tiny / "saved")
    assert again.config.decoder_start_token_id == again.generation_config.decoder_start_token_id == 1


def test_what_was_wrong_is_said(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, tokenizer = load(tiny)
    assert encoder_decoder.correct_special_ids(model, tokenizer) == []
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = 9
    model.generation_config.forced_eos_token_id = 2
    assert encoder_decoder.correct_special_ids(model, tokenizer) == [
        "decoder_start_token_id 9 → 1 (</s>)",
        "forced_eos_token_id 2 → 1 (</s>)",
    ]
    assert encoder_decoder.correct_special_ids(model, tokenizer) == []
    assert "corrected" not in capsys.readouterr().err
    edit(tiny / "config.json", decoder_start_token_id=9)
    load(tiny)
    assert f"{tiny}: corrected from its tokenizer: decoder_start_token_id 9 → 1 (</s>)" in capsys.readouterr().err


def test_a_tokenizer_without_a_start_token_is_fine(tiny: Path) -> None:
    """As T5's and mBART's."""
    edit(tiny / "tokenizer_config.json", bos_token=None)
    model, _ = load(tiny)
    assert model.config.bos_token_id is model.generation_config.bos_token_id is None


def test_a_t5_keeps_its_start_trains_and_generates(tiny: Path) -> None:
    model, tokenizer = load(t5(tiny), *TAGS)
    assert model.config.decoder_start_token_id == tokenizer.pad_token_id == 2
    model.eval()
    before = loss_of(model, tokenizer)
    before.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:  # a step of gradient descent
                parameter.sub_(1e-5 * parameter.grad)
    assert loss_of(model, tokenizer) < before
    inputs = torch.tensor(pair_encoding.encode_sources(tokenizer, DIALOGUES[:1], 64))
    written = model.generate(input_ids=inputs, max_new_tokens=4, num_beams=2)
    assert written[0, 0] == tokenizer.pad_token_id


@pytest.mark.parametrize("kind", ["bart", "t5", "t5 v1.1"])
def test_an_output_layer_of_its_own_stays_that(tiny: Path, kind: str) -> None:
    """T5 v1.1's and KoT5's: transformers' config has them tied in any case, and new tokens would put the embeddings there."""
    if kind != "bart":
        edit(t5(tiny) / "config.json", tie_word_embeddings=kind == "t5", scale_decoder_outputs=kind == "t5")
    head = torch.randn_like(load(tiny)[0].get_input_embeddings().weight)
    change_weights(tiny, lambda weights: {**weights, "lm_head.weight": head.detach()})
    for folder in (tiny, tiny / "saved"):
        model, tokenizer = load(folder, *TAGS)
        assert torch.equal(model.get_output_embeddings().weight[: len(head)], head)
        assert len(model.get_output_embeddings().weight) == len(tokenizer) > len(head)
        assert getattr(model.config, "scale_decoder_outputs", None) is {"bart": None, "t5": True, "t5 v1.1": False}[kind]
        encoder_decoder.save(model, tokenizer, tiny / "saved")
