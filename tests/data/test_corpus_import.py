"""Whole imports: splits, duplicates, masks, what is written and what is not, and the way back."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.data.importers import samples
from yoyak.config.data_section import Data
from yoyak.config.sections import Preprocess
from yoyak.data.corpus_export import default_format, export, read_exported
from yoyak.data.corpus_import import ImportSettings, import_corpus
from yoyak.data.import_report import ImportReport
from yoyak.data.importers.base import ReadOptions
from yoyak.data.splits import SplitCleaner
from yoyak.system.errors import YoyakError

SPLITS = ("train", "dev", "test")


def run(output: Path, *paths: Path, overwrite: bool = False, **settings: Any) -> ImportReport:
    return import_corpus(paths, output, ImportSettings(**settings), overwrite=overwrite)


def rows(folder: Path, split: str) -> list[dict[str, str]]:
    with open(folder / f"{split}.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "import.json").read_text(encoding="utf-8"))["imports"][-1]
    return content


@pytest.fixture
def nikl(tmp_path: Path) -> list[Path]:
    """Three files of NIKL's corpus; the test file has no summaries."""
    return [
        samples.nikl(tmp_path / "train.json", range(6)),
        samples.nikl(tmp_path / "dev.json", [6, 7], split="dev"),
        samples.nikl(tmp_path / "test.json", [8, 9], split="test", with_output=False),
    ]


def predict(folder: Path, summary: str) -> Path:
    """A file of predictions for the test split, each with the same summary."""
    path = folder / "predictions.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["fname", "summary"], *([row["fname"], summary] for row in rows(folder, "test"))])
    return path


def test_what_is_imported_can_be_preprocessed(tmp_path: Path, nikl: list[Path]) -> None:
    run(tmp_path / "raw", *nikl)
    cleaner = SplitCleaner(
        Data(dir=str(tmp_path / "raw"), folds=0, fold=1),
        Preprocess(noise="moderate", person_tags="keep_original", max_rejected=0),
    )
    cleaned = {split: list(cleaner.clean(split)) for split in SPLITS}
    cleaner.check()
    assert {split: len(found) for split, found in cleaned.items()} == {"train": 6, "dev": 2, "test": 2}
    assert cleaned["train"][0]["summary"] == "#Person1#이 #Person2#에게 공포 영화를 보자고 한다."
    sources = manifest(tmp_path / "raw")["sources"]
    assert [(source["format"], source["records"], source["rows"]) for source in sources] == [
        ("nikl", 6, 6),
        ("nikl", 2, 2),
        ("nikl", 2, 2),
    ]


def test_the_way_in_and_out_keeps_ids_and_speakers(tmp_path: Path, nikl: list[Path]) -> None:
    run(tmp_path / "raw", *nikl)
    predictions = predict(tmp_path / "raw", "#Person1#가 #Person2#은 만난다.")
    found, imported = read_exported(predictions, tmp_path / "raw")
    assert default_format(imported) == "nikl"
    export(found, imported, tmp_path / "out.json", form="nikl", sources=[], excel=False)
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    originals = json.loads(nikl[2].read_text(encoding="utf-8"))
    # The ninth dialogue begins with 민수 (SD2000001), the tenth with 지영 (SD2000002).
    assert [record.pop("output") for record in written] == [
        "SD2000001이 SD2000002는 만난다.",
        "SD2000002가 SD2000001은 만난다.",
    ]
    assert written == originals


def test_aihub_gets_its_summaries_back(tmp_path: Path) -> None:
    samples.aihub(tmp_path / "corpus/a.json", [0, 1], sns=True)
    run(tmp_path / "raw", tmp_path / "corpus", only="test")
    found, imported = read_exported(predict(tmp_path / "raw", "#Person1#이 묻는다."), tmp_path / "raw")
    export(found, imported, tmp_path / "out.json", form="aihub", sources=[], excel=False)
    written = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (written["numberOfItems"], [item["body"]["summary"] for item in written["data"]]) == (
        2,
        ["P01이 묻는다.", "P02가 묻는다."],
    )


