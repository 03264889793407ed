"""Import of a corpus: files in, train.csv, dev.csv, test.csv and import.json out. All of them or none are written."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from yoyak.data.dialogue import BadDialogueError
from yoyak.data.import_report import ImportReport
from yoyak.data.import_rows import DoubtfulNames, ImportedRow, import_row
from yoyak.data.import_splits import SPLITS, DuplicateFinder, Units, evaluation_wins, split_at_random
from yoyak.data.importers.base import ReadOptions, Record, SourceFile
from yoyak.data.importers.look import look_at
from yoyak.data.importers.lookup import choose_importer
from yoyak.data.importers.sources import checksum, find_sources, split_of_name
from yoyak.data.leak_guard import FirstValues
from yoyak.data.masks import MaskMode
from yoyak.data.near_duplicates import THRESHOLD, spoken_letters
from yoyak.system.atomic import temporary_folder_next_to
from yoyak.system.csv_files import write_csv
from yoyak.system.errors import YoyakError
from yoyak.system.progress_bars import bars_hidden
from yoyak.system.text_files import read_json, to_json, write_json

UNLABELLED = "unlabelled"  # the file of rows without a summary that are not in test
DEFAULT_SHARES = (0.9, 0.05, 0.05)


@dataclass(frozen=True)
class ImportSettings:
    """What the user chooses.

    Attributes:
        format: a name of FORMATS, or "auto".
        options: columns, group and alternating lines.
        only: the one split that all rows go to, or empty.
        shares: of train, dev and test for a random division; None if the names of the files tell the split.
        seed: of the division.
        masks: what becomes of masks.
        names: what becomes of doubtful names.
    """

    format: str = "auto"
    options: ReadOptions = field(default_factory=ReadOptions)
    only: str = ""
    shares: tuple[float, float, float] | None = None
    seed: int = 42
    masks: MaskMode = "keep"
    names: DoubtfulNames = "keep"


@dataclass
class _Rows:
    """What is kept in memory of each row; its text is in a temporary file."""

    offsets: list[int]
    names: list[str]
    splits: list[str]
    summaries: list[int]  # how many
    units: Units
    pairs: list[tuple[int, int, float]]


def import_corpus(paths: Sequence[Path], output: Path, settings: ImportSettings, *, overwrite: bool) -> ImportReport:
    """Import files and folders into `output`.

    Writes train.csv, dev.csv, test.csv and perhaps unlabelled.csv (only those that get rows), beside each the speakers of its
    rows (speakers.train.jsonl …), dropped.jsonl and doubtful_names.jsonl if there are any, and import.json.

    Raises:
        YoyakError: if a source cannot be read, no row can be used, the split is not clear, or a file exists and `overwrite` is
            false. Nothing is written then.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.exists() and not output.is_dir():
        raise YoyakError(f"{output}: is a file; --output needs a folder")
    with ExitStack() as stack:
        work = stack.enter_context(temporary_folder_next_to(output))
        staged, unpacked = work / "files", work / "unpacked"
        staged.mkdir()
        suffix = f".{settings.only}" if settings.only else ""
        dropped = stack.enter_context(open(staged / f"dropped{suffix}.jsonl", "w", encoding="utf-8"))
        doubts = stack.enter_context(open(staged / f"doubtful_names{suffix}.jsonl", "w", encoding="utf-8"))
        spool = stack.enter_context(open(work / "rows", "w+b"))
        report = ImportReport(dropped, doubts)
        rows = _read_all(find_sources(paths, unpacked), spool, settings, report)
        if not rows.names:
            raise YoyakError("\n".join(["no row can be used, so nothing is written", *report.lines()]))
        splits = _choose_splits(rows, settings, report)
        _write_files(rows, splits, spool, staged, report)
        for file in (dropped, doubts):
            file.close()
        for name in (f"dropped{suffix}.jsonl", f"doubtful_names{suffix}.jsonl"):
            if not (staged / name).stat().st_size:
                (staged / name).unlink()
        _publish(staged, output, _manifest(paths, settings, report), overwrite=overwrite)
    return report


