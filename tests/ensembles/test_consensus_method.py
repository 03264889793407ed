"""The consensus over members: what it scores on dev is what predict writes from its folder."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ensembles.stubs import OURS, StubMember
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.ensembles.consensus_method import ConsensusMethod
from yoyak.ensembles.experiment import OFF_IN_CONSENSUS
from yoyak.inference.member_choice import MembersWriter
from yoyak.models.families.ensemble import DESCRIPTION_FILE, FAMILY
from yoyak.search.base_params import apply_changes
from yoyak.system.atomic import atomic_folder
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import write_json

GOOD, LIKE_IT, ODD = "#Person1#은 d1의 요약을 합니다.", "#Person1#은 d1의 요약을 했습니다.", "비가 와서 우산을 삽니다."


def with_tags(values: dict[str, Any], person_tags: str) -> Params:
    values["preprocess"]["person_tags"] = person_tags
    return parse_params(values, source="test")


def members() -> list[Any]:
    return [
        StubMember("a", {"dev": [ODD, GOOD], "test": [GOOD]}),
        StubMember("b", {"dev": [GOOD, GOOD], "test": [ODD]}),
        StubMember("c", {"dev": [LIKE_IT, ODD], "test": [LIKE_IT]}),
    ]


def test_the_odd_one_is_outvoted(params: Params, tmp_path: Path) -> None:
    method = ConsensusMethod(members(), OURS, params, tmp_path)
    alone = [method.rows((member,)) for member in range(3)]
    everyone = method.rows((0, 1, 2))
    assert everyone[0] in (alone[1][0], alone[2][0]) and everyone[1] == alone[1][1]
    assert np.array_equal(method.rows((0, 1)), alone[0]), "two agree equally, so the first one wins"


@pytest.mark.parametrize("person_tags", ["keep_original", "simplify"])
def test_predict_chooses_among_the_written_summaries(values: dict[str, Any], person_tags: str, tmp_path: Path) -> None:
    params = with_tags(values, person_tags)
    method = ConsensusMethod(members(), OURS, params, tmp_path)
    folder = tmp_path / "ensemble"
    with atomic_folder(folder) as new:
        write_json(new / DESCRIPTION_FILE, {"method": "consensus", "members": ["a", "b", "c"], **method.write((0, 1, 2), new)})
    loaded = FAMILY.load_trained(folder)
    rows = [*OURS["dev"], *OURS["test"]]
    encoded = FAMILY.encode(rows, loaded, params, names_topic=False)
    outputs = MembersWriter(loaded.model).write(encoded, [row["dialogue"] for row in rows], seed=0)
    texts = [output.text.replace("P1", "#Person1#") for output in outputs]
    assert texts[0] in (GOOD, LIKE_IT) and texts[1:] == [GOOD, texts[2]] and texts[2] in (GOOD, LIKE_IT)
    assert [len(output.candidates) for output in outputs] == [3, 2, 3]
    with pytest.raises(YoyakError, match=r"dialogue 1: .* has no summaries of this dialogue"):
        FAMILY.encode([{"dialogue": "#Person1#: 처음 보는 말", "topic": ""}], loaded, params, names_topic=False)


@pytest.mark.parametrize("source", ["beams", "dropout"])
def test_a_consensus_of_the_first_member_is_switched_off(values: dict[str, Any], source: str) -> None:
    """Its candidates chose the member's own summaries, which are written already."""
    values["generation"] |= {"num_beams": 4}
    values["generation"]["consensus"] |= {"candidates": 4, "source": source, "weights": "probability"}
    assert parse_params(values, source="test").generation.consensus.is_on
    off = apply_changes(OFF_IN_CONSENSUS, values)
    assert not parse_params(off, source="test").generation.consensus.is_on
