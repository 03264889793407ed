"""The members of an ensemble: finished experiments, read from git and DVC's cache by their commits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from yoyak.reports.runs import Run, scorer_of
from yoyak.system.errors import YoyakError
from yoyak.system.integrity import verify_checksums
from yoyak.system.text_files import read_jsonl

Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]  # of train, dev and test


@dataclass(frozen=True)
class Member:
    """One experiment of an ensemble.

    Attributes:
        run: its files. Its name is the start of its commit.
    """

    run: Run

    @classmethod
    def at(cls, root: Path, commit: str) -> "Member":
        """The member at a commit.

        Raises:
            YoyakError: if this repository does not have the commit.
        """
        try:
            return cls(Run(root, commit[:10], Run.find(root, commit).revision))
        except YoyakError:
            raise YoyakError(
                f"model.ensemble.members: this repository has no commit {commit}; if the experiment was deleted, make the "
                "ensemble without it; if it is on another machine, get it with `dvc exp pull REMOTE NAME`"
            ) from None

    @property
    def name(self) -> str:
        return self.run.name

    @cached_property
    def family(self) -> str:
        return str(self.run.params["model.family"])

    @cached_property
    def folds(self) -> tuple[int, int]:
        """Number of folds and the fold that is its dev; (0, 1) for an experiment without folds."""
        params = self.run.params
        count = int(params.get("data.folds") or 0)
        return (count, int(params.get("data.fold") or 1)) if count else (0, 1)

    @cached_property
    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """The processed rows of each split."""
        texts = {split: self.run.read(f"data/processed/{split}.jsonl") for split in ("train", "dev", "test")}
        return {split: [json.loads(line) for line in text.splitlines()] for split, text in texts.items()}

    def summaries(self, split: str) -> dict[str, str]:
        """Its summary of each dialogue of dev or test by fname, with the tags of the data."""
        return {row["fname"]: row["summary"] for row in self.run.read_table(f"data/predictions/{split}.csv")}

    def copy_model(self, folder: Path) -> None:
        """Copy its trained model into an empty folder.

        Raises:
            YoyakError: if it has no model, or DVC's cache does not have all of its files.
        """
        source = f"models/{self.family}"
        files = self.run.files
        paths = [path for path in files.find(source) if not path.endswith(".gitignore")] if files.exists(source) else []
        try:
            for path in paths:
                target = folder / path.removeprefix("/").removeprefix(f"{source}/")
                target.parent.mkdir(parents=True, exist_ok=True)
                files.get_file(path, str(target))
        except FileNotFoundError as error:
            raise YoyakError(
                f"{self.name}: {source} is not complete in DVC's cache; get it with `dvc exp pull REMOTE NAME`, or run the "
                f"experiment again ({error})"
            ) from None
        if not (folder / "yoyak.json").is_file():
            raise YoyakError(f"{self.name}: {source} holds no model that yoyak trained; this method needs the members' models")
        verify_checksums(folder)


def read_processed(processed: Path) -> dict[str, list[Row]]:
    """The rows of each split that the ensemble is made for. The folder is verified."""
    verify_checksums(processed)
    return {split: list(read_jsonl(processed / f"{split}.jsonl")) for split in ("train", "dev", "test")}


def check_members(members: Sequence[Member], ours: Rows) -> None:
    """Check that all members were made of the data of the ensemble, and scored alike.

    A member has the same rows of dev and test, with the same references, or it is an experiment of a cross-validation
    (`yoyak folds`): its test is the same, and all that it knows of train and dev is the train of the ensemble.

    Raises:
        YoyakError: naming the first member that does not fit, and what differs.
    """
    for member in members:
        if problem := _problem(member, ours):
            raise YoyakError(f"member {member.name}: {problem}")
        if (here := scorer_of(member.run)) != (first := scorer_of(members[0].run)):
            raise YoyakError(
                f"member {member.name}: scored otherwise than {members[0].name}:\n  {here}\n  {first}\n"
                "Score both with the same packages and the same score.references (`dvc repro score`)."
            )


def _problem(member: Member, ours: Rows) -> str | None:
    if names(member.rows["test"]) != names(ours["test"]):
        return "its test.csv has other dialogues than that of the ensemble; all members need the same data"
    if has_same_dev(member, ours):
        return None
    theirs = [*member.rows["train"], *member.rows["dev"]]
    if member.folds[0] and set(names(theirs)) <= set(names(ours["train"])):
        return None
    if names(member.rows["dev"]) == names(ours["dev"]):
        pairs = zip(member.rows["dev"], ours["dev"], strict=True)
        changed = [one["fname"] for one, other in pairs if one["references"] != other["references"]]
        return f"{len(changed)} dialogues of dev have other references, the first is {changed[0]}; use one dev.csv for all"
    if member.folds[0]:
        return f"it is fold {member.folds[1]} of {member.folds[0]}, but of other rows than train.csv of the ensemble"
    return "its dev has other dialogues than that of the ensemble; all members need the same data"


def has_same_dev(member: Member, ours: Rows) -> bool:
    """Whether its rows of dev are those of the ensemble, with the same references."""
    theirs = [(row["fname"], row["references"]) for row in member.rows["dev"]]
    return theirs == [(row["fname"], row["references"]) for row in ours["dev"]]


def names(rows: Sequence[Row]) -> list[str]:
    return [row["fname"] for row in rows]
