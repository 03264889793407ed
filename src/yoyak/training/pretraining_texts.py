"""The dialogues of pre-training: those of train and of the user's files, without those of dev and test."""

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from yoyak.augmentation.similar_rows import SimilarRows
from yoyak.augmentation.unlabelled import read_unlabelled
from yoyak.config.sections import Params, Preprocess
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.leak_guard import spoken_words
from yoyak.data.near_duplicates import THRESHOLD
from yoyak.data.person_tags import restore_person_tags
from yoyak.data.raw_dialogues import prepare_dialogue
from yoyak.data.windows import split_long_turns
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import counted, list_rows, read_jsonl

REASONS = {
    "in_dev_or_test": "dev or test has this dialogue, or almost this one",
    "not_a_dialogue": "the text has no speaker tag with a colon, or nothing is said",
    "repeated": "another one has the same words",
}
HELD_OUT_SHARE, MOST_HELD_OUT = 0.02, 500  # dialogues that measure the loss


class Candidate(NamedTuple):
    """A dialogue before the guard. `text` is None if it is no dialogue."""

    where: str
    text: str | None


@dataclass
class Texts:
    """The dialogues that are read.

    Attributes:
        dialogues: the texts, one turn on each line, with speaker tags as preprocess.person_tags has them.
        taken: the number of dialogues from each place, train and unlabelled.
        left_out: for each of REASONS, the places of the dialogues that are left out.
    """

    dialogues: list[str] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=lambda: {reason: [] for reason in REASONS})

    def digest(self) -> str:
        """A hash of all texts."""
        return hashlib.sha256("\0".join(self.dialogues).encode()).hexdigest()

    def report(self) -> dict[str, Any]:
        return {"dialogues": self.taken, "left_out": {reason: len(places) for reason, places in self.left_out.items()}}

    def messages(self) -> list[str]:
        """What is read, and for each reason the first dialogues that are left out."""
        taken = ", ".join(f"{count} of {name}" for name, count in self.taken.items())
        lines = [f"{counted(len(self.dialogues), 'dialogue')}: {taken}"]
        for reason, places in self.left_out.items():
            if places:
                left_out = counted(len(places), "dialogue is", "dialogues are")
                lines.append(f"{left_out} left out because {REASONS[reason]}:" + list_rows(places, count=len(places)))
        return lines


def choose_texts(processed: Path, params: Params) -> Texts:
    """The dialogues that params choose.

    A dialogue that is equal to one of dev or test, or almost the same (`near_duplicates.THRESHOLD`), is never read, also if
    train has it.

    Args:
        processed: folder of the processed rows, verified.
        params: sections preprocess and pretrain.

    Raises:
        YoyakError: if a file cannot be read, or fewer than two dialogues are left.
    """
    settings, strategy = params.pretrain, params.preprocess.person_tags
    sources: dict[str, Iterable[Candidate]] = {}
    if settings.texts != "unlabelled":
        sources["train"] = _train(processed / "train.jsonl")
    if settings.texts != "train":
        sources["unlabelled"] = _unlabelled(Path(settings.dialogues), params.preprocess)
    evaluation = SimilarRows(
        restore_person_tags(row["dialogue"], strategy)
        for split in ("dev", "test")
        for row in read_jsonl(processed / f"{split}.jsonl")
    )
    texts, seen = Texts(), set[bytes]()
    for name, candidates in sources.items():
        before = len(texts.dialogues)
        for where, text in candidates:
            reason = None
            if text is None:
                reason = "not_a_dialogue"
            elif evaluation.nearest(restore_person_tags(text, strategy)) >= THRESHOLD:
                reason = "in_dev_or_test"
            elif (words := hashlib.sha256(spoken_words(text).encode()).digest()) in seen:
                reason = "repeated"
            else:
                seen.add(words)
                texts.dialogues.append(text)
            if reason:
                texts.left_out[reason].append(where)
        texts.taken[name] = len(texts.dialogues) - before
    if len(texts.dialogues) < 2:
        raise YoyakError("pretrain: fewer than two dialogues are left; " + "; ".join(texts.messages()))
    return texts


def _train(path: Path) -> Iterator[Candidate]:
    for row in read_jsonl(path):
        yield Candidate(f"train {row['fname']}", row["dialogue"])


def _unlabelled(path: Path, settings: Preprocess) -> Iterator[Candidate]:
    for row in read_unlabelled(path, param="pretrain.dialogues"):
        try:
            yield Candidate(row.where, prepare_dialogue(row.dialogue, settings)[0])
        except BadDialogueError:
            yield Candidate(row.where, None)


def hold_out(dialogues: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """Divide dialogues into those that train and those that measure the loss: at least one, at most MOST_HELD_OUT."""
    count = min(max(1, round(HELD_OUT_SHARE * len(dialogues))), MOST_HELD_OUT)
    chosen = set(random.Random(f"{seed} held out").sample(range(len(dialogues)), count))
    return (
        [text for place, text in enumerate(dialogues) if place not in chosen],
        [text for place, text in enumerate(dialogues) if place in chosen],
    )


def pieces(dialogue: str, *, tokens: Callable[[str], int], max_length: int) -> list[str]:
    """A dialogue as parts of whole turns, of which each fits. A turn that does not fit alone is divided.

    Args:
        dialogue: one turn on each line.
        tokens: the number of tokens of a text, with those at its ends.
        max_length: most tokens of a part.
    """
    if tokens(dialogue) <= max_length:
        return [dialogue]
    parts: list[str] = []
    for turn in split_long_turns(dialogue, fits=lambda text: tokens(text) <= max_length):
        longer = f"{parts[-1]}\n{turn}" if parts else ""
        if parts and tokens(longer) <= max_length:
            parts[-1] = longer
        else:
            parts.append(turn)
    return parts
