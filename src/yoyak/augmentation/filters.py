"""Which of the new rows are kept: a reason for each row that is not, and the scores of each row that is."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from yoyak.augmentation.base import Candidate, FilterName, Row
from yoyak.augmentation.evaluation_rows import EvaluationRows
from yoyak.config.augment_section import Filters as FilterSettings
from yoyak.data.dialogue import MASK, TAG, BadDialogueError, parse, to_text, without_tags
from yoyak.evaluation.foreign_letters import ALL_SCRIPTS, HANGUL, script_pattern
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.rouge import score_rows

REASONS = {
    "unchanged": "nothing differs from the source",
    "repeated": "the same row was made before",
    "broken_dialogue": "the dialogue does not have one turn with a speaker tag on each line, or the summary is empty",
    "other_tags": "a text has other tags or masks than its source, or another number of them",
    "unknown_tag": "a tag of the summary is not in the dialogue, although it is in the source's",
    "foreign_script": "a word in another script than Hangul that no source has",
    "other_language": "too few letters are Hangul (augment.filters.language)",
    "length_low": "the lengths of a rewritten text and its source differ too much (length_min)",
    "length_high": "the lengths of a rewritten text and its source are too equal (length_max)",
    "rouge_low": "a rewritten text shares too little with its source (rouge_min)",
    "rouge_high": "a rewritten text is almost its source (rouge_max)",
    "near_duplicate": "the dialogue, or that of its source, is almost one of dev or test (near_duplicate)",
}
_HANGUL = re.compile(f"[{HANGUL}]")
_FOREIGN = script_pattern(ALL_SCRIPTS)


@dataclass(frozen=True)
class Verdict:
    """Why a row is not kept (None if it is), and its scores as far as they were computed: values from 0 to 1."""

    reason: str | None
    scores: dict[str, float]


class Filters:
    """Checks candidates.

    All of them must differ from their source and have a dialogue that can be read, and neither they nor their source may be a
    near-duplicate of dev or test. What a method names in `filters` is checked too:

    - same_tags: both texts have the tags and masks of the source's, each as often. For texts that are rewritten.
    - known_tags: each tag of the summary is in the dialogue, unless that is so in the source. For dialogues that lose turns.
    - foreign: no word in another script that no source has.
    - language: the share of Hangul among the letters.
    - length, rouge: of each text that differs from the source's, without tags, against that text.
    """

    def __init__(self, settings: FilterSettings, evaluation: EvaluationRows, morphemes: Morphemes) -> None:
        """Prepare the checks.

        Args:
            settings: section augment.filters.
            evaluation: the rows of dev and test.
            morphemes: the tokens of ROUGE.
        """
        self.settings = settings
        self._evaluation = evaluation
        self._morphemes = morphemes

    def check(self, candidate: Candidate, sources: Sequence[Row], names: Sequence[FilterName]) -> Verdict:
        """Check one candidate.

        Args:
            candidate: the new row, with original tags.
            sources: what it is made from. Texts are compared with the first one.
            names: the filters that apply.
        """
        source = sources[0]
        texts = {"dialogue": candidate.dialogue, "summary": candidate.summary}
        changed = {kind: text for kind, text in texts.items() if text != source.get(kind)}
        scores: dict[str, float] = {}
        reason = self._check_form(candidate, changed)
        if not reason and "same_tags" in names:
            reason = _first("other_tags", (_tags(text) != _tags(source[kind]) for kind, text in changed.items()))
        if not reason and "known_tags" in names:
            reason = _first("unknown_tag", [bool(_unknown(texts) - _unknown(source))])
        if not reason and "foreign" in names:
            reason = _first("foreign_script", (_foreign(text) - _foreign_of(sources) for text in changed.values()))
        if not reason and "language" in names:
            reason = self._check_language(changed, scores)
        if not reason and "length" in names:
            reason = self._check_lengths(changed, source, scores)
        if not reason and "rouge" in names:
            reason = self._check_rouge(changed, source, scores)
        if not reason:
            # Noise can hide what a dialogue is made from, so the source counts too.
            dialogues = {candidate.dialogue, *(row["dialogue"] for row in sources)}
            scores["near_duplicate"] = round(max(map(self._evaluation.nearest, dialogues)), 4)
            reason = _first("near_duplicate", [scores["near_duplicate"] >= self.settings.near_duplicate])
        return Verdict(reason, scores)

    def _check_form(self, candidate: Candidate, changed: dict[str, str]) -> str | None:
        if not changed and not candidate.instruction:
            return "unchanged"
        try:
            turns, _ = parse(candidate.dialogue)
        except BadDialogueError:
            return "broken_dialogue"
        well_formed = to_text(turns) == candidate.dialogue and candidate.summary.strip() and "\n" not in candidate.summary
        return None if well_formed else "broken_dialogue"

    def _check_language(self, changed: dict[str, str], scores: dict[str, float]) -> str | None:
        for kind, text in changed.items():
            letters = [letter for letter in without_tags(text) if letter.isalpha()]
            share = len(_HANGUL.findall("".join(letters))) / max(1, len(letters))
            scores[f"{kind}_language"] = round(share, 4)
            if share < self.settings.language:
                return "other_language"
        return None

    def _check_lengths(self, changed: dict[str, str], source: Row, scores: dict[str, float]) -> str | None:
        for kind, text in changed.items():
            short, long = sorted((len(without_tags(text)), len(without_tags(source[kind]))))
            ratio = short / max(1, long)
            scores[f"{kind}_length"] = round(ratio, 4)
            if reason := _outside(ratio, self.settings.length_min, self.settings.length_max, "length"):
                return reason
        return None

    def _check_rouge(self, changed: dict[str, str], source: Row, scores: dict[str, float]) -> str | None:
        for kind, text in changed.items():
            new, old = without_tags(text), without_tags(source[kind])
            rouge = float(score_rows(predictions=[new], references=[[old]], tokenizer=self._morphemes).mean()) / 100
            scores[f"{kind}_rouge"] = round(rouge, 4)
            if reason := _outside(rouge, self.settings.rouge_min, self.settings.rouge_max, "rouge"):
                return reason
        return None


def _first(reason: str, faults: Iterable[object]) -> str | None:
    return reason if any(faults) else None


def _outside(value: float, low: float, high: float, name: str) -> str | None:
    return f"{name}_low" if value < low else f"{name}_high" if value > high else None


def _tags(text: str) -> Counter[str]:
    return Counter(TAG.findall(text) + MASK.findall(text))


def _unknown(texts: Any) -> set[str]:
    """The tags of a summary that its dialogue lacks."""
    return set(TAG.findall(texts["summary"])) - set(TAG.findall(texts["dialogue"]))


def _foreign(text: str) -> set[str]:
    return {word.casefold() for word in _FOREIGN.findall(TAG.sub(" ", text))}


def _foreign_of(sources: Sequence[Row]) -> set[str]:
    return {word for row in sources for kind in ("dialogue", "summary") for word in _foreign(row.get(kind, ""))}
