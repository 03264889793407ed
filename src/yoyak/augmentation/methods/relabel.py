"""New summaries for the dialogues of train, by a model that was trained before: sequence-level distillation.

Source: Kim and Rush 2016, "Sequence-Level Knowledge Distillation", arXiv:1606.07947.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from yoyak.augmentation.base import Method, Refusal, Row, Task
from yoyak.augmentation.methods.pseudo_label import OUTPUT_REASONS, Prepared, PseudoLabel
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.raw_dialogues import prepare_dialogue


class Relabel(PseudoLabel):
    """Lets the teacher of pseudo_label summarize train rows, beside their own summaries or in their place.

    Only rows of train are read. The filters still refuse dialogues that are almost those of dev or test.
    """

    name = "relabel"
    takes_train_rows = True
    reasons: ClassVar[Mapping[str, str]] = {"not_a_dialogue": "the teacher cannot read the dialogue", **OUTPUT_REASONS}

    @property
    def replaces_source(self) -> bool:
        return bool(self.settings.originals == "replace")

    @property
    def model(self) -> str:
        return str(self.workspace.params.augment.pseudo_label.model)

    def tasks(self, train: Sequence[Row]) -> list[Task]:
        _ = self.teacher  # a wrong model is told before anything else
        return Method.tasks(self, train)

    def _prepare(self, source: Row) -> "Prepared | Refusal":
        try:
            read, _ = prepare_dialogue(source["dialogue"], self.teacher.params.preprocess)
        except BadDialogueError:
            return Refusal("not_a_dialogue")
        return Prepared(source["dialogue"], {"dialogue": read, "topic": source["topic"]})

    def check(self) -> str:
        _ = self.teacher
        return f"({Path(self.model)}; {'in place of' if self.replaces_source else 'beside'} their own summaries)"

    def report(self) -> dict[str, Any]:
        return super().report() | {"originals": self.settings.originals}


METHOD = Relabel
