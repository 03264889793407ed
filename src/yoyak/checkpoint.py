"""Models and tokenizers in and out of folders and hubs. Nothing but this and adapter.py loads or saves weights."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from yoyak.errors import YoyakError
from yoyak.files import SUMS, verify
from yoyak.params import Generation, Tokenizer

FEWEST_TOKENS = 50  # of a vocabulary; letters or bytes alone are more, a made-up one has five


def locate(checkpoint: str, revision: str | None) -> dict[str, Any]:
    """The arguments that every `from_pretrained` gets: no remote code, and a hub name only with a pinned revision.

    Raises:
        YoyakError: if `checkpoint` is no folder and has no revision, or is a folder without config.json (or an adapter's).
    """
    if Path(checkpoint).is_dir():
        if not any((Path(checkpoint) / name).is_file() for name in ("config.json", "adapter_config.json")):
            raise YoyakError(f"{checkpoint}: no config.json in this folder; it holds no checkpoint")
        return {"pretrained_model_name_or_path": checkpoint, "trust_remote_code": False}
    if revision in (None, "main", "master", "HEAD"):
        raise YoyakError(
            f"model checkpoint {checkpoint!r}: no such folder. For a name on a hub, say which state of it you mean by "
            "`revision` beside `checkpoint` in params.yaml (a commit or a tag, not a branch that moves on)"
        )
    return {"pretrained_model_name_or_path": checkpoint, "revision": revision, "trust_remote_code": False}


def verify_folder(checkpoint: str, *, weights: bool = True) -> None:
    """YoyakError naming the file, if a folder that says what its files are (SHA256SUMS) has another one, or lacks one.

    Weights are large: who does not load them leaves their contents to who does.
    """
    if (Path(checkpoint) / SUMS).is_file():
        verify(Path(checkpoint), but=() if weights else (".safetensors", ".bin"))


def load_tokenizer(
    checkpoint: str, revision: str | None, special_tokens: Sequence[str], *, pad_with_eos: bool = False
) -> PreTrainedTokenizerBase:
    """The tokenizer with `special_tokens` as single tokens that decoding keeps.

    With `pad_with_eos`, one without padding takes its end of text for it: right for decoder-only models, whose labels are
    masked by place and not by id.

    Raises:
        YoyakError: if it cannot be loaded, or has no end-of-text or padding token.
    """
    where = locate(checkpoint, revision)
    verify_folder(checkpoint, weights=False)
    try:
        tokenizer = AutoTokenizer.from_pretrained(**where)
    except Exception as error:  # the tokenizers library raises plain Exception, and a damaged file any kind
        raise YoyakError(f"{checkpoint}: its tokenizer cannot be loaded: {short(error)}") from error
    if pad_with_eos and tokenizer.pad_token is None and tokenizer.eos_token is not None:
        print(f"{checkpoint}: no padding token; its end of text {tokenizer.eos_token} serves", file=sys.stderr, flush=True)
        tokenizer.pad_token = tokenizer.eos_token
    for name in ("eos_token", "pad_token"):
        if getattr(tokenizer, name) is None:
            raise YoyakError(f"{checkpoint}: its tokenizer has no {name}; set one in its tokenizer_config.json")
    if len(tokenizer) < FEWEST_TOKENS:  # without tokenizer files, transformers makes up an empty one
        raise YoyakError(f"{checkpoint}: its tokenizer has only {len(tokenizer)} tokens; are its files there (tokenizer.json)?")
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in special_tokens])
    _keep_spacing_at_tags(tokenizer)
    if hasattr(tokenizer, "tgt_lang") and "ko_KR" in tokenizer.get_vocab():  # mBART writes the language it is told
        tokenizer.src_lang = tokenizer.tgt_lang = "ko_KR"
    tokenizer.model_max_length = int(1e9)  # lengths are ours to count; otherwise long texts warn
    return tokenizer


def lengths_of(family: str, tokenizer: Tokenizer, generation: Generation | None) -> dict[str, int]:
    """What must fit a model's positions, in tokens by the params' names. A decoder-only model reads and writes in one row."""
    read = tokenizer.max_input_length
    written = {"max_target_length": tokenizer.max_target_length}
    if generation:
        written["generation.max_new_tokens"] = generation.max_new_tokens
    if family == "qlora":
        return {f"tokenizer.max_input_length + {name}": read + length for name, length in written.items()}
    named = {name if "." in name else f"tokenizer.{name}": length for name, length in written.items()}
    return {"tokenizer.max_input_length": read, **named}


def check_lengths(checkpoint: str, revision: str | None, lengths: Mapping[str, int]) -> None:
    """YoyakError naming the param, if the model has no positions for one of the `lengths` (params' names to tokens)."""
    check_positions(config_of(locate(checkpoint, revision)), checkpoint, lengths)


def check_positions(config: PreTrainedConfig, checkpoint: str, lengths: Mapping[str, int]) -> None:
    """The same of a config."""
    positions = getattr(config, "max_position_embeddings", None)
    for name, length in lengths.items():
        if positions is not None and length > positions:
            raise YoyakError(f"{name}: {length} is more than the {positions} positions of {checkpoint}")


def config_of(where: dict[str, Any]) -> PreTrainedConfig:
    """config.json of a checkpoint. YoyakError if it cannot be had."""
    try:
        return AutoConfig.from_pretrained(**where)
    except Exception as error:  # a damaged file raises any kind
        name = where["pretrained_model_name_or_path"]
        raise YoyakError(f"{name}: its config.json cannot be loaded: {short(error)}") from error


def _keep_spacing_at_tags(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let "#Person1#은" come back as it was.

    A Metaspace pre-tokenizer (KoBART, T5) puts a space before each piece between added tokens, so that decoding gives
    "#Person1# 은". Only the text's start needs one.
    """
    before = tokenizer.backend_tokenizer.pre_tokenizer
    parts = [*before] if isinstance(before, pre_tokenizers.Sequence) else [before]  # type: ignore[misc]
    for part in parts:
        if isinstance(part, pre_tokenizers.Metaspace) and part.prepend_scheme == "always":
            part.prepend_scheme = "first"


def load_seq2seq(
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
        model.resize_token_embeddings(len(tokenizer))
    for correction in correct_ids(model, tokenizer):
        print(f"{checkpoint}: corrected from its tokenizer: {correction}", file=sys.stderr, flush=True)
    return model


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


def short(error: BaseException) -> str:
    """The first sentence of another library's message, on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
