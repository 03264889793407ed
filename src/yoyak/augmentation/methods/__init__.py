"""Augmentation methods. `augment.NAME` in params.yaml means the module NAME.py. `base.Method` tells how to add one."""

METHODS = (
    "speaker_swap",
    "templates",
    "paraphrase",
    "back_translation",
    "synthesize",
    "pseudo_label",
)  # the order of their rows
