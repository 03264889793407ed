"""generation.long_dialogues: windows. Every turn of a long dialogue is read, and one summary comes of it."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, ROOT
from yoyak.config.params import parse_params
from yoyak.data.dialogue import SPEAKER_TAG
from yoyak.data.windows import Window
from yoyak.evaluation.morphemes import Morphemes
from yoyak.inference.backend_choice import Choice
from yoyak.inference.decoding import describe_decoding
from yoyak.inference.outputs import Output
from yoyak.inference.summarizer import Summarizer
from yoyak.inference.window_merging import as_dialogue, relevant_turns, sentences
from yoyak.models.families.base import LoadedModel
from yoyak.models.families.lookup import family_named
from yoyak.models.tokenizer_loading import load_tokenizer
from yoyak.system.resumable import BatchStore

TURNS = [f"#Person{number % 2 + 1}#: {number}번째 말입니다." for number in range(40)]
LONG = {"fname": "dev_0", "dialogue": "\n".join(TURNS), "topic": ""}
SHORT = {"fname": "dev_1", "dialogue": DIALOGUES[0], "topic": ""}


class Reader:
    """A writer that says what the last turn of its input says, and keeps each batch of inputs as text."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.batches: list[list[str]] = []
        self.seeds: list[int] = []

    @property
    def read(self) -> list[str]:
        return [text for batch in self.batches for text in batch]

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        texts = [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in encoded]
        self.batches.append(texts)
        self.seeds.append(seed)
        return [Output(text.splitlines()[-1].replace(": ", "은 "), hit_limit=False) for text in texts]


def summarizer_of(values: dict[str, Any], tiny: Path, *, tags: str = "keep_original", **generation: Any) -> tuple[Any, Reader]:
    values["generation"] |= {"long_dialogues": "windows", **generation}
    values["preprocess"]["person_tags"] = tags
    tokenizer = load_tokenizer(str(tiny), None, ("#Person1#", "#Person2#"))
    summarizer = Summarizer(LoadedModel("kobart", None, tokenizer), family_named("kobart"), parse_params(values, source="test"))
    reader = Reader(tokenizer)
    summarizer._choice = Choice(reader, "test", "test")
    return summarizer, reader


def test_all_turns_are_read_and_what_the_windows_say_is_summarized(values: dict[str, Any], tiny: Path) -> None:
    summarizer, reader = summarizer_of(values, tiny, batch_size=100)
    with pytest.warns(UserWarning, match=r"^1 of 2 dialogues are longer .* \(128 tokens\): each is read whole in 2 to \d+ win"):
        long, short = summarizer.summarize_many([LONG["dialogue"], SHORT["dialogue"]])
    first, second = reader.batches
    assert set(TURNS) == {line for text in first for line in text.splitlines()} - set(DIALOGUES[0].splitlines())
    assert DIALOGUES[0] in first
    (chosen,) = second
    assert 1 < len(chosen.splitlines()) < len(TURNS) and set(chosen.splitlines()) < set(TURNS)
    last_turns = [text.splitlines()[-1] for text in first if text != DIALOGUES[0]]
    assert set(last_turns) <= set(chosen.splitlines()), "each window says its last turn, so these are chosen first"
    assert long == chosen.splitlines()[-1].replace(": ", "은 ")
    assert short == DIALOGUES[0].splitlines()[-1].replace(": ", "은 ")


def said_by(windows: Sequence[str]) -> list[str]:
    """What `Reader` says of windows, in the order of the dialogue: a batch is sorted by length."""
    said = [window.splitlines()[-1].replace(": ", "은 ") for window in windows]
    return sorted(said, key=last_number)


def last_number(text: str) -> int:
    return int(re.findall("[0-9]+", text)[-1])


def test_the_summaries_can_be_read_as_a_dialogue(values: dict[str, Any], tiny: Path) -> None:
    """Those of a very long dialogue are too long themselves and are read in windows too."""
    summarizer, reader = summarizer_of(values, tiny, batch_size=100, window_merge="summaries", window_overlap=0)
    turns = [f"#Person{number % 2 + 1}#: {number}번째 말입니다." for number in range(100)]
    text = summarizer.summarize_rows([{**LONG, "dialogue": "\n".join(turns)}], tell=lambda said: None)[0]
    first, second, *more = reader.batches
    assert len(second) > 1 and more
    lines = sorted((line for window in second for line in window.splitlines()), key=last_number)
    assert lines == [f"{SPEAKER_TAG.match(said)[0]}: {said}" for said in said_by(first)]  # type: ignore[index]
    assert len(reader.batches[-1]) == 1 and text.endswith("99번째 말입니다.")


def test_the_summaries_can_be_joined(values: dict[str, Any], tiny: Path) -> None:
    summarizer, reader = summarizer_of(values, tiny, batch_size=100, window_merge="join")
    joined = summarizer.summarize_rows([LONG], tell=lambda said: None)[0]
    assert len(reader.batches) == 1
    assert joined == " ".join(said_by(reader.batches[0]))


def test_speaker_tags_are_those_of_the_data_again(values: dict[str, Any], tiny: Path) -> None:
    for merge in ("turns", "summaries", "join"):
        summarizer, reader = summarizer_of(values, tiny, tags="abstract", window_merge=merge)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = summarizer.summarize(LONG["dialogue"])
        assert "화자1: " in "".join(reader.read) and "#Person1#" not in "".join(reader.read)
        assert SPEAKER_TAG.search(text) and "화자" not in text


