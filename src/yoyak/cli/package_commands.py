"""The command that gives a trained model to others: package."""

import argparse
from pathlib import Path

from yoyak.cli.command import Command
from yoyak.cli.trained_model import MODELS, PREDICT_REPORT, SCORES
from yoyak.system.errors import YoyakError


def _package(args: argparse.Namespace) -> None:
    from yoyak.config.params import load_params

    params = load_params()
    if params.model.family == "endpoint":
        raise YoyakError("model.family is endpoint: its model is on a server, so there is nothing to package")
    model = MODELS / params.model.family
    output = args.output or Path("packages") / params.model.family
    if output.exists() and not (output / "yoyak.json").is_file():
        raise YoyakError(f"{output}: exists and is no package; name another folder by --output")

    from yoyak.inference.packaging import write_package
    from yoyak.system.atomic import atomic_folder

    with atomic_folder(output) as folder:
        write_package(model, folder, params=params, predict_report=PREDICT_REPORT, scores=SCORES)
    print(f"{output}: package; {output / 'README.md'} has its scores and code that runs it with transformers alone")


def _add_package_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="folder to write; an older package there is replaced (default: packages/ and model.family)",
    )


COMMANDS = (
    Command(
        name="package",
        summary="Write the trained model as a folder for transformers.",
        description="Write the trained model of the workspace as a folder for others: weights (an adapter is merged into its "
        "base), tokenizer, decoding settings, the settings of its input (yoyak.json), hashes, and a model card with the scores "
        "and code that runs it with transformers alone. For an experiment, run `dvc exp apply EXP` first. The same model "
        "gives the same bytes.",
        examples=("yoyak package", "yoyak package --output packages/submission-3"),
        run=_package,
        add_arguments=_add_package_arguments,
    ),
)
