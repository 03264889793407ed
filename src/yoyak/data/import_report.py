"""What an import found, changed and dropped: counts and examples for import.json."""

from collections import Counter
from dataclasses import dataclass, field
from typing import IO, Any

from yoyak.data.cleaning import REASONS
from yoyak.data.importers.base import Record
from yoyak.data.speaker_names import Doubt
from yoyak.system.text_files import counted, to_json

MAX_EXAMPLES = 20

# For messages: what each reason for which a row is dropped means.
DROP_REASONS = {
    **REASONS,
    "no_speaker": "no line names a speaker, such as 민수: 안녕; if the lines alternate between two speakers, use --alternating",
    "utterance_without_speaker": "an utterance has no speaker",
    "missing_keys": "the record has other keys than its format",
    "bad_utterance": "the list of utterances has something else in it",
    "too_many_speakers": "the dialogue has more speakers than there are tags",
    "repeated_row": "the same id and the same text occur before",
    "doubtful_name": "a name in it is doubtful (--ambiguous-names drop)",
    "near_duplicate": "almost the same dialogue is in dev or test, where evaluation needs it",
}


@dataclass
class ImportReport:
    """Filled while an import runs.

    `dropped_file` and `doubts_file` get all cases as JSON lines, import.json has the first ones.
    """

    dropped_file: IO[str]
    doubts_file: IO[str]
    sources: list[dict[str, Any]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_examples: list[dict[str, str]] = field(default_factory=list)
    changed: Counter[str] = field(default_factory=Counter)
    masks: Counter[str] = field(default_factory=Counter)
    speakers: Counter[int] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    doubt_examples: list[dict[str, str]] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    near_duplicates: list[dict[str, Any]] = field(default_factory=list)
    near_duplicate_count: int = 0
    rows: Counter[str] = field(default_factory=Counter)

    def drop(self, *, place: str, name: str, reason: str, found: str = "") -> None:
        """Count a row that is left out."""
        row = {"place": place, "id": name, "reason": reason, **({"found": found} if found else {})}
        self.dropped[reason] += 1
        self.dropped_file.write(to_json(row) + "\n")
        if len(self.dropped_examples) < MAX_EXAMPLES:
            self.dropped_examples.append(row)

    def doubt(self, record: Record, where: str, doubt: Doubt) -> None:
        """Count a name that may be another word."""
        row = {
            "place": record.place,
            "id": record.id,
            "in": where,
            "name": doubt.name,
            "reason": doubt.reason,
            "excerpt": doubt.excerpt,
        }
        self.doubts[doubt.reason] += 1
        self.doubts_file.write(to_json(row) + "\n")
        if len(self.doubt_examples) < MAX_EXAMPLES:
            self.doubt_examples.append(row)

    def near(self, *, row: str, other: str, similarity: float) -> None:
        """Count two rows that are almost the same."""
        self.near_duplicate_count += 1
        if len(self.near_duplicates) < MAX_EXAMPLES:
            self.near_duplicates.append({"row": row, "other": other, "similarity": round(similarity, 3)})

    def content(self) -> dict[str, Any]:
        """The part of import.json that comes from the data."""
        return {
            "sources": self.sources,
            "rows": dict(self.rows),
            "dropped": {"rows": self.dropped.total(), **_sorted(self.dropped), "examples": self.dropped_examples},
            "changed": _sorted(self.changed),
            "masks": dict(self.masks.most_common()),
            "speakers_per_dialogue": {str(number): count for number, count in sorted(self.speakers.items())},
            "doubtful_names": {"places": self.doubts.total(), **_sorted(self.doubts), "examples": self.doubt_examples},
            "renamed_ids": {"rows": len(self.renamed), **dict(list(self.renamed.items())[:MAX_EXAMPLES])},
            "near_duplicates": {"pairs": self.near_duplicate_count, "examples": self.near_duplicates},
        }

    def lines(self) -> list[str]:
        """What the user reads at the end: what is left out or doubtful, with the meaning of each reason."""
        lines = [
            f"dropped: {counted(count, 'row')}: {reason}: {DROP_REASONS.get(reason, '')}"
            for reason, count in self.dropped.most_common()
        ]
        lines += [
            f"  such as {row['place']} ({row['id'] or 'no id'}): {row['reason']}" + (f" ({found})" if found else "")
            for row in self.dropped_examples[:3]
            for found in [row.get("found", "")]
        ]
        if self.doubts:
            reasons = ", ".join(f"{reason} {count}" for reason, count in self.doubts.most_common())
            lines.append(f"doubtful names: {counted(self.doubts.total(), 'place')} ({reasons})")
            lines += [
                f"  such as {row['place']}: {row['name']!r} in {row['excerpt']!r}: {row['reason']}"
                for row in self.doubt_examples[:3]
            ]
        if self.renamed:
            lines.append(f"renamed: {counted(len(self.renamed), 'row')}, because another row has the same id")
        if self.near_duplicate_count:
            first = self.near_duplicates[0]
            lines.append(
                f"near-duplicates: {counted(self.near_duplicate_count, 'pair')}, such as {first['row']} and {first['other']} "
                f"({first['similarity']:.0%} alike); no pair is in two splits"
            )
        if self.masks:
            kinds = ", ".join(f"{mask} {count}" for mask, count in self.masks.most_common(5))
            lines.append(f"masks: {self.masks.total()} ({kinds})")
        return lines


def _sorted(counts: Counter[Any]) -> dict[str, int]:
    return {str(key): count for key, count in counts.most_common() if count}
