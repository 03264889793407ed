"""Commands that bring a corpus in and give predictions back in its form: import, export."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from yoyak.cli.command import Command
from yoyak.data.importers import FORMATS
from yoyak.system.errors import YoyakError

_FORMAT_HELP = f"one of {', '.join(FORMATS)} (default: auto, which looks at the content)"
_OUR_COLUMNS = ("fname", "dialogue", "summary", "topic", "speaker", "utterance")


def _shares(text: str) -> tuple[float, float, float]:
    """The type of an argument such as 0.9/0.05/0.05."""
    try:
        train, dev, test = map(float, text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected three shares such as 0.9/0.05/0.05, got {text!r}") from None
    if min(train, dev, test) < 0 or not 0.999 <= train + dev + test <= 1.001:
        raise argparse.ArgumentTypeError(f"the three shares must be at least 0 and add up to 1, got {text!r}")
    return train, dev, test


def _columns(text: str) -> dict[str, str]:
    """The type of an argument such as dialogue=text,summary=output."""
    columns = {}
    for part in text.split(","):
        ours, equals, theirs = part.partition("=")
        if ours.strip() not in _OUR_COLUMNS or not equals or not theirs.strip():
            raise argparse.ArgumentTypeError(
                f"expected OURS=YOURS with one of {', '.join(_OUR_COLUMNS)}, such as dialogue=text, got {part!r}"
            )
        columns[ours.strip()] = theirs.strip()
    return columns


@contextmanager
def _packages_needed() -> Iterator[None]:
    """Say what to do if a package for a kind of file is not installed, as after an update without `make setup`."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise YoyakError(f"the package {error.name} is not installed; run `make setup`, which installs it") from error


@_packages_needed()
def _import(args: argparse.Namespace) -> None:
    from yoyak.data.corpus_import import ImportSettings, import_corpus
    from yoyak.data.importers.base import ReadOptions
    from yoyak.system.text_files import counted

    settings = ImportSettings(
        format=args.format,
        options=ReadOptions(columns=args.columns, alternating=args.alternating, group=args.group),
        only=args.only,
        shares=args.split,
        seed=args.seed,
        masks=args.masks,
        names=args.ambiguous_names,
    )
    report = import_corpus(args.source, args.output, settings, overwrite=args.overwrite)
    formats = sorted({source["format"] for source in report.sources})
    print(
        f"{counted(len(report.sources), 'file')} ({', '.join(formats)}), "
        f"{counted(sum(source['records'] for source in report.sources), 'dialogue')}"
    )
    for split, rows in report.rows.items():
        print(f"{args.output / split}.csv: {counted(rows, 'row')}")
    print("\n".join([*report.lines(), f"{args.output}/import.json has all counts"]))
    missing = [split for split in ("train", "dev", "test") if not (args.output / f"{split}.csv").exists()]
    if missing:
        print(f"the pipeline also needs {' and '.join(f'{split}.csv' for split in missing)} in {args.output}")
    else:
        print(f"next: dvc exp run -S data.dir={args.output}")


def _add_import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=Path, nargs="+", metavar="FILE", help="files, folders (with all files below) and zip archives"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the CSV files and import.json go")
    parser.add_argument("--format", choices=["auto", *FORMATS], default="auto", metavar="FORMAT", help=_FORMAT_HELP)
    parser.add_argument(
        "--columns",
        type=_columns,
        default={},
        metavar="OURS=YOURS",
        help="columns or keys of a table or JSON, such as dialogue=text,summary=output; speaker and utterance for a table with "
        "one utterance in each row",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--split",
        type=_shares,
        metavar="TRAIN/DEV/TEST",
        help="divide the rows at random (default: as the names of files and folders say, else 0.9/0.05/0.05)",
    )
    which.add_argument("--only", choices=["train", "dev", "test"], default="", help="put all rows into one split")
    parser.add_argument("--seed", type=int, default=42, metavar="N", help="seed of --split (default: 42)")
    parser.add_argument(
        "--group",
        default="",
        metavar="COLUMN",
        help="rows with the same value in this column stay in one split, such as speaker ids",
    )
    parser.add_argument(
        "--masks",
        choices=["keep", "replace", "drop"],
        default="keep",
        help="masks such as #@이름#: keep them, replace each by a word, or drop them (default: keep)",
    )
    parser.add_argument(
        "--ambiguous-names",
        choices=["keep", "map", "drop"],
        default="keep",
        help="names that may be another word: keep the word, map it to the speaker, or drop rows with such a summary (default: "
        "keep)",
    )
    parser.add_argument("--alternating", action="store_true", help="lines without a speaker alternate between two speakers")
    parser.add_argument("--overwrite", action="store_true", help="replace files in the output folder")


