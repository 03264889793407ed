"""Dialogues as text: repair, turns, noise, tags."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoyak.data.cleaning import clean_dialogue
from yoyak.data.dialogue import (
    LISTED_TAGS,
    BadDialogueError,
    Noise,
    PersonTags,
    Turn,
    clean,
    copies,
    holds_replaced_tag,
    parse,
    repair,
    replace_person_tags,
    restore_person_tags,
    to_text,
    without_tags,
)
from yoyak.system.text_files import read_csv

SHARED = Path(__file__).parents[2] / "shared" / "data" / "korean-dialogsum"
NOISES: tuple[Noise, ...] = ("minimal", "moderate", "aggressive")
STRATEGIES: tuple[PersonTags, ...] = ("keep_original", "simplify", "abstract")

# Pieces that the dirt is made of, so that random texts hit the rules and their seams.
PIECES = st.sampled_from(
    (
        *("#Person1#", "#Person2#:", "Person1", "person2", "#사람1#", "P1", "화자2", "#Email#", "#", ":", "：", "1"),
        *(" ", "\n", "\r\n", "\t", "\\", "n", "r", "\b", "\u200b", "\u3000", "\u1100", "\u1161"),
        *("ㅋㅋ", "ㅠ", "ㅇ", "음...", "!!", "😀", "가", "a", "."),
    )
)
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join)
quick = settings(deadline=None, max_examples=100, database=None, derandomize=True)


@pytest.mark.parametrize(
    ("raw", "repaired", "kinds"),
    [
        ("#Person1#: 안녕\n#Person2#: 그래", "#Person1#: 안녕\n#Person2#: 그래", []),
        ("#Person1#: 안녕 \t\n#Person2#: 그래  ", "#Person1#: 안녕\n#Person2#: 그래", ["spaces"]),
        ("#Person1#: 자\u00a0이제\u3000가  자", "#Person1#: 자 이제 가 자", ["spaces"]),
        ("#Person1#: 안녕\\n#Person2#: 그래", "#Person1#: 안녕\n#Person2#: 그래", ["literal_newline"]),
        ("#Person1#: 안녕\\r\\n#Person2#: 그래", "#Person1#: 안녕\n#Person2#: 그래", ["literal_newline"]),
        (
            "#Person1#: 안녕\r\n#Person2#: 그래\r#Person1#: 응",
            "#Person1#: 안녕\n#Person2#: 그래\n#Person1#: 응",
            ["line_break"],
        ),
        ("#Person1#: 하나\u2028둘\x0b셋\x85넷", "#Person1#: 하나\n둘\n셋\n넷", ["line_break"]),
        ("#Person1#: 안녕\b하세요", "#Person1#: 안녕하세요", ["backspace"]),
        ("\ufeff#Person1#: 안\u200b녕\u00ad", "#Person1#: 안녕", ["invisible_character"]),
        ("#Person1#: \u1112\u1161\u11ab글", "#Person1#: 한글", ["decomposed_hangul"]),
        ("Person1화자2#Person1#", "#Person1#화자2#Person1#", ["tag_without_hashes"]),  # no hash of another tag is taken
        ("#사람1#: 안녕\n#화자2#: 그래\n#인물 3#: 응", "#Person1#: 안녕\n#Person2#: 그래\n#Person3#: 응", ["translated_tag"]),
        ("Person1: 안녕", "#Person1#: 안녕", ["tag_without_hashes"]),
        ("Person1은 #Person2#에게 묻는다.", "#Person1#은 #Person2#에게 묻는다.", ["tag_without_hashes"]),
        ("#Person1: 안녕", "#Person1#: 안녕", ["tag_without_hashes"]),
        ("Person1#: 안녕", "#Person1#: 안녕", ["tag_without_hashes"]),
        ("#person1#: 안녕", "#Person1#: 안녕", ["tag_without_hashes"]),
        ("#PERSON1#: 안녕", "#Person1#: 안녕", ["tag_without_hashes"]),
        ("# Person 1 #: 안녕", "#Person1#: 안녕", ["tag_without_hashes"]),
        ("Person1 #Person2#", "#Person1# #Person2#", ["tag_without_hashes"]),
        ("#Person1#Person2#", "#Person1##Person2#", ["tag_without_hashes"]),
        # what only looks like dirt
        ("#Person1#: #FlightNumber# #Name# #PersonName#", "#Person1#: #FlightNumber# #Name# #PersonName#", []),
        ("#Person1##Person2#", "#Person1##Person2#", []),
        ("#Person1#: Person10, salesperson1, Person1st, person", "#Person1#: Person10, salesperson1, Person1st, person", []),
        ("#Person1#: C:\\data, 사람1", "#Person1#: C:\\data, 사람1", []),
        ("", "", []),
        (" \r\n\t", "", ["line_break", "spaces"]),
    ],
)
def test_repair(raw: str, repaired: str, kinds: list[str]) -> None:
    text, changed = repair(raw)
    assert text == repaired
    assert sorted(changed) == kinds


@pytest.mark.parametrize("character", ["\0", "\x01", "\x07", "\x0e", "\x1b", "\x1f", "\x7f", "\x80", "\x9f", "\ufffd"])
def test_repair_refuses_lost_text(character: str) -> None:
    with pytest.raises(BadDialogueError, match="control_character"):
        repair(f"#Person1#: 안녕{character}하세요")


@quick
@given(TEXTS)
def test_repair_of_any_text_is_idempotent_or_a_rejection(text: str) -> None:
    try:
        once, _ = repair(text)
    except BadDialogueError:
        return
    assert repair(once) == (once, Counter())


@pytest.mark.parametrize("raw", ["\\\bn", "\u1112\u200b\u1161", "\\\u200bn", "Person1Person2", "#사람\b1#", "Per\u200bson1"])
def test_repair_needs_no_second_pass(raw: str) -> None:
    once, _ = repair(raw)
    assert repair(once) == (once, Counter())


A, B, C = "#Person1#", "#Person2#", "#Person3#"


@pytest.mark.parametrize(
    ("text", "turns", "seen"),
    [
        (f"{A}: 안녕\n{B}: 그래", [(A, "안녕"), (B, "그래")], {}),
        (f"{A}: 안녕 {B}: 그래 {C}: 응", [(A, "안녕"), (B, "그래"), (C, "응")], {"two_speakers_on_a_line": 2}),
        (f"{A}: 안녕\n잘 지내?\n\n뭐 해?\n{B}: 응", [(A, "안녕 잘 지내? 뭐 해?"), (B, "응")], {"line_without_speaker": 1}),
        (f"여보세요?\n{A}: 안녕", [(A, "여보세요? 안녕")], {"line_without_speaker": 1}),
        (f"{A}: {B}, 이리 와.", [(A, f"{B}, 이리 와.")], {}),  # a tag in an utterance is part of what is said
        (f"{A}: 아까 {B}이 말한 {C} 말이야", [(A, f"아까 {B}이 말한 {C} 말이야")], {}),
        (f"{A}:안녕\n{B} : 그래\n{C}：응", [(A, "안녕"), (B, "그래"), (C, "응")], {}),
        (f"{A}: 안녕\n{B}\n: 그래", [(A, "안녕"), (B, "그래")], {}),  # joined by a space it would be a turn later
        (f"{A}: 3:30에 봐\n{A}: 그래", [(A, "3:30에 봐"), (A, "그래")], {}),
        (f"{A}:\n{B}: 그래", [(B, "그래")], {"empty_turn": 1}),
        (f"여보세요?\n{A}:\n{B}: 그래", [(A, "여보세요?"), (B, "그래")], {"line_without_speaker": 1}),
        ("#Person9#: 안녕", [("#Person9#", "안녕")], {}),
    ],
)
def test_parse(text: str, turns: list[tuple[str, str]], seen: dict[str, int]) -> None:
    found, unusual = parse(text)
    assert [(turn.speaker, turn.utterance) for turn in found] == turns
    assert dict(unusual) == seen


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty_dialogue"),
        ("안녕하세요.", "no_speaker"),
        ("#Person1# 안녕하세요.", "no_speaker"),
        ("#Email#: 안녕", "no_speaker"),
        ("#Person0#: 안녕", "unknown_speaker"),
        ("#Person1#: 안녕\n#Person10#: 안 돼", "unknown_speaker"),
        ("#Person1#:", "nothing_said"),
        ("#Person1#: \n#Person2#:", "nothing_said"),
    ],
)
def test_parse_gives_the_reason_of_a_rejection(text: str, reason: str) -> None:
    with pytest.raises(BadDialogueError) as error:
        parse(text)
    assert str(error.value) == reason


@quick
@given(TEXTS)
def test_any_text_is_turns_or_a_rejection(text: str) -> None:
    try:
        turns, _ = parse(repair(text)[0])
    except BadDialogueError:
        return
    assert turns
    for turn in turns:
        assert turn.speaker in {f"#Person{n}#" for n in range(1, 10)}
        assert turn.utterance
        assert turn.utterance == " ".join(turn.utterance.split("\n")).strip()
    assert parse(to_text(turns))[0] == turns


@quick
@given(TEXTS, st.sampled_from(NOISES))
def test_cleaning_any_text_ends_in_one_line_a_turn(text: str, noise: Noise) -> None:
    try:
        cleaned, _ = clean_dialogue(text, noise)
    except BadDialogueError:
        return
    assert all(line.startswith("#Person") and ": " in line for line in cleaned.split("\n"))


def test_to_text() -> None:
    assert to_text([Turn(A, "안녕"), Turn(B, "그래")]) == f"{A}: 안녕\n{B}: 그래"


@pytest.mark.parametrize(
    ("text", "moderate", "aggressive"),
    [
        ("잘 가.", "잘 가.", "잘 가."),
        ("좋아ㅋㅋㅋ 가자", "좋아 웃음 가자", "좋아 웃음 가자"),
        ("ㅋ", "웃음", "웃음"),
        ("ㅎㅎㅋㅋ", "웃음", "웃음"),
        ("미안ㅠㅜㅠ.", "미안 슬픔.", "미안 슬픔."),
        ("ㅋㅋㅠㅠ", "웃음 슬픔", "웃음 슬픔"),
        ("ㅇㅋ 이따 봐ㅋㅋ", "ㅇㅋ 이따 봐 웃음", "ㅇㅋ 이따 봐 웃음"),  # 오케이, not laughter
        ("ㅊㅋㅊㅋ! ㅎㄷ", "ㅊㅋㅊㅋ! ㅎㄷ", "ㅊㅋㅊㅋ! ㅎㄷ"),
        ("ㅋㅋㅇㅋ", "ㅋㅋㅇㅋ", "ㅋㅇㅋ"),
        ("ㅇㅋㅋㅋㅋ", "ㅇㅋ 웃음", "ㅇㅋ 웃음"),
        ("ㅋㅋㄷ ㅇㅋㅋㄷ ㅋㅠㅋ", "ㅋㅋㄷ ㅇㅋㅋㄷ 웃음 슬픔 웃음", "ㅋㄷ ㅇㅋㄷ 웃음 슬픔 웃음"),
        ("음... 어, 그래!!", "음... 어, 그래!!", "그래!"),
        ("음식 좋다", "음식 좋다", "음식 좋다"),
        ("음...", "음...", "음..."),  # an utterance of nothing but noise stays
        ("진짜?? 와~~~ 대박…… ㄷㄷㄷ", "진짜?? 와~~~ 대박…… ㄷㄷㄷ", "진짜? 와~ 대박… ㄷ"),
        ("좋아😀👍!", "좋아😀👍!", "좋아!"),
        ("오전 9시 ~ 10시 .NET 과정", "오전 9시 ~ 10시 .NET 과정", "오전 9시 ~ 10시 .NET 과정"),
        ("😀", "😀", "😀"),
        ("3.5점", "3.5점", "3.5점"),
        ("", "", ""),
    ],
)
def test_clean_by_noise_level(text: str, moderate: str, aggressive: str) -> None:
    assert clean(text, "minimal") == text
    assert clean(text, "moderate") == moderate
    assert clean(text, "aggressive") == aggressive


@quick
@given(TEXTS, st.sampled_from(NOISES))
def test_clean_of_any_text_keeps_something(text: str, noise: Noise) -> None:
    cleaned = clean(text, noise)
    assert bool(cleaned.strip()) == bool(text.strip())
    assert set(cleaned) - set(text) <= set("웃음슬픔. ")


@pytest.mark.parametrize(
    ("strategy", "written"),
    [
        ("keep_original", "#Person1#은 #Person7#에게 #Email#을 준다."),
        ("simplify", "P1은 P7에게 #Email#을 준다."),
        ("abstract", "화자1은 화자7에게 #Email#을 준다."),
    ],
)
def test_person_tags_go_and_come_back(strategy: PersonTags, written: str) -> None:
    text = "#Person1#은 #Person7#에게 #Email#을 준다."
    assert replace_person_tags(text, strategy) == written
    assert restore_person_tags(written, strategy) == text
    assert not holds_replaced_tag(text, strategy)


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        ("simplify", "주차장은 P1입니다."),
        ("simplify", "#Person1#3시"),
        ("simplify", "A#Person1#"),
        ("simplify", "#Person1##Person2#"),
        ("abstract", "화자1이 누구야?"),
        ("abstract", "#Person1#3시"),
    ],
)
def test_a_text_whose_tags_could_not_come_back_is_known(strategy: PersonTags, text: str) -> None:
    assert holds_replaced_tag(text, strategy)
    assert not holds_replaced_tag(text, "keep_original")


@pytest.mark.parametrize("text", ["P10 구역", "MP3", "P1a", "화자12", "VP1"])
def test_restore_leaves_what_only_looks_like_a_tag(text: str) -> None:
    for strategy in STRATEGIES:
        assert restore_person_tags(text, strategy) == text


@quick
@given(TEXTS, st.sampled_from(STRATEGIES))
def test_restore_is_the_inverse_unless_the_text_is_known_to_forbid_it(text: str, strategy: PersonTags) -> None:
    there_and_back = restore_person_tags(replace_person_tags(text, strategy), strategy)
    assert (there_and_back == text) is not holds_replaced_tag(text, strategy)


def test_without_tags() -> None:
    text = "".join(LISTED_TAGS) + "#FlightNumber# #Person1#은 # 1번# #3"
    assert without_tags(text).split() == ["은", "#", "1번#", "#3"]
    assert len(LISTED_TAGS) == 15


@pytest.mark.parametrize(
    ("prediction", "is_copy"),
    [
        ("#Person1#은 #Person2#에게 내일 만나자고 합니다.", False),
        ("#Person1#: 내일 만나자", False),
        ("#Person1#: 내일 만나자 #Person2#: 좋아", True),
        ("우리 내일 아침 열 시에 학교 앞에서 만나서 같이", False),  # 19 characters
        ("우리 내일 아침 열 시에 학교 앞에서 만나서 같이 가", True),
        ("우리내일아침열시에\n학교앞에서만나서같이가자", True),
        ("내일 아침 열 시에", False),
        ("", False),
    ],
)
def test_copies(prediction: str, is_copy: bool) -> None:
    dialogue = "#Person1#: 우리 내일 아침 열 시에 학교 앞에서 만나서 같이 가자.\n#Person2#: 좋아"
    assert copies(prediction, dialogue) is is_copy


@pytest.mark.skipif(not SHARED.is_dir(), reason="the research copy of the real data is not here")
def test_every_dialogue_of_the_real_test_split_is_read() -> None:
    seen: Counter[str] = Counter()
    for row in read_csv(SHARED / "test.csv", required=["fname", "dialogue"]):
        cleaned, changed = clean_dialogue(row.cells["dialogue"], "moderate")
        assert clean_dialogue(cleaned, "minimal") == (cleaned, Counter())
        seen.update(changed.keys())
        assert not any(holds_replaced_tag(cleaned, strategy) for strategy in STRATEGIES)
    assert {"spaces", "two_speakers_on_a_line"} <= set(seen)
