"""Counting the tokens of messages to a chat model: by its tokenizer, or by an estimate where that is not known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from yoyak.system.errors import YoyakError

BYTES_PER_TOKEN = 3  # of UTF-8: a Korean letter. The tokenizers of Qwen3 and KoBART need 0.76 to 0.91 of the estimate
TOKENS_PER_MESSAGE = 8  # for what a chat template writes around a message
TEMPLATE_SHARE, TEMPLATE_TOKENS = 0.05, 32  # by which the server may count more than the tokenizer here

Messages = Sequence[Mapping[str, str]]


def estimate_tokens(text: str) -> int:
    """One token for every three bytes."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens with a tokenizer, or estimates them without one."""

    tokenizer: Any = None

    @classmethod
    def load(cls, folder: str | None, *, section: str = "model.endpoint") -> Self:
        """A counter with the tokenizer of a folder; None for the estimate. `section` of the params is for messages.

        Raises:
            YoyakError: if the folder has no tokenizer.json that can be read.
        """
        if folder is None:
            return cls()
        from tokenizers import Tokenizer

        path = Path(folder, "tokenizer.json")
        if not path.is_file():
            raise YoyakError(f"{section}.tokenizer: {path}: no such file; leave the param empty for an estimate")
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # the Rust library raises Exception itself
            raise YoyakError(f"{section}.tokenizer: {path}: not a tokenizer ({error})") from None

    @property
    def how(self) -> str:
        """How tokens are counted, for messages."""
        return "counted by the tokenizer" if self.tokenizer else "estimated: one for three bytes of UTF-8, a Korean letter"

    def count(self, messages: Messages) -> int:
        texts = [message["content"] for message in messages]
        if self.tokenizer is None:
            counts = [estimate_tokens(text) for text in texts]
        else:
            counts = [len(encoding.ids) for encoding in self.tokenizer.encode_batch(texts, add_special_tokens=False)]
        return sum(counts) + TOKENS_PER_MESSAGE * len(texts)

    def at_most(self, messages: Messages) -> int:
        """A number of tokens that no request needs more of, for the budget.

        A tokenizer of bytes needs at most one token for each byte.
        """
        if self.tokenizer is None:
            return sum(len(message["content"].encode()) + TOKENS_PER_MESSAGE for message in messages) + TEMPLATE_TOKENS
        return int(self.count(messages) * (1 + TEMPLATE_SHARE)) + TEMPLATE_TOKENS
