"""Post-processing: clean ends of summaries, and the decision on the dev split."""

import itertools
import sys
from typing import Any

import pytest

from tests.conftest import SUMMARIES
from yoyak.evaluation import bootstrap
from yoyak.inference.outputs import Output
from yoyak.inference.postprocessing import complete_ending, decide
from yoyak.system.errors import YoyakError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#Person1#은 밥을 먹습니다.", "#Person1#은 밥을 먹습니다."),
        ("#Person1#은 밥을 먹습니다", "#Person1#은 밥을 먹습니다."),
        ("정말 먹습니까?", "정말 먹습니까?"),
        ("먹습니다!", "먹습니다!"),
        ("글쎄요…", "글쎄요…"),
        ('"먹습니다."', '"먹습니다."'),
        ("“먹습니다.”", "“먹습니다.”"),
        ("‘가자!’", "‘가자!’"),
        ("(비가 옵니다.)", "(비가 옵니다.)"),
        # a half-written tag
        ("먹습니다. #Pers", "먹습니다."),
        ("먹습니다. #Person1", "먹습니다."),
        ("먹습니다. #", "먹습니다."),
        ("#Person1#은 #Phone", "#Person1#은."),
        ("#Person1#과 #Person2", "#Person1#과."),
        ("#Person2", ""),
        # a complete tag
        ("밥을 먹는 #Person1#", "밥을 먹는 #Person1#."),
        ("밥을 먹는 #Person1##Person2#", "밥을 먹는 #Person1##Person2#."),
        ("#Email#", "#Email#."),
        ("사진을 보냅니다 #@시스템#사진#", "사진을 보냅니다 #@시스템#사진#."),
        ("먹습니다. #@이모티콘#", "먹습니다. #@이모티콘#."),
        # the rest of a text does not change
        ("  먹습니다.  ", "먹습니다."),
        ("3.5km를 걷습니다. 집에 갑니다", "3.5km를 걷습니다. 집에 갑니다."),
        ("", ""),
    ],
)
def test_a_text_that_ended_by_itself_gets_a_clean_end(text: str, expected: str) -> None:
    assert complete_ending(Output(text, hit_limit=False)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("먹습니다. 그리고 집에", "먹습니다."),
        ("먹습니다. 잡니다! 그리고 집에", "먹습니다. 잡니다!"),
        ("먹습니다. #Person2#", "먹습니다."),
        ("먹습니다. 그리고 #Pers", "먹습니다."),
        ("“먹자.” 그리고 집에", "“먹자.”"),
        ("3.5km를 걷", "3.5km를."),  # the point of a number does not end a sentence
        ("#Person1#은 밥을 먹습", "#Person1#은 밥을."),
        ("먹습니다. 집에 갑니다.", "먹습니다. 집에 갑니다."),  # the sentence ends exactly at the limit
        ("먹습니", "먹습니."),  # the only word stays: an empty summary would be worse
        ("#Person1#은", "#Person1#은."),
        ("", ""),
    ],
)
def test_a_text_that_was_cut_off_by_the_limit_gets_a_clean_end(text: str, expected: str) -> None:
    assert complete_ending(Output(text, hit_limit=True)) == expected


PIECES = ("#Person1#", "#Person2", "#", "은", " ", "먹습니다", ".", "”", "…", "\n")


@pytest.mark.parametrize("hit_limit", [True, False])
def test_a_clean_end_does_not_change_again(hit_limit: bool) -> None:
    for parts in itertools.product(PIECES, repeat=4):
        text = "".join(parts)
        once = complete_ending(Output(text, hit_limit=hit_limit))
        assert complete_ending(Output(once, hit_limit=hit_limit)) == once, text
        assert once == once.strip()
        assert not once or once[-1] in ".…”", text


@pytest.fixture(autouse=True)
def _eight_rows_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "MIN_ROWS", 8)


def rows() -> list[dict[str, Any]]:
    return [{"references": [text]} for text in SUMMARIES]


WITHOUT_FULL_STOP = [
    Output(text.removesuffix("."), hit_limit=False) for text in SUMMARIES
]  # post-processing gives the references
SAME = [Output(text, hit_limit=False) for text in SUMMARIES]


@pytest.mark.parametrize(
    ("setting", "outputs", "used"),
    [
        ("auto", WITHOUT_FULL_STOP, True),
        ("auto", SAME, False),  # an equal score is not better
        ("never", WITHOUT_FULL_STOP, False),
        ("always", WITHOUT_FULL_STOP, True),
        ("always", SAME, True),
    ],
)
def test_the_setting_or_the_dev_score_decides(setting: Any, outputs: list[Output], used: bool) -> None:
    use, report = decide(setting, outputs, rows(), "keep_original")
    assert use == used
    part = report["postprocess"]
    assert set(part) == {"used", "dev_rouge_sum_without", "dev_rouge_sum_with"}
    assert part["used"] == used
    assert part["dev_rouge_sum_with"] == 300
    assert (part["dev_rouge_sum_without"] < 300) == (outputs is WITHOUT_FULL_STOP)


def test_auto_does_not_post_process_if_the_score_falls() -> None:
    references = [{"references": [text.removesuffix(".")]} for text in SUMMARIES]
    use, report = decide("auto", WITHOUT_FULL_STOP, references, "keep_original")
    assert not use
    assert report["postprocess"]["dev_rouge_sum_with"] < report["postprocess"]["dev_rouge_sum_without"] == 300


def test_few_rows_do_not_decide() -> None:
    use, report = decide("auto", WITHOUT_FULL_STOP[:7], rows()[:7], "keep_original")
    assert not use
    assert report["postprocess"]["why"] == "too few dev rows to judge it by (7, at least 8 are needed)"
    assert decide("always", WITHOUT_FULL_STOP[:7], rows()[:7], "keep_original")[0]


def test_tags_are_restored_before_scoring() -> None:
    outputs = [Output(text.replace("#Person", "화자").replace("#", ""), hit_limit=False) for text in SUMMARIES]
    assert outputs[0].text.startswith("화자1은")
    _, report = decide("auto", outputs[:4], rows()[:4], "abstract")
    assert report["postprocess"]["dev_rouge_sum_without"] == 300


def test_different_numbers_of_outputs_and_rows_raise() -> None:
    with pytest.raises(ValueError, match="shorter"):
        decide("auto", WITHOUT_FULL_STOP[:3], rows()[:2], "keep_original")


def test_without_mecab_the_decision_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mecab", None)
    with pytest.raises(YoyakError, match="Mecab cannot load"):
        decide("auto", WITHOUT_FULL_STOP, rows(), "keep_original")
