"""The command that shows what is in a corpus: explore."""

import argparse
from pathlib import Path

from yoyak.cli.command import LANGUAGES, Command, whole_number
from yoyak.system.errors import YoyakError
from yoyak.system.progress_bars import bars_hidden

PAGE = Path("reports/explore.html")


def _explore(args: argparse.Namespace) -> None:
    if len(args.data) > 2:
        raise YoyakError(f"explore: {len(args.data)} corpora; the page compares at most two")

    from yoyak.config.params import load_params
    from yoyak.config.sections import Preprocess
    from yoyak.data.exploration.corpus import find_corpora
    from yoyak.data.exploration.scan import ScanSettings
    from yoyak.system.text_files import write_json

    params = load_params() if Path("params.yaml").is_file() else None
    if params is None and not args.data:
        raise YoyakError("explore: no params.yaml in this folder, so name the data: yoyak explore FOLDER")
    corpora = find_corpora(args.data or [Path(params.data.dir)], args.split or ())  # type: ignore[union-attr]
    cleaning = params.preprocess if params else Preprocess(noise="moderate", person_tags="keep_original", max_rejected=0)
    settings = ScanSettings(cleaning, args.sample, args.seed)

    from tqdm import tqdm

    from yoyak.reports.exploration.exploration import explore
    from yoyak.reports.exploration.explore_page import write_explore_page

    with (
        tqdm(desc="read", unit=" rows", disable=bars_hidden(None)) as read,
        tqdm(desc="measure the sample", unit=" rows", disable=bars_hidden(None)) as measured,
    ):
        found = explore(corpora, settings, params, scanned=read.update, measured=measured.update)
    write_explore_page(args.output, found, args.lang)
    if args.json:
        write_json(args.json, found.to_json())
        print(f"{args.json}: all figures as JSON")
    print(f"{args.output}: open it in a browser; it needs no network")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        type=Path,
        nargs="*",
        metavar="FILE",
        help="one or two corpora, each a folder with train.csv, dev.csv or test.csv, or a CSV file (default: data.dir of "
        "params.yaml)",
    )
    parser.add_argument(
        "--split",
        action="append",
        choices=["train", "dev", "test"],
        help="only this split of a folder; may be given several times",
    )
    parser.add_argument("--lang", "--language", choices=LANGUAGES, default="ko", help="language of the page (default: ko)")
    parser.add_argument("--output", type=Path, default=PAGE, metavar="FILE", help=f"the page (default: {PAGE})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to this file")
    parser.add_argument(
        "--sample",
        type=whole_number,
        default=10_000,
        metavar="N",
        help="rows of each split, or of each of two corpora, for what needs Mecab or the tokenizer (default: 10000)",
    )
    parser.add_argument("--seed", type=int, default=42, metavar="N", help="seed of the sample (default: 42)")


COMMANDS = (
    Command(
        name="explore",
        summary="Show what is in a corpus as a page.",
        description="Write one HTML page about a corpus, with its splits side by side, or about two corpora: lengths in "
        "characters, morphemes and tokens with what each limit cuts, turns, speakers, tags, masks, topics and their words, how "
        "extractive the summaries are, duplicates, leaks, dirt, and summaries that look wrong. Press a bar to see its rows. "
        "The page needs no network. Memory does not grow with the rows: what needs Mecab or the tokenizer is measured on a "
        "sample, and the page says so.",
        examples=(
            "yoyak explore",
            "yoyak explore data/raw --lang en",
            "yoyak explore data/sample data/raw --split train --json explore.json",
        ),
        run=_explore,
        add_arguments=_add_arguments,
        needs_root=False,
    ),
)
