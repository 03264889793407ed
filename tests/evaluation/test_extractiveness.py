"""Coverage, density, compression and novel n-grams, by hand."""

import pytest

from yoyak.evaluation.extractiveness import extractiveness, fragments, novel_ngrams
from yoyak.evaluation.facts import FactFinder, Number
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.unsupported_facts import unsupported_facts

DIALOGUE = ["a", "b", "c", "d", "e", "a", "b", "f"]


def test_an_example_by_hand() -> None:
    """The fragments of "a b c x e f" are a b c, e and f: 5 of 6 tokens, (9 + 1 + 1) / 6, 8 tokens for 6."""
    summary = ["a", "b", "c", "x", "e", "f"]
    assert fragments(summary, DIALOGUE) == [3, 1, 1]
    found = extractiveness(summary, DIALOGUE)
    assert found is not None
    assert (found.coverage, found.density, found.compression) == pytest.approx((5 / 6, 11 / 6, 8 / 6))


def test_the_longest_fragment_wins() -> None:
    assert fragments(["a", "b", "f"], DIALOGUE) == [3], "a b c is found first, but a b f is longer"
    assert fragments(["d", "e", "a", "b"], DIALOGUE) == [4]


def test_the_search_goes_on_behind_a_match_as_in_the_paper() -> None:
    """The first match is a a. The search goes on behind it, so that a a b, which begins inside it, is not found."""
    assert fragments(["a", "a", "b"], ["a", "a", "a", "b"]) == [2, 1]


def test_a_copy_and_a_text_without_anything_in_common() -> None:
    copy = extractiveness(DIALOGUE, DIALOGUE)
    assert copy is not None and (copy.coverage, copy.density, copy.compression) == (1, 8, 1)
    other = extractiveness(["x", "y"], DIALOGUE)
    assert other is not None and (other.coverage, other.density, other.compression) == (0, 0, 4)
    assert extractiveness([], DIALOGUE) is None


def test_novel_ngrams_by_hand() -> None:
    """Of the bigrams ab, bc, cx, xe and ef of the summary the dialogue has ab and bc."""
    summary = ["a", "b", "c", "x", "e", "f"]
    assert [novel_ngrams(summary, DIALOGUE, n) for n in (1, 2, 3)] == pytest.approx([1 / 6, 3 / 5, 3 / 4])
    assert novel_ngrams(["a", "a", "a"], DIALOGUE, 2) == 1, "equal n-grams count once"
    assert novel_ngrams(["a"], DIALOGUE, 2) is None


def test_facts_that_the_dialogue_lacks() -> None:
    dialogue = "#Person1#: 철수야, 세 시에 강남역에서 보자."
    found = unsupported_facts(
        "#Person1#은 민수와 3시에 강남역에서, 5시에 부산에서 만난다. #Person2#", dialogue, FactFinder(Morphemes())
    )
    assert "강남역" not in found.names and "부산" in found.names
    assert found.numbers == {Number(5, "시")}
    assert found.tags == {"#Person2#"}