def test_tables_are_exported_with_their_own_columns(tmp_path: Path) -> None:
    import openpyxl

    samples.write_table(tmp_path / "a.csv", range(4), encoding="cp949")
    run(tmp_path / "raw", tmp_path / "a.csv", only="test", options=ReadOptions(columns={"fname": "id", "summary": "output"}))
    found, imported = read_exported(predict(tmp_path / "raw", "#Person1#이 온다."), tmp_path / "raw")
    for form in ("csv", "jsonl", "xlsx"):
        export(found, imported, tmp_path / f"out.{form}", form=form, sources=[], excel=form == "csv")
    assert (tmp_path / "out.csv").read_bytes().startswith("\ufeffid,output\nrow_0,민수가 온다.\nrow_1,지영이 온다.\n".encode())
    first = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first == {"id": "row_0", "output": "민수가 온다."}
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx").worksheets[0]
    assert list(sheet.values)[1] == ("row_0", "민수가 온다.")


def test_export_refuses_changed_sources_and_unknown_rows(tmp_path: Path, nikl: list[Path]) -> None:
    run(tmp_path / "raw", *nikl)
    found, imported = read_exported(predict(tmp_path / "raw", "가"), tmp_path / "raw")
    moved = nikl[2].rename(tmp_path / "moved.json")
    for sources, message in (([], "no such file"), ([nikl[0]], "have no record")):
        with pytest.raises(YoyakError, match=message):
            export(found, imported, tmp_path / "out.json", form="nikl", sources=sources, excel=False)
        assert not (tmp_path / "out.json").exists()
    export(found, imported, tmp_path / "out.json", form="nikl", sources=[moved], excel=False)
    samples.nikl(nikl[2], [8, 9], split="other")
    with pytest.raises(YoyakError, match="has changed since the import"):
        export(found, imported, tmp_path / "out.json", form="nikl", sources=[], excel=False)
    (tmp_path / "p.csv").write_text("fname,summary\nother,a\n", encoding="utf-8")
    with pytest.raises(YoyakError, match=r"p\.csv:2 \(fname other\): no such row"):
        read_exported(tmp_path / "p.csv", tmp_path / "raw")


def test_near_duplicates_never_come_into_two_splits_of_a_random_division(tmp_path: Path) -> None:
    planted = []
    for index in range(10):
        text = samples.plain(index)
        planted += [
            {"id": f"{index}", "dialogue": text},
            {"id": f"{index}b", "dialogue": text.replace(" ", "").replace(":", ": 아 ", 1).replace(".", "!")},
        ]
    table = [{**row, "summary": f"{row['id']}번 요약이다."} for row in planted]
    samples.write_jsonl(tmp_path / "a.jsonl", table)
    report = run(tmp_path / "raw", tmp_path / "a.jsonl", shares=(0.6, 0.2, 0.2), seed=3)
    where = {row["fname"]: split for split in SPLITS for row in rows(tmp_path / "raw", split)}
    assert len(where) == 20
    assert all(where[str(index)] == where[f"{index}b"] for index in range(10))
    assert report.near_duplicate_count == 10
    assert manifest(tmp_path / "raw")["near_duplicates"]["examples"][0]["similarity"] > 0.7


def test_near_duplicates_leave_train_if_the_corpus_has_its_own_splits(tmp_path: Path) -> None:
    nearly = [samples.nikl(tmp_path / "train.json", range(6)), samples.nikl(tmp_path / "test.json", [2, 8], split="test")]
    report = run(tmp_path / "raw", *nearly)
    assert [len(rows(tmp_path / "raw", split)) for split in ("train", "test")] == [5, 2]
    assert report.dropped == {"near_duplicate": 1}


def test_the_same_seed_gives_the_same_division_in_any_order_of_files(tmp_path: Path) -> None:
    files = [samples.write_jsonl(tmp_path / f"{half}.jsonl", samples.rows(range(half * 5, half * 5 + 5))) for half in (0, 1)]
    divisions = []
    for number, (paths, seed) in enumerate([(files, 1), (files[::-1], 1), (files, 2)]):
        run(tmp_path / str(number), *paths, shares=(0.6, 0.2, 0.2), seed=seed)
        divisions.append({split: {row["fname"] for row in rows(tmp_path / str(number), split)} for split in SPLITS})
    assert divisions[0] == divisions[1] != divisions[2]


def test_rows_of_a_group_stay_together(tmp_path: Path) -> None:
    samples.write_jsonl(tmp_path / "a.jsonl", samples.rows(range(10)))
    run(tmp_path / "raw", tmp_path / "a.jsonl", shares=(0.5, 0.5, 0), options=ReadOptions(group="who"))
    parity = [{int(row["fname"][-1]) % 2 for row in rows(tmp_path / "raw", split)} for split in ("train", "dev")]
    assert sorted(map(len, parity)) == [1, 1]


