"""Finding the implementation of a family: by its name, or by a folder that holds a trained model of it."""

from importlib import import_module
from pathlib import Path
from typing import get_args

from yoyak.config.sections import FamilyName
from yoyak.models.families.base import Family
from yoyak.system.errors import YoyakError

FAMILIES: tuple[str, ...] = get_args(FamilyName)


def family_named(name: str) -> Family:
    """The family that `model.family: name` means."""
    family: Family = import_module(f"yoyak.models.families.{name}").FAMILY
    return family


def family_of_folder(folder: Path) -> Family:
    """The family of the trained model in `folder`.

    Raises:
        YoyakError: if the folder holds no trained model, for example because its training stage was not chosen.
    """
    for name in FAMILIES:
        family = family_named(name)
        if family.recognizes(folder):
            return family
    raise YoyakError(
        f"{folder}: no trained model here; run `dvc repro` (model.family in params.yaml chooses which model it trains)"
    )
