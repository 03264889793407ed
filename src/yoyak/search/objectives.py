"""The objectives that a search can optimize."""

# ROUGE objectives are dotted keys of metrics/scores.json.
ROUGE_OBJECTIVES = [
    f"{prefix}{name}" for prefix in ("", "content.") for name in ("rouge1", "rouge2", "rougeL", "rouge_sum", "rouge_mean")
]
# For each objective, whether a higher value is better.
HIGHER_IS_BETTER = {
    **dict.fromkeys(ROUGE_OBJECTIVES, True),
    "seconds_per_dialogue": False,
    "model_megabytes": False,
}
