"""The public class Summarizer: the same summaries as the pipeline, with the decisions that predict made."""

import json
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import yoyak
from tests.conftest import DIALOGUES, ROOT
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.inference.backend_choice import Choice
from yoyak.inference.decisions import Decisions
from yoyak.inference.outputs import Output
from yoyak.inference.summarizer import Summarizer
from yoyak.models.families.base import LoadedModel
from yoyak.models.families.lookup import family_named
from yoyak.models.tokenizer_loading import load_tokenizer
from yoyak.system.errors import YoyakError


class FirstSpeakerWriter:
    """A writer whose summary names the speaker of the first turn."""

    def __init__(self) -> None:
        self.encoded: list[Any] = []

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        self.encoded += encoded
        return [Output(f"처음: {text.split(':')[0]}", hit_limit=False) for text in dialogues]


def summarizer_with_writer(
    params: Params, tokenizer: Any, family: str, decisions: Decisions | None = None
) -> tuple[Summarizer, FirstSpeakerWriter]:
    """A summarizer whose backend is `FirstSpeakerWriter`."""
    summarizer = Summarizer(LoadedModel(family, None, tokenizer), family_named(family), params, decisions)
    writer = FirstSpeakerWriter()
    summarizer._choice = Choice(writer, "test", "test")
    return summarizer, writer


def test_yoyak_exports_the_class() -> None:
    assert yoyak.Summarizer is Summarizer


def test_one_dialogue_gives_the_same_summary_as_in_a_list(params: Params, tiny: Path) -> None:
    summarizer = Summarizer.load(tiny, params=params)
    texts = summarizer.summarize_many(DIALOGUES)
    assert len(texts) == len(DIALOGUES) and len(set(texts)) > 1
    assert summarizer.summarize(DIALOGUES[3]) == texts[3]


