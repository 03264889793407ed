"""The tokenizer of the score: surface forms of python-mecab-ko's morphemes, read in parallel where that is faster."""

import itertools
import multiprocessing
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from yoyak.system.cores import usable_cores
from yoyak.system.errors import YoyakError
from yoyak.system.process_pools import process_pool

CONTENT_TAGS = {"NNG", "NNP", "NR", "SN", "SL", "SH", "XR", "VV", "VA"}
LIGHT_VERBS = {"하", "되", "있", "없", "같", "보", "주", "알", "그렇", "이렇", "어떻"}  # they say nothing about the content
TEXTS_PER_PROCESS = 2000  # Mecab analyses this many texts in about the time that a process needs to start
TEXTS_PER_CHUNK = 500  # that a process reads at a time


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
        self._characters: dict[str, str] = {}  # of each text that was read
        self._ids: dict[str, int] = {}  # the index of each morpheme
        self._surfaces: list[str] = []  # the morpheme of each index, as far as `tokenize` needed it

    def tokenize(self, text: str) -> list[str]:
        """Surface forms of the morphemes of `text`, in order."""
        characters = self.as_characters(text)
        if len(self._surfaces) < len(self._ids):
            self._surfaces = list(self._ids)
        return [self._surfaces[ord(character)] for character in characters]

    def surfaces(self, text: str) -> list[str]:
        """The same as `tokenize`. Nothing is kept."""
        return self._analyse(unicodedata.normalize("NFC", text))

    def as_characters(self, text: str) -> str:
        """`text` with one character for each morpheme: the code point is the index of the morpheme among all seen so far.

        Functions for strings (LCS, n-grams) then work on morphemes.
        """
        if text not in self._characters:
            surfaces = self._analyse(unicodedata.normalize("NFC", text))
            self._characters[text] = "".join(map(chr, self._ids_of(surfaces)))
        return self._characters[text]

    def _ids_of(self, surfaces: Iterable[str]) -> list[int]:
        ids = [self._ids.setdefault(surface, len(self._ids)) for surface in surfaces]
        if len(self._ids) > sys.maxunicode:
            raise YoyakError(
                f"the texts have more than {sys.maxunicode} different morphemes; check that they are Korean sentences"
            )
        return ids

    def _analyse(self, text: str) -> list[str]:
        """Same result as MeCab.morphs in much less time: that method makes two Python objects for each morpheme.

        Mecab writes a line for each morpheme, SURFACE<tab>FEATURES, then EOS. It skips tabs and line ends of the text.
        """
        from mecab.utils import create_lattice

        lattice = create_lattice(text)
        if not self._tagger.parse(lattice):
            raise YoyakError(f"Mecab cannot read a text of {len(text)} characters: {self._tagger.what()}")
        return [line.partition("\t")[0] for line in lattice.to_string().split("\n")[:-2]]

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
        new = [text for text in dict.fromkeys(texts) if text not in self._characters]
        processes = min(usable_cores(), len(new) // TEXTS_PER_PROCESS)
        if processes > 1:
            chunks = [new[start : start + TEXTS_PER_CHUNK] for start in range(0, len(new), TEXTS_PER_CHUNK)]
            spawn = multiprocessing.get_context("spawn")
            with process_pool(processes, context=spawn, initializer=_start_process) as pool:
                for chunk, read in zip(chunks, pool.map(_read_in_process, chunks), strict=True):
                    self._keep(chunk, read)

    def _keep(self, texts: Sequence[str], read: "_ReadTexts") -> None:
        """Keep texts that another process has read, with the ids of this one."""
        ids = np.array(self._ids_of(read.surfaces), dtype="<u4")
        codes = np.frombuffer(read.characters.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        characters = ids[codes].tobytes().decode("utf-32-le", "surrogatepass") if len(codes) else ""
        ends = itertools.accumulate(read.lengths)
        for text, length, end in zip(texts, read.lengths, ends, strict=True):
            self._characters[text] = characters[end - length : end]


class _ReadTexts(NamedTuple):
    """What a process has read.

    One string and numbers move faster between processes than the morphemes of each text.
    """

    surfaces: list[str]  # all different morphemes
    characters: str  # of all texts, one for each morpheme: its code point is an index of `surfaces`
    lengths: list[int]  # of each text, in morphemes


_process_morphemes: Morphemes


def _start_process() -> None:
    global _process_morphemes  # noqa: PLW0603  (each process has its own)
    _process_morphemes = Morphemes()


def _read_in_process(texts: Sequence[str]) -> _ReadTexts:
    reader = _process_morphemes
    reader._ids.clear()
    characters = ["".join(map(chr, reader._ids_of(reader._analyse(unicodedata.normalize("NFC", text))))) for text in texts]
    return _ReadTexts(list(reader._ids), "".join(characters), list(map(len, characters)))
