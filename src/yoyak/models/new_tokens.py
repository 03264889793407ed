"""Words of train that become tokens of their own (`tokenizer.new_tokens`): choosing and adding them.

A new token is a morpheme at the start of a word, with the space before it. So " 회의" of "오늘 회의를" is one token and "를"
stays as it is, but "국회의원" is read as before. The embedding of a new token starts as the mean of those of its pieces, which
Koto et al. 2021 (IndoBERTweet, arXiv:2109.04607) found better than other starts (`models.new_embeddings`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from yoyak.config.sections import Params
from yoyak.evaluation.morphemes import Morphemes
from yoyak.models.tokenizer_loading import add_words
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_jsonl

PARAM = "tokenizer.new_tokens"
FEWEST = 5  # times that a word must occur: the embedding of a rarer one would hardly be trained
COMPARED_TEXTS = 200
_WORD = re.compile("[가-힣]{2,}")  # a single syllable begins too many other words
SPEAKER = " 화자"  # of preprocess.person_tags: abstract; a tag is read in the same way everywhere


def word_starts(text: str, morphemes: Morphemes) -> Iterator[str]:
    """The first morpheme of each word that follows a space, with this space, if it has two or more syllables of Hangul."""
    at = 0
    for surface, _ in morphemes.with_tags(text):
        at = text.find(surface, at)
        if at > 0 and text[at - 1] == " " and _WORD.fullmatch(surface) and f" {surface}" != SPEAKER:
            yield f" {surface}"
        at += len(surface)


def frequent_words(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, count: int) -> list[str]:
    """The most frequent words of `word_starts` that the tokenizer splits into several tokens.

    Args:
        texts: composed (NFC), as preprocess writes them.
        tokenizer: of the checkpoint.
        count: words at most. Those with fewer than five occurrences are left out.

    Returns:
        The words, the most frequent first; of equally frequent ones, the first in the order of Unicode.
    """
    morphemes, counts = Morphemes(), Counter[str]()
    for text in texts:
        counts.update(word_starts(text, morphemes))
    ordered = sorted((word for word in counts if counts[word] >= FEWEST), key=lambda word: (-counts[word], word))
    split = (word for word in ordered if len(tokenizer(word, add_special_tokens=False).input_ids) > 1)
    return list(islice(split, count))


def choose_words(params: Params, tokenizer: PreTrainedTokenizerBase, train: Path) -> list[str]:
    """The words that become tokens, none if `tokenizer.new_tokens` is 0.

    Args:
        params: section tokenizer.
        tokenizer: of the checkpoint.
        train: the processed rows of train; dialogues and summaries are read. Rows of augmentation do not count.
    """
    if not params.tokenizer.new_tokens:
        return []
    texts = (row[name] for row in read_jsonl(train) for name in ("dialogue", "summary"))
    return frequent_words(texts, tokenizer, params.tokenizer.new_tokens)


def add_compared(tokenizer: PreTrainedTokenizerBase, words: Sequence[str], train: Path, checkpoint: str) -> str:
    """Add words, and compare what the tokenizer makes of some texts of train before and after.

    Returns:
        What has changed, in words.

    Raises:
        YoyakError: if a text that is encoded and decoded is another one than before.
    """
    texts = [row[name] for row in islice(read_jsonl(train), COMPARED_TEXTS) for name in ("dialogue", "summary")]
    before = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    decoded = tokenizer.batch_decode(before)
    add_words(tokenizer, words)
    after = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    for old, new in zip(decoded, tokenizer.batch_decode(after), strict=True):
        if old != new:
            place = next(place for place, (a, b) in enumerate(zip(f"{old}\0", f"{new}\0", strict=False)) if a != b)
            one, other = (text[max(0, place - 10) : place + 10] for text in (old, new))
            raise YoyakError(
                f"{PARAM}: words cannot be added to the tokenizer of {checkpoint}, because texts would change: {one!r} becomes "
                f"{other!r}; set it to 0"
            )
    saved = 1 - sum(map(len, after)) / sum(map(len, before))
    return f"{len(words)} words are new tokens ({', '.join(word.strip() for word in words[:5])} …), {saved:.1%} fewer tokens"


def add_chosen(params: Params, tokenizer: PreTrainedTokenizerBase, train: Path) -> list[str]:
    """Choose the words, add them, and print what has changed. Does nothing if `tokenizer.new_tokens` is 0.

    Args:
        params: sections model and tokenizer.
        tokenizer: of the checkpoint; it is changed in place.
        train: the processed rows of train.

    Raises:
        YoyakError: if there is no such word, or the tokenizer cannot take any.
    """
    words, asked = choose_words(params, tokenizer, train), params.tokenizer.new_tokens
    if not asked:
        return []
    checkpoint = params.model.chosen.checkpoint
    if not words:
        raise YoyakError(
            f"{PARAM}: {checkpoint} has a token for each word that occurs {FEWEST} times or more in train, so none can be "
            "added; set it to 0"
        )
    print(add_compared(tokenizer, words, train, checkpoint), flush=True)
    if len(words) < asked:
        print(f"{PARAM}: {asked} were asked for; no other word occurs {FEWEST} times and has several tokens", flush=True)
    return words
