"""The note of a stage that has nothing to do."""

from pathlib import Path

import pytest

from yoyak.system.integrity import verify_checksums
from yoyak.system.skip_note import write_skip_note


def test_the_reason_is_printed_and_replaces_the_content_of_each_output_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, metrics = tmp_path / "models/kobart", tmp_path / "metrics"
    model.mkdir(parents=True)
    (model / "old.safetensors").touch()
    write_skip_note("not-chosen.txt", "train_kobart: nothing to do", model, metrics)
    assert capsys.readouterr().out == "train_kobart: nothing to do\n"
    for folder in (model, metrics):
        verify_checksums(folder)
        assert sorted(path.name for path in folder.iterdir()) == ["SHA256SUMS", "not-chosen.txt"]
        assert (folder / "not-chosen.txt").read_text(encoding="utf-8") == "train_kobart: nothing to do\n"
