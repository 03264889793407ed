"""The family `ensemble`: finished experiments that work together. The stage ensemble makes models/ensemble of them.

An ensemble by `average_weights` is an ordinary model, of the family of its members. One by `average_probabilities` has the
models of its members, and one by `consensus` only the summaries that they wrote for dev and test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak.config.sections import Params
from yoyak.models.families.base import Family, LoadedModel, Row
from yoyak.system.errors import YoyakError
from yoyak.system.integrity import verify_checksums
from yoyak.system.text_files import read_json, read_jsonl

if TYPE_CHECKING:
    from yoyak.data.person_tags import PersonTags

DESCRIPTION_FILE = "ensemble.json"  # in models/ensemble: how it was made
MEMBERS_FOLDER = "members"  # in models/ensemble, of average_probabilities: one folder for each model, 1, 2, …
SUMMARIES_FILE = "summaries.jsonl"  # in models/ensemble, of a consensus: fname, dialogue, and one summary of each member


@dataclass(frozen=True)
class MemberSummaries:
    """The summaries of one dialogue, one of each member. The length is that of all texts."""

    texts: tuple[str, ...]

    def __len__(self) -> int:
        return sum(map(len, self.texts))


@dataclass(frozen=True)
class StoredSummaries:
    """What a consensus has in place of a model.

    Attributes:
        utility: `model.ensemble.utility`.
        facts: `model.ensemble.facts`.
        person_tags: `preprocess.person_tags`, how dialogues and summaries write speaker tags.
        by_dialogue: the summaries of each dialogue of dev and test.
        folder: where they come from, for messages.
    """

    utility: str
    facts: float
    person_tags: "PersonTags"
    by_dialogue: dict[str, MemberSummaries]
    folder: Path


class EnsembleFamily(Family):
    name = "ensemble"
    is_trained = False
    # Those of a consensus. The model of the other methods belongs to another family, which reads more.
    unread_params = (
        *("model.kobart.", "model.qlora.", "model.endpoint.", "training.", "lora.", "augment.", "tokenizer.", "prompt."),
        "generation.",
    )

    def recognizes(self, folder: Path) -> bool:
        return (folder / DESCRIPTION_FILE).is_file() and not (folder / "config.json").is_file()

    def load_trained(self, folder: Path, params: Params | None = None) -> LoadedModel:
        """Load the model of the ensemble, whose family `LoadedModel.family` names, or the summaries of a consensus."""
        if not (folder / DESCRIPTION_FILE).is_file():
            raise YoyakError(
                f"{folder / DESCRIPTION_FILE}: no such file; `yoyak ensemble NAME EXPERIMENT EXPERIMENT` makes an ensemble, "
                "and `dvc repro` writes it again"
            )
        if not self.recognizes(folder):
            from yoyak.models.families.lookup import family_of_folder

            return family_of_folder(folder).load_trained(folder, params)
        verify_checksums(folder, presence_only=(".safetensors",))
        if (folder / MEMBERS_FOLDER).is_dir():
            from yoyak.models.averaged_probabilities import load_averaged

            return load_averaged(sorted((folder / MEMBERS_FOLDER).iterdir(), key=lambda path: int(path.name)))
        description: dict[str, Any] = read_json(folder / DESCRIPTION_FILE)
        rows = {row["dialogue"]: MemberSummaries(tuple(row["summaries"])) for row in read_jsonl(folder / SUMMARIES_FILE)}
        settings = {key: description[key] for key in ("utility", "facts", "person_tags")}
        return LoadedModel(self.name, StoredSummaries(**settings, by_dialogue=rows, folder=folder), tokenizer=None)

    def encode(self, rows: Sequence[Row], loaded: LoadedModel, params: Params, *, names_topic: bool) -> list[Any]:
        stored: StoredSummaries = loaded.model
        for number, row in enumerate(rows, 1):
            if row["dialogue"] not in stored.by_dialogue:
                raise YoyakError(
                    f"{row.get('fname') or f'dialogue {number}'}: {stored.folder} has no summaries of this dialogue. A "
                    "consensus chooses between summaries that its members wrote for dev and test. For other dialogues use a "
                    "member, or an ensemble with --method average_weights or average_probabilities"
                )
        return [stored.by_dialogue[row["dialogue"]] for row in rows]


FAMILY = EnsembleFamily()
