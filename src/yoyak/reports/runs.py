"""What a run left behind: params, scores, scores of each dialogue, predictions. A run is the workspace or a git revision."""

import csv
import io
import json
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from yoyak.config.yaml_files import parse_yaml
from yoyak.reports.experiments import WORKSPACE
from yoyak.search.base_params import flatten
from yoyak.search.git_dvc import git
from yoyak.system.checksums import CHECKSUMS_FILE
from yoyak.system.errors import YoyakError
from yoyak.system.timings import find_seconds

PER_DIALOGUE = "metrics/per_dialogue.csv"
SCORES = "metrics/scores.json"
DEV_ROWS = "data/processed/dev.jsonl"
DEV_PREDICTIONS = "data/predictions/dev.csv"


def find_revision(root: Path, name: str) -> str:
    """The commit of an experiment or another git revision.

    Args:
        root: folder of the repository.
        name: the name of a DVC experiment, or what git understands: a branch, a tag, a hash, HEAD~1.

    Raises:
        YoyakError: if there is nothing of this name, or several experiments have it. The message lists what there is.
    """
    experiments = list_experiments(root)
    matches = [commit for experiment, commit in experiments if experiment == name]
    if len(set(matches)) == 1:
        return matches[0]
    if matches:
        here = [commit for commit in matches if git(root, "rev-parse", f"{commit}^") == git(root, "rev-parse", "HEAD")]
        if len(here) == 1:  # `dvc exp apply` takes this one too
            return here[0]
        raise YoyakError(
            f"{name}: {len(matches)} experiments have this name; use a hash: {', '.join(sorted(c[:7] for c in matches))}"
        )
    done = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        known = ", ".join(sorted({experiment for experiment, _ in experiments})) or "none"
        raise YoyakError(f"{name}: no experiment, branch, tag or commit of this name; experiments here: {known}")
    return done.stdout.strip()


def list_experiments(root: Path) -> list[tuple[str, str]]:
    """(name, commit) of all finished DVC experiments."""
    lines = git(root, "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps").splitlines()
    refs = [line.split(" ") for line in lines]
    # refs/exps/<2 digits>/<38 digits of the parent commit>/NAME; refs/exps/exec and others are DVC's own.
    return [(ref.split("/", 4)[4], commit) for ref, commit in refs if ref.count("/") >= 4 and len(ref.split("/")[2]) == 2]


@dataclass(frozen=True)
class Run:
    """The files of one run, from the working folder or from a revision. Files are read when they are asked for."""

    root: Path
    name: str
    revision: str | None  # None is the working folder

    @classmethod
    def find(cls, root: Path, name: str) -> "Run":
        """The run of this name.

        Raises:
            YoyakError: if there is no such run.
        """
        return cls(root, name, None if name == WORKSPACE else find_revision(root, name))

    def read(self, path: str) -> str:
        """The text of a file that git or DVC tracks, from git, DVC's cache or the working folder.

        Raises:
            YoyakError: if the run does not have it, or it is in no cache of this machine.
        """
        if self.revision is None:
            if not (self.root / path).is_file():
                raise YoyakError(f"{path}: no such file; `dvc repro` writes it, or `dvc checkout` restores it")
            return (self.root / path).read_text(encoding="utf-8-sig")
        from dvc.exceptions import DvcException

        try:
            return str(self.files.read_text(path, encoding="utf-8-sig"))
        except FileNotFoundError:
            raise YoyakError(
                f"{self.name}: {path} is not there; if the run has it, get it with `dvc fetch` (for an experiment "
                f"`dvc exp pull REMOTE {self.name}`)"
            ) from None
        except DvcException as error:  # dvc.yaml or dvc.lock of the revision is damaged; what git tracks is still there
            try:
                return git(self.root, "show", f"{self.revision}:./{path}").removeprefix("\ufeff")
            except YoyakError:
                raise YoyakError(f"{self.name}: DVC cannot read {path} of this commit: {error}") from None

    def read_table(self, path: str) -> list[dict[str, str]]:
        """The rows of a CSV file that git or DVC tracks. YoyakError as in `read`."""
        return list(csv.DictReader(io.StringIO(self.read(path))))

    def download(self, path: str, target: Path) -> None:
        """Copy a folder that DVC tracks, from the cache or the remote.

        Raises:
            YoyakError: if the run does not have it, or it cannot be got.
        """
        try:
            self.files.get(path, str(target), recursive=True)
        except Exception as error:  # DVC, its file systems and remotes raise exceptions of their own classes
            raise YoyakError(
                f"{self.name}: {path} is not there ({type(error).__name__}); if the run has it, get it with `dvc fetch` (for "
                f"an experiment `dvc exp pull REMOTE {self.name}`)"
            ) from None

    @cached_property
    def files(self) -> Any:
        """The files of the revision as an fsspec file system: those of git, and those of DVC from its cache."""
        from dvc.api import DVCFileSystem

        return DVCFileSystem(url=str(self.root), rev=self.revision)

    @cached_property
    def params(self) -> dict[str, Any]:
        """params.yaml, by dotted names."""
        values: Any = parse_yaml(self.read("params.yaml"))
        return flatten(values)

    @cached_property
    def scores(self) -> dict[str, Any]:
        """metrics/scores.json.

        Raises:
            YoyakError: if the run has no score.
        """
        scores: dict[str, Any] = json.loads(self.read(SCORES))
        if "pruned" in scores:
            raise YoyakError(f"{self.name}: the search ended this trial early, so that it has no score: {scores['pruned']}")
        return scores

    @cached_property
    def references(self) -> dict[str, list[str]]:
        """The reference summaries of each dev dialogue by fname."""
        rows = (json.loads(line) for line in self.read(DEV_ROWS).split("\n") if line)  # U+2028 ends no line
        return {row["fname"]: row["references"] for row in rows}

    @cached_property
    def row_scores(self) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
        """The fnames, and (rows,) of each metric, of metrics/per_dialogue.csv; an empty cell is NaN.

        Raises:
            YoyakError: if the file has no rows.
        """
        rows = self.read_table(PER_DIALOGUE)
        if not rows:
            raise YoyakError(f"{self.name}: {PER_DIALOGUE} has no rows; run `dvc repro` or choose another experiment")
        return [row["fname"] for row in rows], {
            key: np.array([float(row[key] or "nan") for row in rows]) for key in rows[0] if key != "fname"
        }

    def seconds_of(self, output: str) -> float | None:
        """How long it took on this machine to make an output folder; None if that is not known."""
        try:
            return find_seconds(self.read(f"{output}/{CHECKSUMS_FILE}"), self.root)
        except YoyakError:  # the run has no such output, such as a model behind an API, or it is in no cache here
            return None

    @cached_property
    def model_bytes(self) -> int | None:
        """The size of the trained model by dvc.lock, or None if it names none."""
        lock: Any = yaml.safe_load(self.read("dvc.lock"))
        folder = f"models/{self.params.get('model.family')}"
        outputs = [output for stage in lock["stages"].values() for output in stage.get("outs", ())]
        return next((output["size"] for output in outputs if output["path"] == folder), None)


def scorer_of(run: Run) -> str:
    """How the run was scored: its signature without the part that describes the model's decoding."""
    return str(run.scores["signature"]).partition("|decoding:")[0]
