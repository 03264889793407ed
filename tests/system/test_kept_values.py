"""Kept values survive a kill, and damage costs one value."""

from pathlib import Path

import pytest

from yoyak.system.kept_values import KeptValues


def test_values_are_found_by_the_content_of_their_key(tmp_path: Path) -> None:
    kept = KeptValues(tmp_path / "folder/values.jsonl")
    kept.put(["모델", 1, {"a": None}], {"글": "값"})
    kept.put_all([("b", 1), ("c", [2])])
    again = KeptValues(tmp_path / "folder/values.jsonl")
    assert again.get(["모델", 1, {"a": None}]) == {"글": "값"}
    assert (again.get("b"), again.get("c"), again.get("d"), len(again)) == (1, [2], None, 3)


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_cut_off_line_costs_its_value_only(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "values.jsonl"
    kept = KeptValues(path)
    kept.put_all([("a", 1), ("b", 2)])
    path.write_bytes(path.read_bytes()[:-cut])
    again = KeptValues(path)
    assert (again.get("a"), again.get("b")) == (1, 2 if cut == 1 else None)  # without its newline, the line is complete
    again.put("b", 3)
    assert (KeptValues(path).get("a"), KeptValues(path).get("b")) == (1, 3)


def test_a_damaged_byte_costs_its_value_only(tmp_path: Path) -> None:
    path = tmp_path / "values.jsonl"
    KeptValues(path).put_all([("a", "가"), ("b", "나"), ("c", "다")])
    path.write_bytes(path.read_bytes().replace("나".encode(), "너".encode()))
    assert [KeptValues(path).get(key) for key in "abc"] == ["가", None, "다"]


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    first, second = (KeptValues(tmp_path / "values.jsonl") for _ in range(2))
    for number in range(20):
        (first if number % 2 else second).put(number, number)
    kept = KeptValues(tmp_path / "values.jsonl")
    assert [kept.get(number) for number in range(20)] == list(range(20))
