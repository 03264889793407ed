"""`generation.blocked_scripts`: tokens that a model may not generate because they write letters of blocked scripts.

Tags, and words that occur in the dialogue itself (KTX, Netflix), may always be written.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

import torch
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from yoyak.config.generation_section import Script
from yoyak.data.dialogue import LISTED_TAGS, TAG
from yoyak.evaluation.foreign_letters import script_pattern

# One character of each block of punctuation and symbols that Korean texts use.
USED_SYMBOLS = set("·…‘’“”※★☆○●→①㈜℃㎏😀")


class BlockedTokens:
    """The tokens of one vocabulary that write letters of blocked scripts."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, scripts: Sequence[Script]) -> None:
        """Search the whole vocabulary once.

        Args:
            tokenizer: the tokenizer of the model. A token with only a part of a character is judged by the characters
                that start with these bytes.
            scripts: the scripts that may not be written.
        """
        self.pattern = script_pattern(tuple(scripts))
        self.tokenizer = tokenizer
        never_blocked = set(tokenizer.all_special_ids)
        never_blocked |= {
            token_id
            for token_id, token in tokenizer.added_tokens_decoder.items()
            if token.special or TAG.fullmatch(token.content)
        }
        vocabulary = range(len(tokenizer))
        texts = tokenizer.batch_decode([[token_id] for token_id in vocabulary], clean_up_tokenization_spaces=False)
        pieces = tokenizer.convert_ids_to_tokens(list(vocabulary))
        blocked = [
            token_id
            for token_id, text, piece in zip(vocabulary, texts, pieces, strict=True)
            if token_id not in never_blocked and self._writes_blocked_script(text, piece)
        ]
        self.ids = torch.tensor(blocked, dtype=torch.long)
        self.ids_in_tags = self._ids_of(LISTED_TAGS)

    def _writes_blocked_script(self, text: str, piece: str) -> bool:
        part_of_character = "\ufffd" in text and self._starts_blocked_letters(_unfinished_character(piece))
        return part_of_character or bool(self.pattern.search(text))

    def _ids_of(self, words: Iterable[str]) -> set[int]:
        """Ids of the tokens that write these words, at the start of a text and after a space."""
        forms = [form for word in words for form in (word, f" {word}")]
        rows = self.tokenizer(forms, add_special_tokens=False).input_ids if forms else []
        return {token_id for row in rows for token_id in row}

    def _starts_blocked_letters(self, start: bytes) -> bool:
        """Whether most characters that begin with these bytes are letters of blocked scripts.

        False if any other of them is a letter, or a symbol that Korean texts use.
        """
        characters = [char for char in _completions(start) if unicodedata.category(char)[0] not in "CM"]
        blocked = [char for char in characters if self.pattern.fullmatch(char)]
        others = set(characters) - set(blocked)
        needed = any(unicodedata.category(char)[0] == "L" or char in USED_SYMBOLS for char in others)
        return bool(blocked) and not needed and 2 * len(blocked) >= len(characters)

    def allowed_ids(self, dialogue: str) -> list[int]:
        """Ids of the tokens that write the tags, or words of blocked scripts that occur in this dialogue."""
        own_words = sorted(set(self.pattern.findall(TAG.sub(" ", dialogue))))
        return sorted(self.ids_in_tags | self._ids_of(own_words))

    def processor(self, dialogues: Sequence[str], *, vocabulary_size: int, device: torch.device) -> LogitsProcessor:
        """Make the logits processor of one batch. It sets the scores of blocked tokens to -inf for all beams of a row.

        Args:
            dialogues: the text of each row's dialogue. Its words are allowed in this row.
            vocabulary_size: the number of output columns of the model, which can be larger than the vocabulary.
            device: the device of the scores.
        """
        mask = torch.zeros(len(dialogues), vocabulary_size, dtype=torch.bool)
        mask[:, self.ids] = True
        for row, dialogue in enumerate(dialogues):
            mask[row, self.allowed_ids(dialogue)] = False
        return _MaskProcessor(mask.to(device))


class _MaskProcessor(LogitsProcessor):  # type: ignore[misc]
    def __init__(self, mask: torch.Tensor) -> None:
        self.mask = mask

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        beams = len(scores) // len(self.mask)
        return scores.masked_fill(self.mask.repeat_interleave(beams, 0) if beams > 1 else self.mask, -torch.inf)


@lru_cache
def _byte_of_symbol() -> dict[str, int]:
    """The byte that each symbol of a byte-level vocabulary stands for. GPT-2's table: printable bytes stand for themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _unfinished_character(piece: str) -> bytes:
    """The bytes of the unfinished UTF-8 character that a token ends with; empty if it ends with a whole one."""
    if match := re.fullmatch(r"<0x([0-9A-F]{2})>", piece):  # one byte in a SentencePiece vocabulary
        raw = bytes([int(match[1], 16)])
    else:
        table = _byte_of_symbol()
        raw = bytes(table[symbol] for symbol in piece) if all(symbol in table for symbol in piece) else b""
    for length in (1, 2, 3):
        tail = raw[-length:]
        if tail and tail[0] >= 0xC2:
            return tail if length < _utf8_length(tail[0]) else b""
    return b""


def _utf8_length(first_byte: int) -> int:
    """The number of bytes of a character that starts with this byte (RFC 3629)."""
    return 2 if first_byte < 0xE0 else 3 if first_byte < 0xF0 else 4


@lru_cache(maxsize=1024)
def _completions(start: bytes) -> tuple[str, ...]:
    """All characters whose UTF-8 form begins with `start`."""
    if not start:
        return ()
    missing = _utf8_length(start[0]) - len(start)
    head = start[0] & (0x1F if start[0] < 0xE0 else 0x0F if start[0] < 0xF0 else 0x07)
    for byte in start[1:]:
        head = head << 6 | byte & 0x3F
    shortest = {0xE0: 0x800, 0xF0: 0x10000}.get(start[0], 0)  # lower code points have a shorter form, which is the valid one
    points = range(max(head << 6 * missing, shortest), min((head + 1) << 6 * missing, 0x110000))
    return tuple(chr(point) for point in points if not 0xD800 <= point < 0xE000)
