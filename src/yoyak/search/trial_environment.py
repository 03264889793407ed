"""The environment variables of the processes that run a trial."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import Trial

from yoyak.config.params import parse_params
from yoyak.config.sections import Hardware
from yoyak.search.study_setup import OpenedStudy
from yoyak.search.trials import UNTIL, trial_id
from yoyak.search.workers import Worker
from yoyak.system.cores import usable_cores
from yoyak.training.study_storage import TRIAL_VARIABLE
from yoyak.training.trackers.description import GROUP_VARIABLE
from yoyak.training.trackers.stores import FOLDER_VARIABLE, stores_folder

WORKER_LOCK_VARIABLE = "YOYAK_SEARCH"  # Stages end when the lock on this file is released.
CHECKPOINTS_VARIABLE = "YOYAK_CHECKPOINTS"  # All clones share the checkpoints of the user's repository,
CHECKPOINTS_FOLDER = Path(".checkpoints")  # which are here.
ANSWERS_VARIABLE = "YOYAK_ANSWERS"  # All clones share the stored answers, so that no call is paid twice.


def trial_environment(opened: OpenedStudy, worker: Worker, *, job: int, trial: Trial | None) -> dict[str, str]:
    """The environment variables of a run.

    Args:
        opened: The study.
        worker: The worker of this process.
        job: The index of the job. With several jobs, each one gets GPUs of its own as far as there are enough. Without GPUs
            and a number in `hardware.cpu_threads` they share the cores.
        trial: The trial to which training reports, so that the study can stop or pause it; None: it is not
            stopped.
    """
    environment = clone_environment(worker, group=opened.name)
    if trial and opened.plan.can_prune:
        # The address of the storage can contain a password, so only the environment carries it.
        environment[TRIAL_VARIABLE] = json.dumps(
            {
                "storage": opened.url,
                "study": opened.name,
                "trial": trial_id(trial),
                "pruner": opened.plan.pruner.settings(),
                "until": trial.user_attrs.get(UNTIL),
            }
        )
    if opened.plan.jobs > 1:
        environment |= _share_of_job(job, opened.plan.jobs, _hardware(opened))
    return environment


def _share_of_job(job: int, jobs: int, hardware: Hardware) -> dict[str, str]:
    """The variables that limit a job to its share of the GPUs or cores."""
    if gpus := visible_gpus():
        return {"CUDA_VISIBLE_DEVICES": ",".join(gpus_of_job(gpus, job, hardware.processes))}
    if hardware.cpu_threads is None and hardware.processes == 1:  # else each process has a number of threads of its own
        return {"OMP_NUM_THREADS": str(max(1, usable_cores() // jobs))}
    return {}


def gpus_of_job(gpus: Sequence[str], job: int, processes: int) -> Sequence[str]:
    """The GPUs of a job: as many as its training has processes. Jobs share GPUs if there are not enough for all.

    If there are fewer GPUs than processes, the job gets all, and its training says what is missing.
    """
    groups = max(1, len(gpus) // processes)
    start = job % groups * processes
    return gpus[start : start + processes]


def _hardware(opened: OpenedStudy) -> Hardware:
    """The section of the trials, which no search varies."""
    return parse_params(opened.base.with_fixed(), source="params.yaml").hardware


def clone_environment(worker: Worker, *, group: str) -> dict[str, str]:
    """The environment variables of every run in a clone.

    Args:
        worker: The worker of this process.
        group: The name under which trackers show runs that belong together, unless the environment names one.
    """
    return {
        WORKER_LOCK_VARIABLE: str(worker.lock_path),
        CHECKPOINTS_VARIABLE: str(CHECKPOINTS_FOLDER.resolve()),
        ANSWERS_VARIABLE: str(Path(".answers").resolve()),
        FOLDER_VARIABLE: str(stores_folder()),
        GROUP_VARIABLE: os.environ.get(GROUP_VARIABLE) or group,
    }


def visible_gpus() -> list[str]:
    """The GPUs that trials can use: those in CUDA_VISIBLE_DEVICES, or all that nvidia-smi lists if it is not set."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:  # If it is empty, the user wants no GPU.
        return [gpu for gpu in visible.split(",") if gpu]
    if not shutil.which("nvidia-smi"):
        return []
    lines = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout.splitlines()
    return [str(index) for index, _ in enumerate(line for line in lines if line.startswith("GPU "))]
