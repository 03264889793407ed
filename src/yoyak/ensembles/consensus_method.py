"""The method `consensus`: of the members' summaries of a dialogue, the one that agrees most with the others."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yoyak.config.sections import Params
from yoyak.data.person_tags import replace_person_tags, restore_person_tags
from yoyak.ensembles.member_writing import write_dev
from yoyak.ensembles.members import Member, Rows, has_same_dev, names
from yoyak.ensembles.selection import RowScores, Subset, Values
from yoyak.evaluation import rouge
from yoyak.evaluation.morphemes import Morphemes
from yoyak.inference.consensus import UTILITIES, FactPenalty, Utility, Weighted, choose
from yoyak.inference.outputs import Output
from yoyak.models.families.ensemble import SUMMARIES_FILE
from yoyak.system.text_files import write_jsonl

SPLITS = ("dev", "test")


class ConsensusMethod:
    """The consensus of any of the members. Their summaries are read once, and each pair of texts is compared once."""

    backward = True  # Two summaries never outvote each other, so that a choice that starts with one member would stop there.

    def __init__(self, members: Sequence[Member], ours: Rows, params: Params, kept: Path) -> None:
        """
        Args:
            members: experiments that `check_members` accepts.
            ours: the processed rows of the ensemble.
            params: sections model, preprocess and hardware.
            kept: folder for unfinished work.
        """
        self.ours, self.settings, self.person_tags = ours, params.model.ensemble, params.preprocess.person_tags
        self.texts: dict[str, list[list[str]]] = {split: [] for split in SPLITS}  # by member and row
        for member in members:
            written = member.summaries("test")
            self.texts["test"].append([written[fname] for fname in names(ours["test"])])
            if has_same_dev(member, ours):
                written = member.summaries("dev")
                self.texts["dev"].append([written[fname] for fname in names(ours["dev"])])
            else:  # an experiment of a cross-validation
                self.texts["dev"].append(write_dev(member, ours["dev"], params, kept))
        self.utility = _remembered(UTILITIES[self.settings.utility]())
        self.penalty = FactPenalty(self.settings.facts, "keep_original")
        self._dialogues = [restore_person_tags(row["dialogue"], self.person_tags) for row in ours["dev"]]
        self._scores = _scores_of_texts(self.texts["dev"], [row["references"] for row in ours["dev"]])
        self.rows: RowScores = cache(self._rows)

    def _rows(self, subset: Subset) -> Values:
        """rouge_sum of each dialogue of dev for the consensus of some members."""
        weight = 1 / len(subset)
        candidates = [
            [Weighted(Output(self.texts["dev"][member][row], hit_limit=False), weight) for member in subset]
            for row in range(len(self._dialogues))
        ]
        chosen = choose(candidates, self.utility, lambda row, text: self.penalty.of(text, self._dialogues[row]))
        return np.array([scores[output.text] for scores, output in zip(self._scores, chosen, strict=True)])

    def write(self, chosen: Subset, folder: Path) -> Mapping[str, Any]:
        """Write the summaries of the chosen members, from which predict takes the consensus.

        Returns:
            What ensemble.json says besides the method and the members.
        """
        rows = [
            {
                "fname": row["fname"],
                "dialogue": row["dialogue"],
                "summaries": [replace_person_tags(self.texts[split][member][place], self.person_tags) for member in chosen],
            }
            for split in SPLITS
            for place, row in enumerate(self.ours[split])
        ]
        write_jsonl(folder / SUMMARIES_FILE, rows)
        return {"utility": self.settings.utility, "facts": self.settings.facts, "person_tags": self.person_tags}


def _remembered(utility: Utility) -> Utility:
    """The same utility, which compares each pair of texts only once."""
    known: dict[tuple[str, str], float] = {}

    def remembered(pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
        if new := [pair for pair in dict.fromkeys(pairs) if pair not in known]:
            known.update(zip(new, map(float, utility(new)), strict=True))
        return np.array([known[pair] for pair in pairs])

    return remembered


def _scores_of_texts(texts: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    """For each row the rouge_sum of each text that a member wrote for it."""
    tokenizer = Morphemes()
    found: list[dict[str, float]] = [{} for _ in references]
    for written in texts:
        scores = rouge.score_rows(predictions=written, references=references, tokenizer=tokenizer)
        for row, (text, score) in enumerate(zip(written, scores.sum(axis=1), strict=True)):
            found[row][text] = float(score)
    return found
