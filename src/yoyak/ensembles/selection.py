"""Choosing members on dev, and how optimistic a choice on dev is: the same choice on one half, measured on the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yoyak.evaluation.paired_tests import compare_systems

Subset = tuple[int, ...]  # places of members, in rising order
Values = NDArray[np.float64]
Places = NDArray[np.intp]
RowScores = Callable[[Subset], Values]  # rouge_sum of each dialogue of dev, for the ensemble of these members


@dataclass(frozen=True)
class Selection:
    """How members are chosen.

    Attributes:
        rows: gives the scores of an ensemble of some members. It is called often with the same members, so it should remember.
        count: number of members.
        greedy: False: all are taken.
        backward: start with all and leave out one after another; or start with the best and take in one after another.
        only_if_better: whether the paired test must show that a step raises the score; else a higher mean is enough.
        seed: of the paired tests and of the halves.
    """

    rows: RowScores
    count: int
    greedy: bool
    backward: bool
    only_if_better: bool
    seed: int

    def choose(self, dialogues: Places) -> Subset:
        """The members that are taken, by their scores on some dialogues of dev (their places)."""
        everyone = tuple(range(self.count))
        if not self.greedy:
            return everyone
        alone = [float(self.rows((member,))[dialogues].mean()) for member in everyone]
        best_first = sorted(everyone, key=lambda member: -alone[member])
        chosen = everyone if self.backward else (best_first[0],)
        for member in reversed(best_first) if self.backward else best_first[1:]:
            changed = tuple(sorted(set(chosen) ^ {member}))
            if changed and self._is_better(changed, chosen, dialogues):
                chosen = changed
        return chosen

    def best_member(self, dialogues: Places) -> int:
        """The member with the highest mean on some dialogues; of equals the first."""
        return max(range(self.count), key=lambda member: float(self.rows((member,))[dialogues].mean()))

    def _is_better(self, changed: Subset, chosen: Subset, dialogues: Places) -> bool:
        new, old = self.rows(changed)[dialogues], self.rows(chosen)[dialogues]
        if not self.only_if_better:
            return float(new.mean()) > float(old.mean())
        return compare_systems({"new": new}, old, seed=self.seed, samples=2000)["new"].verdict == "better"


def measure_optimism(selection: Selection, *, dialogues: int, halvings: int) -> dict[str, Any]:
    """How much higher a score on dev is only because the members were chosen on the same dialogues.

    Each half of dev chooses members, and the best single member. The chosen ensemble is scored on the half that chose, as a
    report on dev does it, and on the other half, as new dialogues do it. Each half takes both parts, so that it does not matter
    which one is easier.

    Args:
        selection: how members are chosen.
        dialogues: number of dialogues of dev.
        halvings: number of random divisions; each half chooses once.

    Returns:
        Means over all halves: the scores on both halves and their difference (optimism), and on the other half the gain of the
        ensemble over the member that was best on the half that chose.
    """
    generator = np.random.default_rng(selection.seed)
    size = dialogues // 2
    seen, unseen, gains, sizes = [], [], [], []
    for _ in range(halvings):
        order = generator.permutation(dialogues)
        halves = order[:size], order[size : 2 * size]  # of an odd number, one dialogue is in no half
        for here, there in (halves, halves[::-1]):
            chosen, best = selection.choose(here), selection.best_member(here)
            scores = selection.rows(chosen)
            seen.append(float(scores[here].mean()))
            unseen.append(float(scores[there].mean()))
            gains.append(float((scores - selection.rows((best,)))[there].mean()))
            sizes.append(len(chosen))
    return {
        "halvings": halvings,
        "dialogues_in_a_half": size,
        "members_chosen": round(float(np.mean(sizes)), 2),
        "on_the_half_that_chose": round(float(np.mean(seen)), 4),
        "on_the_other_half": round(float(np.mean(unseen)), 4),
        "optimism": round(float(np.mean(seen) - np.mean(unseen)), 4),
        "gain_on_the_other_half": round(float(np.mean(gains)), 4),
        "sd_of_the_gain": round(float(np.std(gains, ddof=1)), 4),
    }


def describe_choice(selection: Selection, chosen: Subset, names: Sequence[str], *, halvings: int) -> dict[str, Any]:
    """For metrics/ensemble.json: the scores of the members and of the ensemble on dev, and how far to trust them."""
    everything = np.arange(len(selection.rows((0,))))
    best = selection.best_member(everything)
    result = compare_systems({"ensemble": selection.rows(chosen)}, selection.rows((best,)), seed=selection.seed)["ensemble"]
    report: dict[str, Any] = {
        "members": [
            {"commit": name, "rouge_sum": round(float(selection.rows((place,)).mean()), 4), "used": place in chosen}
            for place, name in enumerate(names)
        ],
        "rouge_sum": round(result.mean, 4),
        "best_member": names[best],
        "against_best_member": {
            "difference": round(result.difference, 4),
            "interval": [round(end, 4) for end in result.interval],
            "p": round(result.p_randomization, 5),
            "verdict": result.verdict,
        },
    }
    if halvings and len(everything) >= 4:
        report["held_out"] = measure_optimism(selection, dialogues=len(everything), halvings=halvings)
    return report
