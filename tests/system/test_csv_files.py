"""CSV files: what other programs write is read, faults name file, line and fname, and what is written is byte-true."""

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoyak.system import text_files
from yoyak.system.csv_files import CsvNotes, Row, is_protected, read_csv, write_csv
from yoyak.system.errors import YoyakError
from yoyak.system.invisible import is_blank

HEAD = "fname,dialogue\n"
GOOD = HEAD + '가_0,"#Person1#: 안녕\n#Person2#: 그래"\n'


def rows(path: Path) -> list[Row]:
    return list(read_csv(path, required=["fname", "dialogue"]))


def test_read_csv_gives_the_line_that_a_row_starts_on(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('fname,"dia\nlogue",dialogue\r\n가,"하나\r\n둘","a,""b"""\r\n\r\n나,,x\n'.encode())
    assert rows(path) == [
        Row(3, {"fname": "가", "dia\nlogue": "하나\r\n둘", "dialogue": 'a,"b"'}),
        Row(6, {"fname": "나", "dia\nlogue": "", "dialogue": "x"}),
    ]


def test_read_csv_keeps_cells_as_they_are(tmp_path: Path) -> None:
    cell = " \t#Person1#: 앗\\n \b ㅋㅋ\u200b \r\n" + "가" * 200_000
    write_csv(tmp_path / "a.csv", [{"fname": "1", "dialogue": cell}], columns=["fname", "dialogue"])
    assert rows(tmp_path / "a.csv")[0].cells["dialogue"] == cell


@pytest.mark.parametrize("text", [GOOD, GOOD.replace("\n", "\r\n"), GOOD.rstrip("\n"), GOOD + "\n\n"])
def test_read_csv_accepts_every_line_end(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode())
    (row,) = rows(tmp_path / "a.csv")
    assert row.cells["dialogue"].split() == ["#Person1#:", "안녕", "#Person2#:", "그래"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ["the file is empty"]),
        (HEAD.encode(), ["a header, but no rows"]),
        (b"\n", ["no header"]),
        (b"\xef\xbb\xbf", ["the file is empty"]),
        (b"fname,summary\n1,2\n", [":1: ", "no column dialogue", "the columns are: fname, summary"]),
        (b"fname,Dialogue\n1,2\n", ["the columns are: fname, Dialogue; rename Dialogue to dialogue?"]),
        (b"filename;dialog;x\n1;2;3\n", ["rename filename to fname and dialog to dialogue?"]),
        (b"id\ttext\n1\t2\n", ["the columns are: id, text; rename id to fname and text to dialogue?"]),
        (b"fname,dialogue,dialogue\n1,2,3\n", [":1: ", "the column dialogue occurs twice"]),
        (GOOD.encode("utf-16"), [":1:", "UTF-16"]),
        (b"\xfe\xff" + GOOD.encode("utf-16-be"), [":1:", "UTF-16"]),
        (GOOD.encode("utf-16-le"), [":1:", "NUL"]),
        (b"PK\x03\x04....", [":1:", "Excel workbook or a zip archive; export it as CSV (UTF-8)"]),
        (GOOD.encode("cp949"), [":2:", "not UTF-8", "CP949"]),
        (GOOD.encode() + b"2,\xff\n", [":4:", "not UTF-8"]),
        (GOOD.encode() + b"2,a\0b\n", [":4:", "NUL"]),
        (GOOD.encode() + b"fn_2\n", [":4 (fname fn_2): ", "1 cells where the header has 2", "fn_2"]),
        (GOOD.encode() + b"fn_2,a,b\n", [":4 (fname fn_2): ", "3 cells where the header has 2", "fn_2"]),
        (GOOD.encode() + b'2,"never closed\n3,a\n', [":4:", "unbalanced quote"]),
        (GOOD.encode() + b'2,"closed" too early"\n3,a\n', [":4:", "unbalanced quote"]),
        (GOOD.encode() + b'2,"a\nb\nc" d\n3,a\n', [":4:", "unbalanced quote"]),
        (b"fname,dialogue\r1,a\r2,b\r", [":1:", "carriage return"]),
    ],
)
def test_read_csv_names_file_line_and_problem(tmp_path: Path, content: bytes, said: list[str]) -> None:
    path = tmp_path / "자료.csv"
    path.write_bytes(content)
    with pytest.raises(YoyakError) as error:
        rows(path)
    assert str(error.value).startswith(f"{path}:")
    assert [part for part in said if part not in str(error.value)] == []
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "said"), [("none.csv", "no such file"), ("", "is a folder"), ("a.csv/b.csv", "not a folder")])
def test_read_csv_names_a_path_that_is_not_a_file(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "a.csv").write_text(GOOD, encoding="utf-8")
    with pytest.raises(YoyakError, match=said):
        rows(tmp_path / name)


@pytest.mark.parametrize("unit", [b"x", b"\n", b'""', b'\n","'])
def test_an_unclosed_quote_does_not_read_a_large_file_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: bytes
) -> None:
    monkeypatch.setattr(text_files, "MAX_ROW_BYTES", 1000)
    path = tmp_path / "a.csv"
    path.write_bytes(GOOD.encode() * 10 + b'2,"' + unit * 2000)
    with pytest.raises(YoyakError, match=r":\d+: a row of over 1,000 bytes; look for an unbalanced quote"):
        for row in read_csv(path, required=["fname"]):
            assert row.line <= 31
    path.write_bytes(GOOD.encode() + b"1,a\n" * 1000)  # the limit holds for one row, not for the file
    assert len(rows(path)) == 1001


