"""Encoder-decoders in and out of folders and hubs, with the special ids of their tokenizers."""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel, PreTrainedTokenizerBase

from yoyak.models.checkpoints import config_of, locate, short, verify_folder
from yoyak.system.errors import YoyakError


def load(
    checkpoint: str, revision: str | None, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """An encoder-decoder with embeddings for every token of `tokenizer`, and with that tokenizer's ids in its config.

    Weights are safetensors, or a .bin through torch's weights_only loader.

    Raises:
        YoyakError: for a missing or damaged checkpoint, or one of another architecture.
    """
    where = locate(checkpoint, revision)
    verify_folder(checkpoint)
    config = config_of(where)
    if not config.is_encoder_decoder:
        raise YoyakError(
            f"{checkpoint}: {config.model_type} is no encoder-decoder; choose model.family: qlora for it "
            "(or another checkpoint for kobart)"
        )
    try:
        model, info = AutoModelForSeq2SeqLM.from_pretrained(**where, config=config, dtype=dtype, output_loading_info=True)
    except Exception as error:  # safetensors, torch and the hub each raise their own kinds
        raise YoyakError(f"{checkpoint}: the model cannot be loaded: {short(error)}") from error
    if missing := sorted(info["missing_keys"]):  # transformers would go on with random numbers in their place
        raise YoyakError(f"{checkpoint}: {len(missing)} weights of the model are missing from its files, first {missing[0]}")
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        _resize(model, len(tokenizer))
    for correction in correct_ids(model, tokenizer):
        print(f"{checkpoint}: corrected from its tokenizer: {correction}", file=sys.stderr, flush=True)
    return model


def _resize(model: PreTrainedModel, tokens: int) -> None:
    """Resizing ties what the config says is tied; T5's says so also where a checkpoint has an output layer of its own."""
    says = model.config.tie_word_embeddings
    model.config.tie_word_embeddings = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    model.resize_token_embeddings(tokens)
    model.config.tie_word_embeddings = says


def correct_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Set the special ids of `model` from its tokenizer, and say what was wrong.

    KoBART's published config starts and ends the decoder with 2, which is <usr>: that comes from BART's own vocabulary,
    where 2 is </s>. The decoder starts with </s> as BART's does, unless the config's id is one of the tokenizer's own
    (T5 starts with its padding).
    """
    corrections = []
    eos, pad, bos = tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id
    languages = [tokenizer.convert_tokens_to_ids(tokenizer.tgt_lang)] if getattr(tokenizer, "tgt_lang", None) else []
    start = model.config.decoder_start_token_id
    wanted = {
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": pad,
        "decoder_start_token_id": start if start in {eos, pad, bos, *languages} - {None} else eos,
    }
    forced = {} if getattr(model.generation_config, "forced_eos_token_id", None) is None else {"forced_eos_token_id": eos}
    for holder, ids in ((model.config, wanted), (model.generation_config, wanted | forced)):
        for name, value in ids.items():
            old = getattr(holder, name, None)
            if (old[0] if isinstance(old, list) and len(old) == 1 else old) != value:
                token = "" if value is None else f" ({tokenizer.convert_ids_to_tokens(value)})"
                corrections.append(f"{name} {old} → {value}{token}")
            setattr(holder, name, value)
    if languages:
        model.generation_config.forced_bos_token_id = languages[0]
    if hasattr(model.config, "forced_eos_token_id"):
        model.config.forced_eos_token_id = None  # a generation setting; transformers refuses to save it here
    return sorted(set(corrections))


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """What `from_pretrained` loads: config, safetensors, generation config, tokenizer."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
