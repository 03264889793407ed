"""Validate the whole of params.yaml before any other stage runs.

DVC deletes the outputs of a stage before it runs the stage. A wrong value of `training` would otherwise be found only after the
model of the last run is gone. The output never changes, so this stage reruns no other one.
"""

from pathlib import Path

from stages import exit_of_stage
from yoyak.config.params import load_params
from yoyak.config.sections import Checkpoint
from yoyak.models.checkpoints import from_pretrained_arguments
from yoyak.system import portable_kernels
from yoyak.system.atomic import atomic_file
from yoyak.system.errors import YoyakError
from yoyak.system.process_limits import check_process_count
from yoyak.system.rendezvous import read_rendezvous


def main(output: Path) -> None:
    params = load_params()
    portable_kernels.use_if(params.hardware.portable)  # it hides GPUs
    check_process_count(params.hardware.processes, hosts=params.hardware.hosts)
    read_rendezvous(params.hardware.hosts)
    model = params.model
    chosen = getattr(model, model.family, None)  # a family without a checkpoint needs no section
    if isinstance(chosen, Checkpoint):
        from_pretrained_arguments(chosen.checkpoint, chosen.revision)  # raises if it cannot be loaded
    for name in ("bert_score", "embedding"):  # else a wrong one is found only after the training
        section = getattr(params.score, name)
        if section.checkpoint:
            try:
                from_pretrained_arguments(section.checkpoint, section.revision)
            except YoyakError as error:
                raise YoyakError(f"score.{name}: {error}") from None
    with atomic_file(output) as file:
        file.write("params.yaml is valid\n")


if __name__ == "__main__":
    with exit_of_stage():
        main(Path("data/params_checked.txt"))
