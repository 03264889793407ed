import multiprocessing
import os
import random
import sys
import threading
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from mecab import MeCab
from rouge_score import rouge_scorer, tokenizers

from tests.conftest import SUMMARIES
from yoyak.evaluation import rouge
from yoyak.system.errors import YoyakError, exit_with_message


@pytest.fixture(scope="module")
def mecab() -> rouge.Morphemes:
    return rouge.Morphemes()


class Words(rouge.Morphemes):
    """rouge_score's own tokenizer in Mecab's place."""

    def _surfaces(self, text: str) -> list[str]:
        tokens: list[str] = tokenizers.DefaultTokenizer(use_stemmer=False).tokenize(text)
        return tokens


class Spaces(rouge.Morphemes):
    def _surfaces(self, text: str) -> list[str]:
        return text.split()


def one(tokenizer: rouge.Morphemes, prediction: str, *references: str, how: rouge.References = "mean") -> list[float]:
    row = rouge.score_rows(predictions=[prediction], references=[references], tokenizer=tokenizer, how=how)[0]
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
        for at, other in enumerate(reference):
            row[at + 1] = before[at] + 1 if token == other else max(before[at + 1], row[at])
    return [*scores, f1(row[-1], len(prediction), len(reference))]


@pytest.mark.parametrize("text", [*SUMMARIES, "비가 온다", "ㅋㅋ 웃음"])
def test_identical_korean_is_100(mecab: rouge.Morphemes, text: str) -> None:
    assert one(mecab, text, text) == [100, 100, 100]


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [("", "비가 온다"), ("비가 온다", ""), ("", ""), (" \n", "비가 온다"), ("축하해", "국수 먹자")],
)
def test_empty_or_disjoint_is_0(mecab: rouge.Morphemes, prediction: str, reference: str) -> None:
    assert one(mecab, prediction, reference) == [0, 0, 0]


def test_one_morpheme_has_no_bigram(mecab: rouge.Morphemes) -> None:
    assert one(mecab, "학교", "학교") == [100, 0, 100]


# Worked out by hand from these morphemes.
MORPHEMES = {
    "철수가 밥을 먹는다": ["철수", "가", "밥", "을", "먹", "는다"],
    "영희가 밥을 먹는다": ["영희", "가", "밥", "을", "먹", "는다"],
    "밥을 철수가 먹는다": ["밥", "을", "철수", "가", "먹", "는다"],
    "밥을 먹는다": ["밥", "을", "먹", "는다"],
    "비가 온다 비가": ["비", "가", "온다", "비", "가"],
    "비가 온다": ["비", "가", "온다"],
    "#Person1#은": ["#", "Person", "1", "#", "은"],
    "#Person2#은": ["#", "Person", "2", "#", "은"],
}


@pytest.mark.parametrize(("text", "morphemes"), MORPHEMES.items())
def test_morphemes(mecab: rouge.Morphemes, text: str, morphemes: list[str]) -> None:
    assert mecab.tokenize(text) == morphemes


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
def test_by_hand(mecab: rouge.Morphemes, prediction: str, reference: str, expected: list[float]) -> None:
    assert one(mecab, prediction, reference) == pytest.approx(expected, abs=1e-4)


def test_agrees_with_the_definitions_on_random_korean(mecab: rouge.Morphemes) -> None:
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
    ("how", "expected"),
    [
        ("mean", [(80 + 800 / 9) / 2, (75 + 200 / 7) / 2, (80 + 600 / 9) / 2]),
        ("max", [800 / 9, 75, 80]),  # each measure's best, here not all of one reference
    ],
)
def test_several_references(how: rouge.References, expected: list[float]) -> None:
    # "a b c d" against the first: 4 words of 4 and 6, 3 bigrams of 3 and 5, LCS 4. Against the second: 4 words of 4 and 5,
    # the bigram "b c" of 3 and 4, LCS "b c d".
    got = one(Spaces(), "a b c d", "x y a b c d", "b c a d e", how=how)
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