def _read_all(sources: Iterator[SourceFile], spool: IO[bytes], settings: ImportSettings, report: ImportReport) -> _Rows:
    rows = _Rows([], [], [], [], Units(), [])
    groups: dict[bytes, int] = {}
    first_texts = FirstValues()
    finder = DuplicateFinder(lambda row: spoken_letters(_row_at(spool, rows.offsets[row])["dialogue"]), rows.splits)
    for source in tqdm(sources, desc="files", disable=bars_hidden(None)):
        look = look_at(source)
        chosen = choose_importer(source, look, name=settings.format)
        split = settings.only or split_of_name(source.name)
        before, records = len(rows.names), 0
        for records, record in enumerate(chosen.read(source, look, settings.options), 1):  # noqa: B007 (used below)
            record.split = settings.only or record.split or split
            row = _converted(record, settings, report)
            if row is None:
                continue
            name = _unique_name(record, row, first_texts, report, source.name)
            if name is None:
                continue
            number = rows.units.add()
            rows.names.append(name)
            rows.splits.append(record.split)
            rows.summaries.append(len(row.summaries))
            rows.offsets.append(_append(spool, name, record, row, source.name))
            if settings.options.group:
                first = groups.setdefault(blake2b(record.group.encode(), digest_size=16).digest(), number)
                rows.units.join(first, number)
            for other, similarity in finder.add(number, spoken_letters(row.dialogue), split=record.split):
                rows.pairs.append((other, number, similarity))
                rows.units.join(other, number)
                report.near(row=name, other=rows.names[other], similarity=similarity)
        report.sources.append(
            {
                "file": source.name,
                "sha256": checksum(source),
                "format": chosen.name,
                "encoding": look.encoding if look.kind in ("text", "json", "jsonl") else None,
                "records": records,
                "rows": len(rows.names) - before,
            }
        )
        if not source.path.is_dir() and source.name != str(source.path):
            source.path.unlink()  # a file of an archive
    return rows


def _converted(record: Record, settings: ImportSettings, report: ImportReport) -> ImportedRow | None:
    """The row of a record; None if it is dropped, which is counted."""
    if record.problem:
        report.drop(place=record.place, name=record.id, reason=record.problem, found=record.found)
        return None
    try:
        row = import_row(record, masks=settings.masks, names=settings.names)
    except BadDialogueError as error:
        report.drop(place=record.place, name=record.id, reason=str(error), found=getattr(error, "found", ""))
        return None
    report.changed.update(row.changed)
    report.masks.update(row.masks)
    report.speakers[len(row.speakers)] += 1
    for where, doubt in row.doubts:
        report.doubt(record, where, doubt)
    return row


def _unique_name(record: Record, row: ImportedRow, first_texts: FirstValues, report: ImportReport, source: str) -> str | None:
    """The fname of a row: its id, or its place if it has none, with a number if another text has the same id.

    None if the same text with the same id occurred before, which is counted.
    """
    name = " ".join(record.id.split()) or f"{Path(source).stem}_{re.split('[ :]', record.place)[-1]}"
    text = blake2b("\0".join([row.dialogue, *row.summaries]).encode(), digest_size=16).hexdigest()
    for number in range(1, 10**9):
        tried = name if number == 1 else f"{name}-{number}"
        known = first_texts.setdefault(tried.encode(), f"{text} {record.place}")
        if known == f"{text} {record.place}":
            if number > 1:
                report.renamed[tried] = record.place
            return tried
        if known.startswith(text):
            report.drop(place=record.place, name=record.id, reason="repeated_row", found=known.partition(" ")[2])
            return None
    raise AssertionError("unreachable")


def _append(spool: IO[bytes], name: str, record: Record, row: ImportedRow, source: str) -> int:
    offset = spool.seek(0, os.SEEK_END)
    value = {
        "fname": name,
        "dialogue": row.dialogue,
        "summaries": row.summaries,
        "topic": " ".join(record.topic.split()),
        "id": record.id,
        "file": source,
        "place": record.place,
        "speakers": row.speakers,
    }
    spool.write(to_json(value).encode() + b"\n")
    return offset


def _row_at(spool: IO[bytes], offset: int) -> dict[str, Any]:
    spool.seek(offset)
    row: dict[str, Any] = json.loads(spool.readline())
    return row


