"""Export of predictions in the form of the corpus that they belong to, with the original ids and names."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoyak.data.importers.json_records import json_records
from yoyak.data.importers.look import look_at
from yoyak.data.importers.sources import checksum, find_sources
from yoyak.data.speaker_names import restore_names
from yoyak.system.atomic import atomic_file, temporary_folder_next_to
from yoyak.system.csv_files import read_csv, write_csv
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import place as row_place
from yoyak.system.text_files import read_json, read_jsonl, write_jsonl

EXPORT_FORMATS = ("nikl", "aihub", "csv", "jsonl", "xlsx")


@dataclass(frozen=True)
class Prediction:
    """A summary to export.

    Attributes:
        id: of the corpus.
        place: of its record in the corpus.
        summary: with the original names.
    """

    id: str
    place: str
    summary: str


def read_exported(predictions: Path, imported: Path, *, keep_tags: bool = False) -> tuple[list[Prediction], dict[str, Any]]:
    """The predictions with original ids and names, and the import that their rows come from.

    Args:
        predictions: CSV with fname and summary.
        imported: the folder that `yoyak import` wrote.
        keep_tags: leave the tags as they are.

    Raises:
        YoyakError: if `imported` has no import.json, or a row of the predictions does not come from there.
    """
    manifest = imported / "import.json"
    if not manifest.is_file():
        raise YoyakError(f"{manifest}: no such file; name the folder that `yoyak import` wrote with --import")
    sides = {row["fname"]: row for path in sorted(imported.glob("speakers.*.jsonl")) for row in read_jsonl(path)}
    found, files = [], set()
    for line, cells in read_csv(predictions, required=["fname", "summary"]):
        side = sides.get(cells["fname"])
        if side is None:
            raise YoyakError(
                f"{row_place(predictions, line, cells['fname'])}: no such row in {imported}; name the folder "
                "that these dialogues were imported into with --import"
            )
        files.add(side["file"])
        labels = {tag: label for tag, label in side["speakers"].items() if tag != label}
        summary = cells["summary"] if keep_tags else restore_names(cells["summary"], labels)
        found.append(Prediction(side["id"] or cells["fname"], side["place"], summary))
    imports = read_json(manifest)["imports"]
    mine = next((each for each in imports if any(source["file"] in files for source in each["sources"])), imports[-1])
    return found, mine


def default_format(manifest: Mapping[str, Any]) -> str:
    """The export format that fits the format of an import."""
    formats = {source["format"] for source in manifest["sources"]}
    return {"nikl": "nikl", "aihub": "aihub", "json": "jsonl", "dialogsum": "jsonl", "samsum": "jsonl", "xlsx": "xlsx"}.get(
        formats.pop() if len(formats) == 1 else "", "csv"
    )


def export(
    found: Sequence[Prediction], manifest: Mapping[str, Any], output: Path, *, form: str, sources: Sequence[Path], excel: bool
) -> int:
    """Write predictions in a form of EXPORT_FORMATS, atomically.

    Args:
        found: from `read_exported`.
        manifest: the import, for the names of the columns and the files of the corpus.
        output: the file to write.
        form: the format.
        sources: the files of the corpus for nikl and aihub; empty for those that were imported.
        excel: write a CSV that Excel opens: with a byte order mark, and without formulas.

    Returns:
        The number of summaries that were written.

    Raises:
        YoyakError: if a source is missing or has changed, or a record of a prediction is not in the sources.
    """
    names = manifest["settings"]["options"]["columns"]
    columns = [names.get("fname", "fname"), names.get("summary", "summary")]
    table = [dict(zip(columns, (each.id, each.summary), strict=True)) for each in found]
    if form == "csv":
        write_csv(output, table, columns=columns, for_spreadsheet=excel)
    elif form == "jsonl":
        write_jsonl(output, table)
    elif form == "xlsx":
        _write_workbook(output, columns, table)
    else:
        fill = _fill_nikl if form == "nikl" else _fill_aihub
        _write_filled(found, manifest, output, fill, sources, wrap=form == "aihub")
    return len(found)


def _fill_nikl(record: dict[str, Any], summary: str) -> None:
    record["output"] = summary


def _fill_aihub(record: dict[str, Any], summary: str) -> None:
    if isinstance(record.get("body"), list):  # the SNS corpus has no place for a summary
        record["body"] = {"dialogue": record["body"]}
    record["body"]["summary"] = summary


def _write_filled(
    found: Sequence[Prediction],
    manifest: Mapping[str, Any],
    output: Path,
    fill: Callable[[dict[str, Any], str], None],
    sources: Sequence[Path],
    *,
    wrap: bool,
) -> None:
    """Write the records of the sources that have a prediction, with it, as one JSON file."""
    summaries = {each.place: each.summary for each in found}
    with tempfile.TemporaryDirectory() as folder, atomic_file(output) as file:
        file.write(f'{{"numberOfItems": {len(summaries)}, "data": [' if wrap else "[")
        separator = "\n"
        for place, record in _source_records(manifest, sources, Path(folder)):
            if place in summaries:
                fill(record, summaries.pop(place))
                file.write(separator + json.dumps(record, ensure_ascii=False))
                separator = ",\n"
        file.write("\n]}\n" if wrap else "\n]\n")
        if summaries:
            raise YoyakError(
                f"{len(summaries)} predictions have no record in the files of the corpus, such as {next(iter(summaries))}; "
                "name the files that were imported with --source"
            )


def _source_records(manifest: Mapping[str, Any], paths: Sequence[Path], folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of the imported files with the places that they had in the import."""
    by_checksum = {source["sha256"]: source for source in manifest["sources"]}
    missing = {source["file"] for source in manifest["sources"] if source["rows"]}
    for file in find_sources(list(paths) or [Path(each) for each in manifest["arguments"]], folder):
        source = by_checksum.get(checksum(file))
        if source is None:
            if paths:
                continue
            raise YoyakError(
                f"{file.name}: this file has changed since the import; name the file that was imported with --source"
            )
        missing.discard(source["file"])
        if source["format"] not in ("nikl", "aihub"):
            raise YoyakError(f"{file.name}: imported as {source['format']}; export it as csv, jsonl or xlsx")
        look = look_at(file)
        for place, record in json_records(file, kind=look.kind, encoding=look.encoding):
            yield source["file"] + place.removeprefix(file.name), record
    if missing and not paths:
        raise YoyakError(f"{', '.join(sorted(missing)[:5])}: imported, but not found now; name the file with --source")


def _write_workbook(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    import openpyxl
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.utils.exceptions import IllegalCharacterError

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("summaries")
    for number, values in enumerate([columns, *([row[name] for name in columns] for row in rows)], 1):
        cells = []
        for value in values:
            try:
                cell = WriteOnlyCell(sheet, value=value)
            except IllegalCharacterError:
                raise YoyakError(
                    f"{path}: row {number}: a control character, which a workbook cannot hold; export as csv"
                ) from None
            cell.data_type = "s"  # a text that starts with = is no formula
            cells.append(cell)
        sheet.append(cells)
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder_next_to(path) as folder:
        book.save(folder / path.name)
        (folder / path.name).replace(path)
