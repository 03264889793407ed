"""The score of a set of predictions, with its signature, interval and baselines beside it."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from yoyak.evaluation import rouge
from yoyak.evaluation.rouge import Morphemes, References, Scores

BASELINES = ("lead1", "lead2", "lead3", "constant", "medoid")
CONSTANT = "#Person1# #Person2#"
COLUMNS = ("fname", *rouge.KEYS, "rouge_sum", "content_sum")  # of metrics/per_dialogue.csv


def baselines(dialogues: Sequence[str], *, medoid: str) -> dict[str, list[str]]:
    """What a summarizer that has learned nothing would write: the first turns, the tags, one sentence for all."""
    leads = {f"lead{n}": ["\n".join(text.split("\n")[:n]) for text in dialogues] for n in (1, 2, 3)}
    return leads | {"constant": [CONSTANT] * len(dialogues), "medoid": [medoid] * len(dialogues)}


def score(
    *,
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    how: References,
    bootstrap_samples: int,
    seed: int,
    tokenizer: Morphemes,
    against: dict[str, list[str]],
    decoding: str,
) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """The content of metrics/scores.json, and one row of scores a prediction.

    `against` names the baselines' predictions. `beaten` counts, for the competition's number and for `content`, the
    baselines that the model beats by more than the noise: the 95 % interval of the paired difference in rouge_sum over
    resampled rows lies above 0.
    """

    bare_references = [rouge.content(wanted) for wanted in references]

    def both(texts: Sequence[str]) -> tuple[Scores, Scores]:
        """(rows, 3) as the competition counts, and without tags."""
        return (
            rouge.score_rows(predictions=texts, references=references, tokenizer=tokenizer, how=how),
            rouge.score_rows(predictions=rouge.content(texts), references=bare_references, tokenizer=tokenizer, how=how),
        )

    def means(rows: Scores) -> Scores:
        return rouge.resampled_means(rows, samples=bootstrap_samples, seed=seed)  # the same draw of rows for everything

    texts = [*predictions, *chain(*references), *chain(*against.values())]
    tokenizer.read([*texts, *rouge.content(texts)])
    whole, bare = both(predictions)
    rouge.check(whole, predictions, references, tokenizer, how)
    whole_means, bare_means = means(whole), means(bare)
    result: dict[str, Any] = {
        **rouge.summarize(whole),
        "content": rouge.summarize(bare),
        "interval": {**rouge.interval(whole_means), "content": rouge.interval(bare_means)},
        "baselines": {},
        "rows": len(predictions),
        "distinct": len(set(predictions)),
        "beaten": {},
    }
    for name, texts in against.items():
        rows, bare_rows = both(texts)
        result["baselines"][name] = {**rouge.summarize(rows), "content": rouge.summarize(bare_rows)}
        result["beaten"][name] = {
            "all": _above(whole_means, means(rows)),
            "content": _above(bare_means, means(bare_rows)),
        }
    result["signature"] = f"{rouge.signature(how)}|decoding:{decoding}"
    per_row = [
        {key: round(float(value), 4) for key, value in zip((*rouge.KEYS, "rouge_sum"), row, strict=True)}
        | {"content_sum": round(float(bare_row.sum()), 4)}
        for row, bare_row in zip(rouge.with_totals(whole)[:, :4], bare, strict=True)
    ]
    return result, per_row


def _above(means: Scores, other: Scores) -> bool:
    """Whether the sum is higher in all but 2.5 % of the resamplings (paired, one side of a 95 % interval)."""
    return bool(np.percentile((means - other).sum(axis=1), 2.5) > 0)


def warnings(scores: dict[str, Any]) -> list[str]:
    """What a reader must be told beside the numbers."""
    told = []
    for name, beaten in scores["beaten"].items():
        base = scores["baselines"][name]
        lost = [
            f"{model['rouge_sum']:.2f} against {other['rouge_sum']:.2f} {what}"
            for kind, what, model, other in (
                ("all", "with tags", scores, base),
                ("content", "without tags", scores["content"], base["content"]),
            )
            if not beaten[kind]
        ]
        if lost:
            told.append(f"NOT BETTER than the baseline {name} (worse, or within the noise): rouge_sum {', '.join(lost)}")
    if scores["rougeL"] < scores["rouge2"]:
        told.append("ROUGE-L is below ROUGE-2: with one tokenization that is rare; look at the predictions")
    if scores["distinct"] < 0.5 * scores["rows"]:
        told.append(f"only {scores['distinct']} distinct outputs in {scores['rows']} rows: the model has collapsed")
    return told


def table(scores: dict[str, Any]) -> str:
    """The model beside the baselines, for a terminal."""
    if "pruned" in scores:
        return f"no score: {scores['pruned']}"
    keys = ("rouge1", "rouge2", "rougeL", "rouge_sum")
    lines = [f"{'':10}{'as the competition counts':>40}   {'without tags (content)':>40}"]
    lines.append(f"{'':10}" + "   ".join("".join(f"{key:>10}" for key in keys) for _ in range(2)))
    for name, row in (("model", scores), *scores["baselines"].items()):
        whole, bare = ("".join(f"{part[key]:10.2f}" for key in keys) for part in (row, row["content"]))
        lines.append(f"{name:10}{whole}   {bare}")
    (low, high), (bare_low, bare_high) = (part["rouge_sum"] for part in (scores["interval"], scores["interval"]["content"]))
    lines.append(
        f"95 % interval of rouge_sum: {low:.2f} to {high:.2f}; content {bare_low:.2f} to {bare_high:.2f} "
        f"({scores['rows']} rows, {scores['distinct']} distinct outputs)"
    )
    lines.append(f"signature: {scores['signature']}")
    lines += [f"WARNING: {warning}" for warning in warnings(scores)]
    return "\n".join(lines)
