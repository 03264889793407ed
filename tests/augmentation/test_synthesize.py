"""New dialogues by a language model: what is asked, and which answers are rows."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.augmentation.model_helpers import TRAIN, FakeWriter, workspace
from tests.conftest import DIALOGUES
from yoyak.augmentation.base import Candidate, Refusal
from yoyak.augmentation.methods.synthesize import Synthesize
from yoyak.augmentation.synthetic_format import REASONS, Shape, prompt_of, read_answer
from yoyak.augmentation.text_models.written import Written
from yoyak.data.dialogue import BadDialogueError
from yoyak.system.errors import YoyakError

DIALOGUE = "#Person1#: 세탁기가 또 멈췄어요.\n#Person2#: 언제부터 그랬나요?\n#Person1#: 오늘 아침부터요."
SUMMARY = "#Person1#은 세탁기가 아침부터 멈춘다고 #Person2#에게 말합니다."
ANSWER = f"[대화]\n{DIALOGUE}\n[요약]\n{SUMMARY}"
SHAPE = Shape(("#Person1#", "#Person2#"), 3, "세탁기 고장")
EXAMPLES = TRAIN[1:4]


def synthesize(values: dict[str, Any], tmp_path: Path, writer: FakeWriter, **settings: Any) -> Synthesize:
    place = workspace(values, tmp_path, synthesize={"rate": 1.0, "examples": 2} | settings)
    place.shared("writer", lambda: writer)
    return Synthesize(place.params.augment.synthesize, place)


def test_a_prompt_has_examples_with_tags_and_asks_for_a_shape() -> None:
    prompt = prompt_of(SHAPE, EXAMPLES)
    assert "- 주제: 세탁기 고장\n- 말하는 사람: 2명(#Person1#, #Person2#)\n- 대화 길이: 3줄 안팎" in prompt
    for number, row in enumerate(EXAMPLES, 1):
        assert f"[보기 {number}]\n[주제] {row['topic']}\n[대화]\n{row['dialogue']}\n[요약]\n{row['summary']}" in prompt
    assert "주제" not in prompt_of(Shape(SHAPE.speakers, 3, ""), [{**row, "topic": ""} for row in EXAMPLES])


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER,
        f"[주제] 세탁기 고장\n{ANSWER}\n",
        ANSWER.replace("[대화]", "**[대화]**").replace("[요약]", "**[요약문]**"),
        ANSWER.replace("[요약]\n", "\n[요약]: "),
        ANSWER.replace("\n#Person", "\n\n#Person"),
    ],
)
def test_the_form_is_read(answer: str) -> None:
    assert read_answer(answer, SHAPE, EXAMPLES) == (DIALOGUE, SUMMARY)


SEVEN = "\n".join(f"#Person{1 + number % 2}#: {number}번째 말입니다." for number in range(7))
BAD = {
    "no_format": [
        DIALOGUE,
        f"[대화]\n{DIALOGUE}",
        f"[요약]\n{SUMMARY}\n[대화]\n{DIALOGUE}",
        f"{ANSWER}\n\n{ANSWER}",
        "죄송합니다. 도와드릴 수 없습니다.",
        f"[대화]\n{DIALOGUE}\n[요약]\n",
    ],
    "not_a_dialogue": [
        ANSWER.replace("#Person1#: ", "민수: ").replace("#Person2#: ", "영희: "),
        ANSWER.replace("\n[요약]", "\n(전화를 끊는다)\n[요약]"),
    ],
    "other_speakers": [ANSWER.replace("#Person2#: ", "#Person3#: "), ANSWER.replace("#Person2#: ", "#Person1#: ")],
    "other_length": [ANSWER.replace(DIALOGUE, SEVEN)],
    "unlisted_tag": [ANSWER.replace("세탁기가 또", "#WasherName#이 또"), ANSWER.replace("세탁기가 아침", "&name1&가 아침")],
    "summary_length": [ANSWER.replace(SUMMARY, "고장."), ANSWER.replace(SUMMARY, SUMMARY * 3)],
    "summary_copies_dialogue": [ANSWER.replace(SUMMARY, "언제부터 그랬나요?\n#Person1#: 오늘 아침부터요.")],
}


@pytest.mark.parametrize(("reason", "answer"), [(reason, answer) for reason, answers in BAD.items() for answer in answers])
def test_another_form_is_counted_by_its_reason(reason: str, answer: str) -> None:
    with pytest.raises(BadDialogueError, match=f"^{reason}$"):
        read_answer(answer, SHAPE, EXAMPLES)
    assert reason in REASONS and reason in Synthesize.reasons


def test_topics_and_shapes_come_from_train_and_examples_from_other_rows(values: dict[str, Any], tmp_path: Path) -> None:
    method = synthesize(values, tmp_path, FakeWriter(lambda _: ""), rate=2.0)
    tasks = method.tasks(TRAIN)
    assert [task.fname("synthesize") for task in tasks[:2]] == ["train_0+synthesize", "train_0+synthesize-2"]
    for task in tasks:
        assert len(task.sources) == 3 and len({row["fname"] for row in task.sources}) == 3
    assert tasks[0].sources[1:] != tasks[1].sources[1:], "each copy has other examples"
    assert len({row["fname"] for task in tasks for row in task.sources[1:]}) == len(TRAIN)
    assert synthesize(values, tmp_path, FakeWriter(lambda _: ""), rate=1.0).tasks(TRAIN) == tasks[::2]
    assert Shape.of(TRAIN[4]) == Shape(("#Person1#", "#Person2#", "#Person3#"), 3, "화제 4")
    assert Shape.of({"dialogue": "#Person2#: 혼잣말"}).speakers == ("#Person1#", "#Person2#")
    with pytest.raises(YoyakError, match=r"augment.synthesize.examples: 8 examples need more than 8 train rows"):
        synthesize(values, tmp_path, FakeWriter(lambda _: ""), examples=8).tasks(TRAIN)


def new_dialogue(question: str) -> str:
    """An answer in the form and the shape that a question asks for, about its topic."""
    speakers = re.findall(r"#Person\d+#", question.partition("명(")[2].partition(")")[0])
    topic = question.partition("- 주제: ")[2].partition("\n")[0]
    turns = int(question.partition("대화 길이: ")[2].partition("줄")[0])
    words = [
        f"{topic}에 대해 {chr(0xAC00 + 28 * 7 * (number + 11 * len(topic)))}나다라고 {number}번 말해요."
        for number in range(turns + 1)
    ]
    lines = [f"{speakers[number % len(speakers)]}: {words[number]}" for number in range(max(turns, len(speakers)))]
    return "[대화]\n" + "\n".join(lines) + f"\n[요약]\n#Person1#은 {topic}에 대해 물어봅니다."


def test_a_new_dialogue_becomes_a_row_once(values: dict[str, Any], tmp_path: Path) -> None:
    writer = FakeWriter(new_dialogue)
    method = synthesize(values, tmp_path, writer)
    results = method.write(method.tasks(TRAIN[:5]))
    assert isinstance(results[0], Candidate)
    assert results[0].dialogue.startswith("#Person1#: 화제 0에 대해") and results[0].topic == "화제 0"
    assert results[0].summary == "#Person1#은 화제 0에 대해 물어봅니다." and results[0].details == {"writer": "fake"}
    same = FakeWriter(lambda _: new_dialogue("- 주제: 화제\n- 말하는 사람: 2명(#Person1#, #Person2#)\n- 대화 길이: 2줄"))
    method = synthesize(values, tmp_path, same)
    results = method.write(method.tasks([row for row in TRAIN if row["fname"] in ("train_0", "train_5", "train_7")]))
    assert [type(one) for one in results] == [Candidate, Refusal, Refusal]
    assert results[1] == Refusal("copy_of_synthetic")


def test_a_copy_of_train_is_refused_also_with_a_few_other_words(values: dict[str, Any], tmp_path: Path) -> None:
    copied = DIALOGUES[3].replace("김민수입니다", "이민수입니다")
    writer = FakeWriter(lambda _: f"[대화]\n{copied}\n[요약]\n#Person1#은 책을 늦게 반납하고 연체료를 냅니다.")
    method = synthesize(values, tmp_path, writer)
    (task,) = (task for task in method.tasks(TRAIN) if task.source["fname"] == "train_3")
    assert method.write([task]) == [Refusal("copy_of_train")]


def test_faults_are_counted_and_numbers_become_tags(values: dict[str, Any], tmp_path: Path) -> None:
    method = synthesize(values, tmp_path, FakeWriter(lambda _: Written("", "unfinished_answer")))
    assert method.write(method.tasks(TRAIN[:3])) == [Refusal("unfinished_answer")] * 3
    phone = FakeWriter(
        lambda question: new_dialogue(question).replace("번 말해요.", "번 말해요. 010-1234-5678로 전화하세요.", 1)
    )
    method = synthesize(values, tmp_path, phone)
    (result, *_) = method.write(method.tasks(TRAIN[:3]))
    assert isinstance(result, Candidate)
    assert "#PhoneNumber#로 전화하세요." in result.dialogue and "010" not in result.dialogue
