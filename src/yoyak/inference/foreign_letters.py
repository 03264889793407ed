"""Letters of scripts that Korean summaries do not use: blocking them while a model writes, and counting those it wrote.

Tags, and words that stand in the dialogue itself (KTX, Netflix), are no foreign letters.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

import torch
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from yoyak.config.sections import Script
from yoyak.data.dialogue import LISTED_TAGS, TAG

# Letters by Unicode's blocks; "other" is every letter that is in none of these and is not Hangul.
RANGES = {
    "latin": "A-Za-zªºÀ-ÖØ-öø-ɏḀ-ỿＡ-Ｚａ-ｚ",
    "han": "々〆〇⺀-⿕㐀-䶿一-鿿\uf900-\ufad9\U00020000-\U000323af",
    "kana": "ぁ-ゖゝ-ヺー-ヿㇰ-ㇿｦ-ﾟ",
}
HANGUL = "ᄀ-ᇿㄱ-ㆎꥠ-ꥼ가-힣ힰ-ퟻﾠ-ￜ"
USED_SYMBOLS = set("·…‘’“”※★☆○●→①㈜℃㎏😀")  # one of each block of marks and signs that Korean texts have
ALL: tuple[Script, ...] = ("latin", "han", "kana", "other")


@lru_cache
def _letters() -> str:
    """All of Unicode's letters, as ranges for a pattern: what Python's \\w has beside them are numbers (², Ⅲ)."""
    points = [point for point in range(0x110000) if unicodedata.category(chr(point))[0] == "L"]
    starts = [point for at, point in enumerate(points) if not at or points[at - 1] != point - 1]
    ends = [point for at, point in enumerate(points) if at + 1 == len(points) or points[at + 1] != point + 1]
    return "".join(f"\\U{start:08x}-\\U{end:08x}" for start, end in zip(starts, ends, strict=True))


@lru_cache
def runs_of(scripts: tuple[Script, ...]) -> re.Pattern[str]:
    """Matches a run of letters of these scripts."""
    classes = [f"[{RANGES[name]}]" for name in scripts if name != "other"]
    if "other" in scripts:
        classes.append(rf"(?![{HANGUL}{''.join(RANGES.values())}])[{_letters()}]")
    return re.compile(f"(?:{'|'.join(classes)})+")


def count(texts: Sequence[str], dialogues: Sequence[str]) -> dict[str, float]:
    """`foreign_share`: foreign letters over all characters but spaces and tags; `with_foreign`: texts that have any."""
    letters = characters = with_foreign = 0
    for text, dialogue in zip(texts, dialogues, strict=True):
        known = {run.casefold() for run in runs_of(ALL).findall(TAG.sub(" ", dialogue))}
        bare = TAG.sub(" ", text)
        foreign = [run for run in runs_of(ALL).findall(bare) if run.casefold() not in known]
        letters += sum(map(len, foreign))
        characters += sum(not char.isspace() for char in bare)
        with_foreign += bool(foreign)
    return {"foreign_share": round(letters / max(1, characters), 6), "with_foreign": with_foreign}


class Blocked:
    """The tokens of a vocabulary that would write letters of some scripts, found once."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, scripts: Sequence[Script]) -> None:
        """`scripts` are what may not be written. Tokens of half a character count by what it can become."""
        self.runs = runs_of(tuple(scripts))
        self.tokenizer = tokenizer
        ids: list[int] = []
        never = set(tokenizer.all_special_ids)
        never |= {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special or TAG.fullmatch(token.content)}
        vocabulary = range(len(tokenizer))
        texts = tokenizer.batch_decode([[id_] for id_ in vocabulary], clean_up_tokenization_spaces=False)
        pieces = tokenizer.convert_ids_to_tokens(list(vocabulary))
        for id_, text, piece in zip(vocabulary, texts, pieces, strict=True):
            half = "\ufffd" in text and self._only_foreign(_half_character(piece))
            if id_ not in never and (half or self.runs.search(text)):
                ids.append(id_)
        self.ids = torch.tensor(ids, dtype=torch.long)
        self.in_tags = self._written(LISTED_TAGS)

    def _written(self, words: Iterable[str]) -> set[int]:
        """The tokens that these words are written with, alone and behind a space."""
        forms = [form for word in words for form in (word, f" {word}")]
        return {id_ for row in self.tokenizer(forms, add_special_tokens=False).input_ids for id_ in row} if forms else set()

    def _only_foreign(self, half: bytes) -> bool:
        """Whether what starts with these bytes is mostly letters of blocked scripts, and nothing that Korean texts use."""
        written = [char for char in _completions(half) if unicodedata.category(char)[0] not in "CM"]
        foreign = [char for char in written if self.runs.fullmatch(char)]
        other = set(written) - set(foreign)
        wanted = any(unicodedata.category(char)[0] == "L" or char in USED_SYMBOLS for char in other)
        return bool(foreign) and not wanted and 2 * len(foreign) >= len(written)

    def allowed(self, dialogue: str) -> list[int]:
        """The tokens that this dialogue's own words, and the tags, are written with."""
        return sorted(self.in_tags | self._written(sorted(set(self.runs.findall(TAG.sub(" ", dialogue))))))

    def processor(self, dialogues: Sequence[str], *, columns: int, device: torch.device) -> LogitsProcessor:
        """For one batch: a (dialogues, columns) mask over the vocabulary, laid over each row's scores."""
        mask = torch.zeros(len(dialogues), columns, dtype=torch.bool)
        mask[:, self.ids] = True
        for row, dialogue in enumerate(dialogues):
            mask[row, self.allowed(dialogue)] = False
        return _Mask(mask.to(device))


