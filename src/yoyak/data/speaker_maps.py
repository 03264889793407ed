"""The names of the speakers of imported test rows, from `yoyak import` over preprocess to the submission of predict."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from yoyak.data.speaker_names import restore_names
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_jsonl, write_jsonl

RAW_FILE = "speakers.test.jsonl"  # beside test.csv, written by `yoyak import`
FILE = "speakers.test.jsonl"  # in data/processed; only if the raw file exists


def copy_speakers(raw: Path, processed: Path) -> None:
    """Write the names of the speakers of test into the folder of the processed rows, if `yoyak import` made the raw data."""
    if (raw / RAW_FILE).is_file():
        rows = ({"fname": row["fname"], "speakers": row["speakers"]} for row in read_jsonl(raw / RAW_FILE))
        write_jsonl(processed / FILE, rows)


def read_speakers(processed: Path, fnames: Sequence[str]) -> list[dict[str, str]]:
    """The name of each tag in each row.

    Raises:
        YoyakError: if the data was not imported, or a row is not from there.
    """
    path = processed / FILE
    if not path.is_file():
        raise YoyakError(
            "generation.restore_speakers: the names are not known, because `yoyak import` did not make the data of "
            "data.dir; write false there"
        )
    speakers = {row["fname"]: row["speakers"] for row in read_jsonl(path)}
    if missing := [fname for fname in fnames if fname not in speakers]:
        raise YoyakError(
            f"generation.restore_speakers: {len(missing)} rows of test have no names of speakers, such as {missing[0]}; was "
            "test.csv edited after `yoyak import`? Import it again, then run `dvc repro --force preprocess`"
        )
    return [speakers[fname] for fname in fnames]


def with_names(texts: Sequence[str], speakers: Sequence[Mapping[str, str]]) -> list[str]:
    """Summaries with the original names in place of tags, and particles that agree with them."""
    return [
        restore_names(text, {tag: label for tag, label in labels.items() if tag != label})
        for text, labels in zip(texts, speakers, strict=True)
    ]
