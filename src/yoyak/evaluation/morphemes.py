"""The tokenizer of the score: surface forms of python-mecab-ko's morphemes, read in parallel where that is faster."""

import multiprocessing
import sys
import unicodedata
from collections.abc import Iterable

from yoyak.system.cores import usable_cores
from yoyak.system.errors import YoyakError
from yoyak.system.process_pools import process_pool

CONTENT_TAGS = {"NNG", "NNP", "NR", "SN", "SL", "SH", "XR", "VV", "VA"}
LIGHT_VERBS = {"하", "되", "있", "없", "같", "보", "주", "알", "그렇", "이렇", "어떻"}  # they say nothing about the content
TEXTS_PER_PROCESS = 2000  # Mecab analyses this many texts in about the time that a process needs to start


class Morphemes:
    """Tokenizer that returns the surface forms of Mecab's morphemes. `rouge_score` accepts it as its tokenizer.

    Each text is analysed once and kept. It is composed (NFC) first: files from macOS hold decomposed Hangul, which Mecab does
    not know.

    Raises:
        YoyakError: if Mecab cannot load. There is no fallback, because another tokenizer gives another score.
    """

    def __init__(self) -> None:
        try:
            from mecab import MeCab

            self._tagger = MeCab()._tagger
        except Exception as error:  # a missing package, library or dictionary: each raises a different type
            raise YoyakError(f"Mecab cannot load ({error}); the score needs it: pip install python-mecab-ko==1.3.7") from error
        self._tokens: dict[str, list[str]] = {}
        self._ids: dict[str, int] = {}
        self._characters: dict[str, str] = {}

    def tokenize(self, text: str) -> list[str]:
        """Surface forms of the morphemes of `text`, in order."""
        if text not in self._tokens:
            self._tokens[text] = self._analyse(unicodedata.normalize("NFC", text))
        return self._tokens[text]

    def as_characters(self, text: str) -> str:
        """`text` with one character for each morpheme: the code point is the index of the morpheme among all seen so far.

        Functions for strings (LCS, n-grams) then work on morphemes.
        """
        if text not in self._characters:
            ids = [self._ids.setdefault(token, len(self._ids)) for token in self.tokenize(text)]
            if len(self._ids) > sys.maxunicode:
                raise YoyakError(
                    f"the texts have more than {sys.maxunicode} different morphemes; check that they are Korean sentences"
                )
            self._characters[text] = "".join(map(chr, ids))
        return self._characters[text]

    def _analyse(self, text: str) -> list[str]:
        """Same result as MeCab.morphs in half the time: that method reads eight features of each morpheme and drops them."""
        from mecab.utils import create_lattice

        lattice = create_lattice(text)
        if not self._tagger.parse(lattice):
            raise YoyakError(f"Mecab cannot read a text of {len(text)} characters: {self._tagger.what()}")
        return [node.surface for _, node in lattice]

    def with_tags(self, text: str) -> list[tuple[str, str]]:
        """Surface forms of the morphemes of `text` with their parts of speech, such as ("강남역", "NNP"). Nothing is kept."""
        from mecab.utils import create_lattice

        lattice = create_lattice(unicodedata.normalize("NFC", text))
        if not self._tagger.parse(lattice):
            raise YoyakError(f"Mecab cannot read a text of {len(text)} characters: {self._tagger.what()}")
        return [(node.surface, node.feature.partition(",")[0]) for _, node in lattice]

    def content_words(self, text: str) -> frozenset[str]:
        """Nouns, stems of verbs and adjectives, foreign words and numbers of `text`. Nothing is kept.

        Stems are those of the dictionary (갔 is 가), and a compound counts with its parts. Light verbs such as 하 are left out.
        """
        from mecab.utils import create_lattice

        lattice = create_lattice(unicodedata.normalize("NFC", text))
        if not self._tagger.parse(lattice):
            raise YoyakError(f"Mecab cannot read a text of {len(text)} characters: {self._tagger.what()}")
        words = set()
        for _, node in lattice:
            tag, _, _, _, kind, _, _, parts = (node.feature.split(",") + ["*"] * 8)[:8]
            found = [(node.surface, tag)] if kind != "Inflect" else []
            if parts != "*":  # "걷/VV/*+어서/EC/*"
                found += [(part.split("/")[0], part.split("/")[1]) for part in parts.split("+") if part.count("/") >= 2]
            words |= {word for word, its_tag in found if its_tag in CONTENT_TAGS and word not in LIGHT_VERBS}
        return frozenset(words)

    def preload(self, texts: Iterable[str]) -> None:
        """Analyse many texts in advance, with several processes if there are enough texts and cores."""
        new = [text for text in dict.fromkeys(texts) if text not in self._tokens]
        processes = min(usable_cores(), len(new) // TEXTS_PER_PROCESS)
        if processes > 1:
            spawn = multiprocessing.get_context("spawn")
            with process_pool(processes, context=spawn, initializer=_start_process) as pool:
                for text, joined in zip(new, pool.map(_analyse_in_process, new, chunksize=500), strict=True):
                    self._tokens[text] = joined.split("\0") if joined else []


_process_morphemes: Morphemes


def _start_process() -> None:
    global _process_morphemes  # noqa: PLW0603  (each process has its own)
    _process_morphemes = Morphemes()


def _analyse_in_process(text: str) -> str:
    """Morphemes joined by NUL, which Mecab's strings never contain: one string moves faster between processes than a list."""
    return "\0".join(_process_morphemes._analyse(unicodedata.normalize("NFC", text)))
