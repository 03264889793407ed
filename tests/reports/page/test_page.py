"""The frame of the pages: nothing of the data is run or loaded, and a table has what a chart shows."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from yoyak.data.exploration.tally import Record
from yoyak.reports.page import frame
from yoyak.reports.page.charts import Chart, ChartBar, Mark, chart_html
from yoyak.reports.page.frame import WORDS, Page, Section, render_page, write_page
from yoyak.reports.page.markup import CardLine, cards, data_script, escape, visible
from yoyak.reports.page.rows import SHOWN_CHARACTERS, RowPool

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\" ' & <!-- \u2028 \ud800"


@pytest.fixture(autouse=True)
def _without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "_plotly", lambda: "/* plotly */")


class Elements(HTMLParser):
    """The elements of a page, and the content of its JSON scripts."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.json: dict[str, object] = {}
        self.texts: list[str] = []
        self._script: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag == "script":
            self._script = attributes.get("id") or ""

    def handle_endtag(self, tag: str) -> None:
        self._script = None if tag == "script" else self._script

    def handle_data(self, data: str) -> None:
        if self._script:
            self.json[self._script] = json.loads(data)
        elif self._script is None:
            self.texts.append(data)


def hostile_page() -> str:
    pool = RowPool()
    record = Record(HOSTILE, HOSTILE, "train", HOSTILE, f"#Person1#: {HOSTILE}", HOSTILE, note=HOSTILE)
    bars = [ChartBar(HOSTILE, [50.0], [HOSTILE], pool.refer([record]), at=1)]
    marks = [Mark(1, HOSTILE, 0, 2)]
    chart = Chart("one", HOSTILE, HOSTILE, [HOSTILE], [0], bars, "columns", HOSTILE, HOSTILE, marks=marks, badge=HOSTILE)
    card = cards([(HOSTILE, [CardLine(HOSTILE, HOSTILE, HOSTILE)])])
    return render_page(Page(HOSTILE, HOSTILE, "en", [Section("s", HOSTILE, card + chart_html(chart), HOSTILE)], pool, HOSTILE))


def test_hostile_texts_are_inert_and_arrive_whole() -> None:
    page = hostile_page()
    found = Elements(page)
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert [attributes for tag, attributes in found.tags if tag == "script" and "type" not in attributes] == [{}, {}]
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    rows: Any = found.json["rows"]
    (row,) = rows
    assert row["dialogue"] == f"#Person1#: {visible(HOSTILE)}"
    assert found.json["chart-one"]["bars"][0]["rows"] == [[0, HOSTILE.replace("\ud800", "?")]]  # type: ignore[index]
    assert "alert(1)" not in re.sub(r"(&lt;|\\u003c)/?script(&gt;|\\u003e)alert\(1\)", "", page)


def test_nothing_is_loaded_from_a_network() -> None:
    page = hostile_page()
    found = Elements(page)
    assert "default-src 'none'" in page
    for _, attributes in found.tags:
        assert not {"src", "srcset", "data", "action"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
    style = page[: page.index("</style>")]
    assert re.findall(r"url\((\w+):", style) == ["data"] and "@import" not in style
    script = frame._static("page.js")
    assert not re.search(r"innerHTML|insertAdjacent|document\.write|eval\(|fetch\(|XMLHttp|import\(", script)


def test_the_same_numbers_stand_in_a_table_that_the_keyboard_reaches() -> None:
    bars = [ChartBar("0–9", [25.0, 0.0], ["1 (25%)", "–"], [], at=5), ChartBar("10–19", [75.0, 0.0], ["3 (75%)", "–"], [])]
    html = chart_html(Chart("n", "Lengths", "", ["a", "b"], [0, 1], bars, "columns", "share", "range"))
    found = Elements(html)
    assert [text for text in found.texts if text.strip()] == [
        *("Lengths", "range", "a", "b"),
        *("0–9", "1 (25%)", "–", "10–19", "3 (75%)", "–"),
    ]
    buttons = [attributes for tag, attributes in found.tags if tag == "button"]
    assert [(each["data-chart"], each["data-bar"]) for each in buttons] == [("n", "0"), ("n", "1")]
    assert [each for tag, each in found.tags if each.get("tabindex") == "0" and each.get("aria-label") == "Lengths"]


def test_a_row_is_stored_once_and_cut_for_display() -> None:
    pool = RowPool()
    long = Record("f:1", "a", "train", "", "x" * (SHOWN_CHARACTERS + 5), "")
    assert pool.refer([long, long]) == [[0, ""], [0, ""]]
    assert pool.rows[0]["dialogue"] == "x" * SHOWN_CHARACTERS + "… (+5)"


def test_json_keeps_every_text() -> None:
    text = "<a> & \u2028 한글 '\""
    assert Elements(data_script("id", {"k": text})).json == {"id": {"k": text}}
    assert escape("<\ud800\u202e>") == "&lt;[U+D800][U+202E]&gt;"


def test_every_word_has_both_languages(tmp_path: Path) -> None:
    assert all(set(words) == {"ko", "en"} and all(words.values()) for words in WORDS.values())
    write_page(tmp_path / "deep" / "page.html", Page("제목", "", "ko", []))
    page = (tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    assert '<html lang="ko">' in page and "Yoyak Hangul" in page and "prefers-color-scheme: dark" in page


def test_plotly_is_embedded_once_and_cannot_end_its_element(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    script = frame._plotly()
    assert len(script) > 1_000_000 and "</script" not in script and "<!--" not in script
    assert hostile_page().count(script[:200]) == 1
