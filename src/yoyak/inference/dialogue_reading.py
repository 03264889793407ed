"""What a model reads of dialogues, and what is left out of those that are too long."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from yoyak.config.sections import Params
from yoyak.data.encoding_checks import describe_dialogues
from yoyak.data.truncation import EncodedDialogue, count_cuts, describe_cuts
from yoyak.inference import long_dialogues
from yoyak.inference.prompt_inputs import encode_each, input_of
from yoyak.models.checkpoints import largest_length
from yoyak.models.families.base import Family, LoadedModel


@dataclass(frozen=True)
class DialogueReader:
    """Encodes dialogues for a model, whole, shortened or in windows.

    Attributes:
        loaded: the model.
        family: of the model.
        params: sections tokenizer, prompt and generation.
        positions: of the model; None if it has no limit that is known.
    """

    loaded: LoadedModel
    family: Family
    params: Params
    positions: int | None

    @property
    def reads_windows(self) -> bool:
        decodes = "generation." not in self.family.unread_params  # a consensus over stored summaries does not
        return decodes and self.params.generation.long_dialogues == "windows"

    def encode(self, rows: Sequence[Mapping[str, str]], *, names_topic: bool) -> list[Any]:
        """What the model reads for each row, and what was left out of it (`Family.encode`).

        Args:
            rows: with `dialogue` and `topic`.
            names_topic: whether prompts name the topic.
        """
        encode: Callable[[Sequence[Mapping[str, str]]], list[Any]]
        encode = partial(self.family.encode, loaded=self.loaded, params=self.params, names_topic=names_topic)
        if self.params.generation.consensus.uses_prompts:
            encode = partial(self._encode_prompts, names_topic=names_topic)
        if not self.reads_windows:
            return encode(rows)
        overlap, length = self.params.generation.window_overlap, self.params.tokenizer.max_input_length
        return long_dialogues.WindowReader(encode, overlap, length).read(rows)

    def _encode_prompts(self, rows: Sequence[Mapping[str, str]], *, names_topic: bool) -> list[EncodedDialogue]:
        ask = partial(self.family.encode_asking, rows=rows, loaded=self.loaded, params=self.params, names_topic=names_topic)
        return encode_each(self.params.generation.consensus, ask)

    def count_cuts(self, encoded: Sequence[Any]) -> dict[str, Any]:
        """How many of the encoded rows were too long, and what was left out of them (`truncation.count_cuts`)."""
        counts = count_cuts([long_dialogues.as_read(row) for row in encoded], self.params.tokenizer.truncation)
        if not self.reads_windows:
            return counts
        return counts | {"windowed": {"merge": self.params.generation.window_merge, **long_dialogues.count_windows(encoded)}}

    def describe_cuts(self, encoded: Sequence[Any]) -> str | None:
        """A sentence on the encoded rows that were too long, or None if all of them fit."""
        lengths = self.params.tokenizer
        if windows := long_dialogues.describe_windows(encoded, max_length=lengths.max_input_length):
            return windows
        limits = self.family.token_limits(lengths, self.params.generation)
        return describe_cuts(
            self.count_cuts(encoded),
            rows=len(encoded),
            truncation=lengths.truncation,
            max_length=lengths.max_input_length,
            largest=largest_length("max_input_length", lengths.max_input_length, limits, self.positions),
        )

    def describe_losses(self, encoded: Sequence[Any], dialogues: Sequence[str]) -> Iterator[str]:
        """Sentences on rows that were too long, and on characters that the tokenizer does not know."""
        if cuts := self.describe_cuts(encoded):
            yield cuts
        shortened = [row for row in encoded if isinstance(row, EncodedDialogue)]
        if self.family.is_trained and len(shortened) == len(dialogues):  # others have no tokenizer that could lose characters
            yield from describe_dialogues(self.loaded.tokenizer, dialogues, [input_of(row.ids, 0) for row in shortened])