@_packages_needed()
def _export(args: argparse.Namespace) -> None:
    from yoyak.config.params import load_params
    from yoyak.data import corpus_export

    imported = args.imported or Path(load_params().data.dir)
    found, manifest = corpus_export.read_exported(args.predictions, imported, keep_tags=args.keep_tags)
    form = corpus_export.default_format(manifest) if args.format == "auto" else args.format
    if args.output.exists() and not args.overwrite:
        raise YoyakError(f"{args.output}: exists; choose another file, or replace it with --overwrite")
    count = corpus_export.export(found, manifest, args.output, form=form, sources=args.source, excel=args.excel)
    print(f"{args.output}: {count} summaries as {form}")


def _add_export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "predictions", type=Path, metavar="FILE", help="CSV with fname,summary, such as data/predictions/test.csv"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="file to write")
    parser.add_argument(
        "--import",
        dest="imported",
        type=Path,
        metavar="FOLDER",
        help="the folder that `yoyak import` wrote (default: data.dir of params.yaml)",
    )
    parser.add_argument(
        "--format",
        choices=["auto", "nikl", "aihub", "csv", "jsonl", "xlsx"],
        default="auto",
        help="default: auto, the form of the corpus",
    )
    parser.add_argument(
        "--source",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="for nikl and aihub: the files of the corpus, if they are not where they were at the import",
    )
    parser.add_argument("--keep-tags", action="store_true", help="leave #Person1# as it is, instead of the original name")
    parser.add_argument("--excel", action="store_true", help="for csv: a file that Excel opens (byte order mark, no formulas)")
    parser.add_argument("--overwrite", action="store_true", help="replace the output file")


COMMANDS = (
    Command(
        name="import",
        summary="Turn a corpus into train.csv, dev.csv and test.csv.",
        description="Read dialogues from NIKL, AI Hub, DialogSum and SAMSum files, from CSV, TSV, Excel, Parquet, JSON and "
        "JSON lines, from Hugging Face data sets, KakaoTalk exports and transcripts. Speakers become #Person1#, #Person2# and "
        "so on, in dialogues and summaries alike. Near-duplicates never come into two splits. import.json says what was found, "
        "changed and dropped. `yoyak export` gives the predictions back with the original ids and names.",
        examples=(
            "yoyak import 요약_train.json 요약_dev.json --output data/raw",
            "yoyak import Training Validation --output data/raw --split 0.8/0.1/0.1",
            "yoyak import a.xlsx --output data/raw --columns dialogue=text",
        ),
        run=_import,
        add_arguments=_add_import_arguments,
        needs_root=False,
    ),
    Command(
        name="export",
        summary="Write predictions in the form of the imported corpus.",
        description="Write predictions as the JSON of NIKL or AI Hub, as CSV, JSON lines or an Excel workbook, with the ids "
        "and the names of speakers that the imported corpus has. Particles after a name follow its last letter.",
        examples=(
            "yoyak export data/predictions/test.csv --output submission.json",
            "yoyak export mine.csv --import data/raw --format xlsx --output mine.xlsx",
        ),
        run=_export,
        add_arguments=_add_export_arguments,
        needs_root=False,
    ),
)