def test_what_cannot_be_used_is_counted_and_named(tmp_path: Path) -> None:
    records = json.loads(samples.nikl(tmp_path / "train.json", range(6)).read_text(encoding="utf-8"))
    records[0]["input"]["conversation"][1]["speaker"] = None
    records[1]["input"]["conversation"] = []
    records[2]["input"]["conversation"] = [{"speaker": f"S{number}", "utterance": "안녕"} for number in range(100)]
    records[3]["input"]["conversation"][0]["utterance"] = "잃은 글자 \ufffd"
    records.append(records[4])
    samples.write_json(tmp_path / "train.json", records)
    samples.write_json(tmp_path / "b_train.json", [{**records[5], "output": "다른 요약이다."}])
    run(tmp_path / "raw", tmp_path / "train.json", tmp_path / "b_train.json")
    content = manifest(tmp_path / "raw")
    reasons = {"utterance_without_speaker", "empty_dialogue", "too_many_speakers", "control_character", "repeated_row"}
    assert {reason for reason, count in content["dropped"].items() if count == 1} == reasons
    assert content["dropped"]["rows"] == 5
    assert content["dropped"]["examples"][0] == {
        "place": f"{tmp_path}/train.json: record 1",
        "id": "nikluge-2024-일상 대화 요약-train-000000",
        "reason": "utterance_without_speaker",
        "found": "utterance 2: 응, 민수야. 무슨 일이야?",
    }
    assert [row["fname"][-8:] for row in rows(tmp_path / "raw", "train")] == ["n-000004", "n-000005", "000005-2"]
    assert len((tmp_path / "raw/dropped.jsonl").read_text(encoding="utf-8").splitlines()) == 5


def test_doubtful_names_are_reported_with_the_place(tmp_path: Path) -> None:
    row = {"id": "x", "dialogue": "하늘: 안녕\n준호: 응", "summary": "하늘이 준호에게 인사한다."}
    samples.write_jsonl(tmp_path / "a.jsonl", [row, {**row, "id": "y", "summary": "준호가 인사한다."}])
    run(tmp_path / "raw", tmp_path / "a.jsonl", only="train")
    doubt = {"place": f"{tmp_path}/a.jsonl:1", "id": "x", "in": "summary", "name": "하늘", "reason": "common_word"}
    assert manifest(tmp_path / "raw")["doubtful_names"]["examples"] == [{**doubt, "excerpt": "하늘이 준호에게 인사한다."}]
    assert rows(tmp_path / "raw", "train")[0]["summary"] == "하늘이 #Person2#에게 인사한다."
    run(tmp_path / "map", tmp_path / "a.jsonl", only="train", names="map")
    assert rows(tmp_path / "map", "train")[0]["summary"] == "#Person1#이 #Person2#에게 인사한다."
    run(tmp_path / "drop", tmp_path / "a.jsonl", only="train", names="drop")
    assert [row["fname"] for row in rows(tmp_path / "drop", "train")] == ["y"]


def test_masks_are_kept_or_not_and_counted(tmp_path: Path) -> None:
    samples.aihub(tmp_path / "a.json", [0])
    for masks, end in (("keep", "있어? #@이모티콘#"), ("replace", "있어? 이모티콘"), ("drop", "있어?")):
        run(tmp_path / masks, tmp_path / "a.json", only="train", masks=masks)
        assert rows(tmp_path / masks, "train")[0]["dialogue"].splitlines()[0].endswith(end)
        assert manifest(tmp_path / masks)["masks"] == {"#@이모티콘#": 3}


def test_a_name_with_a_colon_in_an_utterance_begins_no_turn(tmp_path: Path) -> None:
    samples.write_jsonl(
        tmp_path / "a.jsonl",
        [{"id": "x", "dialogue": [{"name": "민수", "text": "할 일 민수: 청소"}], "summary": "가나다."}] * 1,
    )
    run(tmp_path / "raw", tmp_path / "a.jsonl", only="train")
    assert rows(tmp_path / "raw", "train")[0]["dialogue"] == "#Person1#: 할 일 #Person1#, 청소"


def test_rows_without_a_summary_are_kept_apart(tmp_path: Path) -> None:
    table = samples.rows(range(6))
    table[0]["output"] = ""
    samples.write_jsonl(tmp_path / "a.jsonl", table)
    run(tmp_path / "raw", tmp_path / "a.jsonl", shares=(0.8, 0.1, 0.1))
    assert [row["fname"] for row in rows(tmp_path / "raw", "unlabelled")] == ["row_0"]


