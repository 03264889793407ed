"""The compare page: the numbers of the tests, the wording, and every dialogue with the differences of two summaries."""

import re
from typing import Any

import numpy as np

from tests.conftest import DIALOGUES, SUMMARIES
from tests.reports.page.test_page import Elements
from yoyak.evaluation.paired_tests import compare_metrics
from yoyak.reports.comparison import Comparison
from yoyak.reports.page.frame import render_page
from yoyak.reports.run_page.compare_page import compare_page
from yoyak.reports.run_page.dev_rows import DevRow
from yoyak.reports.run_page.pair_rows import pairs_browser

HOSTILE = "</script><script>alert(1)</script>\u202e"
VALUES = {"base": [50.0] * 40, "other": [50.0 + number % 4 for number in range(40)], "third": [50.0] * 40}


def rows_of(run: str, *, summary: str | None = None, missing: int = -1) -> list[DevRow]:
    rows = []
    for number, value in enumerate(VALUES[run]):
        text = SUMMARIES[number % len(SUMMARIES)] if summary is None else summary
        scores = {"rouge_sum": value, "facts_unsupported": number % 2}
        dialogue = DIALOGUES[number % len(DIALOGUES)]
        rows.append(DevRow(f"dev_{number}", "", dialogue, ["정답"], None if number == missing else text, scores))
    return rows


def comparison(*runs: str) -> Comparison:
    values = {run: {"rouge_sum": np.array(VALUES[run])} for run in runs}
    base, *others = runs
    results = compare_metrics({run: values[run] for run in others}, values[base], lower_is_better=set(), samples=500)
    costs: Any = {run: {"train_seconds": 12.5, "price": None} for run in runs}
    return Comparison(base, results, {"generation.num_beams": [4, *([1] * len(others))]}, costs, rows=40)


def test_numbers_and_wording_are_those_of_the_tests() -> None:
    browser = pairs_browser({name: rows_of(name) for name in ("base", "other", "third")})
    page = render_page(compare_page(comparison("base", "other", "third"), browser, "en", {}))
    result = comparison("base", "other", "third").results["rouge_sum"]["other"]
    found = Elements(page)
    low, high = result.interval
    for text in ("51.50", "50.00", "+1.50", f"{low:+.2f} – {high:+.2f}", f"{result.p_corrected:.4f}", "30 / 0 / 10", "12.5"):
        assert text in found.texts, text
    assert "no difference shown" in found.texts and page.count(">better</span>") == 1
    assert "generation.num_beams" in found.texts and 'id="rows-pair"' in page and 'id="rows-outcome"' in page
    index: Any = found.json["browser"]
    assert index["runs"] == ["base", "other", "third"] and index["values"][1][0] == VALUES["other"]
    assert index["metrics"] == [{"key": "rouge_sum", "lower": False}, {"key": "facts_unsupported", "lower": True}]
    korean = render_page(compare_page(comparison("base", "other", "third"), browser, "ko", {}))
    assert ">더 좋음</span>" in korean and "차이가 보이지 않음" in korean


def test_marks_are_where_the_two_summaries_differ() -> None:
    other = rows_of("other", summary="#Person1#은 #Person2#에게 값이 얼마인지 묻습니다.")
    browser = pairs_browser({"base": rows_of("base"), "other": other})
    row = browser.rows[0]
    (here, there) = row.pairs[0]
    texts = [shown[0] for shown in row.summaries if shown]
    assert [texts[0][mark.start : mark.end] for mark in here] == ["방", "있는지"]
    assert [texts[1][mark.start : mark.end] for mark in there] == ["값", "얼마인지"]
    same = pairs_browser({"base": rows_of("base"), "third": rows_of("third")})
    assert all(row.pairs == [((), ())] for row in same.rows)


def test_missing_summaries_and_hostile_texts() -> None:
    runs = {"base": rows_of("base", summary=HOSTILE), "other": rows_of("other", missing=0)}
    browser = pairs_browser(runs)
    page = render_page(compare_page(comparison("base", "other"), browser, "en", {"other": f"{HOSTILE} is not there"}))
    found = Elements(page)
    assert [attributes for tag, attributes in found.tags if tag == "script" and "type" not in attributes] == [{}]
    assert "\u202e" not in page and browser.rows[0].summaries[1] is None and browser.rows[0].pairs == [((), ())]
    assert "The summaries of other are not there" in page
    texts: Any = found.json["texts-0"]
    assert texts[0]["s"][1] is None and texts[0]["p"] == [[[], []]]
    assert "alert(1)" not in re.sub(r"(&lt;|\\u003c)/?script(&gt;|\\u003e)alert\(1\)", "", page)


def test_two_files_of_predictions_have_no_params_and_costs() -> None:
    files = comparison("base", "other")
    plain = Comparison(files.base, files.results, {}, {}, rows=12)
    page = render_page(compare_page(plain, pairs_browser({name: rows_of(name) for name in ("base", "other")}), "en", {}))
    assert 'id="costs"' not in page and 'id="params"' not in page and "Only 12 dialogues" in page
    assert "rouge_sum: over the 40 dialogues in which all runs have it" in page
