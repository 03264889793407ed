"""`yoyak explore` on a few rows: figures by hand, both languages, hostile rows, one and two corpora."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, SUMMARIES, save_csv
from tests.reports.page.test_page import Elements
from yoyak.cli.main import main
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.data.exploration.corpus import find_corpora
from yoyak.data.exploration.scan import ScanSettings
from yoyak.data.exploration.tally import Record
from yoyak.reports.exploration import texts
from yoyak.reports.exploration.cloud import place_words
from yoyak.reports.exploration.exploration import Exploration, explore
from yoyak.reports.exploration.explore_page import LAYOUT, explore_page
from yoyak.reports.exploration.findings import findings_of
from yoyak.reports.exploration.sample_measures import measure_rows
from yoyak.reports.exploration.terms import Term, frequent_terms, terms_by_topic
from yoyak.reports.page import frame
from yoyak.reports.page.frame import render_page

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def _without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "_plotly", lambda: "/* plotly */")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        {"fname": f"train_{number}", "dialogue": dialogue, "summary": summary, "topic": "식사" if number < 2 else "기타"}
        for number, (dialogue, summary) in enumerate(zip(DIALOGUES, SUMMARIES, strict=True))
    ]
    hostile = f"#Person1#: {HOSTILE} 강남역\n#Person2#: 네."
    rows.append({"fname": HOSTILE, "dialogue": hostile, "summary": f"{HOSTILE} 부산에서 5시에 만난다.", "topic": HOSTILE})
    save_csv(tmp_path / "a" / "train.csv", rows)
    save_csv(tmp_path / "a" / "dev.csv", [{"fname": "d", "dialogue": "#Person1#: 넷.", "summary": "#Person1#은 넷을 센다."}])
    save_csv(tmp_path / "b" / "train.csv", rows[:3])
    return tmp_path


@pytest.fixture
def settings(params: Params) -> ScanSettings:
    return ScanSettings(params.preprocess, sample=100)


@pytest.fixture
def found(folder: Path, settings: ScanSettings, params: Params) -> Exploration:
    return explore(find_corpora([folder / "a"]), settings, params)


def test_the_figures_of_a_few_rows(found: Exploration) -> None:
    figures = found.to_json()["figures"]
    assert figures["turns"]["rows"] == {"train": 9, "dev": 1}
    assert figures["turns"]["bars"]["2"] == {"train": 6, "dev": 0}
    assert figures["signs"]["bars"]["names_not_in_dialogue"]["train"] >= 1
    assert figures["signs"]["bars"]["no_tag"] == {"train": 1, "dev": 0}
    tokens = [row.numbers["summary_tokens"] for row in found.series[0].rows]
    limit = figures["summary_tokens"]["limits"]["tokenizer.max_target_length"]
    assert limit == {"value": 48, "rows_above": {"train": sum(count > 48 for count in tokens), "dev": 0}}
    assert figures["novel_ngrams"]["unit"] == "percent" and not found.is_sampled
    json.dumps(found.to_json())


def test_measures_of_one_row_leave_speakers_and_tags_out() -> None:
    (row,) = measure_rows([Record("f:1", "f", "train", "", "#Person1#: 밥 먹자\n#Person2#: 그래", "#Person1#은 밥 먹자")])
    assert row.numbers["dialogue_morphemes"] == 4  # 밥 먹 자 그래
    assert row.numbers["summary_morphemes"] == 4  # 은 밥 먹 자
    assert (row.numbers["coverage"], row.numbers["density"], row.numbers["compression"]) == (3 / 4, 9 / 4, 1)
    assert (row.numbers["novel_1"], row.numbers["novel_2"]) == (1 / 4, 1 / 3)
    assert not row.names and not row.figures


@pytest.mark.parametrize("language", ["ko", "en"])
def test_hostile_rows_are_inert_and_shown_whole(found: Exploration, language: frame.Language) -> None:
    page = render_page(explore_page(found, language))
    elements = Elements(page)
    assert len([tag for tag, attributes in elements.tags if tag == "script" and "type" not in attributes]) == 2
    rows: Any = elements.json["rows"]
    assert any(HOSTILE in row["dialogue"] and HOSTILE in row["summary"] and row["topic"] == HOSTILE for row in rows)
    ids = [attributes["id"] for _, attributes in elements.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in elements.tags:  # every bar that a button or a word refers to is there
        if "data-bar" in attributes:
            chart: Any = elements.json[f"chart-{attributes['data-chart']}"]
            assert int(attributes["data-bar"] or 0) < len(chart["bars"])


def test_a_korean_page_has_no_english_sentence(found: Exploration) -> None:
    korean = Elements(render_page(explore_page(found, "ko"))).texts
    english = Elements(render_page(explore_page(found, "en"))).texts
    for group in texts.all_texts().values():
        for entry in group.values():
            sentences = {entry["en"]} if "en" in entry else {each["en"] for each in entry.values()}
            shared = {text for text in sentences if text in korean and re.search(r"[a-z] [a-z]", text)}
            assert not shared
    assert any("What is in" in text for text in english)


def test_every_text_has_both_languages_and_the_same_values() -> None:
    for group, entries in texts.all_texts().items():
        for key, entry in entries.items():
            for pair in [entry] if "en" in entry else entry.values():
                assert set(pair) == {"en", "ko"} and all(pair.values()), (group, key)
                values = [set(re.findall(r"\{(\w+)\}", pair[language])) for language in ("en", "ko")]
                assert values[0] == values[1], (group, key)
    assert set(texts.all_texts()["sections"]) == {"overview", *LAYOUT}
    assert set(texts.all_texts()["figures"]) == {name for names in LAYOUT.values() for name in names}


def test_every_kind_of_change_and_rejection_has_a_label() -> None:
    from yoyak.data.cleaning import REASONS
    from yoyak.data.text_repair import repair

    kinds = re.findall(r"\b[a-z]+_[a-z_]+\b", (repair.__doc__ or "").partition("Returns")[0])
    reversible = {"simplify_could_not_be_undone", "abstract_could_not_be_undone"}  # explore keeps the tags
    for key in [*kinds, *set(REASONS) - reversible, "noise", "spaces", "backspace", "two_speakers_on_a_line", "empty_turn"]:
        assert texts.label(key, "ko") != key, key
        assert texts.label(f"summary_{key}", "ko").startswith("요약: "), key
    assert texts.label("#Person1#", "ko") == "#Person1#"


def test_findings_name_what_to_set(folder: Path, settings: ScanSettings, values: dict[str, Any], tiny: Path) -> None:
    values["tokenizer"] |= {"max_input_length": 128, "max_target_length": 8}
    values["model"]["kobart"] |= {"checkpoint": str(tiny), "revision": None}
    found = explore(find_corpora([folder / "b"]), settings, parse_params(values, source="test"))
    (target,) = [each for each in findings_of(found, "en") if "max_target_length" in each.sentence]
    longest = max(row.numbers["summary_tokens"] for row in found.series[0].rows)
    proposal = -(-int(longest) // 8) * 8
    assert target.kind == "warn" and target.section == "lengths"
    assert list(target.changes) == [f"-S tokenizer.max_target_length={proposal}", f"-S generation.max_new_tokens={proposal}"]
    assert target.sentence.startswith("100% of the summaries") and target.sentence.endswith("The model allows up to 256.")


def test_two_corpora_stand_side_by_side_and_a_sample_is_told(folder: Path, params: Params) -> None:
    settings = ScanSettings(params.preprocess, sample=2)
    found = explore(find_corpora([folder / "a", folder / "b"]), settings, None)
    assert [(each.name, each.scan.rows, len(each.rows)) for each in found.series] == [("a", 10, 2), ("b", 3, 2)]
    assert found.is_sampled
    page = render_page(explore_page(found, "en"))
    assert "a: 2 of 10 rows, b: 2 of 3 rows" in page and '<span class="badge">sample</span>' in page
    assert "there is no params.yaml in this folder" in page
    elements = Elements(page)
    labels = [bar["label"] for bar in elements.json["chart-signs"]["bars"]]  # type: ignore[index]
    assert "a name that the dialogue lacks (sample)" in labels and "no tag in the summary" in labels
    assert page.count('<span class="badge">sample</span>') == 10, (
        "morphemes, extractiveness, words and terms, but no exact count"
    )


def test_terms_by_topic_and_frequent_terms() -> None:
    dialogues = {
        "여행": ["#Person1#: 비행기 여행", "#Person1#: 비행기 사진"],
        "음식": ["#Person1#: 김치 사진", "#Person1#: 김치"],
    }
    records = [Record(text, "", "train", topic, text, "") for topic, each in dialogues.items() for text in each]
    rows = measure_rows(records)
    found = terms_by_topic(rows)
    assert [term.text for term in found["여행"]] == ["비행기"], "a term of a single dialogue of the topic is left out"
    assert found["음식"][0][:1] == ("김치",) and found["음식"][0].weight == pytest.approx(0.6931, abs=1e-3)  # 1 · ln(4 / 2)
    assert frequent_terms(rows)[0] == Term("김치", 0.5, 2)


def test_words_of_a_cloud_do_not_overlap() -> None:
    terms = [Term("가나다라"[: 2 + number % 3], 1 / (number + 1), 1) for number in range(30)]
    placed = place_words(terms, 600, 300)
    assert placed[0].size > placed[-1].size and len(placed) > 20 and placed == place_words(terms, 600, 300)
    boxes = [(word.x, word.y, len(word.text) * 0.95 * word.size, word.size) for word in placed]
    for number, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[:number]:
            assert abs(x - other_x) >= (width + other_width) / 2 or abs(y - other_y) >= (height + other_height) / 2


def test_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    main(["explore", "a", "--lang", "en", "--split", "dev", "--json", "out.json"])
    page = (folder / "reports" / "explore.html").read_text(encoding="utf-8")
    assert "What is in a" in page
    assert json.loads((folder / "out.json").read_text(encoding="utf-8"))["corpora"][0]["rows"] == {"dev": 1}
    assert "open it in a browser" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="at most two"):
        main(["explore", "a", "b", "a"])
    with pytest.raises(SystemExit, match="name the data"):
        main(["explore"])
