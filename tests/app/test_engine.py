"""Batching: what goes together, what is refused, what a fault or a cancelled request does to the others."""

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tests.app.conftest import wait_for
from tests.conftest import DIALOGUES
from yoyak.app.engine import Batch, Engine, RefusedError
from yoyak.config.generation_section import Generation
from yoyak.inference.shared_model import SharedModel, Written
from yoyak.system.errors import YoyakError

PLAIN = Generation.plain(max_new_tokens=8, num_beams=1)
OTHER = Generation.plain(max_new_tokens=9, num_beams=1)
SAMPLES = PLAIN.model_copy(update={"do_sample": True})


class FakeModel:
    """A model that waits for permission, writes its rows back, and notes its batches. A row "bad" is an error."""

    parallel = 1
    base = SimpleNamespace(params=SimpleNamespace(preprocess=SimpleNamespace(person_tags="keep")))

    def __init__(self) -> None:
        self.may_write, self.begun = threading.Event(), threading.Event()
        self.batches: list[list[str]] = []

    def prepare_thread(self) -> None:
        pass

    def write(self, requests: Sequence[Sequence[Any]], settings: Generation) -> list[list[Written]]:
        self.begun.set()
        assert self.may_write.wait(30)
        self.batches.append([row["dialogue"] for rows in requests for row in rows])
        if "bad" in self.batches[-1]:
            raise YoyakError("bad")
        return [[Written(row["dialogue"], False, 1, 1, 1, 1) for row in rows] for rows in requests]


def rows(*texts: str) -> list[dict[str, str]]:
    return [{"dialogue": text, "topic": ""} for text in texts]


@pytest.fixture
def model() -> FakeModel:
    return FakeModel()


def started(model: Any, **options: Any) -> Engine:
    engine = Engine(lambda: model, **{"wait": 0.0, "batch": 4, "queue": 8, **options})
    engine.start()
    wait_for(lambda: engine.state != "loading")
    return engine


def blocked(model: FakeModel, **options: Any) -> Engine:
    """An engine that is busy with the request "first"."""
    engine = started(model, **options)
    engine.submit(rows("first"), PLAIN)
    assert model.begun.wait(30)
    return engine


def test_requests_with_the_same_settings_are_written_together(model: FakeModel) -> None:
    engine = blocked(model)
    sent = [
        engine.submit(rows(text), settings)
        for text, settings in (("a", PLAIN), ("b", OTHER), ("c", PLAIN), ("s", SAMPLES), ("t", SAMPLES), ("d", OTHER))
    ]
    model.may_write.set()
    assert [future.result(30).written[0].summary for future in sent] == ["a", "b", "c", "s", "t", "d"]
    assert model.batches == [["first"], ["a", "c"], ["b", "d"], ["s"], ["t"]]
    assert engine.stop(10)


def test_a_batch_has_a_limit_and_a_request_stays_whole(model: FakeModel) -> None:
    engine = blocked(model)
    sent = [engine.submit(rows(*text), PLAIN) for text in ("abc", "de", "f", "g")]
    model.may_write.set()
    assert [len(future.result(30).written) for future in sent] == [3, 2, 1, 1]
    assert model.batches == [["first"], ["a", "b", "c", "f"], ["d", "e", "g"]]
    engine.stop(10)


def test_a_full_queue_refuses_and_takes_again_when_there_is_room(model: FakeModel) -> None:
    engine = blocked(model)
    waiting = [engine.submit(rows(*"abcd"), PLAIN), engine.submit(rows(*"efg"), PLAIN)]
    with pytest.raises(RefusedError, match="full"):
        engine.submit(rows("h", "i"), PLAIN)
    last = engine.submit(rows("j"), PLAIN)
    assert engine.waiting == 8
    assert waiting[0].cancel()  # its place is free now
    assert engine.waiting == 4
    engine.submit(rows("k"), PLAIN)
    model.may_write.set()
    last.result(30)
    assert engine.stop(10)
    assert not any("a" in batch for batch in model.batches)


def test_a_request_that_is_larger_than_the_queue_is_taken_if_nothing_waits(model: FakeModel) -> None:
    model.may_write.set()
    engine = started(model)
    assert len(engine.submit(rows(*"abcdefghijkl"), PLAIN).result(30).written) == 12
    engine.stop(10)


def test_a_fault_of_one_request_is_its_own(model: FakeModel) -> None:
    engine = blocked(model)
    good, bad, last = (engine.submit(rows(text), PLAIN) for text in ("a", "bad", "c"))
    model.may_write.set()
    assert (good.result(30).written[0].summary, last.result(30).written[0].summary) == ("a", "c")
    with pytest.raises(YoyakError):
        bad.result(30)
    assert engine.state == "ready"
    engine.stop(10)


def test_stopping_writes_what_was_taken_and_refuses_the_rest(model: FakeModel) -> None:
    engine = blocked(model)
    taken = engine.submit(rows("a"), PLAIN)
    engine.refuse()
    with pytest.raises(RefusedError, match="stopping"):
        engine.submit(rows("b"), PLAIN)
    assert not engine.stop(0.01)
    model.may_write.set()
    assert engine.stop(10)
    assert taken.result(0).written[0].summary == "a"


def test_before_and_after_a_model_that_cannot_be_loaded() -> None:
    go = threading.Event()

    def load() -> SharedModel:
        go.wait(30)
        raise YoyakError("broken")

    engine = Engine(load)
    with pytest.raises(RefusedError, match="loading"):
        engine.check()
    engine.start()
    go.set()
    wait_for(lambda: engine.state == "failed")
    assert isinstance(engine.failure, YoyakError)
    with pytest.raises(RefusedError, match="failed"):
        engine.submit(rows("a"), PLAIN)
    assert engine.stop(10)


def test_a_batch_waits_for_more(model: FakeModel) -> None:
    model.may_write.set()
    seen: list[Batch] = []
    engine = started(model, wait=5.0, batch=2, observe=seen.append)
    first = engine.submit(rows("a"), PLAIN)
    second = engine.submit(rows("b"), PLAIN)  # which fills the batch, so nobody waits five seconds
    assert first.result(4).batch == second.result(4).batch == 2
    assert [(batch.dialogues, batch.requests) for batch in seen] == [(2, 2)]
    engine.stop(10)


def test_two_threads_write_the_same_as_a_summarizer(shared: SharedModel) -> None:
    assert shared.parallel == 2
    engine = Engine(lambda: shared, batch=3, wait=0.001)
    engine.start()
    wait_for(lambda: engine.state == "ready")
    expected = shared.base.summarize_many(DIALOGUES)
    sent = [
        (number % len(DIALOGUES), engine.submit(rows(DIALOGUES[number % len(DIALOGUES)]), shared.settings))
        for number in range(40)
    ]
    assert all(future.result(60).written[0].summary == expected[number] for number, future in sent)
    assert len(set(expected)) > 3
    assert engine.stop(10)
