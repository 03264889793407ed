"""The stage train_kobart on two hosts with a cable between them: namespaces, and a repository for each (`tests.network`)."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.network import Cable, laid_cable, needs_namespaces
from tests.pipeline.repository import build_once, command, copy_repository, environment
from tests.training.helpers import file_contents
from tests.training.together import free_port

pytestmark = [pytest.mark.very_slow, needs_namespaces]

OUTPUTS = ("models/kobart", "metrics/train/kobart")
SECONDS = 30  # after which a host counts as lost


@pytest.fixture
def cable() -> Iterator[Cable]:
    with laid_cable() as cable:
        yield cable


@pytest.fixture(scope="session")
def tokenized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which all stages before train_kobart have run."""

    def build(folder: Path) -> None:
        copy_repository(folder)
        for stage in ("check_params", "preprocess", "augment", "pretrain", "tokenize"):
            command(folder, sys.executable, "-m", f"stages.{stage}")

    return build_once(tmp_path_factory, "tokenized", build)


@pytest.fixture
def repository(tokenized: Path, tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a copy for a host, with these values of the section hardware."""

    def make(name: str, **hardware: int) -> Path:
        folder = Path(shutil.copytree(tokenized, tmp_path / name))
        text = (folder / "params.yaml").read_text(encoding="utf-8")
        for key, value in hardware.items():
            line = next(line for line in text.splitlines() if line.startswith(f"  {key}: "))
            text = text.replace(line, f"  {key}: {value}")
        (folder / "params.yaml").write_text(text, encoding="utf-8")
        return folder

    return make


class Stages:
    """The stage on both hosts."""

    def __init__(self, cable: Cable, folders: list[Path], **variables: str) -> None:
        train = [sys.executable, "-m", "stages.train_kobart"]
        commands = (train, cable.on_other_host(*train))
        shared = {"YOYAK_RENDEZVOUS": f"{cable.ours}:{free_port()}", "YOYAK_PROCESS_TIMEOUT": "300", **variables}
        self.running = [
            subprocess.Popen(
                command,
                cwd=folder,
                env=environment(YOYAK_HOST_RANK=str(rank), **shared),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank, (command, folder) in enumerate(zip(commands, folders, strict=True))
        ]

    def printed(self) -> list[tuple[int, str]]:
        """Exit status and output of each, after its end."""
        texts = [stage.communicate(timeout=400)[0] for stage in self.running]
        return [(stage.returncode, text) for stage, text in zip(self.running, texts, strict=True)]


def wait_for_checkpoint(folder: Path) -> None:
    deadline = time.monotonic() + 300
    while not list(folder.glob("*/checkpoint-3/SHA256SUMS")):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def results(folder: Path) -> dict[str, bytes]:
    return {f"{name}/{file}": content for name in OUTPUTS for file, content in file_contents(folder / name).items()}


def losses(folder: Path) -> list[float]:
    table = (folder / OUTPUTS[1] / "plots/metrics/train/loss.tsv").read_text(encoding="utf-8")
    return [float(line.split("\t")[1]) for line in table.splitlines()[1:]]


def test_two_hosts_train_as_two_processes_of_one(cable: Cable, repository: Callable[..., Path]) -> None:
    """And nearly as one process. The second host gets the same outputs."""
    together = repository("processes", processes=2, cpu_threads=2)
    command(together, sys.executable, "-m", "stages.train_kobart")
    folders = [repository(name, hosts=2) for name in "ab"]
    for status, text in Stages(cable, folders).printed():
        assert status == 0, text
    assert results(folders[0]) == results(folders[1])
    assert {name for name in results(folders[0]) if name.endswith("model.safetensors")}
    assert results(folders[0]) == results(together)
    alone = repository("alone")
    command(alone, sys.executable, "-m", "stages.train_kobart")
    assert losses(folders[0]) == pytest.approx(losses(alone), rel=0.15)  # each process draws its own dropout


def test_a_cut_cable_ends_both_and_both_resume(cable: Cable, repository: Callable[..., Path], tmp_path: Path) -> None:
    """Each with a disk of its own, and the second loses it; then with a common one. The bytes are those of a whole run."""
    whole = [repository(f"whole-{name}", hosts=2) for name in "ab"]
    for status, text in Stages(cable, whole).printed():
        assert status == 0, text
    for disk in ("own", "common"):
        folders = [repository(f"{disk}-{name}", hosts=2) for name in "ab"]
        variables = {"YOYAK_CHECKPOINTS": str(tmp_path / "disk")} if disk == "common" else {}
        stages = Stages(cable, folders, **variables)
        wait_for_checkpoint(tmp_path / "disk" if disk == "common" else folders[0] / ".checkpoints")
        cable.cut()
        start = time.monotonic()
        for number, (status, text) in enumerate(stages.printed()):
            assert status == 1, text
            assert f"host {2 - number} of 2 (" in text.rpartition("error: ")[2]
            assert f"did not answer for {SECONDS} s" in text
        assert time.monotonic() - start < 4 * SECONDS
        assert not results(folders[0])
        cable.mend()
        if disk == "own":
            shutil.rmtree(folders[1] / ".checkpoints")
        (status, text), (other, _) = Stages(cable, folders, **variables).printed()
        assert (status, other) == (0, 0), text
        assert "the training resumes from its checkpoint at step" in text
        assert results(folders[0]) == results(folders[1]) == results(whole[0])


def test_a_killed_process_of_the_other_host_is_named(cable: Cable, repository: Callable[..., Path]) -> None:
    folders = [repository(name, hosts=2) for name in "ab"]
    stages = Stages(cable, folders)
    wait_for_checkpoint(folders[0] / ".checkpoints")
    start = time.monotonic()
    (worker,) = [
        child for child in psutil.Process(stages.running[1].pid).children() if "stages.train_kobart" in child.cmdline()
    ]
    os.kill(worker.pid, signal.SIGKILL)
    for status, text in stages.printed():
        assert status == 1
        assert f"process 2 of 2 (pid {worker.pid}) was ended by the signal SIGKILL" in text
    assert time.monotonic() - start < SECONDS


def test_hosts_with_other_data_do_not_train(cable: Cable, repository: Callable[..., Path]) -> None:
    folders = [repository(name, hosts=2) for name in "ab"]
    (folders[1] / "src/yoyak/py_extra.py").write_text("", encoding="utf-8")
    for status, text in Stages(cable, folders).printed():
        assert status == 1
        assert "on host 2 of 2 (" in text
        assert "differ in: code;" in text
