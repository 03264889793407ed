"""The members of a consensus, with their models: they summarize dialogues of which the ensemble has no summaries."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from yoyak.config.sections import Params
from yoyak.data.person_tags import replace_person_tags
from yoyak.ensembles.member_writing import member_summarizer
from yoyak.ensembles.members import Member
from yoyak.inference.shared_model import SharedModel
from yoyak.inference.summarizer import Summarizer
from yoyak.models.families.base import Row
from yoyak.models.families.ensemble import MemberSummaries, StoredSummaries
from yoyak.system.errors import YoyakError


class LiveMembers:
    """Members whose models are loaded when the first dialogue comes. Each writes with the settings of its experiment."""

    def __init__(self, members: Sequence[Member], params: Params) -> None:
        """
        Args:
            members: in the order of the ensemble.
            params: sections preprocess and hardware of the ensemble.
        """
        self.members, self.params = members, params

    @cached_property
    def models(self) -> list[SharedModel]:
        """YoyakError if a member has no complete model here, or reads dialogues that are cleaned otherwise."""
        check_members_can_write(self.members)
        with tempfile.TemporaryDirectory(prefix="yoyak-members-") as folder:
            return [SharedModel(member_summarizer(member, self.params, Path(folder))) for member in self.members]

    def write(self, rows: Sequence[Row]) -> list[MemberSummaries]:
        if not rows:
            return []
        tags = self.params.preprocess.person_tags
        by_member = [model.write([rows], model.settings)[0] for model in self.models]
        return [
            MemberSummaries(tuple(replace_person_tags(one.summary, tags) for one in written), written)
            for written in zip(*by_member, strict=True)
        ]


def check_members_can_write(members: Sequence[Member]) -> None:
    """Refuse members without a model here, before anything is copied.

    Raises:
        YoyakError: naming the first such member.
    """
    for member in members:
        if member.family == "endpoint":
            raise YoyakError(
                f"member {member.name}: its model is behind an API, so that it cannot summarize further dialogues here; make a "
                "consensus of experiments with trained models, or use one of the other members"
            )


def members_of(stored: StoredSummaries, root: Path | None) -> list[Member]:
    """The members of a consensus.

    Raises:
        YoyakError: if there is no repository, or it does not have the commit of a member.
    """
    if root is None:
        raise YoyakError(
            f"{stored.folder}: a consensus needs the models of its members, which are in the repository that made it; run the "
            "command there, or use an ensemble by average_weights or average_probabilities, which has its models in its folder"
        )
    return [Member.at(root, commit) for commit in stored.commits]


def connect(summarizer: Summarizer, root: Path | None) -> LiveMembers | None:
    """Let a consensus summarize further dialogues by the models of its members. Any other model stays as it is.

    Args:
        summarizer: a loaded model.
        root: the repository that has the members; None if there is none.

    Returns:
        The members of a consensus, whose models are not loaded yet.

    Raises:
        YoyakError: if there is no repository, or it does not have the commit of a member.
    """
    stored = summarizer.loaded.model
    if not isinstance(stored, StoredSummaries):
        return None
    members = LiveMembers(members_of(stored, root), summarizer.params)
    summarizer.loaded.model = replace(stored, members=members)
    return members
