"""Turns and tags of a dialogue, and copies of it."""

import pytest
from hypothesis import given

from tests.data.random_texts import QUICK, TEXTS
from yoyak.data.dialogue import LISTED_TAGS, BadDialogueError, Turn, copies, parse, to_text, without_tags
from yoyak.data.text_repair import repair

NAMED = {"line_without_speaker": 2, "line_with_another_name": 1}
A, B, C = "#Person1#", "#Person2#", "#Person3#"


@pytest.mark.parametrize(
    ("text", "turns", "unusual"),
    [
        (f"{A}: 안녕\n{B}: 그래", [(A, "안녕"), (B, "그래")], {}),
        (f"{A}: 안녕 {B}: 그래 {C}: 응", [(A, "안녕"), (B, "그래"), (C, "응")], {"two_speakers_on_a_line": 2}),
        (f"{A}: 안녕\n잘 지내?\n\n뭐 해?\n{B}: 응", [(A, "안녕 잘 지내? 뭐 해?"), (B, "응")], {"line_without_speaker": 2}),
        (
            f"{A}: 안녕\n민수: 네\n3:30에 봐",
            [(A, "안녕 민수: 네 3:30에 봐")],
            NAMED,
        ),
        (
            f"{A}: 안녕\n[민수] 네\nhttps://a.kr",
            [(A, "안녕 [민수] 네 https://a.kr")],
            NAMED,
        ),
        (f"{A}﹕안녕", [(A, "안녕")], {}),
        (f"여보세요?\n{A}: 안녕", [(A, "여보세요? 안녕")], {"line_without_speaker": 1}),
        (f"{A}: {B}, 이리 와.", [(A, f"{B}, 이리 와.")], {}),  # a tag in an utterance is part of what is said
        (f"{A}: 아까 {B}이 말한 {C} 말이야", [(A, f"아까 {B}이 말한 {C} 말이야")], {}),
        (f"{A}:안녕\n{B} : 그래\n{C}：응", [(A, "안녕"), (B, "그래"), (C, "응")], {}),
        (f"{A}: 안녕\n{B}\n: 그래", [(A, "안녕"), (B, "그래")], {}),  # joined by a space it would be a turn later
        (f"{A}: 3:30에 봐\n{A}: 그래", [(A, "3:30에 봐"), (A, "그래")], {}),
        (f"{A}:\n{B}: 그래", [(B, "그래")], {"empty_turn": 1}),
        (f"여보세요?\n{A}:\n{B}: 그래", [(A, "여보세요?"), (B, "그래")], {"line_without_speaker": 1}),
        ("#Person9#: 안녕", [("#Person9#", "안녕")], {}),
        ("#Person10#: 안녕\n#Person99#: 응", [("#Person10#", "안녕"), ("#Person99#", "응")], {}),
    ],
)
def test_parse(text: str, turns: list[tuple[str, str]], unusual: dict[str, int]) -> None:
    found, counts = parse(text)
    assert [(turn.speaker, turn.utterance) for turn in found] == turns
    assert dict(counts) == unusual


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty_dialogue"),
        ("안녕하세요.", "no_speaker"),
        ("#Person1# 안녕하세요.", "no_speaker"),
        ("#Email#: 안녕", "no_speaker"),
        ("#Person0#: 안녕", "unknown_speaker"),
        ("#Person1#: 안녕\n#Person100#: 안 돼", "unknown_speaker"),
        ("#Person1#:", "nothing_said"),
        ("#Person1#: \n#Person2#:", "nothing_said"),
    ],
)
def test_parse_gives_the_reason_of_a_rejection(text: str, reason: str) -> None:
    with pytest.raises(BadDialogueError) as error:
        parse(text)
    assert str(error.value) == reason


@QUICK
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


def test_to_text() -> None:
    assert to_text([Turn(A, "안녕"), Turn(B, "그래")]) == f"{A}: 안녕\n{B}: 그래"


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
