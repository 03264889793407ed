import itertools
import sys
from typing import Any

import pytest

from tests.conftest import SUMMARIES
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
        # a whole one
        ("밥을 먹는 #Person1#", "밥을 먹는 #Person1#."),
        ("밥을 먹는 #Person1##Person2#", "밥을 먹는 #Person1##Person2#."),
        ("#Email#", "#Email#."),
        # the rest of a text is as it was
        ("  먹습니다.  ", "먹습니다."),
        ("3.5km를 걷습니다. 집에 갑니다", "3.5km를 걷습니다. 집에 갑니다."),
        ("", ""),
    ],
)
def test_finish_of_what_ended_by_itself(text: str, expected: str) -> None:
    assert complete_ending(Output(text, hit_limit=False)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("먹습니다. 그리고 집에", "먹습니다."),
        ("먹습니다. 잡니다! 그리고 집에", "먹습니다. 잡니다!"),
        ("먹습니다. #Person2#", "먹습니다."),
        ("먹습니다. 그리고 #Pers", "먹습니다."),
        ("“먹자.” 그리고 집에", "“먹자.”"),
        ("3.5km를 걷", "3.5km를."),  # the point in a number ends no sentence
        ("#Person1#은 밥을 먹습", "#Person1#은 밥을."),
        ("먹습니다. 집에 갑니다.", "먹습니다. 집에 갑니다."),  # it ended just at the limit
        ("먹습니", "먹습니."),  # never nothing: an empty summary is worse
        ("#Person1#은", "#Person1#은."),
        ("", ""),
    ],
)
def test_finish_of_what_the_limit_cut(text: str, expected: str) -> None:
    assert complete_ending(Output(text, hit_limit=True)) == expected


PIECES = ("#Person1#", "#Person2", "#", "은", " ", "먹습니다", ".", "”", "…", "\n")


@pytest.mark.parametrize("hit_limit", [True, False])
def test_what_is_finished_stays(hit_limit: bool) -> None:
    for parts in itertools.product(PIECES, repeat=4):
        text = "".join(parts)
        once = complete_ending(Output(text, hit_limit=hit_limit))
        assert complete_ending(Output(once, hit_limit=hit_limit)) == once, text
        assert once == once.strip()
        assert not once or once[-1] in ".…”", text


def rows() -> list[dict[str, Any]]:
    return [{"references": [text]} for text in SUMMARIES]


GOOD = [Output(text.removesuffix("."), hit_limit=False) for text in SUMMARIES]  # closing them gives the references
SAME = [Output(text, hit_limit=False) for text in SUMMARIES]


@pytest.mark.parametrize(
    ("setting", "outputs", "used"),
    [
        ("auto", GOOD, True),
        ("auto", SAME, False),  # no better is not better
        ("never", GOOD, False),
        ("always", GOOD, True),
        ("always", SAME, True),
    ],
)
def test_decide(setting: Any, outputs: list[Output], used: bool) -> None:
    use, report = decide(setting, outputs, rows(), "keep_original")
    assert use == used
    part = report["postprocess"]
    assert set(part) == {"used", "dev_rouge_sum_without", "dev_rouge_sum_with"}
    assert part["used"] == used
    assert part["dev_rouge_sum_with"] == 300
    assert (part["dev_rouge_sum_without"] < 300) == (outputs is GOOD)


def test_auto_leaves_what_gets_worse() -> None:
    references = [{"references": [text.removesuffix(".")]} for text in SUMMARIES]
    use, report = decide("auto", GOOD, references, "keep_original")
    assert not use
    assert report["postprocess"]["dev_rouge_sum_with"] < report["postprocess"]["dev_rouge_sum_without"] == 300


def test_the_score_is_that_of_restored_tags() -> None:
    outputs = [Output(text.replace("#Person", "화자").replace("#", ""), hit_limit=False) for text in SUMMARIES]
    assert outputs[0].text.startswith("화자1은")
    _, report = decide("auto", outputs[:4], rows()[:4], "abstract")
    assert report["postprocess"]["dev_rouge_sum_without"] == 300


def test_another_number_of_rows_raises() -> None:
    with pytest.raises(ValueError, match="shorter"):
        decide("auto", GOOD[:3], rows()[:2], "keep_original")


def test_without_mecab_nothing_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mecab", None)
    with pytest.raises(YoyakError, match="Mecab cannot load"):
        decide("auto", GOOD, rows(), "keep_original")
