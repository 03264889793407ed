"""generation.restore_speakers: names of imported speakers come back in the submission."""

import csv
from pathlib import Path

import pytest

from tests.data.importers import samples
from yoyak.data.corpus_import import ImportSettings, import_corpus
from yoyak.data.speaker_maps import NameRestorer, copy_speakers
from yoyak.system.errors import YoyakError


def test_names_go_from_the_import_to_the_submission(tmp_path: Path) -> None:
    raw, processed = tmp_path / "raw", tmp_path / "processed"
    processed.mkdir()
    turns = [("김하늘", "점심 먹었어?"), ("박준", "아직. 같이 먹자.")]
    conversation = [{"speaker": speaker, "utterance": text} for speaker, text in turns]
    record = {"id": "t-1", "input": {"conversation": conversation}}
    import_corpus([samples.write_json(tmp_path / "test.json", [record])], raw, ImportSettings(), overwrite=False)
    copy_speakers(raw, processed)
    with open(raw / "test.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert NameRestorer(processed, rows).restore(["#Person1#와 #Person2#는 점심을 먹기로 한다. #Person3#"]) == [
        "김하늘과 박준은 점심을 먹기로 한다. #Person3#"
    ]
    with pytest.raises(YoyakError, match=r"1 row of test without names of speakers, such as t-9"):
        NameRestorer(processed, [*rows, {"fname": "t-9"}])


def test_data_that_was_not_imported_has_no_names(tmp_path: Path) -> None:
    copy_speakers(tmp_path, tmp_path)
    assert not list(tmp_path.iterdir()), "the processed rows of other data keep their bytes"
    with pytest.raises(YoyakError, match=r"generation\.restore_speakers: the names are not known"):
        NameRestorer(tmp_path, [])
