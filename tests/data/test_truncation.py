"""Whole turns are left out of a dialogue that is too long. The tokens of these tests are characters."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak.data import truncation
from yoyak.data.truncation import EncodedDialogue, Truncation

SIDES: tuple[Truncation, ...] = ("middle", "start", "end")
TURNS = [f"#Person{number}#: {letter * 5}" for number, letter in enumerate("가나다라마", 1)]  # 16 characters each


def encode(text: str) -> list[int]:
    return [ord(character) for character in text]


def shorten(turns: Sequence[str], max_length: int, side: Truncation) -> tuple[list[str], EncodedDialogue]:
    text = "\n".join(turns)
    row = truncation.shorten(text, encode=encode, tokens=len(text), max_length=max_length, truncation=side)
    return "".join(map(chr, row.ids)).split("\n"), row


@pytest.mark.parametrize(
    ("side", "places"),
    [
        ("middle", [[4], [0, 4], [0, 3, 4], [0, 1, 3, 4]]),
        ("start", [[4], [3, 4], [2, 3, 4], [1, 2, 3, 4]]),
        ("end", [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]]),
    ],
)
def test_which_turns_stay(side: Truncation, places: list[list[int]]) -> None:
    for count, kept in enumerate(places, 1):
        for room in (17 * count - 1, 17 * (count + 1) - 2):  # just enough, and one character less than for another turn
            texts, row = shorten(TURNS, room, side)
            assert texts == [TURNS[place] for place in kept]
            assert (row.tokens, row.turns, row.turns_left_out, row.turn_cut) == (84, 5, 5 - count, False)


@pytest.mark.parametrize(("side", "place", "part"), [("middle", 2, "56789"), ("start", 2, "56789"), ("end", 0, "12345")])
def test_a_turn_that_is_too_long_alone_is_cut(side: Truncation, place: int, part: str) -> None:
    turns = [f"#Person1#: {'123456789' * 9}", "#Person2#: 가", f"#Person3#: {'123456789' * 9}"]
    texts, row = shorten(turns, 16, side)
    assert texts == [f"#Person{place + 1}#: {part}"]
    assert (row.turns_left_out, row.turn_cut) == (2, True)


def test_a_turn_that_is_too_long_alone_fills_the_room_beside_the_others() -> None:
    turns = [f"#Person1#: {'123456789' * 9}", "#Person2#: 가"]
    texts, row = shorten(turns, 40, "start")
    assert texts == ["#Person1#: 5678923456789123456789"[:11] + ("123456789" * 9)[-16:], "#Person2#: 가"]
    assert (row.turns_left_out, row.turn_cut, len(row.ids)) == (0, True, 40)
    texts, row = shorten(turns, 24, "start")  # there is room for its speaker, but not for a letter
    assert texts == ["#Person2#: 가"]
    assert (row.turns_left_out, row.turn_cut) == (1, False)


def test_if_not_even_a_speaker_fits_the_caller_sees_it() -> None:
    texts, row = shorten(TURNS, 8, "middle")
    assert texts == ["#Person5#: "]
    assert (row.turns_left_out, row.turn_cut, len(row.ids)) == (4, True, 11)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12), max_length=st.integers(12, 120), side=st.sampled_from(SIDES)
)
def test_as_many_turns_as_possible_stay(sizes: list[int], max_length: int, side: Truncation) -> None:
    turns = [f"#Person{index % 9 + 1}#: {'가' * size}" for index, size in enumerate(sizes)]
    text = "\n".join(turns)
    if len(text) <= max_length:
        return
    texts, row = shorten(turns, max_length, side)
    assert len(row.ids) <= max_length
    assert len(texts) == len(turns) - row.turns_left_out
    whole = [turn for turn in texts if turn in turns]
    assert len(whole) >= len(texts) - 1
    if not row.turn_cut and row.turns_left_out:
        order = truncation._order_of_keeping(len(turns), side)
        more = [turns[place] for place in sorted(order[: len(texts) + 1])]
        assert len("\n".join(more)) > max_length
    anchor = turns[0] if side == "end" else turns[-1]
    if len(anchor) <= max_length:
        assert texts[0 if side == "end" else -1] == anchor


def test_a_dialogue_of_very_many_turns_takes_few_encodings() -> None:
    calls: list[int] = []

    def counted(text: str) -> list[int]:
        calls.append(len(text))
        return encode(text)

    turns = [f"#Person1#: {number}" for number in range(50_000)]
    text = "\n".join(turns)
    truncation.shorten(text, encode=counted, tokens=len(text), max_length=100, truncation="middle")
    assert len(calls) < 12
    assert max(calls) < 100 * 20, "never the whole dialogue"


ROWS = [
    EncodedDialogue([1] * 10, 10, 2),
    EncodedDialogue([1] * 20, 60, 8, turns_left_out=3),
    EncodedDialogue([1] * 20, 30, 1, turn_cut=True),
]


def test_what_is_left_out_is_counted() -> None:
    assert truncation.count_cuts([*ROWS, ["not shortened"]], "start") == {
        "truncation": "start",
        "dialogues": 4,
        "truncated": 2,
        "truncated_share": 0.5,
        "turns": 11,
        "turns_left_out": 3,
        "turns_cut": 1,
        "tokens": 100,
        "tokens_left_out": 50,
        "tokens_left_out_share": 0.5,
        "tokens_max": 60,
    }


@pytest.mark.parametrize(
    ("largest", "advice"),
    [
        (None, "60 would keep all"),
        (60, "60 would keep all; the model allows up to 60"),
        (59, "60 would keep all, but the model allows only 59"),
    ],
)
def test_the_sentence_says_how_much_which_way_and_what_to_do(largest: int | None, advice: str) -> None:
    counts = truncation.count_cuts(ROWS, "middle")
    limits: Any = {"truncation": "middle", "max_length": 20, "largest": largest}
    sentence = truncation.describe_cuts(counts, rows=3, for_training=True, **limits)
    windows = "; or generation.long_dialogues: windows reads them whole"
    assert truncation.describe_cuts(counts, rows=3, **limits) == f"{sentence}{windows}"
    assert sentence == (
        "2 of 3 dialogues (66.7%) are longer than tokenizer.max_input_length (20 tokens): 3 of 11 turns are left out from the "
        f"middle; turns cut because they do not fit even alone: 1; in all 50 of 100 tokens (50.0%). {advice}"
    )


def test_nothing_is_said_if_all_fit() -> None:
    whole: list[Any] = [ROWS[0], "text"]
    counts = truncation.count_cuts(whole, "end")
    assert truncation.describe_cuts(counts, rows=2, truncation="end", max_length=20, largest=None) is None
    assert truncation.describe_cut_summaries({"truncated": 0}, rows=2, max_length=20, largest=None) is None
