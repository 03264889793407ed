"""Augmentation methods. `augment.NAME` in params.yaml means the module NAME.py. `base.Method` tells how to add one."""

# In the order of their rows.
METHODS = (
    "speaker_swap",
    "noise",
    "turn_dropout",
    "templates",
    "paraphrase",
    "back_translation",
    "synthesize",
    "pseudo_label",
    "relabel",
)
