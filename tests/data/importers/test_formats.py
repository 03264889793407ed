"""Each format is recognized by its content and gives the same dialogues."""

import zipfile
from pathlib import Path

import pandas as pd
import pytest

from tests.data.importers import samples
from yoyak.data.importers import FORMATS
from yoyak.data.importers.base import ReadOptions, Record, SourceFile
from yoyak.data.importers.look import look_at
from yoyak.data.importers.lookup import choose_importer, importer
from yoyak.data.speaker_labels import labelled_turns
from yoyak.system.errors import YoyakError


def read(path: Path, *, options: ReadOptions | None = None) -> tuple[str, list[Record]]:
    """The format that is recognized, and the records."""
    file = SourceFile(path, path.name)
    look = look_at(file)
    chosen = choose_importer(file, look, name="auto")
    return chosen.name, list(chosen.read(file, look, options or ReadOptions()))


def texts(record: Record) -> list[str]:
    return [turn.utterance for turn in record.turns]


def expected(index: int) -> list[str]:
    return [text for _, text in samples.TALKS[index]]


def test_every_format_has_a_module_with_its_name() -> None:
    assert [importer(name).name for name in FORMATS] == list(FORMATS)


def test_nikl(tmp_path: Path) -> None:
    name, records = read(samples.nikl(tmp_path / "a.json", [0, 1]))
    assert name == "nikl"
    assert [texts(record) for record in records] == [expected(0), expected(1)]
    assert [turn.speaker for turn in records[0].turns] == ["SD2000001", "SD2000002", "SD2000001"]
    assert (records[0].id, records[0].topic, records[0].place) == (
        "nikluge-2024-일상 대화 요약-train-000000",
        "일상",
        "a.json: record 1",
    )
    assert records[1].summaries == ["SD2000002는 회의 자료를 만들었고 SD2000001이 인쇄하기로 한다."]


@pytest.mark.parametrize("sns", [False, True])
def test_aihub_with_and_without_summaries(tmp_path: Path, sns: bool) -> None:
    name, records = read(samples.aihub(tmp_path / "a.json", [0], sns=sns, encoding="utf-8-sig"))
    assert name == "aihub"
    assert [turn.speaker for turn in records[0].turns] == ["P01", "P02", "P01"]
    assert bool(records[0].summaries) != sns


def test_dialogsum_has_several_references(tmp_path: Path) -> None:
    row = {
        "fname": "test_1",
        "dialogue": "#Person1#: 안녕\n#Person2#: 응",
        "summary1": "가.",
        "summary2": "나.",
        "topic1": "인사",
    }
    name, records = read(samples.write_jsonl(tmp_path / "a.jsonl", [row, row]))
    assert (name, records[0].summaries, records[0].id) == ("dialogsum", ["가.", "나."], "test_1")


def test_samsum(tmp_path: Path) -> None:
    rows = [{"id": "1", "summary": "Amy bakes.", "dialogue": "Amy: I bake.\r\nJo: Sure!"}]
    name, records = read(samples.write_json(tmp_path / "a.json", rows))
    assert name == "samsum"
    assert [(turn.speaker, turn.utterance) for turn in records[0].turns] == [("Amy", "I bake."), ("Jo", "Sure!")]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
def test_tables_of_text(tmp_path: Path, separator: str, encoding: str) -> None:
    name, records = read(samples.write_table(tmp_path / "a.csv", [0, 1], separator=separator, encoding=encoding))
    assert name == "csv"
    assert [texts(record) for record in records] == [expected(0), expected(1)]
    assert (records[1].id, records[1].summaries) == ("row_1", [samples.SUMMARIES[1]])


