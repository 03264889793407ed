"""What the columns of tokenized rows add up to, for metrics/tokenize.json and `yoyak doctor`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from yoyak.data.truncation import share


def count_tokens(columns: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """For each kind of text that has columns `_<kind>_…`: its lengths before cutting, and the sums of the other columns."""
    report = {}
    for kind in ("dialogue", "prompt", "summary"):
        lengths = columns.get(f"_{kind}_tokens")
        if lengths is not None:
            prefix = f"_{kind}_"
            sums = {name.removeprefix(prefix): int(cells.sum()) for name, cells in columns.items() if name.startswith(prefix)}
            report[kind] = {
                "tokens_mean": round(float(lengths.mean()), 2),
                "tokens_p95": int(np.percentile(lengths, 95, method="higher")),
                "tokens_max": int(lengths.max()),
                **sums,
                "truncated_share": share(sums["truncated"], len(lengths)),
                "tokens_left_out_share": share(sums["tokens_left_out"], sums["tokens"]),
                "unknown_share": share(sums["unknown_tokens"], sums["tokens"]),
            }
    return report
