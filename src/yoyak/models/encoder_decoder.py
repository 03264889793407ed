"""Loading and saving encoder-decoders (BART, T5, mBART), with the special token ids of their tokenizers."""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel, PreTrainedTokenizerBase

from yoyak.models.checkpoints import from_pretrained_arguments, load_config, one_line, verify_checkpoint
from yoyak.models.finite_weights import check_finite
from yoyak.models.tokenizer_loading import save_tokenizer
from yoyak.system.errors import YoyakError


def load(
    checkpoint: str, revision: str | None, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """Load an encoder-decoder, give it an embedding for every token of `tokenizer`, and correct its special token ids.

    Weights are read from safetensors, or from a .bin file by torch with weights_only.

    Args:
        checkpoint: a folder, or a name on a hub.
        revision: the commit or tag on the hub.
        tokenizer: the checkpoint's tokenizer, with added tokens.
        dtype: number format of the loaded weights.

    Raises:
        YoyakError: for a missing or damaged checkpoint, or a model of another architecture.
    """
    arguments = from_pretrained_arguments(checkpoint, revision)
    verify_checkpoint(checkpoint)
    config = load_config(arguments)
    if not config.is_encoder_decoder:
        raise YoyakError(
            f"{checkpoint}: {config.model_type} is not an encoder-decoder; set model.family: qlora to use it, "
            "or choose another checkpoint for kobart"
        )
    try:
        model, info = AutoModelForSeq2SeqLM.from_pretrained(**arguments, config=config, dtype=dtype, output_loading_info=True)
    except Exception as error:  # safetensors, torch and the hub raise exceptions of their own classes
        raise YoyakError(f"{checkpoint}: the model cannot be loaded: {one_line(error)}") from error
    if missing := sorted(info["missing_keys"]):  # transformers would fill them with random numbers
        raise YoyakError(f"{checkpoint}: {len(missing)} weights of the model are missing from its files, first {missing[0]}")
    check_finite(checkpoint, model.named_parameters())
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        _resize_embeddings(model, len(tokenizer))
    for correction in correct_special_ids(model, tokenizer):
        print(f"{checkpoint}: corrected from its tokenizer: {correction}", file=sys.stderr, flush=True)
    return model


def _resize_embeddings(model: PreTrainedModel, tokens: int) -> None:
    """Resize the embeddings without tying an output layer that is separate.

    When it resizes, transformers ties the weights if the config says so. The config of T5 says so even for checkpoints with a
    separate output layer, which would then be overwritten.
    """
    stated = model.config.tie_word_embeddings
    model.config.tie_word_embeddings = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    model.resize_token_embeddings(tokens)
    model.config.tie_word_embeddings = stated


def correct_special_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Set the special token ids of a model from its tokenizer, in place.

    KoBART's published config starts and ends the decoder with id 2. In BART's own vocabulary that is </s>, but in KoBART's it
    is <usr>. The decoder starts with </s>, as BART's does, unless the config's id is a special token of this tokenizer (T5
    starts with its padding token).

    Returns:
        One text for each id that was wrong, such as "eos_token_id 2 → 1 (</s>)".
    """
    corrections = []
    eos, pad, bos = tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id
    languages = [tokenizer.convert_tokens_to_ids(tokenizer.tgt_lang)] if getattr(tokenizer, "tgt_lang", None) else []
    start = model.config.decoder_start_token_id
    correct = {
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": pad,
        "decoder_start_token_id": start if start in {eos, pad, bos, *languages} - {None} else eos,
    }
    forced = {} if getattr(model.generation_config, "forced_eos_token_id", None) is None else {"forced_eos_token_id": eos}
    for holder, ids in ((model.config, correct), (model.generation_config, correct | forced)):
        for name, value in ids.items():
            old = getattr(holder, name, None)
            if (old[0] if isinstance(old, list) and len(old) == 1 else old) != value:
                token = "" if value is None else f" ({tokenizer.convert_ids_to_tokens(value)})"
                corrections.append(f"{name} {old} → {value}{token}")
            setattr(holder, name, value)
    if languages:
        model.generation_config.forced_bos_token_id = languages[0]
    if hasattr(model.config, "forced_eos_token_id"):
        model.config.forced_eos_token_id = None  # transformers refuses to save it here; it belongs in the generation config
    return sorted(set(corrections))


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write what `from_pretrained` loads: config, safetensors, generation config, tokenizer."""
    model.save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
