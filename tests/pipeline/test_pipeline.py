"""The pipeline as its users run it: through DVC, in a copy of the repository with a few dialogues and the small checkpoint."""

import csv
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
Run = Callable[..., str]

pytestmark = pytest.mark.slow


def command(folder: Path, *args: str, fails: bool = False, **variables: str) -> str:
    """Standard output and error of a command in `folder`, run with this environment's programs."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "2", **variables}
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "PYTHONPATH"):
        environment.pop(name, None)
    done = subprocess.run(args, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == fails, f"{args}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def copy_repository(folder: Path, *, rows: int = 40) -> None:
    """The repository as git would clone it, with the first rows of each split and a short training."""
    tracked = command(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in tracked:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    for split in ("train", "dev", "test"):
        path = folder / f"data/sample/{split}.csv"
        with open(path, encoding="utf-8", newline="") as file:
            table = list(csv.reader(file))[: rows + 1]
        with open(path, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)
    yaml = YAML()
    values = yaml.load((folder / "params.yaml").read_text(encoding="utf-8"))
    values["training"].update(debug=True, logging_steps=5)
    values["generation"].update(num_beams=2, max_new_tokens=20)
    with open(folder / "params.yaml", "w", encoding="utf-8") as file:
        yaml.dump(values, file)
    command(folder, "git", "init", "-q")
    for key, value in {"user.name": "test", "user.email": "test@example.invalid"}.items():
        command(folder, "git", "config", key, value)
    commit(folder, "start")


def commit(folder: Path, message: str) -> None:
    command(folder, "git", "add", "-A")
    command(folder, "git", "commit", "-qm", message)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    copy_repository(folder)
    told = [line for line in command(folder, "dvc", "repro").splitlines() if "warn" in line.lower()]
    assert all(line.startswith("WARNING: ") and ("NOT BETTER" in line or "distinct" in line) for line in told), told
    commit(folder, "result")
    return folder


def outputs(folder: Path) -> set[str]:
    """Every file that the stages wrote."""
    places = ("data/processed", "data/tokenized", "data/predictions", "models/kobart", "models/qlora", "metrics")
    found = {str(path.relative_to(folder)) for place in places for path in (folder / place).rglob("*") if path.is_file()}
    return {name for name in found if not name.endswith(".gitignore")} | {"data/rejects/rows.jsonl"}


def test_the_exact_files_are_written(repository: Path) -> None:
    curves = [f"dev/{name}" for name in ("loss", "rouge1", "rouge2", "rougeL", "rouge_sum")]
    curves += [f"train/{name}" for name in ("loss", "learning_rate", "grad_norm")]
    assert outputs(repository) == {
        *(f"data/processed/{split}.jsonl" for split in ("train", "dev", "test")),
        "data/rejects/rows.jsonl",
        "data/tokenized/dataset_dict.json",
        *(
            f"data/tokenized/{split}/{name}"
            for split in ("train", "dev", "test")
            for name in ("data-00000-of-00001.arrow", "dataset_info.json", "state.json")
        ),
        *(f"data/predictions/{name}.csv" for name in ("dev", "test", "submission")),
        *(
            f"models/kobart/{name}"
            for name in (
                "config.json",
                "generation_config.json",
                "model.safetensors",
                "tokenizer.json",
                "tokenizer_config.json",
            )
        ),
        *(f"metrics/{name}.json" for name in ("preprocess", "tokenize", "predict", "scores")),
        "metrics/per_dialogue.csv",
        "models/qlora/not-chosen.txt",
        "metrics/train/qlora/not-chosen.txt",
        "metrics/train/kobart/metrics.json",
        "metrics/train/kobart/arguments.json",
        *(f"{folder}/SHA256SUMS" for folder in ("data/processed", "data/tokenized", "data/predictions")),
        *(f"{folder}/{family}/SHA256SUMS" for folder in ("models", "metrics/train") for family in ("kobart", "qlora")),
        *(f"metrics/train/kobart/plots/metrics/{curve}.tsv" for curve in curves),
    }
    assert not list(repository.rglob("*.tmp"))


def test_predictions_keep_the_rows_and_the_order(repository: Path) -> None:
    for split, name in (("dev", "dev"), ("test", "test"), ("test", "submission")):
        with open(repository / f"data/sample/{split}.csv", encoding="utf-8", newline="") as file:
            due = [row["fname"] for row in csv.DictReader(file)]
        with open(repository / f"data/predictions/{name}.csv", encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            assert [row["fname"] for row in reader] == due
            assert reader.fieldnames == ["fname", "summary"]


def test_a_second_repro_finds_nothing_to_do(repository: Path) -> None:
    assert "up to date" in command(repository, "dvc", "repro")
    assert "up to date" in command(repository, "dvc", "status")


def test_another_clone_gets_the_same_bytes(repository: Path, tmp_path: Path) -> None:
    folder = tmp_path / "다른 곳"
    copy_repository(folder)
    command(folder, "dvc", "repro", PYTHONHASHSEED="7", TZ="Asia/Seoul", LC_ALL="C")
    assert (folder / "dvc.lock").read_text(encoding="utf-8") == (repository / "dvc.lock").read_text(encoding="utf-8")


@pytest.mark.parametrize("spelling", ["2e-5", "2e-05", "2.0e-5", "0.00002"])
def test_a_learning_rate_reaches_the_trainer_in_every_spelling(repository: Path, spelling: str) -> None:
    told = command(repository, "dvc", "exp", "run", "-S", f"training.learning_rate={spelling}", "train_kobart")
    assert "Stage 'tokenize' didn't change" in told
    resolved = json.loads((repository / "metrics/train/kobart/arguments.json").read_text(encoding="utf-8"))
    assert resolved["learning_rate"] == 2e-5
    command(repository, "git", "checkout", "-q", ".")
    command(repository, "dvc", "checkout")


def work_off(repository: Path, *, jobs: int) -> dict[str, str]:
    """Run what is queued; how each ended, by its name, that of earlier ones too."""
    # Not by `command`: the workers inherit what it reads, and may outlive the queue when they miss the call to shut down.
    subprocess.run(["dvc", "queue", "start", "-j", str(jobs)], cwd=repository, stdout=subprocess.DEVNULL, check=True)
    deadline = time.monotonic() + 600
    try:
        while True:
            lines = [line.split() for line in command(repository, "dvc", "queue", "status").splitlines()]
            ended = {cells[1]: cells[-1] for cells in lines if cells and cells[-1] in ("Success", "Failed")}
            if not any(cells and cells[-1] in ("Queued", "Running") for cells in lines):
                return ended
            assert time.monotonic() < deadline, lines
            time.sleep(1)
    finally:
        for process in psutil.process_iter(["cmdline", "cwd"]):
            if process.info["cwd"] == str(repository) and "queue-worker" in (process.info["cmdline"] or ()):
                process.kill()


def test_queued_experiments_run_their_own_code_and_can_be_applied(repository: Path) -> None:
    """The workspace's code is broken after queueing; the queued runs, which have the committed code, succeed."""
    grid = "training.learning_rate=1e-3,5e-4"
    command(repository, "dvc", "exp", "run", "--queue", "-S", grid, "-S", "generation.num_beams=1")
    stage = repository / "stages/train_kobart.py"
    module = repository / "src/yoyak/training/trainer.py"
    kept = stage.read_bytes(), module.read_bytes()
    stage.write_text("raise SystemExit('the workspace ran')\n", encoding="utf-8")
    module.write_text("raise SystemExit('the workspace was imported')\n", encoding="utf-8")
    try:
        assert set(work_off(repository, jobs=2).values()) == {"Success"}
    finally:
        stage.write_bytes(kept[0])
        module.write_bytes(kept[1])
    table = list(csv.DictReader(command(repository, "dvc", "exp", "show", "--csv").splitlines()))
    done = [row for row in table if row["Experiment"] and row["training.learning_rate"] in ("0.001", "0.0005")]
    assert len(done) == 2, table
    assert all(float(row["rouge_sum"]) >= 0 and row["generation.num_beams"] == "1" for row in done)
    about = {"Experiment", "rev", "typ", "Created", "parent", "State", "Executor"}
    scores = [name for name in table[0] if name not in about]
    assert scores[:5] == ["rouge1", "rouge2", "rougeL", "rouge_sum", "rouge_mean"], "they lead the table"
    command(repository, "dvc", "exp", "apply", done[0]["Experiment"])
    assert "up to date" in command(repository, "dvc", "repro")
    command(repository, "git", "checkout", "-q", ".")
    command(repository, "dvc", "checkout")


