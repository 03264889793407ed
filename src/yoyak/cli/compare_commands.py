"""The command that compares runs: compare."""

import argparse
from pathlib import Path

from yoyak.cli.command import Command, whole_number
from yoyak.system.errors import YoyakError


def _compare(args: argparse.Namespace) -> None:
    from yoyak.reports.experiments import WORKSPACE

    names = args.runs if len(args.runs) > 1 else [WORKSPACE, *args.runs]
    if len(set(names)) < len(names):
        raise YoyakError(f"compare: {' '.join(names)}: name each run once; the first is what the others are compared with")

    from yoyak.reports.comparison import compare_runs, comparison_table
    from yoyak.reports.runs import Run
    from yoyak.system.text_files import write_json

    comparison = compare_runs([Run.find(Path.cwd(), name) for name in names], samples=args.samples, seed=args.seed)
    if args.json:
        write_json(args.json, comparison.to_json())
    print(comparison_table(comparison))


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
            "yoyak compare HEAD~1 HEAD --json comparison.json",
        ),
        run=_compare,
        add_arguments=_add_compare_arguments,
    ),
)
