"""What takes space, and what is freed: never what a commit, an experiment or running work needs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from yoyak.cli.main import main
from yoyak.reports import disk
from yoyak.reports.disk import disk_lines, free, size_of, size_text
from yoyak.system import resumable
from yoyak.system.errors import YoyakError
from yoyak.system.locks import exclusive_lock


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (123_456, "123 kB"), (1_500_000_000, "1.5 GB"), (5e15, "5000 TB")],
)
def test_sizes_for_people(size: float, text: str) -> None:
    assert size_text(size) == text


def test_a_file_with_several_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1000)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to(tmp_path / "missing")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "d").write_bytes(b"x" * 10)
    assert size_of(tmp_path) == 1010 + (tmp_path / "c").lstat().st_size
    assert size_of(tmp_path / "a") == 1000
    assert size_of(tmp_path / "nothing") == 0


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with unfinished work, logs and a cache. Calls of DVC are answered here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("YOYAK_CHECKPOINTS", raising=False)
    for path, size in ((".checkpoints/train-a/x", 3000), (".checkpoints/train-b/x", 500), (".searches/logs/t0.log", 70)):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(b"x" * size)
    (tmp_path / ".searches/studies.db").write_bytes(b"x" * 20)
    (tmp_path / ".dvc/cache").mkdir(parents=True)
    (tmp_path / ".dvc/cache/object").write_bytes(b"x" * 9000)
    monkeypatch.setattr(disk, "dvc_cache_folder", lambda root: root / ".dvc/cache")
    monkeypatch.setattr(disk, "hub_cache", lambda: tmp_path / "hub")
    monkeypatch.setattr(disk, "read_experiments", lambda _root: [])
    monkeypatch.setattr(disk, "running_lines", lambda _root, _experiments: [])
    return tmp_path


def test_the_places_are_listed_by_size(repository: Path) -> None:
    lines = disk_lines(repository)
    assert [(line.split("  ")[0].strip(), line.split()[-0]) for line in lines[:4]] == [
        ("cache", "cache"),
        ("work", "work"),
        ("search logs", "search"),
        ("searches", "searches"),
    ]
    assert "3.5 kB" in lines[1]
    assert "20 bytes" in lines[3], "without the logs"
    assert lines[-1].endswith("are free on this disk")


def test_locked_work_stays(repository: Path) -> None:
    lock = repository / ".checkpoints/train-a.lock"
    lock.touch()
    with exclusive_lock(lock):
        assert list(free(repository, ["work"], dry=True)) == [
            "work: 500 bytes would be freed (1 folder); what was killed begins anew"
        ]
        assert [folder.name for folder in resumable.unlocked_work()] == ["train-b"]
        assert list(free(repository, ["work"], dry=False)) == ["work: 500 bytes freed (1 folder); what was killed begins anew"]
    assert (repository / ".checkpoints/train-a/x").is_file()
    assert not (repository / ".checkpoints/train-b").exists()


def test_a_dry_run_removes_nothing(repository: Path) -> None:
    before = sorted(repository.rglob("*"))
    assert list(free(repository, ["logs"], dry=True)) == ["logs: 70 bytes would be freed"]
    assert [path for path in sorted(repository.rglob("*")) if path.suffix != ".lock"] == before
    assert list(free(repository, ["logs"], dry=False)) == ["logs: 70 bytes freed"]
    assert not (repository / ".searches/logs").exists()
    assert (repository / ".searches/studies.db").is_file()


def test_nothing_is_freed_while_something_runs(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running experiment has data in the cache that no commit names yet."""
    monkeypatch.setattr(disk, "running_lines", lambda _root, _experiments: ["experiments running: e1"])
    with pytest.raises(YoyakError, match="while something runs:\n  experiments running: e1"):
        list(free(repository, ["work", "logs"], dry=False))
    assert (repository / ".checkpoints/train-b/x").is_file()


def test_a_cache_of_several_repositories_is_left_alone(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shared = tmp_path_factory.mktemp("shared")
    monkeypatch.setattr(disk, "dvc_cache_folder", lambda _root: shared)
    monkeypatch.setattr(disk, "dvc", lambda *_: pytest.fail("DVC must not be called"))
    with pytest.raises(YoyakError, match="outside of this repository"):
        list(free(repository, ["cache"], dry=False))


def test_commits_experiments_and_the_workspace_keep_their_data(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []

    def dvc(_root: Path, *args: str) -> str:
        calls.append(args)
        return f"Removing {repository / '.dvc/cache/object'}\nRemoved 1 objects from repo cache."

    monkeypatch.setattr(disk, "dvc", dvc)
    assert list(free(repository, ["cache"], dry=True)) == ["cache: 9.0 kB would be freed (1 file)"]
    assert len(calls) == 1
    next(free(repository, ["cache"], dry=False))
    kept = {"--workspace", "--all-commits", "--all-experiments"}
    assert [(kept < set(call), "--dry" in call) for call in calls] == [(True, True), (True, True), (True, False)]


def test_a_dry_run_alone_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="--dry-run says what --free would remove"):
        main(["disk", "--dry-run"])


@pytest.mark.very_slow
def test_dvc_removes_only_what_nothing_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real repository: two commits of one file, and a version of it that was never committed."""

    def run(*command: str) -> None:
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    dvc = (sys.executable, "-m", "dvc")
    run("git", "init", "-q")
    run("git", "config", "user.email", "a@example.org")
    run("git", "config", "user.name", "a")
    run(*dvc, "init", "-q")
    for text in ("first", "never committed", "second"):
        (tmp_path / "data.txt").write_text(text * 100, encoding="utf-8")
        run(*dvc, "add", "-q", "data.txt")
        if text != "never committed":
            run("git", "add", ".")
            run("git", "commit", "-q", "-m", text)
    monkeypatch.chdir(tmp_path)
    (line,) = free(tmp_path, ["cache"], dry=False)
    assert "1.5 kB freed (1 file)" in line
    run("git", "checkout", "-q", "HEAD~1")
    run(*dvc, "checkout", "-q")
    assert (tmp_path / "data.txt").read_text(encoding="utf-8") == "first" * 100
