"""Text files: reading errors name file and line; what is written is read back the same."""

import csv
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoyak.config.yaml_files import read_yaml
from yoyak.system import text_files
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import FORMULA_STARTS, Row, read_csv, read_json, read_jsonl, write_csv, write_json, write_jsonl

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
        (b"\n", ["line 1", "no column fname, dialogue"]),
        (b"fname,summary\n1,2\n", ["line 1", "no column dialogue", "the columns are: fname, summary"]),
        (
            b"fname;dialogue\n1;2\n",
            [
                "line 1",
                "no column fname, dialogue",
                'fname;dialogue; is the file separated by ";"? Separate the columns by commas',
            ],
        ),
        (b"fname,dialogue,dialogue\n1,2,3\n", ["line 1", "occurs twice"]),
        (GOOD.encode("utf-16"), ["line 1", "UTF-16"]),
        (b"\xfe\xff" + GOOD.encode("utf-16-be"), ["line 1", "UTF-16"]),
        (GOOD.encode("utf-16-le"), ["line 1", "NUL"]),
        (GOOD.encode("utf-8-sig"), ["line 1", "byte order mark"]),
        (b"PK\x03\x04....", ["line 1", "Excel workbook or a zip archive; export it as CSV (UTF-8)"]),
        (GOOD.encode("cp949"), ["line 2", "not UTF-8", "CP949"]),
        (GOOD.encode() + b"2,\xff\n", ["line 4", "not UTF-8"]),
        (GOOD.encode() + b"2,a\0b\n", ["line 4", "NUL"]),
        (GOOD.encode() + b"fn_2\n", ["line 4", "1 cells where the header has 2", "fn_2"]),
        (GOOD.encode() + b"fn_2,a,b\n", ["line 4", "3 cells where the header has 2", "fn_2"]),
        (GOOD.encode() + b'2,"never closed\n3,a\n', ["line 4", "unbalanced quote"]),
        (GOOD.encode() + b'2,"closed" too early"\n3,a\n', ["line 4", "unbalanced quote"]),
        (GOOD.encode() + b'2,"a\nb\nc" d\n3,a\n', ["line 4", "unbalanced quote"]),
        (b"fname,dialogue\r1,a\r2,b\r", ["line 1", "carriage return"]),
    ],
)
def test_read_csv_names_file_line_and_problem(tmp_path: Path, content: bytes, said: list[str]) -> None:
    path = tmp_path / "자료.csv"
    path.write_bytes(content)
    with pytest.raises(YoyakError) as error:
        rows(path)
    assert str(error.value).startswith(f"{path}: ")
    assert [part for part in said if part not in str(error.value)] == []
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "said"), [("none.csv", "no such file"), ("", "is a folder"), ("a.csv/b.csv", "not a folder")])
def test_read_csv_names_a_path_that_is_not_a_file(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "a.csv").write_text(GOOD, encoding="utf-8")
    with pytest.raises(YoyakError, match=said):
        rows(tmp_path / name)


@pytest.mark.parametrize("kind", ["pipe", "socket", "/dev/zero", "/dev/null"])
def test_a_pipe_a_socket_and_a_device_are_refused_at_once(tmp_path: Path, kind: str) -> None:
    """Reading a pipe without a writer would wait forever, and /dev/zero has no end."""
    path = tmp_path / "a.csv"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        path.symlink_to(kind)
    for read in (rows, lambda it: list(read_jsonl(it)), read_json, read_yaml):
        with pytest.raises(YoyakError, match="is a pipe, a socket or a device"):
            read(path)


@pytest.mark.parametrize("name", ["loop.csv", "x" * 5000])
def test_a_path_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(YoyakError, match="cannot be read") as error:
        rows(tmp_path / name)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("unit", [b"x", b"\n", b'""', b'\n","'])
def test_an_unclosed_quote_does_not_read_a_large_file_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: bytes
) -> None:
    monkeypatch.setattr(text_files, "MAX_ROW_BYTES", 1000)
    path = tmp_path / "a.csv"
    path.write_bytes(GOOD.encode() * 10 + b'2,"' + unit * 2000)
    with pytest.raises(YoyakError, match=r"line \d+: a row of over 1,000 bytes; look for an unbalanced quote"):
        for row in read_csv(path, required=["fname"]):
            assert row.line <= 31
    path.write_bytes(GOOD.encode() + b"1,a\n" * 1000)  # the limit holds for one row, not for the file
    assert len(rows(path)) == 1001