class _Mask(LogitsProcessor):  # type: ignore[misc]
    def __init__(self, mask: torch.Tensor) -> None:
        self.mask = mask

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        beams = len(scores) // len(self.mask)
        return scores.masked_fill(self.mask.repeat_interleave(beams, 0) if beams > 1 else self.mask, -torch.inf)


@lru_cache
def _byte_of_symbol() -> dict[str, int]:
    """The byte that each symbol of a byte-level vocabulary stands for (GPT-2's table: printable ones for themselves)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + at): byte for at, byte in enumerate(others)}


def _half_character(piece: str) -> bytes:
    """The bytes of the unfinished character that a token ends with; none if it does not end with one."""
    if match := re.fullmatch(r"<0x([0-9A-F]{2})>", piece):  # a byte of a SentencePiece vocabulary
        raw = bytes([int(match[1], 16)])
    else:
        table = _byte_of_symbol()
        raw = bytes(table[symbol] for symbol in piece) if all(symbol in table for symbol in piece) else b""
    for length in (1, 2, 3):
        tail = raw[-length:]
        if tail and tail[0] >= 0xC2:
            return tail if length < (2 if tail[0] < 0xE0 else 3 if tail[0] < 0xF0 else 4) else b""
    return b""


@lru_cache(maxsize=1024)
def _completions(half: bytes) -> tuple[str, ...]:
    """The characters whose UTF-8 starts with `half`."""
    if not half:
        return ()
    missing = (2 if half[0] < 0xE0 else 3 if half[0] < 0xF0 else 4) - len(half)
    head = half[0] & (0x1F if half[0] < 0xE0 else 0x0F if half[0] < 0xF0 else 0x07)
    for byte in half[1:]:
        head = head << 6 | byte & 0x3F
    shortest = {0xE0: 0x800, 0xF0: 0x10000}.get(half[0], 0)  # below, a shorter form is the only valid one
    points = range(max(head << 6 * missing, shortest), min((head + 1) << 6 * missing, 0x110000))
    return tuple(chr(point) for point in points if not 0xD800 <= point < 0xE000)
