"""Debug runs (training.debug): a note in the model's folder, so that nobody takes their scores for results."""

from pathlib import Path

DEBUG_NOTE = "debug-run.txt"  # in the folder of a model that a debug run trained
DEBUG_WARNING = "DEBUG RUN: the model learned from a few rows (training.debug: true). Its summaries and scores are no results"


def mark_debug(folder: Path) -> None:
    """Write the note into a model's folder."""
    (folder / DEBUG_NOTE).write_text(f"{DEBUG_WARNING}.\n", encoding="utf-8")


def debug_report(folder: Path) -> dict[str, bool]:
    """For the metrics of a stage that uses the model in `folder`. Prints the warning if a debug run trained it."""
    if not is_debug(folder):
        return {}
    print(f"WARNING: {DEBUG_WARNING}", flush=True)
    return {"debug_run": True}


def is_debug(folder: Path) -> bool:
    """Whether a debug run trained the model in `folder`."""
    return (folder / DEBUG_NOTE).is_file()
