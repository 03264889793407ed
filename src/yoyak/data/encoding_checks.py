"""What both ways of encoding count, neutralize and refuse."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from yoyak.system.errors import YoyakError
from yoyak.system.text_files import counted

Columns = dict[str, list[Any]]  # a batch of rows by column

MAX_EXAMPLES = 20  # characters in metrics/tokenize.json
_CONTROL_FORM = re.compile(r"<[^<>\s]+>|\[[^\[\]\s]+\]")
# Columns with characters of each row, as one text. Their names do not start as the columns with numbers do.
CHARACTERS = "_characters_"


def neutralize(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """`text` in which no control token of the model is left: "</s>" becomes "< /s>", which is read as ordinary text.

    A user who writes "</s>" would otherwise end the dialogue there, and "<|im_start|>" would start a message of another role.
    """
    if "<" not in text and "[" not in text:
        return text
    return _control_pattern(tokenizer).sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)


def count_control_tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """How many places `neutralize` changes."""
    return len(_control_pattern(tokenizer).findall(text)) if "<" in text or "[" in text else 0


def _control_pattern(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """A pattern of the tokenizer's control tokens. Words, emoji and our tags that are added tokens too are not among them."""
    tokens = {token.content for token in tokenizer.added_tokens_decoder.values()} | set(tokenizer.all_special_tokens)
    control = sorted(filter(_CONTROL_FORM.fullmatch, tokens), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, control)) or r"(?!)")


def count_unknown(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> int:
    """The number of unknown tokens. A tokenizer that uses its end of text as the unknown token knows every text."""
    return 0 if tokenizer.unk_token_id == tokenizer.eos_token_id else ids.count(tokenizer.unk_token_id)


def unknown_characters(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """The different characters of `text` that the tokenizer does not know."""
    characters = [char for char in dict.fromkeys(text) if not char.isspace()]
    return "".join(char for char in characters if tokenizer.unk_token_id in tokenizer(char, add_special_tokens=False).input_ids)


def rewritten_characters(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """The different characters of `text` that the tokenizer's normalization writes in another way, so that no output of the
    model can contain them. KoBART's NFKC writes "…" as "..." and "㎏" as "kg"."""
    if text.isascii() or _normalized(tokenizer, text) == _spaced(text):
        return ""
    return "".join(char for char in dict.fromkeys(text) if _normalized(tokenizer, char) != _spaced(char))


def _normalized(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    return _spaced(text if normalizer is None else normalizer.normalize_str(text).replace("▁", " "))


def _spaced(text: str) -> str:
    return " ".join(text.split())


def text_columns(
    kind: str,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    encoded: Sequence[list[int]],
    *,
    is_target: bool = False,
) -> Columns:
    """Columns about the characters of texts, for metrics/tokenize.json.

    Args:
        kind: dialogue, prompt or summary.
        tokenizer: of the model.
        texts: as they are before `neutralize`.
        encoded: the token ids of each.
        is_target: whether the model must write these texts.
    """
    unknown = [count_unknown(tokenizer, ids) for ids in encoded]
    columns: Columns = {
        f"_{kind}_unknown_tokens": unknown,
        f"_{kind}_control_tokens": [count_control_tokens(tokenizer, text) for text in texts],
        f"{CHARACTERS}{kind}_unknown": [
            unknown_characters(tokenizer, text) if count else "" for text, count in zip(texts, unknown, strict=True)
        ],
    }
    if is_target:
        rewritten = [rewritten_characters(tokenizer, text) for text in texts]
        columns[f"_{kind}_unreachable"] = [bool(characters) for characters in rewritten]
        columns[f"{CHARACTERS}{kind}_rewritten"] = rewritten
    return columns


def most_common_characters(cells: Iterable[str]) -> dict[str, int]:
    """The number of rows for each of the most frequent characters of a column of `text_columns`."""
    counts = Counter[str]()
    for cell in cells:
        counts.update(cell)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {_shown(char): count for char, count in ordered[:MAX_EXAMPLES]}


def _shown(char: str) -> str:
    return char if char.isprintable() and not char.isspace() else f"U+{ord(char):04X}"


def describe_characters(counts: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What a user should know about the characters of one split.

    Args:
        counts: of the split in metrics/tokenize.json.
        tokenizer: of the model.
    """
    messages = []
    for kind, texts in (("dialogue", "dialogues"), ("prompt", "prompts"), ("summary", "summaries")):
        found = counts.get(kind, {})
        if number := found.get("unknown_tokens"):
            examples = ", ".join(list(found["unknown_characters"])[:5]) or "some words"
            tokens = counted(number, "unknown token")
            messages.append(f"{tokens} in the {texts}: the tokenizer does not know {examples}, so the model does not see them")
        if number := found.get("control_tokens"):
            tokens = counted(number, "control token")
            messages.append(f"{tokens} of the model, such as </s>, in the {texts}; they are read as text")
        if number := found.get("unreachable"):
            pairs = [f"{char} → {_normalized(tokenizer, char) or 'nothing'}" for char in found["rewritten_characters"]]
            messages.append(
                f"{number} of {counts['rows']} summaries have characters that the tokenizer writes in another way "
                f"({', '.join(pairs[:5])}), so no output can equal them; the score against them stays below 100"
            )
    return messages


def describe_dialogues(tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[str], encoded: Sequence[list[int]]) -> list[str]:
    """As `describe_characters`, for dialogues that are summarized."""
    columns = text_columns("dialogue", tokenizer, dialogues, encoded)
    counts = {name: sum(columns[f"_dialogue_{name}"]) for name in ("unknown_tokens", "control_tokens")}
    unknown = most_common_characters(columns[f"{CHARACTERS}dialogue_unknown"])
    return describe_characters({"dialogue": counts | {"unknown_characters": unknown}}, tokenizer)


def require_targets(fnames: Sequence[str], targets: Sequence[Sequence[int]]) -> None:
    """YoyakError naming the row, if a summary has no token besides its end: there is nothing to learn from it."""
    for fname, ids in zip(fnames, targets, strict=True):
        if len(ids) < 2:
            raise YoyakError(f"{fname}: its summary has no token that the model could learn")
