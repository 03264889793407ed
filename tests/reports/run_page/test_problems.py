"""The rules that explain a low score, one good and one bad summary for each."""

import pytest

from yoyak.evaluation.morphemes import Morphemes
from yoyak.reports.run_page.dev_rows import DevRow, explain_rows, worst_metric, worst_rows
from yoyak.reports.run_page.problems import KINDS, RULES

DIALOGUE = "\n".join(
    [
        "#Person1#: 세탁기가 고장 났어요. 수리비가 얼마예요?",
        "#Person2#: 9만 원입니다. 내일 기사님이 방문합니다.",
        "#Person1#: 네, 내일 오후에 와 주세요.",
    ]
)
REFERENCE = "#Person1#은 고장 난 세탁기의 수리를 맡기고, #Person2#는 내일 오후에 기사를 보내기로 합니다."


def row(summary: str | None, **scores: float) -> DevRow:
    return DevRow("dev_0", "수리", DIALOGUE, [REFERENCE], summary, scores)


@pytest.mark.parametrize(
    ("kind", "summary", "evidence"),
    [
        ("empty", " \u200b", ""),
        ("cut_off", "#Person1#은 고장 난 세탁기의 수리를 맡기고, #Person2#는 내일 오후에 기사를 보내기로", "보내기로"),
        ("cut_off", "#Person1#은 고장 난 세탁기의 수리를 맡기고, 기사를 내일 오후에 보내기로 한 #Person", "#Person"),
        (
            "repeated",
            "#Person1#은 세탁기 수리를 내일 오후에 맡기고 세탁기 수리를 내일 오후에 맡깁니다.",
            "세탁기 수리를 내일 오후 × 2",
        ),
        ("repeated", "#Person1#은 고장 난 세탁기 세탁기 세탁기의 수리를 맡깁니다.", "세탁기 × 3"),
        ("unsupported_fact", REFERENCE.replace("내일", "금요일에 부산에서 내일"), "금요일, 부산"),
        ("wrong_speaker", REFERENCE.replace("#Person2#", "#Person5#"), "#Person5#"),
        (
            "wrong_speaker",
            "#Person2#은 고장 난 세탁기의 수리를 맡기고, #Person1#는 내일 오후에 기사를 보내기로 합니다.",
            "#Person1# ↔ #Person2#: +",
        ),
        ("missed_topic", "#Person1#은 #Person2#에게 점심을 먹자고 하고 함께 식당에 가서 국수를 먹기로 합니다.", "세탁"),
        ("wrong_length", "#Person1#은 세탁기를 고칩니다.", " / "),
    ],
)
def test_each_rule_finds_its_kind_and_says_what_it_found(kind: str, summary: str, evidence: str) -> None:
    bad, good = explain_rows([row(summary), row(REFERENCE)])
    found = {problem.kind: problem.evidence for problem in bad.problems}
    assert evidence in found[kind], found
    assert not good.problems


def test_a_reference_excuses_what_it_does_itself() -> None:
    open_end = DevRow("a", "", DIALOGUE, ["세탁기 수리를 맡김"], "세탁기 수리를 맡김", {})
    again = "세탁기 수리를 내일 오후에 맡기고 세탁기 수리를 내일 오후에 맡깁니다."
    (one, other) = explain_rows([open_end, DevRow("b", "", DIALOGUE, [again], again, {})])
    assert not one.problems and not other.problems


def test_every_kind_has_a_rule() -> None:
    assert set(RULES) == set(KINDS)


def test_the_worst_rows_are_those_with_the_lowest_content_sum() -> None:
    rows = [row(REFERENCE, rouge_sum=300 - value, content_sum=value) for value in (5.0, 1.0, 3.0)]
    assert worst_metric(rows) == "content_sum" and worst_rows(explain_rows(rows)) == [1, 2, 0]
    assert worst_metric([row(REFERENCE)]) is None and worst_rows(explain_rows([row(REFERENCE)])) == []


def test_a_row_without_a_summary_has_no_problem() -> None:
    (only,) = explain_rows([row(None)])
    assert not only.problems and not only.summary_marks
    first, second = explain_rows([row(None), row("네")], Morphemes())
    assert not first.problems and second.problems