def test_rows_before_an_error_are_yielded_first(tmp_path: Path) -> None:
    """Files are streamed: the error is raised when its line is reached."""
    (tmp_path / "a.csv").write_text(GOOD + "2\n", encoding="utf-8")
    reader = read_csv(tmp_path / "a.csv", required=["fname"])
    assert next(reader).cells["fname"] == "가_0"
    with pytest.raises(YoyakError, match="line 4"):
        next(reader)


@settings(deadline=None, max_examples=20, database=None, derandomize=True)
@given(st.lists(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=2, max_size=2), min_size=1))
def test_written_csv_is_read_back_the_same(tmp_path_factory: pytest.TempPathFactory, table: list[list[str]]) -> None:
    """Except for the apostrophe before a text that a spreadsheet would run as a formula."""
    path = tmp_path_factory.getbasetemp() / "round.csv"
    given_rows = [dict(zip(("fname", "dialogue"), cells, strict=True)) for cells in table]
    write_csv(path, given_rows, columns=["fname", "dialogue"])
    expected = [
        {name: f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell for name, cell in row.items()} for row in given_rows
    ]
    assert [row.cells for row in rows(path)] == expected


def test_write_csv_is_what_other_readers_expect(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [{"fname": "1", "summary": '쉼표, "따옴표"\n줄'}], columns=["fname", "summary"])
    assert (tmp_path / "a.csv").read_bytes() == 'fname,summary\n1,"쉼표, ""따옴표""\n줄"\n'.encode()
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [{"fname": "1", "summary": '쉼표, "따옴표"\n줄'}]


def test_write_csv_refuses_an_unknown_column(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="topic"):
        write_csv(tmp_path / "a.csv", [{"fname": "1", "topic": "x"}], columns=["fname"])
    assert list(tmp_path.iterdir()) == []


def test_jsonl_keeps_korean_readable_and_every_line_its_own(tmp_path: Path) -> None:
    values: list[dict[str, Any]] = [{"요약": "가\n나\u2028다", "b": [1, 2.5, None]}, {"요약": ""}]
    write_jsonl(tmp_path / "a.jsonl", values)
    text = (tmp_path / "a.jsonl").read_text(encoding="utf-8")
    assert "요약" in text
    assert text.count("\n") == 2
    assert list(read_jsonl(tmp_path / "a.jsonl")) == values


@pytest.mark.parametrize("damage", [b'{"a": \n', b'{"a": "\xff"}\n', b"\n", b'{"a": "\xea\xb0\n'])
def test_read_jsonl_names_the_damaged_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n' + damage + b'{"a": 2}\n')
    with pytest.raises(YoyakError, match=f"{path}: line 2: not JSON"):
        list(read_jsonl(path))


def test_read_jsonl_names_a_missing_or_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    for name, said in (("empty.jsonl", "empty"), ("none.jsonl", "no such file")):
        with pytest.raises(YoyakError, match=said):
            list(read_jsonl(tmp_path / name))


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"rouge1": float("nan")})
    assert list(tmp_path.iterdir()) == []
    write_json(tmp_path / "a.json", {"b": 1, "a": "가"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "가"\n}\n'


def test_rows_that_raise_an_error_leave_no_file(tmp_path: Path) -> None:
    def failing() -> Iterator[dict[str, str]]:
        yield {"fname": "1"}
        raise YoyakError("line 2")

    with pytest.raises(YoyakError):
        write_jsonl(tmp_path / "a", failing())
    with pytest.raises(YoyakError):
        write_csv(tmp_path / "b", failing(), columns=["fname"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["=1+1", "＝1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    write_csv(tmp_path / "a.csv", [{"fname": "1", "summary": text, "score": -1.5}], columns=["fname", "summary", "score"])
    assert next(read_csv(tmp_path / "a.csv", required=[])).cells == {"fname": "1", "summary": f"'{text}", "score": "-1.5"}
