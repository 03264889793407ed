"""What the baselines write, and the medoid against a brute-force search."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from rouge_score import rouge_scorer

from tests.evaluation.conftest import Spaces
from yoyak.evaluation.baselines import baseline_predictions, medoid


def test_baselines() -> None:
    dialogues = ["#Person1#: 가\n#Person2#: 나\n#Person1#: 다\n#Person2#: 라", "#Person1#: 하나"]
    assert baseline_predictions(dialogues, medoid="중앙") == {
        "lead1": ["#Person1#: 가", "#Person1#: 하나"],
        "lead2": ["#Person1#: 가\n#Person2#: 나", "#Person1#: 하나"],
        "lead3": ["#Person1#: 가\n#Person2#: 나\n#Person1#: 다", "#Person1#: 하나"],
        "constant": ["#Person1# #Person2#"] * 2,
        "medoid": ["중앙"] * 2,
    }


def brute_force(texts: Sequence[str], tokenizer: Any) -> list[float]:
    """For each text its ROUGE-1 + ROUGE-2 against the others, by rouge_score."""
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2"], tokenizer=tokenizer)
    return [
        sum(result.fmeasure for j, other in enumerate(texts) if j != i for result in scorer.score(other, text).values())
        for i, text in enumerate(texts)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_medoid_is_the_brute_force_one(seed: int) -> None:
    rng = random.Random(seed)
    texts = [" ".join(rng.choices("abcdefg", k=rng.randint(1, 7))) for _ in range(30)]  # repeats in a text: clipping counts
    totals = brute_force(texts, Spaces())
    chosen = medoid(texts, tokenizer=Spaces())
    assert totals[texts.index(chosen)] == pytest.approx(max(totals))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["b c", "a", "a"], "a"),  # agreement with itself does not count, else "b c" would tie with "a"
        (["x", "a b c", "a b d"], "a b c"),
        (["only one"], "only one"),
        (["", "a b", "", "a b"], "a b"),
    ],
)
def test_medoid_of_few(texts: list[str], expected: str) -> None:
    assert medoid(texts, tokenizer=Spaces()) == expected


def test_medoid_of_many_compares_an_even_choice() -> None:
    texts = [f"w{index} x" if index % 2 else "a b" for index in range(20)]
    assert medoid(texts, tokenizer=Spaces(), max_candidates=10) == "a b"  # every second one
    assert medoid(texts[1:], tokenizer=Spaces(), max_candidates=19) == "a b"


def test_medoid_of_none_raises() -> None:
    with pytest.raises(ValueError, match="no summaries"):
        medoid([], tokenizer=Spaces())
