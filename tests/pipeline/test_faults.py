"""Kills at random, full disks, no memory, damage and clocks that jump: the same bytes in the end, or one clear error.

Some of this runs with the other tests. `make faults` runs all of it with 200 kills (YOYAK_KILLS, YOYAK_SEED) and prints the
result.
test_dvc_experiments.py shows that a stage ends with the DVC that started it.
"""

import hashlib
import multiprocessing
import os
import random
import re
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import forkserver
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.pipeline.repository import command, copy_repository
from yoyak.system.checksums import CHECKSUMS_FILE

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("YOYAK_KILLS", "4"))
SEED = int(os.environ.get("YOYAK_SEED", "0"))
OUTPUTS = {
    "preprocess": ("data/processed", "data/rejects", "metrics/preprocess.json"),
    "augment": ("data/augmented", "metrics/augment.json"),
    "tokenize": ("data/tokenized", "metrics/tokenize.json"),
    "pretrain": ("models/pretrained", "metrics/pretrain"),
    "train_kobart": ("models/kobart", "metrics/train/kobart"),
    "train_qlora": ("models/qlora", "metrics/train/qlora"),
    "predict": ("data/predictions", "metrics/predict.json"),
    "score": ("metrics/scores.json", "metrics/summary.json", "metrics/per_dialogue.csv"),
}
BOTH = ("preprocess", "tokenize", "predict", "score")
WORK = [("kobart", stage) for stage in (*BOTH, "train_kobart")] + [("qlora", stage) for stage in (*BOTH[1:3], "train_qlora")]

# Stages of many short lives are forked from a process that has the slow imports behind it.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["torch", "transformers", "datasets", "peft", "bitsandbytes", "ctranslate2", "dvclive"])


