"""The sections of a run about how it was made: curves, params, data, decoding, environment."""

from collections.abc import Mapping, Sequence
from typing import Any

from yoyak.reports.page.frame import Language, Section
from yoyak.reports.page.markup import escape, table
from yoyak.reports.run_page.charts import Line, line_chart
from yoyak.reports.run_page.files import Points, RunFacts
from yoyak.reports.run_page.texts import text

SPLITS = ("train", "dev", "test")
FIGURES = (  # key of the title, curves, whether the step is an epoch
    ("curve_train_loss", ("train/loss",), False),
    ("curve_dev_loss", ("dev/loss",), True),
    ("curve_dev_rouge", ("dev/rouge1", "dev/rouge2", "dev/rougeL"), True),
    ("curve_learning_rate", ("train/learning_rate",), False),
    ("curve_grad_norm", ("train/grad_norm",), False),
)
COUNTS = ("rows", "distinct", "empty", "hit_limit", "broken", "copied", "with_foreign", "mean_characters")
MAX_VALUE = 300  # characters of a value in a table


def curves_section(facts: RunFacts, language: Language) -> Section:
    """The curves of the training as charts, with their numbers."""
    title = text("curves", language, "sections")
    if not facts.curves:
        key = "not_trained" if facts.family == "endpoint" else "no_curves"
        return Section("curves", title, f"<p>{escape(text(key, language))}</p>")
    charts = []
    for key, names, _ in FIGURES:
        lines = [Line(name.partition("/")[2], facts.curves[name]) for name in names if name in facts.curves]
        if lines:
            charts.append(line_chart(text(key, language), lines))
    tables = "".join(_curve_table(facts.curves, names, epoch, language) for _, names, epoch in FIGURES)
    summary = escape(text("numbers", language))
    html = f'<div class="charts">{"".join(charts)}</div><details class="more"><summary>{summary}</summary>{tables}</details>'
    return Section("curves", title, html)


def _curve_table(curves: Mapping[str, Points], names: Sequence[str], epoch: bool, language: Language) -> str:
    found = [name for name in names if name in curves]
    if not found:
        return ""
    values = [dict(curves[name]) for name in found]
    steps = sorted({step for each in values for step in each})
    rows = [[f"{step:g}", *(f"{each[step]:.6g}" if step in each else "–" for each in values)] for step in steps]
    heads = [text("epoch" if epoch else "step", language), *found]
    return table([escape(head) for head in heads], rows, label=", ".join(found)) + "<br>"


def params_section(facts: RunFacts, language: Language) -> Section:
    """The params that differ from those below, and all of them."""
    title = text("params", language, "sections")
    if not facts.params:
        return Section("params", title, f"<p>{escape(text('no_params', language))}</p>")
    if facts.base_params is None:
        about, html = text("params_no_base", language), ""
    else:
        names = dict.fromkeys([*facts.params, *facts.base_params])
        rows = [
            [f"<code>{escape(name)}</code>", shown_value(facts.base_params.get(name)), shown_value(facts.params.get(name))]
            for name in names
            if facts.params.get(name) != facts.base_params.get(name)
        ]
        about = text("params_about" if rows else "params_equal", language, base=facts.base)
        heads = [text("param", language), facts.base, text("here", language)]
        html = table([escape(head) for head in heads], rows, label=title, class_name="wide text params") if rows else ""
    every = [[f"<code>{escape(name)}</code>", shown_value(value)] for name, value in facts.params.items()]
    heads = [escape(text(key, language)) for key in ("param", "value")]
    summary = escape(text("all_params", language, count=len(every)))
    html += (
        f'<details class="more"><summary>{summary}</summary>'
        f"{table(heads, every, label=text('all_params', language, count=len(every)), class_name='tall text params')}</details>"
    )
    return Section("params", title, html, about)


def shown_value(value: Any) -> str:
    """The value of a param as HTML."""
    if value is None:
        return "–"
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<code>{escape(shown if len(shown) <= MAX_VALUE else shown[:MAX_VALUE] + '…')}</code>"


def data_section(facts: RunFacts, language: Language) -> Section:
    """What the stages before the training counted, for each split."""
    title = text("data", language, "sections")
    preprocess, tokenize = facts.reports.get("preprocess", {}), facts.reports.get("tokenize", {})
    rows = _preprocess_rows(preprocess, language) + _tokenize_rows(tokenize, language)
    added = facts.reports.get("augment", {}).get("added")
    if added is not None:
        rows.append([escape(text("added", language)), f"{added:,}", "–", "–"])
    if not rows:
        return Section("data", title, f"<p>{escape(text('no_data', language))}</p>")
    html = table([escape(text("fact", language)), *SPLITS], rows, label=title, class_name="wide")
    return Section("data", title, html + _repairs(preprocess, language), text("data_about", language))


def _preprocess_rows(report: Mapping[str, Any], language: Language) -> list[list[str]]:
    if not report:
        return []
    keys = ("rows_in", "rows_out", "changed", "rejected", "repeated_dialogues", "near_duplicates", "lines_without_speaker")
    return [[escape(text(key, language)), *(_count((report.get(split) or {}).get(key)) for split in SPLITS)] for key in keys]


