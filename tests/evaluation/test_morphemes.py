"""The tokenizer of the score: Mecab's own morphemes, read in parallel, and no fallback."""

import multiprocessing
import os
import sys
import threading
import time

import pytest
from mecab import MeCab

from tests.conftest import SUMMARIES
from yoyak.evaluation import morphemes, rouge
from yoyak.evaluation.morphemes import Morphemes
from yoyak.system.errors import YoyakError, exit_with_message

MORPHEMES = {
    "철수가 밥을 먹는다": ["철수", "가", "밥", "을", "먹", "는다"],
    "영희가 밥을 먹는다": ["영희", "가", "밥", "을", "먹", "는다"],
    "밥을 철수가 먹는다": ["밥", "을", "철수", "가", "먹", "는다"],
    "밥을 먹는다": ["밥", "을", "먹", "는다"],
    "비가 온다 비가": ["비", "가", "온다", "비", "가"],
    "비가 온다": ["비", "가", "온다"],
    "#Person1#은": ["#", "Person", "1", "#", "은"],
    "#Person2#은": ["#", "Person", "2", "#", "은"],
}


@pytest.mark.parametrize(("text", "expected"), MORPHEMES.items())
def test_morphemes(mecab: Morphemes, text: str, expected: list[str]) -> None:
    assert mecab.tokenize(text) == expected


def test_without_mecab_there_is_an_error_and_no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mecab", None)
    with pytest.raises(YoyakError, match=r"Mecab cannot load.*pip install python-mecab-ko==1\.3\.7"):
        Morphemes()


def test_without_a_dictionary_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import mecab

    def broken() -> None:
        raise RuntimeError("no dictionary at /nowhere")

    monkeypatch.setattr(mecab, "MeCab", broken)
    with pytest.raises(YoyakError, match="no dictionary at /nowhere"):
        Morphemes()


def test_the_pinned_mecab_is_the_one_that_the_error_names() -> None:
    assert "mecab-ko-1.3.7+" in rouge.signature("mean")


def test_many_texts_are_read_as_one_is(mecab: Morphemes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(morphemes, "TEXTS_PER_PROCESS", 50)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(morphemes, "TEXTS_PER_CHUNK", 7)
    texts = ["", *(f"{text} {index}번" for index in range(20) for text in SUMMARIES), " "]
    many = Morphemes()
    assert many.tokenize("이미 읽은 글") == mecab.tokenize("이미 읽은 글")
    many.preload([*texts, *texts])
    assert many._characters.keys() == {*texts, "이미 읽은 글"}
    assert {text: many.tokenize(text) for text in texts} == {text: mecab.tokenize(text) for text in texts}


def test_a_killed_reader_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel does where memory is full; nobody would answer for its texts."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})

    def kill_one() -> None:
        while len(readers := [child for child in multiprocessing.active_children() if child.name.startswith("Spawn")]) < 2:
            time.sleep(0.01)
        time.sleep(0.2)
        readers[0].kill()

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    with pytest.raises(SystemExit, match="a subprocess of this program was killed"), exit_with_message():
        Morphemes().preload(f"{text} {index}번" for index in range(4000) for text in SUMMARIES)
    killer.join()


@pytest.mark.parametrize(
    "text",
    [
        *SUMMARIES,
        "",
        " ",
        "KTX 10시, 3.5%",
        "👋 ㅋㅋ\u3000다",
        "뷁쉛 𠀀",
        "\t가\t\t나\n",
        "\n",
        "EOS\nEOS\tEOS",
        "a,b\x1c\x85c\u2028d\re",
    ],
)
def test_surfaces_are_mecabs_own(mecab: Morphemes, text: str) -> None:
    assert mecab.tokenize(text) == MeCab().morphs(text)
