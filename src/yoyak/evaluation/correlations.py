"""How the metrics of a run agree with ROUGE over its dialogues, and what they see that ROUGE does not."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yoyak.evaluation import bootstrap

Values = NDArray[np.float64]

AGAINST = ("rouge_sum", "content_sum")
OF_ROUGE = ("rouge1", "rouge2", "rougeL", *AGAINST)
WORST_SHARE = 0.1  # of the dialogues by a metric, whose ROUGE is looked at
MAX_NAMED = 5


@dataclass(frozen=True)
class Agreement:
    """One metric beside ROUGE.

    Attributes:
        rows: dialogues of which the metric has a value.
        correlations: Spearman's coefficient and its 95 % bootstrap interval by the columns of AGAINST. The coefficient is None
            if all values are equal, the interval also with fewer than bootstrap.MIN_ROWS dialogues.
        worst: the dialogues that are the worst ones by this metric, at most WORST_SHARE of all and those equal to the last.
        overlooked: those of them whose rouge_sum is in the better half, the highest first.
    """

    rows: int
    correlations: dict[str, tuple[float | None, list[float] | None]]
    worst: list[str]
    overlooked: list[str]


def spearman(one: Values, other: Values) -> float | None:
    """Spearman's rank correlation with mean ranks for ties; None if all values of one side are equal."""
    ranks = [_ranks(values) for values in (one, other)]
    spread = [float(np.ptp(values)) for values in ranks]
    if not all(spread):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(values: Values) -> Values:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], dtype=np.float64)


def agreements(
    fnames: Sequence[str],
    columns: Mapping[str, Values],
    *,
    lower_is_better: Collection[str],
    samples: int,
    seed: int,
) -> dict[str, Agreement]:
    """The agreement of each column that is not one of ROUGE.

    Args:
        fnames: of the dialogues.
        columns: (rows,) of each column of metrics/per_dialogue.csv, with NaN for values that were not measured.
        lower_is_better: the columns of which a smaller value is better.
        samples: number of resamplings for each interval.
        seed: of the resampling.
    """
    found = {}
    for name, values in columns.items():
        if name in OF_ROUGE:
            continue
        measured = ~np.isnan(values)
        own = values[measured]
        rouge = {key: columns[key][measured] for key in AGAINST}
        places = _worst(own if name in lower_is_better else -own)
        high = rouge["rouge_sum"] >= np.median(rouge["rouge_sum"]) if len(own) else np.zeros(0, dtype=bool)
        names = np.array(fnames)[measured]
        overlooked = sorted((place for place in places if high[place]), key=lambda place: -rouge["rouge_sum"][place])
        found[name] = Agreement(
            rows=len(own),
            correlations={key: _with_interval(own, rouge[key], samples=samples, seed=seed) for key in AGAINST},
            worst=[str(names[place]) for place in places],
            overlooked=[str(names[place]) for place in overlooked],
        )
    return found


def _worst(badness: Values) -> list[int]:
    """The places of the highest values: a share of WORST_SHARE and those equal to the last, if they are above the median."""
    if not len(badness):
        return []
    last = np.sort(badness)[::-1][max(0, int(np.ceil(WORST_SHARE * len(badness))) - 1)]
    return [int(place) for place in np.flatnonzero((badness >= last) & (badness > np.median(badness)))]


def _with_interval(one: Values, other: Values, *, samples: int, seed: int) -> tuple[float | None, list[float] | None]:
    value = spearman(one, other)
    if value is None or len(one) < bootstrap.MIN_ROWS:
        return value, None
    generator = np.random.default_rng(seed)
    drawn = (generator.integers(0, len(one), len(one)) for _ in range(samples))
    found = [each for places in drawn if (each := spearman(one[places], other[places])) is not None]
    return value, bootstrap.interval(np.array(found))


def agreement_table(found: Mapping[str, Agreement], *, lower_is_better: Collection[str]) -> list[str]:
    """The lines of a table for a terminal of 100 columns."""
    width = max(len(name) for name in found) + 2
    lines = [
        "Spearman's correlation over the dialogues with rouge_sum and with content_sum (95 % bootstrap interval).",
        '"overlooked": of the worst dialogues by the metric, those whose rouge_sum is in the better half.',
        "",
        f"{'metric':{width}}{'rows':>6}   {'rouge_sum':24}{'content_sum':24}{'overlooked':>12}",
    ]
    for name, one in found.items():
        cells = "".join(f"{_cell(*one.correlations[key]):24}" for key in AGAINST)
        seen = f"{len(one.overlooked)} of {len(one.worst)}" if one.worst else "-"
        lines.append(f"{name + ('*' if name in lower_is_better else ''):{width}}{one.rows:6}   {cells}{seen:>12}")
    lines.append("* a smaller value is better, so that agreement with ROUGE is a negative correlation")
    for name, one in found.items():
        if one.overlooked:
            more = f" and {len(one.overlooked) - MAX_NAMED} more" if len(one.overlooked) > MAX_NAMED else ""
            lines.append(f"overlooked by ROUGE, worst by {name}: {', '.join(one.overlooked[:MAX_NAMED])}{more}")
    return lines


def _cell(value: float | None, ends: Sequence[float] | None) -> str:
    if value is None:
        return "- (all values equal)"
    return f"{value:+.2f}" + (f" ({ends[0]:+.2f} to {ends[1]:+.2f})" if ends else "")
