"""No dead knobs: every key of params.yaml changes what the libraries are called with, in both families.

The stages run as they are, on a few rows and tiny random models, with spies on the functions of transformers, peft, accelerate,
torch, numpy and DVCLive. The record of a stage is what its spies saw, with the rows and texts that it wrote. No record repeats
params.yaml as yoyak read it (as the signature of a score would): a difference between two records is a difference in the work.

dvc.yaml says which stages read a key (test_stages.py checks that). Those stages run, on what the base params gave before them.
preprocess and score read nothing of the family.

    table.py   another value for each key, what then stands in the record, and the keys that one run changes together
    spies.py   what a stage does, as a record
    runs.py    the stages under changed params, each run once
"""

from typing import Any

Record = dict[str, Any]
FAMILIES = ("kobart", "qlora")
OTHER = {"kobart": "qlora", "qlora": "kobart"}
STAGES = ("preprocess", "augment", "tokenize", "pretrain", "train", "predict", "score", "gate")
LEARNED = ("tokenize", "train")  # without predict, which refuses an adapter that was trained on another base
