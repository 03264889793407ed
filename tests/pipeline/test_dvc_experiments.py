"""What DVC does with experiments, on a small pipeline whose stages take a moment: queues, copies, kills, the run cache.

The small pipeline has this repository's stages package, params.yaml and library, so what is tested is their work with DVC.
test_pipeline.py runs the real stages.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from tests.pipeline.repository import command, commit, copy_tracked, environment, init_git, reset
from yoyak.config.params import load_params

pytestmark = pytest.mark.slow

STAGES = {
    "train_kobart": {
        "cmd": "python -m stages.small train_kobart",
        "params": ["model", "training"],
        "deps": ["stages/small.py", "src/yoyak/small.py"],
        "outs": ["models/kobart"],
    },
    "train_qlora": {
        "cmd": "python -m stages.small train_qlora",
        "params": ["model", "training", "lora"],
        "deps": ["stages/small.py", "src/yoyak/small.py"],
        "outs": ["models/qlora"],
    },
    "score": {
        "cmd": "python -m stages.small score",
        "params": ["model", "generation"],
        "deps": ["models/${model.family}"],
        "metrics": [{"metrics/scores.json": {"cache": False}}],
    },
}
# One batch of work a tenth of a second; each is kept by the library's own resumable work.
STAGE = """
import json, sys
from pathlib import Path
import stages  # puts the src folder beside it first on the path
from yoyak import small
from yoyak.config.params import load_params

params, stage = load_params(), sys.argv[1]
if stage == "score":
    model = Path("models", params.model.family, "model.json")
    value = json.loads(model.read_text()) + params.generation.num_beams
    Path("metrics").mkdir(exist_ok=True)
    Path("metrics/scores.json").write_text(json.dumps({"rouge1": value, "rouge_sum": 3 * value}))
else:
    out = Path("models", stage.removeprefix("train_"))
    out.mkdir(parents=True)
    chosen = stage == f"train_{params.model.family}"
    (out / "model.json").write_text(json.dumps(small.train(stage, params) if chosen else None))
"""
LIBRARY = """
import os, time
from yoyak.system import resumable

def train(stage, params):
    with resumable.work_folder(stage, {"training": params.training}, []) as folder:
        batches = resumable.BatchStore(folder / "steps.jsonl")
        if batches.finished:
            print(f"training goes on from step {len(batches.finished)}", flush=True)
        for step in range(params.training.save_steps):
            if step not in batches.finished:
                time.sleep(0.1)
                batches.add(step, [[step]])
    print(f"trained with {params.training.learning_rate!r}", flush=True)
    return 1000 * params.training.learning_rate
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the small pipeline, run once. Each test leaves it as it was."""
    folder = tmp_path_factory.mktemp("small") / "repository"
    copy_tracked(folder, "src", "stages/__init__.py", "params.yaml", ".gitignore", ".dvcignore", ".dvc")
    (folder / "stages/small.py").write_text(STAGE, encoding="utf-8")
    (folder / "src/yoyak/small.py").write_text(LIBRARY, encoding="utf-8")
    (folder / "dvc.yaml").write_text(json.dumps({"stages": STAGES}), encoding="utf-8")
    set_save_steps(folder, 3)
    init_git(folder)
    command(folder, "dvc", "repro")
    commit(folder, "result")
    return folder


def set_save_steps(folder: Path, count: int) -> None:
    """How many tenths of a second the small training takes."""
    yaml = YAML()
    values = yaml.load((folder / "params.yaml").read_text(encoding="utf-8"))
    values["training"]["save_steps"] = count
    with open(folder / "params.yaml", "w", encoding="utf-8") as file:
        yaml.dump(values, file)


def run_queue(repository: Path, *, jobs: int) -> dict[str, str]:
    """Run the queued experiments; how each one ended, by its name, including those of earlier calls."""
    # Not by `command`: the workers inherit its pipe, and they may live longer than the queue.
    subprocess.run(
        ["dvc", "queue", "start", "-j", str(jobs)], cwd=repository, env=environment(), stdout=subprocess.DEVNULL, check=True
    )
    from dvc.repo import Repo

    deadline = time.monotonic() + 600
    try:
        with Repo(str(repository)) as opened:  # a process of DVC for each question would take most of the time
            queue = opened.experiments.celery_queue
            while [*queue.iter_queued(), *queue.iter_active()]:
                assert time.monotonic() < deadline
                time.sleep(0.5)
        lines = [line.split() for line in command(repository, "dvc", "queue", "status").splitlines()]
        assert not any(cells and cells[-1] in ("Queued", "Running") for cells in lines), lines
        return {cells[1]: cells[-1] for cells in lines if cells and cells[-1] in ("Success", "Failed")}
    finally:
        for process in psutil.process_iter(["cmdline", "cwd"]):
            if process.info["cwd"] == str(repository) and "queue-worker" in (process.info["cmdline"] or ()):
                process.kill()


def test_queued_experiments_run_their_own_code_and_can_be_applied(repository: Path) -> None:
    """The workspace's code is broken after queueing; the queued runs, which have the committed code, succeed."""
    grid = "training.learning_rate=1e-3,5e-4"
    command(repository, "dvc", "exp", "run", "--queue", "-S", grid, "-S", "generation.num_beams=2")
    stage, module = repository / "stages/small.py", repository / "src/yoyak/small.py"
    stage.write_text("raise SystemExit('the workspace ran')\n", encoding="utf-8")
    module.write_text("raise SystemExit('the workspace was imported')\n", encoding="utf-8")
    try:
        assert set(run_queue(repository, jobs=2).values()) == {"Success"}
    finally:
        stage.write_text(STAGE, encoding="utf-8")
        module.write_text(LIBRARY, encoding="utf-8")
    table = list(csv.DictReader(command(repository, "dvc", "exp", "show", "--csv").splitlines()))
    done = [row for row in table if row["Experiment"] and row["training.learning_rate"] in ("0.001", "0.0005")]
    assert sorted((row["rouge1"], row["generation.num_beams"]) for row in done) == [("2.5", "2"), ("3.0", "2")], table
    command(repository, "dvc", "exp", "apply", done[0]["Experiment"])
    assert "up to date" in command(repository, "dvc", "repro")
    reset(repository)


