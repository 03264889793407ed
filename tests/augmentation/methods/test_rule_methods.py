"""speaker_swap, noise, turn_dropout and templates: what they change, and what they must leave."""

import random
import re
from collections import Counter

import pytest

from tests.augmentation.model_helpers import TRAIN
from tests.augmentation.runs import made, workspace
from yoyak.augmentation.base import Candidate, Refusal, Task, rows_by_rate
from yoyak.augmentation.lookup import method_class
from yoyak.augmentation.methods.noise import Disturber, is_protected
from yoyak.augmentation.methods.turn_dropout import droppable, promises
from yoyak.data.dialogue import TAG, Turn, parse

QUIET = [f"augment.noise.{kind}=0" for kind in ("punctuation", "deletion", "swap", "spacing", "typo")]


def write(method: str, dialogue: str, summary: str, *changes: str, copy: int = 0) -> Candidate | Refusal:
    place = workspace(*changes)
    row = {"fname": "a", "dialogue": dialogue, "summary": summary, "topic": "주제"}
    return method_class(method)(getattr(place.params.augment, method), place).write([Task((row,), copy)])[0]


def written(method: str, dialogue: str, summary: str, *changes: str) -> Candidate:
    result = write(method, dialogue, summary, *changes)
    assert isinstance(result, Candidate), result
    return result


@pytest.mark.parametrize("rate", [0.25, 0.5, 1, 1.5, 3])
def test_the_rate_is_the_number_of_rows_for_each_train_row(rate: float) -> None:
    tasks = rows_by_rate(TRAIN, rate, seed="7")
    assert len(tasks) == rate * len(TRAIN)
    names = [task.fname("noise") for task in tasks]
    assert len(set(names)) == len(names)
    assert names == sorted(names, key=lambda name: int(re.findall(r"\d+", name)[0]))
    fewer = {task.fname("noise") for task in rows_by_rate(TRAIN, rate / 2, seed="7")}
    assert fewer <= set(names), "a higher rate keeps the rows of a lower one"
    assert rows_by_rate(TRAIN, 0.5, seed="8") != rows_by_rate(TRAIN, 0.5, seed="7")


def test_speakers_change_places_and_particles_agree() -> None:
    dialogue = "#Person1#: 저는 간호사예요.\n#Person2#: #Person1#은 몇 살이에요?"
    new = written(
        "speaker_swap", dialogue, "#Person1#은 #Person2#가 나이를 묻자 #Person2#에게 화를 냅니다. #Person1#과 친해집니다."
    )
    assert new.dialogue == "#Person2#: 저는 간호사예요.\n#Person1#: #Person2#는 몇 살이에요?"
    assert new.summary == "#Person2#는 #Person1#이 나이를 묻자 #Person1#에게 화를 냅니다. #Person2#와 친해집니다."
    assert new.details == {"tags": {"#Person1#": "#Person2#", "#Person2#": "#Person1#"}}


def test_of_several_speakers_none_keeps_its_tag() -> None:
    dialogue = "\n".join(f"#Person{number}#: 나는 {number}번이야." for number in (1, 2, 3, 4))
    orders = set()
    for seed in range(8):
        new = written("speaker_swap", dialogue, "#Person3#이 세 번째입니다.", f"augment.seed={seed}")
        numbers = re.findall(r"#Person(\d)#: 나는 (\d)번이야", new.dialogue)
        assert all(tag != number for tag, number in numbers) and len({tag for tag, _ in numbers}) == 4
        (third,) = (tag for tag, number in numbers if number == "3")
        assert new.summary.startswith(f"#Person{third}#")
        orders.add(tuple(numbers))
    assert len(orders) > 2
    assert write("speaker_swap", "#Person1#: 혼자야.", "혼자입니다.") == Refusal("one_speaker")


LONG = (
    "#Person1#: 어제 서울역에서 3시에 세 명 #@이름# 만나지 않았어요, 그래서 오늘 다시 Netflix 보려고 했는데 힘들 것 같아요.\n"
    "#Person2#: #Person1# 씨, #PhoneNumber#로 전화 주시면 커피 두 잔 말고 아주 맛있는 케이크 사 드릴게요."
)
KEPT = ("3시에", "세", "#@이름#", "Netflix", "#Person1#", "#PhoneNumber#로", "두")


@pytest.mark.parametrize("kind", ["punctuation", "deletion", "swap", "spacing", "typo"])
def test_noise_of_one_kind_leaves_tags_masks_and_numbers(kind: str) -> None:
    others = [line for line in QUIET if kind not in line]
    new = written("noise", LONG, "둘이 약속합니다.", *others, f"augment.noise.{kind}=1")
    assert set(new.details) == {kind} and new.details[kind] > 0
    assert new.dialogue != LONG and new.summary == "둘이 약속합니다."
    words = re.split("[ \n]", new.dialogue)
    assert all(word in words for word in KEPT), new.dialogue
    assert [turn.speaker for turn in parse(new.dialogue)[0]] == ["#Person1#", "#Person2#"]
    assert Counter(TAG.findall(new.dialogue)) == Counter(TAG.findall(LONG))


