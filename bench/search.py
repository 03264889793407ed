"""Measure what a search costs: grid, random, TPE, pruning and freeze-thaw over the same space, and the overhead of a trial.

    python -m bench.search      # an hour on two cores; --skip overhead or --skip methods leaves a part out

Methods: a search with the grid sampler runs every point of the space, on the first rows of the sample, and records ROUGE on dev
after each epoch. Training gives the same bytes each time. So Optuna's samplers and pruners, and yoyak.search.freeze_thaw, can
replay the other methods on that table, often enough to give an average. A setting that is drawn again costs nothing, as in a
search. A search begins with the values of params.yaml if they are in its space; two methods begin with the point next to them.

Overhead: a constraint ends the trials before training, so that only the time of the search, DVC and git is left. Ten trials run
in a new study, and ten in a study with 190 more trials and experiments (copies of the tenth, each with a commit and a row).
Writes bench/results/search.json.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from bench import ROOT
from yoyak.search.freeze_thaw import Curve, ranking
from yoyak.search.freeze_thaw_space import place_of
from yoyak.search.plan import Parameter

EPOCHS = 4
SPACE: dict[str, list[float]] = {
    "training.learning_rate": [1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3, 6.4e-3, 1.28e-2],
    "training.per_device_train_batch_size": [8, 16, 32],
    "training.label_smoothing_factor": [0.0, 0.1],
}
START: dict[str, float] = {  # the point next to the values of params.yaml, of which the learning rate is not in the space
    "training.learning_rate": 8e-4,
    "training.per_device_train_batch_size": 16,
    "training.label_smoothing_factor": 0.1,
}
FREEZE_THAW_STARTS = 3  # as in searches/freeze-thaw.yaml


def command(folder: Path, *args: str) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(folder / "src")
    done = subprocess.run(args, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{args}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def make_repository(folder: Path, *, rows: int, dev: int) -> None:
    """Make a clone with the first rows of the sample, and run its pipeline once."""
    command(ROOT, "git", "clone", "--quiet", str(ROOT), str(folder))
    for key, value in {"user.name": "bench", "user.email": "bench@example.invalid"}.items():  # a machine may have no identity
        command(folder, "git", "config", key, value)
    for split, count in (("train", rows), ("dev", dev), ("test", dev)):
        path = folder / f"data/sample/{split}.csv"
        with open(path, encoding="utf-8", newline="") as file:
            table = list(csv.reader(file))[: count + 1]
        with open(path, "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)
    command(folder, "dvc", "repro")
    command(folder, "git", "commit", "-qam", "the first rows")


def study_of(folder: Path, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder}/.searches/studies.db")


def grid(folder: Path) -> list[dict[str, Any]]:
    """Run every point of the space, and return for each its params, ROUGE on dev after each epoch, and its score."""
    from yoyak.system.text_files import to_json

    plan = {
        "parameters": {name: {"choices": values} for name, values in SPACE.items()},
        "set": {"training.num_train_epochs": EPOCHS},
        "sampler": {"name": "grid"},
        "pruner": {"name": "median", "n_startup_trials": 10**6},  # ends no trial, but makes trials report their curves
    }
    (folder / "searches/bench.yaml").write_text(to_json(plan), encoding="utf-8")
    command(folder, sys.executable, "-m", "yoyak", "search", "bench")
    trials = [trial for trial in study_of(folder, "bench").trials if trial.state == optuna.trial.TrialState.COMPLETE]
    return [
        {"params": trial.params, "curve": [trial.intermediate_values[at + 1] for at in range(EPOCHS)], "value": trial.value}
        for trial in trials
    ]


def replay(
    table: list[dict[str, Any]],
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
    first: dict[str, float] | None = None,
) -> list[float]:
    """Return the best score after each trained epoch, for as many epochs as the grid takes."""
    points = {tuple(point["params"][name] for name in SPACE): point for point in table}
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    if first:
        study.enqueue_trial({name: SPACE[name].index(value) for name, value in first.items()})
    best, curve = 0.0, list[float]()
    scores: dict[tuple[object, ...], float | None] = {}  # of the settings drawn so far; None: pruned
    top = max(point["value"] for point in table)
    for _ in range(5 * len(table)):
        if best == top or len(curve) >= EPOCHS * len(table):
            break
        trial = study.ask()
        # The index of a value tells the sampler that the values have an order (a search would give a range).
        key = tuple(values[trial.suggest_int(name, 0, len(values) - 1)] for name, values in SPACE.items())
        if key in scores:
            study.tell(trial, scores[key], state=None if scores[key] is not None else optuna.trial.TrialState.PRUNED)
            continue
        scores[key] = None
        for epoch, value in enumerate(points[key]["curve"], 1):
            curve.append(best)
            trial.report(value, epoch)
            if epoch < EPOCHS and trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            scores[key] = points[key]["value"]
            study.tell(trial, scores[key])
            best = max(best, points[key]["value"])
            curve[-1] = best
    return curve + [best] * (EPOCHS * len(table) - len(curve))


def replay_freeze_thaw(table: list[dict[str, Any]], seed: int, first: dict[str, float] | None = None) -> list[float]:
    """As `replay`, by the choices of a search with the sampler freeze_thaw."""
    parameters = {name: Parameter(choices=list(values)) for name, values in SPACE.items()}
    places = [place_of(point["params"], parameters) for point in table]
    order = [int(index) for index in np.random.default_rng(seed).permutation(len(table))]
    if first:
        order.sort(key=lambda index: table[index]["params"] != first)  # a stable sort: the others keep their order
    begun: dict[int, int] = {}  # trained epochs by the index of the point
    best, curve, total = 0.0, list[float](), EPOCHS * len(table)
    top = max(point["value"] for point in table)
    while best < top and len(curve) < total:
        curves = [
            Curve(
                places[index],
                dict(enumerate(table[index]["curve"][:epochs], 1)),
                table[index]["value"] if epochs == EPOCHS else None,
            )
            for index, epochs in begun.items()
        ]
        new = [index for index in order if index not in begun]
        chosen = new[0]
        if len(begun) >= FREEZE_THAW_STARTS:
            found = ranking(curves, [places[index] for index in new], epochs=EPOCHS, budget=total - len(curve))
            chosen = [*begun, *new][found[0]]
        begun[chosen] = begun.get(chosen, 0) + 1
        if begun[chosen] == EPOCHS:
            best = max(best, table[chosen]["value"])
        curve.append(best)
    return curve + [best] * (total - len(curve))


def methods(table: list[dict[str, Any]]) -> Iterator[tuple[str, Callable[[int], list[float]]]]:
    """Yield the name of each method with a function that replays it with a seed."""
    none, median = optuna.pruners.NopPruner(), optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=0)
    hyperband = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=2)

    def tpe(seed: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=10)

    def random(seed: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.RandomSampler(seed=seed)

    for name, make, pruner in (
        ("random", random, none),
        ("tpe", tpe, none),
        ("random with median pruning", random, median),
        ("tpe with median pruning", tpe, median),
        ("tpe with hyperband", tpe, hyperband),
    ):
        yield name, lambda seed, make=make, pruner=pruner: replay(table, make(seed), pruner)  # type: ignore[misc]
    yield "tpe with median pruning, from params.yaml", lambda seed: replay(table, tpe(seed), median, START)
    yield "freeze-thaw", lambda seed: replay_freeze_thaw(table, seed)
    yield "freeze-thaw, from params.yaml", lambda seed: replay_freeze_thaw(table, seed, START)


def compare(table: list[dict[str, Any]], repeats: int, *, only: str = "") -> dict[str, Any]:
    """Replay the methods whose names contain `only`."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    top = max(point["value"] for point in table)
    total = EPOCHS * len(table)
    quarter = total // 4
    result: dict[str, Any] = {"grid_epochs": total, "grid_best": top, "repeats": repeats, "methods": {}}
    for name, curve_of in methods(table):
        if only not in name:
            continue
        curves = [curve_of(seed) for seed in range(repeats)]
        reached = [next((at + 1 for at, best in enumerate(curve) if best >= top), total + 1) for curve in curves]
        near = [next((at + 1 for at, best in enumerate(curve) if best >= 0.99 * top), total + 1) for curve in curves]
        result["methods"][name] = {
            "epochs_to_the_grids_best": statistics.median(reached),
            "reached_in_a_quarter": sum(at <= quarter for at in reached) / repeats,
            "epochs_to_99_percent_of_it": statistics.median(near),
            "best_after_a_quarter": statistics.median(curve[quarter - 1] for curve in curves),
            "curve": {at: round(statistics.median(curve[at - 1] for curve in curves), 2) for at in range(8, total + 1, 8)},
        }
    return result


