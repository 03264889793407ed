"""Loading encoder-decoders: embeddings, special token ids, and errors of damaged checkpoints."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BartConfig, BartForConditionalGeneration, LlamaConfig

from tests.conftest import DIALOGUES, SUMMARIES
from tests.models.test_checkpoints import KOBART, TAGS, edit, make_t5
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


def test_an_embedding_larger_than_the_vocabulary_is_not_shrunk(tiny: Path) -> None:
    """Some checkpoints have more rows than tokens, because a round number of rows is faster."""
    config = BartConfig.from_pretrained(tiny)
    config.vocab_size = 450
    BartForConditionalGeneration(config).save_pretrained(tiny)
    assert load(tiny)[0].config.vocab_size == 450


def test_a_float16_checkpoint_is_loaded_as_float32(tiny: Path) -> None:
    change_weights(tiny, lambda weights: {key: value.half() for key, value in weights.items()})
    edit(tiny / "config.json", dtype="float16")
    assert load(tiny)[0].dtype == torch.float32


def delete_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "the model cannot be loaded: .*no file named"),
    "cut weights": (lambda folder: os.truncate(folder / "model.safetensors", 4000), "the model cannot be loaded"),
    "empty weights": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "the model cannot be loaded"),
    "weights are text": (
        lambda folder: (folder / "model.safetensors").write_text("version https://git-lfs" * 99),
        "cannot be loaded",
    ),
    "a layer is missing": (
        lambda folder: change_weights(
            folder, lambda weights: {k: v for k, v in weights.items() if "decoder.layers.0" not in k}
        ),
        r"26 weights of the model are missing from its files, first model\.decoder\.layers\.0",
    ),
    "a weight of another shape": (
        lambda folder: change_weights(
            folder, lambda weights: weights | {"model.encoder.layers.0.fc1.weight": torch.zeros(3, 3)}
        ),
        "the model cannot be loaded",
    ),
    "decoder-only": (
        lambda folder: LlamaConfig().save_pretrained(folder),
        "llama is not an encoder-decoder; set model.family: qlora",
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), "this folder has no config.json"),
    "cut config": (lambda folder: os.truncate(folder / "config.json", 40), "cannot be loaded"),
    "config is a list": (lambda folder: (folder / "config.json").write_text("[]"), "cannot be loaded"),
    "unknown model type": (lambda folder: edit(folder / "config.json", model_type="nope"), "cannot be loaded: .*`nope`"),
    "impossible config": (lambda folder: edit(folder / "config.json", d_model=9), "cannot be loaded: .*divisible"),
    "no tokenizer": (delete_tokenizer, r"only \d+ tokens; check that its files are there"),
    "cut tokenizer": (lambda folder: os.truncate(folder / "tokenizer.json", 500), "its tokenizer cannot be loaded"),
    "tokenizer of another form": (
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        "its tokenizer cannot be loaded",
    ),
    "no eos": (lambda folder: edit(folder / "tokenizer_config.json", eos_token=None), "its tokenizer has no eos_token"),
    "no pad": (lambda folder: edit(folder / "tokenizer_config.json", pad_token=None), "its tokenizer has no pad_token"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_checkpoint_is_an_error_on_one_line(tiny: Path, name: str) -> None:
    damage, message = BROKEN[name]
    damage(tiny)
    with pytest.raises(YoyakError, match=message) as caught:
        load(tiny)
    assert str(caught.value).startswith(str(tiny))
    assert "\n" not in str(caught.value)


def test_weights_in_a_bin_file_are_loaded(tiny: Path) -> None:
    weights = load_file(tiny / "model.safetensors")
    torch.save(weights, tiny / "pytorch_model.bin")
    (tiny / "model.safetensors").unlink()
    model, _ = load(tiny)
    assert torch.equal(model.model.shared.weight, weights["model.shared.weight"])


def test_remote_code_does_not_run(tiny: Path) -> None:
    """The config names classes in a file of its own, which `trust_remote_code` would run."""
    (tiny / "own.py").write_text(f"from pathlib import Path\nPath({str(tiny / 'ran')!r}).touch()\n")
    own = {"AutoConfig": "own.Config", "AutoModelForSeq2SeqLM": "own.Model", "AutoTokenizer": "own.Tokenizer"}
    edit(tiny / "config.json", auto_map=own)
    edit(tiny / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Tokenizer", None]})
    load(tiny)
    assert not (tiny / "ran").exists()


class RunsCode:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.mkdir, (str(self.folder),)  # type: ignore[return-value]


def test_a_malicious_bin_does_not_run(tiny: Path, tmp_path: Path) -> None:
    weights: dict[str, Any] = dict(load_file(tiny / "model.safetensors"))
    torch.save(weights | {"model.shared.weight": RunsCode(tmp_path / "ran")}, tiny / "pytorch_model.bin")
    (tiny / "model.safetensors").unlink()
    with pytest.raises(YoyakError, match="the model cannot be loaded"):
        load(tiny)
    assert not (tmp_path / "ran").exists()
    torch.load(tiny / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "ran").exists()  # pickle itself would run it


def save_with_wrong_ids(folder: Path, tokenizer: Any) -> None:
    """Save a random BART with the error of KoBART's config: the decoder starts and ends with id 2."""
    config = BartConfig.from_pretrained(folder)
    config.vocab_size = len(tokenizer)
    config.decoder_start_token_id = config.forced_eos_token_id = 2
    config.eos_token_id, config.pad_token_id = 1, 3
    BartForConditionalGeneration(config).save_pretrained(folder)
    edit(folder / "config.json", decoder_start_token_id=2, forced_eos_token_id=2)
    edit(folder / "generation_config.json", decoder_start_token_id=2, forced_eos_token_id=2)