def _choose_splits(rows: _Rows, settings: ImportSettings, report: ImportReport) -> list[str]:
    """The file of each row: a split, UNLABELLED, or "" for a row that is left out."""
    shares = settings.shares
    if shares is None and not any(rows.splits):
        shares = DEFAULT_SHARES
    if shares is not None:
        splits = split_at_random(rows.units, rows.names, dict(zip(SPLITS, shares, strict=True)), seed=settings.seed)
        splits = [split if summaries else UNLABELLED for split, summaries in zip(splits, rows.summaries, strict=True)]
    else:
        unclear = [source["file"] for source in report.sources if source["rows"] and not split_of_name(source["file"])]
        if not all(rows.splits):
            raise YoyakError(
                f"the names of some files tell their split, but not those of {', '.join(unclear[:5])}; "
                "give --split 0.9/0.05/0.05 to divide all rows, or --only train (dev, test) and import the files one by one"
            )
        splits = [
            split if summaries or split == "test" else UNLABELLED
            for split, summaries in zip(rows.splits, rows.summaries, strict=True)
        ]
        for row, other in evaluation_wins(rows.pairs, splits).items():
            report.drop(place=rows.names[row], name=rows.names[row], reason="near_duplicate", found=rows.names[other])
            splits[row] = ""
    return splits


def _write_files(rows: _Rows, splits: Sequence[str], spool: IO[bytes], folder: Path, report: ImportReport) -> None:
    for split in (*SPLITS, UNLABELLED):
        offsets = [offset for offset, each in zip(rows.offsets, splits, strict=True) if each == split]
        if not offsets:
            continue
        report.rows[split] = len(offsets)
        most = max(summaries for summaries, each in zip(rows.summaries, splits, strict=True) if each == split)
        columns = [
            "fname",
            "dialogue",
            *(["summary"] if most else []),
            *(f"summary{number}" for number in range(2, most + 1)),
            "topic",
        ]
        write_csv(folder / f"{split}.csv", (_cells(_row_at(spool, offset), columns) for offset in offsets), columns=columns)
        with open(folder / f"speakers.{split}.jsonl", "w", encoding="utf-8") as file:
            for offset in offsets:
                row = _row_at(spool, offset)
                file.write(to_json({key: row[key] for key in ("fname", "id", "file", "place", "speakers")}) + "\n")


def _cells(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, str]:
    summaries = dict(zip((name for name in columns if name.startswith("summary")), row["summaries"], strict=False))
    return {name: str(summaries.get(name, row.get(name, ""))) for name in columns}


def _manifest(paths: Sequence[Path], settings: ImportSettings, report: ImportReport) -> dict[str, Any]:
    chosen = asdict(settings)
    chosen["shares"] = None if settings.shares is None else list(settings.shares)
    return {
        "arguments": [str(path) for path in paths],
        "settings": chosen,
        "near_duplicate_threshold": THRESHOLD,
        **report.content(),
    }


def _publish(staged: Path, output: Path, manifest: Mapping[str, Any], *, overwrite: bool) -> None:
    """Move the staged files into `output`, import.json last. An import of one split is added to those that import.json has."""
    present = sorted(path.name for path in staged.iterdir() if (output / path.name).exists())
    imports = read_json(output / "import.json")["imports"] if (output / "import.json").is_file() else []
    if present and not overwrite:
        raise YoyakError(
            f"{output}: {', '.join(present)} exist; nothing is written; choose another --output, or replace the files "
            "with --overwrite"
        )
    if overwrite:
        written = {path.name for path in staged.iterdir()}
        imports = [each for each in imports if not {f"{name}.csv" for name in each["rows"]} & written]
    elif imports and not manifest["settings"]["only"]:
        raise YoyakError(
            f"{output}: import.json exists; nothing is written; choose another --output, or replace it with --overwrite"
        )
    write_json(staged / "import.json", {"imports": [*imports, manifest]})
    output.mkdir(exist_ok=True)
    for path in sorted(staged.iterdir(), key=lambda path: path.name == "import.json"):
        os.replace(path, output / path.name)
