"""`yoyak summarize` for a folder, a Parquet file or JSON lines: in parts, by several processes, on several hosts."""

import argparse
import os
import re
import sys
from functools import partial
from typing import TYPE_CHECKING

from yoyak.cli.command import whole_number
from yoyak.cli.trained_model import model_to_use
from yoyak.system import portable_kernels
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import counted

if TYPE_CHECKING:
    from yoyak.inference.bulk import Progress

DEFAULT_ROWS = 4096


def summarize_in_bulk(args: argparse.Namespace) -> None:
    """Run the command with the options of `yoyak summarize`.

    Raises:
        YoyakError: if there is no model or no input, or --output has summaries of another job.
    """
    from yoyak.config.params import load_params
    from yoyak.ensembles.live_members import connect
    from yoyak.inference.bulk_input import input_files
    from yoyak.inference.model_folder import repository_of

    params = load_params(changes=args.set)
    portable_kernels.use_if(params.hardware.portable)
    if args.output is None or args.output.is_file():
        raise YoyakError(f"{args.input}: needs --output FOLDER, for the Parquet files with the summaries")
    if args.spreadsheet_safe:
        raise YoyakError("--spreadsheet-safe is for the output of a CSV file; leave it out")
    files = input_files(args.input)
    if args.input.is_dir() and args.output.resolve().is_relative_to(args.input.resolve()):
        raise YoyakError(f"{args.output}: is within {args.input}, whose files are the input; name another folder")
    model, decisions = model_to_use(args, params)

    from tqdm import tqdm

    from yoyak.inference.bulk import TrainedModel, run_job
    from yoyak.system.progress_bars import bars_hidden

    trained = TrainedModel(model.resolve(), params, decisions, partial(connect, root=repository_of(model)))
    share = args.share or (1, 1)
    with tqdm(desc=f"{len(files)} files", unit=" dialogues", disable=bars_hidden(otherwise=None)) as bar:
        os.environ["TQDM_DISABLE"] = "1"  # no further bar for each part

        def tell(progress: "Progress") -> None:
            bar.update(progress.dialogues - bar.n)

        progress = run_job(
            args.input,
            args.output,
            trained,
            key=trained.key(),
            processes=args.processes or 1,
            rows=args.rows or DEFAULT_ROWS,
            share=share,
            tell=tell,
        )
    print(_report(args.output, progress, share), file=sys.stderr)


def _report(output: object, progress: "Progress", share: tuple[int, int]) -> str:
    lines = [f"{output}: {counted(progress.dialogues, 'dialogue')} in {counted(progress.parts, 'part')}"]
    if progress.kept_parts:
        lines.append(f"finished earlier: {counted(progress.kept_parts, 'part')}")
    if progress.problems:
        lines.append(f"without a summary: {counted(progress.problems, 'dialogue')} (the column problem says why)")
    if share != (1, 1):
        lines.append(f"this is share {share[0]} of {share[1]}")
    return "; ".join(lines)


def add_bulk_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for an input that is read in parts."""
    group = parser.add_argument_group("a folder, a Parquet file or a .jsonl file")
    group.add_argument("--processes", type=whole_number, metavar="N", help="processes that summarize (default: 1)")
    group.add_argument("--rows", type=whole_number, metavar="N", help=f"dialogues in a part (default: {DEFAULT_ROWS})")
    group.add_argument(
        "--share",
        type=_share,
        metavar="K/N",
        help="do the K-th of N shares of the parts; N hosts with the same folders do the whole together",
    )


def _share(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"expected a share such as 2/4, got {text!r}")
    return int(found[1]), int(found[2])
