"""Cleaning of one row: what is changed is counted, what cannot be used is rejected with its reason."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SHARED
from tests.data.random_texts import NOISES, QUICK, STRATEGIES, TEXTS
from yoyak.data.cleaning import REASONS, clean_dialogue, clean_row, references_of
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.noise import Noise
from yoyak.data.person_tags import PersonTags, replace_reversibly
from yoyak.data.text_repair import MAX_CHARACTERS
from yoyak.system.csv_files import read_csv

TALK = "#Person1#: 밥 먹었어?\n#Person2#: 응, 방금 먹었어."
SUMMARY = "#Person2#는 밥을 먹었다고 합니다."


def cells(**changed: str) -> dict[str, str]:
    return {"fname": "train_0", "dialogue": TALK, "summary": SUMMARY, "topic": "식사"} | changed


def clean(
    given: dict[str, str], noise: Noise = "moderate", person_tags: PersonTags = "keep_original", with_summary: bool = True
) -> tuple[dict[str, Any], Counter[str]]:
    return clean_row(given, noise=noise, person_tags=person_tags, with_summary=with_summary)


def test_a_clean_row_is_unchanged() -> None:
    row, changed = clean(cells())
    assert row == {"fname": "train_0", "dialogue": TALK, "summary": SUMMARY, "references": [SUMMARY], "topic": "식사"}
    assert not changed


@pytest.mark.parametrize(
    ("given", "dialogue", "kinds"),
    [
        ("#Person1#: 밥 먹었어? \n#Person2#: 응", "#Person1#: 밥 먹었어?\n#Person2#: 응", {"spaces"}),
        ("#Person1#: 밥 먹었어?\\n#Person2#: 응", "#Person1#: 밥 먹었어?\n#Person2#: 응", {"literal_newline"}),
        ("#Person1#: 밥 먹었어? #Person2#: 응", "#Person1#: 밥 먹었어?\n#Person2#: 응", {"two_speakers_on_a_line"}),
        ("#Person1#: 밥?\nPerson2: 응", "#Person1#: 밥?\n#Person2#: 응", {"tag_without_hashes"}),
        ("#Person1#: #Person2#, 밥?\n#Person2#: 응", "#Person1#: #Person2#, 밥?\n#Person2#: 응", set()),
        ("#Person1#: 밥\n먹었어?\n#Person2#: 응", "#Person1#: 밥 먹었어?\n#Person2#: 응", {"line_without_speaker"}),
        ("#Person1#: 밥?\r\n#Person2#: 응", "#Person1#: 밥?\n#Person2#: 응", {"line_break"}),
        ("#Person1#: 밥\b?\n#Person2#: 응", "#Person1#: 밥?\n#Person2#: 응", {"backspace"}),
        ("#사람1#: 밥?\n#Person2#: 응", "#Person1#: 밥?\n#Person2#: 응", {"translated_tag"}),
        ("#Person1#: #FlightNumber#요\n#Person2#: 응", "#Person1#: #FlightNumber#요\n#Person2#: 응", set()),
        ("#Person1#: 밥?ㅋㅋ\n#Person2#: 응ㅠ", "#Person1#: 밥? 웃음\n#Person2#: 응 슬픔", {"noise"}),
    ],
)
def test_every_kind_of_damage_is_repaired_and_counted(given: str, dialogue: str, kinds: set[str]) -> None:
    row, changed = clean(cells(dialogue=given))
    assert row["dialogue"] == dialogue
    assert set(changed) == kinds


def test_a_summary_is_repaired_for_learning_and_stays_raw_for_scoring() -> None:
    raw = "Person2는 밥을 \r\n먹었다고 합니다.ㅋㅋ"
    row, changed = clean(cells(summary=raw), person_tags="simplify")
    assert row["summary"] == "P2는 밥을 먹었다고 합니다. 웃음"
    assert row["references"] == [raw]
    assert set(changed) == {
        "summary_tag_without_hashes",
        "summary_line_break",
        "summary_spaces",
        "summary_newline",
        "summary_noise",
    }


def test_noise_and_tags_reach_dialogue_and_summary_alike() -> None:
    given = cells(dialogue="#Person1#: 음... 가자!!ㅋㅋ\n#Person2#: 네", summary="#Person1#은 가자고 합니다!!")
    row, _ = clean(given, noise="aggressive", person_tags="abstract")
    assert row["dialogue"] == "화자1: 가자! 웃음\n화자2: 네"
    assert row["summary"] == "화자1은 가자고 합니다!"
    assert row["references"] == [given["summary"]]


@pytest.mark.parametrize(
    ("given", "dialogue"),
    [
        ("#Person1#: 가 #Person2#😀: 나", "#Person1#: 가\n#Person2#: 나"),
        ("#Person1#: #Person😀2# 봐", "#Person1#: #Person2# 봐"),
    ],
)
def test_a_tag_that_an_emoji_interrupts_is_a_tag(given: str, dialogue: str) -> None:
    assert clean(cells(dialogue=given), noise="aggressive")[0]["dialogue"] == dialogue


def test_topic_may_be_absent_and_is_put_on_one_line() -> None:
    assert clean({"fname": "1", "dialogue": TALK, "summary": SUMMARY})[0]["topic"] == ""
    assert clean(cells(topic=" 점심\n식사 "))[0]["topic"] == "점심 식사"


def test_test_rows_need_no_summary_and_carry_none() -> None:
    row, _ = clean(cells(summary=""), with_summary=False)
    assert set(row) == {"fname", "dialogue", "topic"}


def test_every_summary_column_is_a_reference() -> None:
    given = cells(summary2="둘", summary_3=" 셋 ", summary4="  ", summary_length="31", abstract="x")
    assert references_of(given) == [SUMMARY, "둘", " 셋 "]
    row, _ = clean(given)
    assert row["references"] == [SUMMARY, "둘", " 셋 "]
    assert row["summary"] == SUMMARY


def test_references_may_start_at_one() -> None:
    given = {"fname": "1", "dialogue": TALK, "summary1": "하나는 이렇다.", "summary2": "둘은 저렇다."}
    row, _ = clean(given)
    assert (row["summary"], row["references"]) == ("하나는 이렇다.", ["하나는 이렇다.", "둘은 저렇다."])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"dialogue": ""}, "empty_dialogue"),
        ({"dialogue": " \n\u200b"}, "empty_dialogue"),
        ({"dialogue": "밥 먹었어?"}, "no_speaker"),
        ({"dialogue": "#Person1#:\n#Person2#: "}, "nothing_said"),
        ({"dialogue": TALK + "\x1b"}, "control_character"),
        ({"summary": ""}, "empty_summary"),
        ({"summary": " \n "}, "empty_summary"),
        ({"summary": "\u200b\\n"}, "empty_summary"),
        ({"summary": "", "summary2": SUMMARY}, "empty_summary"),
        ({"summary": SUMMARY + "\x02"}, "control_character"),
        ({"fname": " "}, "no_fname"),
        ({"fname": "\u3164"}, "no_fname"),
        ({"dialogue": "#Person1#: \u3164\n#Person2#: \u2800"}, "nothing_said"),
        ({"dialogue": "\u200b" * 12}, "empty_dialogue"),
        ({"summary": "\u3164"}, "empty_summary"),
        ({"summary": "\u200b" * 12}, "empty_summary"),
        ({"summary": "\ufe0f\u115f\u1160\uffa0\u180e"}, "empty_summary"),
        ({"dialogue": TALK + "\u0301" * 31}, "combining_marks"),
        ({"dialogue": TALK + "가" * 100_000}, "too_long"),
        ({"topic": "가" * (MAX_CHARACTERS + 1)}, "too_long"),
    ],
)
def test_a_rejection_has_its_reason(changed: dict[str, str], reason: str) -> None:
    with pytest.raises(BadDialogueError) as error:
        clean(cells(**changed))
    assert str(error.value) == reason
    assert reason in REASONS


@pytest.mark.parametrize("fname", ["=1+1", "+1", "-1", "@sum", "\t=1"])
def test_an_fname_may_start_as_a_formula_because_files_are_written_byte_by_byte(fname: str) -> None:
    assert clean(cells(fname=fname))[0]["fname"] == fname


def test_emoji_of_several_parts_stay_whole() -> None:
    text = "👨\u200d👩\u200d👧 ❤️\u200d🔥 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f 1️⃣"
    row, changed = clean(cells(dialogue=f"#Person1#: {text}", summary=text))
    assert row["dialogue"] == f"#Person1#: {text}"
    assert (row["summary"], row["references"]) == (text, [text])
    assert not changed
    assert clean(cells(dialogue=f"#Person1#: 네 {text}"), noise="aggressive")[0]["dialogue"] == "#Person1#: 네 1"


@pytest.mark.parametrize(
    ("dialogue", "found"),
    [
        ("민수: 네\n영희: 응", "민수:"),
        ("[민수] [오후 3:21] 응", "[민수]"),
        ("A: hi", "A:"),
        ("#Person1# 네", "#Person1#"),
        ("그냥 긴 글이 있습니다. 화자가 없습니다.", "그냥 긴 글이 있습니다. 화자가 없습…"),
    ],
)
def test_a_dialogue_without_a_speaker_names_what_it_has_instead(dialogue: str, found: str) -> None:
    with pytest.raises(BadDialogueError, match="no_speaker") as error:
        clean(cells(dialogue=dialogue))
    assert error.value.found == found


@pytest.mark.parametrize("changed", [{"dialogue": TALK + "\n#Person1#: P1에 세웠어"}, {"summary": "#Person1#3은 P2"}])
def test_a_row_whose_tags_cannot_be_restored_is_rejected(changed: dict[str, str]) -> None:
    clean(cells(**changed))
    with pytest.raises(BadDialogueError, match="simplify_could_not_be_undone"):
        clean(cells(**changed), person_tags="simplify")


def test_a_replaced_tag_in_the_dialogue_alone_is_rejected() -> None:
    with pytest.raises(BadDialogueError, match="could_not_be_undone"):
        clean(cells(dialogue="#Person1#: 주차는 P1", summary="2시에 만납니다."), person_tags="simplify")


@QUICK
@given(TEXTS, st.sampled_from(NOISES))
def test_cleaning_any_text_ends_in_one_line_a_turn(text: str, noise: Noise) -> None:
    try:
        cleaned, _ = clean_dialogue(text, noise)
    except BadDialogueError:
        return
    assert all(line.startswith("#Person") and ": " in line for line in cleaned.split("\n"))


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="the research copy of the real data is not here")
def test_every_dialogue_of_the_real_test_split_is_read() -> None:
    seen: Counter[str] = Counter()
    for row in read_csv(SHARED / "data/korean-dialogsum/test.csv", required=["fname", "dialogue"]):
        cleaned, changed = clean_dialogue(row.cells["dialogue"], "moderate")
        assert clean_dialogue(cleaned, "minimal") == (cleaned, Counter())
        seen.update(changed.keys())
        for strategy in STRATEGIES:
            replace_reversibly(cleaned, strategy)
    assert {"spaces", "two_speakers_on_a_line"} <= set(seen)
