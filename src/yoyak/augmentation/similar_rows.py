"""How much a dialogue is like one of many others."""

from collections.abc import Iterable

from yoyak.data.leak_guard import spoken_words
from yoyak.data.near_duplicates import jaccard, new_index, signature, spoken_letters


class SimilarRows:
    """Dialogues to compare others with. They can be added one after another."""

    def __init__(self, dialogues: Iterable[str] = ()) -> None:
        """Index the dialogues, which have one turn on each line.

        Raises:
            YoyakError: if the package rensa is not installed.
        """
        self._index = new_index()
        self._letters: list[str] = []
        self._words: set[str] = set()
        for dialogue in dialogues:
            self.add(dialogue)

    def add(self, dialogue: str) -> None:
        letters = spoken_letters(dialogue)
        self._index.insert(len(self._letters), signature(letters))
        self._letters.append(letters)
        self._words.add(spoken_words(dialogue))

    def nearest(self, dialogue: str) -> float:
        """The Jaccard index with the most similar dialogue, from 0 to 1; 0 if none is similar, 1 if one has the same words.

        MinHash finds those that are similar: 99 % of those with an index of 0.7, and 64 % of those with 0.5.
        """
        if spoken_words(dialogue) in self._words:
            return 1.0
        letters = spoken_letters(dialogue)
        places = self._index.query(signature(letters)) if self._letters else []
        return max((jaccard(letters, self._letters[place]) for place in places), default=0.0)
