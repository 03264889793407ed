"""Searches with the real DVC, git and databases, and real kills.

The pipeline is a toy, so that a trial takes seconds: a stage pretends to train, one to predict, one to score. Each stage
writes into a log what it does, and the tests count its lines.
"""

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import psutil  # type: ignore[import-untyped]
import pytest
from optuna.trial import TrialState

from tests.pipeline.repository import command, commit
from tests.training.test_study_storage import connect_at_once
from yoyak.config.yaml_files import read_yaml
from yoyak.search.trials import finished_trials, is_paused, was_interrupted
from yoyak.training import study_storage

ROOT = Path(__file__).parents[2]
RATE, BEAMS = "training.learning_rate", "generation.num_beams"

pytestmark = pytest.mark.slow

STAGES = {
    "train_kobart": {
        "cmd": "python -m stages.small train",
        "params": ["training", "search"],
        "deps": ["stages/small.py"],
        "outs": ["models/kobart", "metrics/train/kobart"],
    },
    "predict": {
        "cmd": "python -m stages.small predict",
        "params": ["generation", "search"],
        "deps": ["models/kobart"],
        "outs": ["data/predictions"],
    },
    "score": {
        "cmd": "python -m stages.small score",
        "params": ["search"],
        "deps": ["data/predictions"],
        "metrics": [{"metrics/scores.json": {"cache": False}}],
    },
}
SMALL = """
import json, math, os, sys, time
from pathlib import Path
from types import SimpleNamespace
from yoyak.system.errors import exit_with_message
from yoyak.config.params import load_params

def note(what):
    with open(os.environ["SMALL_LOG"], "a") as file:
        file.write(f"{os.getpid()} {what}\\n")

def train(params):
    note("train")
    best = 100 - 10 * abs(math.log10(params.training.learning_rate) + 3)
    if params.training.learning_rate == 0.5:
        raise SystemExit("error: the loss became nan")
    callbacks, rows = [], ["step\\trouge_sum"]
    if "YOYAK_TRIAL" in os.environ:  # Without a pruner, transformers is not imported, which takes seconds.
        from yoyak.training import search_reporting

        callbacks = search_reporting.trial_callbacks()
    # A freeze-thaw search lets this training go on: its checkpoint is the number of epochs.
    folder = Path(os.environ.get("YOYAK_CHECKPOINTS", ".checkpoints"), f"small-{params.training.learning_rate:.6g}")
    is_paused = json.loads(os.environ.get("YOYAK_TRIAL", "{}")).get("until")
    trained = len(list(folder.glob("epoch*"))) if is_paused else 0
    for epoch in range(1, int(params.training.num_train_epochs) + 1):
        value = best - 5 * (params.training.num_train_epochs - epoch)
        rows.append(f"{epoch}\\t{value}")
        if epoch > trained:
            time.sleep(float(os.environ.get("SMALL_SLEEP", "0")))
            note(f"epoch {params.training.learning_rate:.6g} {epoch}")
        for callback in callbacks:
            args = SimpleNamespace(metric_for_best_model="rouge_sum", num_train_epochs=4, output_dir=str(folder))
            callback.on_evaluate(args, SimpleNamespace(epoch=epoch), None, metrics={"eval_rouge_sum": value})
            if is_paused:
                folder.mkdir(parents=True, exist_ok=True)
                Path(folder, f"epoch{epoch}").touch()
                callback.on_save(args, None, SimpleNamespace(should_training_stop=False))
    plots = Path("metrics/train/kobart/plots/metrics/dev")
    plots.mkdir(parents=True)
    (plots / "rouge_sum.tsv").write_text("\\n".join(rows) + "\\n")
    Path("models/kobart").mkdir(parents=True)
    Path("models/kobart/model.json").write_text(json.dumps(best))

def predict(params):
    note("predict")
    Path("data/predictions").mkdir(parents=True)
    value = json.loads(Path("models/kobart/model.json").read_text()) + params.generation.num_beams
    Path("data/predictions/value.json").write_text(json.dumps(value))

def score(params):
    note("score")
    value = json.loads(Path("data/predictions/value.json").read_text())
    Path("metrics/scores.json").write_text(json.dumps({"rouge_sum": value, "interval": {"rouge_sum": [value - 3, value + 3]}}))

with exit_with_message():
    params = load_params()
    outs = {"train": ["models/kobart", "metrics/train/kobart"], "predict": ["data/predictions"], "score": []}
    stage = sys.argv[1]
    if params.search.pruned:
        for out in outs[stage]:
            Path(out).mkdir(parents=True)
            Path(out, "pruned.txt").write_text(params.search.pruned)
        if stage == "score":
            Path("metrics/scores.json").write_text(json.dumps({"pruned": params.search.pruned}))
    else:
        {"train": train, "predict": predict, "score": score}[stage](params)
"""


