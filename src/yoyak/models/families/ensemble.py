"""The family `ensemble`: finished experiments that work together. The stage ensemble makes models/ensemble of them.

An ensemble by `average_weights` is an ordinary model, of the family of its members. One by `average_probabilities` has the
models of its members, and one by `consensus` only the summaries that they wrote for dev and test. Its members can summarize
other dialogues where the repository has their models (`ensembles.live_members`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

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
    """The summaries of one dialogue, one of each member. The length is that of all texts.

    Attributes:
        texts: with speaker tags as `preprocess.person_tags` says.
        written: what the members say of their summaries (`shared_model.Written`); empty for summaries that were stored.
    """

    texts: tuple[str, ...]
    written: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.texts))


class Members(Protocol):
    """Members that can summarize dialogues of which no summaries are stored."""

    def write(self, rows: Sequence[Row]) -> list[MemberSummaries]: ...


@dataclass(frozen=True)
class StoredSummaries:
    """What a consensus has in place of a model.

    Attributes:
        commits: of the members.
        utility: `model.ensemble.utility`.
        facts: `model.ensemble.facts`.
        person_tags: `preprocess.person_tags`, how dialogues and summaries write speaker tags.
        by_dialogue: the summaries of each dialogue of dev and test.
        folder: where they come from, for messages.
        members: summarize other dialogues; None where their models are not at hand.
    """

    commits: tuple[str, ...]
    utility: str
    facts: float
    person_tags: "PersonTags"
    by_dialogue: dict[str, MemberSummaries]
    folder: Path
    members: Members | None = None


class EnsembleFamily(Family):
    name = "ensemble"
    is_trained = False
    # Those of a consensus. The model of the other methods belongs to another family, which reads more.
    unread_params = (
        *("model.kobart.", "model.qlora.", "model.endpoint.", "training.", "lora.", "augment.", "tokenizer.", "prompt."),
        "generation.",
    )

    def recognizes(self, folder: Path) -> bool:
        own = (DESCRIPTION_FILE, MEMBERS_FOLDER, SUMMARIES_FILE)  # one that lacks its description is an ensemble too
        return any((folder / name).exists() for name in own) and not (folder / "config.json").is_file()

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

            return load_averaged(_model_folders(folder))
        description: dict[str, Any] = read_json(folder / DESCRIPTION_FILE)
        rows = {row["dialogue"]: MemberSummaries(tuple(row["summaries"])) for row in read_jsonl(folder / SUMMARIES_FILE)}
        settings = {key: description[key] for key in ("utility", "facts", "person_tags")}
        stored = StoredSummaries(tuple(description["members"]), **settings, by_dialogue=rows, folder=folder)
        return LoadedModel(self.name, stored, tokenizer=None)

    def encode(self, rows: Sequence[Row], loaded: LoadedModel, params: Params, *, names_topic: bool) -> list[Any]:
        stored: StoredSummaries = loaded.model
        new = [number for number, row in enumerate(rows) if row["dialogue"] not in stored.by_dialogue]
        if new and stored.members is None:
            raise YoyakError(
                f"{rows[new[0]].get('fname') or f'dialogue {new[0] + 1}'}: {stored.folder} has no summaries of this dialogue. "
                "A consensus chooses between summaries that its members wrote for dev and test. Others need the models of its "
                "members, which `yoyak summarize`, `yoyak serve` and `yoyak app` load in the repository that has them"
            )
        written = dict(zip(new, stored.members.write([rows[number] for number in new]), strict=True)) if stored.members else {}
        return [written.get(number) or stored.by_dialogue[row["dialogue"]] for number, row in enumerate(rows)]


def _model_folders(folder: Path) -> list[Path]:
    """The folders of the members of an ensemble by average_probabilities, in their order.

    Raises:
        YoyakError: if one of them is missing.
    """
    count = int(read_json(folder / DESCRIPTION_FILE)["models"])
    folders = [folder / MEMBERS_FOLDER / str(number) for number in range(1, count + 1)]
    if missing := [path for path in folders if not path.is_dir()]:
        raise YoyakError(f"{missing[0]}: no such folder, but the ensemble has {count} models; `dvc checkout` writes it again")
    return folders


FAMILY = EnsembleFamily()
