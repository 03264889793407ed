"""What all methods share: the seed, the params, and a place where finished results survive a kill."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from yoyak.config.sections import Params
from yoyak.evaluation.morphemes import Morphemes
from yoyak.system.kept_values import KeptValues
from yoyak.system.resumable import checkpoints_root

FOLDER = "augment"  # in the folder of all unfinished work; `delete_old_work` deletes it a week after its last use


@dataclass(frozen=True)
class Workspace:
    """What all methods share.

    Attributes:
        seed: augment.seed.
        params: the sections that the stage augment declares in dvc.yaml (`stages/augment.py`, SECTIONS).
        folder: for results that are kept, by default `.checkpoints/augment` in the main repository.
    """

    seed: int
    params: Params
    folder: Path | None = None

    @cached_property
    def morphemes(self) -> Morphemes:
        """Mecab's morphemes, which are loaded when they are first asked for."""
        return Morphemes()

    @cached_property
    def _shared(self) -> dict[str, Any]:
        return {}

    def shared(self, name: str, make: Callable[[], Any]) -> Any:
        """An object that several methods use, such as a language model or its budget. `make` is called once."""
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]

    def kept(self, name: str) -> KeptValues:
        """Finished results of a method, by their content: keys name all that a result depends on.

            answers = self.workspace.kept(self.name)
            key = [VERSION, settings.checkpoint, settings.revision, text]
            if (answer := answers.get(key)) is None:
                answers.put(key, answer := …)

        Args:
            name: of the method. Each method has a file of its own.
        """
        return KeptValues((self.folder or checkpoints_root() / FOLDER) / f"{name}.jsonl")