def test_rows_in_windows_are_counted_and_lost_nothing(values: dict[str, Any], tiny: Path) -> None:
    summarizer, _ = summarizer_of(values, tiny)
    counts = summarizer.reader.count_cuts(summarizer.encode([LONG, SHORT]))
    assert counts["truncated"] == counts["turns_left_out"] == counts["tokens_left_out"] == 0
    assert counts["turns"] == len(TURNS) + len(DIALOGUES[0].splitlines())
    windowed = counts["windowed"]
    assert windowed["dialogues"] == 1 and windowed["windows"] == windowed["windows_max"] > 2
    assert windowed["turns_read_twice"] == 2 * (windowed["windows"] - 1)
    values["generation"]["long_dialogues"] = "truncate"
    summarizer = Summarizer(summarizer.loaded, summarizer.family, parse_params(values, source="test"))
    counts = summarizer.reader.count_cuts(summarizer.encode([LONG, SHORT]))
    assert counts["truncated"] == 1 and "windowed" not in counts


def test_work_continues_after_a_kill_in_either_pass(values: dict[str, Any], tiny: Path, tmp_path: Path) -> None:
    summarizer, reader = summarizer_of(values, tiny, batch_size=2)
    rows = [LONG, SHORT, {**LONG, "dialogue": "\n".join(TURNS[:30])}]
    encoded = summarizer.encode(rows)
    whole = summarizer.write(encoded, rows, progress="test", kept=BatchStore(tmp_path / "kept"))
    batches = len(reader.batches)
    assert len(set(reader.seeds)) == batches, "each batch has its own seed, in both passes"
    lines = (tmp_path / "kept").read_text(encoding="utf-8").splitlines(keepends=True)
    assert len(lines) == batches
    for finished in (0, 1, batches - 1, batches):
        (tmp_path / "kept").write_text("".join(lines[:finished]), encoding="utf-8")
        reader.batches.clear()
        again = summarizer.write(encoded, rows, progress="test", kept=BatchStore(tmp_path / "kept"))
        assert [output.text for output in again] == [output.text for output in whole]
        assert len(reader.batches) == batches - finished


@pytest.mark.parametrize("backend", ["transformers", "ctranslate2"])
def test_real_backends_write_in_windows(values: dict[str, Any], tiny: Path, backend: str) -> None:
    values["generation"] |= {"long_dialogues": "windows", "backend": backend}
    values["model"]["kobart"] |= {"checkpoint": str(tiny), "revision": None}
    summarizer = Summarizer.load(tiny, params=parse_params(values, source="test"))
    long, short = summarizer.summarize_rows([LONG, SHORT], tell=lambda said: None)
    assert long and short == summarizer.summarize(SHORT["dialogue"])


def test_prompts_of_windows_keep_the_question(values: dict[str, Any]) -> None:
    values["generation"] |= {"long_dialogues": "windows"}
    tokenizer = load_tokenizer(str(ROOT / "models/base/llama-tiny"), None, ("#Person1#", "#Person2#"))
    summarizer = Summarizer(LoadedModel("qlora", None, tokenizer), family_named("qlora"), parse_params(values, source="test"))
    reader = Reader(tokenizer)
    summarizer._choice = Choice(reader, "test", "test")
    summarizer.summarize_rows([{**LONG, "topic": "여행"}], tell=lambda said: None)
    assert len(reader.read) > 3 and all("위 여행 주제에 대한 대화를 요약해주세요." in text for text in reader.read)
    assert all(any(turn in text for text in reader.read) for turn in TURNS)


def test_default_params_leave_the_signature_alone(values: dict[str, Any]) -> None:
    def described(**changes: Any) -> str:
        values["generation"] |= changes
        return describe_decoding(parse_params(values, source="test").generation, backend="test")

    assert "window" not in described(window_overlap=5) and "long_dialogues" not in described()
    assert "long_dialogues=windows,window_overlap=5,window_merge=join" in described(
        long_dialogues="windows", window_merge="join"
    )


def test_turns_are_chosen_by_content_and_each_window_is_heard() -> None:
    turns = [
        "#Person1#: 안녕하세요.", "#Person2#: 김치찌개를 먹을까요?", "#Person1#: 네.",
        "#Person2#: 그런데요.", "#Person1#: 기차표를 예약했어요.", "#Person2#: 좋아요.",
    ]  # fmt: skip
    windows = [Window("\n".join(turns[:3]), 0, 3), Window("\n".join(turns[3:]), 3, 6)]
    summaries = ["#Person2#는 김치찌개를 먹자고 한다.", "#Person1#은 기차표를 예약한다."]
    chosen = relevant_turns(turns, windows, summaries, morphemes=Morphemes(), fits=lambda text: text.count("\n") < 2)
    assert chosen.splitlines() == [turns[1], turns[4]]


def test_a_sentence_is_said_by_the_speaker_whom_it_names_first() -> None:
    summaries = ["비가 온다. #Person2#는 #Person1#에게 묻는다.", "우산이 없다. 비가 온다."]
    assert as_dialogue(summaries, SPEAKER_TAG, "#Person1#").splitlines() == [
        "#Person1#: 비가 온다.",
        "#Person2#: #Person2#는 #Person1#에게 묻는다.",
        "#Person2#: 우산이 없다.",
    ]
    assert sentences(["가. 나.", "나. 다"]) == ["가.", "나.", "다"]
