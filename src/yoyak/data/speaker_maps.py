"""The names of the speakers of imported test rows, from `yoyak import` over preprocess to the submission of predict."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from yoyak.data.speaker_names import restore_names
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import counted, read_jsonl, write_jsonl

RAW_FILE = "speakers.test.jsonl"  # beside test.csv, written by `yoyak import`
FILE = "speakers.test.jsonl"  # in data/processed; only if the raw file exists


def copy_speakers(raw: Path, processed: Path) -> None:
    """Write the names of the speakers of test into the folder of the processed rows, if `yoyak import` made the raw data."""
    if (raw / RAW_FILE).is_file():
        rows = ({"fname": row["fname"], "speakers": row["speakers"]} for row in read_jsonl(raw / RAW_FILE))
        write_jsonl(processed / FILE, rows)


class NameRestorer:
    """Puts the original names of the speakers into the summaries of test."""

    def __init__(self, processed: Path, rows: Sequence[Mapping[str, str]]) -> None:
        """Read the names.

        Args:
            processed: the folder that preprocess wrote.
            rows: the processed rows of test.

        Raises:
            YoyakError: if the data was not imported, or a row is not from there.
        """
        path = processed / FILE
        if not path.is_file():
            raise YoyakError(
                "generation.restore_speakers: the names are not known, because `yoyak import` did not make the data of "
                "data.dir; write false there"
            )
        names = {row["fname"]: row["speakers"] for row in read_jsonl(path)}
        if missing := [row["fname"] for row in rows if row["fname"] not in names]:
            raise YoyakError(
                f"generation.restore_speakers: {counted(len(missing), 'row')} of test without names of speakers, such as "
                f"{missing[0]}; was test.csv edited after `yoyak import`? Import it again, then `dvc repro -f preprocess`"
            )
        self._names: list[dict[str, str]] = [names[row["fname"]] for row in rows]

    def restore(self, texts: Sequence[str]) -> list[str]:
        """The summaries of the rows with names in place of tags, and with particles that agree with them."""
        return [
            restore_names(text, {tag: name for tag, name in names.items() if tag != name})
            for text, names in zip(texts, self._names, strict=True)
        ]
