"""The command that makes one of several experiments: ensemble."""

import argparse
from pathlib import Path

from yoyak.cli.command import Command, add_changes
from yoyak.system.errors import YoyakError

METHODS = ("consensus", "average_weights", "average_probabilities")  # of `model.ensemble.method`, which is slow to import


def _ensemble(args: argparse.Namespace) -> None:
    from yoyak.config.params import parse_change

    if len(args.experiments) < 2:
        raise YoyakError(f"ensemble: {args.experiments[0]} alone is no ensemble; name two or more experiments")
    changes = dict(map(parse_change, args.set))
    chosen = {"method": args.method, "selection": "greedy" if args.greedy else "all"}

    from yoyak.ensembles.building import report_lines
    from yoyak.ensembles.experiment import run_ensemble

    report = run_ensemble(args.name, args.experiments, chosen, changes, Path.cwd())
    print("\n".join(report_lines(report)))
    print(f"the experiment is {args.name}: yoyak compare {args.experiments[0]} {args.name}; dvc exp apply {args.name}")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="name of the new experiment")
    parser.add_argument(
        "experiments",
        nargs="+",
        metavar="EXPERIMENT",
        help="members: names of experiments, branches or commits; the best one first, because the order decides between equals",
    )
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="consensus",
        metavar="METHOD",
        help=f"how the members become one: {', '.join(METHODS)} (default: %(default)s)",
    )
    parser.add_argument("--greedy", action="store_true", help="take only members that raise rouge_sum on dev (default: all)")
    add_changes(parser, "use this value, such as model.ensemble.utility=chrf; may be given several times")


COMMANDS = (
    Command(
        name="ensemble",
        summary="Make one experiment of several finished ones.",
        description="Run an experiment whose summaries come of several finished experiments together: the summary that agrees "
        "most with those of the other members (consensus, members of any family), one model with the mean of their weights, or "
        "several models whose probabilities are averaged. "
        "The report says how much of the gain on dev is optimism, measured on halves of dev. The experiment runs in a copy of "
        "the repository, so your files stay as they are. After Ctrl-C or a crash, the same command continues.",
        examples=(
            "yoyak ensemble three seed1 seed2 seed3",
            "yoyak ensemble soup seed1 seed2 --method average_weights --greedy",
            "yoyak ensemble folds folds3-a1b2c3-t0000 folds3-a1b2c3-t0001 …",
        ),
        run=_ensemble,
        add_arguments=_add_arguments,
        after_interrupt="the same command continues",
    ),
)
