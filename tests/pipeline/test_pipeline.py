"""The real pipeline as its users run it: through DVC, with a few dialogues and the small checkpoints, once for each family.

test_dvc_experiments.py tests queues, copies and kills of experiments on a small pipeline; test_faults.py kills the real stages.
"""

import csv
import json
import shutil
import threading
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from ruamel.yaml import YAML

from stages import predict, score, train_kobart
from tests.conftest import ROOT
from tests.pipeline.repository import PRINTED, command, copy_repository, outputs, reset
from tests.pipeline.test_dvc_experiments import run_queue

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def repository(finished_kobart: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which the kobart family has run. Each test leaves it as it was."""
    return Path(shutil.copytree(finished_kobart, tmp_path_factory.mktemp("pipeline") / "kobart"))


@pytest.fixture(scope="module")
def qlora(finished_qlora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which the kobart family and then the qlora family have run. Each test leaves it as it was."""
    return Path(shutil.copytree(finished_qlora, tmp_path_factory.mktemp("pipeline") / "qlora"))


def scores_of(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "metrics/scores.json").read_text(encoding="utf-8")))


def test_a_run_prints_no_warnings_but_about_its_own_scores(repository: Path) -> None:
    printed = (repository / PRINTED).read_text(encoding="utf-8")
    warnings = [line for line in printed.splitlines() if "warn" in line.lower()]
    assert all(line.startswith("WARNING: ") and ("baseline" in line or "distinct" in line) for line in warnings), warnings


def test_the_exact_files_are_written(repository: Path) -> None:
    curves = [f"dev/{name}" for name in ("loss", "rouge1", "rouge2", "rougeL", "rouge_sum")]
    curves += [f"train/{name}" for name in ("loss", "learning_rate", "grad_norm")]
    assert outputs(repository) == {
        *(f"data/processed/{split}.jsonl" for split in ("train", "dev", "test")),
        "data/rejects/rows.jsonl",
        "data/augmented/train.jsonl",
        "data/tokenized/dataset_dict.json",
        "data/tokenized/yoyak.json",
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
                "yoyak.json",
            )
        ),
        *(f"metrics/{name}.json" for name in ("preprocess", "augment", "tokenize", "ensemble", "predict", "scores", "summary")),
        *("metrics/per_dialogue.csv", "metrics/gates.json", "metrics/gates.txt"),
        "models/pretrained/not-chosen.txt",
        "models/pretrained/SHA256SUMS",
        "metrics/pretrain/pretrain.json",
        "metrics/pretrain/SHA256SUMS",
        "models/qlora/not-chosen.txt",
        "metrics/train/qlora/not-chosen.txt",
        "metrics/train/kobart/metrics.json",
        "metrics/train/kobart/arguments.json",
        *(f"{folder}/SHA256SUMS" for folder in ("data/processed", "data/augmented", "data/tokenized", "data/predictions")),
        *(f"{folder}/{family}/SHA256SUMS" for folder in ("models", "metrics/train") for family in ("kobart", "qlora")),
        *(f"metrics/train/kobart/plots/metrics/{curve}.tsv" for curve in curves),
    }
    assert not list(repository.rglob("*.tmp"))


