"""ROUGE of rows: identical texts, cases worked out by hand, the definitions, and equality with rouge_score."""

import random
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from rouge_score import rouge_scorer

from tests.conftest import SUMMARIES
from tests.evaluation.conftest import Spaces, Words
from yoyak.evaluation import rouge
from yoyak.evaluation.morphemes import Morphemes
from yoyak.system.errors import YoyakError


def one(tokenizer: Morphemes, prediction: str, *references: str, aggregation: rouge.Aggregation = "mean") -> list[float]:
    row = rouge.score_rows(predictions=[prediction], references=[references], tokenizer=tokenizer, aggregation=aggregation)[0]
    return [round(float(value), 4) for value in row]


def naive(prediction: Sequence[str], reference: Sequence[str]) -> list[float]:
    """F1 of ROUGE-1, -2 and -L from their definitions (Lin 2004), 0 to 100."""

    def f1(shared: int, a: int, b: int) -> float:
        return 100 * 2 * shared / (a + b) if shared else 0.0

    scores = []
    for n in (1, 2):
        a, b = (Counter(zip(*(tokens[i:] for i in range(n)), strict=False)) for tokens in (prediction, reference))
        scores.append(f1((a & b).total(), a.total(), b.total()))
    row = [0] * (len(reference) + 1)
    for token in prediction:
        before = row[:]
        for index, other in enumerate(reference):
            row[index + 1] = before[index] + 1 if token == other else max(before[index + 1], row[index])
    return [*scores, f1(row[-1], len(prediction), len(reference))]


@pytest.mark.parametrize("text", [*SUMMARIES, "비가 온다", "ㅋㅋ 웃음"])
def test_identical_korean_is_100(mecab: Morphemes, text: str) -> None:
    assert one(mecab, text, text) == [100, 100, 100]


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [("", "비가 온다"), ("비가 온다", ""), ("", ""), (" \n", "비가 온다"), ("축하해", "국수 먹자")],
)
def test_empty_or_disjoint_is_0(mecab: Morphemes, prediction: str, reference: str) -> None:
    assert one(mecab, prediction, reference) == [0, 0, 0]


def test_one_morpheme_has_no_bigram(mecab: Morphemes) -> None:
    assert one(mecab, "학교", "학교") == [100, 0, 100]


# Worked out by hand from the morphemes in test_morphemes.py.
@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("철수가 밥을 먹는다", "영희가 밥을 먹는다", [500 / 6, 80, 500 / 6]),  # 5 of 6, 4 of 5, 5 of 6
        ("밥을 철수가 먹는다", "철수가 밥을 먹는다", [100, 60, 400 / 6]),  # 3 of 5 bigrams; the LCS is 밥 을 먹 는다
        ("밥을 먹는다", "철수가 밥을 먹는다", [80, 75, 80]),  # P 1, R 4/6; bigrams 3 of 3 and of 5
        ("비가 온다 비가", "비가 온다", [75, 400 / 6, 75]),  # the second 비, 가 and 비 가 are clipped
        ("#Person1#은", "#Person2#은", [80, 50, 80]),  # a tag is four morphemes
    ],
)
def test_by_hand(mecab: Morphemes, prediction: str, reference: str, expected: list[float]) -> None:
    assert one(mecab, prediction, reference) == pytest.approx(expected, abs=1e-4)


def test_agrees_with_the_definitions_on_random_korean(mecab: Morphemes) -> None:
    rng = random.Random(1)
    words = sorted({word for text in SUMMARIES for word in text.split()})
    texts = [" ".join(rng.choices(words, k=rng.randint(1, 12))) for _ in range(60)]
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    rows = rouge.score_rows(predictions=[a for a, _ in pairs], references=[[b] for _, b in pairs], tokenizer=mecab)
    assert rows == pytest.approx(np.array([naive(mecab.tokenize(a), mecab.tokenize(b)) for a, b in pairs]))
    assert rows.max() < 100
    assert rows.min() < rows.max()


def test_agrees_with_plain_rouge_score_on_ascii() -> None:
    predictions = ["the cat sat on the mat", "a dog, barks!", "police killed the gunman"]
    references = ["the cat is on the mat", "the dog barked", "police kill the gunman"]
    plain = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    expected = [
        [100 * plain.score(b, a)[key].fmeasure for key in ("rouge1", "rouge2", "rougeL")]
        for a, b in zip(predictions, references, strict=True)
    ]
    rows = rouge.score_rows(predictions=predictions, references=[[b] for b in references], tokenizer=Words())
    assert rows == pytest.approx(np.array(expected))


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("mean", [(80 + 800 / 9) / 2, (75 + 200 / 7) / 2, (80 + 600 / 9) / 2]),
        ("max", [800 / 9, 75, 80]),  # each measure's best, here not all of one reference
    ],
)
def test_several_references(aggregation: rouge.Aggregation, expected: list[float]) -> None:
    # "a b c d" against the first: 4 words of 4 and 6, 3 bigrams of 3 and 5, LCS 4. Against the second: 4 words of 4 and 5,
    # the bigram "b c" of 3 and 4, LCS "b c d".
    got = one(Spaces(), "a b c d", "x y a b c d", "b c a d e", aggregation=aggregation)
    assert got == pytest.approx(expected, abs=1e-4)


