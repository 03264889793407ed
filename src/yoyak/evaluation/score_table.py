"""The scores as text for a terminal: model and baselines in a table, and warnings about what the numbers do not show."""

from collections.abc import Sequence
from typing import Any

from yoyak.evaluation import bootstrap
from yoyak.system.debug_note import DEBUG_WARNING

COLUMNS = ("rouge1", "rouge2", "rougeL", "rouge_sum")
MIN_DISTINCT_SHARE = 0.5  # below it the model writes the same text for too many dialogues


def score_table(scores: dict[str, Any]) -> str:
    """The content of scores.json as a table with intervals, signature and warnings.

    Raises:
        KeyError: if a key of scores.json is missing.
    """
    if "pruned" in scores:
        return f"no score: {scores['pruned']}"
    lines = [f"WARNING: {DEBUG_WARNING}."] if scores.get("debug_run") else []
    lines.append(f"{'':10}{'with tags':>40}   {'without tags (content)':>40}")
    lines.append(f"{'':10}" + "   ".join("".join(f"{key:>10}" for key in COLUMNS) for _ in range(2)))
    for name, row in (("model", scores), *scores["baselines"].items()):
        with_tags, content = ("".join(f"{part[key]:10.2f}" for key in COLUMNS) for part in (row, row["content"]))
        lines.append(f"{name:10}{with_tags}   {content}")
    intervals = scores["interval"]
    ends, content_ends = (part["rouge_sum"] for part in (intervals, intervals["content"]))
    interval = f"{_range(ends)}; content {_range(content_ends)}" if ends else f"none ({_too_few_rows()})"
    lines.append(f"95 % interval of rouge_sum: {interval} ({scores['rows']} rows, {scores['distinct']} distinct outputs)")
    lines += _other_metrics(scores)
    if base := scores.get("pretrained"):
        epochs = f"{base['num_train_epochs']:g} epochs, dialogues: {base['texts']}"
        lines.append(f"base: {base['from']}, pre-trained further as models/pretrained ({epochs})")
    if "price" in scores:
        lines.append(f"price of the answers for dev and test: {scores['price']:.4f}")
    lines.append(f"signature: {scores['signature']}")
    lines += [f"WARNING: {warning}" for warning in score_warnings(scores)]
    return "\n".join(lines)


def _too_few_rows() -> str:
    return f"too few rows, at least {bootstrap.MIN_ROWS} are needed"


def _range(ends: Sequence[float], style: str = ".2f") -> str:
    return f"{ends[0]:{style}} to {ends[1]:{style}}"


def _other_metrics(scores: dict[str, Any]) -> list[str]:
    """One line for each value of the metrics beside ROUGE: those that stand under their own name, with a signature."""
    lines = []
    for name, section in scores.items():
        if isinstance(section, dict) and "signature" in section:
            for key, ends in section["interval"].items():
                if not isinstance(ends, dict):
                    interval = f"95 % interval {_range(ends)}" if ends else f"no interval: {_too_few_rows()}"
                    lines.append(f"{name} {key}: {section[key]:.2f} ({interval})")
    return lines


def score_warnings(scores: dict[str, Any]) -> list[str]:
    """What a reader must know beside the numbers: baselines that the model does not beat, and signs of a broken model."""
    warnings = []
    if any(beaten is None for parts in scores["beaten"].values() for beaten in parts.values()):
        warnings.append(f"nothing shows whether the model is better than a baseline: {_too_few_rows()}")
    for name in scores["beaten"]:
        warnings += _baseline_warning(name, scores)
    if scores["rougeL"] < scores["rouge2"]:
        warnings.append("ROUGE-L is below ROUGE-2; with one tokenization this is rare, so look at the predictions")
    # Equal dialogues have equal summaries, which is no fault of the model. A CSV file without dialogues does not show them.
    different = scores.get("distinct_dialogues") or scores["rows"]
    if scores["distinct"] < MIN_DISTINCT_SHARE * different:
        warnings.append(f"only {scores['distinct']} distinct outputs in {scores['rows']} rows: the model has collapsed")
    return warnings


def _baseline_warning(name: str, scores: dict[str, Any]) -> list[str]:
    """One line if the model does not beat a baseline: worse, or no difference shown, with its numbers."""
    baseline, worse, parts = scores["baselines"][name], False, []
    for key, label, model, other in (
        ("all", "with tags", scores, baseline),
        ("content", "without tags", scores["content"], baseline["content"]),
    ):
        ends = scores.get("difference", {}).get(name, {}).get(key)  # files of an earlier version do not have it
        if scores["beaten"][name][key] is not False:
            continue
        is_worse = ends[1] < 0 if ends else model["rouge_sum"] < other["rouge_sum"]
        worse = worse or is_worse
        difference = f", 95 % interval of the difference {_range(ends, '+.2f')}" if ends else ""
        parts.append(
            f"{'worse' if is_worse else 'no difference shown'} {label} "
            f"({model['rouge_sum']:.2f} against {other['rouge_sum']:.2f}{difference})"
        )
    if not parts:
        return []
    return [f"{'WORSE than' if worse else 'NO DIFFERENCE SHOWN to'} the baseline {name} in rouge_sum: {', '.join(parts)}"]
