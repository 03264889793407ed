"""Names of speakers in texts: found by particle and morpheme, left alone where they are doubtful, and restored."""

import pytest

from yoyak.data.speaker_names import NameFinder, TooManySpeakersError, assign_tags, restore_names

LABELS = ["민수", "하늘", "김보라", "준호", "SD2000001", "A", "Amanda", "지우", "민준"]
TAGS = assign_tags(LABELS, most=99)


def replaced(text: str, *, labels: list[str] | None = None, is_summary: bool = True) -> str:
    tags = assign_tags(labels, most=99) if labels else TAGS
    return NameFinder(tags).replace(text, is_summary=is_summary)[0]


def reasons(text: str, *, labels: list[str] | None = None, is_summary: bool = True) -> list[str]:
    tags = assign_tags(labels, most=99) if labels else TAGS
    return [doubt.reason for doubt in NameFinder(tags).replace(text, is_summary=is_summary)[1]]


def test_tags_follow_the_order_of_appearance_and_labels_that_are_tags_keep_their_number() -> None:
    assert assign_tags(["b", "a", "b"], most=9) == {"b": "#Person1#", "a": "#Person2#"}
    assert assign_tags(["x", "#Person2#", "#Person1#"], most=9) == {
        "x": "#Person3#",
        "#Person2#": "#Person2#",
        "#Person1#": "#Person1#",
    }
    assert assign_tags([str(number) for number in range(12)], most=99)["11"] == "#Person12#"
    with pytest.raises(TooManySpeakersError):
        assign_tags(["a", "b", "c"], most=2)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (
            "민수가 민수는 민수를 민수와 민수의 민수도",
            "#Person1#가 #Person1#는 #Person1#를 #Person1#와 #Person1#의 #Person1#도",
        ),
        ("김민수 씨는 바쁘다", "#Person1# 씨는 바쁘다"),
        ("민수야, 밥 먹자. 민수 씨!", "#Person1#야, 밥 먹자. #Person1# 씨!"),
        ("민수한테 주고 민수에게서 받았다", "#Person1#한테 주고 #Person1#에게서 받았다"),
        ("민준이가 민준이를 본다", "#Person9#가 #Person9#를 본다"),
        ("보라는 아니고 김보라는 맞다", "보라는 아니고 #Person3#는 맞다"),
        ("SD2000001은, SD2000001이 SD20000010", "#Person5#은, #Person5#이 SD20000010"),
        ("A와 A는 A/S를 AB형", "#Person6#와 #Person6#는 A/S를 AB형"),
        ("Amanda's book. Amandas", "#Person7#'s book. Amandas"),
        ("민수였는데 민수네 집", "#Person1#였는데 #Person1#네 집"),
    ],
)
def test_names_with_particles(text: str, result: str) -> None:
    assert replaced(text) == result


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("하늘이 맑다", "common_word"),
        ("보라는 책을 샀다", "common_word"),
        ("국민수영장에 갔다", "part_of_word"),
        ("박김보라 씨", "part_of_word"),
        ("하늘색 옷", "part_of_word"),
        ("숙제를 지우고 쉰다", "other_word"),
    ],
)
def test_doubtful_words_stay_and_are_reported(text: str, reason: str) -> None:
    assert replaced(text) == text
    assert reasons(text) == [reason]


def test_names_that_mecab_does_not_know_are_found_by_their_particle() -> None:
    assert (
        replaced("다은보다 석진을 준서는 안다", labels=["준서", "석진", "다은"]) == "#Person3#보다 #Person2#을 #Person1#는 안다"
    )


def test_a_common_word_is_a_name_where_only_a_person_can_stand() -> None:
    assert replaced("하늘에게 하늘 씨가 하늘이는 하늘아, 온다") == "#Person2#에게 #Person2# 씨가 #Person2#는 #Person2#아, 온다"


def test_a_given_name_of_two_speakers_is_doubtful_and_the_whole_names_are_not() -> None:
    labels = ["김민수", "이민수"]
    assert replaced("김민수가 이민수를 만난다.", labels=labels) == "#Person1#가 #Person2#를 만난다."
    assert reasons("민수는 웃는다.", labels=labels) == ["two_speakers"]


def test_another_person_with_the_same_given_name_is_not_the_speaker() -> None:
    assert replaced("박민수는 오고 민수는 간다.", labels=["김민수"]) == "박민수는 오고 #Person1#는 간다."


def test_letters_and_numbers_are_speakers_in_summaries_only() -> None:
    assert replaced("A팀에 A가 있다", is_summary=False) == "A팀에 A가 있다"
    assert reasons("1번 버스", labels=["1", "2"]) == ["number"]


def test_the_user_may_map_common_words_but_not_parts_of_words() -> None:
    finder = NameFinder(TAGS, map_doubtful=True)
    assert finder.replace("하늘이 하늘색 옷을 산다", is_summary=True)[0] == "#Person2#이 하늘색 옷을 산다"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("#Person1#은 #Person2#가 좋다", "민수는 하늘이 좋다"),
        ("#Person2#로 #Person1#으로 #Person5#로", "하늘로 민수로 SD2000001로"),
        ("#Person1#과의 약속", "민수와의 약속"),
        ("#Person2#라고 #Person1#이라고", "하늘이라고 민수라고"),
        ("#Person2#야, #Person1#아!", "하늘아, 민수야!"),
        ("#Person7#은 #Person10#은", "Amanda은 #Person10#은"),
        ("#Person1#이나영", "민수이나영"),
    ],
)
def test_restored_names_get_the_particle_that_agrees(text: str, result: str) -> None:
    assert restore_names(text, {tag: label for label, tag in TAGS.items()}) == result


def test_a_summary_survives_the_way_in_and_out() -> None:
    text = "민수가 김보라를 만나고, SD2000001은 준호와 지우에게 말한다. 하늘이 맑다."
    assert restore_names(replaced(text), {tag: label for label, tag in TAGS.items()}) == text
