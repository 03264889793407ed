"""LoRA adapters on disk: saving one with a record of its base, loading it on that base, and merging both into one model."""

import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from yoyak.config.model_settings import SETTINGS_FILE
from yoyak.config.sections import QuantizedCheckpoint
from yoyak.models import causal_lm
from yoyak.models.checkpoints import fingerprint, one_line, verify_checkpoint
from yoyak.models.finite_weights import check_finite
from yoyak.models.lora import compute_trained_rows_only, silence_known_warnings
from yoyak.models.tokenizer_loading import load_tokenizer, save_tokenizer
from yoyak.system import hardware
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, write_json

BASE_FILE = "base.json"  # beside the adapter: the record of the base that it belongs to


def save(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, settings: QuantizedCheckpoint, precision: str
) -> None:
    """Write the adapter (with the rows of added tokens), the tokenizer with its chat template, and the record of the base."""
    config = model.peft_config["default"]
    config.target_modules = sorted(config.target_modules)  # a set, whose order differs from process to process
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
    model.generation_config.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    record = {**settings.model_dump(), "precision": precision, "sha256": fingerprint(settings.checkpoint)}
    write_json(folder / BASE_FILE, record)


def read_base(folder: Path) -> dict[str, Any]:
    """The record of the base that the adapter in `folder` was trained on.

    Raises:
        YoyakError: if there is no complete record, or the base's folder is missing or holds another model now.
    """
    if not (folder / BASE_FILE).is_file():
        raise YoyakError(
            f"{folder}: this adapter has no {BASE_FILE}, which names the model that it was trained on; dvc repro writes both"
        )
    base: dict[str, Any] = read_json(folder / BASE_FILE)
    if missing := {*QuantizedCheckpoint.model_fields, "precision", "sha256"} - set(base):
        raise YoyakError(
            f"{folder / BASE_FILE}: {', '.join(sorted(missing))} is missing; the file is damaged, or of another version"
        )
    checkpoint = base["checkpoint"]
    if base["sha256"] and not Path(checkpoint).is_dir():
        raise YoyakError(
            f"{folder}: the folder {checkpoint} of its base is not here; run the command from the folder that contains it"
        )
    if (now := fingerprint(checkpoint)) and now != base["sha256"]:
        changed = sorted(name for name in {**now, **base["sha256"]} if now.get(name) != base["sha256"].get(name))
        raise YoyakError(
            f"{folder}: {checkpoint} has changed since this adapter was trained on it ({', '.join(changed)} differ). "
            "Train the adapter again, or restore the base"
        )
    return base


def check_base(folder: Path, base: Mapping[str, Any], expected: QuantizedCheckpoint) -> None:
    """Check that an adapter belongs to the base that params name.

    Args:
        folder: the folder of the adapter, for the message.
        base: the record of its base (`read_base`).
        expected: section `model.qlora` of params.yaml.

    Raises:
        YoyakError: if the checkpoint or the revision differs.
    """
    for name in ("checkpoint", "revision"):
        if base[name] != getattr(expected, name):
            raise YoyakError(
                f"{folder}: this adapter belongs to {base['checkpoint']} (revision {base['revision']}), but model.qlora.{name} "
                f"is {getattr(expected, name)}. Run dvc repro, or set the param back"
            )


def load(
    folder: Path, *, expected_base: QuantizedCheckpoint | None = None
) -> tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]:
    """Load a trained adapter on its own base, ready to write summaries.

    On a GPU the base stays quantized. On a CPU every matrix product would dequantize its weights again. So there the base
    is dequantized once and the adapter is merged into it, if that takes at most half of the machine's memory. The values
    are the same, and writing is faster.

    Args:
        folder: the output of training.
        expected_base: section `model.qlora` of params.yaml; None accepts any base.

    Raises:
        YoyakError: if the base is not the expected one or has changed, or if a file is missing or damaged.
    """
    base = read_base(folder)
    settings = _settings_of(base)
    if expected_base:
        check_base(folder, base, expected_base)
        settings = expected_base
    precision = hardware.supported_precision(base["precision"])
    tokenizer = load_tokenizer(str(folder), None, ())
    model, _ = causal_lm.load(settings, tokenizer, precision=precision)
    if model.device.type == "cpu" and model.num_parameters() * 4 <= hardware.memory_bytes().total / 2:
        return _merge_adapter(model, folder, settings, precision), tokenizer
    return attach(model, folder), tokenizer


def _settings_of(base: Mapping[str, Any]) -> QuantizedCheckpoint:
    return QuantizedCheckpoint(**{name: base[name] for name in QuantizedCheckpoint.model_fields})


def _merge_adapter(model: PreTrainedModel, folder: Path, settings: QuantizedCheckpoint, precision: str) -> PreTrainedModel:
    """Dequantize `model` and add the adapter in `folder` to its weights."""
    generation_config = model.generation_config
    silence_known_warnings()
    if settings.quantization != "none":
        model = model.dequantize(dtype=getattr(torch, precision))
    merged: PreTrainedModel = attach(model, folder).merge_and_unload()
    merged.generation_config = generation_config
    return merged


def attach(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Return `model` with the adapter in `folder`, in eval mode. YoyakError if the adapter does not fit or is damaged."""
    silence_known_warnings()
    verify_checkpoint(str(folder))
    try:
        tuned = PeftModel.from_pretrained(model, str(folder))
    except Exception as error:  # safetensors, json, torch and peft raise exceptions of their own classes
        raise YoyakError(f"{folder}: the adapter cannot be loaded: {one_line(error)}") from error
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        weights = get_peft_model_state_dict(tuned, save_embedding_layers=False)
        missing = set(weights) - set(file.keys())
    if missing:  # peft would keep their initial values
        raise YoyakError(f"{folder}: {len(missing)} weights of the adapter are missing, first {min(missing)}")
    check_finite(str(folder), weights.items())
    compute_trained_rows_only(tuned)
    tuned.eval()
    return tuned


def merge(folder: Path, output: Path) -> None:
    """Write an adapter and its base as one checkpoint, which needs neither peft nor bitsandbytes.

    The base is quantized first, as it was in training, and then dequantized. So the merged model computes with the same
    weights that the adapter was trained on, and writes the same text.

    Raises:
        YoyakError: as `load` does.
    """
    base = read_base(folder)
    settings, precision = _settings_of(base), base["precision"]
    tokenizer = load_tokenizer(str(folder), None, ())
    model, _ = causal_lm.load(settings, tokenizer, precision=precision)
    merged = _merge_adapter(model, folder, settings, precision)
    merged.save_pretrained(output)
    _name_rope_as_version_4_does(output / "config.json")
    save_tokenizer(tokenizer, output)
    for name in ("generation_config.json", SETTINGS_FILE):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, output / name)
    print(f"merged: {merged.num_parameters():,} parameters, {precision}", file=sys.stderr, flush=True)


def save_merged(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, settings: QuantizedCheckpoint, precision: str
) -> None:
    """Write a trained adapter and its base as one checkpoint. The base is loaded once more for it.

    Args:
        model: as `save` takes it, and the other arguments too.
        folder: an empty folder.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".adapter.") as adapter:
        save(model, tokenizer, Path(adapter), settings=settings, precision=precision)
        merge(Path(adapter), folder)


def _name_rope_as_version_4_does(path: Path) -> None:
    """Add the names of transformers 4 for rotary positions to a config.json. It would use other positions without them."""
    config: dict[str, Any] = read_json(path)
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope:
        scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
        config |= {"rope_theta": rope["rope_theta"], "rope_scaling": None if rope.get("rope_type") == "default" else scaling}
        write_json(path, config)
