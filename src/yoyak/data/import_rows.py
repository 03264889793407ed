"""One imported record as a row of our files: tags for speakers, masks, and a check that the stage preprocess accepts it."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from yoyak.data.cleaning import clean_dialogue
from yoyak.data.dialogue import COLON, MOST_SPEAKERS, SPEAKER_TAG, BadDialogueError, Turn, to_text
from yoyak.data.importers.base import Record
from yoyak.data.masks import MaskMode, apply_masks
from yoyak.data.speaker_names import Doubt, NameFinder, TooManySpeakersError, assign_tags
from yoyak.data.text_repair import repair
from yoyak.system.invisible import is_blank

DoubtfulNames = Literal["keep", "map", "drop"]
_TAG_WITH_COLON = re.compile(rf"({SPEAKER_TAG.pattern})\s*{COLON}\s*")


@dataclass(frozen=True)
class ImportedRow:
    """A record in the form of our files.

    Attributes:
        dialogue: one turn on each line, with speaker tags.
        summaries: with the same tags; empty if the record has none.
        speakers: the label of each tag.
        doubts: where a name is doubtful: "dialogue" or "summary", and what is doubtful there.
        masks: how often each mask occurs.
        changed: kinds of change with their number.
    """

    dialogue: str
    summaries: list[str]
    speakers: Mapping[str, str]
    doubts: list[tuple[str, Doubt]]
    masks: Counter[str]
    changed: Counter[str]


def import_row(record: Record, *, masks: MaskMode, names: DoubtfulNames) -> ImportedRow:
    """Convert a record.

    Args:
        record: with at least one turn and no problem.
        masks: what becomes of masks, see `apply_masks`.
        names: what becomes of doubtful names: they are kept as they are, replaced too (map), or the row is dropped.

    Raises:
        BadDialogueError: with the reason, if the record cannot be used.
    """
    try:
        tags = assign_tags([turn.speaker for turn in record.turns], most=MOST_SPEAKERS)
    except TooManySpeakersError:
        count = len({turn.speaker for turn in record.turns})
        raise BadDialogueError("too_many_speakers", found=f"{count} speakers") from None
    finder = NameFinder(tags, map_doubtful=names == "map")
    found: Counter[str] = Counter()
    doubts: list[tuple[str, Doubt]] = []

    def treat(text: str, where: str) -> str:
        masked, counts = apply_masks(" ".join(_decodable(text).split()), masks)
        found.update(counts)
        named, unclear = finder.replace(masked, is_summary=where == "summary")
        doubts.extend((where, doubt) for doubt in unclear)
        return named

    turns, changed = [], Counter(record.counts)
    for turn in record.turns:
        spoken = treat(turn.utterance, "dialogue")
        # A tag with a colon would begin a turn.
        utterance = _TAG_WITH_COLON.sub(r"\1, ", spoken)
        changed["colon_after_name"] += utterance != spoken
        if is_blank(utterance):
            changed["empty_utterance"] += 1
        else:
            turns.append(Turn(tags[turn.speaker], utterance))
    summaries = [treat(text, "summary") for text in record.summaries]
    if names == "drop" and any(where == "summary" for where, _ in doubts):
        raise BadDialogueError("doubtful_name", found=next(doubt.excerpt for where, doubt in doubts if where == "summary"))
    dialogue = to_text(turns)
    _, repaired = clean_dialogue(dialogue, "minimal")  # raises what the stage preprocess would say
    for summary in summaries:
        repair(summary)
    changed.update(repaired.keys())
    changed.update(finder.counts)
    return ImportedRow(dialogue, summaries, {tag: label for label, tag in tags.items()}, doubts, found, +changed)


def _decodable(text: str) -> str:
    """`text` with U+FFFD for half a surrogate pair, which JSON can hold and UTF-8 cannot."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
