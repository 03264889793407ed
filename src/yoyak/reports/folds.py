"""k-fold cross-validation: one experiment for each fold, and what they say together."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t  # type: ignore[import-untyped]

from yoyak.config.params import load_params
from yoyak.evaluation.bootstrap import MIN_ROWS, interval, resampled_means
from yoyak.reports.runs import DEV_PREDICTIONS, Run
from yoyak.search.plan import Budget, Parameter, Sampler, SearchPlan
from yoyak.search.run import run_plan
from yoyak.search.trials import EXPERIMENTS, finished_trials
from yoyak.system.atomic import atomic_folder
from yoyak.system.csv_files import write_csv
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import write_json

METRICS = ("rouge1", "rouge2", "rougeL", "rouge_sum", "content_sum")


@dataclass(frozen=True)
class Fold:
    """The experiment in which one fold of train.csv is dev.

    Attributes:
        number: of the fold, from 1.
        experiment: name of the DVC experiment.
        fnames: of the dialogues of the fold.
        scores: (rows,) of each metric.
        predictions: the summary of each dialogue by fname.
    """

    number: int
    experiment: str
    fnames: list[str]
    scores: Mapping[str, NDArray[np.float64]]
    predictions: Mapping[str, str]

    @classmethod
    def read(cls, root: Path, number: int, experiment: str) -> "Fold":
        run = Run.find(root, experiment)
        fnames, scores = run.row_scores
        predictions = {row["fname"]: row["summary"] for row in run.read_table(DEV_PREDICTIONS)}
        return cls(number, experiment, fnames, scores, predictions)


def folds_plan(count: int, changes: Mapping[str, Any], *, jobs: int) -> SearchPlan:
    """A grid of one trial for each fold.

    Args:
        count: number of folds.
        changes: further values for params, by dotted name.
        jobs: experiments that run at the same time.
    """
    return SearchPlan(
        set={**changes, "data.folds": count},
        parameters={"data.fold": Parameter(choices=list(range(1, count + 1)))},
        sampler=Sampler(name="grid"),
        budget=Budget(),
        jobs=jobs,
    )


def study_name(count: int, changes: Mapping[str, Any]) -> str:
    """A name that other params change, so that the same command continues the same work and no other."""
    params = load_params(Path("params.yaml")).model_dump(mode="json")
    text = json.dumps([params, sorted(changes.items())], sort_keys=True, ensure_ascii=False)
    return f"folds{count}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def run_folds(count: int, changes: Mapping[str, Any], *, name: str | None, jobs: int, root: Path) -> tuple[str, list[Fold]]:
    """Run the experiments of all folds that have not run yet.

    Args:
        count: number of folds.
        changes: further values for params, by dotted name.
        name: of the study; None for one that follows from the params.
        jobs: experiments that run at the same time.
        root: folder of the repository.

    Returns:
        The name of the study and the folds in their order.

    Raises:
        YoyakError: if an experiment failed. The message names the folds; the same command tries them again under another name.
    """
    name = name or study_name(count, changes)
    opened = run_plan(folds_plan(count, changes, jobs=jobs), name=name, root=root, source=f"yoyak folds {count}")
    experiments = {trial.params["data.fold"]: trial.user_attrs[EXPERIMENTS][0] for trial in finished_trials(opened.study)}
    if missing := [str(number) for number in range(1, count + 1) if number not in experiments]:
        raise YoyakError(
            f"study {name}: no result for fold {', '.join(missing)}; the lines above say why. When the cause is repaired, run "
            "the command again with another --name"
        )
    return name, [Fold.read(root, number, experiments[number]) for number in range(1, count + 1)]


def fold_interval(means: Sequence[float]) -> tuple[float, float]:
    """The 95 % t interval of the mean over folds, with K - 1 degrees of freedom.

    Folds share train rows, so that their means are not independent and the interval is too narrow (Bengio and Grandvalet 2004,
    "No Unbiased Estimator of the Variance of K-Fold Cross-Validation").
    """
    center, error = float(np.mean(means)), float(np.std(means, ddof=1)) / len(means) ** 0.5
    margin = float(t.ppf(0.975, len(means) - 1)) * error
    return center - margin, center + margin


def summarize_folds(folds: Sequence[Fold], *, samples: int, seed: int) -> dict[str, Any]:
    """The content of folds.json: for each metric the mean of each fold, and over folds and over all dialogues."""
    pooled = np.column_stack([np.concatenate([fold.scores[metric] for fold in folds]) for metric in METRICS])
    resampled = resampled_means(pooled, samples=samples, seed=seed)
    metrics = {}
    for column, metric in enumerate(METRICS):
        means = [float(fold.scores[metric].mean()) for fold in folds]
        metrics[metric] = {
            "folds": [round(mean, 4) for mean in means],
            "mean": round(float(np.mean(means)), 4),
            "standard_deviation": round(float(np.std(means, ddof=1)), 4),
            "interval_over_folds": [round(end, 4) for end in fold_interval(means)],
            "mean_over_dialogues": round(float(pooled[:, column].mean()), 4),
            "interval_over_dialogues": interval(resampled[:, column]) if len(pooled) >= MIN_ROWS else None,
        }
    experiments = [{"fold": fold.number, "experiment": fold.experiment, "dialogues": len(fold.fnames)} for fold in folds]
    return {"folds": experiments, "metrics": metrics}


def folds_table(summary: Mapping[str, Any]) -> list[str]:
    """The lines that `yoyak folds` prints."""
    experiments, metrics = summary["folds"], summary["metrics"]
    rows = sum(entry["dialogues"] for entry in experiments)
    lines = [
        f"{len(experiments)} folds, {rows:,} dialogues. Intervals: 95 %, over folds (t) and over dialogues (bootstrap).",
        "",
        f"{'metric':12}{'mean':>8}{'sd':>7}  {'over folds':>18}  {'over dialogues':>18}",
    ]
    for metric, values in metrics.items():
        ends = [values["interval_over_folds"], values["interval_over_dialogues"]]
        texts = ["too few rows" if pair is None else f"{pair[0]:.2f} to {pair[1]:.2f}" for pair in ends]
        lines.append(f"{metric:12}{values['mean']:8.2f}{values['standard_deviation']:7.2f}  {texts[0]:>18}  {texts[1]:>18}")
    lines += ["", f"{'fold':>4}{'dialogues':>11}{'rouge_sum':>11}{'content_sum':>13}  experiment"]
    for index, entry in enumerate(experiments):
        scores = [metrics[metric]["folds"][index] for metric in ("rouge_sum", "content_sum")]
        lines.append(f"{entry['fold']:4}{entry['dialogues']:11,}{scores[0]:11.2f}{scores[1]:13.2f}  {entry['experiment']}")
    return lines


def write_folds(folds: Sequence[Fold], summary: Mapping[str, Any], folder: Path) -> None:
    """Write folds.json and predictions.csv: for each train dialogue the summary of the model that did not train on it."""
    with atomic_folder(folder) as new:
        write_json(new / "folds.json", dict(summary))
        rows = [
            {"fname": fname, "summary": fold.predictions[fname], "fold": str(fold.number)}
            for fold in folds
            for fname in fold.fnames
        ]
        write_csv(new / "predictions.csv", rows, columns=("fname", "summary", "fold"))
