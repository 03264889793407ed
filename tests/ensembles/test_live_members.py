"""A consensus over dialogues of which no summaries are stored: the members' models write, and the consensus is chosen."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import served_params  # noqa: F401  (fixture)
from tests.conftest import DIALOGUES
from tests.ensembles.stubs import OURS, StubMember
from yoyak.app.model_source import ModelSource
from yoyak.config.sections import Params
from yoyak.ensembles import live_members
from yoyak.ensembles.live_members import LiveMembers, check_members_can_write, connect
from yoyak.inference.member_choice import MembersWriter
from yoyak.inference.shared_model import SharedModel
from yoyak.inference.summarizer import Summarizer
from yoyak.models.families.base import LoadedModel
from yoyak.models.families.ensemble import DESCRIPTION_FILE, FAMILY, MemberSummaries, StoredSummaries
from yoyak.system.checksums import write_checksums
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import write_json

STORED = "#Person1#: 저장된 대화\n#Person2#: 응."
KEPT = MemberSummaries(("점심을 먹는다.", "점심을 먹는다.", "다른 말."))


def consensus(params: Params, folder: Path) -> Summarizer:
    stored = StoredSummaries(
        commits=("a" * 40, "b" * 40, "c" * 40),
        utility="rouge",
        facts=0,
        person_tags="keep_original",
        by_dialogue={STORED: KEPT},
        folder=folder,
    )
    return Summarizer(LoadedModel("ensemble", stored, None), FAMILY, params)


@pytest.fixture
def live(_tiny: Path, served_params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Summarizer:  # noqa: F811
    """A consensus of one model with three lengths."""
    lengths = {"a": 4, "b": 12, "c": 11}

    def summarizer(member: Any, params: Params, kept: Path) -> Summarizer:
        generation = served_params.generation.model_copy(update={"max_new_tokens": lengths[member.name]})
        return Summarizer.load(_tiny, params=served_params.model_copy(update={"generation": generation}))

    written: dict[str, list[str]] = {"dev": [], "test": []}
    members = [StubMember(name, written) for name in lengths]
    monkeypatch.setattr(live_members, "member_summarizer", summarizer)
    monkeypatch.setattr(live_members, "members_of", lambda stored, root: members)
    made = consensus(served_params, tmp_path)
    connect(made, tmp_path)
    return made


def test_new_dialogues_get_the_consensus_of_what_the_members_write(live: Summarizer) -> None:
    members = live.loaded.model.members
    assert isinstance(members, LiveMembers)
    rows = [{"dialogue": text, "topic": ""} for text in DIALOGUES]
    alone = [[one.summary for one in model.write([rows], model.settings)[0]] for model in members.models]
    by_row = [MemberSummaries(texts) for texts in zip(*alone, strict=True)]
    expected = [output.text for output in MembersWriter(live.loaded.model).write(by_row, DIALOGUES, seed=0)]
    assert live.summarize_many([*DIALOGUES, STORED]) == [*expected, "점심을 먹는다."]
    assert alone[0] != alone[1], "the members write different texts"


def test_a_served_consensus_writes_the_same_and_counts_what_the_chosen_member_did(live: Summarizer) -> None:
    shared = SharedModel(live)
    rows = [{"dialogue": text, "topic": ""} for text in [*DIALOGUES, STORED]]
    (written,) = shared.write([rows], shared.settings)
    assert [one.summary for one in written] == live.summarize_many([row["dialogue"] for row in rows])
    assert written[0].input_tokens > 0 and 0 < written[0].output_tokens <= 12
    assert (written[-1].input_tokens, written[-1].turns) == (0, 2), "a stored summary: nothing was read"
    assert shared.parallel == 1 and shared.choice.why == "each member writes with its own backend"
    with pytest.raises(YoyakError, match="each member writes with those of its experiment"):
        shared.change({"num_beams": 3})


def test_where_a_consensus_cannot_summarize_it_says_why(
    served_params: Params,  # noqa: F811
    tmp_path: Path,
) -> None:
    made = consensus(served_params, tmp_path)
    with pytest.raises(YoyakError, match=r"has no summaries of this dialogue.*yoyak serve"):
        made.summarize(DIALOGUES[0])
    with pytest.raises(YoyakError, match=r"needs the models of its members, which are in the repository"):
        connect(made, None)
    endpoint = replace(StubMember("d", {}, OURS), family="endpoint")
    with pytest.raises(YoyakError, match=r"member d: its model is behind an API"):
        check_members_can_write([endpoint])  # type: ignore[list-item]


def test_a_lost_file_of_an_ensemble_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "ensemble"
    (folder / "members/1").mkdir(parents=True)
    with pytest.raises(YoyakError, match=r"ensemble\.json: no such file; `yoyak ensemble"):
        FAMILY.load_trained(folder)
    ModelSource(folder, "x").check()  # it is an ensemble; loading says what is wrong
    write_json(folder / DESCRIPTION_FILE, {"method": "average_probabilities", "members": ["a", "b"], "models": 2})
    write_checksums(folder)
    with pytest.raises(YoyakError, match=r"members/2: no such folder, but the ensemble has 2 models"):
        FAMILY.load_trained(folder)
