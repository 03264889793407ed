"""search.py: what is tried, in which order, how often, and what becomes of it. DVC is replaced; test_search_dvc.py runs it."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.search.test_study import scores
from yoyak.config.params import parse_params
from yoyak.config.yaml_files import read_yaml
from yoyak.search import runner, space, study
from yoyak.search.experiments import Outcome
from yoyak.search.runner import Search
from yoyak.search.space import Plan
from yoyak.search.workers import Worker
from yoyak.system.errors import YoyakError

ROOT = Path(__file__).parents[2]
BEAMS, RATE, LENGTH = "generation.num_beams", "training.learning_rate", "generation.length_penalty"
Behaviour = Callable[[str, dict[str, Any]], Outcome]


class FakeClone:
    """Takes the place of a clone: `behaviour` says how a run ends, `runs` holds what was run."""

    runs: list[tuple[str, dict[str, Any], dict[str, str]]]
    behaviour: Behaviour
    score: Callable[[dict[str, Any]], float]

    def __init__(self, root: Path, folder: Path, start: object) -> None:
        self.changes: dict[str, Any] = {}

    def run(self, name: str, overlay: Mapping[str, Any], *, log: Path, environment: Mapping[str, str]) -> Outcome:
        self.changes = space.flat(overlay)
        parse_params(space.applied(self.changes, read_yaml(Path("params.yaml"))), source=name)  # type: ignore[arg-type]  # as the real one
        type(self).runs.append((name, self.changes, dict(environment)))
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("what it printed\n", encoding="utf-8")
        outcome = type(self).behaviour(name, self.changes)
        outcome.log = log
        return outcome

    def scores(self) -> dict[str, Any]:
        value = type(self).score(self.changes)
        return scores(value, value - 2, content=value / 2)

    def curve(self, family: str, metric: str) -> dict[int, float]:
        return {1: 10.0, 2: 20.0}

    def kill(self) -> None:
        pass

    def model_bytes(self, family: str) -> int:
        return 5_000_000

    def seconds_per_dialogue(self, rows: int) -> float:
        return 0.25


@pytest.fixture
def clone(monkeypatch: pytest.MonkeyPatch) -> type[FakeClone]:
    class Mine(FakeClone):
        runs: list[tuple[str, dict[str, Any], dict[str, str]]] = []  # noqa: RUF012
        behaviour = staticmethod(lambda name, changes: Outcome(0, ["predict", "score"]))
        score = staticmethod(lambda changes: 100.0 + changes.get(BEAMS, 4))

    monkeypatch.setattr(runner, "Clone", Mine)
    return Mine


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with params.yaml and the presets."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    (tmp_path / ".gitignore").write_text("/.searches/\n", encoding="utf-8")
    for args in (
        ["init", "-q"],
        ["config", "user.name", "test"],
        ["config", "user.email", "test@example.invalid"],
        ["add", "-A"],
        ["commit", "-qm", "start"],
    ):
        subprocess.run(["git", *args], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(study.STORAGE, raising=False)
    return tmp_path


def plan_of(parameters: dict[str, Any], trials: int | None = 4, **more: Any) -> Plan:
    return Plan.model_validate({"parameters": parameters, "sampler": {"name": "random"}, "budget": {"trials": trials}, **more})


def run(root: Path, plan: Plan, name: str = "s", fixed: dict[str, Any] | None = None) -> Search:
    worker = Worker()
    try:
        made = Search(name, plan, fixed=fixed or {}, start=None, root=root, source="file")
        made.run(worker)
        return made
    finally:
        worker.close()


def states(made: Search) -> list[str]:
    return [trial.state.name for trial in made.study.get_trials(deepcopy=False)]


def trials(made: Search) -> list[FrozenTrial]:
    return made.study.get_trials(deepcopy=False)


WIDE = {LENGTH: {"low": 0.5, "high": 2.0}}  # no two trials are the same


def test_the_first_trial_is_where_the_params_stand_and_the_budget_is_kept(root: Path, clone: type[FakeClone]) -> None:
    made = run(root, plan_of(WIDE))
    assert states(made) == ["COMPLETE"] * 4
    assert [name for name, *_ in clone.runs] == ["s-t0000", "s-t0001", "s-t0002", "s-t0003"]
    assert clone.runs[0][1] == {} and all(set(changes) == {LENGTH} for _, changes, _ in clone.runs[1:])
    first = trials(made)[0].user_attrs
    assert first["experiments"] == ["s-t0000"] and first["stages"] == ["predict", "score"]


def test_the_same_command_adds_nothing_to_a_finished_study(root: Path, clone: type[FakeClone]) -> None:
    run(root, plan_of(WIDE))
    made = run(root, plan_of(WIDE))
    assert len(clone.runs) == 4 and states(made) == ["COMPLETE"] * 4
    assert states(run(root, plan_of(WIDE, trials=6))) == ["COMPLETE"] * 6, "more trials go on where it stopped"
    assert len(clone.runs) == 6


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp"])
def test_a_search_in_two_parts_tries_what_one_in_one_part_tries(sampler: str, root: Path, clone: type[FakeClone]) -> None:
    clone.score = staticmethod(lambda changes: 100.0 - abs(changes.get(LENGTH, 1.0) - 1.3))
    more = {"sampler": {"name": sampler, "n_startup_trials": 3}}
    whole = [trial.params for trial in trials(run(root, plan_of(WIDE, 8, **more), name="whole"))]
    run(root, plan_of(WIDE, 3, **more), name="parts")
    run(root, plan_of(WIDE, 5, **more), name="parts")
    parts = [trial.params for trial in trials(run(root, plan_of(WIDE, 8, **more), name="parts"))]
    assert parts == whole
    assert len({params[LENGTH] for params in whole}) == 8


def test_a_setting_that_comes_again_is_not_run_again(root: Path, clone: type[FakeClone]) -> None:
    made = run(root, plan_of({BEAMS: {"choices": [4, 8]}}, trials=10))
    assert len(clone.runs) == 2 and states(made) == ["COMPLETE"] * 10
    assert {trial.value for trial in trials(made)} == {104.0, 108.0}
    again = [trial for trial in trials(made) if "same_as" in trial.user_attrs]
    assert len(again) == 8 and all(trial.user_attrs["experiments"][0] in ("s-t0000", "s-t0001", "s-t0002") for trial in again)
    assert len(study.finished(made.study)) == 2


def test_a_grid_runs_each_point_once_and_knows_its_end(root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of({BEAMS: {"choices": [1, 2]}, LENGTH: {"choices": [0.5, 1.0, 1.5]}}, None, sampler={"name": "grid"})
    made = run(root, plan)
    assert len(clone.runs) == 6 == len({tuple(sorted(trial.params.items())) for trial in trials(made)})
    run(root, plan)
    assert len(clone.runs) == 6


def test_a_grid_whose_points_were_not_all_written_down_is_completed(root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of({BEAMS: {"choices": [1, 2, 3]}}, None, sampler={"name": "grid"})
    made = Search("s", plan, fixed={}, start=None, root=root, source="file")
    made.study.enqueue_trial({BEAMS: 2})
    assert sorted(trial.params[BEAMS] for trial in trials(run(root, plan))) == [1, 2, 3]


def test_an_interrupted_trial_is_tried_again_with_its_params_under_its_name(root: Path, clone: type[FakeClone]) -> None:
    def die(name: str, changes: dict[str, Any]) -> Outcome:
        if name == "s-t0001" and len([run for run in clone.runs if run[0] == name]) == 1:
            raise KeyboardInterrupt
        return Outcome(0, ["score"])

    clone.behaviour = staticmethod(die)
    with pytest.raises(KeyboardInterrupt):
        run(root, plan_of(WIDE))
    made = run(root, plan_of(WIDE))
    found = trials(made)
    assert [name for name, *_ in clone.runs] == ["s-t0000", "s-t0001", "s-t0001", "s-t0003", "s-t0004"]
    assert found[1].state == TrialState.FAIL and found[2].user_attrs["retry_of"] == 1
    assert found[2].params == found[1].params and found[2].state == TrialState.COMPLETE
    assert len(study.finished(made.study)) == 4, "what was interrupted does not count"


def worker_that_is_gone(made: Search) -> str:
    gone = Worker()
    gone.close()
    return gone.name


@pytest.mark.parametrize("reached", ["asked", "owned", "suggested"])
def test_a_trial_of_a_killed_worker_is_found_however_far_it_was(reached: str, root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of(WIDE, trials=2)
    made = Search("s", plan, fixed={}, start=None, root=root, source="file")
    made.worker = Worker()
    made._enqueue()
    trial = made.study.ask()
    if reached != "asked":
        trial.set_user_attr("worker", worker_that_is_gone(made))
    if reached == "suggested":
        trial.suggest_float(LENGTH, 0.5, 2.0)
        trial.set_user_attr("changes", {})
    made.worker.close()
    again = run(root, plan)
    assert states(again)[0] == "FAIL" and trials(again)[1].user_attrs == {
        **trials(again)[1].user_attrs,
        "retry_of": 0,
        "after": 0,
    }
    assert [name for name, *_ in clone.runs] == ["s-t0000", "s-t0002"]
    assert clone.runs[0][1] == {}, "the params that it was to try"


def test_a_trial_that_another_worker_runs_is_left_to_it(root: Path, clone: type[FakeClone], monkeypatch: Any) -> None:
    plan = plan_of(WIDE, trials=3)
    made = Search("s", plan, fixed={}, start=None, root=root, source="file")
    other = Worker()
    made._enqueue()
    trial = made.study.ask()
    trial.set_user_attr("worker", other.name)
    trial.set_user_attr("changes", {})

    def end_it(seconds: float) -> None:
        if made.study.trials[0].state == TrialState.RUNNING:
            made.study.tell(trial, 500.0)

    monkeypatch.setattr(time, "sleep", end_it)
    again = run(root, plan)
    other.close()
    assert states(again) == ["COMPLETE"] * 3 and len(clone.runs) == 2
    assert study.best_first(again.study, ["rouge_sum"])[0].number == 0, "waited for, so that the best is known"


def test_a_trial_killed_after_it_was_pruned_is_not_trained_again(root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of({RATE: {"low": 1e-4, "high": 1e-2, "log": True}}, trials=1, pruner={"name": "median"})
    made = Search("s", plan, fixed={}, start=None, root=root, source="file")
    made._enqueue()
    trial = made.study.ask()
    trial.set_user_attr("worker", worker_that_is_gone(made))
    trial.suggest_float(RATE, 1e-4, 1e-2, log=True)
    trial.set_user_attr("changes", {})
    trial.set_user_attr("pruned", "it was behind")
    again = run(root, plan)
    assert states(again) == ["FAIL", "PRUNED"]
    assert [(name, changes) for name, changes, _ in clone.runs] == [("s-t0000", {"search.pruned": "it was behind"})]


def test_a_pruned_trial_leaves_an_experiment_that_says_so(root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of({RATE: {"low": 1e-4, "high": 1e-2, "log": True}}, trials=2, pruner={"name": "median"})

    def prune(name: str, changes: dict[str, Any]) -> Outcome:
        if "search.pruned" in changes or name == "s-t0000":
            return Outcome(0, ["train_kobart"])
        about = json.loads(clone.runs[-1][2]["YOYAK_TRIAL"])
        with_it = optuna.load_study(study_name="s", storage=about["storage"])
        with_it._storage.set_trial_user_attr(about["trial"], "pruned", "behind the median")
        return Outcome(1)

    clone.behaviour = staticmethod(prune)
    made = run(root, plan)
    assert states(made) == ["COMPLETE", "PRUNED"]
    assert [name for name, *_ in clone.runs] == ["s-t0000", "s-t0001", "s-t0001"]
    assert clone.runs[2][1]["search.pruned"] == "behind the median" and RATE in clone.runs[2][1]
    assert "YOYAK_TRIAL" not in clone.runs[2][2], "nothing is trained there that could report"
    assert trials(made)[1].user_attrs["experiments"] == ["s-t0001"]


def test_curves_of_cached_trainings_are_known_to_the_pruner(root: Path, clone: type[FakeClone]) -> None:
    made = run(root, plan_of({RATE: {"choices": [1e-3, 1e-4]}}, None, sampler={"name": "grid"}, pruner={"name": "median"}))
    assert [trial.intermediate_values for trial in trials(made)] == [{1: 10.0, 2: 20.0}] * 2


def test_a_crash_is_a_failure_and_never_pruned(root: Path, clone: type[FakeClone], capsys: Any) -> None:
    clone.behaviour = staticmethod(lambda name, changes: Outcome(1 if name == "s-t0001" else 0))
    made = run(root, plan_of(WIDE))
    assert states(made) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert trials(made)[1].user_attrs["failed"] == "failed: what it printed"
    assert "what it printed" in capsys.readouterr().out
    run(root, plan_of(WIDE))
    assert len(clone.runs) == 4, "a crash is not tried again: it would crash again"


def test_when_everything_crashes_the_search_ends(root: Path, clone: type[FakeClone]) -> None:
    clone.behaviour = staticmethod(lambda name, changes: Outcome(1))
    with pytest.raises(YoyakError, match=r"5 trials in a row failed; the last one's log is \.searches/logs/s-t0004\.log"):
        run(root, plan_of(WIDE, trials=50))
    assert len(clone.runs) == 5


def test_a_run_that_was_killed_is_tried_again_and_not_for_ever(root: Path, clone: type[FakeClone]) -> None:
    def kill(name: str, changes: dict[str, Any]) -> Outcome:
        before = len([run for run in clone.runs if run[0] == name])
        return Outcome(-9 if name == "s-t0002" or (name == "s-t0001" and before == 1) else 0)

    clone.behaviour = staticmethod(kill)
    made = run(root, plan_of(WIDE))
    assert states(made) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert [name for name, *_ in clone.runs] == ["s-t0000", "s-t0001", "s-t0001", *["s-t0002"] * 3, "s-t0003"]
    assert trials(made)[2].user_attrs["failed"].startswith("killed 3 times")


def test_what_breaks_a_constraint_is_pruned_before_any_training(root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of(
        {BEAMS: {"choices": [4, 6, 8]}}, None, sampler={"name": "grid"}, constraints={"forbid": [{BEAMS: {"above": 5}}]}
    )
    made = run(root, plan)
    assert sorted(states(made)) == ["COMPLETE", "PRUNED", "PRUNED"]
    pruned = [changes for _, changes, _ in clone.runs if BEAMS in changes]
    assert len(pruned) == 2 and all("forbidden: generation.num_beams" in changes["search.pruned"] for changes in pruned)


def test_params_that_are_invalid_together_are_pruned_without_an_experiment(root: Path, clone: type[FakeClone]) -> None:
    together = {
        "training.metric_for_best_model": {"choices": ["rouge_sum", "loss"]},
        "training.predict_with_generate": {"choices": [False]},
    }
    made = run(root, plan_of(together, None, sampler={"name": "grid"}))
    assert states(made) == ["PRUNED", "COMPLETE"] and len(clone.runs) == 1
    assert "a ROUGE needs training.predict_with_generate" in trials(made)[0].user_attrs["pruned"]


def test_memory_is_estimated_before_any_training(root: Path, clone: type[FakeClone], monkeypatch: Any) -> None:
    from yoyak.models import memory_estimate

    monkeypatch.setattr(
        memory_estimate, "peak_of", lambda params: params.training.per_device_train_batch_size * memory_estimate.GIB
    )
    key = "training.per_device_train_batch_size"
    plan = plan_of({key: {"choices": [4, 32]}}, None, sampler={"name": "grid"}, constraints={"memory_gib": 16})
    made = run(root, plan)
    assert {trial.params[key]: trial.state.name for trial in trials(made)} == {4: "COMPLETE", 32: "PRUNED"}
    assert clone.runs[1][1]["search.pruned"] == "memory: an estimated peak of 32.00 GiB is above 16"


def test_several_seeds_are_run_and_their_mean_is_the_value(root: Path, clone: type[FakeClone]) -> None:
    clone.score = staticmethod(lambda changes: 100.0 + changes["training.seed"])
    plan = plan_of({RATE: {"choices": [1e-3]}}, None, sampler={"name": "grid"}, seeds=3, pruner={"name": "median"})
    made = run(root, plan)
    assert [name for name, *_ in clone.runs] == ["s-t0000-s42", "s-t0000-s43", "s-t0000-s44"]
    assert trials(made)[0].value == 143.0 and len(trials(made)[0].user_attrs["scores"]) == 3
    assert ["YOYAK_TRIAL" in environment for *_, environment in clone.runs] == [True, False, False]


def test_seeds_of_a_decoding_search_train_nothing(root: Path, clone: type[FakeClone]) -> None:
    run(root, plan_of({"generation.do_sample": {"choices": [True]}}, None, sampler={"name": "grid"}, seeds=2))
    assert [sorted(changes) for _, changes, _ in clone.runs] == [["generation.do_sample", "generation.seed"]] * 2


def test_several_objectives_give_a_front(root: Path, clone: type[FakeClone]) -> None:
    plan = plan_of(
        {BEAMS: {"choices": [1, 8]}},
        None,
        sampler={"name": "grid"},
        objectives=["content.rouge_sum", "seconds_per_dialogue", "model_megabytes"],
    )
    made = run(root, plan)
    assert sorted(trial.values for trial in trials(made)) == [[50.5, 0.25, 5.0], [54.0, 0.25, 5.0]]
    told = "\n".join(runner.result(made))
    assert "none is better in everything than these 1" in told and "dvc exp apply s-t0001" in told


def test_only_the_environment_of_the_runs_holds_the_storage(root: Path, clone: type[FakeClone]) -> None:
    run(root, plan_of({RATE: {"choices": [1e-3]}}, None, sampler={"name": "grid"}, pruner={"name": "median"}))
    assert "sqlite:///" in clone.runs[0][2]["YOYAK_TRIAL"] and "sqlite" not in json.dumps(clone.runs[0][1])


def test_jobs_run_together_each_on_a_gpu_of_its_own(root: Path, clone: type[FakeClone], monkeypatch: Any) -> None:
    import threading

    monkeypatch.setattr(runner, "_gpus", lambda: ["4", "7"])
    both = threading.Barrier(2, timeout=20)

    def together(name: str, changes: dict[str, Any]) -> Outcome:
        both.wait()
        return Outcome(0)

    clone.behaviour = staticmethod(together)
    run(root, plan_of(WIDE, trials=4, jobs=2))
    assert {environment["CUDA_VISIBLE_DEVICES"] for *_, environment in clone.runs} == {"4", "7"}
    assert len({name for name, *_ in clone.runs}) == 4


@pytest.mark.parametrize(("given", "listed"), [("2,3", ["2", "3"]), ("", []), (None, ["0", "1"])])
def test_the_gpus_are_those_that_are_visible(given: str | None, listed: list[str], monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: A (UUID: a)'\necho 'GPU 1: A (UUID: b)'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert runner._gpus() == listed


def test_no_trial_begins_after_the_time_is_up(root: Path, clone: type[FakeClone], monkeypatch: Any) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def an_hour(name: str, changes: dict[str, Any]) -> Outcome:
        now[0] += 3600
        return Outcome(0)

    clone.behaviour = staticmethod(an_hour)
    run(root, plan_of(WIDE, budget={"trials": 50, "hours": 2.5}))
    assert len(clone.runs) == 3


def test_adaptive_ranges_narrow_around_the_best(root: Path, clone: type[FakeClone]) -> None:
    clone.score = staticmethod(lambda changes: 100.0 - abs(changes.get(LENGTH, 1.0) - 1.0) / 100)
    made = run(root, plan_of(WIDE, trials=42, adaptive={"every": 10}))
    values = [trial.params[LENGTH] for trial in trials(made)]
    assert max(values[:20]) - min(values[:20]) > 1.0
    late = values[40:]
    assert all(abs(value - 1.0) <= 1.5 / 8 / 2 + 0.01 for value in late), late


def test_a_stage_near_the_best_stays_near_it(root: Path, clone: type[FakeClone]) -> None:
    made = run(root, plan_of(WIDE, trials=20, around=0.2), fixed={LENGTH: 1.8})
    values = [trial.params[LENGTH] for trial in trials(made)]
    assert values[0] == 1.8 and all(1.65 - 1e-9 <= value <= 1.95 + 1e-9 for value in values) and len(set(values)) == 20


def test_what_was_begun_otherwise_is_not_gone_on_with(root: Path, clone: type[FakeClone]) -> None:
    run(root, plan_of(WIDE))
    for other in (
        plan_of({BEAMS: {"low": 1, "high": 2}}),
        plan_of(WIDE, seeds=2),
        plan_of(WIDE, objectives=["rouge1"]),
        plan_of(WIDE, set={RATE: 0.1}),
    ):
        with pytest.raises(YoyakError, match="study s was begun with other"):
            run(root, other)
    assert len(clone.runs) == 4


def test_a_study_goes_on_with_the_params_it_began_with(root: Path, clone: type[FakeClone], capsys: Any) -> None:
    run(root, plan_of({BEAMS: {"low": 1, "high": 8}}, trials=1))
    text = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(text.replace("num_beams: 4", "num_beams: 8"), encoding="utf-8")
    subprocess.run(["git", "commit", "-qam", "another day"], cwd=root, check=True)
    made = run(root, plan_of({BEAMS: {"low": 1, "high": 8}}, trials=3))
    assert made.base["generation"]["num_beams"] == 4
    assert "it goes on from commit" in capsys.readouterr().out


def test_changes_that_were_not_committed_are_part_of_the_study(root: Path, clone: type[FakeClone]) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(text.replace("num_beams: 4", "num_beams: 7"), encoding="utf-8")
    made = run(root, plan_of({BEAMS: {"low": 1, "high": 8}}, trials=1))
    assert trials(made)[0].params == {BEAMS: 7}
    subprocess.run(["git", "checkout", "-q", "."], cwd=root, check=True)
    subprocess.run(["git", "gc", "-q", "--prune=now"], cwd=root, check=True)
    assert run(root, plan_of({BEAMS: {"low": 1, "high": 8}}, trials=2)).base["generation"]["num_beams"] == 7


def test_experiments_of_another_study_are_not_overwritten(root: Path, clone: type[FakeClone]) -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/s-t0000", head], cwd=root, check=True)
    with pytest.raises(YoyakError, match="there are experiments s-t"):
        run(root, plan_of(WIDE))
    run(root, plan_of(WIDE), name="s2")


def test_a_storage_that_fails_midway_is_told_and_nothing_is_lost(root: Path, clone: type[FakeClone]) -> None:
    database = root / ".searches/studies.db"
    kept: list[bytes] = []

    def fail(name: str, changes: dict[str, Any]) -> Outcome:
        if name == "s-t0001":
            kept.append(database.read_bytes())
            database.write_bytes(b"this is no database any more, " * 2000)
        return Outcome(0)

    clone.behaviour = staticmethod(fail)
    with pytest.raises(YoyakError, match=r"study s: its storage failed .* the same command goes on"):
        run(root, plan_of(WIDE))
    database.write_bytes(kept[0])
    clone.behaviour = staticmethod(lambda name, changes: Outcome(0))
    assert len(study.finished(run(root, plan_of(WIDE)).study)) == 4


def test_a_study_of_somebody_else_is_not_touched(root: Path, clone: type[FakeClone]) -> None:
    (root / ".searches").mkdir()
    theirs = optuna.create_study(study_name="s", storage=f"sqlite:///{root}/.searches/studies.db", direction="maximize")
    theirs.tell(theirs.ask(), 1.0)
    with pytest.raises(YoyakError, match="is not one of yoyak's"):
        run(root, plan_of(WIDE))
    assert len(theirs.trials) == 1


def test_nothing_begins_with_a_parameter_that_does_not_exist(root: Path, clone: type[FakeClone]) -> None:
    with pytest.raises(YoyakError, match=r"training\.learnin_rate: params\.yaml has no such key"):
        run(root, plan_of({"training.learnin_rate": {"low": 0.1, "high": 1}}))
    assert not clone.runs
    with pytest.raises(KeyError):
        optuna.load_study(study_name="s", storage=f"sqlite:///{root}/.searches/studies.db")


def test_a_length_beyond_the_models_positions_stops_before_the_first_trial(
    root: Path, clone: type[FakeClone], tiny: Path
) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("models/base/kobart-tiny", str(tiny)).replace("max_input_length: 512", "max_input_length: 200")
    (root / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(YoyakError, match=r"tokenizer\.max_input_length: 1024 is more than the 256 positions"):
        run(root, plan_of({"tokenizer.max_input_length": {"choices": [128, 1024]}}))
    assert not clone.runs


def test_data_that_a_clone_would_not_have_is_named_before_the_first_trial(root: Path, clone: type[FakeClone]) -> None:
    for name in ("train", "dev", "test"):
        (root / "data/raw").mkdir(parents=True, exist_ok=True)
        (root / f"data/raw/{name}.csv").write_text("fname\n", encoding="utf-8")
    plan = plan_of(WIDE, trials=1, set={"data.dir": "data/raw"})
    with pytest.raises(YoyakError, match=r"data\.dir: data/raw is in neither git nor DVC"):
        run(root, plan)
    with pytest.raises(YoyakError, match=r"data\.dir: \.\./.* is in neither"):
        run(root, plan_of(WIDE, trials=1, set={"data.dir": f"../{root.name}/data"}))
    (root / "data/raw.dvc").write_text("outs: []\n", encoding="utf-8")
    subprocess.run(["git", "add", "data/raw.dvc"], cwd=root, check=True)
    run(root, plan)
    assert len(clone.runs) == 1


def staged(root: Path, only: str | None = None) -> None:
    base = {"sampler": {"name": "grid"}}
    plans = {
        "one": Plan.model_validate({**base, "parameters": {BEAMS: {"choices": [2, 6]}}}),
        "two": Plan.model_validate({**base, "parameters": {LENGTH: {"choices": [0.8, 1.2]}}}),
    }
    runner.run_file(plans, name="st", only=only, root=root, source="file")


def test_each_stage_starts_from_the_best_of_the_one_before(root: Path, clone: type[FakeClone]) -> None:
    staged(root)
    assert [(name, changes) for name, changes, _ in clone.runs][2:] == [
        ("st-two-t0000", {BEAMS: 6, LENGTH: 0.8}),
        ("st-two-t0001", {BEAMS: 6, LENGTH: 1.2}),
    ]
    staged(root)
    assert len(clone.runs) == 4, "finished stages are not run again"


def test_one_stage_alone_starts_from_what_is_known(root: Path, clone: type[FakeClone]) -> None:
    staged(root, only="one")
    assert len(clone.runs) == 2
    staged(root, only="two")
    assert clone.runs[-1][1] == {BEAMS: 6, LENGTH: 1.2}


def test_one_stage_alone_may_be_the_first_thing_done(root: Path, clone: type[FakeClone]) -> None:
    staged(root, only="two")
    assert [changes for _, changes, _ in clone.runs] == [{LENGTH: 0.8}, {LENGTH: 1.2}]


def test_a_stage_goes_on_from_where_it_began_although_the_best_has_changed(root: Path, clone: type[FakeClone]) -> None:
    def stop(name: str, changes: dict[str, Any]) -> Outcome:
        if name == "st-two-t0001" and len(clone.runs) == 4:
            raise KeyboardInterrupt
        return Outcome(0)

    clone.behaviour = staticmethod(stop)
    with pytest.raises(KeyboardInterrupt):
        staged(root)
    clone.behaviour = staticmethod(lambda name, changes: Outcome(0))
    staged(root)
    assert [name for name, *_ in clone.runs] == ["st-one-t0000", "st-one-t0001", "st-two-t0000", "st-two-t0001", "st-two-t0001"]


@pytest.mark.parametrize("name", ["a b", "a/b", "", "-x", "가"])
def test_a_name_that_no_experiment_can_have_is_refused(name: str, root: Path) -> None:
    with pytest.raises(YoyakError, match="letters, digits"):
        runner.run_file({"": plan_of(WIDE)}, name=name, only=None, root=root, source="file")


def test_the_end_names_the_best_its_ties_and_the_command(root: Path, clone: type[FakeClone]) -> None:
    made = run(root, plan_of({BEAMS: {"choices": [1, 7, 8]}}, None, sampler={"name": "grid"}))
    told = "\n".join(runner.result(made))
    assert "best of 3 completed: t0002  rouge_sum 108.00 ± 2.00" in told
    assert "within the noise of it: t0001" in told and "take it over: dvc exp apply s-t0002" in told
    assert "it ran in another clone" in told, "the experiment is not here: the clone was none"
