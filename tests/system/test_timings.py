"""Times of stages, kept on this machine under what was made."""

from pathlib import Path

import pytest

from yoyak.system.checksums import write_checksums
from yoyak.system.timings import FILE, find_seconds, record_seconds


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("YOYAK_CHECKPOINTS", str(tmp_path / "kept"))
    (tmp_path / "output").mkdir()
    (tmp_path / "output/a.txt").write_text("1")
    write_checksums(tmp_path / "output")
    return tmp_path / "output"


def test_a_time_belongs_to_the_files_that_were_made(output: Path, tmp_path: Path) -> None:
    first = (output / "SHA256SUMS").read_text()
    assert find_seconds(first, tmp_path) is None
    record_seconds(output, 3.5)
    record_seconds(output, 4.5)
    record_seconds(output, None)  # it continued after a kill
    assert find_seconds(first, tmp_path) == 4.5
    (output / "a.txt").write_text("2")
    write_checksums(output)
    assert find_seconds((output / "SHA256SUMS").read_text(), tmp_path) is None


def test_a_line_that_was_cut_off_is_left_out(output: Path, tmp_path: Path) -> None:
    record_seconds(output, 3.5)
    path = tmp_path / "kept" / FILE
    path.write_text(path.read_text(encoding="utf-8") + '{"output": "', encoding="utf-8")
    assert find_seconds((output / "SHA256SUMS").read_text(), tmp_path) == 3.5
