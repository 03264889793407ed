"""Paraphrase and back_translation: what is asked, what is put together, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from tests.augmentation.model_helpers import TRAIN, FakeTranslator, FakeWriter, text_of, workspace
from tests.conftest import DIALOGUES, SUMMARIES
from yoyak.augmentation.base import Candidate, Refusal, Task
from yoyak.augmentation.methods.back_translation import BackTranslation
from yoyak.augmentation.methods.paraphrase import Paraphrase
from yoyak.augmentation.rewriting import Rewriting
from yoyak.augmentation.run import Augmentation
from yoyak.augmentation.text_models.round_trip import RoundTrip
from yoyak.augmentation.text_models.written import Written
from yoyak.data.dialogue import parse
from yoyak.system.errors import YoyakError


def paraphrase(values: dict[str, Any], tmp_path: Path, writer: FakeWriter, **settings: Any) -> Paraphrase:
    place = workspace(values, tmp_path, paraphrase={"rate": 1.0} | settings)
    place.shared("writer", lambda: writer)
    return Paraphrase(place.params.augment.paraphrase, place)


def back_translation(values: dict[str, Any], tmp_path: Path, **settings: Any) -> BackTranslation:
    place = workspace(values, tmp_path, back_translation={"rate": 1.0} | settings)
    return BackTranslation(place.params.augment.back_translation, place)


@pytest.mark.parametrize("of", ["dialogue", "summary", "both"])
def test_paraphrase_rewrites_what_params_say(values: dict[str, Any], tmp_path: Path, of: str) -> None:
    writer = FakeWriter(lambda question: text_of(question) + " 네.")
    method = paraphrase(values, tmp_path, writer, of=of)
    tasks = method.tasks(TRAIN)
    results = method.write(tasks)
    assert len(writer.asked) == len(TRAIN) * (2 if of == "both" else 1)
    for task, result in zip(tasks, results, strict=True):
        assert isinstance(result, Candidate), result
        assert result.dialogue == task.source["dialogue"] + (" 네." if of != "summary" else "")
        assert result.summary == task.source["summary"] + (" 네." if of != "dialogue" else "")
        assert result.topic == task.source["topic"]
    assert method.report() == {"writer": {"model": "fake"}}


def test_a_question_has_the_whole_text_and_copies_have_other_seeds(values: dict[str, Any], tmp_path: Path) -> None:
    writer = FakeWriter(text_of)
    method = paraphrase(values, tmp_path, writer, of="dialogue", rate=2.0)
    method.write(method.tasks(TRAIN[:1]))
    first, second = writer.asked
    assert first.messages == second.messages and first.seed != second.seed
    assert first.messages[0]["content"].endswith(f"[대화]\n{DIALOGUES[0]}") and first.name == "train_0"
    with pytest.raises(YoyakError, match=r"paraphrase.rate: more than 1 needs augment.writer.temperature above 0"):
        workspace(values, tmp_path, paraphrase={"rate": 2.0}, writer={"temperature": 0.0})


BAD_ANSWERS: dict[str, tuple[str | Written, str]] = {
    "empty": (Written("", "empty_answer"), "empty_answer"),
    "cut off": (Written("#Person1#: 안녕", "unfinished_answer"), "unfinished_answer"),
    "refused": (Written("", "answer_refused"), "answer_refused"),
    "no turns": ("방이 있냐고 물었다.", "not_a_dialogue"),
    "a turn is missing": (DIALOGUES[0].partition("\n")[0], "other_speakers"),
    "a tag more": (f"{DIALOGUES[0]} #Email#", "other_tags"),
    "words around it": (f"다시 쓴 대화입니다:\n{DIALOGUES[0]}", "not_a_dialogue"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_an_answer_that_cannot_be_used_is_refused(values: dict[str, Any], tmp_path: Path, name: str) -> None:
    answer, reason = BAD_ANSWERS[name]
    method = paraphrase(values, tmp_path, FakeWriter(lambda _: answer), of="dialogue")
    assert method.write(method.tasks(TRAIN[:1])) == [Refusal(reason)]
    assert reason in Rewriting.reasons


@pytest.mark.parametrize(
    "answer",
    [
        f"[대화]\n{DIALOGUES[0]}",
        f"**대화**\n\n{DIALOGUES[0]}",
        DIALOGUES[0].replace("#:", "#**:").replace("#Person", "**#Person"),
        DIALOGUES[0].replace("#Person", "- #Person").replace("#:", "# :"),
        DIALOGUES[0].replace("\n", "\n\n"),
    ],
)
def test_what_chat_models_write_around_a_dialogue_is_removed(values: dict[str, Any], tmp_path: Path, answer: str) -> None:
    method = paraphrase(values, tmp_path, FakeWriter(lambda _: answer), of="dialogue")
    assert method.write(method.tasks(TRAIN[:1])) == [Candidate(DIALOGUES[0], SUMMARIES[0], "화제 0")]


@pytest.mark.parametrize("heading", ["[요약문]\n", "**요약문:**\n\n", "[대화]\n", "요약문: ", "다시 쓴 요약문\n"])
def test_what_chat_models_write_around_a_summary_is_removed(values: dict[str, Any], tmp_path: Path, heading: str) -> None:
    method = paraphrase(values, tmp_path, FakeWriter(lambda _: f"{heading}{SUMMARIES[0]}\n"), of="summary")
    assert method.write(method.tasks(TRAIN[:1])) == [Candidate(DIALOGUES[0], SUMMARIES[0], "화제 0")]


def test_one_bad_text_refuses_its_row_alone(values: dict[str, Any], tmp_path: Path) -> None:
    def rule(question: str) -> str:
        return "요약: " + text_of(question) if "요약문입니다" in question else text_of(question).replace(DIALOGUES[1], "?")

    method = paraphrase(values, tmp_path, FakeWriter(rule), of="both")
    results = method.write(method.tasks(TRAIN[:3]))
    assert results[1] == Refusal("not_a_dialogue")
    assert [isinstance(one, Candidate) for one in results] == [True, False, True]
    assert isinstance(results[0], Candidate) and results[0].summary == SUMMARIES[0], "the label before it is removed"


def test_a_translator_gets_sentences_without_speakers(values: dict[str, Any], tmp_path: Path) -> None:
    method = back_translation(values, tmp_path, of="both")
    fake: Any = FakeTranslator()
    method.translators = RoundTrip(fake, fake, korean="kor_Hang")
    results = method.write(method.tasks(TRAIN))
    there = [text for _, target, text in fake.asked if target == "eng_Latn"]
    assert (
        "방 있나요?" not in there
        and "안녕하세요, 방 있나요?" in there
        and "Person1은 책을 이틀 늦게 반납하고 연체료를 냅니다." in there
    )
    assert not [text for text in there if "#" in text]
    for row, result in zip(TRAIN, results, strict=True):
        assert isinstance(result, Candidate)
        assert [turn.speaker for turn in parse(result.dialogue)[0]] == [turn.speaker for turn in parse(row["dialogue"])[0]]
        assert result.summary == row["summary"] + "!" and result.details == {"pivot": "eng_Latn"}
    assert "#PhoneNumber#입니다.!" in results[5].dialogue  # type: ignore[union-attr]


def test_copies_go_by_other_pivots(values: dict[str, Any], tmp_path: Path) -> None:
    method = back_translation(values, tmp_path, of="summary", rate=2.0, pivots=["eng_Latn", "jpn_Jpan"])
    fake: Any = FakeTranslator()
    method.translators = RoundTrip(fake, fake, korean="kor_Hang")
    tasks = method.tasks(TRAIN)
    pivots = [method.pivot_of(task) for task in tasks]
    assert {frozenset(pivots[place : place + 2]) for place in range(0, 16, 2)} == {frozenset(["eng_Latn", "jpn_Jpan"])}
    assert len(set(pivots[::2])) == 2, "the first copies do not all go the same way"
    for task, result in zip(tasks, method.write(tasks), strict=True):
        assert isinstance(result, Candidate) and result.summary == task.source["summary"] + "!"
        assert result.details["pivot"] == method.pivot_of(task)
    with pytest.raises(YoyakError, match=r"back_translation.rate: 3 is more than the number of pivots"):
        workspace(values, tmp_path, back_translation={"rate": 3.0})


def test_a_language_model_translates_whole_texts_there_and_back(values: dict[str, Any], tmp_path: Path) -> None:
    def rule(question: str) -> str:
        if "영어로 옮겨" in question:
            return text_of(question).replace("방", "room").replace("비가 온다", "낮이다 #Email#")
        assert "영어 " in question and "자연스러운 한국어로" in question
        return text_of(question).replace("room", "객실")

    writer = FakeWriter(rule)
    method = back_translation(values, tmp_path, of="dialogue", by="writer", pivots=["en"])
    method.workspace.shared("writer", lambda: writer)
    results = method.write([Task((TRAIN[0],)), Task((TRAIN[4],))])
    assert results == [
        Candidate(DIALOGUES[0].replace("방", "객실"), SUMMARIES[0], "화제 0", details={"pivot": "en"}),
        Refusal("other_tags"),
    ]
    assert len(writer.asked) == 3, "what lost its tags on the way is not translated back"


def test_an_unknown_pivot_is_told_with_the_known_ones(values: dict[str, Any], tmp_path: Path) -> None:
    method = back_translation(values, tmp_path, by="writer", pivots=["xx"])
    with pytest.raises(
        YoyakError, match=r"^augment.back_translation.pivots: 'xx': with `by: writer` these are possible: de, en"
    ):
        method.write(method.tasks(TRAIN[:1]))


def test_an_answer_in_another_language_is_counted(values: dict[str, Any], tmp_path: Path) -> None:
    english = {
        DIALOGUES[0]: "#Person1#: Hello, do you have a room?\n#Person2#: Yes, for how many?",
        DIALOGUES[2]: "#Person1#: 会議がなくなったって。\n#Person2#: 本当?",
    }
    method = paraphrase(values, tmp_path, FakeWriter(lambda question: english[text_of(question)]), of="dialogue")
    filters = Augmentation.build([], method.workspace, []).filters
    augmentation = Augmentation([method], filters, person_tags="keep_original")
    assert not list(augmentation.rows([TRAIN[0], TRAIN[2]]))
    assert augmentation.counts["paraphrase"].rejected == {"foreign_script": 2}
    kept = [(row["method"], row["source"], row["reason"], row["dialogue"]) for row in augmentation.rejected]
    assert kept == [
        ("paraphrase", TRAIN[place]["fname"], "foreign_script", english[DIALOGUES[place]]) for place in (0, 2)
    ]  # for the app
