"""The objectives that a search can optimize."""

# ROUGE objectives are dotted keys of metrics/scores.json.
ROUGE_OBJECTIVES = [
    f"{prefix}{name}" for prefix in ("", "content.") for name in ("rouge1", "rouge2", "rougeL", "rouge_sum", "rouge_mean")
]
# The columns of metrics/per_dialogue.csv with which the paired test compares trials. A mean of three scores is a third of their
# sum, which makes no difference to the test.
ROW_COLUMNS = {
    **{name: name for name in ("rouge1", "rouge2", "rougeL", "rouge_sum")},
    "rouge_mean": "rouge_sum",
    "content.rouge_sum": "content_sum",
    "content.rouge_mean": "content_sum",
}
# For each objective, whether a higher value is better.
HIGHER_IS_BETTER = {
    **dict.fromkeys(ROUGE_OBJECTIVES, True),
    "seconds_per_dialogue": False,
    "model_megabytes": False,
}
