"""Commands that look at all experiments: status, exps."""

import argparse
import shutil
from pathlib import Path

from yoyak.cli.command import Command, suggestion
from yoyak.system.errors import YoyakError

SORTABLE = ("rouge1", "rouge2", "rougeL", "rouge_sum", "content.rouge_sum")
WIDTH = 120  # where the terminal does not say how wide it is, as in a pipe


def _status(_: argparse.Namespace) -> None:
    from yoyak.reports.status import status_lines

    print("\n".join(status_lines(Path())))


def _exps(args: argparse.Namespace) -> None:
    from yoyak.reports.experiments import experiments_table, read_experiments, varying_params

    experiments = read_experiments(Path(), all_commits=args.all)
    if args.sort:
        experiments = sorted(experiments, key=lambda one: -one.scores.get(args.sort, float("-inf")))
    known = list(dict.fromkeys(name for one in experiments for name in one.params))
    params = [_param(name, known) for name in args.param] or varying_params(experiments)
    print("\n".join(experiments_table(experiments, params, width=shutil.get_terminal_size((WIDTH, 24)).columns)))


def _param(name: str, known: list[str]) -> str:
    """The dotted name of a param that the user names in whole or by its last part."""
    matching = [key for key in known if key == name or key.rpartition(".")[2] == name]
    if len(matching) > 1 and name not in matching:
        raise YoyakError(f"--param {name}: which one? {', '.join(matching)}")
    if not matching:
        raise YoyakError(f"--param {name}: no experiment has such a param{suggestion(name, known)}")
    return name if name in matching else matching[0]


def _add_exps_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="also all earlier commits and the experiments on them")
    parser.add_argument("--sort", choices=SORTABLE, metavar="SCORE", help=f"highest first: {', '.join(SORTABLE)}")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME",
        help="show this param in place of those that vary; may be given several times",
    )


COMMANDS = (
    Command(
        name="status",
        summary="Show what runs, what is stale and why, and the best result.",
        description="Show which runs, queued experiments and searches are at work, which stages `dvc repro` would run and "
        "why, and the best experiment so far. Nothing is changed.",
        examples=("yoyak status",),
        run=_status,
    ),
    Command(
        name="exps",
        summary="List experiments with scores and the params that vary.",
        description="List the experiments of `dvc exp show` in a table that fits the terminal: the main scores, and only the "
        "params that differ between the rows. Queued, failed and pruned experiments have no scores.",
        examples=("yoyak exps", "yoyak exps --sort rouge_sum", "yoyak exps --param learning_rate --param num_beams"),
        run=_exps,
        add_arguments=_add_exps_arguments,
    ),
)
