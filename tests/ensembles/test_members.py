"""Which experiments can be members of one ensemble."""

from dataclasses import replace
from typing import Any

import pytest

from tests.ensembles.stubs import OURS, StubMember, StubRun, rows_of
from yoyak.ensembles.members import check_members, has_same_dev
from yoyak.system.errors import YoyakError

WRITTEN = {"dev": ["a", "b"], "test": ["c"]}


def member(name: str = "b", folds: tuple[int, int] = (0, 1), **rows: Any) -> Any:
    return StubMember(name, WRITTEN, {**OURS, **rows}, folds=folds)


def refused(*members: Any) -> str:
    with pytest.raises(YoyakError) as error:
        check_members([member("a"), *members], OURS)
    return str(error.value)


def test_the_same_data_is_accepted() -> None:
    check_members([member("a"), member("b")], OURS)


def test_other_data_is_refused() -> None:
    assert refused(member(test=rows_of(["y1"]))).startswith("member b: its test.csv has other dialogues")
    assert refused(member(dev=rows_of(["d1", "d9"]))).startswith("member b: its dev has other dialogues")


def test_other_references_are_refused() -> None:
    changed = [OURS["dev"][0], OURS["dev"][1] | {"references": ["다른 요약"]}]
    assert refused(member(dev=changed)).startswith("member b: 1 dialogues of dev have other references, the first is d2")


def test_another_scorer_is_refused() -> None:
    other = replace(member(), run=StubRun({"signature": "rouge|mecab:2|decoding:x"}))
    assert "member b: scored otherwise than a" in refused(other)
    check_members([member("a"), replace(member(), run=StubRun({"signature": "rouge|mecab:1|decoding:other"}))], OURS)


def test_folds_of_the_train_split_are_accepted() -> None:
    fold = member(folds=(2, 1), train=rows_of(["t1", "t2"]), dev=rows_of(["t3", "t4"]))
    check_members([member("a"), fold], OURS)
    assert not has_same_dev(fold, OURS)


def test_folds_of_other_rows_are_refused() -> None:
    """It has trained on dialogues of our dev."""
    fold = member(folds=(2, 1), train=rows_of(["t1", "d1"]), dev=rows_of(["t3", "t4"]))
    assert refused(fold).startswith("member b: it is fold 1 of 2, but of other rows than train.csv")
