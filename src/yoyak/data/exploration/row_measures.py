"""What exploration measures of one row without Mecab and without a tokenizer."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from yoyak.config.sections import Preprocess
from yoyak.data.cleaning import clean_row, references_of
from yoyak.data.dialogue import SPEAKER_TAG, TAG, BadDialogueError
from yoyak.data.exploration.tally import Record, shown
from yoyak.data.masks import apply_masks
from yoyak.system.csv_files import Row

NUMBERS = ("dialogue_characters", "summary_characters", "turns", "speakers")
# Signs that a summary may be wrong. The order is that of the page.
SUMMARY_SIGNS = ("empty", "longer_than_dialogue", "no_tag", "tag_not_in_dialogue")


@dataclass(frozen=True)
class MeasuredRow:
    """One row with its measures.

    Attributes:
        place: file and line, such as data/raw/train.csv:17.
        cells: the raw row.
        row: the cleaned row (`cleaning.clean_row`), or None if it cannot be used.
        rejection: why it cannot be used, or an empty text.
        dirt: the kinds of change that cleaning made.
        numbers: the measures of NUMBERS; those of the summary only if there is one.
        tags, summary_tags, masks: the different tags and masks.
        signs: of SUMMARY_SIGNS, those that the row has.
    """

    place: str
    cells: dict[str, str]
    row: dict[str, Any] | None = None
    rejection: str = ""
    dirt: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, int] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    summary_tags: frozenset[str] = frozenset()
    masks: frozenset[str] = frozenset()
    signs: tuple[str, ...] = ()

    def record(self, split: str, *, raw: bool = False, note: str = "") -> Record:
        """The row for a reader: cleaned, or raw if it cannot be used or `raw` asks for it."""
        cells, row = self.cells, {} if raw or self.row is None else self.row
        summary = row.get("summary") or cells.get("summary") or next(iter(references_of(cells)), "")
        return Record(
            self.place,
            shown(cells["fname"]),
            split,
            shown(" ".join(cells.get("topic", "").split())),
            shown(row.get("dialogue", cells["dialogue"])),
            shown(summary),
            note,
        )


def measure(line: Row, *, file: str, with_summary: bool, settings: Preprocess) -> MeasuredRow:
    """Clean and measure one raw row.

    Args:
        line: the row and its line number.
        file: the name of its file.
        with_summary: whether rows of this file have a summary.
        settings: section preprocess. Tags stay as they are, whatever `person_tags` says.
    """
    place, cells = f"{file}:{line.line}", line.cells
    try:
        row, dirt = clean_row(cells, noise=settings.noise, person_tags="keep_original", with_summary=with_summary)
    except BadDialogueError as error:
        return MeasuredRow(place, cells, rejection=str(error), signs=("empty",) if str(error) == "empty_summary" else ())
    dialogue, summary = row["dialogue"], row.get("summary")
    tags = frozenset(TAG.findall(dialogue))
    numbers = {
        "dialogue_characters": len(dialogue),
        "turns": dialogue.count("\n") + 1,
        "speakers": len(set(SPEAKER_TAG.findall(dialogue))),
    }
    if summary is None:
        return MeasuredRow(place, cells, row, dirt=dirt, numbers=numbers, tags=tags, masks=_masks(dialogue))
    summary_tags = frozenset(TAG.findall(summary))
    numbers["summary_characters"] = len(summary)
    signs = {
        "longer_than_dialogue": len(summary) > len(dialogue),
        "no_tag": not summary_tags,
        "tag_not_in_dialogue": bool(summary_tags - tags),
    }
    return MeasuredRow(
        place,
        cells,
        row,
        dirt=dirt,
        numbers=numbers,
        tags=tags,
        summary_tags=summary_tags,
        masks=_masks(dialogue) | _masks(summary),
        signs=tuple(sign for sign, holds in signs.items() if holds),
    )


def _masks(text: str) -> frozenset[str]:
    return frozenset(apply_masks(text, "keep")[1])
