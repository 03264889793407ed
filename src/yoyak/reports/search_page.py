"""One offline HTML page of a study: Optuna's figures, the best trials, what they share, and the command that takes one over."""

import html
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

from yoyak.search.study import STORAGE, apply_command, best_first, finished, interrupted, known_as, storage_url, ties, values_of
from yoyak.system.atomic import atomic_file
from yoyak.system.errors import YoyakError
from yoyak.training import study_storage

TOP = 10
SAME = 0.7  # share of the top trials that a choice must have to count as theirs (features.md, S11)
NEAR = 0.2  # coefficient of variation below which numbers count as the same
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body{{font:15px/1.5 system-ui,"Noto Sans KR",sans-serif;margin:2rem auto;max-width:1180px;padding:0 1rem;color:#1b1b1b}}
h1{{font-size:1.5rem}}h2{{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #ddd}}
table{{border-collapse:collapse;font-size:13px}}td,th{{padding:.25rem .6rem;border-bottom:1px solid #e5e5e5;text-align:left}}
.wide{{overflow-x:auto}}code{{background:#f3f3f3;padding:.1rem .3rem}}.none{{color:#777}}
</style></head><body>
{body}
</body></html>
"""


def studies() -> list[str]:
    """A line for each study in the storage."""
    storage = study_storage.open_study_storage(storage_url(None))
    names = sorted(summary.study_name for summary in optuna.get_all_study_summaries(storage))
    lines = [f"{name}: {counts(optuna.load_study(study_name=name, storage=storage))}" for name in names]
    return lines or ["no studies yet; python -m yoyak search NAME begins one"]


def counts(study: optuna.Study) -> str:
    """How many trials ended how. One that was interrupted and tried again counts where it ended."""
    trials = study.get_trials(deepcopy=False)
    states = Counter(trial.state.name.lower() for trial in trials if not interrupted(trial))
    told = ", ".join(f"{count} {'failed' if state == 'fail' else state}" for state, count in sorted(states.items()))
    again = sum(map(interrupted, trials))
    return (told or "no trials") + (f" ({again} times interrupted and tried again)" if again else "")


def shared(trials: Sequence[FrozenTrial]) -> dict[str, str]:
    """What the params of these trials have in common: a choice that more than 70 % of them made, or numbers that vary by less
    than a fifth of their mean."""
    found = {}
    for name in dict.fromkeys(name for trial in trials for name in trial.params):
        having = [trial for trial in trials if name in trial.params]
        values = [trial.params[name] for trial in having]
        if len(values) < 2:
            continue
        if isinstance(having[0].distributions[name], optuna.distributions.CategoricalDistribution):
            value, count = Counter(values).most_common(1)[0]
            if count / len(values) > SAME:
                found[name] = f"{value} ({count} of {len(values)})"
        elif (mean := statistics.mean(values)) and statistics.pstdev(values) / abs(mean) < NEAR:
            found[name] = f"about {mean:.4g} ({min(values):.4g} to {max(values):.4g})"
    return found


def _figures(study: optuna.Study, objectives: list[str]) -> dict[str, Callable[[], Any]]:
    """What draws each figure, by its title."""
    figures: dict[str, Callable[[], Any]] = {}
    if len(objectives) in (2, 3):
        figures["Pareto front"] = partial(visualization.plot_pareto_front, study, target_names=objectives)
    for at, name in enumerate(objectives):
        target: dict[str, Any] = {"target_name": name}
        if len(objectives) > 1:  # of one, Optuna knows the direction if it is given no target
            target["target"] = partial(lambda at, trial: trial.values[at], at)
        importance = partial(visualization.plot_param_importances, evaluator=PedAnovaImportanceEvaluator())
        figures[f"History of {name}"] = partial(visualization.plot_optimization_history, study, **target)
        figures[f"Importance of the params for {name}"] = partial(importance, study, **target)
        figures[f"Parallel coordinates, {name}"] = partial(visualization.plot_parallel_coordinate, study, **target)
        figures[f"Slices, {name}"] = partial(visualization.plot_slice, study, **target)
    if study.user_attrs["plan"]["pruner"]["name"] != "none":
        figures["On dev after each epoch"] = partial(visualization.plot_intermediate_values, study)
    figures["Timeline"] = partial(visualization.plot_timeline, study)
    return figures


def _drawn(figures: dict[str, Callable[[], Any]]) -> list[str]:
    """Sections of HTML; the first figure carries plotly's script for all."""
    parts, first = [], True
    for title, draw in figures.items():
        parts.append(f"<h2>{html.escape(title)}</h2>")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                figure = draw()
            if not figure.data:
                raise ValueError("there is nothing to draw yet")
            parts.append(figure.to_html(full_html=False, include_plotlyjs=first, default_height="520px"))
            first = False
        except (ValueError, RuntimeError) as error:  # too few trials, or all of one value
            parts.append(f"<p class=none>Not drawn: {html.escape(str(error))}</p>")
    return parts


def _table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<div class=wide><table>{line(header, 'th')}{''.join(line(row, 'td') for row in rows)}</table></div>"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _best(study: optuna.Study, trials: Sequence[FrozenTrial], objectives: list[str]) -> str:
    tied = {trial.number for trial in ties(study, objectives[0])} if len(objectives) == 1 else set()
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    rows = [
        [
            known_as(trial),
            values_of(trial, objectives) + (" (within the noise of the best)" if trial.number in tied else ""),
            apply_command(trial),
            *(_short(trial.params.get(name, "")) for name in names),
            f"{trial.duration.total_seconds():.0f} s" if trial.duration else "",
        ]
        for trial in trials
    ]
    return _table(rows, ["trial", "value", "take it over", *names, "took"])


def write(name: str, path: Path) -> list[str]:
    """Write the page of a study, and return what to tell.

    Raises:
        YoyakError: for an unknown study (all are listed).
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.load_study(study_name=name, storage=study_storage.open_study_storage(storage_url(None)))
    except KeyError:
        where = sqlalchemy.engine.make_url(storage_url(None)).render_as_string(hide_password=True)
        elsewhere = f"one whose file names its storage is found if {STORAGE} says that too"
        raise YoyakError("\n  ".join([f"no study {name} in {where} ({elsewhere}); there are:", *studies()])) from None
    if "plan" not in study.user_attrs:
        raise YoyakError(f"study {name} is not one of yoyak's")
    plan = study.user_attrs["plan"]
    objectives: list[str] = plan["objectives"]
    several = len(objectives) > 1
    parts = [f"<h1>Study {html.escape(name)}</h1>", f"<p>{html.escape(plan['about'] or '')}</p>"]
    parts.append(f"<p>{html.escape(counts(study))}; objectives: {', '.join(objectives)}.</p>")
    told = [f"{name}: {counts(study)}"]
    if finished(study):
        best = best_first(study, objectives) if several else best_first(study, objectives)[:TOP]
        told += [f"take it over: {apply_command(trial)}" for trial in (best if several else best[:1])]
        parts.append(f"<h2>{'No other trial is better in everything' if several else 'Best trials'}</h2>")
        parts.append(_best(study, best, objectives))
        parts.append(
            f"<p>One becomes params.yaml by its command, like <code>{html.escape(apply_command(best[0]))}</code>; then "
        )
        parts.append("<code>dvc repro</code> has nothing to do.</p>")
        parts.append(f"<h2>What these {len(best)} share</h2>")
        common = shared(best)
        parts.append(_table([*common.items()], ["param", "value"]) if common else "<p class=none>Nothing.</p>")
    parts += _drawn(_figures(study, objectives))
    ended = [
        [known_as(trial), how, trial.user_attrs[how]]
        for trial in study.get_trials(deepcopy=False)
        for how in ("pruned", "failed")
        if how in trial.user_attrs and trial.state in (TrialState.PRUNED, TrialState.FAIL) and not interrupted(trial)
    ]
    if ended:
        parts.append(f"<h2>Pruned and failed</h2>{_table(ended, ['trial', 'how', 'why'])}")
    with atomic_file(path) as file:
        file.write(PAGE.format(title=html.escape(name), body="\n".join(parts)))
    return [*told, f"{path}: open it in a browser"]
