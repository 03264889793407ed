"""The files of the raw data: shards are read in their order, and a fault names the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tests.conftest import save_csv
from yoyak.config.data_section import Data
from yoyak.config.sections import Preprocess
from yoyak.data.split_files import SplitFiles, find_split
from yoyak.data.splits import REQUIRED_COLUMNS, SplitCleaner
from yoyak.system.errors import YoyakError

ROWS: list[dict[str, Any]] = [
    {"fname": f"train_{number}", "dialogue": f"#Person1#: {number}번 버스가 왔어?", "summary": f"요약 {number}"}
    for number in range(7)
]
SHARDS = (ROWS[:3], ROWS[3:5], ROWS[5:])


def save_parquet(path: Path, rows: list[dict[str, Any]], **options: Any) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, **options)


def save_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


SAVE: dict[str, Callable[..., Any]] = {"csv": save_csv, "parquet": save_parquet, "jsonl": save_jsonl}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three Parquet files of train, numbered as Hugging Face datasets do."""
    for number, rows in enumerate(SHARDS):
        save_parquet(tmp_path / f"train-{number:05}-of-00003.parquet", rows, row_group_size=2)
    return tmp_path


def rows_of(files: SplitFiles) -> list[dict[str, str]]:
    return [row.cells for row in files.rows(REQUIRED_COLUMNS["train"])]


def fault_of(folder: Path) -> str:
    with pytest.raises(YoyakError) as error:
        rows_of(find_split(folder, "train"))
    return str(error.value).replace(f"{folder}/", "")


@pytest.mark.parametrize("kind", SAVE)
def test_shards_give_the_rows_of_one_file(tmp_path: Path, kind: str) -> None:
    for number, rows in enumerate(SHARDS):
        SAVE[kind](tmp_path / f"train-{number}.{kind}", rows)
    found = find_split(tmp_path, "train")
    assert found.path == tmp_path / f"train-*.{kind}"
    assert rows_of(found) == ROWS
    assert [row.path.stem for row in found.rows([])] == ["train-0"] * 3 + ["train-1"] * 2 + ["train-2"] * 2