def test_params_and_decisions_come_from_the_repository_of_the_model(params: Params, tiny: Path, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    shutil.copytree(tiny, root / "models/kobart")
    (root / "metrics").mkdir()
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(text.replace("max_input_length: 512", "max_input_length: 128"), encoding="utf-8")
    report = {"backend": "ctranslate2-int8", "why": "", "postprocess": {"used": True}}
    (root / "metrics/predict.json").write_text(json.dumps(report), encoding="utf-8")
    summarizer = Summarizer.load(root / "models/kobart")
    assert summarizer.decisions == Decisions(backend="ctranslate2-int8", postprocess=True)
    assert summarizer.choose_backend().backend == "ctranslate2-int8"
    shutil.copytree(tiny, root / "models/other")  # predict has decided nothing for this model
    assert Summarizer.load(root / "models/other").decisions == Decisions()


def test_params_are_searched_in_all_folders_above_the_model(tiny: Path, tmp_path: Path) -> None:
    base = tmp_path / "repository/models/base/tiny"
    shutil.copytree(tiny, base)
    with pytest.raises(YoyakError, match=r"base/tiny: no yoyak\.json in it, and no params\.yaml in the folders above it; pass"):
        Summarizer.load(base)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = text.replace("max_input_length: 512", "max_input_length: 128")
    (tmp_path / "repository/params.yaml").write_text(text, encoding="utf-8")
    assert Summarizer.load(base).params.tokenizer.max_input_length == 128


def test_turns_that_are_left_out_are_told(params: Params, tiny: Path) -> None:
    """A long dialogue with another last turn gives another input, and the warning says how much is missing."""
    summarizer, writer = summarizer_with_writer(params, load_tokenizer(str(tiny), None, ("#Person1#",)), "kobart")
    turns = [f"#Person1#: {number}번째 말입니다." for number in range(300)]
    said = r"^1 of 1 dialogues \(100\.0%\) are longer than tokenizer\.max_input_length \(128 tokens\): \d+ of 300 turns"
    for last in ("#Person1#: 가", "#Person1#: 나"):
        with pytest.warns(UserWarning, match=said):
            summarizer.summarize("\n".join([*turns, last][-300:]))
    first, second = writer.encoded
    assert first != second
    counts = summarizer.reader.count_cuts(summarizer.encode([{"dialogue": "\n".join(turns), "topic": ""}]))
    assert counts["truncated"] == 1 and 280 < counts["turns_left_out"] < 300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        summarizer.summarize(DIALOGUES[0])


def test_rows_can_tell_it_elsewhere(params: Params, tiny: Path) -> None:
    summarizer, _ = summarizer_with_writer(params, load_tokenizer(str(tiny), None, ()), "kobart")
    said: list[str] = []
    summarizer.summarize_rows([{"dialogue": "#Person1#: 가\n" * 300 + "#Person1#: 나", "topic": ""}], tell=said.append)
    assert len(said) == 1 and "turns are left out from the middle" in said[0]


@pytest.mark.parametrize("report", [None, {"pruned": "rouge_sum 1 after epoch 1"}])
def test_without_a_report_there_are_no_decisions(tmp_path: Path, report: dict[str, Any] | None) -> None:
    if report:
        (tmp_path / "predict.json").write_text(json.dumps(report), encoding="utf-8")
    assert Decisions.read(tmp_path / "predict.json") == Decisions()


def test_a_missing_model_is_an_error_that_says_what_to_do(params: Params, tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match="no trained model here; run `dvc repro`"):
        Summarizer.load(tmp_path, params=params)


def test_lengths_beyond_the_models_positions_are_refused(values: dict[str, Any], params: Params, tiny: Path) -> None:
    longer = params.model_copy(update={"tokenizer": params.tokenizer.model_copy(update={"max_input_length": 257})})
    with pytest.raises(YoyakError, match=r"tokenizer\.max_input_length: 257 is more than the 256 positions"):
        Summarizer.load(tiny, params=longer)


@pytest.mark.parametrize(
    ("setting", "decided", "expected"),
    [
        ("never", True, False),
        ("always", False, True),
        ("auto", True, True),
        ("auto", False, False),
        ("auto", None, False),  # predict has not decided yet
    ],
)
def test_post_processing_follows_the_setting_and_then_the_decision_of_predict(
    values: dict[str, Any], tiny: Path, setting: str, decided: bool | None, *, expected: bool
) -> None:
    values["generation"]["postprocess"] = setting
    tokenizer = load_tokenizer(str(tiny), None, ())
    summarizer, _ = summarizer_with_writer(
        parse_params(values, source="test"), tokenizer, "kobart", Decisions(postprocess=decided)
    )
    assert summarizer.postprocesses is expected
    assert summarizer.summarize(DIALOGUES[0]) == "처음: #Person1#" + ("." if expected else "")


def test_speaker_tags_are_replaced_for_the_model_and_restored(values: dict[str, Any], tiny: Path) -> None:
    values["preprocess"]["person_tags"] = "abstract"
    tokenizer = load_tokenizer(str(tiny), None, ())
    summarizer, writer = summarizer_with_writer(parse_params(values, source="test"), tokenizer, "kobart")
    assert summarizer.summarize(DIALOGUES[0]) == "처음: #Person1#"
    assert tokenizer.decode(writer.encoded[0]).startswith(
        DIALOGUES[0].replace("#Person1#", "화자1").replace("#Person2#", "화자2")
    )


@pytest.mark.parametrize(
    ("topics", "decided", "subjects"),
    [
        (["여행", " 병원\n예약 "], None, ["여행", "병원 예약"]),
        (["여행", ""], None, ["대화", "대화"]),  # not every row has one
        (None, None, ["대화", "대화"]),
        (["여행", ""], True, ["여행", "대화"]),  # as in training
        (["여행", "병원"], False, ["대화", "대화"]),
    ],
)
def test_prompts_name_topics_as_predict_decided_or_if_every_row_has_one(
    values: dict[str, Any], topics: list[str] | None, decided: bool | None, subjects: list[str]
) -> None:
    tokenizer = load_tokenizer(str(ROOT / "models/base/llama-tiny"), None, ("#Person1#", "#Person2#"))
    decisions = Decisions(names_topic=decided)
    summarizer, writer = summarizer_with_writer(parse_params(values, source="test"), tokenizer, "qlora", decisions)
    summarizer.summarize_many(DIALOGUES[:2], topics=topics)
    prompts = sorted(tokenizer.decode(ids) for ids in writer.encoded)
    expected = sorted(zip(DIALOGUES, subjects, strict=False))
    for dialogue, subject in expected:
        (prompt,) = (text for text in prompts if dialogue in text)
        assert f"위 {subject} 주제에 대한 대화를 요약해주세요." in prompt


def test_a_dialogue_longer_than_the_limit_is_accepted(params: Params, tiny: Path) -> None:
    long = "#Person1#: " + "안녕하세요 " * 2000
    with pytest.warns(UserWarning, match="turns cut because they do not fit even alone: 1; in all"):
        assert len(Summarizer.load(tiny, params=params).summarize_many([long, DIALOGUES[0]])) == 2


def test_a_text_that_is_not_a_dialogue_is_an_error_that_names_its_position(params: Params, tiny: Path) -> None:
    with pytest.raises(YoyakError, match=r"^dialogue 2: no speaker tag with a colon; expected lines such as"):
        Summarizer.load(tiny, params=params).summarize_many([DIALOGUES[0], "안녕하세요?"])


def test_wrong_arguments_of_summarize_many_are_named(params: Params, tiny: Path) -> None:
    summarizer, _ = summarizer_with_writer(params, load_tokenizer(str(tiny), None, ()), "kobart")
    assert summarizer.summarize_many([]) == summarizer.summarize_many([], topics=[]) == []
    with pytest.raises(YoyakError, match=r"^dialogues: expected a list of texts, not one text$"):
        summarizer.summarize_many(DIALOGUES[0])
    with pytest.raises(YoyakError, match=r"^topics: 2 topics for 1 dialogues$"):
        summarizer.summarize_many(DIALOGUES[:1], topics=["여행", "병원"])