def overhead(folder: Path, trials: int) -> dict[str, Any]:
    """Measure the seconds of trials that train nothing, at both ends of a long study, and those of `dvc exp show`."""
    from yoyak.system.text_files import to_json

    plan = {
        "parameters": {"training.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}},
        "constraints": {"forbid": [{"training.learning_rate": {"above": 0}}]},
        "sampler": {"name": "tpe"},
        "budget": {"trials": trials},
    }
    (folder / "searches/overhead.yaml").write_text(to_json(plan), encoding="utf-8")
    seconds: dict[str, Any] = {}

    def ten(total: int, shown: int) -> None:
        command(folder, sys.executable, "-m", "yoyak", "search", "overhead", "--trials", str(total))
        trials = [trial for trial in study_of(folder, "overhead").trials if trial.duration][-9:]
        seconds[f"trial_at_{shown}"] = round(
            statistics.median(trial.duration.total_seconds() for trial in trials if trial.duration), 2
        )
        for times in ("cold", "warm"):
            began = time.perf_counter()
            command(folder, "dvc", "exp", "show", "--csv")
            seconds[f"dvc_exp_show_at_{shown}_{times}"] = round(time.perf_counter() - began, 1)

    ten(10, 10)
    study = study_of(folder, "overhead")
    last = study.trials[-1]
    refs = command(folder, "git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/overhead-t0009").split()
    for number in range(10, trials):
        rate = 1e-5 + number * 1e-7
        attrs = {**last.user_attrs, "changes": {"training.learning_rate": rate}, "experiments": [f"overhead-t{number:04d}"]}
        study.add_trial(
            optuna.trial.create_trial(
                state=last.state, params={"training.learning_rate": rate}, distributions=last.distributions, user_attrs=attrs
            )
        )
        parent = command(folder, "git", "rev-parse", f"{refs[0]}^").strip()
        made = command(folder, "git", "commit-tree", f"{refs[0]}^{{tree}}", "-p", parent, "-m", f"copy {number}").strip()
        command(folder, "git", "update-ref", refs[0].replace("t0009", f"t{number:04d}"), made)
    ten(trials + 10, trials)
    # Trials whose stages all come from the cache show the time that is left when nothing runs.
    plan = {"parameters": {"generation.num_beams": {"choices": [1, 2, 3]}}, "sampler": {"name": "grid"}}
    (folder / "searches/cached.yaml").write_text(to_json(plan), encoding="utf-8")
    for name in ("first", "again"):
        command(folder, sys.executable, "-m", "yoyak", "search", "cached", "--name", name)
    again = [trial.duration.total_seconds() for trial in study_of(folder, "again").trials if trial.duration]
    seconds["all_stages_cached"] = round(statistics.median(again[1:]), 2)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--dev", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--skip", choices=["methods", "overhead"])
    parser.add_argument("--replay", action="store_true", help="only replay the methods, on the table of the last run")
    parser.add_argument("--only", default="", help="with --replay: only the methods with this text in their names")
    parser.add_argument("--output", type=Path, default=ROOT / "bench/results/search.json")
    args = parser.parse_args()
    found: dict[str, Any] = json.loads(args.output.read_text(encoding="utf-8")) if args.output.is_file() else {}
    if args.replay:
        replayed = compare(found["table"], args.repeats, only=args.only)
        kept = found.get("compare", {}).get("methods", {}) if args.only else {}
        found["compare"] = replayed | {"methods": kept | replayed["methods"]}
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "repository"
            make_repository(folder, rows=args.rows, dev=args.dev)
            if args.skip != "methods":
                found["rows"], found["table"] = args.rows, grid(folder)
                found["compare"] = compare(found["table"], args.repeats)
            if args.skip != "overhead":
                found["overhead_seconds"] = overhead(folder, args.trials)
    args.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for name, method in found.get("compare", {}).get("methods", {}).items():
        print(name, {key: value for key, value in method.items() if key != "curve"})
    print(found.get("overhead_seconds"))


if __name__ == "__main__":
    main()
