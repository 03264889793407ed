"""The methods that make a model of the members' models: the mean of their weights, and the mean of their probabilities."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from yoyak.config.model_settings import ModelSettings
from yoyak.config.sections import Params
from yoyak.ensembles.averaged_weights import average_folders, check_same_shapes, check_same_tokenizer
from yoyak.ensembles.member_writing import copy_once, settings_in
from yoyak.ensembles.members import Member, Rows
from yoyak.ensembles.selection import RowScores, Subset, Values
from yoyak.evaluation import rouge
from yoyak.evaluation.morphemes import Morphemes
from yoyak.inference.summarizer import Summarizer
from yoyak.models.families.base import LoadedModel
from yoyak.models.families.ensemble import MEMBERS_FOLDER
from yoyak.models.families.lookup import family_named, family_of_folder
from yoyak.system.checksums import CHECKSUMS_FILE
from yoyak.system.errors import YoyakError
from yoyak.system.kept_values import KeptValues
from yoyak.system.resumable import BatchStore


class ModelMethod:
    """What both methods share: the members' models, and the score of a model on dev.

    Members are compared by greedy summaries, as training compares its epochs.
    """

    backward = False

    def __init__(self, members: Sequence[Member], ours: Rows, params: Params, kept: Path) -> None:
        """
        Args:
            members: experiments that `check_members` accepts.
            ours: the processed rows of the ensemble.
            params: sections model, preprocess and hardware.
            kept: folder for unfinished work.

        Raises:
            YoyakError: if a member has no model, or the models do not fit to each other.
        """
        if without := [member for member in members if not family_named(member.family).is_trained]:
            raise YoyakError(
                f"member {without[0].name}: the family {without[0].family} has no weights here; use "
                "model.ensemble.method: consensus"
            )
        self.members, self.ours, self.params, self.kept = members, ours, params, kept
        self.folders = [copy_once(member, kept) for member in members]
        self.settings = [settings_in(folder, member, params) for folder, member in zip(self.folders, members, strict=True)]
        self.family = family_of_folder(self.folders[0])
        self._check()
        self._scores = KeptValues(kept / "scores.jsonl")
        self.rows: RowScores = cache(self._rows)

    def load(self, subset: Subset, folder: Path) -> LoadedModel:
        """The model of some members. `folder` is empty and stays as long as the model is used."""
        raise NotImplementedError

    def write(self, chosen: Subset, folder: Path) -> Mapping[str, Any]:
        raise NotImplementedError

    def _check(self) -> None:
        for member, folder, settings in zip(self.members, self.folders, self.settings, strict=True):
            if (family := family_of_folder(folder)).name != self.family.name:
                raise YoyakError(
                    f"member {member.name}: its model is of the family {family.name}, that of {self.members[0].name} of "
                    f"{self.family.name}; use model.ensemble.method: consensus"
                )
            check_same_tokenizer(folder, self.folders[0], member.name, self.members[0].name)
            for key in ("tokenizer", "prompt"):
                mine, first = (getattr(one, key) for one in (settings, self.settings[0]))
                if mine != first:
                    raise YoyakError(
                        f"member {member.name}: trained with another section {key} than {self.members[0].name}; a common model "
                        "reads dialogues in one way: use model.ensemble.method: consensus"
                    )

    def _rows(self, subset: Subset) -> Values:
        """rouge_sum of each dialogue of dev for the model of some members."""
        if (known := self._scores.get(list(subset))) is None:
            with tempfile.TemporaryDirectory(dir=self.kept) as folder:
                texts = self._write_dev(self.load(subset, Path(folder)), "-".join(map(str, subset)))
            references = [row["references"] for row in self.ours["dev"]]
            scores = rouge.score_rows(predictions=texts, references=references, tokenizer=Morphemes())
            known = [float(value) for value in scores.sum(axis=1)]
            self._scores.put(list(subset), known)
        return np.array(known)

    def _write_dev(self, loaded: LoadedModel, name: str) -> list[str]:
        params = self._reading(self.settings[0], self.folders[0])
        summarizer = Summarizer(loaded, self.family, params)
        summarizer.use_examples(self.ours["train"])
        encoded = summarizer.encode(self.ours["dev"])
        store = BatchStore(self.kept / f"dev-{name}.jsonl")
        outputs = summarizer.write(encoded, self.ours["dev"], progress=f"dev by members {name}", kept=store)
        return summarizer.finish(outputs, postprocess=False)

    def _reading(self, settings: ModelSettings, folder: Path) -> Params:
        return settings.params(folder).model_copy(update={"hardware": self.params.hardware})


class WeightsMethod(ModelMethod):
    """One model with the mean of the members' weights (Wortsman et al. 2022, arXiv:2203.05482)."""

    def _check(self) -> None:
        super()._check()
        for member, folder in zip(self.members, self.folders, strict=True):
            check_same_shapes(folder, self.folders[0], member.name, self.members[0].name)

    def load(self, subset: Subset, folder: Path) -> LoadedModel:
        average_folders([self.folders[place] for place in subset], folder)
        return self.family.load_trained(folder)

    def write(self, chosen: Subset, folder: Path) -> Mapping[str, Any]:
        average_folders([self.folders[place] for place in chosen], folder)
        return {}


class ProbabilitiesMethod(ModelMethod):
    """Encoder-decoders whose probabilities of the next token are averaged."""

    def _check(self) -> None:
        if self.family.name != "kobart":
            raise YoyakError(
                "model.ensemble.method: average_probabilities needs encoder-decoders (model.family: kobart); "
                f"{self.members[0].name} is of the family {self.family.name}; use consensus or average_weights"
            )
        super()._check()

    def load(self, subset: Subset, folder: Path) -> LoadedModel:
        from yoyak.models.averaged_probabilities import load_averaged

        return load_averaged([self.folders[place] for place in subset])

    def write(self, chosen: Subset, folder: Path) -> Mapping[str, Any]:
        for number, place in enumerate(chosen, 1):
            shutil.copytree(
                self.folders[place],
                folder / MEMBERS_FOLDER / str(number),
                ignore=shutil.ignore_patterns(CHECKSUMS_FILE),
            )
        self.settings[0].write(folder)
        return {"models": len(chosen)}