def test_nothing_is_overwritten_or_left_half_written(tmp_path: Path, nikl: list[Path]) -> None:
    run(tmp_path / "raw", nikl[0])
    before = {path.name: path.read_bytes() for path in (tmp_path / "raw").iterdir()}
    with pytest.raises(YoyakError, match=r"train\.csv exist; nothing is written"):
        run(tmp_path / "raw", nikl[0])
    with pytest.raises(YoyakError, match=r"import\.json exists"):
        run(tmp_path / "raw", nikl[1])
    (tmp_path / "bad.json").write_text("[{", encoding="utf-8")
    with pytest.raises(YoyakError, match="damaged JSON"):
        run(tmp_path / "raw", nikl[0], tmp_path / "bad.json", overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "raw").iterdir()} == before
    assert not list(tmp_path.glob(".*"))
    run(tmp_path / "raw", nikl[1], only="dev")
    run(tmp_path / "raw", nikl[0], overwrite=True)
    assert len(json.loads((tmp_path / "raw/import.json").read_text(encoding="utf-8"))["imports"]) == 2


def test_files_of_which_only_some_tell_their_split_are_refused(tmp_path: Path) -> None:
    files = [samples.nikl(tmp_path / "train.json", [0]), samples.nikl(tmp_path / "more.json", [1])]
    with pytest.raises(YoyakError, match=r"not those of .*more\.json; give --split"):
        run(tmp_path / "raw", *files)
    assert not (tmp_path / "raw").exists()


def test_a_record_without_a_dialogue_is_dropped_with_its_keys(tmp_path: Path) -> None:
    path = samples.nikl(tmp_path / "train.json", range(2))
    records = json.loads(path.read_text(encoding="utf-8"))
    path = samples.write_json(path, [*records, {"id": "x", "output": "요약만 있다."}])
    report = run(tmp_path / "raw", path)
    assert len(rows(tmp_path / "raw", "train")) == 2
    assert "dropped: 1 row: missing_keys: the record has other keys than its format" in report.lines()
    assert "record 3 (x): missing_keys (keys id, output; needed: input.conversation)" in report.lines()[1]


def test_a_speaker_named_like_a_tag_or_a_mask_is_never_searched_in_texts(tmp_path: Path) -> None:
    """#@이름# and #PhoneNumber# in a text may stand for anybody."""
    turns = [("#@이름#", "여보세요"), ("#PhoneNumber#", "민수야, #PhoneNumber#로 전화해"), ("민수", "응")]
    conversation = [{"speaker": speaker, "utterance": text} for speaker, text in turns]
    record = {"id": "1", "input": {"conversation": conversation}, "output": "#@이름#은 민수와 통화한다."}
    report = run(tmp_path / "raw", samples.write_json(tmp_path / "train.json", [record]))
    (row,) = rows(tmp_path / "raw", "train")
    assert row["dialogue"].splitlines() == [
        "#Person1#: 여보세요",
        "#Person2#: #Person3#야, #PhoneNumber#로 전화해",
        "#Person3#: 응",
    ]
    assert row["summary"] == "#@이름#은 #Person3#와 통화한다."
    assert report.doubts == {"tag_or_mask": 2}


def test_a_table_of_utterances_without_a_dialogue_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("speaker,utterance\n민수,안녕\n", encoding="utf-8")
    with pytest.raises(YoyakError, match=r"train\.csv: a table with a column for the speaker .*--columns fname=NAME"):
        run(tmp_path / "raw", path)


def test_files_of_a_folder_may_have_different_encodings_and_the_same_ids(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    for name, encoding, indexes in (("a_train", "cp949", [0, 1]), ("b_train", "utf-16", [2]), ("c_train", "utf-8-sig", [1, 3])):
        path = samples.nikl(folder / f"{name}.json", indexes)
        records = json.loads(path.read_text(encoding="utf-8"))
        for record in records:
            record["id"] = "same" if indexes != [1, 3] else record["id"]
        path.write_bytes(json.dumps(records, ensure_ascii=False).encode(encoding))
    report = run(tmp_path / "raw", folder)
    found = rows(tmp_path / "raw", "train")
    assert [row["fname"] for row in found][:3] == ["same", "same-2", "same-3"] and len(found) == 5
    assert all(row["summary"].startswith("#Person") for row in found), "every file was decoded"
    assert {source["encoding"] for source in report.sources} == {"cp949", "utf-16", "utf-8-sig"}
