"""Dialogues that are almost the same in two splits are found, named and counted, and nothing else is."""

import pytest

from yoyak.data import near_guard
from yoyak.data.near_guard import NearDuplicateGuard, count_by_split

TEXT = "#Person1#: 내일 저녁에 시간 있으면 같이 공포 영화를 보러 가자.\n#Person2#: 좋아, 여섯 시에 극장 앞에서 만나자."
OTHER = "#Person1#: 세탁기가 고장 나서 바닥에 물이 샌다.\n#Person2#: 수리 기사를 부르고 우선 전원을 꺼."


def guard(*rows: tuple[str, str, str]) -> NearDuplicateGuard:
    filled = NearDuplicateGuard()
    for split, row, dialogue in rows:
        filled.add(split=split, row=row, dialogue=dialogue)
    return filled


def test_pairs_of_two_splits_are_named_with_their_similarity() -> None:
    near = TEXT.replace("여섯", "일곱")
    filled = guard(
        ("train", "train.csv:2", near),
        ("train", "train.csv:3", OTHER),
        ("train", "train.csv:4", near + " 응."),
        ("dev", "dev.csv:2", TEXT),
        ("test", "test.csv:2", OTHER.replace("바닥에", "마루에")),
    )
    pairs = filled.pairs()
    assert {(pair.row, pair.other) for pair in pairs} == {
        ("train.csv:2", "dev.csv:2"),
        ("train.csv:4", "dev.csv:2"),
        ("train.csv:3", "test.csv:2"),
    }
    assert all(0.7 <= pair.similarity < 1 for pair in pairs)
    assert count_by_split(pairs) == {"train": 3, "dev": 1, "test": 1}
    (message,) = filled.messages(pairs)
    assert message.startswith("WARNING: 3 dialogues are almost the same in another split (at least 70%")
    assert f"\n  {pairs[0].row}: {pairs[0].similarity:.0%} like {pairs[0].other}" in message


def test_a_pair_of_dev_and_test_is_told_once_and_repeats_within_a_split_are_not_told() -> None:
    pairs = guard(("dev", "a", TEXT), ("dev", "b", TEXT + " 응."), ("test", "c", TEXT + " 그래.")).pairs()
    assert [(pair.row, pair.other) for pair in pairs] in ([("a", "c"), ("b", "c")], [("b", "c"), ("a", "c")])
    assert not guard(("train", "a", TEXT), ("train", "b", TEXT + " 응."), ("dev", "c", OTHER)).pairs()


def test_without_the_package_nothing_is_compared_and_this_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_guard, "find_spec", lambda _: None)
    filled = guard(("train", "a", TEXT), ("dev", "b", TEXT + " 응."))
    (message,) = filled.messages(filled.pairs())
    assert message == "WARNING: near-duplicates are not searched, because the package rensa is not installed; run `make setup`"
