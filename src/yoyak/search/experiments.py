"""Running one set of params as a DVC experiment, in a clone of the repository that nothing else uses.

`dvc exp run --temp` would run it from the user's folder: at its start it stashes the user's changes, edits params.yaml and
detaches HEAD, and a kill at that moment leaves the folder in this state. Two commands that start at the same time can also
take each other's experiment.
"""

import contextlib
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoyak.config import presets
from yoyak.search.dvc_process import DvcProcess
from yoyak.search.git_dvc import dvc, dvc_cache_folder, git
from yoyak.search.snapshots import Snapshot
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json

RUNNING_STAGE = re.compile(r"^Running stage '(\w+)'")  # a line that `dvc exp run` prints
EXIT_CODE = re.compile(r"exited with (-?\d+)$", re.M)  # the end of a line that DVC prints when a stage fails
SHELL_SIGNAL = 128  # A shell adds this number to the signal that ended its command.


@dataclass
class ExperimentOutcome:
    """How a run ended.

    Attributes:
        status: The exit status of DVC; negative if a signal ended it.
        stages: The names of the stages that ran.
        log: The file with the output of DVC and of the stages.
        log_offset: Where the output of this run begins in the file, in bytes. Earlier attempts come before it.
    """

    status: int
    stages: list[str] = field(default_factory=list)
    log: Path = Path()
    log_offset: int = 0

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended DVC or a stage. Such an end says nothing about the params."""
        codes = [int(code) for code in EXIT_CODE.findall(self.last_lines())]
        return self.status < 0 or any(code < 0 or code > SHELL_SIGNAL for code in codes)

    def last_lines(self, count: int = 15) -> str:
        """The last lines of the run's output, as a terminal shows them (after the last carriage return)."""
        text = self.log.read_bytes()[self.log_offset :].decode("utf-8", errors="replace")
        return "\n".join(line.rpartition("\r")[2] for line in text.strip().splitlines()[-count:])


