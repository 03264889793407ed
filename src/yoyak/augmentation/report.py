"""What augmentation adds to train, in words: before a run (`yoyak doctor`) and after it (`yoyak show`)."""

from collections.abc import Mapping
from typing import Any

from yoyak.augmentation.lookup import build_methods, chosen_methods
from yoyak.augmentation.workspace import Workspace
from yoyak.config.sections import Params
from yoyak.system.text_files import counted


def describe_plan(params: Params) -> str:
    """What the stage augment will do. Models are not loaded, but each method checks what it can.

    Raises:
        YoyakError: from `Method.check`, if a method cannot work.
    """
    names, notes = chosen_methods(params)
    methods = build_methods(names, Workspace(params.augment.seed, params))
    lines = [f"{method.name}: {method.settings.rate:g} for each train row {method.check()}".rstrip() for method in methods]
    return "; ".join([*lines, *notes])


def describe_report(report: Mapping[str, Any]) -> str:
    """One line about metrics/augment.json; empty if nothing was added."""
    kept = [f"{name} {counts['kept']}" for name, counts in report.get("methods", {}).items()]
    rows = counted(report["added"], "row") if report["added"] else ""
    return f"augment added {rows} to train ({', '.join(kept)})" if rows else ""
