"""Loading and saving a tokenizer so that tags are single tokens and decoding gives back the text that was encoded."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from yoyak.models.checkpoints import from_pretrained_arguments, one_line, verify_checkpoint
from yoyak.models.hub import check_hub
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, write_json

T5_PRE_TOKENIZERS = [pre_tokenizers.WhitespaceSplit, pre_tokenizers.Metaspace]
# If files are missing, transformers builds an empty tokenizer with five tokens. Any real vocabulary has more than 50.
SMALLEST_VOCABULARY = 50


def load_tokenizer(
    checkpoint: str, revision: str | None, special_tokens: Sequence[str], *, pad_with_eos: bool = False
) -> PreTrainedTokenizerBase:
    """Load a tokenizer and add `special_tokens`, each as one token that decoding keeps.

    Args:
        checkpoint: a folder, or a name on a hub.
        revision: the commit or tag on the hub.
        special_tokens: texts that become one token each, if the tokenizer does not have them yet.
        pad_with_eos: use the end-of-text token for padding if the tokenizer has no padding token. This is correct for
            decoder-only models, whose labels are masked by position and not by token id.

    Raises:
        YoyakError: if the tokenizer cannot be loaded, has no end-of-text or padding token, has too few tokens (a file is
            missing), or does not end texts with its end-of-text token (mBART before mBART-50).
    """
    arguments = from_pretrained_arguments(checkpoint, revision)
    verify_checkpoint(checkpoint, weights=False)
    check_hub(checkpoint, revision)
    tokenizer = _from_pretrained(checkpoint, arguments)
    if pad_with_eos and tokenizer.pad_token is None and tokenizer.eos_token is not None:
        print(
            f"{checkpoint}: the tokenizer has no padding token; {tokenizer.eos_token} is used for it",
            file=sys.stderr,
            flush=True,
        )
        tokenizer.pad_token = tokenizer.eos_token
    for name in ("eos_token", "pad_token"):
        if getattr(tokenizer, name) is None:
            raise YoyakError(f"{checkpoint}: its tokenizer has no {name}; set one in its tokenizer_config.json")
    if len(tokenizer) < SMALLEST_VOCABULARY:
        raise YoyakError(
            f"{checkpoint}: its tokenizer has only {len(tokenizer)} tokens; check that its files are there (tokenizer.json)"
        )
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in special_tokens])
    _keep_spacing_at_tags(tokenizer)
    if hasattr(tokenizer, "tgt_lang") and "ko_KR" in tokenizer.get_vocab():  # mBART generates the language of this token
        tokenizer.src_lang = tokenizer.tgt_lang = "ko_KR"
        if tokenizer.suffix_tokens != [tokenizer.eos_token_id]:  # the first mBART puts the language token after the text
            raise YoyakError(f"{checkpoint}: its texts do not end with {tokenizer.eos_token}; use an mBART-50 checkpoint")
    tokenizer.model_max_length = int(1e9)  # yoyak limits lengths itself; without this, long texts print a warning
    return tokenizer


def add_words(tokenizer: PreTrainedTokenizerBase, words: Sequence[str]) -> None:
    """Make each word one token, in place (`tokenizer.new_tokens`)."""
    if words:
        tokenizer.add_tokens([AddedToken(word, special=False, normalized=False) for word in words])


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a tokenizer that transformers 4 and 5 load.

    transformers 5 names a class that 4 does not have, gives the list of further special tokens another name, and adds how the
    tokenizer was loaded.
    """
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = {key: value for key, value in read_json(path).items() if key not in ("backend", "is_local", "local_files_only")}
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    write_json(path, config)


def _from_pretrained(checkpoint: str, arguments: dict[str, Any]) -> PreTrainedTokenizerBase:
    """Load by AutoTokenizer, or from tokenizer.json alone if the class that the checkpoint names does not fit.

    KoT5 names T5Tokenizer, which transformers builds only for Unigram models, but its tokenizer is a byte-level BPE.
    """
    try:
        return AutoTokenizer.from_pretrained(**arguments)
    except Exception as error:  # the tokenizers library raises plain Exception, and a damaged file any class
        if isinstance(error, TypeError):
            with suppress(Exception):
                tokenizer = PreTrainedTokenizerFast.from_pretrained(**arguments)
                print(
                    f"{checkpoint}: its tokenizer does not fit the class that it names; tokenizer.json is used alone",
                    file=sys.stderr,
                )
                return tokenizer
        raise YoyakError(f"{checkpoint}: its tokenizer cannot be loaded: {one_line(error)}") from error


def _keep_spacing_at_tags(tokenizer: PreTrainedTokenizerBase) -> None:
    """Make "#Person1#은" decode to the same text, without a space after the tag.

    A Metaspace pre-tokenizer (KoBART, T5) puts a space before every piece between added tokens, so "#Person1#은" would be
    decoded as "#Person1# 은". Only the start of a text needs that space, so the scheme becomes "first". T5 also has a
    pre-tokenizer that splits at white space and drops it. With the scheme "first", all other spaces would then be lost. So that
    pre-tokenizer is removed, and a normalizer turns white space into single spaces, at which Metaspace splits.
    """
    backend = tokenizer.backend_tokenizer
    pre_tokenizer = backend.pre_tokenizer
    parts: Any = pre_tokenizer if isinstance(pre_tokenizer, pre_tokenizers.Sequence) else []
    if [type(part) for part in parts] == T5_PRE_TOKENIZERS:
        pre_tokenizer = backend.pre_tokenizer = parts[1]
        spaces = normalizers.Replace(Regex(r"\s+"), " ")
        backend.normalizer = normalizers.Sequence([backend.normalizer, spaces] if backend.normalizer else [spaces])
    if isinstance(pre_tokenizer, pre_tokenizers.Metaspace) and pre_tokenizer.prepend_scheme == "always":
        pre_tokenizer.prepend_scheme = "first"
        backend.pre_tokenizer = pre_tokenizer
