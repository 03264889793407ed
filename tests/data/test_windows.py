"""Windows of a long dialogue: whole turns, all of them, in overlapping parts that fit."""

import itertools
import random
from collections.abc import Callable

import pytest

from yoyak.data.windows import split_into_windows, split_long_turns


def at_most(characters: int) -> Callable[[str], bool]:
    return lambda text: len(text) <= characters


def dialogue_of(turns: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [f"#Person{number % 3 + 1}#: " + "말" * draw.randint(1, 40) for number in range(turns)]


@pytest.mark.parametrize("seed", range(20))
def test_every_turn_is_in_a_window_that_fits_and_neighbours_share_turns(seed: int) -> None:
    turns, limit = dialogue_of(30, seed), 250
    windows = split_into_windows(turns, fits=at_most(limit), overlap=2, least=-(-len("\n".join(turns)) // limit))
    assert all(window.text == "\n".join(turns[window.first : window.end]) for window in windows)
    assert all(len(window.text) <= limit for window in windows)
    assert windows[0].first == 0 and windows[-1].end == len(turns)
    assert all(after.first == before.end - 2 for before, after in itertools.pairwise(windows))


def test_windows_are_few_and_of_similar_length() -> None:
    turns = [f"#Person1#: {number:010}" for number in range(20)]  # 21 characters each, 22 with the line break
    windows = split_into_windows(turns, fits=at_most(10 * 22), overlap=0, least=2)
    assert [(window.first, window.end) for window in windows] == [(0, 10), (10, 20)]
    windows = split_into_windows(turns, fits=at_most(10 * 22), overlap=1, least=2)
    assert [window.end - window.first for window in windows] == [7, 7, 8]


def test_an_overlap_without_room_is_smaller() -> None:
    turns = ["#Person1#: " + "가" * 60 for _ in range(6)]
    assert [window.first for window in split_into_windows(turns, fits=at_most(71), overlap=5, least=6)] == list(range(6))


def test_a_turn_that_does_not_fit_alone_becomes_turns_of_its_speaker() -> None:
    words = [f"낱말{number}" for number in range(50)]
    turns = split_long_turns(f"#Person1#: 네.\n#Person2#: {' '.join(words)}", fits=at_most(60))
    assert turns[0] == "#Person1#: 네." and len(turns) > 5
    assert all(turn.startswith("#Person2#: ") and len(turn) <= 60 for turn in turns[1:])
    assert " ".join(turn.removeprefix("#Person2#: ") for turn in turns[1:]).split() == words
    without_spaces = split_long_turns("#Person1#: " + "가" * 100, fits=at_most(60))
    assert "".join(turn.removeprefix("#Person1#: ") for turn in without_spaces) == "가" * 100


def test_a_limit_that_fits_nothing_ends() -> None:
    assert split_long_turns("#Person1#: 가나다", fits=at_most(3)) == ["#Person1#: 가나다"]
    assert len(split_into_windows(["#Person1#: 가", "#Person2#: 나"], fits=at_most(3), overlap=2, least=1)) == 2