def test_rows_may_have_different_numbers_of_references() -> None:
    rows = rouge.score_rows(predictions=["a b", "a b"], references=[["a b"], ["a b", "c d"]], tokenizer=Spaces())
    assert rows.tolist() == [[100, 100, 100], [50, 50, 50]]


@pytest.mark.parametrize(
    ("predictions", "references"),
    [(["a"], []), ([], [["a"]]), (["a", "b"], [["a"]]), (["a"], [["a"], ["b"]]), (["a"], [[]])],
)
def test_lengths_that_differ_and_missing_references_raise(predictions: list[str], references: list[list[str]]) -> None:
    with pytest.raises(ValueError, match=r"shorter|longer|no reference"):
        rouge.score_rows(predictions=predictions, references=references, tokenizer=Spaces())


def test_predictions_and_references_are_told_apart_by_name() -> None:
    with pytest.raises(TypeError):
        rouge.score_rows(["a"], [["a"]], tokenizer=Spaces())  # type: ignore[call-arg]


def test_the_constant_baseline_has_no_content(mecab: Morphemes) -> None:
    constant = ["#Person1# #Person2#"] * len(SUMMARIES)
    references = [[text] for text in SUMMARIES]
    whole = rouge.summarize(rouge.score_rows(predictions=constant, references=references, tokenizer=mecab))
    bare = rouge.summarize(
        rouge.score_rows(
            predictions=rouge.remove_tags(constant),
            references=[rouge.remove_tags(texts) for texts in references],
            tokenizer=mecab,
        )
    )
    assert whole["rouge1"] > 30  # a tag is four morphemes: why `content` stands beside it
    assert set(bare.values()) == {0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#Person1#은 #PhoneNumber#로 전화합니다.", ["은", "로", "전화합니다."]),
        ("#Person12#와 #SSN#", ["와"]),
        ("# Person1 # 3#", ["#", "Person1", "#", "3#"]),  # no tags
        ("비가 온다", ["비가", "온다"]),
    ],
)
def test_content_is_what_is_left_without_tags(text: str, expected: list[str]) -> None:
    assert rouge.remove_tags([text])[0].split() == expected


def test_totals() -> None:
    assert rouge.summarize(np.array([[10.0, 20.0, 30.0], [20.0, 40.0, 60.0]])) == {
        "rouge1": 15.0,
        "rouge2": 30.0,
        "rougeL": 45.0,
        "rouge_sum": 90.0,
        "rouge_mean": 30.0,
    }


def test_signature_says_what_the_score_depends_on() -> None:
    mean, best = rouge.signature("mean"), rouge.signature("max")
    assert mean != best
    for part in ("tok:mecab-ko-", "+dic-", "impl:rouge_score-", "references:mean", "rows:mean"):
        assert part in mean


@pytest.mark.parametrize("aggregation", ["mean", "max"])
def test_rouge_score_gives_the_same_to_the_last_bit(mecab: Morphemes, aggregation: rouge.Aggregation) -> None:
    draw = random.Random(1)
    words = " ".join(SUMMARIES).split()

    def text() -> str:
        return " ".join(draw.choices(words, k=draw.randrange(12)))

    predictions = [text() for _ in range(200)]
    references = [[text() for _ in range(draw.randrange(1, 4))] for _ in predictions]
    texts: dict[str, Any] = {
        "predictions": predictions,
        "references": references,
        "tokenizer": mecab,
        "aggregation": aggregation,
    }
    rows = rouge.score_rows(**texts)
    scorer = rouge_scorer.RougeScorer(list(rouge.KEYS), tokenizer=mecab)
    for row, prediction, texts_of_row in zip(rows, predictions, references, strict=True):
        values = [
            [100 * score.fmeasure for score in scorer.score(reference, prediction).values()] for reference in texts_of_row
        ]
        expected = np.mean(values, axis=0) if aggregation == "mean" else np.max(values, axis=0)
        assert np.abs(row - expected).max() <= (0 if len(texts_of_row) == 1 else 1e-12)
    rouge.check_against_rouge_score(rows, **texts)
    with pytest.raises(YoyakError, match="row 0: rouge_score gives"):
        rouge.check_against_rouge_score(rows + 1e-8, **texts)


def test_decomposed_hangul_is_the_same_text(mecab: Morphemes) -> None:
    text = "#Person1#은 회의를 미룹니다."
    rows = rouge.score_rows(predictions=[text], references=[[unicodedata.normalize("NFD", text)]], tokenizer=mecab)
    assert rows.tolist() == [[100.0, 100.0, 100.0]]