def _count(value: Any) -> str:
    if isinstance(value, dict):
        value = sum(value.values())
    return f"{value:,}" if isinstance(value, int) else "–" if value is None else escape(value)


def _tokenize_rows(report: Mapping[str, Any], language: Language) -> list[list[str]]:
    rows = []
    for kind in ("dialogue", "prompt", "summary"):
        each = [(report.get(split) or {}).get(kind) for split in SPLITS]
        if any(each):
            shown = text(f"kind_{kind}", language)
            lengths = [
                f"{one['tokens_mean']:,.0f} / {one['tokens_p95']:,} / {one['tokens_max']:,}" if one else "–" for one in each
            ]
            cut = [f"{one['truncated']:,} ({one['truncated_share']:.1%})" if one else "–" for one in each]
            rows.append([escape(text("tokens_of", language, kind=shown)), *lengths])
            rows.append([escape(text("truncated_of", language, kind=shown)), *cut])
    return rows


def _repairs(report: Mapping[str, Any], language: Language) -> str:
    rows = []
    for group in ("changed", "rejected"):
        parts = [(report.get(split) or {}).get(group) or {} for split in SPLITS]
        for kind in sorted({kind for part in parts for kind in part}):
            rows.append(
                [f"{escape(text(group, language))}: <code>{escape(kind)}</code>", *(f"{part.get(kind, 0):,}" for part in parts)]
            )
    if not rows:
        return ""
    title = text("kinds_of_repairs", language)
    shown = table([escape(text("fact", language)), *SPLITS], rows, label=title)
    return f'<details class="more"><summary>{escape(title)}</summary>{shown}</details>'


def decoding_section(facts: RunFacts, language: Language) -> Section:
    """metrics/predict.json: backend, settings and counts."""
    title, report = text("decoding", language, "sections"), facts.reports.get("predict", {})
    if not report or "pruned" in report:
        return Section("decoding", title, f"<p>{escape(text('no_decoding', language))}</p>")
    used = bool((report.get("postprocess") or {}).get("used"))
    settings = str(report.get("decoding", "–")).replace(",", ", ")
    pairs = [
        (text("backend", language), f"{report.get('backend', '–')}: {report.get('why', '')}".rstrip(": ")),
        (text("postprocess", language), text("on" if used else "off", language)),
        (text("settings", language), settings),
        *((f"endpoint {name}", value) for name, value in (report.get("endpoint") or {}).items()),
    ]
    html = _pairs_table(pairs, title, language)
    splits = [split for split in ("dev", "test") if isinstance(report.get(split), dict)]
    rows = [[f"<code>{key}</code>", *(_count(report[split].get(key)) for split in splits)] for key in COUNTS]
    rows.append(["<code>truncated</code>", *(_count((report[split].get("input") or {}).get("truncated")) for split in splits)])
    if splits:
        html += "<br>" + table([escape(text("fact", language)), *splits], rows, label=text("counts", language))
    return Section("decoding", title, html, text("decoding_about", language))


def environment_section(facts: RunFacts, language: Language) -> Section:
    """Model, machine, packages and costs."""
    title, arguments = text("environment", language, "sections"), facts.arguments
    chosen = f"model.{facts.family}"
    checkpoint = facts.params.get(f"{chosen}.checkpoint") or facts.params.get(f"{chosen}.model")
    pairs: list[tuple[str, Any]] = [
        (text("commit", language), facts.commit or text("workspace", language)),
        ("model.family", facts.family or "–"),
        (
            text("checkpoint", language),
            " ".join(str(each) for each in (checkpoint, facts.params.get(f"{chosen}.revision")) if each),
        ),
    ]
    if arguments:
        formats = [name for name in ("bf16", "fp16") if arguments.get(name)]
        pairs += [
            (text("device", language), "CPU" if arguments.get("use_cpu") else "GPU"),
            (text("precision", language), ", ".join(formats) or "float32"),
            (text("optimizer", language), arguments.get("optim", "–")),
            (text("steps", language), f"{arguments.get('steps', '–')} / {arguments.get('epochs', '–')}"),
            (text("best_step", language), arguments.get("best_step", "–")),
        ]
    pairs.append((text("pinned", language), ", ".join(f"{name} {version}" for name, version in facts.packages.items()) or "–"))
    pairs += [(text(name, language), shown_cost(value)) for name, value in facts.costs.items()]
    return Section("environment", title, _pairs_table(pairs, title, language), text("environment_about", language))


def shown_cost(value: float | None) -> str:
    """Seconds, megabytes or a price; a dash if it is not known."""
    return "–" if value is None else f"{value:,.4g}" if value < 100 else f"{value:,.0f}"


def _pairs_table(pairs: Sequence[tuple[str, Any]], label: str, language: Language) -> str:
    heads = [escape(text(key, language)) for key in ("fact", "value")]
    return table(heads, [[escape(name), escape(value)] for name, value in pairs], label=label, class_name="wide text")
