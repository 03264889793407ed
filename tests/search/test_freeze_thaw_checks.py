"""What a freeze-thaw search refuses."""

from pathlib import Path
from typing import Any

import pytest

from tests.search.fakes import BEAMS, RATE, FakeClone, open_only, plan_of, run
from yoyak.cli.main import main
from yoyak.search.base_params import BaseParams
from yoyak.search.freeze_thaw_checks import check_freeze_thaw
from yoyak.search.plan import SearchPlan
from yoyak.system.errors import YoyakError

RATES = {RATE: {"choices": [1e-3, 1e-2]}}
FILE = "sqlite:///studies.db"


def freeze_thaw(parameters: dict[str, Any] = RATES, **more: Any) -> SearchPlan:
    return plan_of(parameters, **{"sampler": {"name": "freeze_thaw"}, "budget": {"epochs": 9}, **more})


@pytest.mark.parametrize(
    ("plan", "url", "fault"),
    [
        (freeze_thaw(), "postgresql+psycopg://host/name", "storage: .* on one machine"),
        (freeze_thaw(jobs=2), FILE, "jobs: .* set jobs: 1"),
        (freeze_thaw(seeds=2), FILE, "seeds: .* set seeds: 1"),
        (freeze_thaw(pruner={"name": "median"}), FILE, "pruner: .* set pruner.name: none"),
        (freeze_thaw(adaptive={}), FILE, "adaptive: .* remove it"),
        (freeze_thaw(objectives=["rouge_sum", "model_megabytes"]), FILE, "objectives: .* found rouge_sum, model_megabytes"),
        (freeze_thaw(objectives=["rouge1"]), FILE, r"objectives: .*metric_for_best_model \(rouge_sum\) .* found rouge1"),
        (freeze_thaw({"training.num_train_epochs": {"low": 2, "high": 3}}), FILE, "training.num_train_epochs: .* same value"),
        (freeze_thaw({"preset": {"choices": ["tiny"]}, **RATES}), FILE, "preset: .* same value"),
        (freeze_thaw({BEAMS: {"low": 1, "high": 3}}), FILE, "parameters: .* trains nothing"),
        (freeze_thaw(budget={"epochs": 2}), FILE, "budget.epochs: 2 is less than one training"),
    ],
)
def test_what_is_not_supported_is_refused(plan: SearchPlan, url: str, fault: str, values: dict[str, Any]) -> None:
    with pytest.raises(YoyakError, match=f"(?s)file: 1 fault\n  {fault}"):
        check_freeze_thaw(plan, BaseParams(values), url, source="file")


def test_a_training_of_one_epoch_cannot_be_paused(values: dict[str, Any]) -> None:
    with pytest.raises(YoyakError, match="num_train_epochs: 1 leaves nothing to pause"):
        check_freeze_thaw(freeze_thaw(), BaseParams(values, {"training.num_train_epochs": 1}), FILE, source="file")


def test_options_of_the_command_are_checked_too(root: Path, clone: type[FakeClone]) -> None:
    open_only(root, freeze_thaw())
    with pytest.raises(YoyakError, match="jobs: sampler freeze_thaw trains one trial at a time"):
        run(root, freeze_thaw().model_copy(update={"jobs": 2}))


def test_the_budget_is_that_of_the_sampler() -> None:
    with pytest.raises(ValueError, match=r"budget.epochs: missing"):
        freeze_thaw(budget={"trials": 4})
    with pytest.raises(ValueError, match=r"budget.epochs: only sampler freeze_thaw reads it"):
        plan_of(RATES, budget={"trials": 4, "epochs": 9})


def test_epochs_of_another_sampler_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("parameters: {training.learning_rate: {choices: [0.1]}}\nsampler: {name: grid}\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="has the sampler grid, which counts trials; use --trials"):
        main(["search", str(path), "--epochs", "5"])
