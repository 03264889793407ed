"""The interface of a backend."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from yoyak.config.sections import Generation
from yoyak.inference.outputs import Output
from yoyak.models.families.base import LoadedModel


class Writer(Protocol):
    """A model that a backend has made ready to write."""

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        """Write one batch.

        Args:
            encoded: what the model reads for each row, from `Family.encode`.
            dialogues: the text of each dialogue. Its own words are never blocked as foreign.
            seed: for sampling. It depends on the batch alone, so that no batch depends on those before it.

        Returns:
            One output for each row, in the same order.
        """


class Backend(ABC):
    """One way to generate text with a loaded model."""

    name: ClassVar[str]
    is_exact: ClassVar[bool]  # False: it may write other texts than transformers, so `auto` first compares ROUGE on dev

    @abstractmethod
    def why_not(self, loaded: LoadedModel, settings: Generation) -> str | None:
        """Why this backend cannot write with this model and these settings as transformers would; None if it can."""

    @abstractmethod
    def open(self, loaded: LoadedModel, settings: Generation, *, threads: int | None) -> Writer:
        """Make the model ready to write.

        Args:
            loaded: a model for which `why_not` gave None. Its weights may be used up.
            settings: section generation of params.yaml.
            threads: CPU threads to use in all; None for as many as torch uses.

        Raises:
            YoyakError: if the model cannot be converted or opened.
        """
