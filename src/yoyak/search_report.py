"""One offline HTML page of a study: Optuna's figures, the best trials and what they share, and the command that takes one over."""

import html
import statistics
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from yoyak import pruning
from yoyak.errors import YoyakError
from yoyak.files import whole_file
from yoyak.search import apply_command, finished, interrupted, known_as, ranked, storage_url, ties, values_of

TOP = 10
SAME = 0.7  # share of the top trials that a choice must have to count as theirs (features.md, S11)
NEAR = 0.2  # coefficient of variation below which numbers count as the same
STYLE = """
body{font:15px/1.5 system-ui,"Noto Sans KR",sans-serif;margin:2rem auto;max-width:1180px;padding:0 1rem;color:#1b1b1b}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid #ddd}
table{border-collapse:collapse;font-size:13px}td,th{padding:.25rem .6rem;border-bottom:1px solid #e5e5e5;text-align:left}
.wide{overflow-x:auto}code{background:#f3f3f3;padding:.1rem .3rem}.none{color:#777}
"""


def studies() -> list[str]:
    """A line for each study in the storage."""
    url = storage_url(None)
    summaries = optuna.get_all_study_summaries(pruning.connect(url))
    lines = []
    for summary in sorted(summaries, key=lambda item: item.study_name):
        study = optuna.load_study(study_name=summary.study_name, storage=pruning.connect(url))
        lines.append(f"{summary.study_name}: {counts(study)}")
    return lines or ["no studies yet; python -m yoyak search NAME begins one"]


def counts(study: optuna.Study) -> str:
    """How many trials ended how. One that was interrupted and tried again counts where it ended."""
    trials = study.get_trials(deepcopy=False)
    states = Counter(trial.state.name.lower() for trial in trials if not interrupted(trial))
    again = sum(map(interrupted, trials))
    told = ", ".join(f"{count} {'failed' if state == 'fail' else state}" for state, count in sorted(states.items()))
    return (told or "no trials") + (f" ({again} interrupted and tried again)" if again else "")


def shared(trials: Sequence[FrozenTrial]) -> dict[str, str]:
    """What the params of these trials have in common: a choice that more than 70 % of them made, or numbers that vary by less
    than a fifth of their mean."""
    found = {}
    for name in dict.fromkeys(name for trial in trials for name in trial.params):
        values = [trial.params[name] for trial in trials if name in trial.params]
        if len(values) < 2:
            continue
        distribution = next(trial.distributions[name] for trial in trials if name in trial.distributions)
        if isinstance(distribution, optuna.distributions.CategoricalDistribution):
            value, count = Counter(values).most_common(1)[0]
            if count / len(values) > SAME:
                found[name] = f"{value} ({count} of {len(values)})"
        elif mean := statistics.mean(values):
            if statistics.pstdev(values) / abs(mean) < NEAR:
                found[name] = f"about {mean:.4g} ({min(values):.4g} to {max(values):.4g})"
    return found


