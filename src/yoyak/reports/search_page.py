"""The report of a study: one HTML page that needs no network, with Optuna's figures, the best trials and their params."""

import html
import re
import statistics
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna import visualization
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from yoyak.search.progress import short_value
from yoyak.search.results import apply_command, format_values, rank_trials, tied_trials
from yoyak.search.storage import ADDRESS_VARIABLE, find_study, storage_url
from yoyak.search.trials import FAILED, PAUSED, PLAN, PRUNED, SCORES, finished_trials, is_paused, trial_label, was_interrupted
from yoyak.system.atomic import atomic_file
from yoyak.system.debug_note import DEBUG_WARNING
from yoyak.system.errors import YoyakError
from yoyak.training.study_storage import open_study_storage

MAX_BEST = 10  # trials in the table of the best ones
NO_STUDIES = "there are no studies yet; `yoyak search NAME` begins one"
MIN_IMPORTANCE_TRIALS = 20  # PED-ANOVA compares the best tenth of the trials with all
COMMON_CHOICE = 0.7  # The best trials have a choice in common if more than this share of them has it.
COMMON_VARIATION = 0.2  # They have a number in common if its coefficient of variation is below this value.

# Wide content (tables, figures) scrolls inside its own box, so that the page fits a narrow screen.
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>
body{{font:15px/1.5 system-ui,"Noto Sans KR",sans-serif;margin:2rem auto;max-width:1180px;padding:0 1rem;color:#1b1b1b;
overflow-wrap:anywhere}}
h1{{font-size:1.5rem}}h2{{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #ddd}}
table{{border-collapse:collapse;font-size:13px;overflow-wrap:normal}}
td,th{{padding:.25rem .6rem;border-bottom:1px solid #e5e5e5;text-align:left;vertical-align:top}}
td{{max-width:22rem;overflow-wrap:anywhere;min-width:4.5rem}}
.scrollable{{overflow-x:auto}}code{{background:#f3f3f3;padding:.1rem .3rem}}.empty{{color:#777}}
</style></head><body>
{body}
</body></html>
"""


def list_studies() -> list[str]:
    """One line per study in the database: its name and how many trials it has in each state."""
    storage = open_study_storage(storage_url(None))
    names = sorted(summary.study_name for summary in optuna.get_all_study_summaries(storage))
    lines = [f"{name}: {count_states(optuna.load_study(study_name=name, storage=storage))}" for name in names]
    return lines or [NO_STUDIES]


def count_states(study: optuna.Study) -> str:
    """How many trials are in each state. An interrupted trial counts once, in the state of its last attempt."""
    trials = study.get_trials(deepcopy=False)
    states = Counter(
        "paused" if is_paused(trial) else trial.state.name.lower() for trial in trials if not was_interrupted(trial)
    )
    parts = [f"{count} {'failed' if state == 'fail' else state}" for state, count in sorted(states.items())]
    interruptions = sum(map(was_interrupted, trials))
    return (", ".join(parts) or "no trials") + (f" ({interruptions} attempts were interrupted)" if interruptions else "")


def common_params(trials: Sequence[FrozenTrial]) -> dict[str, str]:
    """The params that the trials have in common, with a text about the value.

    These are choices that more than 70 % of the trials made, and numbers whose standard deviation is below 20 % of their
    mean. A param that only one trial has is left out.
    """
    common = {}
    for name in dict.fromkeys(name for trial in trials for name in trial.params):
        with_param = [trial for trial in trials if name in trial.params]
        values = [trial.params[name] for trial in with_param]
        if len(values) < 2:
            continue
        if isinstance(with_param[0].distributions[name], optuna.distributions.CategoricalDistribution):
            value, count = Counter(values).most_common(1)[0]
            if count / len(values) > COMMON_CHOICE:
                common[name] = f"{value} ({count} of {len(values)} trials)"
        elif (mean := statistics.mean(values)) and statistics.pstdev(values) / abs(mean) < COMMON_VARIATION:
            common[name] = f"about {mean:.4g} ({min(values):.4g} to {max(values):.4g})"
    return common


def write_study_page(name: str, path: Path) -> list[str]:
    """Write the report of a study.

    Args:
        name: The name of the study.
        path: The HTML file.

    Returns:
        Lines to print: the result, and where the page is.

    Raises:
        YoyakError: if there is no such study (the message lists all studies), or if yoyak did not begin it.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = _load_study(name)
    plan = study.user_attrs[PLAN]
    objectives: list[str] = plan["objectives"]
    best = rank_trials(study, objectives) if finished_trials(study) else []
    if len(objectives) == 1:
        best = best[:MAX_BEST]
    sections = [
        f"<h1>Study {html.escape(name)}</h1>",
        f"<p>{html.escape(plan['about'] or '')}</p>",
        f"<p>{html.escape(count_states(study))}; objectives: {', '.join(objectives)}.</p>",
        *_debug_warning(study),
        *(_best_trials(study, best, objectives) if best else []),
        *_draw(_figures(study, objectives)),
        *_trials_without_result(study),
    ]
    with atomic_file(path) as file:
        file.write(PAGE.format(title=html.escape(name), body="\n".join(sections)))
    applied = best if len(objectives) > 1 else best[:1]
    what = "apply one of the Pareto front" if len(objectives) > 1 else "apply the best trial"
    lines = [f"{name}: {count_states(study)}", *(f"{what}: {apply_command(trial)}" for trial in applied)]
    return [*lines, f"wrote {path}; open it in a browser"]


def _debug_warning(study: optuna.Study) -> list[str]:
    """A warning if a trial was a debug run."""
    debug = [trial for trial in study.trials if any(scores.get("debug_run") for scores in trial.user_attrs.get(SCORES, []))]
    return [f"<p><strong>WARNING: {html.escape(DEBUG_WARNING)} ({len(debug)} trials).</strong></p>"] if debug else []


def _load_study(name: str) -> optuna.Study:
    url = storage_url(None)
    study = find_study(name, url)
    if study is None:
        address = sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)
        studies = list_studies()
        heading = "" if studies == [NO_STUDIES] else "; studies there:"
        lines = [f"no study {name} in {address}{heading}", *studies]
        lines.append(f"If the search file sets `storage`, set the environment variable {ADDRESS_VARIABLE} to the same address.")
        raise YoyakError("\n  ".join(lines))
    if PLAN not in study.user_attrs:
        raise YoyakError(f"study {name}: yoyak did not begin this study, so it cannot write a report of it")
    return study


def _best_trials(study: optuna.Study, best: Sequence[FrozenTrial], objectives: list[str]) -> list[str]:
    is_pareto_front = len(objectives) > 1
    common = common_params(best)
    return [
        f"<h2>{'Pareto front: no other trial is better in all objectives' if is_pareto_front else 'Best trials'}</h2>",
        _best_table(study, best, objectives),
        f"<p>To use the params and the model of a trial, run its command, for example "
        f"<code>{html.escape(apply_command(best[0]))}</code>. After that, <code>dvc repro</code> has nothing to do.</p>",
        f"<h2>Params that these {len(best)} trials have in common</h2>",
        _table([*common.items()], ["param", "value"]) if common else "<p class=empty>None.</p>",
    ]


def _best_table(study: optuna.Study, trials: Sequence[FrozenTrial], objectives: list[str]) -> str:
    tied = {trial.number for trial in tied_trials(study, objectives[0])} if len(objectives) == 1 else set()
    param_names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    rows = [
        [
            trial_label(trial),
            format_values(trial, objectives) + (" (tied with the best)" if trial.number in tied else ""),
            apply_command(trial),
            *(short_value(trial.params.get(name, "")) for name in param_names),
            f"{trial.duration.total_seconds():.0f} s" if trial.duration else "",
        ]
        for trial in trials
    ]
    return _table(rows, ["trial", "value", "command", *param_names, "duration"])


def _trials_without_result(study: optuna.Study) -> list[str]:
    rows = [
        [trial_label(trial), reason, trial.user_attrs[reason]]
        for trial in study.get_trials(deepcopy=False)
        for reason in (PRUNED, FAILED)
        if reason in trial.user_attrs and trial.state in (TrialState.PRUNED, TrialState.FAIL) and not was_interrupted(trial)
    ]
    for trial in filter(is_paused, study.get_trials(deepcopy=False)):
        rows.append([trial_label(trial), PAUSED, f"after epoch {trial.user_attrs[PAUSED]}; the search can let it go on"])
    return [f"<h2>Pruned, failed and paused trials</h2>{_table(rows, ['trial', 'state', 'reason'])}"] if rows else []


def _figures(study: optuna.Study, objectives: list[str]) -> dict[str, Callable[[], Any]]:
    """A function that draws the figure, for each title."""
    figures: dict[str, Callable[[], Any]] = {}
    if len(objectives) in (2, 3):
        figures["Pareto front"] = partial(visualization.plot_pareto_front, study, target_names=objectives)
    for index, name in enumerate(objectives):
        target: dict[str, Any] = {"target_name": name}
        if len(objectives) > 1:  # With one objective and no target function, Optuna knows the direction.
            target["target"] = partial(lambda index, trial: trial.values[index], index)
        figures[f"History of {name}"] = partial(visualization.plot_optimization_history, study, **target)
        figures[f"Importance of params for {name}"] = partial(_importance, study, **target)
        figures[f"Parallel coordinates of {name}"] = partial(visualization.plot_parallel_coordinate, study, **target)
        figures[f"Slices of {name}"] = partial(visualization.plot_slice, study, **target)
    plan = study.user_attrs[PLAN]
    if plan["pruner"]["name"] != "none" or plan["sampler"]["name"] == "freeze_thaw":
        figures["Dev metric after each epoch"] = partial(visualization.plot_intermediate_values, study)
    figures["Timeline"] = partial(visualization.plot_timeline, study)
    return figures


def _importance(study: optuna.Study, **target: Any) -> Any:
    """The figure of the importance of params.

    Raises:
        ValueError: if there are fewer than MIN_IMPORTANCE_TRIALS.
    """
    count = len(finished_trials(study))
    if count < MIN_IMPORTANCE_TRIALS:
        raise ValueError(
            f"{count} finished trials; the importance needs {MIN_IMPORTANCE_TRIALS}: it compares the best tenth with all "
            "trials, and a tenth of fewer is a single trial"
        )
    return visualization.plot_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), **target)


def _draw(figures: dict[str, Callable[[], Any]]) -> list[str]:
    """The figures as HTML. Only the first one contains plotly's script; the others use it too."""
    parts, is_first = [], True
    for title, draw in figures.items():
        parts.append(f"<h2>{html.escape(title)}</h2>")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                figure = draw()
            if not figure.data:
                raise ValueError("there is no data yet")
            drawn = figure.to_html(full_html=False, include_plotlyjs=is_first, default_height="520px")
            parts.append(f"<div class=scrollable>{drawn}</div>")
            is_first = False
        except (ValueError, RuntimeError) as error:  # Optuna raises these if there are too few trials or only one value.
            parts.append(f"<p class=empty>Not drawn: {html.escape(str(error))}</p>")
    return parts


def _table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    def row_html(cells: Sequence[str], tag: str) -> str:
        return (
            "<tr>"
            + "".join(f"<{tag}>{_breakable(cell) if tag == 'th' else html.escape(cell)}</{tag}>" for cell in cells)
            + "</tr>"
        )

    return f"<div class=scrollable><table>{row_html(header, 'th')}{''.join(row_html(row, 'td') for row in rows)}</table></div>"


def _breakable(name: str) -> str:
    """A name that a narrow column may break behind dots and underscores."""
    return re.sub(r"([._])", r"\1<wbr>", html.escape(name))