def test_the_order_is_that_of_the_numbers(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        save_csv(tmp_path / f"train-{number}.csv", [{"fname": f"f{number}"}])
    assert fault_of(tmp_path).startswith("train-*.csv: number 3, 4, 5, 6, 7, 8, 9 of 10 files is missing")
    for number in range(3, 10):
        save_csv(tmp_path / f"train-{number}.csv", [{"fname": f"f{number}"}])
    assert [row.cells["fname"] for row in find_split(tmp_path, "train").rows(["fname"])] == [f"f{n}" for n in range(1, 11)]


def test_one_file_without_a_number_is_read_too(tmp_path: Path) -> None:
    save_parquet(tmp_path / "train.parquet", ROWS)
    assert rows_of(find_split(tmp_path, "train")) == ROWS
    save_csv(tmp_path / "train.csv", ROWS[:2])  # made of the other one, for example by `yoyak import`
    assert rows_of(find_split(tmp_path, "train")) == ROWS[:2]


def test_other_files_are_no_shards(folder: Path) -> None:
    for name in ("train-old.csv", "trainers.csv", "train-00000-of-00003.parquet.md5", "train.speakers.jsonl", "test-0.csv"):
        (folder / name).touch()
    assert rows_of(find_split(folder, "train")) == ROWS


def test_train_csv_beside_shards_is_refused(folder: Path) -> None:
    save_csv(folder / "train.csv", ROWS)
    assert fault_of(folder) == (
        "train-00000-of-00003.parquet: train.csv has rows of train too; keep one of the two, or number both alike"
    )


def test_a_gap_is_named(folder: Path) -> None:
    (folder / "train-00001-of-00003.parquet").unlink()
    assert fault_of(folder) == "train-*.parquet: number 1 of 3 files is missing; copy the data again"


def test_shards_of_two_data_sets_are_refused(folder: Path) -> None:
    save_parquet(folder / "train-00003-of-00004.parquet", ROWS[:1])
    assert fault_of(folder).startswith("train-*.parquet: the names state 3 and 4 files")
    (folder / "train-00003-of-00004.parquet").rename(folder / "train-00003-of-00003.parquet")
    assert fault_of(folder).startswith("train-*.parquet: the names state 3 files, numbered from 0, but there is number 3")
    (folder / "train-00003-of-00003.parquet").rename(folder / "train-2.parquet")
    assert fault_of(folder) == "train-2.parquet: train-00002-of-00003.parquet has the same number; remove one of them"


@pytest.mark.parametrize("kind", SAVE)
def test_a_shard_with_other_columns_is_named(tmp_path: Path, kind: str) -> None:
    SAVE[kind](tmp_path / f"train-0.{kind}", ROWS[:2])
    SAVE[kind](tmp_path / f"train-1.{kind}", [{**row, "topic": "버스"} for row in ROWS[2:4]])
    assert fault_of(tmp_path).startswith(f"train-1.{kind}: other columns than train-0.{kind} (also topic)")
    SAVE[kind](tmp_path / f"train-1.{kind}", [{"fname": "f", "dialogue": "#Person1#: 안녕"}])
    assert "train-1" in (told := fault_of(tmp_path)) and "no" in told and "summary" in told


def test_an_empty_shard_is_named(folder: Path) -> None:
    empty = pyarrow.schema([(name, pyarrow.string()) for name in ROWS[0]]).empty_table()
    pyarrow.parquet.write_table(empty, folder / "train-00001-of-00003.parquet")
    assert fault_of(folder).startswith("train-00001-of-00003.parquet: no rows")
    (folder / "train-00001-of-00003.parquet").write_bytes(b"")
    assert fault_of(folder).startswith("train-00001-of-00003.parquet: cannot be read as Parquet")


def test_columns_that_hold_no_text_are_refused_where_they_matter(tmp_path: Path) -> None:
    save_parquet(tmp_path / "train.parquet", [{**ROWS[0], "fname": 7, "seconds": 1.5, "parts": ["a"]}])
    assert rows_of(find_split(tmp_path, "train")) == [{**ROWS[0], "fname": "7"}]
    save_parquet(tmp_path / "train.parquet", [{**ROWS[0], "summary2": ["a", "b"]}])
    assert fault_of(tmp_path).startswith("train.parquet: the column summary2 holds list<")
    (tmp_path / "train.parquet").unlink()
    save_jsonl(tmp_path / "train.jsonl", [ROWS[0], {**ROWS[1], "summary": None}, {**ROWS[2], "dialogue": ["a"]}])
    assert fault_of(tmp_path).startswith("train.jsonl:3: dialogue is not a text")


def test_preprocess_names_the_shard_and_the_row(folder: Path) -> None:
    save_parquet(folder / "train-00002-of-00003.parquet", [{**ROWS[5], "fname": "train_1"}, {**ROWS[6], "dialogue": "말"}])
    for split in ("dev", "test"):
        save_csv(folder / f"{split}.csv", [{**ROWS[0], "dialogue": f"#Person1#: {split} 중이야."}])
    settings = Preprocess(noise="moderate", person_tags="keep_original", max_rejected=0)
    cleaner = SplitCleaner(Data(dir=str(folder), folds=0, fold=1), settings)
    for split in cleaner.paths:
        list(cleaner.clean(split))
    with pytest.raises(YoyakError) as error:
        cleaner.check()
    told = str(error.value).replace(f"{folder}/", "")
    assert "train-00002-of-00003.parquet:1 (fname train_1): this fname occurs in train-00000-of-00003.parquet:2 too" in told
    assert "train-00002-of-00003.parquet:2 (fname train_6): no_speaker" in told
