"""The command that records an experiment: record."""

import argparse
from pathlib import Path

from yoyak.cli.command import LANGUAGES, Command, whole_number


def _record(args: argparse.Namespace) -> None:
    from yoyak.reports.record import Record, parent_of, record_path, write_record
    from yoyak.reports.record_index import write_index
    from yoyak.reports.runs import Run

    path = record_path(args.name or args.run)
    run = Run.find(Path.cwd(), args.run)
    parent = None if args.no_parent else Run.find(Path.cwd(), args.parent) if args.parent else parent_of(run)
    is_new = write_record(path, Record.of(run, parent, samples=args.samples, seed=args.seed), language=args.language)
    index = write_index(path.parent, language=args.language)
    print(f"{path}: {'new; write purpose, hypothesis, insight and next' if is_new else 'its facts are written again'}")
    print(f"{index}: lists all records")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="EXP", help="an experiment, a branch, a tag, a commit, or `workspace`: the files here")
    of_parent = parser.add_mutually_exclusive_group()
    of_parent.add_argument(
        "--parent", metavar="EXP", help="the run to compare with (default: the commit on which the experiment was made)"
    )
    of_parent.add_argument("--no-parent", action="store_true", help="compare with nothing")
    parser.add_argument("--name", metavar="NAME", help="name of the page (default: EXP)")
    parser.add_argument("--language", choices=LANGUAGES, help="language of the facts (default: that of the page, else ko)")
    parser.add_argument(
        "--samples", type=whole_number, default=10_000, metavar="N", help="resamplings of each test (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the resampling (default: %(default)s)")


COMMANDS = (
    Command(
        name="record",
        summary="Write a record of an experiment, with its facts filled in.",
        description="Write docs/experiments/EXP.md: the params that differ from the parent, the scores with intervals, paired "
        "tests against the parent, and the cost. Purpose, hypothesis, insight and next are blanks for you. A second call "
        "writes the facts again and changes nothing that you wrote. docs/experiments/index.md lists all records.",
        examples=(
            "yoyak record beam1",
            "yoyak record kobart-lr2 --parent kobart-lr5 --language en",
            "yoyak record workspace --name first-run --no-parent",
        ),
        run=_record,
        add_arguments=_add_arguments,
    ),
)
