"""Text files and JSON: reading errors name file and line; what is written is read back the same."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from yoyak.config.yaml_files import read_yaml
from yoyak.system.csv_files import read_csv, write_csv
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import counted, place, read_json, read_jsonl, write_json, write_jsonl


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
    for read in (lambda it: list(read_csv(it, required=[])), lambda it: list(read_jsonl(it)), read_json, read_yaml):
        with pytest.raises(YoyakError, match="is a pipe, a socket or a device"):
            read(path)


@pytest.mark.parametrize("name", ["loop.csv", "x" * 5000])
def test_a_path_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(YoyakError, match="cannot be read") as error:
        list(read_csv(tmp_path / name, required=[]))
    assert len(str(error.value)) < 500


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
    with pytest.raises(YoyakError, match=f"{path}:2: not JSON"):
        list(read_jsonl(path))


def test_read_jsonl_names_a_missing_or_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    for name, said in (("empty.jsonl", "empty"), ("none.jsonl", "no such file")):
        with pytest.raises(YoyakError, match=said):
            list(read_jsonl(tmp_path / name))


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    for name, content in (("a.json", '{"a": 1}'), ("a.yaml", "a: 1\n")):
        (tmp_path / name).write_text("\ufeff" + content, encoding="utf-8")
    assert read_json(tmp_path / "a.json") == read_yaml(tmp_path / "a.yaml") == {"a": 1}
    assert list(read_jsonl(tmp_path / "a.json")) == [{"a": 1}]


@pytest.mark.parametrize(
    ("fname", "named"),
    [
        (None, "d/train.csv:17"),
        ("train_16", "d/train.csv:17 (fname train_16)"),
        ("", "d/train.csv:17 (no fname)"),
        ("\x1b[2J", r"d/train.csv:17 (fname '\x1b[2J')"),
    ],
)
def test_a_place_has_one_form(fname: str | None, named: str) -> None:
    assert place(Path("d/train.csv"), 17, fname) == named


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


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (1, ("row",), "1 row"),
        (2, ("row",), "2 rows"),
        (0, ("row",), "0 rows"),
        (1, ("dialogue repeats", "dialogues repeat"), "1 dialogue repeats"),
        (3, ("dialogue repeats", "dialogues repeat"), "3 dialogues repeat"),
    ],
)
def test_a_counted_noun_agrees_with_its_number(number: int, words: tuple[str, ...], text: str) -> None:
    assert counted(number, *words) == text
