"""The benchmarks run on a tiny input: a change of the library must not break `make bench`, which nobody runs every day."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import ablation, ablation_table, contest, data, kobart, qlora, scoring, search, shape, startup, table
from tests.conftest import ROOT
from yoyak.config.params import leaf_keys
from yoyak.system.text_files import write_json

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _in_the_root_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks read models/base."""
    monkeypatch.chdir(ROOT)


def arguments(**values: Any) -> argparse.Namespace:
    """What the parsers of bench.kobart and bench.qlora give, for a few rows."""
    return argparse.Namespace(
        **{"data": ROOT / "data/sample", "rows": 8, "dev": 4, "batch": 4, "seed": 42, "recommended": False, **values}
    )


def test_kobart_trains_and_writes(tmp_path: Path) -> None:
    args = arguments(checkpoint=Path("models/base/kobart-tiny"), tokenizer=None, shape=False, model=tmp_path / "model")
    for name in kobart.TRAINERS:
        result = kobart.train(args, name.removeprefix("train-"))
        assert result["tokens_a_second"] > 0 and 0 < result["dev_loss"] < 20
    written = {name: kobart.write(args, name.removeprefix("write-")) for name in kobart.WRITERS}
    assert all(len(result["texts"]) == 4 and result["dialogues_a_second"] > 0 for result in written.values())
    assert contest.same_texts(written, *kobart.WRITERS)["same_texts"].endswith(" of 4")


def test_kobart_takes_random_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    monkeypatch.setattr(kobart, "SHAPE", {**kobart.SHAPE, **small})
    args = arguments(checkpoint=Path("models/base/kobart-tiny"), tokenizer=None, shape=True, model=tmp_path / "model")
    assert kobart.train(args, "yoyak")["seconds"] > 0
    assert len(kobart.write(args, "int8")["texts"]) == 4


@pytest.mark.very_slow
def test_qlora_trains_and_writes(tmp_path: Path) -> None:
    args = arguments(checkpoint="models/base/llama-tiny", adapter=tmp_path / "adapter")
    assert qlora.run("yoyak", args)["tokens_a_second"] > 0
    for name in ("write-yoyak", "write-plain", "write-merged"):
        assert len(qlora.run(name, args)["texts"]) == 4


def test_qlora_runs_trl() -> None:
    pytest.importorskip("trl", reason="only the environment of `make bench` has TRL")
    assert qlora.run("trl", arguments(checkpoint="models/base/llama-tiny"))["tokens_a_second"] > 0


def test_scoring_gives_the_same_scores_as_rouge_score(tmp_path: Path) -> None:
    import numpy as np

    args = argparse.Namespace(pairs=20, folder=tmp_path)
    assert scoring.by_yoyak(args)["seconds"] > 0
    assert scoring.by_rouge_score(args)["seconds"] > 0
    ours, theirs = (np.load(tmp_path / f"{name}.npy") for name in ("yoyak", "rouge_score"))
    assert ours == pytest.approx(theirs)


@pytest.mark.very_slow
def test_a_model_of_a_shape_is_measured() -> None:
    args = shape.parser().parse_args(
        ["llama-3.2-korean-3b", *["--layers", "1", "--batch", "1", "--input", "8", "--target", "4"]]
    )
    args.steps, args.write = 2, 2
    params, wide = shape.preset_of(args)
    assert wide["num_hidden_layers"] == 1
    narrow = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 600}
    result = shape.measure(args, params, {**wide, **narrow, **({"head_dim": 32} if "head_dim" in wide else {})})
    assert result["tokens"] == [8, 4] and result["seconds_a_step"] > 0 and result["write_seconds"] > 0


@pytest.mark.very_slow
def test_the_contenders_of_a_benchmark_run_in_processes_of_their_own(tmp_path: Path) -> None:
    output = tmp_path / "scoring.json"
    subprocess.run([sys.executable, "-m", "bench.scoring", "--pairs", "20", "--json", str(output)], cwd=ROOT, check=True)
    result = json.loads(output.read_text(encoding="utf-8"))
    assert result["largest_difference"] < 1e-6 and result["setting"] == {"pairs": 20}


@pytest.mark.very_slow
def test_data_measures_the_stages(tmp_path: Path) -> None:
    output = tmp_path / "data.json"
    subprocess.run([sys.executable, "-m", "bench.data", "--rows", "8", "--json", str(output)], cwd=ROOT, check=True)
    result = json.loads(output.read_text(encoding="utf-8"))
    assert {"preprocess 8", "tokenize 8", "ratios"} == set(result)


def test_startup_measures_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "TIMES", 1)
    assert 0 < startup.measured([sys.executable, "-c", "pass"], ROOT, startup.BARE) < 10


def test_the_committed_table_is_that_of_the_committed_results() -> None:
    assert "\n".join(table.lines()) + "\n" == (table.RESULTS / "README.md").read_text(encoding="utf-8")


def test_the_methods_of_a_search_are_compared() -> None:
    points = [
        {
            "params": dict(zip(search.SPACE, (rate, batch, smoothing), strict=True)),
            "curve": [1.0, 2.0, 3.0, value],
            "value": value,
        }
        for rate in search.SPACE["training.learning_rate"]
        for batch in search.SPACE["training.per_device_train_batch_size"]
        for smoothing in search.SPACE["training.label_smoothing_factor"]
        for value in [100 * rate + batch + smoothing]
    ]
    compared = search.compare(points, repeats=1)
    assert compared["grid_epochs"] == 4 * len(points) == 192
    assert {"random", "tpe with median pruning", "freeze-thaw"} < set(compared["methods"])