def test_the_constant_baseline_has_no_content(mecab: rouge.Morphemes) -> None:
    constant = ["#Person1# #Person2#"] * len(SUMMARIES)
    references = [[text] for text in SUMMARIES]
    whole = rouge.summarize(rouge.score_rows(predictions=constant, references=references, tokenizer=mecab))
    bare = rouge.summarize(
        rouge.score_rows(
            predictions=rouge.content(constant), references=[rouge.content(texts) for texts in references], tokenizer=mecab
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
    assert rouge.content([text])[0].split() == expected


def test_totals() -> None:
    assert rouge.summarize(np.array([[10.0, 20.0, 30.0], [20.0, 40.0, 60.0]])) == {
        "rouge1": 15.0,
        "rouge2": 30.0,
        "rougeL": 45.0,
        "rouge_sum": 90.0,
        "rouge_mean": 30.0,
    }


def test_interval_follows_the_seed_and_holds_the_mean() -> None:
    rows = np.random.default_rng(0).uniform(0, 100, (40, 3))
    means = rouge.resampled_means(rows, samples=500, seed=1)
    assert means.shape == (500, 3)
    assert (means == rouge.resampled_means(rows, samples=500, seed=1)).all()
    assert (means != rouge.resampled_means(rows, samples=500, seed=2)).any()
    found, mean = rouge.interval(means), rouge.summarize(rows)
    assert found.keys() == mean.keys()
    for key, (low, high) in found.items():
        assert low < mean[key] < high
        spread = 1.96 * float(np.std(rouge.with_totals(rows)[:, list(mean).index(key)])) / 40**0.5
        assert (high - low) / 2 == pytest.approx(spread, rel=0.2)  # the normal approximation


def test_interval_of_rows_that_are_all_the_same_is_a_point() -> None:
    means = rouge.resampled_means(np.full((5, 3), 20.0), samples=100, seed=1)
    assert rouge.interval(means)["rouge_sum"] == [60, 60]


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
    chosen = rouge.medoid(texts, tokenizer=Spaces())
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
    assert rouge.medoid(texts, tokenizer=Spaces()) == expected


def test_medoid_of_many_compares_an_even_choice() -> None:
    texts = [f"w{at} x" if at % 2 else "a b" for at in range(20)]
    assert rouge.medoid(texts, tokenizer=Spaces(), most=10) == "a b"  # every second one
    assert rouge.medoid(texts[1:], tokenizer=Spaces(), most=19) == "a b"


def test_medoid_of_none_raises() -> None:
    with pytest.raises(ValueError, match="no summaries"):
        rouge.medoid([], tokenizer=Spaces())


def test_without_mecab_there_is_an_error_and_no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mecab", None)
    with pytest.raises(YoyakError, match=r"Mecab cannot load.*pip install python-mecab-ko==1\.3\.7"):
        rouge.Morphemes()


def test_without_a_dictionary_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import mecab

    def broken() -> None:
        raise RuntimeError("no dictionary at /nowhere")

    monkeypatch.setattr(mecab, "MeCab", broken)
    with pytest.raises(YoyakError, match="no dictionary at /nowhere"):
        rouge.Morphemes()


def test_the_pinned_mecab_is_the_one_that_the_error_names() -> None:
    assert "mecab-ko-1.3.7+" in rouge.signature("mean")


def test_signature_says_what_the_score_depends_on() -> None:
    mean, best = rouge.signature("mean"), rouge.signature("max")
    assert mean != best
    for part in ("tok:mecab-ko-", "+dic-", "impl:rouge_score-", "references:mean", "rows:mean"):
        assert part in mean


def test_many_texts_are_read_as_one_is(mecab: rouge.Morphemes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rouge, "TEXTS_A_PROCESS", 50)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    texts = [f"{text} {at}번" for at in range(20) for text in SUMMARIES]
    many = rouge.Morphemes()
    many.read([*texts, *texts])
    assert many._seen == {text: mecab.tokenize(text) for text in texts}


def test_a_killed_reader_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel does where memory is full; nobody would answer for its texts."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})

    def kill_one() -> None:
        while len(readers := [child for child in multiprocessing.active_children() if child.name.startswith("Spawn")]) < 2:
            time.sleep(0.01)
        time.sleep(0.2)
        readers[0].kill()

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    with pytest.raises(SystemExit, match="one of this program's processes was killed"), exit_with_message():
        rouge.Morphemes().read(f"{text} {at}번" for at in range(4000) for text in SUMMARIES)
    killer.join()


@pytest.mark.parametrize("text", [*SUMMARIES, "", " ", "KTX 10시, 3.5%", "👋 ㅋㅋ\u3000다", "뷁쉛 𠀀"])
def test_surfaces_are_mecabs_own(mecab: rouge.Morphemes, text: str) -> None:
    assert mecab.tokenize(text) == MeCab().morphs(text)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_rouge_score_gives_the_same_to_the_last_bit(mecab: rouge.Morphemes, how: rouge.References) -> None:
    draw = random.Random(1)
    words = " ".join(SUMMARIES).split()

    def text() -> str:
        return " ".join(draw.choices(words, k=draw.randrange(12)))

    predictions = [text() for _ in range(200)]
    references = [[text() for _ in range(draw.randrange(1, 4))] for _ in predictions]
    rows = rouge.score_rows(predictions=predictions, references=references, tokenizer=mecab, how=how)
    scorer = rouge_scorer.RougeScorer(list(rouge.KEYS), tokenizer=mecab)
    for row, prediction, wanted in zip(rows, predictions, references, strict=True):
        each = [[100 * score.fmeasure for score in scorer.score(reference, prediction).values()] for reference in wanted]
        expected = np.mean(each, axis=0) if how == "mean" else np.max(each, axis=0)
        assert np.abs(row - expected).max() <= (0 if len(wanted) == 1 else 1e-12)
    rouge.check(rows, predictions, references, mecab, how)
    with pytest.raises(YoyakError, match="row 0: rouge_score gives"):
        rouge.check(rows + 1e-8, predictions, references, mecab, how)


def test_decomposed_hangul_is_the_same_text(mecab: rouge.Morphemes) -> None:
    text = "#Person1#은 회의를 미룹니다."
    rows = rouge.score_rows(predictions=[text], references=[[unicodedata.normalize("NFD", text)]], tokenizer=mecab)
    assert rows.tolist() == [[100.0, 100.0, 100.0]]