def kill_training(repository: Path, killed: list[int]) -> None:
    """Kill the training of a run in a copy of the repository, once it has finished two steps."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        steps = list((repository / ".checkpoints").glob("train_kobart-*/steps.jsonl"))
        if steps and len(steps[0].read_bytes().splitlines()) >= 2:
            break
        time.sleep(0.02)
    for process in psutil.process_iter(["cmdline", "cwd"]):
        inside = (process.info["cwd"] or "").startswith(str(repository / ".dvc/tmp/exps"))
        if inside and "stages.small" in (process.info["cmdline"] or ()):
            process.kill()
            killed.append(process.pid)


@pytest.mark.very_slow
@pytest.mark.parametrize("how", ["--temp", "--queue"])
def test_training_killed_in_a_copy_of_the_repository_goes_on(repository: Path, how: str) -> None:
    """Checkpoints are in the main repository, where the next copy finds them."""
    shutil.rmtree(repository / ".checkpoints", ignore_errors=True)
    changes = ["-S", f"training.learning_rate={3e-4 if how == '--temp' else 4e-4}", "-S", "training.save_steps=30"]
    killed: list[int] = []
    killer = threading.Thread(target=kill_training, args=[repository, killed])
    killer.start()
    name = f"killed{how}"
    if how == "--temp":
        assert "goes on" not in command(repository, "dvc", "exp", "run", how, *changes, fails=True)
        printed = command(repository, "dvc", "exp", "run", how, "--name", name, *changes)
    else:
        command(repository, "dvc", "exp", "run", how, "--name", "first", *changes)
        assert run_queue(repository, jobs=1)["first"] == "Failed"
        command(repository, "dvc", "exp", "run", how, "--name", name, *changes)
        assert run_queue(repository, jobs=1)[name] == "Success"
        printed = command(repository, "dvc", "queue", "logs", name)
    killer.join()
    assert killed
    assert "training goes on from step " in printed
    if how == "--queue":
        return
    command(repository, "dvc", "exp", "apply", name)
    lock = (repository / "dvc.lock").read_bytes()
    command(repository, "git", "checkout", "-q", ".")
    shutil.rmtree(repository / ".checkpoints")
    assert "goes on" not in command(repository, "dvc", "exp", "run", "--force", *changes)
    assert (repository / "dvc.lock").read_bytes() == lock
    reset(repository)


@pytest.mark.parametrize("spelling", ["2e-5", "2e-05", "2.0e-5", "0.00002"])
def test_a_learning_rate_is_a_number_in_every_spelling(spelling: str, tmp_path: Path) -> None:
    """As `dvc exp run -S` writes it into params.yaml. test_pipeline.py shows that it reaches the trainer."""
    from dvc.utils.hydra import apply_overrides

    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    apply_overrides(tmp_path / "params.yaml", [f"training.learning_rate={spelling}"])
    assert load_params(tmp_path / "params.yaml").training.learning_rate == 2e-5


def processes_in(folder: Path) -> list[str]:
    """The command lines of the stages that run in a folder."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if (process / "cwd").readlink() == folder and "stages." in line:
                lines.append(line)
    return lines


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash"])
def test_a_stage_ends_with_the_dvc_that_started_it(repository: Path, shell: str) -> None:
    """Without that, a stage whose DVC was killed would work on, beside that of the next run."""
    command_line = ["dvc", "exp", "run", "--force", "-S", "training.save_steps=600"]
    variables = environment(SHELL=shell)
    dvc = subprocess.Popen(
        command_line, cwd=repository, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any("train_kobart" in line for line in processes_in(repository)) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)  # until the stage watches its parents
    assert processes_in(repository)
    os.kill(dvc.pid, signal.SIGKILL)
    dvc.wait()
    deadline = time.monotonic() + 10
    while processes_in(repository) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes_in(repository)
    reset(repository)


def test_a_setting_that_was_run_before_comes_from_the_run_cache(repository: Path) -> None:
    lock = (repository / "dvc.lock").read_bytes()
    printed = command(repository, "dvc", "exp", "run", "-S", "model.family=qlora")
    assert "trained with" in printed
    printed = command(repository, "dvc", "exp", "run", "-S", "model.family=kobart")
    assert "trained with" not in printed and "Stage 'train_kobart' is cached" in printed
    assert (repository / "dvc.lock").read_bytes() == lock
    reset(repository)
