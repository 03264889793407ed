"""There and back: placeholders on both ways, sentences, and languages that the translators must know."""

from pathlib import Path
from typing import Any

import pytest

from tests.augmentation import tiny_translators
from tests.augmentation.model_helpers import FakeTranslator, workspace
from yoyak.augmentation.text_models.round_trip import RoundTrip
from yoyak.system.errors import YoyakError


def trip(there: FakeTranslator, back: FakeTranslator) -> RoundTrip:
    models: Any = (there, back)
    return RoundTrip(*models, korean="kor_Hang")


def test_sentences_go_there_and_back_with_placeholders() -> None:
    there = FakeTranslator(rule=lambda text, target: text.replace("Person1", "person 1").replace("은 간다", " goes"))
    back = FakeTranslator(rule=lambda text, target: text.replace("Person1", "퍼슨 1").replace(" goes", "은 떠난다"))
    (result,) = trip(there, back).rewrite(["#Person1#은 간다. 번호는 #PhoneNumber#!"], "eng_Latn")
    assert result.text == "#Person1#은 떠난다. 번호는 #PhoneNumber#!" and result.failed is None
    assert there.asked == [("kor_Hang", "eng_Latn", "Person1은 간다."), ("kor_Hang", "eng_Latn", "번호는 Code1!")]
    assert back.asked == [("eng_Latn", "kor_Hang", "Person1 goes."), ("eng_Latn", "kor_Hang", "번호는 Code1!")]


@pytest.mark.parametrize(
    ("first", "second"), [("he goes.", "그는 간다."), ("Person1 and Person1", "Person1"), ("Person1 goes.", "그는 간다.")]
)
def test_a_tag_that_is_lost_on_the_way_is_told(first: str, second: str) -> None:
    there, back = FakeTranslator(rule=lambda *_: first), FakeTranslator(rule=lambda *_: second)
    (lost,) = trip(there, back).rewrite(["#Person1#은 간다."], "eng_Latn")
    assert lost.failed == "other_tags"
    assert len(back.asked) == (first == "Person1 goes."), "what is lost already does not go back"


def test_a_tag_must_not_move_into_another_text() -> None:
    swap = {"Person1": "Person2", "Person2": "Person1"}
    there = FakeTranslator(rule=lambda text, target: swap.get(text, text))
    back = FakeTranslator(rule=lambda text, target: text)
    results = trip(there, back).rewrite(["#Person1#", "#Person2#", "사람 1과 #Person1#"], "eng_Latn")
    assert [one.failed for one in results] == ["other_tags", "other_tags", "placeholder_in_text"]


def test_real_translators_by_their_params(values: dict[str, Any], tmp_path: Path) -> None:
    folder = tiny_translators.save_nllb(tmp_path / "nllb")
    place = workspace(values, tmp_path, translator={"checkpoint": str(folder), "num_beams": 1})
    opened = RoundTrip.open(place, ["eng_Latn", "jpn_Jpan"])
    assert opened.there is opened.back, "one model for both ways"
    (result,) = opened.rewrite(["안녕하세요."], "eng_Latn")
    assert result.text or result.failed
    assert opened.report() == {"model": str(folder), "sentences": opened.sentences} and opened.sentences >= 1
    with pytest.raises(
        YoyakError, match=r"^augment.back_translation.pivots: .* does not know the language 'en'; near codes: eng"
    ):
        RoundTrip.open(place, ["en"])
    place = workspace(values, tmp_path, translator={"korean": "ko"})
    with pytest.raises(
        YoyakError, match=r"^augment.translator.korean: .* does not know the language 'ko'; near codes: .*kor_Hang"
    ):
        RoundTrip.open(place, ["eng_Latn"])


def test_marian_needs_a_model_for_each_direction(values: dict[str, Any], tmp_path: Path) -> None:
    there = tiny_translators.save_marian(tmp_path / "ko-en", source="ko", target="en")
    back = tiny_translators.save_marian(tmp_path / "en-ko", source="en", target="ko")

    def opened(pivots: list[str], **models: str | None) -> RoundTrip:
        return RoundTrip.open(workspace(values, tmp_path, translator=models), pivots)

    with pytest.raises(YoyakError, match=r"^augment.translator.back_checkpoint: is empty, but .*ko-en translates in one"):
        opened(["en"], checkpoint=str(there))
    both = opened(["en"], checkpoint=str(there), back_checkpoint=str(back))
    assert (both.there.checkpoint, both.back.checkpoint) == (str(there), str(back))
    with pytest.raises(YoyakError, match=r"^augment.back_translation.pivots: .* knows one pair of languages"):
        opened(["en", "ja"])
    with pytest.raises(YoyakError, match=r"^augment.translator.checkpoint: .*en-ko translates en → ko, which is the other"):
        opened(["en"], checkpoint=str(back), back_checkpoint=str(there))
