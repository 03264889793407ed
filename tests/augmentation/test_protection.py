"""Tags and masks through a rewriting."""

import pytest

from yoyak.augmentation.protection import Placeholders, check_dialogue, check_text
from yoyak.data.dialogue import BadDialogueError

TAGGED = "#Person2#씨 번호는 #PhoneNumber#이고 #@이름#, &name1&, {laughing}도 #Person2#에게 있다."


def test_tags_and_masks_become_words_and_come_back() -> None:
    placeholders = Placeholders()
    protected = placeholders.protect(TAGGED)
    assert protected == "Person2씨 번호는 Code1이고 Code2, Code3, Code4도 Person2에게 있다."
    assert placeholders.restore(protected) == TAGGED


@pytest.mark.parametrize(
    "written",
    ["person 2 asks code 1", "Persona 2 asks Codigo 1", "퍼슨2 asks 코드 1", "사람 2 asks 코드1", "PERSON2 asks CODE-1"],
)
def test_other_forms_of_a_placeholder_are_known(written: str) -> None:
    placeholders = Placeholders()
    placeholders.protect("#Person2# #PhoneNumber#")
    expected = "#Person2# asks #PhoneNumber#"
    assert placeholders.restore(written) == expected
    assert placeholders.normalize(written) == "Person2 asks Code1"


def test_particles_agree_with_the_tags_that_come_back() -> None:
    placeholders = Placeholders()
    placeholders.protect("#Person1# #Person2# &name1&")
    written = "Person1는 Person2이 Person1을 Person2으로 Code1은 부른다."
    assert placeholders.restore(written) == "#Person1#은 #Person2#가 #Person1#을 #Person2#로 &name1&은 부른다."


def test_words_of_the_text_are_no_placeholders() -> None:
    placeholders = Placeholders()
    assert placeholders.protect("사람 2명과 바코드 1개, #Person1#") == "사람 2명과 바코드 1개, Person1"
    assert placeholders.restore("사람 2명과 바코드 1개, Person1과 Person11") == "사람 2명과 바코드 1개, #Person1#과 Person11"
    for text in ("Person1은 #Person1#이다.", "사람 1명과 #Person1#"):
        with pytest.raises(BadDialogueError, match="placeholder_in_text"):
            Placeholders().protect(text)


@pytest.mark.parametrize("written", ["#Person1#이 간다.", "#Person1#과 #Person1#", "#Person1#, #Person2#, #Email#", ""])
def test_a_text_with_other_tags_is_refused(written: str) -> None:
    check_text("#Person1#과 #Person2#가 간다.", "#Person2#와 #Person1#은 떠난다.")
    with pytest.raises(BadDialogueError, match="other_tags"):
        check_text("#Person1#과 #Person2#가 간다.", written)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("#Person2#: 안녕.\n#Person1#: 그래.", "other_speakers"),
        ("#Person1#: 안녕.", "other_speakers"),
        ("#Person1#: 안녕.\n#Person2#: 그래.\n#Person1#: 응.", "other_speakers"),
        ("안녕. 그래.", "not_a_dialogue"),
        ("네, 다시 썼습니다.\n#Person1#: 안녕.\n#Person2#: 그래.", "not_a_dialogue"),
        ("#Person1#: 안녕.\n#Person2#:", "not_a_dialogue"),
        ("#Person1#: 안녕, &name1&.\n#Person2#: 그래.", "other_tags"),
    ],
)
def test_a_dialogue_keeps_its_speakers_in_their_order(written: str, reason: str) -> None:
    source = "#Person1#: 잘 지냈어?\n#Person2#: 응, 너는?"
    check_dialogue(source, "#Person1#: 안녕.\n#Person2#: 그래.")
    with pytest.raises(BadDialogueError, match=reason):
        check_dialogue(source, written)


def test_a_dialogue_of_one_turn_can_be_rewritten() -> None:
    check_dialogue("#Person1#: 여보세요?", "#Person1#: 누구세요?")