@pytest.mark.skipif(not KOBART.is_dir(), reason="no ../shared/tokenizers")
def test_wrong_special_ids_of_kobart_are_corrected_from_its_tokenizer(tiny: Path) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(KOBART), None, TAGS)
    assert tokenizer.convert_ids_to_tokens([1, 2, 3]) == ["</s>", "<usr>", "<pad>"]
    save_with_wrong_ids(tiny, tokenizer)
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
    assert start.tolist() == [[1, 9]]  # training and generation start the decoder with the same id
    encoder_decoder.save(model, tokenizer, tiny / "saved")
    again, _ = load(tiny / "saved")
    assert again.config.decoder_start_token_id == again.generation_config.decoder_start_token_id == 1


def test_each_corrected_id_is_reported(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_tokenizer_needs_no_start_token(tiny: Path) -> None:
    """T5 has none."""
    edit(tiny / "tokenizer_config.json", bos_token=None)
    model, _ = load(tiny)
    assert model.config.bos_token_id is model.generation_config.bos_token_id is None


def test_a_t5_keeps_its_decoder_start_and_can_train_and_generate(tiny: Path) -> None:
    model, tokenizer = load(make_t5(tiny), *TAGS)
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
def test_an_untied_output_layer_stays_untied(tiny: Path, kind: str) -> None:
    """T5 v1.1 and KoT5 have one, but the config says that weights are tied, so resizing would overwrite the output layer."""
    if kind != "bart":
        edit(make_t5(tiny) / "config.json", tie_word_embeddings=kind == "t5", scale_decoder_outputs=kind == "t5")
    head = torch.randn_like(load(tiny)[0].get_input_embeddings().weight)
    change_weights(tiny, lambda weights: {**weights, "lm_head.weight": head.detach()})
    for folder in (tiny, tiny / "saved"):
        model, tokenizer = load(folder, *TAGS)
        assert torch.equal(model.get_output_embeddings().weight[: len(head)], head)
        assert len(model.get_output_embeddings().weight) == len(tokenizer) > len(head)
        assert getattr(model.config, "scale_decoder_outputs", None) is {"bart": None, "t5": True, "t5 v1.1": False}[kind]
        encoder_decoder.save(model, tokenizer, tiny / "saved")
