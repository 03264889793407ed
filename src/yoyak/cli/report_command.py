"""The command that writes the page of a run: report."""

import argparse
from pathlib import Path

from yoyak.cli.command import LANGUAGES, Command


def _report(args: argparse.Namespace) -> None:
    from yoyak.reports.page.frame import write_page
    from yoyak.reports.run_page.dev_rows import explain_rows
    from yoyak.reports.run_page.files import collect_run
    from yoyak.reports.run_page.run_page import page_path, run_page
    from yoyak.reports.runs import Run

    facts = collect_run(Run.find(Path.cwd(), args.run))
    output = args.output or page_path(args.run)
    write_page(output, run_page(facts, explain_rows(facts.rows), args.language))
    for why in facts.missing.values():
        print(f"not shown: {why}")
    print(f"{output}: open it in a browser; it needs no network")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run",
        nargs="?",
        default="workspace",
        metavar="RUN",
        help="an experiment, a branch, a tag, a commit, or `workspace`: the files here (default: workspace)",
    )
    parser.add_argument("--language", choices=LANGUAGES, default="ko", help="language of the page (default: ko)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the page (default: reports/RUN.html)")


COMMANDS = (
    Command(
        name="report",
        summary="Show a run as a page, with every dev dialogue.",
        description="Write one HTML page about a run: scores beside baselines with intervals, curves, params that differ from "
        "the commit below, data, decoding, environment, and every dev dialogue with reference and summary side by side. Copied "
        "words, and names and numbers that the dialogue lacks, are marked. The dialogues can be sorted, filtered and searched, "
        "and rules say what is wrong with the worst ones. The page needs no network. What is missing is named.",
        examples=("yoyak report", "yoyak report beam1 --language en", "yoyak report HEAD~1 --output before.html"),
        run=_report,
        add_arguments=_add_arguments,
    ),
)