@pytest.fixture(scope="module")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the toy pipeline, which has run once."""
    folder = tmp_path_factory.mktemp("template") / "저장소"
    for name in ("params.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", "stages/__init__.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(ROOT / "presets", folder / "presets")
    (folder / "stages/small.py").write_text(SMALL, encoding="utf-8")
    (folder / "dvc.yaml").write_text(json.dumps({"stages": STAGES}), encoding="utf-8")
    (folder / "searches").mkdir()
    (folder / "metrics").mkdir()
    command(folder, "git", "init", "-q")
    for key, value in {"user.name": "test", "user.email": "test@example.invalid"}.items():
        command(folder, "git", "config", key, value)
    commit(folder, "start")
    command(folder, "dvc", "repro", fails=False, **environment(folder))
    commit(folder, "result")
    return folder


@pytest.fixture
def root(_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(_template, tmp_path / _template.name))


def environment(folder: Path, sleep: float = 0.0) -> dict[str, str]:
    return {"SMALL_LOG": str(folder.parent / "log"), "SMALL_SLEEP": str(sleep)}


def logged_lines(folder: Path) -> list[str]:
    """The lines that the stages wrote into the log, without the process id."""
    path = folder.parent / "log"
    return [line.partition(" ")[2] for line in path.read_text().splitlines()] if path.exists() else []


def clear_log(folder: Path) -> None:
    (folder.parent / "log").unlink(missing_ok=True)


def write_search(folder: Path, plan: dict[str, Any], name: str = "s") -> None:
    (folder / f"searches/{name}.yaml").write_text(json.dumps(plan), encoding="utf-8")


def search(folder: Path, *args: str, name: str = "s", sleep: float = 0.0, fails: bool = False, **variables: str) -> str:
    output = command(
        folder, sys.executable, "-m", "yoyak", "search", name, *args, fails=fails, **environment(folder, sleep), **variables
    )
    assert "Traceback" not in output, output
    return output


# A worker that misses three heartbeats is considered dead. The tests do not wait a minute for that.
START = """
import sys
from yoyak.cli.main import main
from yoyak.search import study_setup

study_setup.HEARTBEAT_SECONDS = 6
main(["search", sys.argv[1]])
"""


def start_search(folder: Path, *, sleep: float, name: str = "s", **variables: str) -> "subprocess.Popen[str]":
    """Start a search in the background, in a process group of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [sys.executable, "-c", START, name],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment(folder, sleep), **variables},
        stdout=open(folder.parent / f"{folder.name}.out", "a"),
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def trials(folder: Path, name: str = "s") -> list[optuna.trial.FrozenTrial]:
    loaded = optuna.load_study(study_name=name, storage=f"sqlite:///{folder}/.searches/studies.db")
    return loaded.get_trials(deepcopy=False)


