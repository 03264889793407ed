"""Folds of train.csv: equal in size, without almost equal dialogues in two of them, and each row once dev."""

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import save_csv
from yoyak.config.data_section import Data
from yoyak.config.params import parse_params
from yoyak.config.sections import Preprocess
from yoyak.data.folds import fold_of_rows
from yoyak.data.split_files import find_split
from yoyak.data.splits import SplitCleaner
from yoyak.system.errors import YoyakError

WORDS = [chr(0xAC00 + 97 * number) * 2 for number in range(60)]


def make_rows(count: int, *, seed: int = 0) -> list[dict[str, str]]:
    """Dialogues of random words. Each third one repeats the dialogue before it with one more word."""
    generator = random.Random(seed)
    rows: list[dict[str, str]] = []
    for number in range(count):
        said = " ".join(generator.choices(WORDS, k=30)) + f" {number}"
        if number % 3 == 2:
            said = rows[-1]["dialogue"].split(": ", 1)[1] + " 네"
        rows.append({"fname": f"train_{number}", "dialogue": f"#Person1#: {said}", "summary": f"요약 {number}"})
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, rows in (("train", make_rows(60)), ("test", make_rows(3, seed=1))):
        save_csv(tmp_path / f"{split}.csv", [{**row, "fname": row["fname"].replace("train", split)} for row in rows])
    return tmp_path


def test_folds_have_the_same_size_and_keep_near_duplicates_together(folder: Path) -> None:
    folds = fold_of_rows(find_split(folder, "train"), 5)
    assert set(folds) == {1, 2, 3, 4, 5}
    sizes = Counter(folds).values()
    assert max(sizes) - min(sizes) <= 2, sizes
    assert all(folds[number] == folds[number - 1] for number in range(2, 60, 3))


def test_the_fold_of_a_row_does_not_depend_on_the_order(folder: Path) -> None:
    rows = make_rows(60)
    before = dict(zip([row["fname"] for row in rows], fold_of_rows(find_split(folder, "train"), 4), strict=True))
    random.Random(1).shuffle(rows)
    save_csv(folder / "train.csv", rows)
    after = dict(zip([row["fname"] for row in rows], fold_of_rows(find_split(folder, "train"), 4), strict=True))
    assert after == before


def test_each_row_is_dev_once(folder: Path) -> None:
    settings = Preprocess(noise="moderate", person_tags="keep_original", max_rejected=0)
    seen: Counter[str] = Counter()
    for fold in (1, 2, 3):
        cleaner = SplitCleaner(Data(dir=str(folder), folds=3, fold=fold), settings)
        train, dev = ([row["fname"] for row in cleaner.clean(split)] for split in ("train", "dev"))
        assert len(list(cleaner.clean("test"))) == 3
        cleaner.check()
        assert not set(train) & set(dev)
        assert len(train) + len(dev) == 60
        seen.update(dev)
    assert set(seen.values()) == {1}
    assert len(seen) == 60


def test_more_folds_than_groups_are_an_error(folder: Path) -> None:
    save_csv(folder / "train.csv", make_rows(3))
    with pytest.raises(
        YoyakError, match=r"data\.folds: .*2 groups of dialogues.*too few for 3 folds; set data\.folds to at most 2"
    ):
        fold_of_rows(find_split(folder, "train"), 3)


def test_an_fname_twice_is_an_error(folder: Path) -> None:
    save_csv(folder / "train.csv", [*make_rows(5), make_rows(1)[0]])
    with pytest.raises(YoyakError, match=r"train\.csv:7 \(fname train_0\): this fname occurs in line 2 too"):
        fold_of_rows(find_split(folder, "train"), 2)


@pytest.mark.parametrize(
    ("folds", "fold", "message"), [(1, 1, "folds: at least 2"), (3, 4, r"fold: 4 is more than data\.folds")]
)
def test_folds_that_cannot_be(values: dict[str, dict[str, object]], folds: int, fold: int, message: str) -> None:
    values["data"] |= {"folds": folds, "fold": fold}
    with pytest.raises(YoyakError, match=message):
        parse_params(values, source="test")
