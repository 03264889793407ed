"""`yoyak doctor`: what the two lengths of params.yaml cut from the data, and which values would keep more."""

import itertools
from typing import Any

import numpy as np

from yoyak.config.sections import Params
from yoyak.data.column_counts import count_tokens
from yoyak.data.splits import SplitCleaner
from yoyak.models.families.base import Family
from yoyak.models.length_proposals import TEXTS, describe_proposals, propose_lengths
from yoyak.models.length_report import describe_lengths

LENGTH_ROWS = 1000  # of each split; enough to see what the limits cut


def describe_data_lengths(params: Params, family: Family, tokenizer: Any, positions: int | None) -> str:
    """Encode the first rows of each split as the pipeline does.

    Args:
        params: all params.
        family: the chosen family.
        tokenizer: of `Family.load_tokenizer`.
        positions: of the model; None if it states none.

    Returns:
        Lines on what the limits leave out of each split, on percentiles of the lengths, and a command with better values.

    Raises:
        YoyakError: if a summary has no token.
    """
    cleaner = SplitCleaner(params.data, params.preprocess)
    rows = {split: list(itertools.islice(cleaner.clean(split), LENGTH_ROWS)) for split in cleaner.paths}
    encoders = family.batch_encoders(tokenizer, params, rows["test"])
    limits = family.token_limits(params.tokenizer, params.generation)
    found: list[str] = []
    lengths: dict[str, list[int]] = {kind: [] for kind in TEXTS}
    for split, split_rows in rows.items():
        names = [name for name in ("fname", "dialogue", "summary", "topic") if name in split_rows[0]]
        columns = encoders[split]({name: [row[name] for row in split_rows] for name in names})
        arrays = {name: np.array(cells) for name, cells in columns.items() if name.startswith("_")}
        counts = {"rows": len(columns["fname"])} | count_tokens(arrays)
        found += [
            f"{split}: {sentence}"
            for sentence in describe_lengths(
                counts, lengths=params.tokenizer, limits=limits, positions=positions, for_training=split == "train"
            )
        ]
        for kind in lengths:
            lengths[kind] += columns.get(f"_{kind}_tokens", [])
    proposals = propose_lengths(lengths, params.tokenizer, limits, positions)
    found += describe_proposals(proposals, max_new_tokens=params.generation.max_new_tokens)
    return "\n        ".join([f"the first {LENGTH_ROWS:,} rows of each split", *found])