def experiments(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of `dvc exp show` by the names of the experiments."""
    rows = csv.DictReader(command(folder, "dvc", "exp", "show", "--csv").splitlines())
    return {row["Experiment"]: row for row in rows if row["Experiment"] and row["typ"].startswith("branch")}


def visible_state(folder: Path) -> str:
    """Everything that a user sees of the repository: HEAD, branch, changes, contents."""
    head = command(folder, "git", "rev-parse", "HEAD") + command(folder, "git", "symbolic-ref", "HEAD")
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {".git", ".dvc", ".searches", "__pycache__"} & set(path.relative_to(folder).parts)
    }
    return head + command(folder, "git", "status", "--porcelain") + command(folder, "git", "stash", "list") + repr(files)


GRID = {"parameters": {BEAMS: {"choices": [1, 2, 3]}}, "sampler": {"name": "grid"}}


def test_decoding_trials_train_nothing_and_become_experiments(root: Path) -> None:
    write_search(root, GRID)
    (root / "params.yaml").write_text(
        (root / "params.yaml").read_text(encoding="utf-8") + "\n# mine, not committed\n", encoding="utf-8"
    )
    before = visible_state(root)
    clear_log(root)
    output = search(root)
    assert Counter(logged_lines(root)) == {"predict": 3, "score": 3}, "and no training"
    assert visible_state(root) == before, "the user's own files, branch and stash are as they were"
    left = {path.name for path in (root / ".searches").iterdir()}
    assert left == {"id", "lock", "logs", "studies.db", "workers"} and not list((root / ".searches/workers").iterdir())
    assert len(list((root / ".searches/logs").iterdir())) == 3
    rows = experiments(root)
    assert set(rows) == {"s-t0000", "s-t0001", "s-t0002"}
    assert {float(row["rouge_sum"]) for row in rows.values()} == {101.0, 102.0, 103.0}
    assert "best of 3 finished trials: t0002: rouge_sum 103.00 ± 3.00" in output
    assert "tied with the best (the difference is within ±): t0001, t0000" in output
    command(root, *output.strip().rpartition("apply the best trial: ")[2].split("\n")[0].split())
    assert read_yaml(root / "params.yaml")["generation"]["num_beams"] == 3  # type: ignore[index]
    assert "# mine, not committed" in (root / "params.yaml").read_text(encoding="utf-8")
    clear_log(root)
    assert "up to date" in command(root, "dvc", "repro", fails=False, **environment(root))
    assert logged_lines(root) == []


PRUNED = {
    "parameters": {RATE: {"choices": [9e-4, 1e-1, 2e-3]}},
    "set": {"training.num_train_epochs": 3},
    "sampler": {"name": "grid"},
    "pruner": {"name": "median", "n_startup_trials": 1, "n_warmup_steps": 0},
}


@pytest.mark.very_slow  # each trial imports transformers
def test_a_pruned_trial_stops_early_and_leaves_no_model(root: Path) -> None:
    write_search(root, PRUNED)
    clear_log(root)
    search(root)
    epochs = Counter(line.split()[1] for line in logged_lines(root) if line.startswith("epoch"))
    assert epochs == {"0.0009": 3, "0.1": 1, "0.002": 1}
    assert Counter(line for line in logged_lines(root) if not line.startswith("epoch")) == {
        "train": 3,
        "predict": 1,
        "score": 1,
    }
    rows = experiments(root)
    assert rows["s-t0001"]["search.pruned"] == "rouge_sum 70.00 after epoch 1 of 4"
    assert rows["s-t0001"]["rouge_sum"] == "" and rows["s-t0001"][RATE] == "0.1", "it shows its params, and no score"
    assert [trial.state.name for trial in trials(root)] == ["COMPLETE", "PRUNED", "PRUNED"]
    check_report(root)
    clear_log(root)
    output = command(
        root, "dvc", "exp", "run", "-S", f"{RATE}=0.1", "-S", "training.num_train_epochs=3", fails=False, **environment(root)
    )
    assert "train" in logged_lines(root), f"its half model never counts as the whole one: {output}"


FREEZE_THAW = {
    "parameters": {RATE: {"choices": [1e-3, 2e-3, 1e-1]}},
    "set": {"training.num_train_epochs": 4},
    "sampler": {"name": "freeze_thaw", "n_startup_trials": 2},
    "budget": {"epochs": 6, "trials": 2},
}


@pytest.mark.very_slow  # each epoch is a run of DVC that imports transformers
def test_a_freeze_thaw_search_lets_trainings_go_on_also_after_a_kill(root: Path) -> None:
    write_search(root, FREEZE_THAW)
    clear_log(root)
    process = start_search(root, sleep=2)
    deadline = time.monotonic() + 300
    while len(logged_lines(root)) < 5 and time.monotonic() < deadline:  # two trials of one epoch, and the third slice begins
        time.sleep(0.1)
    killed = psutil.Process(process.pid)
    kill([killed, *killed.children(recursive=True)])
    process.wait()
    assert [is_paused(trial) for trial in trials(root)].count(True) >= 1
    assert experiments(root) == {}, "a paused trial has no experiment yet"
    output = search(root)
    assert "goes on after epoch" in output
    epochs = Counter(line for line in logged_lines(root) if line.startswith("epoch"))
    assert len(epochs) == 5 and sum(epochs.values()) <= 6, "only the killed epoch can be trained again"
    assert sorted(trial.state.name for trial in trials(root)) == ["COMPLETE", "PRUNED"]
    rows = experiments(root)
    reasons = sorted(row["search.pruned"] for row in rows.values())
    assert reasons[0] == "" and reasons[1].startswith("paused after epoch 1 of 4 (rouge_sum "), reasons
    assert len(list((root / ".checkpoints").glob("small-*"))) == 1, "those of the pruned trial are deleted"


def check_report(root: Path) -> None:
    """The page of the study above."""
    output = command(root, sys.executable, "-m", "yoyak", "search-report", "s")
    assert "apply the best trial: dvc exp apply s-t0000" in output
    page = (root / "search_reports/s.html").read_text(encoding="utf-8")
    for text in ("Best trials", "History of rouge_sum", "Timeline", "Dev metric after each epoch", "dvc exp apply s-t0000"):
        assert text in page
    assert "<script src=" not in page and page.count("plotly.js v") == 1
    assert "rouge_sum 70.00 after epoch 1 of 4" in page
    assert "s: 1 complete, 2 pruned" in command(root, sys.executable, "-m", "yoyak", "search-report")
    assert "studies there:\n  s: 1 complete" in command(root, sys.executable, "-m", "yoyak", "search-report", "x", fails=True)


@pytest.mark.very_slow
def test_a_crashed_trial_is_not_pruned_and_shows_no_score(root: Path) -> None:
    write_search(root, {"parameters": {RATE: {"choices": [0.5, 1e-2]}}, "sampler": {"name": "grid"}})
    output = search(root)
    assert [trial.state.name for trial in trials(root)] == ["FAIL", "COMPLETE"]
    assert "error: the loss became nan" in output and "error: the loss became nan" in trials(root)[0].user_attrs["failed"]
    assert set(experiments(root)) == {"s-t0001"}, "no row with the baseline's score"


SAMPLED = {
    "parameters": {RATE: {"low": 1e-5, "high": 1e-1, "log": True}},
    "set": {"training.num_train_epochs": 2},
    "sampler": {"name": "tpe", "n_startup_trials": 2},
    "budget": {"trials": 4},
}


def finished(folder: Path) -> list[tuple[dict[str, Any], float]]:
    return [(trial.params, trial.values[0]) for trial in trials(folder) if trial.state == TrialState.COMPLETE]


def kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def stage_processes(folder: Path) -> list[int]:
    """The stages that run in a repository or in the clones of its searches; other tests may run theirs at the same time."""
    running = psutil.process_iter(["cmdline", "cwd"])
    return [
        process.pid
        for process in running
        if "stages.small" in (process.info["cmdline"] or []) and (process.info["cwd"] or "").startswith(str(folder))
    ]


@pytest.mark.very_slow
@pytest.mark.parametrize("most_kills", [2, 5])
@pytest.mark.parametrize("seed", range(int(os.environ.get("YOYAK_KILL_SEEDS", "1"))))
def test_a_search_that_is_killed_at_random_moments_ends_like_one_that_is_not(
    seed: int, most_kills: int, root: Path, tmp_path: Path
) -> None:
    """The search alone, DVC, the stage, or all at once; then the same command again."""
    chance = random.Random(seed)
    write_search(root, SAMPLED)
    whole = tmp_path / "whole"
    shutil.copytree(root, whole)
    search(whole, sleep=0.2)
    clear_log(root)
    kills = Counter[str]()
    while True:
        process = start_search(root, sleep=0.6)
        try:
            process.wait(chance.uniform(1, 10) if sum(kills.values()) < most_kills else 200)
            break
        except subprocess.TimeoutExpired:
            victim = chance.choice(["search", "all", "dvc", "stage"])
            me = psutil.Process(process.pid)
            children = me.children(recursive=True)
            kinds = {
                "search": [me],
                "all": [me, *children],
                "dvc": [child for child in children if "dvc" in child.cmdline()],
                "stage": [child for child in children if "stages.small" in child.cmdline()],
            }
            kill(kinds[victim])
            kills[victim] += 1
            if victim in ("dvc", "stage"):  # the search goes on by itself, for a while
                time.sleep(chance.uniform(0, 3))
                kill([me])
            process.wait()
            time.sleep(1.5)
            assert not stage_processes(root), "no orphan trains on"
    assert process.returncode == 0, (root.parent / f"{root.name}.out").read_text()
    assert finished(root) == finished(whole), kills
    names = {trial.user_attrs["experiments"][0] for trial in trials(root) if trial.state == TrialState.COMPLETE}
    assert set(experiments(root)) == names, "each finished trial is an experiment, and nothing else is"
    for row in experiments(root).values():
        rate = float(row[RATE])
        assert any(
            abs(params[RATE] - rate) < 1e-9 and abs(value - float(row["rouge_sum"])) < 1e-3 for params, value in finished(root)
        )


@pytest.mark.very_slow
def test_a_killed_search_leaves_no_process(root: Path) -> None:
    write_search(root, SAMPLED)
    process = start_search(root, sleep=5)
    deadline = time.monotonic() + 60
    while not stage_processes(root) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert stage_processes(root)
    time.sleep(1)
    process.kill()
    process.wait()
    time.sleep(2)
    assert not stage_processes(root)
    assert not [item for item in psutil.process_iter(["cwd"]) if str(root) in (item.info["cwd"] or "")], "nor DVC"


@pytest.mark.very_slow
def test_a_search_stops_on_a_signal_and_continues_later(root: Path) -> None:
    write_search(root, SAMPLED)
    for number in (signal.SIGINT, signal.SIGTERM):
        process = start_search(root, sleep=3)
        deadline = time.monotonic() + 60
        while not stage_processes(root) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(30) == 130
        assert not stage_processes(root)
    output = (root.parent / f"{root.name}.out").read_text()
    assert output.count("the same command continues it") == 2 and "Traceback" not in output
    search(root)
    assert len(finished(root)) == 4


@pytest.mark.very_slow
def test_two_processes_of_one_clone_share_a_study(root: Path) -> None:
    # Each rate has a score of its own, so that nothing after training comes from the cache.
    write_search(root, {"parameters": {RATE: {"choices": [1e-2, 2e-3, 7e-4, 4e-4]}}, "sampler": {"name": "grid"}})
    clear_log(root)
    both = [start_search(root, sleep=1) for _ in range(2)]  # an epoch: so long that the slower one finds something to do
    assert [process.wait(400) for process in both] == [0, 0]
    counts = Counter(logged_lines(root))
    epochs = [counts.pop(name) for name in list(counts) if name.startswith("epoch")]
    assert counts == {"train": 4, "predict": 4, "score": 4} and set(epochs) == {1}, "each trial is run once"
    owners = Counter(trial.user_attrs["worker"] for trial in trials(root))
    assert len(owners) == 2, owners


# Several clones, one database server


def test_workers_that_start_together_on_a_server_create_the_tables_once(server: Any, address: str) -> None:
    for number in range(5):
        server.psql(f"create database empty{number} owner worker;")
        connect_at_once(address.replace("/studies", f"/empty{number}"))


def everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.very_slow
def test_clones_on_several_machines_share_a_study(root: Path, tmp_path: Path, address: str) -> None:
    """The second one is killed and never comes back: its trial is tried again by the first."""
    write_search(root, {"parameters": {RATE: {"choices": [1e-2, 2e-3, 1e-3, 5e-4]}}, "sampler": {"name": "grid"}})
    commit(root, "the search")
    other = tmp_path / "other"
    command(tmp_path, "git", "clone", "-q", str(root), str(other))
    clear_log(root)
    here, there = (start_search(folder, sleep=1.0, OPTUNA_STORAGE=address) for folder in (root, other))
    study: optuna.Study | None = None
    storage = study_storage.open_study_storage(address)
    deadline = time.monotonic() + 240
    works = False
    while time.monotonic() < deadline and not works:  # until the other one runs a trial
        time.sleep(0.1)
        try:
            study = optuna.load_study(study_name="s", storage=storage)
        except KeyError:
            continue
        running = [trial for trial in study.trials if trial.state == TrialState.RUNNING and "changes" in trial.user_attrs]
        clones = {str(trial.user_attrs.get("worker")).partition("-")[0] for trial in running}
        identity = other / ".searches/id"
        works = identity.exists() and identity.read_text() in clones
    assert study and works, (root.parent / f"{other.name}.out").read_text()
    killed = psutil.Process(there.pid)
    kill([killed, *killed.children(recursive=True)])
    there.wait()
    assert here.wait(240) == 0, (root.parent / f"{root.name}.out").read_text()
    done = finished_trials(study)  # both may have enqueued a point, and then one has the other's values
    assert sorted(trial.params[RATE] for trial in done) == [5e-4, 1e-3, 2e-3, 1e-2], "each once"
    assert was_interrupted(next(trial for trial in study.trials if trial.state == TrialState.FAIL))
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert [trial for trial in complete if "retry_of" in trial.user_attrs], "also the one that was killed"
    output = (root.parent / f"{root.name}.out").read_text()
    assert "best of 4 finished trials" in output
    for place in (root, other):
        assert b"hunter2" not in everything_below(place), "the password is in no file"
    assert "hunter2" not in output


@pytest.mark.very_slow
def test_a_clone_with_other_files_is_refused(root: Path, tmp_path: Path, address: str) -> None:
    write_search(root, GRID, name="differ")
    commit(root, "the search")
    other = tmp_path / "other"
    command(tmp_path, "git", "clone", "-q", str(root), str(other))
    (root / "params.yaml").write_text((root / "params.yaml").read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    search(root, name="differ", OPTUNA_STORAGE=address)
    output = search(other, name="differ", OPTUNA_STORAGE=address, fails=True)
    assert "this clone does not have all of these files" in output
