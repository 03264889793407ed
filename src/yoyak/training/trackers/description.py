"""Describes the run of this repository to trackers: its name, group, tags and settings, and the folder it is kept under."""

import hashlib
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from string import Formatter
from typing import Any

from yoyak.config.params import leaf_keys
from yoyak.config.sections import Params
from yoyak.system.checksums import CHECKSUMS_FILE
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, to_json, write_json
from yoyak.training.trackers.base import RunDescription
from yoyak.training.trackers.stores import stores_folder

NAME_VARIABLE = "YOYAK_RUN_NAME"
GROUP_VARIABLE = "YOYAK_RUN_GROUP"
DESCRIPTION = "run.json"
DEFAULT_NAME = "{family}_{checkpoint}_{data}_lr{learning_rate}_bs{batch}_ep{epochs}"


def describe_run(params: Params, facts: Mapping[str, str]) -> RunDescription:
    """The description of the run with these params.

    Args:
        params: all sections.
        facts: further tags.

    Raises:
        YoyakError: if the template in YOYAK_RUN_NAME has an unknown field.
    """
    settings = {name: _value(params, name) for name in leaf_keys()}
    experiment, commit = os.environ.get("DVC_EXP_NAME", ""), _commit()
    tags = {"family": params.model.family, "experiment": experiment, "commit": commit, **facts}
    return RunDescription(
        name=run_name(params),
        group=os.environ.get(GROUP_VARIABLE, "").strip(),
        tags={name: value for name, value in tags.items() if value},
        settings=settings,
    )


def run_name(params: Params) -> str:
    """The name of a run, from the template in YOYAK_RUN_NAME.

    Raises:
        YoyakError: naming the fields, if the template has an unknown one or is not a template.
    """
    training, template = params.training, os.environ.get(NAME_VARIABLE) or DEFAULT_NAME
    fields = {
        "experiment": os.environ.get("DVC_EXP_NAME", "workspace"),
        "family": params.model.family,
        "checkpoint": Path(params.model.name).name,
        "data": Path(params.data.dir).name,
        "learning_rate": f"{training.learning_rate:g}",
        "batch": training.per_device_train_batch_size * training.gradient_accumulation_steps,
        "epochs": f"{training.num_train_epochs:g}",
        "seed": training.seed,
    }
    try:
        unknown = [name for _, name, _, _ in Formatter().parse(template) if name is not None and name not in fields]
        name = "" if unknown else template.format(**fields)
    except ValueError:
        name = ""
    if not name:
        known = ", ".join(f"{{{field}}}" for field in fields)
        raise YoyakError(f"{NAME_VARIABLE}: {template!r} is not a template of a name; its fields are {known}")
    return name


def run_folder(params: Params, processed: Path) -> Path:
    """Where trackers keep what they know about the run of these params and this data, in training and in scoring."""
    values = params.model_dump(mode="json", exclude={"search"})
    checksums = (processed / CHECKSUMS_FILE).read_text(encoding="utf-8")
    return stores_folder() / "runs" / hashlib.sha256((to_json(values) + checksums).encode()).hexdigest()[:32]


def _commit() -> str:
    """The commit of the working tree, or "" outside git."""
    done = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _value(params: Params, dotted: str) -> Any:
    value: Any = params
    for name in dotted.split("."):
        value = getattr(value, name)
    return value


def keep_description(run: RunDescription, folder: Path) -> None:
    """Write the description into the run's folder, for the stage score, which loads no model and knows less about it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / DESCRIPTION, asdict(run))


def kept_description(folder: Path) -> RunDescription | None:
    """The description that the training has kept, or None if DVC restored the training and it never ran here."""
    path = folder / DESCRIPTION
    return RunDescription(**read_json(path)) if path.is_file() else None