def test_what_is_deleted_is_needed_by_nobody() -> None:
    others = [line for line in QUIET if "deletion" not in line]
    new = written("noise", LONG, "#Person2#는 케이크를 사 준다고 합니다.", *others, "augment.noise.deletion=1")
    left = new.dialogue.split("\n")
    assert left[0] == "#Person1#: 3시에 세 명 #@이름# 않았어요, Netflix 같아요."
    assert left[1] == "#Person2#: #Person1# 씨, #PhoneNumber#로 두 잔 말고 케이크 사 드릴게요."


def test_swapped_words_stay_in_their_part_of_the_sentence() -> None:
    settings = workspace(*[line for line in QUIET if "swap" not in line], "augment.noise.swap=1").params.augment.noise
    assert Disturber(settings, random.Random(0)).disturb("가 나 다 라, 마 바 사.") == "나 가 다 라, 바 마 사."


def test_marks_do_not_follow_marks_and_no_colon_is_inserted() -> None:
    settings = workspace(*QUIET, "augment.noise.punctuation=1").params.augment.noise
    text = Disturber(settings, random.Random(3)).disturb("네, 그래요. 정말 좋은 날 입니다")
    assert not re.search(r"[.,;?!] [.;?!,]", text) and ":" not in text


@pytest.mark.parametrize("word", ["#Person1#은", "3시", "세", "Kim", "#@이름#", "&name1&", "..."])
def test_protected_words(word: str) -> None:
    assert is_protected(word)
    assert not is_protected("세수를")


def turns(*utterances: str) -> list[Turn]:
    return [Turn(f"#Person{index % 2 + 1}#", text) for index, text in enumerate(utterances)]


@pytest.mark.parametrize(
    ("off_topic", "groups"),
    [
        ("yyyyy", [[0], [1, 2], [3], [4]]),
        ("ynyyy", [[0], [3], [4]]),  # the answer to a question that stays
        ("yynyy", [[0], [3], [4]]),  # the question of an answer that stays
        ("nnnnn", []),
    ],
)
def test_a_question_and_its_answer_go_together(off_topic: str, groups: list[list[int]]) -> None:
    said = turns("안녕.", "몇 시야? 늦었어?", "세 시.", "그래.", "잘 가.")
    assert droppable(said, [letter == "y" for letter in off_topic]) == groups


@pytest.mark.parametrize(
    ("utterance", "is_promise"),
    [("내가 할게.", True), ("제가 먹을게요!", True), ("천천히 가게", False), ("그게 뭐야", False), ("갈게요 그럼", True)],
)
def test_promises_stay(utterance: str, is_promise: bool) -> None:
    assert promises(utterance) == is_promise
    dialogue = f"#Person1#: 배고파.\n#Person2#: {utterance}\n#Person2#: 배고파.\n#Person1#: 기차야.\n#Person1#: 기차야."
    result = write("turn_dropout", dialogue, "기차입니다.", "augment.turn_dropout.share=1")
    assert isinstance(result, Candidate) and (utterance in result.dialogue or not is_promise)


def test_turns_without_a_word_of_the_summary_are_left_out() -> None:
    dialogue = (
        "#Person1#: 안녕.\n#Person2#: 오랜만이네.\n#Person1#: 내일 바다에 가자.\n"
        "#Person2#: 날씨가 참 맑아.\n#Person1#: 기차로 갔어?\n#Person2#: 그래."
    )
    new = written("turn_dropout", dialogue, "#Person1#은 기차를 타고 바다에 가자고 합니다.", "augment.turn_dropout.share=1")
    assert new.dialogue == "#Person1#: 내일 바다에 가자.\n#Person1#: 기차로 갔어?\n#Person2#: 그래."
    assert new.details == {"dropped": [0, 1, 3], "turns": 6}
    assert write("turn_dropout", "#Person1#: 바다.\n#Person2#: 바다.", "바다입니다.") == Refusal("nothing_to_drop")
    # Two turns stay, and each speaker keeps one.
    assert write("turn_dropout", "#Person1#: 응.\n#Person2#: 네.", "바다입니다.") == Refusal("nothing_to_drop")


def test_templates_add_the_other_instructions_for_a_model_with_prompts() -> None:
    rows = made("model.family=qlora", "augment.templates.rate=4", train=TRAIN[:2])
    assert [(row["source"], row["instruction"]) for row in rows] == [
        (f"train_{number}", index) for number in (0, 1) for index in (1, 2, 3, 4)
    ]
    assert all(row["dialogue"] == TRAIN[int(row["source"][-1])]["dialogue"] for row in rows)


@pytest.mark.parametrize("method", ["speaker_swap", "noise", "turn_dropout"])
def test_another_copy_differs_and_the_same_seed_repeats(method: str) -> None:
    dialogue = "\n".join(
        f"#Person{index % 3 + 1}#: 오늘은 {word} 이야기를 아주 오래 했습니다." for index, word in enumerate("가나다라마바사아")
    )
    first, again, copy = (write(method, dialogue, "기차입니다.", copy=number) for number in (0, 0, 1))
    assert first == again != copy
