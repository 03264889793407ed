"""Files, folders and archives as sources."""

import zipfile
from pathlib import Path

import pytest

from tests.data.importers import samples
from yoyak.data.importers.sources import find_sources, split_of_name
from yoyak.system.errors import YoyakError


def names(*paths: Path, folder: Path) -> list[str]:
    return [Path(file.name).name for file in find_sources(paths, folder)]


def test_a_folder_gives_its_files_in_order_without_clutter(tmp_path: Path) -> None:
    for name in ("b/2.json", "a/1.json", "a/._1.json", "readme.pdf", ".git/x.json"):
        samples.write_json(tmp_path / "corpus" / name, [])
    assert names(tmp_path / "corpus", folder=tmp_path / "work") == ["1.json", "2.json"]


def test_an_archive_gives_its_files_with_korean_names(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Training/일상.json", "[]")
        archive.writestr("__MACOSX/x.json", "[]")
    (found,) = find_sources([path], tmp_path / "work")
    assert found.name == f"{path}/Training/일상.json"
    assert found.path.read_text() == "[]"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../a.json", "leads out"),
        ("/etc/a.json", "leads out"),
        ("c:/a.json", "leads out"),
        ("..\\a.json", "leads out"),
        ("b.zip", "archive within the archive"),
    ],
)
def test_tricks_in_archives_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, "[]")
    with pytest.raises(YoyakError, match=message):
        names(tmp_path / "a.zip", folder=tmp_path / "work")
    assert not list(tmp_path.rglob("*.json"))


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a.json")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(YoyakError, match=r"a\.json: a link"):
        names(tmp_path / "a.zip", folder=tmp_path / "work")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", b" " * 60 * 2**20)
    with pytest.raises(YoyakError, match="zip bomb"):
        names(tmp_path / "a.zip", folder=tmp_path / "work")


def test_other_archives_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.7z").write_bytes(b"7z")
    (tmp_path / "empty").mkdir()
    for path, message in (
        (tmp_path / "a.7z", "unpack it"),
        (tmp_path / "b.json", "no such"),
        (tmp_path / "empty", "no file with"),
    ):
        with pytest.raises(YoyakError, match=message):
            names(path, folder=tmp_path / "work")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("일상대화요약_train.json", "train"),
        ("corpus/01.Training/a.json", "train"),
        ("Validation/개인및관계.json", "dev"),
        ("검증/a.json", "dev"),
        ("myTest.csv", "test"),
        ("test_my_import/a.json", ""),
        ("constraint.csv", ""),
    ],
)
def test_the_name_tells_the_split(name: str, split: str) -> None:
    assert split_of_name(name) == split
