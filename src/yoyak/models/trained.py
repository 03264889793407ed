"""What training wrote, of either family, ready to write summaries."""

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from yoyak.config.sections import QuantizedCheckpoint
from yoyak.models import encoder_decoder
from yoyak.models.checkpoints import config_of, load_tokenizer, locate, verify_folder
from yoyak.system import hardware
from yoyak.system.errors import YoyakError


def load(folder: Path, *, base: QuantizedCheckpoint | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An encoder-decoder, an adapter with its base, or that merged; on the GPU where there is one.

    Raises:
        YoyakError: if the folder holds no model, as after a stage that had nothing to do; or an adapter to another base
            than `base`, if given.
    """
    hardware.enable_tf32()
    verify_folder(str(folder), weights=False)
    if (folder / "adapter_config.json").is_file():
        from yoyak.models import lora  # peft is slow to import: only where it is needed

        return lora.load(folder, wanted=base)
    if not (folder / "config.json").is_file():
        raise YoyakError(f"{folder}: no trained model here; run dvc repro (model.family chooses which one is trained)")
    tokenizer = load_tokenizer(str(folder), None, ())
    if config_of(locate(str(folder), None)).is_encoder_decoder:
        return encoder_decoder.load(str(folder), None, tokenizer).to(hardware.default_device()), tokenizer
    from yoyak.models import lora

    return lora.load_merged(folder, tokenizer), tokenizer
