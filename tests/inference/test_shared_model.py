"""One model for requests with different settings: the same texts as a Summarizer of its own for each."""

from pathlib import Path
from typing import Any

import pytest

from tests.app.conftest import served_params, shared  # noqa: F401  (fixtures)
from tests.conftest import DIALOGUES, ROOT
from yoyak.config.params import load_params
from yoyak.config.sections import Params
from yoyak.inference.shared_model import SharedModel
from yoyak.inference.summarizer import Summarizer
from yoyak.system.errors import YoyakError

ROWS = [{"dialogue": text, "topic": ""} for text in DIALOGUES]
CHANGES: list[dict[str, Any]] = [
    {},
    {"num_beams": 3, "length_penalty": 2.0},
    {"max_new_tokens": 5, "num_beams": 1},
    {"no_repeat_ngram_size": 2},  # only transformers can do it
    {"num_beams": 3, "min_new_tokens": 6, "repetition_penalty": 1.5},
    {"do_sample": True, "num_beams": 1, "seed": 7},
    {"do_sample": True, "num_beams": 1, "seed": 8},
    {"postprocess": "always", "max_new_tokens": 6},
]


def with_changes(params: Params, changes: dict[str, Any]) -> Params:
    return params.model_copy(update={"generation": params.generation.model_copy(update=changes)})


@pytest.mark.parametrize("backend", ["auto", pytest.param("transformers", marks=pytest.mark.very_slow)])
def test_each_request_gets_the_texts_of_its_own_settings(_tiny: Path, served_params: Params, backend: str) -> None:  # noqa: F811
    params = with_changes(served_params, {"backend": backend})
    shared = SharedModel(Summarizer.load(_tiny, params=params))  # noqa: F811
    assert shared.choice.backend == {"auto": "ctranslate2", "transformers": "transformers"}[backend]
    expected = [Summarizer.load(_tiny, params=with_changes(params, each)).summarize_many(DIALOGUES) for each in CHANGES]
    for _ in range(2):  # the second time, another request has used the model in between
        for changes, texts in zip(CHANGES, expected, strict=True):
            assert [one.summary for one in shared.write([ROWS], shared.change(changes))[0]] == texts, changes
    assert len({tuple(texts) for texts in expected}) > len(expected) / 2


def test_counts_say_what_was_read_and_written(shared: SharedModel) -> None:  # noqa: F811
    long = "\n".join(f"#Person{1 + turn % 2}#: {turn}번째 말입니다." for turn in range(60))
    (short,), (cut,) = shared.write([ROWS[:1], [{"dialogue": long, "topic": ""}]], shared.settings)
    assert short.input_tokens == short.dialogue_tokens and short.turns == 2 and not short.notes
    assert cut.turns == 60 and 0 < cut.turns_left_out < 60 and cut.input_tokens <= 128 < cut.dialogue_tokens
    assert "turns are left out" in cut.notes[0]
    windows = shared.change({"long_dialogues": "windows", "no_repeat_ngram_size": 3})
    ((whole,),) = shared.write([[{"dialogue": long, "topic": ""}]], windows)
    assert whole.windows > 1 and whole.turns_left_out == 0 and "windows" in whole.notes[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_new_tokens": 13}, "min_new_tokens: 13 is more than"),
        ({"max_new_tokens": 400}, r"generation\.max_new_tokens: 400 is more than the 256 positions"),
    ],
)
def test_settings_that_are_not_possible_are_named(shared: SharedModel, changes: dict[str, Any], message: str) -> None:  # noqa: F811
    with pytest.raises(YoyakError, match=message):
        shared.change(changes)


def test_a_decoder_only_model_that_was_converted_names_the_backend() -> None:
    """CTranslate2's converter takes the weights of such a model apart, so transformers cannot write with them."""
    params = load_params(ROOT / "params.yaml")
    params = params.model_copy(
        update={"generation": params.generation.model_copy(update={"max_new_tokens": 8, "num_beams": 1})}
    )
    shared = SharedModel(Summarizer.load(ROOT / "models/base/llama-tiny", params=params))  # noqa: F811
    assert shared.choice.backend == "ctranslate2"
    with pytest.raises(YoyakError, match=r"no_repeat_ngram_size.* -S generation\.backend=transformers"):
        shared.change({"no_repeat_ngram_size": 3})
    expected = Summarizer.load(ROOT / "models/base/llama-tiny", params=params).summarize_many(DIALOGUES[:3])
    assert [one.summary for one in shared.write([ROWS[:3]], shared.settings)[0]] == expected
