"""The scores as text for a terminal: model and baselines in a table, and warnings about what the numbers do not show."""

from typing import Any

COLUMNS = ("rouge1", "rouge2", "rougeL", "rouge_sum")
MIN_DISTINCT_SHARE = 0.5  # below it the model writes the same text for too many dialogues


def score_table(scores: dict[str, Any]) -> str:
    """The content of scores.json as a table with intervals, signature and warnings.

    Raises:
        KeyError: if a key of scores.json is missing.
    """
    if "pruned" in scores:
        return f"no score: {scores['pruned']}"
    lines = [f"{'':10}{'as the competition counts':>40}   {'without tags (content)':>40}"]
    lines.append(f"{'':10}" + "   ".join("".join(f"{key:>10}" for key in COLUMNS) for _ in range(2)))
    for name, row in (("model", scores), *scores["baselines"].items()):
        with_tags, content = ("".join(f"{part[key]:10.2f}" for key in COLUMNS) for part in (row, row["content"]))
        lines.append(f"{name:10}{with_tags}   {content}")
    intervals = scores["interval"]
    (low, high), (content_low, content_high) = (part["rouge_sum"] for part in (intervals, intervals["content"]))
    lines.append(
        f"95 % interval of rouge_sum: {low:.2f} to {high:.2f}; content {content_low:.2f} to {content_high:.2f} "
        f"({scores['rows']} rows, {scores['distinct']} distinct outputs)"
    )
    lines += _other_metrics(scores)
    lines.append(f"signature: {scores['signature']}")
    lines += [f"WARNING: {warning}" for warning in score_warnings(scores)]
    return "\n".join(lines)


def _other_metrics(scores: dict[str, Any]) -> list[str]:
    """One line for each value of the metrics beside ROUGE: those that stand under their own name, with a signature."""
    lines = []
    for name, section in scores.items():
        if isinstance(section, dict) and "signature" in section:
            for key, ends in section["interval"].items():
                if not isinstance(ends, dict):
                    lines.append(f"{name} {key}: {section[key]:.2f} (95 % interval {ends[0]:.2f} to {ends[1]:.2f})")
    return lines


def score_warnings(scores: dict[str, Any]) -> list[str]:
    """What a reader must know beside the numbers: baselines that the model does not beat, and signs of a broken model."""
    warnings = []
    for name, beaten in scores["beaten"].items():
        baseline = scores["baselines"][name]
        comparisons = [
            f"{model['rouge_sum']:.2f} against {other['rouge_sum']:.2f} {label}"
            for key, label, model, other in (
                ("all", "with tags", scores, baseline),
                ("content", "without tags", scores["content"], baseline["content"]),
            )
            if not beaten[key]
        ]
        if comparisons:
            warnings.append(
                f"NOT BETTER than the baseline {name} (worse, or within the noise): rouge_sum {', '.join(comparisons)}"
            )
    if scores["rougeL"] < scores["rouge2"]:
        warnings.append("ROUGE-L is below ROUGE-2; with one tokenization this is rare, so look at the predictions")
    if scores["distinct"] < MIN_DISTINCT_SHARE * scores["rows"]:
        warnings.append(f"only {scores['distinct']} distinct outputs in {scores['rows']} rows: the model has collapsed")
    return warnings