def _stage(folder: str, stage: str, log: str, more_memory: int) -> None:
    """Body of a forked process: `python -m stages.STAGE` in `folder`."""
    for descriptor in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), descriptor)
    if more_memory:
        used = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
        limit = int(used.split()[1]) * 1024 + more_memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("yoyak", "stages")]:
        del sys.modules[name]  # the copy's own code
    os.chdir(folder)
    os.environ |= {"DVC_ROOT": folder, "RAYON_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    sys.path.insert(0, folder)
    runpy.run_module(f"stages.{stage}", run_name="__main__")


class Attempt:
    """One process of a stage."""

    def __init__(self, folder: Path, stage: str, *, more_memory: int = 0) -> None:
        self.log = folder / "stage.log"
        self.log.unlink(missing_ok=True)
        self.process = FORKS.Process(target=_stage, args=(str(folder), stage, str(self.log), more_memory))
        self.process.start()

    def end(self) -> int:
        self.process.join(300)
        assert self.process.exitcode is not None, self.output()
        return self.process.exitcode

    def kill(self) -> bool:
        """Kill the process; whether it was still alive."""
        self.process.kill()
        self.process.join()
        return self.process.exitcode == -signal.SIGKILL

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""


def files_of(folder: Path, stage: str) -> dict[str, str]:
    """The SHA-256 of each file that a stage wrote, by its name."""
    paths = [path for name in OUTPUTS[stage] for path in [folder / name, *(folder / name).rglob("*")] if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def forget(folder: Path, *stages: str) -> None:
    """Delete the outputs and checkpoints of stages; DVC deletes outputs before it runs a stage."""
    for name in (name for stage in stages for name in OUTPUTS[stage]):
        path = folder / name
        path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(folder / ".checkpoints", ignore_errors=True)


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp") and ".dvc" not in path.parts]


@pytest.fixture(scope="module")
def finished(finished_kobart: Path, finished_qlora: Path) -> dict[str, Path]:
    """For each family a repository in which every stage has run once, uninterrupted."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # read when the libraries are loaded
            patch.setenv(name, "1")
        forkserver.ensure_running()
    return {"kobart": finished_kobart, "qlora": finished_qlora}


@pytest.fixture
def repository(finished: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A function that copies the finished repository of a family, for a test to damage."""
    return lambda family: Path(shutil.copytree(finished[family], tmp_path / family))


def begun(folder: Path) -> bool:
    """Whether a stage has something on the disk that a kill could break."""
    return any((folder / ".checkpoints").glob("*/*")) or bool(leftovers(folder))


def at_step(folder: Path, step: int) -> bool:
    """Whether training has written a checkpoint of this step or a later one."""
    return any(int(path.name[11:]) >= step for path in (folder / ".checkpoints").glob("*/checkpoint-*"))


def writing(folder: Path) -> bool:
    """Whether a checkpoint is being written."""
    return any(not (path / CHECKSUMS_FILE).exists() for path in (folder / ".checkpoints").glob("*/checkpoint-*"))


def wait(attempt: Attempt, condition: Callable[[Path], bool], folder: Path) -> None:
    while attempt.process.is_alive() and not condition(folder):
        time.sleep(0.001)


@pytest.mark.timeout(900 + 60 * KILLS)
@pytest.mark.very_slow
def test_killed_at_random_every_stage_ends_with_the_same_bytes(finished: dict[str, Path], tmp_path: Path) -> None:
    chance, count = random.Random(SEED), Counter[str]()
    folders = {family: Path(shutil.copytree(folder, tmp_path / family)) for family, folder in finished.items()}
    expected = {(family, stage): files_of(folders[family], stage) for family, stage in WORK}
    takes: dict[tuple[str, str], float] = {}
    while count["kills"] < KILLS:
        family, stage = chance.choice([*WORK, *[work for work in WORK if "train" in work[1]] * 2])
        folder = folders[family]
        forget(folder, stage)
        for _ in range(chance.randint(1, 4)):
            attempt = Attempt(folder, stage)
            if "train" in stage and chance.random() < 0.7:
                wait(attempt, partial(at_step, step=chance.randrange(3, 12)), folder)
                if chance.random() < 0.5:
                    wait(attempt, writing, folder)
                time.sleep(chance.uniform(0, 0.03))
            else:
                if chance.random() < 0.9:
                    wait(attempt, begun, folder)
                time.sleep(chance.uniform(0, takes.get((family, stage), 1.5)))
            count["kills"] += attempt.kill()
        started = time.monotonic()
        attempt = Attempt(folder, stage)
        assert attempt.end() == 0, attempt.output()
        takes[family, stage] = min(takes.get((family, stage), 99.0), time.monotonic() - started)
        count["ends"] += 1
        printed = attempt.output()
        count["resumed"] += any(
            text in printed for text in ("resumes from its checkpoint", "the training ended before", "batches are kept")
        )
        assert files_of(folder, stage) == expected[family, stage], (family, stage, printed)
        assert not leftovers(folder)
        count["identical"] += 1
    print(f"\nstages: {dict(count)}, lost: {count['ends'] - count['identical']}")


@pytest.mark.very_slow
def test_killed_pretraining_ends_with_the_same_bytes(tmp_path: Path) -> None:
    copy_repository(tmp_path)
    path, yaml = tmp_path / "params.yaml", YAML()
    values = yaml.load(path.read_text(encoding="utf-8"))
    values["pretrain"] |= {"num_train_epochs": 2, "per_device_train_batch_size": 4, "save_steps": 3}
    values["pretrain"] |= {"texts": "both", "dialogues": "data/more.csv"}
    yaml.dump(values, path)
    (tmp_path / "data/more.csv").write_text("fname,dialogue\na,#Person1#: 세탁기가 멈췄어요.\n", encoding="utf-8")
    for stage in ("check_params", "preprocess"):
        attempt = Attempt(tmp_path, stage)
        assert attempt.end() == 0, attempt.output()
    attempt = Attempt(tmp_path, "pretrain")
    assert attempt.end() == 0, attempt.output()
    expected = files_of(tmp_path, "pretrain")
    assert "models/pretrained/model.safetensors" in expected
    for step in (3, 6, 9):
        forget(tmp_path, "pretrain")
        attempt = Attempt(tmp_path, "pretrain")
        wait(attempt, partial(at_step, step=step), tmp_path)
        time.sleep(0.01 * step)
        assert attempt.kill(), attempt.output()
        assert not (tmp_path / "models/pretrained").exists()
        attempt = Attempt(tmp_path, "pretrain")
        assert attempt.end() == 0, attempt.output()
        assert "resumes from its checkpoint" in attempt.output() or step == 3
        assert files_of(tmp_path, "pretrain") == expected and not leftovers(tmp_path)


@pytest.mark.very_slow
@pytest.mark.timeout(900 + 30 * KILLS)
def test_dvc_killed_at_random_ends_with_the_same_lock_file(tmp_path: Path) -> None:
    """A kill hits DVC, or its process group. Then a new `dvc repro` runs, which no orphan disturbs."""
    chance, kills = random.Random(SEED), 0
    copy_repository(tmp_path)
    command(tmp_path, "dvc", "repro")
    lock = (tmp_path / "dvc.lock").read_bytes()
    while kills < max(3, KILLS // 8):
        (tmp_path / "dvc.lock").unlink()
        shutil.rmtree(tmp_path / ".checkpoints", ignore_errors=True)
        command(tmp_path, "dvc", "gc", "-w", "-f")  # also forgets the runs
        shutil.rmtree(tmp_path / ".dvc/cache/runs", ignore_errors=True)
        for _ in range(3):
            environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
            dvc = subprocess.Popen(
                ["dvc", "repro"], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            time.sleep(chance.uniform(1, 25))
            alive = dvc.poll() is None
            if alive and chance.random() < 0.5:
                os.killpg(dvc.pid, signal.SIGKILL)
            elif alive:
                dvc.kill()
            dvc.wait()
            kills += alive
            if not alive:
                break
        printed = command(tmp_path, "dvc", "repro")
        assert (tmp_path / "dvc.lock").read_bytes() == lock, printed
        assert "up to date" in command(tmp_path, "dvc", "status")
        assert not leftovers(tmp_path)
    print(f"\ndvc repro: {kills} kills, the same dvc.lock after each")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A function that mounts a disk of a number of bytes."""
    made: list[Path] = []

    def mount(size: int) -> Path:
        folder = tmp_path / f"disk{len(made)}"
        folder.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False).returncode:
            pytest.skip("a disk can be mounted by root alone")
        made.append(folder)
        return folder

    yield mount
    for folder in made:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.very_slow
@pytest.mark.parametrize("family", ["kobart", "qlora"])
def test_a_full_disk_is_reported_and_nothing_is_lost(
    family: str, repository: Callable[[str], Path], small_disk: Callable[[int], Path]
) -> None:
    source = repository(family)
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    for stage in (*BOTH[:2], f"train_{family}", *BOTH[2:]):
        expected = files_of(source, stage)
        disk = small_disk(size + 300_000_000)  # what the checkpoints need
        folder = Path(shutil.copytree(source, disk / "repository"))
        forget(folder, stage)
        fill = disk / "fill"
        statvfs = os.statvfs(disk)
        for left in (0, 200_000, 4_000_000):  # bytes that are free when the stage starts
            statvfs = os.statvfs(disk)
            with open(fill, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(4096, statvfs.f_bavail * statvfs.f_frsize - left))
            attempt = Attempt(folder, stage)
            status, printed = attempt.end(), attempt.output()
            fill.unlink()
            if status == 0:  # that was enough
                break
            assert "Traceback" not in printed or "disk is full" in printed, printed
            assert not any((folder / name).exists() for name in OUTPUTS[stage][:1]), "half of it"
            assert not leftovers(folder)
        attempt = Attempt(folder, stage)
        assert attempt.end() == 0, attempt.output()
        assert files_of(folder, stage) == expected


def limits_hold() -> bool:
    """Whether the kernel counts what is mapped (Linux does, some sandboxes do not)."""
    code = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (1 << 27, 1 << 27)); bytearray(1 << 29)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode != 0


@pytest.mark.very_slow
@pytest.mark.parametrize(("family", "stage"), [("kobart", "train_kobart"), ("kobart", "predict"), ("qlora", "train_qlora")])
def test_too_little_memory_is_reported(repository: Callable[[str], Path], family: str, stage: str) -> None:
    """At several limits, since what fails first differs, also from machine to machine; libraries die of some by a signal."""
    if not limits_hold():
        pytest.skip("no limits of memory here")
    folder = repository(family)
    expected = files_of(folder, stage)
    original = (folder / "params.yaml").read_bytes()
    values = YAML(typ="safe").load(original)
    values["training"]["per_device_train_batch_size"] = 40
    values["generation"]["batch_size"] = 64
    with open(folder / "params.yaml", "w", encoding="utf-8") as file:
        YAML().dump(values, file)
    ends = Counter[int]()
    for more_memory in range(80_000_000, 340_000_000, 40_000_000):
        forget(folder, stage)
        attempt = Attempt(folder, stage, more_memory=more_memory)
        ends[end := attempt.end()] += 1
        if end > 0:
            # OpenMP ends the program itself, where it gets no thread.
            assert re.search("error: (out of memory|memory, or the number)|libgomp: Thread", attempt.output()), attempt.output()
            assert "Traceback" not in attempt.output() and not leftovers(folder)
    assert ends[1] > 0, ends
    (folder / "params.yaml").write_bytes(original)
    attempt = Attempt(folder, stage)
    assert attempt.end() == 0
    assert files_of(folder, stage) == expected


DAMAGE = {
    ("kobart", "tokenize"): ("data/processed/train.jsonl", "models/base/kobart-tiny/tokenizer.json"),
    ("kobart", "train_kobart"): (
        "data/tokenized/train/data-00000-of-00001.arrow",
        "models/base/kobart-tiny/model.safetensors",
    ),
    ("qlora", "train_qlora"): ("data/tokenized/dev/state.json", "models/base/llama-tiny/model.safetensors"),
    ("kobart", "predict"): ("data/processed/test.jsonl", "models/kobart/model.safetensors", "models/kobart/tokenizer.json"),
    ("qlora", "predict"): ("models/qlora/adapter_model.safetensors", "models/qlora/base.json", "models/qlora/SHA256SUMS"),
    ("kobart", "score"): ("data/predictions/dev.csv", "data/processed/dev.jsonl"),
}
DAMAGE_VERY_SLOW = {
    ("kobart", "train_kobart"),
    ("kobart", "predict"),
    ("qlora", "predict"),
}  # the other cases run the same checks


@pytest.mark.parametrize(
    ("family", "stage"),
    [pytest.param(*case, marks=pytest.mark.very_slow if case in DAMAGE_VERY_SLOW else ()) for case in DAMAGE],
)
def test_a_flipped_bit_or_a_cut_is_named_before_anything_is_made_of_it(
    family: str, stage: str, repository: Callable[[str], Path]
) -> None:
    folder, chance = repository(family), random.Random(SEED)
    before = files_of(folder, stage)
    for name in DAMAGE[family, stage]:
        path = folder / name
        whole = path.read_bytes()
        offset = chance.randrange(len(whole))
        missing = () if name.endswith(CHECKSUMS_FILE) else (None,)  # a model from elsewhere may have none
        for broken in (
            whole[:offset] + bytes([whole[offset] ^ 1 << chance.randrange(8)]) + whole[offset + 1 :],
            whole[:offset],
            *missing,
        ):
            path.unlink()
            if broken is not None:
                path.write_bytes(broken)
            attempt = Attempt(folder, stage)
            assert attempt.end() == 1, (name, attempt.output())
            printed = attempt.output()
            assert "error: " in printed and "Traceback" not in printed, printed
            assert name in printed, printed
            assert files_of(folder, stage) == before
        path.write_bytes(whole)


def test_read_only_folders_are_reported(repository: Callable[[str], Path]) -> None:
    folder = repository("kobart")
    for stage, place in (("tokenize", "data"), ("train_kobart", "models"), ("score", "metrics")):
        bound = subprocess.run(["mount", "--bind", folder / place, folder / place], check=False)
        if bound.returncode:
            pytest.skip("only root can make a folder that root cannot write")
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", folder / place], check=True)
            attempt = Attempt(folder, stage)
            assert attempt.end() == 1
            assert "error: not allowed" in attempt.output() and "Traceback" not in attempt.output(), attempt.output()
        finally:
            subprocess.run(["umount", folder / place], check=True)


def test_a_clock_that_jumps_changes_nothing(repository: Callable[[str], Path]) -> None:
    """From 1999 to 2037, killed between: the steps of checkpoints count, not their times."""
    if not shutil.which("faketime") or "YOYAK_KILLS" not in os.environ:
        pytest.skip("make faults runs this, where faketime is")  # in CI it once never ended
    folder = repository("kobart")
    expected = files_of(folder, "train_kobart")
    forget(folder, "train_kobart")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for year in ("2037", "1999", "2037"):
        environment = {**os.environ, "PATH": path, "DVC_ROOT": str(folder), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            ["faketime", f"{year}-06-15 12:00:00", "python", "-m", "stages.train_kobart"],
            cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        seen = len(list((folder / ".checkpoints").glob("*/checkpoint-*")))
        deadline = time.monotonic() + 120
        while len(list((folder / ".checkpoints").glob("*/checkpoint-*"))) <= seen and time.monotonic() < deadline:
            if process.poll() is not None:
                break
            time.sleep(0.01)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    attempt = Attempt(folder, "train_kobart")
    assert attempt.end() == 0, attempt.output()
    assert "resumes from" in attempt.output() or "the training ended before" in attempt.output()
    assert files_of(folder, "train_kobart") == expected


def test_a_damaged_cache_object_is_found_deleted_and_made_again(repository: Callable[[str], Path]) -> None:
    """The file keeps its time, as bit rot leaves it, so that DVC does not see the damage."""
    folder = repository("kobart")
    lock = (folder / "dvc.lock").read_bytes()
    assert "no damaged files" in command(folder, "python", "-m", "yoyak", "check-cache")
    target = hashlib.md5((folder / "data/processed/train.jsonl").read_bytes(), usedforsecurity=False).hexdigest()
    rotten = folder / ".dvc/cache/files/md5" / target[:2] / target[2:]
    times = rotten.stat()
    rotten.chmod(0o644)
    data = bytearray(rotten.read_bytes())
    data[len(data) // 2] ^= 1
    rotten.write_bytes(data)
    os.utime(rotten, ns=(times.st_atime_ns, times.st_mtime_ns))
    shutil.rmtree(folder / "data/processed")
    command(folder, "dvc", "checkout", "data/processed")
    printed = command(folder, "python", "-m", "stages.tokenize", fails=True)
    assert "data/processed/train.jsonl: damaged" in printed and "check-cache --delete" in printed
    assert str(rotten.relative_to(folder)) in command(folder, "python", "-m", "yoyak", "check-cache", fails=True)
    shutil.rmtree(folder / "data/processed")
    assert "deleted" in command(folder, "python", "-m", "yoyak", "check-cache", "--delete")
    command(folder, "dvc", "repro", "preprocess")
    assert (folder / "dvc.lock").read_bytes() == lock
    assert "no damaged files" in command(folder, "python", "-m", "yoyak", "check-cache")