def test_rows_before_an_error_are_yielded_first(tmp_path: Path) -> None:
    """Files are streamed: the error is raised when its line is reached."""
    (tmp_path / "a.csv").write_text(GOOD + "2\n", encoding="utf-8")
    reader = read_csv(tmp_path / "a.csv", required=["fname"])
    assert next(reader).cells["fname"] == "가_0"
    with pytest.raises(YoyakError, match=":4"):
        next(reader)


@settings(deadline=None, max_examples=20, database=None, derandomize=True)
@given(st.lists(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=2, max_size=2), min_size=1))
def test_written_csv_is_read_back_the_same(tmp_path_factory: pytest.TempPathFactory, table: list[list[str]]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.csv"
    given_rows = [dict(zip(("fname", "dialogue"), cells, strict=True)) for cells in table]
    write_csv(path, given_rows, columns=["fname", "dialogue"])
    expected = [row for row in given_rows if not all(map(is_blank, row.values()))]  # blank rows are skipped
    notes = CsvNotes()
    try:
        assert [row.cells for row in read_csv(path, required=["fname"], notes=notes)] == expected
    except YoyakError as error:
        assert not expected and "a header, but no rows" in str(error)
    assert notes.blank_rows == len(given_rows) - len(expected)


def test_write_csv_is_what_other_readers_expect(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [{"fname": "1", "summary": '쉼표, "따옴표"\n줄'}], columns=["fname", "summary"])
    assert (tmp_path / "a.csv").read_bytes() == 'fname,summary\n1,"쉼표, ""따옴표""\n줄"\n'.encode()
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [{"fname": "1", "summary": '쉼표, "따옴표"\n줄'}]


def test_write_csv_refuses_an_unknown_column(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="topic"):
        write_csv(tmp_path / "a.csv", [{"fname": "1", "topic": "x"}], columns=["fname"])
    assert list(tmp_path.iterdir()) == []


FORMULAS = ["=1+1", "＝1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_file_is_byte_true_and_a_copy_for_spreadsheets_has_no_formula(tmp_path: Path, text: str) -> None:
    table = [{"fname": "1", "summary": text, "score": -1.5}]
    columns = ["fname", "summary", "score"]
    write_csv(tmp_path / "a.csv", table, columns=columns)
    assert next(read_csv(tmp_path / "a.csv", required=[])).cells == {"fname": "1", "summary": text, "score": "-1.5"}
    write_csv(tmp_path / "a.csv", table, columns=columns, for_spreadsheet=True)
    assert (tmp_path / "a.csv").read_bytes().startswith(b"\xef\xbb\xbffname,")
    (cells,) = [row.cells for row in read_csv(tmp_path / "a.csv", required=[])]
    assert cells == {"fname": "1", "summary": f"'{text}", "score": "-1.5"}
    assert is_protected(cells["summary"]) and not is_protected(text)


@pytest.mark.parametrize(
    ("text", "expected", "told"),
    [
        ("\ufefffname,dialogue\n1,가\n", [(2, "1", "가")], []),
        ("fname;dialogue\n1;가,나\n", [(2, "1", "가,나")], ['the columns are separated by ";"']),
        ("fname\tdialogue\r\n1\t가\r\n", [(2, "1", "가")], ["the columns are separated by tab"]),
        ("fname|dialogue\n1|가\n", [(2, "1", "가")], ['the columns are separated by "|"']),
        ("sep=;\nfname;dialogue\n1;가\n", [(3, "1", "가")], ['the columns are separated by ";"']),
        ('\ufeff"sep=\t"\r\nfname\tdialogue\r\n1\t가\r\n', [(3, "1", "가")], ["the columns are separated by tab"]),
        ("sep=,\nfname,dialogue\n1,가\n", [(3, "1", "가")], []),
        ('fname;"dia""logue";dialogue\n1;2;"가\n나"\n3;4;다\n', [(2, "1", "가\n나"), (4, "3", "다")], ["separated"]),
        (
            "fname,dialogue,,\n1,가,,\n2,나\n3,다,\n",
            [(2, "1", "가"), (3, "2", "나"), (4, "3", "다")],
            ["2 columns without a name"],
        ),
        (",fname,dialogue\n0,1,가\n", [(2, "1", "가")], ["1 column without a name"]),
        ("fname,dialogue\n1,가,,\n", [(2, "1", "가")], []),
        ("\n\nfname,dialogue\n,\n1,가\n\n\u3164,\u200b\n", [(5, "1", "가")], ["5 blank rows skipped"]),
        (" fname,dialogue\u200b \n1,가\n", [(2, "1", "가")], []),
    ],
)
def test_files_of_other_programs_are_read_and_what_is_unusual_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, expected: list[tuple[int, str, str]], told: list[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    assert [(row.line, row.cells["fname"], row.cells["dialogue"]) for row in rows(path)] == expected
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(told)
    assert all(line.startswith(f"{path}: ") and part in line for line, part in zip(lines, told, strict=True))


def test_all_rows_that_do_not_fit_the_header_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(GOOD + "b,1,2\nc,3\nd\n" + "e,x,y\n" * 30, encoding="utf-8")
    with pytest.raises(YoyakError) as error:
        rows(path)
    lines = str(error.value).splitlines()
    assert lines[:3] == [
        f"{path}: 32 rows do not fit the header:",
        f"  {path}:4 (fname b): 3 cells where the header has 2; look for an unbalanced quote or a comma outside quotes",
        f"  {path}:6 (fname d): 1 cells where the header has 2; look for an unbalanced quote or a comma outside quotes",
    ]
    assert lines[-1] == "  and 12 more"


def test_text_in_a_column_without_a_name_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("fname,dialogue,\n1,가,나\n", encoding="utf-8")
    with pytest.raises(YoyakError, match=r"a\.csv:2 \(fname 1\): 3 cells where the header has 2"):
        rows(tmp_path / "a.csv")
