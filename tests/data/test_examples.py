"""Examples for few-shot prompts come from train alone, are similar, and are never the dialogue itself."""

import pickle
from typing import Any

import pytest

from tests.conftest import DIALOGUES, SUMMARIES, WITHOUT_ADDITIONS
from yoyak.config.sections import Prompt
from yoyak.data.examples import ExampleChooser
from yoyak.data.prompts import PromptTexts, fit_prompt
from yoyak.system.errors import YoyakError

TRAIN = [
    {"fname": f"train_{number}", "dialogue": dialogue, "summary": summary, "topic": f"화제 {number}"}
    for number, (dialogue, summary) in enumerate(zip(DIALOGUES, SUMMARIES, strict=True))
]


def settings(examples: int = 2, choice: str = "similar", **changes: Any) -> Prompt:
    values = {"style": "plain", "system": None, "topic": "auto", **WITHOUT_ADDITIONS}
    return Prompt(**(values | {"examples": examples, "example_choice": choice} | changes))


def chooser(examples: int = 2, choice: str = "similar") -> ExampleChooser:
    return ExampleChooser(TRAIN, settings(examples, choice), str.split)


def test_the_most_similar_dialogue_comes_first() -> None:
    chosen = chooser().choose("#Person1#: 버스를 놓쳤어. 택시를 타고 갈까?\n#Person2#: 우산 있어?")
    assert chosen[0].dialogue == DIALOGUES[6] and chosen[0].summary == SUMMARIES[6] and chosen[0].topic == "화제 6"
    assert len(chosen) == 2 and chosen[1].dialogue == DIALOGUES[4]


@pytest.mark.parametrize("choice", ["similar", "fixed"])
@pytest.mark.parametrize("number", range(len(DIALOGUES)))
def test_a_dialogue_is_never_its_own_example(choice: str, number: int) -> None:
    """Also if speakers are swapped and spaces differ."""
    for dialogue in (
        DIALOGUES[number],
        DIALOGUES[number].replace("#Person1#", "#Person9#").replace(" ", "  "),
    ):
        chosen = chooser(len(TRAIN) - 1, choice).choose(dialogue)
        assert len(chosen) == len(TRAIN) - 1
        assert DIALOGUES[number] not in [example.dialogue for example in chosen]


def test_fixed_examples_are_the_same_for_all_dialogues() -> None:
    fixed = chooser(3, "fixed")
    assert fixed.choose("#Person1#: 하나") == fixed.choose("#Person1#: 둘") == chooser(3, "fixed").choose("#Person1#: 셋")


def test_another_process_has_what_was_prepared() -> None:
    here = chooser()
    expected = [here.choose(dialogue) for dialogue in DIALOGUES]
    there: ExampleChooser = pickle.loads(pickle.dumps(here))
    assert [there.choose(dialogue) for dialogue in DIALOGUES] == expected


def test_too_few_train_rows() -> None:
    with pytest.raises(YoyakError, match=r"prompt\.examples: 8 examples need more than 8 train rows"):
        chooser(8)


def test_a_dialogue_without_a_known_word_gets_examples_too() -> None:
    assert len(chooser().choose("#Person1#: 쀍")) == 2


def test_messages_show_examples_as_earlier_turns_the_best_one_last() -> None:
    examples = chooser().choose(DIALOGUES[6])
    messages = PromptTexts(settings(system="짧게."), names_topic=False).messages("#Person1#: 비?", examples=examples)
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert messages[4]["content"] == examples[0].summary and messages[2]["content"] == examples[1].summary
    assert messages[3]["content"] == f"다음 대화를 요약해주세요:\n{examples[0].dialogue}"


@pytest.mark.parametrize(("limit", "kept"), [(10_000, 2), (170, 1), (60, 0)])
def test_examples_that_do_not_fit_are_left_out_whole_and_the_dialogue_stays(limit: int, kept: int) -> None:
    examples = chooser().choose(DIALOGUES[6])

    def encode(dialogue: str, shown: Any) -> list[int]:
        return [0] * (len(dialogue) + sum(len(item.dialogue) + len(item.summary) for item in shown))

    prompt = fit_prompt(DIALOGUES[6], examples, encode=encode, max_length=limit, truncation="middle")
    assert (prompt.examples, prompt.examples_left_out) == (kept, 2 - kept)
    assert not prompt.is_shortened and len(prompt.ids) == len(encode(DIALOGUES[6], examples[:kept]))


def test_without_room_for_the_dialogue_it_loses_turns_and_all_examples() -> None:
    def encode(dialogue: str, shown: Any) -> list[int]:
        return [0] * (len(dialogue) + 100 * len(shown))

    prompt = fit_prompt(DIALOGUES[3], chooser().choose(DIALOGUES[3]), encode=encode, max_length=70, truncation="middle")
    assert (prompt.examples, prompt.examples_left_out) == (0, 2)
    assert prompt.turns_left_out > 0 and len(prompt.ids) <= 70


@pytest.mark.parametrize("choice", ["similar", "fixed"])
def test_the_source_of_an_added_dialogue_is_no_example_for_it(choice: str) -> None:
    added = DIALOGUES[6].replace("놓쳤어", "넣쳤어")
    every = chooser(len(TRAIN) - 1, choice)
    every.add_copy(added, source=DIALOGUES[6])
    chosen = [example.dialogue for example in every.choose(added)]
    assert len(chosen) == len(TRAIN) - 1 and DIALOGUES[6] not in chosen
    assert DIALOGUES[6] in [example.dialogue for example in every.choose(DIALOGUES[0])]
