"""The table of experiments: which rows have scores, which params vary, and how it fits the terminal."""

import json
from pathlib import Path
from typing import Any

import pytest

from yoyak.reports import experiments
from yoyak.reports.experiments import Experiment, best_experiment, experiments_table, read_experiments, varying_params

SCORES = {"rouge1": 80.0, "rouge2": 70.0, "rougeL": 75.0, "rouge_sum": 225.0, "content": {"rouge_sum": 210.0}, "rows": 9}


def entry(rev: str, name: str | None = None, params: dict[str, Any] | None = None, scores: Any = SCORES) -> dict[str, Any]:
    """One entry of `dvc exp show --json`."""
    files = {"metrics/summary.json": {"data": scores}}
    return {
        "rev": rev,
        "name": name,
        "error": None,
        "experiments": None,
        "data": {"params": {"params.yaml": {"data": params or {}}}, "metrics": files},
    }


def shown(monkeypatch: pytest.MonkeyPatch, *entries: dict[str, Any], before: str = "") -> list[Experiment]:
    monkeypatch.setattr(experiments, "dvc", lambda *_: before + json.dumps(entries))
    return read_experiments(Path())


def on_commit(*items: tuple[dict[str, Any], str | None]) -> dict[str, Any]:
    children = [{"revs": [child], "executor": state and {"state": state}} for child, state in items]
    return entry("1234567890", "main") | {"experiments": children}


def test_scores_stand_only_where_the_experiment_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC gives a queued, running or failed experiment the scores of its commit."""
    pruned = entry("e", "cut", {"search": {"pruned": "worse than half"}}, scores={})
    unreadable = {"rev": "f" * 40, "name": None, "data": None, "error": {"msg": "broken"}}
    commit = on_commit(
        (entry("a", "good"), "success"), (entry("b", "bad"), "failed"), (entry("c", "next"), "queued"), (pruned, None)
    )
    found = shown(monkeypatch, entry("workspace"), commit, unreadable, before="WARNING: x\n")
    assert [(one.name, one.state, "rouge_sum" in one.scores) for one in found] == [
        ("workspace", "", True),
        ("main", "", True),
        ("good", "", True),
        ("bad", "failed", False),
        ("next", "queued", False),
        ("cut", "pruned", False),
        ("fffffff", "unreadable", False),
    ]
    assert found[2].scores == {**{key: SCORES[key] for key in SCORES if key.startswith("rouge")}, "content.rouge_sum": 210.0}


def test_the_best_is_finished_and_not_the_folder_that_can_change() -> None:
    one = Experiment("workspace", True, scores={"rouge_sum": 5.0})
    assert best_experiment([one, Experiment("a", False, scores={"rouge_sum": 5.0}), Experiment("b", False, "failed")]) == (
        Experiment("a", False, scores={"rouge_sum": 5.0})
    )
    assert best_experiment([Experiment("b", False, "failed")]) is None


def test_only_params_that_differ_vary() -> None:
    rows = [
        Experiment("a", False, params={"training.seed": 1, "model.family": "kobart", "search.pruned": None, "old": 1}),
        Experiment("b", False, params={"training.seed": 1.0, "model.family": "qlora", "search.pruned": "x"}),
        Experiment("c", False, params={"training.seed": 1, "model.family": "qlora"}),
    ]
    assert varying_params(rows) == ["training.seed", "model.family"]  # 1 and 1.0 are different values of a file


def test_the_table_fits_the_width_and_names_what_it_leaves_out() -> None:
    params = {f"training.long_name_of_param_{index}": "값" * 30 for index in range(20)}
    rows = [Experiment("가나다" * 20, False, scores={"rouge1": 1.0, "rouge_sum": 3.0}, params=params)]
    lines = experiments_table(rows, list(params), width=120)
    *table, note, advice = lines
    assert max(experiments._width(line) for line in table) <= 120
    assert "param_0" in "".join(table) and "training.long_name_of_param_19" in note and "--param" in advice
    assert experiments_table(rows, list(params)[:1], width=120)[-1].startswith("  가나다")  # all fits, so there is no note


def test_cells_are_aligned_though_korean_letters_are_wide() -> None:
    rows = [
        Experiment("한글", True, scores={"rouge1": 1.0}, params={"prompt.system": "한국어로\n짧게", "a.seed": 1, "b.seed": 2}),
        Experiment("ascii", True, scores={"rouge1": 10.0}, params={"prompt.system": "x"}),
    ]
    lines = experiments_table(rows, ["prompt.system", "a.seed", "b.seed"], width=120)
    assert lines == [
        "experiment  rouge1  system         a.seed  b.seed",
        "한글          1.00  한국어로 짧게  1       2",
        "ascii        10.00  x              -       -",
    ]


def test_the_price_is_a_column_where_an_experiment_asked_an_api(monkeypatch: pytest.MonkeyPatch) -> None:
    paid = entry("a", "solar", scores={"rouge_sum": 210.0, "price": 1.25})
    found = shown(monkeypatch, entry("workspace"), on_commit((paid, None)))
    lines = experiments_table(found, [], width=120)
    assert lines[1].split()[-1] == "price" and lines[-1].split()[-1] == "1.25"
    assert not any("price" in line for line in experiments_table(shown(monkeypatch, entry("workspace")), [], width=120))
