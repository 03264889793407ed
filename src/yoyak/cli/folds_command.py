"""The command for cross-validation: folds."""

import argparse
from pathlib import Path

from yoyak.cli.command import Command, add_changes, whole_number
from yoyak.system.errors import YoyakError


def _folds(args: argparse.Namespace) -> None:
    from yoyak.config.params import load_params, parse_change

    if args.count < 2:
        raise YoyakError(f"folds: {args.count} is too few; use 2 or more, such as 5")
    score = load_params(Path("params.yaml")).score

    from yoyak.reports.folds import folds_table, run_folds, summarize_folds, write_folds

    changes = dict(map(parse_change, args.set))
    name, folds = run_folds(args.count, changes, name=args.name, jobs=args.jobs, root=Path.cwd())
    summary = summarize_folds(folds, samples=score.bootstrap_samples, seed=score.seed)
    output = args.output or Path("reports", name)
    write_folds(folds, summary, output)
    print("\n".join(folds_table(summary)))
    print(f"written: {output}/folds.json, {output}/predictions.csv")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("count", type=whole_number, metavar="K", help="number of folds, for example 5")
    parser.add_argument("--name", metavar="STUDY", help="store the results under this name (default: from K and the params)")
    parser.add_argument(
        "--jobs", type=whole_number, default=1, metavar="N", help="experiments that run at the same time (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="folder for the results (default: reports/STUDY)")
    add_changes(parser, "use this value in all folds; may be given several times")


COMMANDS = (
    Command(
        name="folds",
        summary="Cross-validate: one experiment for each fold of train.csv.",
        description="Divide train.csv into K folds, keep dialogues that are almost the same together, and run one experiment "
        "for each fold: the fold is dev, the others are train. Then print the mean of each score over the folds with its "
        "interval, and write the summary of each dialogue by the model that did not train on it. dev.csv is not used. The "
        "experiments run in copies of the repository, so your files stay as they are. After Ctrl-C or a crash, the same "
        "command continues.",
        examples=("yoyak folds 5", "yoyak folds 5 -S training.learning_rate=5e-4 --jobs 2"),
        run=_folds,
        add_arguments=_add_arguments,
        after_interrupt="the same command continues",
    ),
)