def test_predictions_keep_the_rows_and_the_order(repository: Path) -> None:
    for split, name in (("dev", "dev"), ("test", "test"), ("test", "submission")):
        with open(repository / f"data/sample/{split}.csv", encoding="utf-8", newline="") as file:
            expected = [row["fname"] for row in csv.DictReader(file)]
        with open(repository / f"data/predictions/{name}.csv", encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            assert [row["fname"] for row in reader] == expected
            assert reader.fieldnames == ["fname", "summary"]


def test_the_scores_lead_the_table_of_experiments(repository: Path) -> None:
    table = list(csv.DictReader(command(repository, "dvc", "exp", "show", "--csv").splitlines()))
    about = {"Experiment", "rev", "typ", "Created", "parent", "State", "Executor"}
    columns = [name for name in table[0] if name not in about]
    rouge = ["rouge1", "rouge2", "rougeL", "rouge_sum", "rouge_mean", "content.rouge_sum"]
    assert columns[:9] == [*rouge, "facts.unsupported", "facts.recall", "data.dir"]


def test_a_second_repro_finds_nothing_to_do(repository: Path) -> None:
    assert "up to date" in command(repository, "dvc", "repro")
    assert "up to date" in command(repository, "dvc", "status")


@pytest.mark.very_slow
def test_another_clone_gets_the_same_bytes(repository: Path, tmp_path: Path) -> None:
    folder = tmp_path / "다른 곳"
    copy_repository(folder)
    command(folder, "dvc", "repro", PYTHONHASHSEED="7", TZ="Asia/Seoul", LC_ALL="C")
    assert (folder / "dvc.lock").read_text(encoding="utf-8") == (repository / "dvc.lock").read_text(encoding="utf-8")


@pytest.mark.very_slow
def test_a_learning_rate_reaches_the_trainer(repository: Path) -> None:
    """test_dvc_experiments.py has the other spellings of it."""
    printed = command(repository, "dvc", "exp", "run", "-S", "training.learning_rate=2.0e-5", "train_kobart")
    assert "Stage 'tokenize' didn't change" in printed
    resolved = json.loads((repository / "metrics/train/kobart/arguments.json").read_text(encoding="utf-8"))
    assert resolved["learning_rate"] == 2e-5
    reset(repository)


def test_plots_are_one_offline_page(repository: Path) -> None:
    command(repository, "python", "-m", "yoyak", "plots-page")
    printed = command(repository, "dvc", "plots", "show")
    page = (repository / "dvc_plots/index.html").read_text(encoding="utf-8")
    assert "failed" not in printed.lower()
    for title in ("train loss by step", "learning rate by step", "dev ROUGE by epoch", "rouge_sum over the dev dialogues"):
        assert title in page
    assert "<script src=" not in page
    assert "<DVC_METRIC" not in page


def test_a_bad_value_stops_before_any_work(repository: Path) -> None:
    printed = command(repository, "dvc", "exp", "run", "-S", "generation.min_new_tokens=50", fails=True)
    assert "generation.min_new_tokens: 50 is more than generation.max_new_tokens (12)" in printed
    assert "Traceback" not in printed
    reset(repository)


@pytest.mark.very_slow
def test_a_pruned_experiment_trains_and_scores_nothing_and_says_so(repository: Path) -> None:
    printed = command(repository, "dvc", "exp", "run", "-S", "search.pruned=it was behind")
    for stage in ("train_kobart", "predict", "score"):
        assert f"{stage}: pruned: it was behind" in printed
    assert scores_of(repository) == {"pruned": "it was behind"}
    for folder in ("models/kobart", "metrics/train/kobart", "data/predictions"):
        assert [path.name for path in sorted((repository / folder).iterdir())] == ["SHA256SUMS", "pruned.txt"]
    assert command(repository, "python", "-m", "yoyak", "show").strip() == "no score: it was behind"
    reset(repository)


def test_the_stages_of_a_pruned_experiment_write_why_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without data and a model, which a pruned stage must not read."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert text.count("  pruned: #") == 1
    Path("params.yaml").write_text(text.replace("  pruned: #", "  pruned: it was behind #"), encoding="utf-8")
    none, models, predictions = Path("none"), Path("models"), Path("data/predictions")
    train_kobart.main(none, none, models, Path("metrics/train"))
    predict.main(none, models, predictions, Path("metrics/predict.json"))
    scores = Path("metrics/scores.json")
    score.main(
        none, predictions, none, scores=scores, summary=Path("metrics/summary.json"), per_dialogue=Path("metrics/rows.csv")
    )
    for folder in (models, Path("metrics/train"), predictions):
        assert [path.name for path in sorted(folder.iterdir())] == ["SHA256SUMS", "pruned.txt"]
    assert json.loads(scores.read_text(encoding="utf-8")) == {"pruned": "it was behind"}
    printed = capsys.readouterr().out
    for stage in ("train_kobart", "predict", "score"):
        assert f"{stage}: pruned: it was behind" in printed


def test_the_other_family_runs_and_says_what_it_loads(qlora: Path) -> None:
    printed = (qlora / PRINTED).read_text(encoding="utf-8")
    assert "train_kobart: nothing to do, model.family is qlora" in printed
    assert "nf4, float32 (quantized layers on a CPU)" in printed and "LoRA on down_proj" in printed
    written = outputs(qlora)
    assert {name for name in written if name.startswith("models/")} == {
        "models/kobart/not-chosen.txt",
        "models/kobart/SHA256SUMS",
        "models/pretrained/not-chosen.txt",
        "models/pretrained/SHA256SUMS",
        *(
            f"models/qlora/{name}"
            for name in (
                "SHA256SUMS",
                "adapter_config.json",
                "adapter_model.safetensors",
                "base.json",
                "chat_template.jinja",
                "generation_config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "yoyak.json",
            )
        ),
    }
    assert {"metrics/train/qlora/plots/metrics/dev/rouge1.tsv", "metrics/train/kobart/not-chosen.txt"} <= written
    scores = scores_of(qlora)
    assert isinstance(scores["rouge_sum"], float) and scores["rouge_sum"] > 0 and scores["rows"] == 24
    tokens = json.loads((qlora / "metrics/tokenize.json").read_text(encoding="utf-8"))
    assert tokens["train"]["prompt"]["turns_left_out"] == 0 and tokens["train"]["summary"]["unknown_tokens"] == 0
    command(qlora, "python", "-m", "yoyak", "plots-page")
    assert "failed" not in command(qlora, "dvc", "plots", "show").lower()


def hash_of(folder: Path, out: str) -> str:
    """The MD5 that dvc.lock has for an output."""
    lock = YAML(typ="safe").load((folder / "dvc.lock").read_text(encoding="utf-8"))
    return next(str(item["md5"]) for stage in lock["stages"].values() for item in stage["outs"] if item["path"] == out)


@pytest.mark.very_slow
def test_the_other_family_and_back_without_training_again(finished_kobart: Path, qlora: Path) -> None:
    before = hash_of(qlora, "models/qlora")
    printed = command(qlora, "dvc", "exp", "run", "-S", "model.family=kobart")
    assert "Stage 'train_kobart' is cached" in printed and "Stage 'predict' is cached" in printed
    assert hash_of(qlora, "models/kobart") == hash_of(finished_kobart, "models/kobart")
    printed = command(qlora, "dvc", "exp", "run", "-S", "model.family=qlora")
    assert "Stage 'train_qlora' is cached" in printed
    assert hash_of(qlora, "models/qlora") == before
    reset(qlora)


@pytest.mark.very_slow
def test_the_merged_model_summarizes_as_the_adapter_does(qlora: Path, tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    command(qlora, "python", "-m", "yoyak", "merge", "--output", str(merged))
    for model in (str(merged), "models/qlora"):
        target = f"{tmp_path}/{Path(model).name}.csv"
        summarize = ("summarize", "data/sample/test.csv", "--output", target, "--model", model)
        command(qlora, "python", "-m", "yoyak", *summarize)
    assert (tmp_path / "merged.csv").read_bytes() == (tmp_path / "qlora.csv").read_bytes()


@pytest.mark.very_slow
def test_another_clone_gets_the_same_bytes_of_the_other_family(qlora: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    copy_repository(folder)
    command(folder, "python", "-m", "yoyak", "use", "llama-tiny")
    shutil.copyfile(qlora / "params.yaml", folder / "params.yaml")
    command(folder, "dvc", "repro", PYTHONHASHSEED="3", TZ="America/Lima", LC_ALL="C")
    assert (folder / "dvc.lock").read_text(encoding="utf-8") == (qlora / "dvc.lock").read_text(encoding="utf-8")


def kill_training(repository: Path) -> None:
    """Kill the training of a run in a copy of the repository, once it has a whole checkpoint."""
    deadline = time.monotonic() + 300
    while not any((repository / ".checkpoints").glob("train_kobart-*/checkpoint-*/SHA256SUMS")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for process in psutil.process_iter(["cmdline", "cwd"]):
        inside = (process.info["cwd"] or "").startswith(str(repository / ".dvc/tmp/exps"))
        if inside and "stages.train_kobart" in (process.info["cmdline"] or ()):
            process.kill()


@pytest.mark.very_slow
@pytest.mark.parametrize("how", ["--temp", "--queue"])
def test_training_killed_in_a_copy_of_the_repository_goes_on(repository: Path, how: str) -> None:
    """test_dvc_experiments.py has the same test for a small training."""
    shutil.rmtree(repository / ".checkpoints", ignore_errors=True)
    changes = ["-S", f"training.learning_rate={3e-4 if how == '--temp' else 4e-4}", "-S", "training.save_steps=2"]
    killer = threading.Thread(target=kill_training, args=[repository])
    killer.start()
    name = f"killed{how}"
    if how == "--temp":
        assert "resumes" not in command(repository, "dvc", "exp", "run", how, *changes, fails=True)
        printed = command(repository, "dvc", "exp", "run", how, "--name", name, *changes)
    else:
        command(repository, "dvc", "exp", "run", how, "--name", "first", *changes)
        assert run_queue(repository, jobs=1)["first"] == "Failed"
        command(repository, "dvc", "exp", "run", how, "--name", name, *changes)
        assert run_queue(repository, jobs=1)[name] == "Success"
        printed = command(repository, "dvc", "queue", "logs", name)
    killer.join()
    assert "training resumes from its checkpoint" in printed
    command(repository, "dvc", "exp", "apply", name)
    lock = (repository / "dvc.lock").read_bytes()
    command(repository, "git", "checkout", "-q", ".")
    shutil.rmtree(repository / ".checkpoints")
    assert "resumes" not in command(repository, "dvc", "exp", "run", "--force", *changes)
    assert (repository / "dvc.lock").read_bytes() == lock
    reset(repository)