def _figures(study: optuna.Study, objectives: list[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Titles, and what draws each."""
    show = optuna.visualization
    if len(objectives) in (2, 3):
        yield "Pareto front", lambda: show.plot_pareto_front(study, target_names=objectives)
    for at, name in enumerate(objectives):
        # With one objective Optuna wants no target, to know the direction.
        target: dict[str, Any] = {"target_name": name}
        if len(objectives) > 1:
            target["target"] = lambda trial, at=at: trial.values[at]
        yield f"History of {name}", lambda target=target: show.plot_optimization_history(study, **target)
        yield (
            f"Importance of the params for {name}",
            lambda target=target: show.plot_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), **target),
        )
        yield f"Parallel coordinates, {name}", lambda target=target: show.plot_parallel_coordinate(study, **target)
        yield f"Slices, {name}", lambda target=target: show.plot_slice(study, **target)
    if study.user_attrs["plan"]["pruner"]["name"] != "none":
        yield "Intermediate values (dev after each epoch)", lambda: show.plot_intermediate_values(study)
    yield "Timeline", lambda: show.plot_timeline(study)


def _table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<div class=wide><table>{line(header, 'th')}{''.join(line(row, 'td') for row in rows)}</table></div>"


def _best(study: optuna.Study, objectives: list[str]) -> tuple[str, list[FrozenTrial]]:
    """The table of the best trials, and those trials."""
    if len(objectives) > 1:
        best = sorted((trial for trial in study.best_trials if "same_as" not in trial.user_attrs), key=lambda trial: trial.number)
        tied: set[int] = set()
    else:
        best = ranked(study)[:TOP]
        tied = {trial.number for trial in ties(study, objectives[0])} if best else set()
    names = list(dict.fromkeys(name for trial in best for name in trial.params))
    rows = [
        [
            known_as(trial),
            values_of(trial, objectives) + (" (within the noise of the best)" if trial.number in tied else ""),
            apply_command(trial),
            *(str(trial.params.get(name, "")) if not isinstance(trial.params.get(name), float) else f"{trial.params[name]:.4g}" for name in names),
            f"{trial.duration.total_seconds():.0f} s" if trial.duration else "",
        ]
        for trial in best
    ]
    return _table(rows, ["trial", "value", "take it over", *names, "took"]), best


def write(name: str, path: Path) -> list[str]:
    """Write the page of a study, and return what to tell.

    Raises:
        YoyakError: for an unknown study (all are listed).
    """
    try:
        study = optuna.load_study(study_name=name, storage=pruning.connect(storage_url(None)))
    except KeyError:
        raise YoyakError("\n  ".join([f"no study {name}; there are:", *studies()])) from None
    if "plan" not in study.user_attrs:
        raise YoyakError(f"study {name} is not one of yoyak's")
    objectives: list[str] = study.user_attrs["plan"]["objectives"]
    done = finished(study)
    parts = [f"<h1>Study {html.escape(name)}</h1><p>{html.escape(counts(study))}; objectives: {', '.join(objectives)}.</p>"]
    if about := study.user_attrs["plan"].get("about"):
        parts.append(f"<p>{html.escape(about)}</p>")
    commands = []
    if done:
        table, best = _best(study, objectives)
        commands = [apply_command(trial) for trial in best[:1]] if len(objectives) == 1 else [apply_command(t) for t in best]
        if len(objectives) == 1:
            parts.append(f"<p>The best becomes params.yaml by <code>{html.escape(commands[0])}</code>; then <code>dvc repro</code> has nothing to do.</p>")
        parts.append(f"<h2>{'Best trials' if len(objectives) == 1 else 'No other trial is better in everything'}</h2>{table}")
        common = shared(best)
        parts.append(f"<h2>What these {len(best)} share</h2>")
        parts.append(_table([*common.items()], ["param", "value"]) if common else "<p class=none>Nothing.</p>")
    first = True
    for title, draw in _figures(study, objectives):
        parts.append(f"<h2>{html.escape(title)}</h2>")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                figure = draw()
            if not figure.data:
                raise ValueError("nothing to draw yet")
            parts.append(figure.to_html(full_html=False, include_plotlyjs=first, default_height="520px"))
            first = False
        except (ValueError, RuntimeError) as error:  # too few trials, or all of one value
            parts.append(f"<p class=none>Not drawn: {html.escape(str(error))}</p>")
    others = [
        [known_as(trial), "failed" if trial.state == TrialState.FAIL else "pruned", str(trial.user_attrs.get("failed") or trial.user_attrs.get("pruned"))]
        for trial in study.get_trials(deepcopy=False)
        if trial.state in (TrialState.FAIL, TrialState.PRUNED) and not interrupted(trial)
    ]
    if others:
        parts.append(f"<h2>Pruned and failed</h2>{_table(others, ['trial', 'how', 'why'])}")
    with whole_file(path) as file:
        file.write(f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(name)}</title><style>{STYLE}</style></head><body>')
        file.write("\n".join(parts) + "</body></html>\n")
    return [f"{name}: {counts(study)}", *(f"take it over: {command}" for command in commands), f"{path}: open it in a browser"]
