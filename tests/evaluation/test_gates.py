"""score.gates: what passes, what fails, what does not apply, and what the stage leaves behind."""

import json
from pathlib import Path
from typing import Any

import pytest

from stages import gate
from tests.conftest import ROOT
from yoyak.config.score_section import Gates
from yoyak.evaluation.gates import GateResult, check_gates
from yoyak.system.errors import YoyakError

OFF: dict[str, Any] = {"better_than": None, "foreign_share": None, "grad_norm": None, "dev_loss_falls": False}
SCORES = {
    "rouge_sum": 99.0,
    "rows": 300,
    "baselines": {"medoid": {"rouge_sum": 95.7}, "lead1": {"rouge_sum": 50.0}},
    "difference": {"medoid": {"all": [-0.5, 7.0]}, "lead1": {"all": [40.0, 58.0]}},
    "beaten": {"medoid": {"all": False}, "lead1": {"all": True}},
}
PREDICTED = {"dev": {"foreign_share": 0.01}, "test": {"foreign_share": 0.029}}
GRADIENTS = {1: 9.0, 20: 1.4, 100: 1.2, 200: 1.45}


def check(**gates: Any) -> list[GateResult]:
    return check_gates(
        Gates(**(OFF | gates)), scores=SCORES, predicted=PREDICTED, gradients=GRADIENTS, dev_losses=[3.0, 2.5, 2.4]
    )


def test_nothing_is_judged_by_default() -> None:
    assert check() == [] and not Gates(**OFF).any_set


@pytest.mark.parametrize(
    ("gate_", "value", "passed"),
    [
        ("better_than", "lead1", True),
        ("better_than", "medoid", False),  # above it, but the test shows no difference
        ("foreign_share", 0.03, True),
        ("foreign_share", 0.029, False),  # the split with more of them counts
        ("grad_norm", 1.5, True),  # the first step is warm-up
        ("grad_norm", 1.45, False),
        ("dev_loss_falls", True, True),
    ],
)
def test_a_gate_passes_or_fails(gate_: str, value: Any, *, passed: bool) -> None:
    (result,) = check(**{gate_: value})
    assert Gates(**(OFF | {gate_: value})).any_set
    assert (result.name, result.passed) == (gate_, passed)
    assert str(result).startswith(f"{gate_}: {'passed' if passed else 'FAILED'}: ")


def test_the_numbers_are_named() -> None:
    assert [result.why for result in check(better_than="medoid", foreign_share=0.03, grad_norm=1.0, dev_loss_falls=True)] == [
        "rouge_sum 99.00, medoid 95.70, 95 % interval of the difference -0.50 to +7.00",
        "1.00% of dev, 2.90% of test; the limit is 3.00%",
        "at most 1.45 (step 200); the limit is 1",
        "after each epoch 3.000, 2.500, 2.400",
    ]


def test_a_loss_that_rises_once_fails() -> None:
    gates = Gates(**(OFF | {"dev_loss_falls": True}))
    (result,) = check_gates(gates, scores=SCORES, predicted=PREDICTED, gradients=GRADIENTS, dev_losses=[3.0, 2.5, 2.5])
    assert result.passed is False


def test_too_few_rows_show_nothing_and_a_model_that_is_not_trained_has_no_gradient() -> None:
    gates = Gates(**(OFF | {"better_than": "medoid", "grad_norm": 1.0, "dev_loss_falls": True}))
    few = SCORES | {"difference": {"medoid": {"all": None}}, "beaten": {"medoid": {"all": None}}}
    results = check_gates(gates, scores=few, predicted=PREDICTED, gradients=None, dev_losses=None)
    assert [result.passed for result in results] == [False, None, None]


@pytest.fixture
def run_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "scores.json").write_text(json.dumps(SCORES), encoding="utf-8")
    (tmp_path / "predict.json").write_text(json.dumps(PREDICTED), encoding="utf-8")
    curves = tmp_path / "train/kobart/plots/metrics"
    for name, lines in (
        ("train/grad_norm", "step\tgrad_norm\n1\t9.0\n200\t1.25\n"),
        ("dev/loss", "step\tloss\n1\t3.0\n2\t2.0\n"),
    ):
        (curves / name).parent.mkdir(parents=True)
        (curves / f"{name}.tsv").write_text(lines, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("YOYAK_SEARCH", raising=False)

    def run(better_than: str) -> dict[str, Any]:
        text = (ROOT / "params.yaml").read_text(encoding="utf-8")
        changed = text.replace("    better_than:", f"    better_than: {better_than}").replace(
            "    grad_norm:", "    grad_norm: 1.5"
        )
        (tmp_path / "params.yaml").write_text(changed, encoding="utf-8")
        paths = (Path("train/kobart"), Path("train/qlora"))
        gate.main(Path("scores.json"), Path("predict.json"), paths, Path("gates.json"), Path("gates.txt"))
        return dict(json.loads(Path("gates.json").read_text(encoding="utf-8")))

    return run


def test_the_stage_fails_after_it_has_written_its_reasons(run_stage: Any) -> None:
    with pytest.raises(YoyakError, match=r"score\.gates: this run fails; its scores are kept.*\n  better_than: FAILED"):
        run_stage("medoid")
    lines = Path("gates.txt").read_text(encoding="utf-8").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["better_than", "grad_norm"]
    assert json.loads(Path("gates.json").read_text(encoding="utf-8")) == {"gates_failed": 1}
    assert run_stage("lead1") == {"gates_failed": 0}


def test_a_copy_of_the_repository_keeps_its_experiment(run_stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC deletes the copy, with all results, if a stage fails there."""
    monkeypatch.setenv("DVC_ROOT", str(ROOT))
    assert run_stage("medoid") == {"gates_failed": 1}


def test_without_gates_nothing_is_read_and_no_column_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    nowhere = tmp_path / "nowhere"
    gate.main(nowhere, nowhere, (nowhere,), tmp_path / "gates.json", tmp_path / "gates.txt")
    assert (tmp_path / "gates.json").read_bytes() == (ROOT / "metrics/gates.json").read_bytes()
    assert (tmp_path / "gates.txt").read_bytes() == (ROOT / "metrics/gates.txt").read_bytes(), "DVC warns of an empty file"
