"""Stored answers: durable, checked when they are read, and shareable."""

from pathlib import Path
from typing import Any

import pytest

from yoyak.inference.endpoint.answer_store import Answer, AnswerStore, store_folder
from yoyak.inference.endpoint.request import Request


def an_answer(text: str = "비가 온다.", model: str = "m", **changes: Any) -> Answer:
    request = Request("http://localhost:1/v1", {"model": model, "messages": [{"role": "user", "content": text}]})
    values: dict[str, Any] = {
        "text": text,
        "finish_reason": "stop",
        "input_tokens": 3,
        "output_tokens": 2,
        "seconds": 0.1,
        "raw": {"a": [1]},
    }
    return Answer(request=request.as_dict(), **(values | changes))


def test_an_answer_is_read_as_it_was_stored(store: AnswerStore) -> None:
    answer = an_answer("줄\u2028바꿈 “따옴표”")
    store.put(answer)
    assert store.get(answer.hash) == answer and list(store.answers()) == [answer]
    assert store.get("0" * 64) is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_a_damaged_answer_is_reported_and_not_used(store: AnswerStore, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = an_answer()
    store.put(answer)
    path = store.path_of(answer.hash)
    text = path.read_text(encoding="utf-8")
    changed = {"cut": text[:-9], "flip": text.replace("비가", "눈이"), "empty": "", "other": an_answer("다른 답").to_line()}
    path.write_text(changed[damage], encoding="utf-8")
    assert store.get(answer.hash) is None
    assert f"{path}: the stored answer is damaged" in capsys.readouterr().out


def test_answers_are_shared_in_a_file_that_a_clone_reads(store: AnswerStore, tmp_path: Path) -> None:
    answers = [an_answer(f"{number}번 답") for number in range(4)]
    for answer in answers:
        store.put(answer)
    assert store.share() == 4
    first = store.shared.read_bytes()
    assert store.share() == 4 and store.shared.read_bytes() == first
    clone = AnswerStore(tmp_path / "clone", store.shared)
    assert [clone.get(answer.hash) for answer in answers] == answers
    clone.put(an_answer("다섯째"))
    assert clone.share() == 5
    damaged = store.shared.read_bytes().replace("1번 답".encode(), "9번 답".encode())
    store.shared.write_bytes(damaged)
    assert AnswerStore(tmp_path / "clone-2", store.shared).get(answers[1].hash) is None


def test_answers_are_deleted_by_model_and_fault(store: AnswerStore) -> None:
    good, bad, other = an_answer("가"), an_answer("나", fault="filtered"), an_answer("다", model="other")
    for answer in (good, bad, other):
        store.put(answer)
    assert store.prune(failed=True, model="other") == 0
    assert store.prune(failed=True, model=None) == 1
    assert store.prune(failed=False, model="m") == 1
    assert list(store.answers()) == [other]


def test_only_one_asks_a_request_at_a_time(store: AnswerStore) -> None:
    with store.asking("ab") as first, store.asking("ab") as second, store.asking("cd") as another:
        assert (first, second, another) == (True, False, True)
    with store.asking("ab") as again:
        assert again
    assert not list((store.folder / "locks").iterdir())


def test_an_error_while_asking_is_not_hidden(store: AnswerStore) -> None:
    with pytest.raises(FileNotFoundError, match="mine"), store.asking("ab"):
        raise FileNotFoundError("mine")


def test_the_store_of_the_main_repository_is_used_in_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YOYAK_ANSWERS", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert store_folder() == Path(".answers")
    monkeypatch.setenv("DVC_ROOT", "/repository")
    assert store_folder() == Path("/repository/.answers")
    monkeypatch.setenv("YOYAK_ANSWERS", "/elsewhere")
    assert store_folder() == Path("/elsewhere")
