"""The command that compares runs: compare."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from yoyak.cli.command import LANGUAGES, Command, whole_number
from yoyak.system.errors import YoyakError

if TYPE_CHECKING:
    from yoyak.reports.comparison import Comparison
    from yoyak.reports.runs import Run


def _compare(args: argparse.Namespace) -> None:
    from yoyak.reports.experiments import WORKSPACE

    names = args.runs if len(args.runs) > 1 else [WORKSPACE, *args.runs]
    if len(set(names)) < len(names):
        raise YoyakError(f"compare: {' '.join(names)}: name each run once; the first is what the others are compared with")

    from yoyak.reports.comparison import compare_runs, comparison_table
    from yoyak.reports.runs import Run
    from yoyak.system.text_files import write_json

    runs = [Run.find(Path.cwd(), name) for name in names]
    comparison = compare_runs(runs, samples=args.samples, seed=args.seed)
    if args.json:
        write_json(args.json, comparison.to_json())
    print(comparison_table(comparison))
    if args.html:
        print(f"\n{_write_page(args, runs, comparison)}: open it in a browser; it needs no network")


def _write_page(args: argparse.Namespace, runs: "list[Run]", comparison: "Comparison") -> Path:
    from yoyak.reports.page.frame import write_page
    from yoyak.reports.run_page.compare_page import compare_page, compare_path
    from yoyak.reports.run_page.files import read_dev_rows
    from yoyak.reports.run_page.pair_rows import pairs_browser

    rows, missing = {}, {}
    for run in runs:
        rows[run.name], faults = read_dev_rows(run)
        if faults:
            missing[run.name] = "; ".join(faults.values())
    path: Path = compare_path([run.name for run in runs]) if args.html is True else args.html
    write_page(path, compare_page(comparison, pairs_browser(rows), args.language, missing))
    return path


def _add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="an experiment, a branch, a tag, a commit, or `workspace`: the files here. The first is what the others are "
        "compared with; a single run is compared with the workspace",
    )
    parser.add_argument(
        "--samples", type=whole_number, default=10_000, metavar="N", help="resamplings of each test (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the resampling (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the comparison to this file")
    parser.add_argument(
        "--html",
        type=Path,
        nargs="?",
        const=True,
        metavar="FILE",
        help="also write a page with every dialogue and the differences of the summaries (default: reports/compare-RUNS.html)",
    )
    parser.add_argument("--language", choices=LANGUAGES, default="ko", help="language of the page (default: ko)")


COMMANDS = (
    Command(
        name="compare",
        summary="Compare experiments with paired significance tests.",
        description="Compare runs on the dev dialogues: the difference of every metric with a 95 % interval (paired bootstrap) "
        "and a p-value (approximate randomization, corrected for several runs), the dialogues that each wins, the "
        "params that differ and the size of the model. A run is called better or worse only if the test shows it.",
        examples=(
            "yoyak compare beam1   # the experiment beam1 against the workspace",
            "yoyak compare main kobart-lr2 kobart-lr5",
            "yoyak compare HEAD beam1 --html   # and every dialogue side by side",
            "yoyak compare HEAD~1 HEAD --json comparison.json",
        ),
        run=_compare,
        add_arguments=_add_compare_arguments,
    ),
)