@pytest.mark.very_slow
def test_searches_run_and_their_overhead_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SPACE", {"training.learning_rate": [1e-3, 2e-3]})
    monkeypatch.setattr(search, "EPOCHS", 1)
    folder = tmp_path / "repository"
    search.make_repository(folder, rows=24, dev=8)
    points = search.grid(folder)
    assert sorted(point["params"]["training.learning_rate"] for point in points) == [1e-3, 2e-3]
    seconds = search.overhead(folder, trials=12)
    assert {"trial_at_10", "trial_at_12", "dvc_exp_show_at_12_warm", "all_stages_cached"} <= set(seconds)


def test_data_writes_as_many_rows_as_asked(tmp_path: Path) -> None:
    data.write_splits(tmp_path / "sample", 3000, shards=0, turns=None)
    assert (tmp_path / "sample/train.csv").read_text(encoding="utf-8").count("\ntrain_") == 3000


def test_the_table_of_techniques_compares_with_the_first_one(tmp_path: Path) -> None:
    assert ablation.changes_of("none") == {}
    assert ablation.changes_of("noise=2+speaker_swap") == {"augment.noise.rate": 2.0, "augment.speaker_swap.rate": 1.0}
    changes = ablation.changes_of("wide, long:generation.num_beams=8,generation.length_penalty=2.5")
    assert changes == {"generation.num_beams": 8, "generation.length_penalty": 2.5}
    runs: dict[str, list[dict[str, Any]]] = {}
    for name, gain in (("none", 0), ("noise", 10)):
        for seed in (1, 2):
            scores = {"rouge_sum": [row % 7 + gain + seed for row in range(60)], "content_sum": [row % 5 for row in range(60)]}
            scores["facts_unsupported"] = [row % 3 + gain for row in range(60)]
            facts = {"rows": 60, "added": gain, "steps": 30, "train_seconds": 5.4, "predict_seconds": seed, "commit": "abc"}
            beaten = {"medoid_beaten": {"rouge_sum": seed == 1, "content_sum": True}}
            runs.setdefault(name, []).append({**facts, **beaten, "dialogues": scores})
    result = ablation_table.compared(runs)
    first, second = result["none"]["rouge_sum"]["seeds"]
    assert second - first == pytest.approx(1) and result["none"]["rouge_sum"]["mean"] == pytest.approx((first + second) / 2)
    test = result["noise"]["rouge_sum"]["against"]
    assert test["difference"] == pytest.approx(10) and test["verdict"] == "better"
    assert result["noise"]["content_sum"]["against"]["verdict"] == "no difference shown"
    table = ablation_table.markdown(result, heading="sample")
    assert "| noise | 60 + 10 | 30 | 5 + 2 | rouge_sum | " in table and "| +10.00 (+10.00 to +10.00) | " in table
    assert "| better | 1 of 2 |" in table, "one of two runs beats the medoid"
    assert result["noise"]["facts_unsupported"]["against"]["verdict"] == "worse", "fewer are better"
    assert "facts_recalled" not in result["none"], "a metric that no run kept"


def test_runs_with_more_rows_take_as_many_steps() -> None:
    for rows, added, batch in ((400, 398, 16), (400, 0, 16), (401, 1078, 16), (3600, 5373, 8)):
        epochs = ablation.epochs_of(4, rows=rows, added=added, batch=batch)
        assert -(-epochs * -(-(rows + added) // batch) // 1) == 4 * -(-rows // batch)


def test_finished_runs_are_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[list[str]] = []
    params = {"training.learning_rate": 1e-3, "generation.num_beams": 4}

    def finish(command: list[str], **_: Any) -> None:
        """Instead of a process: the file of its run."""
        started.append(command[-2:])
        args = arguments(data=ROOT / "data/sample", rows=0, dev=0, epochs=6.0, max_rejected=0, set=[], random_model=False)
        scores = {"rouge_sum": [1.0, 3.0] * 20, "content_sum": [2.0, 4.0] * 20}
        run = dict.fromkeys(ablation_table.FACTS, 30) | {"dialogues": scores, "params": dict(params)}
        write_json(ablation.run_file(args, command[-2], int(command[-1])), run)

    monkeypatch.setattr(subprocess, "run", finish)
    monkeypatch.setattr(ablation, "RUNS", tmp_path)
    monkeypatch.setattr(ablation, "base_values", lambda: {})
    monkeypatch.setattr(ablation, "flat", lambda _: params)
    output = tmp_path / "out.json"

    def measure(*seeds: str) -> list[list[str]]:
        started.clear()
        words = ["ablation", "--methods", "none", "noise", "--output", str(output), "--seeds", *seeds]
        monkeypatch.setattr(sys, "argv", words)
        ablation.main()
        return list(started)

    assert measure("1") == [["none", "1"], ["noise", "1"]]
    assert measure("1", "2") == [["none", "2"], ["noise", "2"]]
    assert output.with_suffix(".md").read_text(encoding="utf-8") in capsys.readouterr().out
    params["pretrain.epochs"] = 0
    assert measure("1", "2") == [], "a new param, whose default keeps the results"
    params["training.learning_rate"] = 2e-3
    assert measure("2") == [["none", "2"], ["noise", "2"]], "another value"
    assert "training.learning_rate had another value; it runs again" in capsys.readouterr().out


def test_each_technique_changes_params_that_exist() -> None:
    keys = set(leaf_keys())
    for name in (*ablation.TECHNIQUES, *ablation.AUGMENTATION):
        assert set(ablation.changes_of(name)) <= keys, name
        assert bool(ablation.changes_of(name)) == (name != "none")
