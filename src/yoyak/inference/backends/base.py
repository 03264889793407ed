"""The interface of a backend."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from yoyak.config.generation_section import Generation
from yoyak.inference.outputs import Output
from yoyak.models.families.base import LoadedModel


class Writer(Protocol):
    """A model that is ready to write summaries with a backend."""

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        """Write one batch.

        Args:
            encoded: what the model reads for each row, from `Family.encode`.
            dialogues: the text of each dialogue. `generation.blocked_scripts` never blocks its words.
            seed: the seed for sampling in this batch.

        Returns:
            One output for each row, in the same order.
        """


class Backend(ABC):
    """One way to generate text with a loaded model."""

    name: ClassVar[str]
    is_exact: ClassVar[bool]  # False: its texts may differ from those of transformers, so `auto` compares ROUGE on dev

    @abstractmethod
    def why_not(self, loaded: LoadedModel, settings: Generation) -> str | None:
        """Return every reason why this backend cannot be used with this model and these settings, or None if it can.

        An exact backend must give a reason if its texts would differ from those of transformers.
        """

    @abstractmethod
    def open(self, loaded: LoadedModel, settings: Generation, *, threads: int | None, processes: int = 1) -> Writer:
        """Make the model ready to write.

        Args:
            loaded: a model for which `why_not` returns None. Afterwards, its weights may be unusable.
            settings: section generation of params.yaml.
            threads: the total number of CPU threads. None means as many as torch uses.
            processes: how many processes share these threads and write with the same model, each of them other batches.

        Raises:
            YoyakError: if the model cannot be converted or opened.
        """
