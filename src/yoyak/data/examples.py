"""Examples for few-shot prompts: train dialogues with their summaries, chosen for each dialogue."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yoyak.config.sections import Prompt
from yoyak.data.leak_guard import spoken_words
from yoyak.system.errors import YoyakError

FIXED_SEED = 42  # of the choice `fixed`, which is the same for all dialogues


@dataclass(frozen=True)
class Example:
    """A train dialogue and its summary."""

    dialogue: str
    summary: str
    topic: str = ""


class ExampleChooser:
    """Chooses `prompt.examples` rows of train for a dialogue.

    A row with the same words as the dialogue is never chosen, so that no model is shown the answer. Only rows of train may be
    given: preprocess stops if they share a dialogue with dev or test (`leak_guard`).
    """

    def __init__(
        self, train: Sequence[Mapping[str, str]], settings: Prompt, tokenize: Callable[[str], list[str]] | None
    ) -> None:
        """Index the rows.

        Args:
            train: processed rows with dialogue and summary.
            settings: section prompt.
            tokenize: splits a text into morphemes. The choice `fixed` does not need it.

        Raises:
            YoyakError: if there are too few rows.
        """
        if len(train) <= settings.examples:
            raise YoyakError(f"prompt.examples: {settings.examples} examples need more than {len(train)} train rows")
        self.count = settings.examples
        self.examples = [Example(row["dialogue"], row["summary"], row.get("topic", "")) for row in train]
        self._words = [spoken_words(row["dialogue"]) for row in train]
        self._chosen: dict[str, list[int]] = {}
        self._sources: dict[str, set[str]] = {}
        self._tokenize, self._index = tokenize, None
        if settings.example_choice == "similar":
            self._index = _bm25([self._tokens(row["dialogue"]) for row in train])
        else:
            self._order = list(range(len(train)))
            random.Random(FIXED_SEED).shuffle(self._order)

    def choose(self, dialogue: str) -> list[Example]:
        """The examples for a dialogue, with `similar` the most similar first."""
        places = self._chosen.get(dialogue)
        if places is None:
            own = {spoken_words(dialogue), *self._sources.get(dialogue, ())}
            others = (place for place in self._ranked(dialogue) if self._words[place] not in own)
            places = self._chosen[dialogue] = [place for place, _ in zip(others, range(self.count), strict=False)]
        return [self.examples[place] for place in places]

    def add_copy(self, dialogue: str, *, source: str) -> None:
        """Say that an added dialogue is made from one of train, which is then no example for it either."""
        self._sources.setdefault(dialogue, set()).add(spoken_words(source))

    def prepare(self, dialogues: Iterable[str]) -> None:
        """Choose for these dialogues now. Afterwards other processes can use this object for them."""
        for dialogue in dialogues:
            self.choose(dialogue)

    def forget(self) -> None:
        """Forget the choices for dialogues so far, so that a process that serves for long does not grow."""
        self._chosen.clear()

    def __getstate__(self) -> dict[str, Any]:
        """Without Mecab and the index, which another process cannot get."""
        return self.__dict__ | {"_tokenize": None, "_index": None}

    def _tokens(self, text: str) -> list[str]:
        if self._tokenize is None:
            raise RuntimeError("examples must be chosen in the process that has the index")
        return self._tokenize(text)

    def _ranked(self, dialogue: str) -> Sequence[int]:
        """All rows, the best first."""
        if self._tokenize is not None and self._index is not None:
            scores = self._index.get_scores(self._tokens(dialogue))
            return [int(place) for place in (-scores).argsort(kind="stable")]  # stable: rows with equal scores keep their order
        return self._order


def _bm25(texts: Sequence[list[str]]) -> Any:
    """An index of BM25 (bm25s with the defaults of Lucene: k1 1.5, b 0.75)."""
    import bm25s

    index = bm25s.BM25()
    index.index(texts, show_progress=False)
    return index
