"""Damaged and missing files are detected in the folders of stages and in DVC's cache."""

import subprocess
from pathlib import Path

import pytest

from yoyak.system import text_files
from yoyak.system.atomic import atomic_folder
from yoyak.system.checksums import CHECKSUMS_FILE
from yoyak.system.errors import YoyakError
from yoyak.system.integrity import damaged_cache_objects, verify_checksums


def test_a_damaged_or_missing_file_is_named(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "가 나.txt").write_text("text")
        (folder / "empty").touch()
    verify_checksums(tmp_path / "out")
    path = tmp_path / "out" / "sub" / "가 나.txt"
    for text in ("texu", "tex", "text\n", ""):
        path.write_text(text)
        with pytest.raises(YoyakError, match=rf"{path}: damaged"):
            verify_checksums(tmp_path / "out")
    path.unlink()
    with pytest.raises(YoyakError, match=rf"{path}: missing"):
        verify_checksums(tmp_path / "out")
    (tmp_path / "out" / CHECKSUMS_FILE).write_text("0" * 63 + "  empty\n")
    with pytest.raises(YoyakError, match=rf"{CHECKSUMS_FILE}:1: damaged"):
        verify_checksums(tmp_path / "out")
    (tmp_path / "out" / CHECKSUMS_FILE).unlink()
    with pytest.raises(YoyakError, match=f"{CHECKSUMS_FILE}: no such file"):
        verify_checksums(tmp_path / "out")


def test_checksums_have_the_format_of_sha256sum(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "a b.txt").write_text("text")
    subprocess.run(["sha256sum", "--check", "--strict", CHECKSUMS_FILE], cwd=tmp_path / "out", check=True, capture_output=True)


def test_a_cache_object_whose_name_is_not_its_md5_is_reported(tmp_path: Path) -> None:
    objects = tmp_path / "files/md5"
    for name, data in (("5d/41402abc4b2a76b9719d911017c592", b"hello"), ("5d/41402abc4b2a76b9719d911017c593.dir", b"hello")):
        (objects / name).parent.mkdir(parents=True, exist_ok=True)
        (objects / name).write_bytes(data)
    assert [path.name for path in damaged_cache_objects(tmp_path)] == ["41402abc4b2a76b9719d911017c593.dir"]


def test_files_with_a_given_ending_are_only_checked_for_presence(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "model.safetensors").write_text("weights")
        (folder / "config.json").write_text("{}")
    (tmp_path / "out/model.safetensors").write_text("other")
    verify_checksums(tmp_path / "out", presence_only=(".safetensors",))
    with pytest.raises(YoyakError, match=r"model\.safetensors: damaged"):
        verify_checksums(tmp_path / "out")
    (tmp_path / "out/model.safetensors").unlink()
    with pytest.raises(YoyakError, match=r"model\.safetensors: missing"):
        verify_checksums(tmp_path / "out", presence_only=(".safetensors",))


def test_a_long_list_of_checksums_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit holds for one line, not for the file."""
    with atomic_folder(tmp_path / "out") as folder:
        for number in range(20):
            (folder / str(number)).touch()
    monkeypatch.setattr(text_files, "MAX_ROW_BYTES", 200)
    verify_checksums(tmp_path / "out")