def kill_training(repository: Path) -> None:
    """Of a run in a copy of the repository, once it has a whole checkpoint."""
    deadline = time.monotonic() + 300
    while not any((repository / ".checkpoints").glob("train_kobart-*/checkpoint-*/SHA256SUMS")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for process in psutil.process_iter(["cmdline", "cwd"]):
        inside = (process.info["cwd"] or "").startswith(str(repository / ".dvc/tmp/exps"))
        if inside and "stages.train_kobart" in (process.info["cmdline"] or ()):
            process.kill()


@pytest.mark.parametrize("how", ["--temp", "--queue"])
def test_training_killed_in_a_copy_of_the_repository_goes_on(repository: Path, how: str) -> None:
    shutil.rmtree(repository / ".checkpoints", ignore_errors=True)
    changes = ["-S", f"training.learning_rate={3e-4 if how == '--temp' else 4e-4}", "-S", "training.save_steps=2"]
    killer = threading.Thread(target=kill_training, args=[repository])
    killer.start()
    name = f"killed{how}"
    if how == "--temp":
        assert "goes on" not in command(repository, "dvc", "exp", "run", how, *changes, fails=True)
        told = command(repository, "dvc", "exp", "run", how, "--name", name, *changes)
    else:
        command(repository, "dvc", "exp", "run", how, "--name", "first", *changes)
        assert work_off(repository, jobs=1)["first"] == "Failed"
        command(repository, "dvc", "exp", "run", how, "--name", name, *changes)
        assert work_off(repository, jobs=1)[name] == "Success"
        told = command(repository, "dvc", "queue", "logs", name)
    killer.join()
    assert "training goes on from its checkpoint" in told
    command(repository, "dvc", "exp", "apply", name)
    lock = (repository / "dvc.lock").read_bytes()
    command(repository, "git", "checkout", "-q", ".")
    shutil.rmtree(repository / ".checkpoints")
    assert "goes on" not in command(repository, "dvc", "exp", "run", "--force", *changes)
    assert (repository / "dvc.lock").read_bytes() == lock
    command(repository, "git", "checkout", "-q", ".")
    command(repository, "dvc", "checkout")


def test_plots_are_one_offline_page(repository: Path) -> None:
    command(repository, "python", "-m", "yoyak", "plots-page")
    told = command(repository, "dvc", "plots", "show")
    page = (repository / "dvc_plots/index.html").read_text(encoding="utf-8")
    assert "failed" not in told.lower()
    for title in ("train loss by step", "learning rate by step", "dev ROUGE by epoch", "rouge_sum over the dev dialogues"):
        assert title in page
    assert "<script src=" not in page
    assert "<DVC_METRIC" not in page


def test_a_bad_value_stops_before_any_work(repository: Path) -> None:
    told = command(repository, "dvc", "exp", "run", "-S", "generation.min_new_tokens=50", fails=True)
    assert "generation.min_new_tokens: 50 is more than generation.max_new_tokens (20)" in told
    assert "Traceback" not in told
    command(repository, "git", "checkout", "-q", ".")
    command(repository, "dvc", "checkout")


def hash_of(folder: Path, out: str) -> str:
    lock = YAML(typ="safe").load((folder / "dvc.lock").read_text(encoding="utf-8"))
    return next(str(item["md5"]) for stage in lock["stages"].values() for item in stage["outs"] if item["path"] == out)


def test_the_other_family_and_back_without_training_again(repository: Path, tmp_path: Path) -> None:
    kobart = hash_of(repository, "models/kobart")
    told = command(repository, "dvc", "exp", "run", "-S", "model.family=qlora")
    assert "train_kobart: nothing to do, model.family is qlora" in told
    assert "nf4, float32 (quantized layers on a CPU)" in told and "LoRA on down_proj" in told
    written = outputs(repository)
    assert {name for name in written if name.startswith("models/")} == {
        "models/kobart/not-chosen.txt",
        "models/kobart/SHA256SUMS",
        *(
            f"models/qlora/{name}"
            for name in (
                "SHA256SUMS",
                "adapter_config.json",
                "adapter_model.safetensors",
                "base.json",
                "chat_template.jinja",
                "tokenizer.json",
                "tokenizer_config.json",
            )
        ),
    }
    assert {"metrics/train/qlora/plots/metrics/dev/rouge1.tsv", "metrics/train/kobart/not-chosen.txt"} <= written
    scores = json.loads((repository / "metrics/scores.json").read_text(encoding="utf-8"))
    assert scores["rouge_sum"] > 0 and scores["rows"] == 40
    tokens = json.loads((repository / "metrics/tokenize.json").read_text(encoding="utf-8"))
    assert tokens["train"]["prompt"]["turns_left_out"] == 0 and tokens["train"]["summary"]["unknown_tokens"] == 0
    command(repository, "python", "-m", "yoyak", "plots-page")
    assert "failed" not in command(repository, "dvc", "plots", "show").lower()
    qlora, lock = hash_of(repository, "models/qlora"), (repository / "dvc.lock").read_text(encoding="utf-8")

    told = command(repository, "dvc", "exp", "run", "-S", "model.family=kobart")
    assert "Stage 'train_kobart' is cached" in told and "Stage 'predict' is cached" in told
    assert hash_of(repository, "models/kobart") == kobart
    told = command(repository, "dvc", "exp", "run", "-S", "model.family=qlora")
    assert "Stage 'train_qlora' is cached" in told
    assert hash_of(repository, "models/qlora") == qlora

    other = tmp_path / "elsewhere"
    copy_repository(other)
    command(other, "python", "-m", "yoyak", "use", "llama-tiny")
    values = YAML(typ="safe").load((repository / "params.yaml").read_text(encoding="utf-8"))
    with open(other / "params.yaml", "w", encoding="utf-8") as file:
        YAML().dump(values, file)
    command(other, "dvc", "repro", PYTHONHASHSEED="3", TZ="America/Lima", LC_ALL="C")
    assert (other / "dvc.lock").read_text(encoding="utf-8") == lock
    command(repository, "git", "checkout", "-q", ".")
    command(repository, "dvc", "checkout")


def test_the_merged_model_summarizes_as_the_adapter_does(repository: Path, tmp_path: Path) -> None:
    command(repository, "dvc", "exp", "run", "-S", "model.family=qlora")
    merged = tmp_path / "merged"
    command(repository, "python", "-m", "yoyak", "merge", "--output", str(merged))
    for model in (str(merged), "models/qlora"):
        target = f"{tmp_path}/{Path(model).name}.csv"
        summarize = ("summarize", "data/sample/test.csv", "--output", target, "--model", model)
        command(repository, "python", "-m", "yoyak", *summarize)
    assert (tmp_path / "merged.csv").read_bytes() == (tmp_path / "qlora.csv").read_bytes()
    command(repository, "git", "checkout", "-q", ".")
    command(repository, "dvc", "checkout")


def test_a_pruned_experiment_trains_and_scores_nothing_and_says_so(repository: Path) -> None:
    told = command(repository, "dvc", "exp", "run", "-S", "search.pruned=it was behind")
    for stage in ("train_kobart", "predict", "score"):
        assert f"{stage}: pruned: it was behind" in told
    assert json.loads((repository / "metrics/scores.json").read_text(encoding="utf-8")) == {"pruned": "it was behind"}
    for folder in ("models/kobart", "metrics/train/kobart", "data/predictions"):
        assert [path.name for path in sorted((repository / folder).iterdir())] == ["SHA256SUMS", "pruned.txt"]
    assert command(repository, "python", "-m", "yoyak", "show").strip() == "no score: it was behind"
    command(repository, "git", "checkout", "-q", ".")
    command(repository, "dvc", "checkout")