class ExperimentClone:
    """A clone of the repository with the files of a snapshot. It uses the repository's own DVC cache.

    Each worker makes its clones anew and removes them when it ends.
    """

    def __init__(self, root: Path, folder: Path, snapshot: Snapshot) -> None:
        self.root, self.folder, self.snapshot = root, folder, snapshot
        self._process: subprocess.Popen[str] | DvcProcess | None = None
        self._environment: Mapping[str, str] = {}  # of the last run
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        git(root, "clone", "--quiet", "--local", "--no-checkout", "--no-tags", str(root), str(folder))
        for key in ("user.name", "user.email"):
            done = subprocess.run(["git", "config", key], cwd=root, capture_output=True, text=True, check=False)
            git(folder, "config", key, done.stdout.strip() or "yoyak")
        git(folder, "update-ref", "--no-deref", "HEAD", snapshot.commit)
        self._reset_files()
        local_config = root / ".dvc" / "config.local"
        if local_config.is_file():
            shutil.copyfile(local_config, folder / ".dvc" / "config.local")
        # The path is relative because DVC cannot write a path with other letters than ASCII into its config.
        dvc(folder, "config", "--local", "cache.dir", os.path.relpath(dvc_cache_folder(root), folder))
        # Get the user's data, and the outputs that are in the cache already.
        dvc(folder, "checkout", "--quiet", "--allow-missing")

    def _reset_files(self) -> None:
        git(self.folder, "read-tree", "--reset", "-u", self.snapshot.tree)

    def run(self, name: str, overlay: Mapping[str, Any], *, log: Path, environment: Mapping[str, str]) -> ExperimentOutcome:
        """Run the pipeline as an experiment. If it succeeds, the user's repository then has the experiment.

        All processes of the run have ended when this function returns or raises.

        Args:
            name: The name of the experiment.
            overlay: Nested values that replace those of params.yaml.
            log: The file to which the output is appended.
            environment: Environment variables of all stages.
        """
        self._reset_files()
        self._environment = environment
        presets.write_overlay(overlay, params=self.folder / "params.yaml", source=name)
        experiments_ref = self.snapshot.experiments_ref
        # Remove the experiment of an earlier attempt, which has the same name.
        for ref in git(self.folder, "for-each-ref", "--format=%(refname)", experiments_ref).splitlines():
            git(self.folder, "update-ref", "-d", ref)
        outcome = self._run_dvc(name, log)
        if outcome.status == 0:
            ref = f"{experiments_ref}/{name}"
            git(self.root, "fetch", "--quiet", "--no-write-fetch-head", str(self.folder), f"+{ref}:{ref}")
        return outcome

    def _run_dvc(self, name: str, log: Path) -> ExperimentOutcome:
        outcome = ExperimentOutcome(-signal.SIGKILL, log=log)
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("DVC_EXP", "DVC_ROOT", "DVC_STAGE"))
        }
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        log.parent.mkdir(parents=True, exist_ok=True)
        with (
            open(log, "a", encoding="utf-8") as file,
            DvcProcess(
                ["exp", "run", "--name", name],
                folder=self.folder,
                environment={**inherited, "PATH": path, "PYTHONUNBUFFERED": "1", **self._environment},
            ) as process,
        ):
            outcome.log_offset = file.tell()
            with self._killed_at_exit(process):
                for line in process.lines():
                    file.write(line)
                    file.flush()
                    if match := RUNNING_STAGE.match(line):
                        outcome.stages.append(match[1])
                outcome.status = process.wait()
        return outcome

    @contextlib.contextmanager
    def _killed_at_exit(self, process: "subprocess.Popen[str] | DvcProcess") -> Iterator[None]:
        """Let `kill` end the process, and end its whole group of processes in any case."""
        self._process = process
        try:
            yield
        finally:
            self.kill()
            self._process = None

    def kill(self) -> None:
        """End the processes that run now."""
        if isinstance(self._process, DvcProcess):
            self._process.kill_group()
        elif self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def scores(self) -> dict[str, Any]:
        """metrics/scores.json of the last run."""
        scores: dict[str, Any] = read_json(self.folder / "metrics/scores.json")
        return scores

    def row_scores(self, column: str) -> list[float]:
        """A column of metrics/per_dialogue.csv of the last run; empty if the pipeline writes no such file."""
        path = self.folder / "metrics/per_dialogue.csv"
        if not path.is_file():
            return []
        with open(path, encoding="utf-8", newline="") as file:
            return [float(row[column]) for row in csv.DictReader(file)]

    def dev_curve(self, family: str, metric: str) -> dict[int, float]:
        """A metric on the dev split by epoch, of the training run whose model is here (it may come from the cache)."""
        path = self.folder / "metrics/train" / family / "plots/metrics/dev" / f"{metric}.tsv"
        with open(path, encoding="utf-8", newline="") as file:
            return {int(row["step"]): float(row[metric]) for row in csv.DictReader(file, delimiter="\t")}

    def model_bytes(self, family: str) -> int:
        """The size of all files of the model of the last run."""
        return sum(path.stat().st_size for path in (self.folder / "models" / family).rglob("*") if path.is_file())

    def seconds_per_dialogue(self, rows: int) -> float:
        """The seconds that the model of the last run takes per dialogue, measured on the first dev rows in a new process.

        Raises:
            YoyakError: if the measurement fails.
        """
        with (
            subprocess.Popen(
                [sys.executable, "-m", "yoyak", "time", "--rows", str(rows)],
                cwd=self.folder,
                env={**os.environ, **self._environment, "PYTHONPATH": str(self.folder / "src")},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            ) as process,
            self._killed_at_exit(process),
        ):
            output, errors = process.communicate()
        if process.returncode:
            raise YoyakError(f"yoyak time: {errors.strip()[-500:]}")
        return float(output.split()[0])
