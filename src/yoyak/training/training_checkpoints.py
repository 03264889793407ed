"""Checkpoints of an unfinished training: find the one to resume from, mark a new one complete, delete old ones.

`models.checkpoints` is about another kind: the pretrained checkpoints that a training starts from.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yoyak.system import resumable
from yoyak.system.text_files import read_json


def step_of(checkpoint: Path) -> int:
    """The optimizer's step after which the trainer wrote the folder `checkpoint-STEP`."""
    return int(checkpoint.name.partition("-")[2])


def newest_first(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, by their steps, because the clock of a machine can jump."""
    checkpoints = [path for path in folder.glob("checkpoint-*") if path.name.partition("-")[2].isdigit()]
    return sorted(checkpoints, key=step_of, reverse=True)


def checkpoint_to_resume(folder: Path, *, also_needed: Callable[[list[dict[str, Any]]], list[int]]) -> Path | None:
    """The newest complete checkpoint whose best checkpoint so far, and others that the end needs, are complete too, or None.

    Args:
        folder: where the trainer writes its checkpoints.
        also_needed: gives the steps of the other checkpoints that the end of the training needs, from the log so far.

    Incomplete and damaged checkpoints are named on the console and deleted.
    """
    for checkpoint in newest_first(folder):
        if reason := resumable.why_unusable(checkpoint):
            print(f"a training checkpoint cannot be used and is deleted: {reason}", flush=True)
            shutil.rmtree(checkpoint)
    for checkpoint in newest_first(folder):
        state = read_json(checkpoint / "trainer_state.json")
        needed = [state["best_global_step"], *also_needed(state["log_history"])]
        if all((folder / f"checkpoint-{step}").is_dir() for step in needed if step):
            return checkpoint
    return None


def is_last_of_training(checkpoint: Path) -> bool:
    """Whether the training ended with this checkpoint, by its number of steps or by early stopping."""
    state = read_json(checkpoint / "trainer_state.json")
    return bool(state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"])


def complete_newest(folder: Path, *, step: int, needed_steps: set[int], keep: int) -> None:
    """Mark the checkpoint of `step` complete, then delete old ones.

    Args:
        folder: where the trainer writes its checkpoints.
        step: the step of the checkpoint that was just written.
        needed_steps: the steps of checkpoints that stay in any case, such as the best one.
        keep: how many checkpoints stay, the newest and those of `needed_steps` included.
    """
    newest = folder / f"checkpoint-{step}"
    (newest / "training_args.bin").unlink(missing_ok=True)  # a pickle, which nobody reads
    resumable.mark_complete(newest)
    needed = {f"checkpoint-{number}" for number in {step, *needed_steps}}
    others = [path for path in newest_first(folder) if path.name not in needed]
    for old in others[max(0, keep - len(needed)) :]:
        shutil.rmtree(old)
