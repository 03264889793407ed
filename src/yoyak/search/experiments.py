"""Running one set of params as a DVC experiment, in a clone of the repository that nobody else works in.

`dvc exp run --temp` would do it from the user's folder: while it starts, it stashes the user's changes, edits params.yaml and
detaches HEAD, and a kill at that moment leaves it so. Two that start together can also take each other's experiment.
"""

import contextlib
import csv
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoyak.config import presets
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json

STAGE = re.compile(r"^(?:Running stage|Stage) '(\w+)'(.*)$")


def git(folder: Path, *args: str) -> str:
    """Standard output of a git command. YoyakError with what git says if it fails."""
    done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise YoyakError(f"git {' '.join(args)}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()


def _dvc(folder: Path, *args: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *args], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise YoyakError(f"dvc {' '.join(args)}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()


def cache_of(root: Path) -> Path:
    """The folder of the repository's DVC cache."""
    return root / _dvc(root, "cache", "dir")


@dataclass(frozen=True)
class Start:
    """What all trials of a study start from: a commit, which `dvc exp show` lists them under, and a tree of files, which is
    that commit's but for what was changed and not committed."""

    commit: str
    tree: str

    @property
    def ref(self) -> str:
        """Where DVC keeps experiments of the commit."""
        return f"refs/exps/{self.commit[:2]}/{self.commit[2:]}"


def start_of(root: Path) -> Start:
    """The files of the repository as they stand now, but for untracked ones; nothing of them is touched."""
    commit = git(root, "rev-parse", "HEAD")
    changed = git(root, "status", "--porcelain", "--untracked-files=no") and git(root, "stash", "create")
    return Start(commit, git(root, "rev-parse", f"{changed or commit}^{{tree}}"))


def keep(root: Path, name: str, start: Start) -> None:
    """Hold on to the start's files, which may be in no commit, as long as the ref refs/yoyak/NAME is there."""
    git(root, "update-ref", f"refs/yoyak/{name}", start.tree)


def has(root: Path, start: Start) -> bool:
    """Whether the commit and its files are in this repository."""
    done = subprocess.run(
        ["git", "cat-file", "--batch-check"],
        cwd=root,
        input=f"{start.commit}\n{start.tree}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    return "missing" not in done.stdout and done.returncode == 0


def lacks(root: Path, start: Start, path: str) -> bool:
    """Whether a clone would not have a file or folder that is here: in neither git nor a .dvc file."""
    relative = Path(path)
    if relative.is_absolute() or not (root / relative).exists():
        return False
    if ".." in relative.parts:
        return True
    names = set(git(root, "ls-tree", "-r", "--name-only", "-z", start.tree).split("\0"))
    tracked = {f"{part}.dvc" for part in [relative, *relative.parents]}
    return not (tracked & names or any(name == path or name.startswith(f"{path.rstrip('/')}/") for name in names))


def file_at(root: Path, start: Start, path: str) -> str:
    return git(root, "show", f"{start.tree}:{path}")


@dataclass
class Outcome:
    """How a run ended. `stages` are those that ran; `log` is all that DVC and they printed."""

    status: int
    stages: list[str] = field(default_factory=list)
    log: Path = Path()
    begins: int = 0  # where in the log, which has earlier attempts before it

    @property
    def killed(self) -> bool:
        """By a signal, DVC or one of its stages: it says nothing about the params."""
        codes = [int(code) for code in re.findall(r"exited with (-?\d+)$", self.tail(), re.M)]
        return self.status < 0 or any(code < 0 or code > 128 for code in codes)  # 128 + N: as a shell says it

    def tail(self, lines: int = 15) -> str:
        text = self.log.read_bytes()[self.begins :].decode("utf-8", errors="replace")
        return "\n".join(line.rpartition("\r")[2] for line in text.strip().splitlines()[-lines:])


class Clone:
    """A clone with the start's files and the repository's own DVC cache. Made anew by each worker, removed with it."""

    def __init__(self, root: Path, folder: Path, start: Start) -> None:
        self.root, self.folder, self.start = root, folder, start
        self.process: subprocess.Popen[str] | None = None
        self.environment: Mapping[str, str] = {}  # of the run that was last
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        git(root, "clone", "--quiet", "--local", "--no-checkout", "--no-tags", str(root), str(folder))
        for key in ("user.name", "user.email"):
            known = subprocess.run(["git", "config", key], cwd=root, capture_output=True, text=True, check=False).stdout.strip()
            git(folder, "config", key, known or "yoyak")
        git(folder, "update-ref", "--no-deref", "HEAD", start.commit)
        self._reset()
        local = root / ".dvc" / "config.local"
        if local.is_file():
            shutil.copyfile(local, folder / ".dvc" / "config.local")
        # Relative: DVC cannot write a path into its config that is not ASCII.
        cache = os.path.relpath(cache_of(root), folder)
        _dvc(folder, "config", "--local", "cache.dir", cache)
        _dvc(folder, "checkout", "--quiet", "--allow-missing")  # the user's data, and what need not be made again

    def _reset(self) -> None:
        git(self.folder, "read-tree", "--reset", "-u", self.start.tree)

    def run(self, name: str, overlay: Mapping[str, Any], *, log: Path, environment: Mapping[str, str]) -> Outcome:
        """Run the pipeline with nested values over params.yaml. If all goes well, the experiment is then in the repository.

        What `environment` says goes to every stage. The whole group of processes is gone when this returns, however it does.
        """
        self._reset()
        self.environment = environment
        presets.write_overlay(overlay, params=self.folder / "params.yaml", source=name)
        for ref in git(self.folder, "for-each-ref", "--format=%(refname)", self.start.ref).splitlines():
            git(self.folder, "update-ref", "-d", ref)  # of an earlier attempt at the same trial
        outcome = Outcome(-signal.SIGKILL, log=log)
        own = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_EXP", "DVC_ROOT", "DVC_STAGE"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        log.parent.mkdir(parents=True, exist_ok=True)
        with (
            open(log, "a", encoding="utf-8") as file,
            subprocess.Popen(
                [sys.executable, "-m", "dvc", "exp", "run", "--name", name],
                cwd=self.folder,
                env={**own, "PATH": path, "PYTHONUNBUFFERED": "1", **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            ) as process,
        ):
            self.process = process
            outcome.begins = file.tell()
            try:
                assert process.stdout
                for line in process.stdout:
                    file.write(line)
                    file.flush()
                    if (found := STAGE.match(line)) and line.startswith("Running"):
                        outcome.stages.append(found[1])
                outcome.status = process.wait()
            finally:
                self.kill()
                self.process = None
        if outcome.status == 0:
            ref = f"{self.start.ref}/{name}"
            git(self.root, "fetch", "--quiet", "--no-write-fetch-head", str(self.folder), f"+{ref}:{ref}")
        return outcome

    def scores(self) -> dict[str, Any]:
        """metrics/scores.json of the experiment that ran last."""
        scores: dict[str, Any] = read_json(self.folder / "metrics/scores.json")
        return scores

    def curve(self, family: str, metric: str) -> dict[int, float]:
        """A metric on dev after each epoch of the training whose model this is, also if it came from the cache."""
        path = self.folder / "metrics/train" / family / "plots/metrics/dev" / f"{metric}.tsv"
        with open(path, encoding="utf-8", newline="") as file:
            return {int(row["step"]): float(row[metric]) for row in csv.DictReader(file, delimiter="\t")}

    def model_bytes(self, family: str) -> int:
        """Of all files of the model that ran last."""
        return sum(path.stat().st_size for path in (self.folder / "models" / family).rglob("*") if path.is_file())

    def seconds_per_dialogue(self, rows: int) -> float:
        """That the model which ran last takes for the first dev dialogues, by its own decoding; alone in its process."""
        with subprocess.Popen(
            [sys.executable, "-m", "yoyak", "time", "--rows", str(rows)],
            cwd=self.folder,
            env={**os.environ, **self.environment, "PYTHONPATH": str(self.folder / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            self.process = process
            try:
                found, said = process.communicate()
            finally:
                self.kill()
                self.process = None
        if process.returncode:
            raise YoyakError(f"python -m yoyak time: {said.strip()[-500:]}")
        return float(found.split()[0])

    def kill(self) -> None:
        """End what runs now."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
