"""Checkpoints of a training on several hosts. Only the first host keeps them; the others get copies when they read one."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from transformers import TrainerState, TrainingArguments

from yoyak.system import processes
from yoyak.training.folder_sharing import copy_from_first
from yoyak.training.process_group import share


def gather_at_first_host(args: TrainingArguments, state: TrainerState) -> None:
    """Move what the other hosts wrote of the newest checkpoint, which is their random state, to the first one.

    Each process calls it after the Trainer has written the checkpoint. With one host it does nothing.

    Args:
        args: of the trainer; each host has a folder of its own as `output_dir`.
        state: of the trainer. The other hosts do not have the best checkpoint, so its path is set here.
    """
    if processes.hosts() == 1:
        return
    name = f"rng_state_{processes.rank()}.pth"  # as the Trainer calls it
    folder = Path(args.output_dir, f"checkpoint-{state.global_step}")
    files = share((name, (folder / name).read_bytes()) if processes.host() else None)
    if processes.rank() == 0:
        for own in filter(None, files):
            Path(folder, own[0]).write_bytes(own[1])
    elif processes.host() and processes.local_rank() == 0:
        shutil.rmtree(folder)
    if state.best_global_step:
        state.best_model_checkpoint = str(Path(args.output_dir, f"checkpoint-{state.best_global_step}"))


def copy_to_hosts(folder: Path, steps: Iterable[int]) -> None:
    """Copy checkpoints of the first host to the others, which have none, and wait for it. Each process calls it.

    Args:
        folder: the `output_dir` of this host.
        steps: of the checkpoints. The same in all processes.
    """
    if processes.hosts() == 1:
        return
    for step in steps:
        checkpoint = folder / f"checkpoint-{step}"
        copy_from_first(checkpoint, checkpoint)
    share(None)  # until then the first process of a host may still be writing
