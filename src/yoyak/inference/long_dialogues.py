"""Dialogues that are longer than the model reads, read whole: summaries of windows, then one summary.

`generation.long_dialogues: windows` chooses this. Otherwise such dialogues lose turns (`yoyak.data.truncation`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from yoyak.config.generation_section import Generation
from yoyak.data.person_tags import PersonTags, speaker_pattern
from yoyak.data.truncation import EncodedDialogue
from yoyak.data.windows import Window, split_into_windows, split_long_turns
from yoyak.evaluation.morphemes import Morphemes
from yoyak.inference.outputs import Output
from yoyak.inference.postprocessing import complete_ending, without_artefacts
from yoyak.inference.window_merging import as_dialogue, relevant_turns, sentences
from yoyak.models.families.base import Row

Encode = Callable[[Sequence[Row]], list[Any]]  # what the model reads for each row


class Generate(Protocol):
    """Writes an output for each input (`decoding.generate`). `offset` is the number of inputs of earlier calls."""

    def __call__(self, encoded: Sequence[Any], dialogues: Sequence[str], *, offset: int) -> list[Output]: ...


@dataclass(frozen=True)
class WindowReader:
    """Reads dialogues that are too long in windows.

    Attributes:
        encode: of the family.
        overlap: generation.window_overlap.
        max_length: tokenizer.max_input_length.
    """

    encode: Encode
    overlap: int
    max_length: int

    def read(self, rows: Sequence[Row]) -> list[Any]:
        """What the model reads for each row: a WindowedDialogue for each that would lose turns.

        Rows of families that shorten nothing stay as they are.

        Args:
            rows: with dialogue, topic and, for messages, fname.
        """
        return [
            self.split(item, row) if isinstance(item, EncodedDialogue) and item.is_shortened else item
            for item, row in zip(self.encode(rows), rows, strict=True)
        ]

    def fits_in(self, row: Row) -> Callable[[str], bool]:
        """A function that says whether the model reads a text whole, as the dialogue of `row`."""
        return lambda text: not self.encode([{**row, "dialogue": text}])[0].is_shortened

    def split(self, whole: EncodedDialogue, row: Row) -> EncodedDialogue:
        """A dialogue that lost turns, in windows."""
        fits = self.fits_in(row)
        turns = split_long_turns(row["dialogue"], fits=fits)
        if len(turns) == 1:  # not even one character of its only turn fits
            return whole
        windows = split_into_windows(turns, fits=fits, overlap=self.overlap, least=-(-whole.tokens // self.max_length))
        parts = self.encode([_part_of(row, window.text, f"window {number}") for number, window in enumerate(windows, 1)])
        fields = {name: getattr(whole, name) for name in EncodedDialogue.__dataclass_fields__}
        return WindowedDialogue(
            **fields, reader=self, turns_read=tuple(turns), parts=tuple(windows), encoded_parts=tuple(parts)
        )


@dataclass(frozen=True, kw_only=True)
class WindowedDialogue(EncodedDialogue):
    """A dialogue that the model reads in windows. `ids` and the counts are those of the shortened dialogue.

    Attributes:
        reader: made it.
        turns_read: of the dialogue; a turn that does not fit alone is several turns.
        parts: the windows.
        encoded_parts: what the model reads for each window.
    """

    reader: WindowReader
    turns_read: tuple[str, ...]
    parts: tuple[Window, ...]
    encoded_parts: tuple[Any, ...]


def _part_of(row: Row, text: str, name: str) -> Row:
    """A row with a part of the dialogue. The name is for messages about requests to an API."""
    return {**row, "dialogue": text, "fname": f"{row.get('fname', 'dialogue')} ({name})"}


def model_inputs(encoded: Sequence[Any]) -> list[Any]:
    """What a backend reads in the first pass: of a windowed dialogue each window, of others the token ids, or the items of a
    family that shortens nothing."""
    return [item for row in encoded for item in _inputs_of(row)]


def _inputs_of(row: Any) -> list[Any]:
    if isinstance(row, WindowedDialogue):
        return [part.ids for part in row.encoded_parts]
    return [row.ids if isinstance(row, EncodedDialogue) else row]


def write_in_passes(
    encoded: Sequence[Any],
    rows: Sequence[Row],
    generate: Generate,
    *,
    settings: Generation,
    person_tags: PersonTags,
    offset: int = 0,
) -> list[Output]:
    """One output for each row, without what chat models write around a summary.

    In the first pass the model writes summaries of all windows and of all other dialogues. In the second pass it writes one
    summary for each windowed dialogue (`generation.window_merge`). With `join` there is no second pass. With `summaries` there
    are more passes, if the summaries of the windows are too long too.

    Args:
        encoded: of `WindowReader.read`.
        rows: the same rows.
        generate: writes the outputs.
        settings: section generation.
        person_tags: how speaker tags are written.
        offset: the number of inputs of earlier passes.
    """
    inputs = model_inputs(encoded)
    counts = [len(_inputs_of(row)) for row in encoded]
    texts = [row["dialogue"] for row, count in zip(rows, counts, strict=True) for _ in range(count)]
    written = iter(without_artefacts(generate(inputs, texts, offset=offset)))
    outputs = [[next(written) for _ in range(count)] for count in counts]
    merged = [of_row[0] for of_row in outputs]
    long = [number for number, row in enumerate(encoded) if isinstance(row, WindowedDialogue)]
    if not long:
        return merged
    if settings.window_merge == "join":
        for number in long:
            merged[number] = _joined(outputs[number])
        return merged
    merge = _Merge(settings, person_tags)
    again = [merge.row(encoded[number], rows[number], outputs[number]) for number in long]
    read = [merge.read(encoded[number], row, rows[number]) for number, row in zip(long, again, strict=True)]
    second = write_in_passes(read, again, generate, settings=settings, person_tags=person_tags, offset=offset + len(inputs))
    for number, output in zip(long, second, strict=True):
        merged[number] = replace(output, artefacts=_artefacts([*outputs[number], output]))
    return merged


def _artefacts(outputs: Sequence[Output]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for output in outputs for name in output.artefacts))


def _joined(outputs: Sequence[Output]) -> Output:
    text = " ".join(sentences([complete_ending(output) for output in outputs]))
    broken = any(output.broken for output in outputs)
    return Output(text, hit_limit=False, broken=broken, artefacts=_artefacts(outputs))


class _Merge:
    """Makes what the model reads in the next pass."""

    def __init__(self, settings: Generation, person_tags: PersonTags) -> None:
        self.settings, self.person_tags = settings, person_tags
        self.morphemes = Morphemes() if settings.window_merge == "turns" else None

    def row(self, dialogue: WindowedDialogue, row: Row, outputs: Sequence[Output]) -> Row:
        """A row whose dialogue is made of the summaries of windows."""
        summaries = [complete_ending(output) for output in outputs]
        if self.morphemes is not None:
            text = relevant_turns(
                dialogue.turns_read, dialogue.parts, summaries, morphemes=self.morphemes, fits=dialogue.reader.fits_in(row)
            )
        else:
            first_speaker = dialogue.turns_read[0].partition(": ")[0]
            text = as_dialogue(summaries, speaker_pattern(self.person_tags), first_speaker)
        return _part_of(row, text, "summary")

    def read(self, dialogue: WindowedDialogue, row: Row, before: Row) -> Any:
        """What the model reads for it: in windows again, if it does not fit, and the last pass made it shorter."""
        item = dialogue.reader.encode([row])[0]
        is_shorter = len(row["dialogue"]) < len(before["dialogue"])
        return dialogue.reader.split(item, row) if item.is_shortened and is_shorter else item


def count_windows(encoded: Sequence[Any]) -> dict[str, Any]:
    """How many rows are read in windows, their windows, the most windows of a row, and the turns that two windows share."""
    rows = [row for row in encoded if isinstance(row, WindowedDialogue)]
    windows = [len(row.parts) for row in rows]
    twice = sum(sum(part.end - part.first for part in row.parts) - len(row.turns_read) for row in rows)
    return {
        "dialogues": len(rows),
        "windows": sum(windows),
        "windows_max": max(windows, default=0),
        "turns_read_twice": twice,
    }


def describe_windows(encoded: Sequence[Any], *, max_length: int) -> str | None:
    """A sentence on rows that are read in windows, or None if there are none."""
    counts = count_windows(encoded)
    if not counts["dialogues"]:
        return None
    return (
        f"{counts['dialogues']:,} of {len(encoded):,} dialogues are longer than tokenizer.max_input_length ({max_length:,} "
        f"tokens): each is read whole in 2 to {counts['windows_max']:,} windows ({counts['windows']:,} in all)"
    )


def as_read(row: Any) -> Any:
    """A windowed dialogue as one that lost nothing, for `truncation.count_cuts`. Other rows stay as they are."""
    return EncodedDialogue([0] * row.tokens, row.tokens, row.turns) if isinstance(row, WindowedDialogue) else row
