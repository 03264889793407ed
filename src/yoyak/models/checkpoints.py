"""Checkpoints in folders and on hubs: where they lie, their config and tokenizer. Weights are seq2seq.py's and adapter.py's, so
that who only tokenizes imports no model."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, normalizers, pre_tokenizers
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from yoyak.config.sections import Generation, Tokenizer
from yoyak.system.checksums import CHECKSUMS_FILE
from yoyak.system.errors import YoyakError
from yoyak.system.integrity import verify_checksums

SPLIT_AND_MARKED = [pre_tokenizers.WhitespaceSplit, pre_tokenizers.Metaspace]
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
    if (Path(checkpoint) / CHECKSUMS_FILE).is_file():
        verify_checksums(Path(checkpoint), presence_only=() if weights else (".safetensors", ".bin"))


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
    tokenizer = _tokenizer(checkpoint, where)
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
        if tokenizer.suffix_tokens != [tokenizer.eos_token_id]:  # the first mBART's: the language stands after the text
            raise YoyakError(f"{checkpoint}: its texts do not end with {tokenizer.eos_token}; use an mBART-50 checkpoint")
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


def _tokenizer(checkpoint: str, where: dict[str, Any]) -> PreTrainedTokenizerBase:
    """transformers makes a T5Tokenizer for Unigram alone; KoT5's, which names that class, is a byte-level BPE."""
    try:
        return AutoTokenizer.from_pretrained(**where)
    except Exception as error:  # the tokenizers library raises plain Exception, and a damaged file any kind
        if isinstance(error, TypeError):
            with suppress(Exception):
                tokenizer = PreTrainedTokenizerFast.from_pretrained(**where)
                print(f"{checkpoint}: its tokenizer is not of the class that it names; tokenizer.json is read", file=sys.stderr)
                return tokenizer
        raise YoyakError(f"{checkpoint}: its tokenizer cannot be loaded: {short(error)}") from error


def _keep_spacing_at_tags(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let "#Person1#은" come back as it was.

    A Metaspace pre-tokenizer (KoBART, T5) puts a space before each piece between added tokens, so that decoding gives
    "#Person1# 은". Only the text's start needs one. T5's splits at white space before that, and drops it: with a space at
    the start alone, all others would be lost, so here white space becomes a space, where Metaspace splits by itself.
    """
    backend = tokenizer.backend_tokenizer
    before = backend.pre_tokenizer
    if isinstance(before, pre_tokenizers.Sequence) and [type(part) for part in before] == SPLIT_AND_MARKED:  # type: ignore[attr-defined]
        before = backend.pre_tokenizer = before[1]
        spaces = normalizers.Replace(Regex(r"\s+"), " ")
        backend.normalizer = normalizers.Sequence([backend.normalizer, spaces] if backend.normalizer else [spaces])
    if isinstance(before, pre_tokenizers.Metaspace) and before.prepend_scheme == "always":
        before.prepend_scheme = "first"
        backend.pre_tokenizer = before


def short(error: BaseException) -> str:
    """The first sentence of another library's message, on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
