"""The guard against dialogues that occur in two splits."""

import pytest

from yoyak.data.leak_guard import FirstValues, LeakGuard
from yoyak.system.errors import YoyakError


def test_dialogues_without_words_are_compared_as_they_are() -> None:
    guard = LeakGuard()
    guard.add(split="train", row="a", dialogue="#Person1#: ...")
    guard.add(split="dev", row="b", dialogue="#Person1#: ?!")
    assert guard.leaks == []


def test_the_first_value_of_a_key_stays() -> None:
    values = FirstValues()
    assert [values.setdefault(key, value) for key, value in ((b"a", "1"), (b"b", "2"), (b"a", "3"), (b"", ""))] == [
        "1",
        "2",
        "1",
        "",
    ]


def test_no_room_for_the_file_is_one_error() -> None:
    values = FirstValues()
    values._database.execute("pragma max_page_count = 3")
    with pytest.raises(YoyakError, match=r"no room for a temporary file .*full.*SQLITE_TMPDIR"):
        for number in range(10_000):
            values.setdefault(str(number).encode(), "x" * 100)


def test_many_leaks_are_not_all_kept_or_printed() -> None:
    guard = LeakGuard()
    for split in ("train", "dev"):
        for number in range(50):
            guard.add(split=split, row=f"{split}_{number}", dialogue=f"#Person1#: {number}번")
    assert (guard.count, len(guard.leaks)) == (50, 20)
    with pytest.raises(YoyakError, match="50 dialogues occur in two splits") as error:
        guard.check()
    assert str(error.value).endswith("\n  and 30 more")
    assert len(str(error.value).splitlines()) == 22


def test_guard_knows_a_colon_in_an_utterance() -> None:
    guard = LeakGuard()
    guard.add(split="train", row="a", dialogue="#Person1#: 비율은 3: 1이야")
    guard.add(split="dev", row="b", dialogue="#Person1#: 비율은 5: 1이야")
    guard.add(split="test", row="c", dialogue="#Person1#: 1이야")
    assert guard.leaks == []


def test_no_leak_is_no_error() -> None:
    guard = LeakGuard()
    guard.add(split="train", row="a", dialogue="#Person1#: 가")
    guard.check()
    guard.add(split="dev", row="b", dialogue="#Person2#: 가")
    with pytest.raises(YoyakError, match=r"^1 dialogue occurs in two splits; remove it .*\n  b: the same dialogue as a$"):
        guard.check()
