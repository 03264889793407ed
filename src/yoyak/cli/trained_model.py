"""Where commands find the trained model, what predict decided for it, and its scores."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from yoyak.system.debug_note import DEBUG_WARNING, is_debug
from yoyak.system.errors import YoyakError

if TYPE_CHECKING:
    from yoyak.config.sections import Params
    from yoyak.inference.decisions import Decisions

MODELS = Path("models")
PREDICT_REPORT = Path("metrics/predict.json")
SCORES = Path("metrics/scores.json")


def check_model(folder: Path) -> None:
    """Refuse a folder without a model before anything slow is imported. The family then looks into the folder."""
    notes = {"not-chosen.txt", "pruned.txt", "SHA256SUMS", ".gitignore"}
    if not folder.is_dir() or all(path.name in notes for path in folder.iterdir()):
        raise YoyakError(
            f"{folder}: no trained model here; run `dvc repro` (model.family in params.yaml chooses which model it trains)"
        )


def model_to_use(args: argparse.Namespace, params: "Params") -> "tuple[Path, Decisions]":
    """The folder of `--model`, or of model.family, and what predict decided for it.

    Raises:
        YoyakError: if there is no trained model.
    """
    from yoyak.inference.decisions import Decisions

    model = args.model or MODELS / params.model.family
    check_model(model)
    if is_debug(model):
        print(f"WARNING: {DEBUG_WARNING}", file=sys.stderr)
    decisions = Decisions.read(PREDICT_REPORT)
    return model, decisions if args.model is None else replace(decisions, backend=None)  # it was chosen for another model