def test_a_table_with_one_utterance_in_each_row(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("대화번호\t화자\t발화\nd1\t민수\t안녕\nd1\t지영\t응\nd2\t민수\t잘 가\n", encoding="utf-8")
    _, records = read(path)
    assert [(record.id, len(record.turns)) for record in records] == [("d1", 2), ("d2", 1)]


def test_other_files_of_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame(samples.rows([0, 1]))
    frame.to_excel(tmp_path / "a.xlsx")
    frame.to_parquet(tmp_path / "a.parquet")
    samples.write_jsonl(tmp_path / "a.jsonl", samples.rows([0, 1]))
    from datasets import Dataset, DatasetDict

    DatasetDict({"validation": Dataset.from_pandas(frame)}).save_to_disk(str(tmp_path / "saved"))
    for file, form in (("a.xlsx", "xlsx"), ("a.parquet", "parquet"), ("a.jsonl", "json"), ("saved", "datasets")):
        name, records = read(tmp_path / file)
        assert (name, [texts(record) for record in records]) == (form, [expected(0), expected(1)])
    assert records[0].split == "dev"


def test_json_with_the_users_columns(tmp_path: Path) -> None:
    value = {"items": [{"key": "1", "inner": {"lines": [{"role": "a", "content": "안녕"}, {"role": "b", "content": "응"}]}}]}
    options = ReadOptions(columns={"dialogue": "inner.lines", "fname": "key"})
    name, records = read(samples.write_json(tmp_path / "a.json", value), options=options)
    assert (name, records[0].id, texts(records[0])) == ("json", "1", ["안녕", "응"])


def test_json_of_other_corpora_with_lists_of_utterances(tmp_path: Path) -> None:
    turns = [{"speaker": {"id": "1", "age": "20대"}, "text": "안녕"}, {"speaker": {"id": "2", "age": "30대"}, "text": "응"}]
    for key in ("conversations", "utterance", "lines"):
        _, records = read(samples.write_json(tmp_path / "a.json", {"document": [{"id": "d", key: turns}]}))
        assert [(turn.speaker, turn.utterance) for turn in records[0].turns] == [("1", "안녕"), ("2", "응")]


@pytest.mark.parametrize("kind", samples.KAKAO)
def test_kakaotalk_of_every_program_gives_a_dialogue_a_day(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"chat.{'csv' if kind == 'macos' else 'txt'}"
    path.write_text(samples.KAKAO[kind], encoding="utf-8-sig")
    name, records = read(path)
    assert name == "kakaotalk"
    assert [record.id for record in records] == ["chat_2024-01-01", "chat_2024-01-02"]
    assert texts(records[0]) == ["내일 저녁에 시간 있어?", "응, 민수야. 무슨 일이야?", "#@시스템#사진#"]
    assert [turn.speaker for turn in records[1].turns] == ["지영", "민수"]


def test_transcripts_may_have_several_dialogues(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"{samples.plain(0)}\n=====\n{samples.plain(1)}\n", encoding="cp949")
    name, records = read(path)
    assert (name, [texts(record) for record in records]) == ("transcript", [expected(0), expected(1)])


@pytest.mark.parametrize(
    ("text", "speakers"),
    [
        ("A: 안녕\nB: 응", ["A", "B"]),
        ("화자1 : 안녕\n화자2 : 응", ["화자1", "화자2"]),
        ("P01：안녕\nP02：응", ["P01", "P02"]),
        ("[민수] [오후 3:21] 안녕\n[지영] [오후 3:22] 응", ["민수", "지영"]),
        ("＃Person1＃：안녕\n＃Person12＃：응", ["#Person1#", "#Person12#"]),
        ("민수\t안녕\n지영\t응", ["민수", "지영"]),
        ("민수: 오후 3:20에 보자\n3:30은 어때?\n지영: https://a.b 봐", ["민수", "지영"]),
    ],
)
def test_labels_of_speakers(text: str, speakers: list[str]) -> None:
    turns, _ = labelled_turns(text)
    assert [turn.speaker for turn in turns] == speakers


def test_lines_without_speakers_alternate_only_on_demand() -> None:
    turns, _ = labelled_turns("- 안녕\n- 응,\n그래\n- 가", alternating=True)
    assert [(turn.speaker, turn.utterance) for turn in turns] == [("A", "안녕"), ("B", "응, 그래"), ("A", "가")]
    with pytest.raises(ValueError, match="no_speaker"):
        labelled_turns("- 안녕\n- 응")


def test_a_workbook_with_a_title_merged_cells_and_a_formula(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (
        ["제목"],
        ["id", "dialogue", "summary", "topic"],
        ["a", samples.plain(0), "가", "일상"],
        ["b", samples.plain(1), "나"],
    ):
        sheet.append(row)
    sheet.merge_cells("D3:D4")
    book.save(tmp_path / "a.xlsx")
    _, records = read(tmp_path / "a.xlsx")
    assert [(record.id, record.topic) for record in records] == [("a", "일상"), ("b", "일상")]
    sheet["C4"] = "=A3"
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(YoyakError, match="sheet Sheet: row 4: the column summary has a formula without a stored value"):
        read(tmp_path / "a.xlsx")


def bad_files(folder: Path) -> dict[str, str]:
    """Files that cannot be read, each with a part of the message."""
    whole = samples.nikl(folder / "whole.json", [0, 1, 2]).read_text(encoding="utf-8")
    contents: dict[str, tuple[bytes, str]] = {
        "half.json": (whole[: len(whole) * 2 // 3].encode(), "half.json: damaged JSON after record 2 .* cut off"),
        "cut.jsonl": (b'{"dialogue": "A: a"}\n{"dialogue": "A:', "cut.jsonl:2: not a JSON value"),
        "mixed.csv": (
            "id,text\n1,A: 안녕하세요\n".encode("cp949") + "2,A: 반갑습니다\n".encode() * 9,
            "UTF-8, UTF-16 or CP949",
        ),
        "empty.json": (b"", "empty"),
        "none.json": (b"[]", "without records"),
        "other.json": (b'[{"a": {"b": 1}}]', "the columns are: a.*inner keys: a.b"),
        "quote.csv": (b'id,text\n1,"A: a\n', "quote.csv:2: an unbalanced quote"),
        "binary.json": (b"\x00\x01" * 50, "NUL|not a text file"),
    }
    for name, (content, _) in contents.items():
        (folder / name).write_bytes(content)
    return {name: message for name, (_, message) in contents.items()}


def test_bad_files_are_named_with_the_place(tmp_path: Path) -> None:
    for name, message in bad_files(tmp_path).items():
        with pytest.raises(YoyakError, match=f"(?s){message}"):
            read(tmp_path / name)


def test_a_workbook_that_is_a_zip_bomb_is_not_opened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", b" " * 60 * 2**20)
    with pytest.raises(YoyakError, match="zip bomb"):
        read(tmp_path / "a.xlsx")
