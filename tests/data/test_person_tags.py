"""Speaker tags as a model reads them, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.random_texts import QUICK, STRATEGIES, TEXTS
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.person_tags import PersonTags, replace_person_tags, replace_reversibly, restore_person_tags


@pytest.mark.parametrize(
    ("strategy", "written"),
    [
        ("keep_original", "#Person1#은 #Person7#에게 #Email#을 준다."),
        ("simplify", "P1은 P7에게 #Email#을 준다."),
        ("abstract", "화자1은 화자7에게 #Email#을 준다."),
    ],
)
def test_tags_are_replaced_and_restored(strategy: PersonTags, written: str) -> None:
    text = "#Person1#은 #Person7#에게 #Email#을 준다."
    assert replace_person_tags(text, strategy) == written
    assert restore_person_tags(written, strategy) == text
    assert replace_reversibly(text, strategy) == written


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        ("simplify", "주차장은 P1입니다."),
        ("simplify", "#Person1#3시"),
        ("simplify", "A#Person1#"),
        ("simplify", "#Person1##Person2#"),
        ("abstract", "화자1이 누구야?"),
        ("abstract", "#Person1#3시"),
    ],
)
def test_a_text_whose_tags_cannot_be_restored_is_refused(strategy: PersonTags, text: str) -> None:
    with pytest.raises(BadDialogueError, match=f"{strategy}_could_not_be_undone"):
        replace_reversibly(text, strategy)
    assert replace_reversibly(text, "keep_original") == text


@pytest.mark.parametrize("text", ["P100 구역", "MP3", "P1a", "화자120", "VP1"])
def test_restore_leaves_what_only_looks_like_a_tag(text: str) -> None:
    for strategy in STRATEGIES:
        assert restore_person_tags(text, strategy) == text


@QUICK
@given(TEXTS, st.sampled_from(STRATEGIES))
def test_restoring_is_the_inverse_of_replacing_for_any_text_that_is_not_refused(text: str, strategy: PersonTags) -> None:
    try:
        replaced = replace_reversibly(text, strategy)
    except BadDialogueError:
        assert restore_person_tags(replace_person_tags(text, strategy), strategy) != text
    else:
        assert replaced == replace_person_tags(text, strategy)
        assert restore_person_tags(replaced, strategy) == text
