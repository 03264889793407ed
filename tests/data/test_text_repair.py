"""Repair of raw text: every kind of damage is undone and counted; what only looks damaged stays."""

from collections import Counter

import pytest
from hypothesis import given

from tests.data.random_texts import QUICK, TEXTS
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.text_repair import repair


@pytest.mark.parametrize(
    ("raw", "repaired", "kinds"),
    [
        ("#Person1#: 안녕\n#Person2#: 그래", "#Person1#: 안녕\n#Person2#: 그래", []),
        ("#Person1#: 안녕 \t\n#Person2#: 그래  ", "#Person1#: 안녕\n#Person2#: 그래", ["spaces"]),
        ("#Person1#: 자\u00a0이제\u3000가  자", "#Person1#: 자 이제 가 자", ["spaces"]),
        ("#Person1#: 안녕\\n#Person2#: 그래", "#Person1#: 안녕\n#Person2#: 그래", ["literal_newline"]),
        ("#Person1#: 안녕\\r\\n#Person2#: 그래", "#Person1#: 안녕\n#Person2#: 그래", ["literal_newline"]),
        (
            "#Person1#: 안녕\r\n#Person2#: 그래\r#Person1#: 응",
            "#Person1#: 안녕\n#Person2#: 그래\n#Person1#: 응",
            ["line_break"],
        ),
        ("#Person1#: 하나\u2028둘\x0b셋\x85넷", "#Person1#: 하나\n둘\n셋\n넷", ["line_break"]),
        ("#Person1#: 안녕\b하세요", "#Person1#: 안녕하세요", ["backspace"]),
        ("\ufeff#Person1#: 안\u200b녕\u00ad", "#Person1#: 안녕", ["invisible_character"]),
        ("#Person1#: \u1112\u1161\u11ab글", "#Person1#: 한글", ["decomposed_hangul"]),
        ("Person1화자2#Person1#", "#Person1#화자2#Person1#", ["tag_without_hashes"]),  # no hash of another tag is taken
        ("#사람1#: 안녕\n#화자2#: 그래\n#인물 3#: 응", "#Person1#: 안녕\n#Person2#: 그래\n#Person3#: 응", ["translated_tag"]),
        ("Person1: 안녕", "#Person1#: 안녕", ["tag_without_hashes"]),
        ("Person1은 #Person2#에게 묻는다.", "#Person1#은 #Person2#에게 묻는다.", ["tag_without_hashes"]),
        ("#Person1: 안녕", "#Person1#: 안녕", ["tag_without_hashes"]),
        ("Person1#: 안녕", "#Person1#: 안녕", ["tag_without_hashes"]),
        ("#person1#: 안녕", "#Person1#: 안녕", ["tag_without_hashes"]),
        ("#PERSON1#: 안녕", "#Person1#: 안녕", ["tag_without_hashes"]),
        ("# Person 1 #: 안녕", "#Person1#: 안녕", ["tag_without_hashes"]),
        ("Person1 #Person2#", "#Person1# #Person2#", ["tag_without_hashes"]),
        ("#Person1#Person2#", "#Person1##Person2#", ["tag_without_hashes"]),
        ("＃Person1＃：안녕\n＃Ｐｅｒｓｏｎ２＃: 네 ＡＢＣ", "#Person1#：안녕\n#Person2#: 네 ＡＢＣ", ["full_width_tag"]),
        ("＃사람１＃: 안녕 ＃Email＃", "#Person1#: 안녕 #Email#", ["full_width_tag", "translated_tag"]),
        ("Ｐｅｒｓｏｎ１: 안녕", "#Person1#: 안녕", ["full_width_tag", "tag_without_hashes"]),
        ("#Person1#: ﾡￂﾤﾻﾻ ｶﾞﾊﾟ (*ﾟ▽ﾟ*)", "#Person1#: 간ㅋㅋ ガパ (*ﾟ▽ﾟ*)", ["half_width"]),
        ("#Person1#: 안녕<br>#Person2#: 네<BR />응</p>!", "#Person1#: 안녕\n#Person2#: 네\n응\n!", ["html_break"]),
        ("#Person1#: 안녕 | #Person2#: 네 |", "#Person1#: 안녕\n#Person2#: 네", ["turn_separator"]),
        (
            "#Person1#: 안녕 // #Person2#: 네[SEP]#Person1#: 응",
            "#Person1#: 안녕\n#Person2#: 네\n#Person1#: 응",
            ["turn_separator"],
        ),
        ("#Person1#: &quot;A&amp;B&quot; &amp;lt;3 &#44032;", '#Person1#: "A&B" <3 가', ["html_entity"]),
        ("#Person1#: 안녕&lt;br&gt;#Person2#: 네", "#Person1#: 안녕\n#Person2#: 네", ["html_entity", "html_break"]),
        ("#Person1#: a\u3164\u2800b", "#Person1#: a b", ["invisible_filler", "spaces"]),
        ("#Person1#: 가\u200d나\u061c\u180e\u206a\ufff9\U000e0041", "#Person1#: 가나", ["invisible_character"]),
        ("#@이름#Person1은 #Email#Person2", "#@이름##Person1#은 #Email##Person2#", ["tag_without_hashes"]),
        # what only looks like damage
        (
            "#Person1#: #@이모티콘# #@이름#은 #@시스템#사진# #@URL#",
            "#Person1#: #@이모티콘# #@이름#은 #@시스템#사진# #@URL#",
            [],
        ),
        ("#Person1#: R&D; &notit; &name1& a|b | c <b> 1/2 / 3", "#Person1#: R&D; &notit; &name1& a|b | c <b> 1/2 / 3", []),
        ("#Person1#: &#0; &#x1b; &#xd800;", "#Person1#: &#0; &#x1b; &#xd800;", []),
        ("#Person1#: ＡＢＣ １２３ ？！～ ＃맛집", "#Person1#: ＡＢＣ １２３ ？！～ ＃맛집", []),
        ("#Person1#: 👨\u200d👩\u200d👧 ☺️", "#Person1#: 👨\u200d👩\u200d👧 ☺️", []),
        ("#Person1#: #FlightNumber# #Name# #PersonName#", "#Person1#: #FlightNumber# #Name# #PersonName#", []),
        ("#Person1##Person2#", "#Person1##Person2#", []),
        ("#Person1#: Person100, salesperson1, Person1st, person", "#Person1#: Person100, salesperson1, Person1st, person", []),
        ("#Person1#: C:\\data, 사람1", "#Person1#: C:\\data, 사람1", []),
        ("", "", []),
        (" \r\n\t", "", ["line_break", "spaces"]),
    ],
)
def test_repair(raw: str, repaired: str, kinds: list[str]) -> None:
    text, changed = repair(raw)
    assert text == repaired
    assert sorted(changed) == sorted(kinds)


@pytest.mark.parametrize("character", ["\0", "\x01", "\x07", "\x0e", "\x1b", "\x1f", "\x7f", "\x80", "\x9f", "\ufffd"])
def test_repair_refuses_lost_text(character: str) -> None:
    with pytest.raises(BadDialogueError, match="control_character"):
        repair(f"#Person1#: 안녕{character}하세요")


@QUICK
@given(TEXTS)
def test_repair_of_any_text_is_idempotent_or_a_rejection(text: str) -> None:
    try:
        once, _ = repair(text)
    except BadDialogueError:
        return
    assert repair(once) == (once, Counter())


@pytest.mark.parametrize("raw", ["\\\bn", "\u1112\u200b\u1161", "\\\u200bn", "Person1Person2", "#사람\b1#", "Per\u200bson1"])
def test_repair_needs_no_second_pass(raw: str) -> None:
    once, _ = repair(raw)
    assert repair(once) == (once, Counter())
