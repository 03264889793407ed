"""A study continues although the code has changed: the names of all that is stored stay the same."""

import json
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from tests.search.fakes import BEAMS, LENGTH, FakeClone, plan_of, run, scores, states, trials
from yoyak.search.git_dvc import git

# Written by hand, as version 0.1 wrote it. Do not adapt it to the code: studies in users' databases look like this.
PLAN: dict[str, Any] = {
    "about": None,
    "spaces": [],
    "parameters": {
        BEAMS: {"low": 1, "high": 8, "step": None, "log": False, "choices": None, "when": {}},
        LENGTH: {"low": 0.5, "high": 2.0, "step": None, "log": False, "choices": None, "when": {}},
    },
    "set": {},
    "sampler": {"name": "random", "seed": 42, "n_startup_trials": 10, "n_ei_candidates": 24},
    "pruner": {
        "name": "none",
        "n_startup_trials": 5,
        "n_warmup_steps": 3,
        "interval_steps": 1,
        "min_resource": 1,
        "reduction_factor": 3,
    },
    "objectives": ["rouge_sum"],
    "seeds": 1,
    "constraints": {"memory_gib": None, "forbid": []},
    "budget": {"trials": 5, "hours": None},
    "jobs": 1,
    "storage": None,
    "adaptive": None,
    "around": None,
}
CLONE, WORKER = "c10ce000", "c10ce000-0dead000"  # ids of the clone and of a worker that was killed


def add_trial(study: optuna.Study, state: TrialState, beams: int, **attributes: Any) -> None:
    trial = study.ask()
    trial.suggest_int(BEAMS, beams, beams)
    trial.suggest_float(LENGTH, 1.5, 1.5)
    for name, value in {"worker": WORKER, "changes": {LENGTH: 1.5, BEAMS: beams}, **attributes}.items():
        trial.set_user_attr(name, value)
    if state != TrialState.RUNNING:
        study.tell(trial, 100.0 + beams if state == TrialState.COMPLETE else None, state=state)


def store_study(root: Path, *, commit: str, tree: str) -> None:
    """The database that version 0.1 left when it was killed during the fourth trial."""
    (root / ".searches").mkdir()
    (root / ".searches/id").write_text(CLONE, encoding="utf-8")
    study = optuna.create_study(study_name="s", storage=f"sqlite:///{root}/.searches/studies.db", direction="maximize")
    study.set_user_attr("fixed", {LENGTH: 1.5})
    study.set_user_attr("plan", PLAN)
    study.set_user_attr("start", {"commit": commit, "tree": tree})
    finished = {"experiments": ["s-t0000"], "scores": [scores(107.0, 105.0)], "stages": ["predict", "score"]}
    add_trial(study, TrialState.COMPLETE, 7, **finished)
    add_trial(study, TrialState.PRUNED, 2, experiments=["s-t0001"], pruned="it was behind the median")
    add_trial(study, TrialState.FAIL, 3, failed="failed: error: the loss became nan")
    add_trial(study, TrialState.RUNNING, 8)


def test_a_study_of_version_0_1_continues(root: Path, clone: type[FakeClone]) -> None:
    store_study(root, commit=git(root, "rev-parse", "HEAD"), tree=git(root, "rev-parse", "HEAD^{tree}"))
    opened = run(root, plan_of(PLAN["parameters"], trials=5))
    assert states(opened) == ["COMPLETE", "PRUNED", "FAIL", "FAIL", "COMPLETE", "COMPLETE"], "four counted trials, then one"
    name, changes, environment = clone.runs[0]
    assert (name, changes) == ("s-t0003", {LENGTH: 1.5, BEAMS: 8}), "the trial of the killed worker is repeated"
    assert [name for name, *_ in clone.runs] == ["s-t0003", "s-t0005"]
    assert trials(opened)[4].user_attrs["retry_of"] == 3 and trials(opened)[4].user_attrs["after"] == 3
    assert opened.base.fixed == {LENGTH: 1.5}
    assert environment["YOYAK_SEARCH"].startswith(f"{root}/.searches/workers/{CLONE}-")
    assert environment["YOYAK_CHECKPOINTS"] == f"{root}/.checkpoints"
    assert environment["YOYAK_ANSWERS"] == f"{root}/.answers"
    assert git(root, "rev-parse", "refs/yoyak/s") == opened.snapshot.tree


def test_a_new_study_is_stored_as_in_version_0_1_with_the_scores_of_each_dialogue(root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of({BEAMS: {"low": 1, "high": 8}, LENGTH: {"low": 0.5, "high": 2.0}}, trials=5)
    opened = run(root, plan)
    attributes = opened.study.user_attrs
    added = {"budget": {**PLAN["budget"], "epochs": None}}  # since version 0.1, whose code does not compare budgets
    assert json.loads(json.dumps(attributes["plan"])) == PLAN | added
    assert set(attributes) == {"fixed", "plan", "start"} and set(attributes["start"]) == {"commit", "tree"}
    assert set(trials(opened)[0].user_attrs) == {"worker", "changes", "experiments", "scores", "row_scores", "stages"}
