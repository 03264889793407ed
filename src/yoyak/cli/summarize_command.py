"""The command `summarize`: one dialogue, or every dialogue of a CSV file, with the trained model."""

import argparse
import sys
from pathlib import Path

from yoyak.cli.bulk_summaries import add_bulk_arguments, summarize_in_bulk
from yoyak.cli.command import Command, add_changes
from yoyak.cli.trained_model import model_to_use
from yoyak.system import portable_kernels
from yoyak.system.errors import YoyakError


def _summarize(args: argparse.Namespace) -> None:
    from yoyak.config.params import load_params
    from yoyak.data.raw_dialogues import prepare_row, read_dialogues

    if args.input is not None and (args.input.is_dir() or args.input.suffix.lower() in (".parquet", ".jsonl")):
        summarize_in_bulk(args)
        return
    for name, given in (("--processes", args.processes), ("--rows", args.rows), ("--share", args.share)):
        if given is not None:
            raise YoyakError(f"{name} is for a folder, a Parquet file or a .jsonl file; leave it out")
    params = load_params(changes=args.set)
    portable_kernels.use_if(params.hardware.portable)
    is_csv = args.input is not None and args.input.suffix.lower() in (".csv", ".tsv")
    _check_summarize_files(args.input, args.output, is_csv=is_csv)
    if args.spreadsheet_safe and not is_csv:
        raise YoyakError("--spreadsheet-safe is for the output of a CSV file; leave it out")
    if is_csv:
        rows = read_dialogues(args.input, params.preprocess)
    else:
        rows = [prepare_row(_dialogue(args.input), params.preprocess, source=str(args.input or "standard input"))]
    model, decisions = model_to_use(args, params)

    from yoyak.ensembles.live_members import connect
    from yoyak.inference.model_folder import repository_of
    from yoyak.inference.summarizer import Summarizer

    summarizer = Summarizer.load(model, params=params, decisions=decisions)
    connect(summarizer, repository_of(model))
    summaries = summarizer.summarize_rows(rows, tell=_tell)
    _write_summaries(rows, summaries, args.output, is_csv=is_csv, for_spreadsheet=args.spreadsheet_safe)


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _write_summaries(
    rows: list[dict[str, str]], summaries: list[str], output: Path | None, *, is_csv: bool, for_spreadsheet: bool
) -> None:
    from yoyak.system.atomic import atomic_file
    from yoyak.system.csv_files import write_csv
    from yoyak.system.text_files import counted

    if output is None:
        print(summaries[0])
        return
    if is_csv:
        table = [{"fname": row["fname"], "summary": summary} for row, summary in zip(rows, summaries, strict=True)]
        write_csv(output, table, columns=["fname", "summary"], for_spreadsheet=for_spreadsheet)
    else:
        with atomic_file(output) as file:
            file.write(f"{summaries[0]}\n")
    print(f"{output}: {counted(len(rows), 'summary', 'summaries')}", file=sys.stderr)


def _check_summarize_files(source: Path | None, output: Path | None, *, is_csv: bool) -> None:
    """Refuse input that cannot be read and output that cannot be meant, before anything slow is imported."""
    from yoyak.system.csv_files import read_csv
    from yoyak.system.text_files import check_text_file

    if source is not None:
        if is_csv and output is None:
            raise YoyakError(f"{source}: a CSV file needs --output FILE, the CSV file to write")
        check_text_file(source)
        if is_csv:
            next(read_csv(source, required=["fname", "dialogue"]))
    if output is not None and output.is_dir():
        raise YoyakError(f"{output}: --output is a folder; name a file")
    if source is not None and output is not None and output.exists() and output.samefile(source):
        raise YoyakError(f"{output}: --output is the input file; name another file")


def _dialogue(source: Path | None) -> str:
    """The text of a file, or of standard input.

    Raises:
        YoyakError: if the text is not UTF-8.
    """
    if source is None and sys.stdin.isatty():
        print("Type a dialogue, such as #Person1#: 안녕하세요. Then press Ctrl-D on a new line.", file=sys.stderr)
    data = sys.stdin.buffer.read() if source is None else source.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        name = source or "standard input"
        raise YoyakError(f"{name}: not UTF-8; convert it first, such as: iconv -f CP949 -t UTF-8 old.txt > new.txt") from None


def _add_summarize_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input",
        type=Path,
        nargs="?",
        metavar="PATH",
        help="a text file with one dialogue, a CSV file with the columns fname,dialogue, or a Parquet file, a .jsonl file or a "
        "folder with the same columns (default: standard input)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="PATH",
        help="write the summary, or for a CSV file fname,summary, to this file (default: print the summary); for a Parquet "
        "file, a .jsonl file or a folder: the folder for the Parquet files with the summaries",
    )
    parser.add_argument(
        "--model", type=Path, metavar="FOLDER", help="folder of a trained model (default: models/ and model.family)"
    )
    parser.add_argument(
        "--spreadsheet-safe",
        action="store_true",
        help="write the CSV file for people: Excel shows its Korean text, and no summary runs as a formula; do not submit or "
        "score such a file",
    )
    add_bulk_arguments(parser)
    add_changes(parser, "use this value instead of that in params.yaml; may be given several times")


COMMANDS = (
    Command(
        name="summarize",
        summary="Summarize one dialogue, a CSV file or a large folder.",
        description="Summarize with the trained model, as the predict stage does. A dialogue has one turn per line, such as "
        '"#Person1#: 안녕하세요." Run `dvc repro` first: it trains the model. A folder is read in parts; after a kill the '
        "same command goes on.",
        examples=(
            "yoyak summarize dialogue.txt",
            "cat dialogue.txt | yoyak summarize -S generation.num_beams=8",
            "yoyak summarize dialogues.csv --output summaries.csv",
            "yoyak summarize dialogues/ --output summaries/ --processes 2",
        ),
        run=_summarize,
        add_arguments=_add_summarize_arguments,
    ),
)
