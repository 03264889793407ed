"""Atomic writes: complete or not at all, safe beside other processes, and never through a link."""

import json
import os
from pathlib import Path

import pytest

from yoyak.system.atomic import atomic_file, atomic_folder
from yoyak.system.checksums import CHECKSUMS_FILE
from yoyak.system.integrity import verify_checksums
from yoyak.system.text_files import write_json


class Stopped(BaseException):
    """Like KeyboardInterrupt, it does not derive from Exception."""


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("error", [ValueError, Stopped])
def test_a_file_is_written_completely_or_not_at_all(tmp_path: Path, before: str | None, error: type[BaseException]) -> None:
    path = tmp_path / "new" / "a.txt"
    if before:
        with atomic_file(path) as file:
            file.write(before)
    with pytest.raises(error), atomic_file(path) as file:
        file.write("half")
        file.flush()
        assert (path.read_text() if path.exists() else None) == before
        raise error
    assert [(p.name, p.read_text()) for p in path.parent.iterdir()] == ([("a.txt", "old")] if before else [])


def test_temporary_files_of_a_killed_run_do_not_get_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".a.txt.x1.tmp").mkdir()
    (tmp_path / ".a.txt.x1.tmp" / "a.txt").write_text("much more than what is written now")
    with atomic_file(tmp_path / "a.txt") as file:
        file.write("new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "new")]


def test_a_file_is_utf8_with_line_ends_as_given(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "a.txt") as file:
        file.write("가\n나\r\n")
    assert (tmp_path / "a.txt").read_bytes() == "가\n나\r\n".encode()


@pytest.mark.parametrize("error", [ValueError, Stopped])
@pytest.mark.parametrize("before", [False, True])
def test_a_folder_is_written_completely_or_not_at_all(tmp_path: Path, before: bool, error: type[BaseException]) -> None:
    path = tmp_path / "data" / "out"
    if before:
        with atomic_folder(path) as folder:
            (folder / "old.txt").write_text("old")
    with pytest.raises(error), atomic_folder(path) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "half.txt").write_text("half")
        raise error
    assert [p.name for p in path.parent.iterdir()] == (["out"] if before else [])
    assert sorted((p.name for p in path.rglob("*")), reverse=True) == (["old.txt", CHECKSUMS_FILE] if before else [])


def test_a_folder_replaces_its_previous_content(tmp_path: Path) -> None:
    path = tmp_path / "out"
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "old.txt").write_text("old")
    (tmp_path / ".out.x1.tmp").mkdir()
    (tmp_path / ".out.x1.tmp" / "left by a killed run.txt").write_text("half")
    with atomic_folder(path) as folder:
        (folder / "new.txt").write_text("new")
        assert (path / "sub" / "old.txt").exists()  # the old folder stays until the block ends
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["out", f"out/{CHECKSUMS_FILE}", "out/new.txt"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "a.json", 1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(tmp_path / "a.json", 2)
    with pytest.raises(OSError, match="No space"), atomic_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
    assert [(p.name, json.loads(p.read_text())) for p in tmp_path.iterdir()] == [("a.json", 1)]


def test_the_temporary_folder_of_a_running_process_is_left_alone(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out") as first, atomic_folder(tmp_path / "out") as second:
        for folder, text in ((first, "first"), (second, "second")):
            (folder / "a.txt").write_text(text)
        assert first != second and first.exists()
    assert (tmp_path / "out" / "a.txt").read_text() == "first", "the block that ends last wins"
    verify_checksums(tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_links_at_the_place_of_output_are_not_followed(tmp_path: Path) -> None:
    """A repository from a stranger can have links at the places where our files are written."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").write_text("mine")
    place = tmp_path / "place"
    place.mkdir()
    for name in ("a.json", ".a.json.tmp", ".a.json.x.tmp"):
        (place / name).symlink_to(tmp_path / "precious/file")
    for name in ("out", ".out.tmp", ".out.x.tmp"):
        (place / name).symlink_to(tmp_path / "precious")
    write_json(place / "a.json", 1)
    with atomic_folder(place / "out") as folder:
        (folder / "b").touch()
    assert (tmp_path / "precious/file").read_text() == "mine"
    assert [p.name for p in (tmp_path / "precious").iterdir()] == ["file"]
    assert not (place / "a.json").is_symlink() and not (place / "out").is_symlink()


@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_files_of_a_folder_have_the_modes_of_the_umask(tmp_path: Path, umask: int) -> None:
    """safetensors writes its files with mode 0600."""
    before = os.umask(umask)
    try:
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "sub").mkdir(mode=0o700)
            for name in ("plain", "private", "sub/private"):
                (folder / name).write_text("가", encoding="utf-8")
                if "private" in name:
                    (folder / name).chmod(0o600)
            (folder / "link").symlink_to("plain")
    finally:
        os.umask(before)
    modes = {path.name: path.lstat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*") if not path.is_symlink()}
    assert set(modes) == {"sub", "plain", "private", CHECKSUMS_FILE}
    assert modes.pop("sub") == 0o777 & ~umask
    assert set(modes.values()) == {0o666 & ~umask}
