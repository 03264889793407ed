"""Asking an API: faults of real servers, retries, the budget, and that nothing is asked twice."""

import asyncio
import email.utils
import threading
import time
from typing import Any

import pytest

from tests.conftest import DIALOGUES
from tests.inference.endpoint.conftest import endpoint
from tests.inference.endpoint.server import Behaviour, First, Server, answer, good, running
from yoyak.config.endpoint_section import Endpoint
from yoyak.inference.endpoint import asking, client
from yoyak.inference.endpoint.answer_store import Answer, AnswerStore
from yoyak.inference.endpoint.asking import Question, ask_all
from yoyak.inference.endpoint.budget import Budget
from yoyak.inference.endpoint.request import Request
from yoyak.system.errors import YoyakError

KEY = "planted-key-8d1f0c"


def question(settings: Endpoint, text: str, name: str = "dev_0") -> Question:
    body = {"model": settings.model, "messages": [{"role": "user", "content": text}], "max_tokens": 50, "temperature": 0.0}
    return Question(name, Request(settings.url, body), input_tokens=10, most_input_tokens=30)


def ask(settings: Endpoint, store: AnswerStore, texts: Any = DIALOGUES, budget: float | None = None) -> dict[str, Answer]:
    """Ask a question for each text; the answers by the name of the row."""
    questions = [question(settings, text, f"dev_{number}") for number, text in enumerate(texts)]
    answers = ask_all(questions, settings, most_output_tokens=50, budget=Budget(budget), store=store)
    return {item.name: answers[item.request.hash] for item in questions}


def status(code: int, message: str = "슬픈 서버", **headers: str) -> Behaviour:
    return lambda handler, body, number: handler.send(code, {"error": {"message": message}}, **headers)


def body(content: Any) -> Behaviour:
    return lambda handler, body, number: handler.send(200, content)


def test_every_question_is_answered_once_and_stored_first(server: Server, store: AnswerStore) -> None:
    settings = endpoint(server)
    answers = ask(settings, store, [*DIALOGUES, DIALOGUES[0]])
    assert len(server.calls) == len(DIALOGUES), "equal questions share a call"
    assert answers["dev_0"].text == "#Person2#은 네, 몇 분이세요?라고 말한다." and answers["dev_0"] == answers["dev_8"]
    assert (answers["dev_0"].input_tokens, answers["dev_0"].output_tokens) == (100, 20)
    assert sorted(stored.hash for stored in store.answers()) == sorted({item.hash for item in answers.values()})
    assert ask(settings, store) == {name: item for name, item in answers.items() if name != "dev_8"}
    assert len(server.calls) == len(DIALOGUES), "a rerun asks nothing"


def test_limits_are_kept(server: Server, store: AnswerStore) -> None:
    def slow(handler: Any, body: Any, number: int) -> None:
        time.sleep(0.05)
        good(handler, body, number)

    server.behave = slow
    ask(endpoint(server, max_in_flight=3), store)
    assert server.most_running == 3
    server.calls.clear()
    ask(endpoint(server, model="other", requests_per_minute=1200), store)
    starts = [call.time for call in server.calls]
    assert starts[-1] - starts[0] > 7 * 0.05 * 0.9


PASSING: dict[str, Behaviour] = {
    "429": status(429),
    "429 with Retry-After": status(429, retry_after="0.05"),
    "429 with a date": status(429, retry_after=email.utils.formatdate(time.time(), usegmt=True)),
    "500": status(500),
    "502 with HTML": lambda handler, body, number: handler.send(502, "<html>Bad Gateway</html>"),
    "503": status(503),
    "malformed JSON": body("{'choices': ["),
    "JSON that is no object": body("[1, 2]"),
    "no choices": body({"choices": []}),
    "no message": body({"choices": [{"index": 0}]}),
    "an error with status 200": body({"error": {"message": "슬픈 서버"}}),
    "empty content": body(answer("")),
    "no content": body(answer(None)),
    "content that is no text": body(answer([{"type": "text"}])),  # type: ignore[arg-type]
    "a reset": lambda handler, body, number: handler.reset(),
    "a truncated answer": lambda handler, body, number: handler.cut_off('{"choices": [{"mess'),
    "a hang": lambda handler, body, number: time.sleep(2.5),
    "a slow trickle": lambda handler, body, number: handler.trickle(" " * 40 + "{}", 0.06),
}


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_tried_again(server: Server, store: AnswerStore, fault: str) -> None:
    server.behave = First(PASSING[fault])
    settings = endpoint(server, timeout=1)
    answers = ask(settings, store, DIALOGUES[:2])
    assert len(answers) == 2 and len(server.calls) == 4
    assert len(list(store.answers())) == 2


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_stays_names_the_row_and_the_servers_words(server: Server, store: AnswerStore, fault: str) -> None:
    def behave(handler: Any, body: Any, number: int) -> None:
        (PASSING[fault] if DIALOGUES[1] in body["messages"][-1]["content"] else good)(handler, body, number)

    server.behave = behave
    with pytest.raises(YoyakError) as error:
        ask(endpoint(server, timeout=1, max_retries=1), store, DIALOGUES[:3])
    assert "dev_1: " in str(error.value) and "(after 2 tries)" in str(error.value)
    assert "2 of 3 requests are answered; the answers are kept" in str(error.value)
    assert ("슬픈 서버" in str(error.value)) == fault.startswith(("429", "500", "503", "an error"))
    assert len(server.calls) == 4
    server.behave = good
    assert len(ask(endpoint(server), store, DIALOGUES[:3])) == 3
    assert len(server.calls) == 5, "only the row that failed is asked again"


def test_all_requests_wait_as_long_as_the_server_asks(server: Server, store: AnswerStore) -> None:
    server.behave = First(status(429, retry_after="0.4"))
    ask(endpoint(server, max_in_flight=1), store, DIALOGUES[:1])
    assert server.calls[1].time - server.calls[0].time >= 0.4


def test_a_server_that_asks_to_wait_for_hours_has_failed(server: Server, store: AnswerStore) -> None:
    server.behave = status(429, retry_after="7200")
    with pytest.raises(YoyakError, match="asks to wait 7,200 s"):
        ask(endpoint(server), store, DIALOGUES[:1])
    assert len(server.calls) == 1


def test_the_waits_between_tries_grow(monkeypatch: pytest.MonkeyPatch, server: Server, store: AnswerStore) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asking, "FIRST_WAIT", 1.0)
    monkeypatch.setattr(asyncio, "sleep", noted)
    server.behave = status(500)
    with pytest.raises(YoyakError):
        ask(endpoint(server, max_retries=8), store, DIALOGUES[:1])
    assert len(server.calls) == 9 and len(waits) == 8
    for place, wait in enumerate(waits):
        full = min(60.0, 2.0**place)
        assert full / 2 <= wait <= full


FINAL: dict[str, tuple[Behaviour, str]] = {
    "400": (status(400, "bad parameter"), "HTTP 400: bad parameter"),
    "a context that is too short": (
        status(400, "This model's maximum context length is 2048 tokens"),
        "lower tokenizer.max_input_length",
    ),
    "no temperature": (status(400, "Unsupported value: 'temperature' does not support 0"), "generation.do_sample: true"),
    "content filter": (body(answer("", finish="content_filter")), "content filter"),
    "a refusal": (body(answer(None, refusal="할 수 없습니다")), "할 수 없습니다"),
    "only reasoning": (body(answer("", finish="length")), "raise generation.max_new_tokens"),
}


@pytest.mark.parametrize("fault", FINAL)
def test_a_fault_that_does_not_pass_is_not_tried_again(server: Server, store: AnswerStore, fault: str) -> None:
    behave, words = FINAL[fault]

    def one(handler: Any, body: Any, number: int) -> None:
        (behave if DIALOGUES[1] in body["messages"][-1]["content"] else good)(handler, body, number)

    server.behave = one
    with pytest.raises(YoyakError) as error:
        ask(endpoint(server), store, DIALOGUES[:3])
    assert "dev_1: " in str(error.value) and words in str(error.value)
    assert len(server.calls) == 3


def test_a_refused_answer_was_paid_for_and_is_not_asked_again(server: Server, store: AnswerStore) -> None:
    server.behave = body(answer("", finish="content_filter"))
    for _ in range(2):
        with pytest.raises(YoyakError, match="content filter"):
            ask(endpoint(server), store, DIALOGUES[:1])
    assert len(server.calls) == 1


def test_an_answer_at_the_limit_is_an_answer(server: Server, store: AnswerStore) -> None:
    server.behave = body(answer("비가 온다고", finish="length"))
    assert ask(endpoint(server), store, DIALOGUES[:1])["dev_0"].finish_reason == "length"


STOPPING: dict[str, tuple[Behaviour, str]] = {
    "401": (status(401, f"Incorrect API key provided: {KEY}"), "the key in YOYAK_ENDPOINT_KEY is not accepted"),
    "403": (status(403, "no"), "YOYAK_ENDPOINT_KEY"),
    "no credit": (
        lambda handler, body, number: handler.send(429, {"error": {"message": "quota", "code": "insufficient_quota"}}),
        "no credit left",
    ),
    "404": (status(404, "The model does not exist"), "it offers: other-model, test-model"),
    "a redirect": (status(308, "moved", location="http://127.0.0.1:1/v1"), "correct model.endpoint.base_url"),
}


@pytest.mark.parametrize("fault", STOPPING)
def test_a_fault_of_all_requests_stops_the_run(
    server: Server, store: AnswerStore, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("YOYAK_ENDPOINT_KEY", KEY)
    server.behave, words = STOPPING[fault]
    with pytest.raises(YoyakError) as error:
        ask(endpoint(server, max_in_flight=1), store)
    assert words in str(error.value) and KEY not in str(error.value)
    assert len(server.calls) == 1


def test_a_server_that_refuses_everything_is_not_asked_for_every_row(server: Server, store: AnswerStore) -> None:
    server.behave = status(400, "bad")
    with pytest.raises(YoyakError, match="the first 5 requests all failed"):
        ask(endpoint(server, max_in_flight=1), store)
    assert len(server.calls) == 5


def test_a_base_url_without_v1(server: Server, store: AnswerStore) -> None:
    settings = endpoint(server, base_url=server.url.removesuffix("/v1"))
    with pytest.raises(YoyakError, match=rf"most servers want /v1 at its end: {server.url}"):
        ask(settings, store, DIALOGUES[:1])


def test_no_server(store: AnswerStore) -> None:
    with running() as gone:
        pass
    with pytest.raises(YoyakError, match="the connection failed"):
        ask(endpoint(gone, max_retries=1), store, DIALOGUES[:2])


def test_a_server_that_dies_midway_keeps_the_finished_answers(store: AnswerStore) -> None:
    with running() as server:

        def behave(handler: Any, body: Any, number: int) -> None:
            if number < 4:
                good(handler, body, number)
            else:
                handler.server.socket.close()
                handler.reset()

        server.behave = behave
        settings = endpoint(server, max_in_flight=1, max_retries=1)
        with pytest.raises(YoyakError, match="4 of 8 requests are answered"):
            ask(settings, store)
    assert len(list(store.answers())) == 4


def test_tokens_that_the_server_does_not_count_are_estimated(server: Server, store: AnswerStore) -> None:
    server.behave = body(answer("가" * 30, usage=None))
    found = ask(endpoint(server), store, DIALOGUES[:1])["dev_0"]
    assert (found.input_tokens, found.output_tokens) == (10, 30)
    assert ask(endpoint(server), store, DIALOGUES[:1])["dev_0"] == found


PRICES = {"price_per_million_input": 2.0, "price_per_million_output": 10.0}  # 100 and 20 tokens: 0.0004 a call


def test_the_budget_stops_before_it_is_exceeded(server: Server, store: AnswerStore) -> None:
    """The next call may cost 30 * 2 + 50 * 10 = 560 millionths; each call did cost 400."""
    settings = endpoint(server, budget=0.0018, **PRICES)
    with pytest.raises(YoyakError, match=r"(?s)model\.endpoint\.budget.*4 of 8 requests are answered") as error:
        ask(settings, store, budget=0.0018)
    assert "0.000560" in str(error.value) and "0.001600" in str(error.value)
    assert len(server.calls) == 4
    with pytest.raises(YoyakError, match=r"model\.endpoint\.budget"):
        ask(settings, store, budget=0.0018)
    assert len(server.calls) == 4, "what the answers in the store did cost counts"
    assert len(ask(settings, store, budget=0.0040)) == 8
    assert len(server.calls) == 8


def test_calls_that_failed_and_may_be_paid_count(server: Server, store: AnswerStore) -> None:
    server.behave = First(body("{"))
    settings = endpoint(server, max_in_flight=1, **PRICES)
    budget = Budget(0.0012)  # the first try counts 560, and then 400; the next one would need 560 again
    questions = [question(settings, text, f"dev_{number}") for number, text in enumerate(DIALOGUES[:2])]
    with pytest.raises(YoyakError, match=r"model\.endpoint\.budget"):
        ask_all(questions, settings, most_output_tokens=50, budget=budget, store=store)
    assert budget.spent == pytest.approx(0.00096) and len(server.calls) == 2


def test_two_processes_pay_for_one_answer(server: Server, store: AnswerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "OTHER_PROCESS_SECONDS", 0.02)

    def slow(handler: Any, body: Any, number: int) -> None:
        time.sleep(0.2)
        good(handler, body, number)

    server.behave = slow
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(ask(endpoint(server), AnswerStore(store.folder, store.shared))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3 and results[0] == results[1] == results[2]
    assert len(server.calls) == len(DIALOGUES)


def test_it_runs_within_an_event_loop(server: Server, store: AnswerStore) -> None:
    async def cell() -> int:
        return len(ask(endpoint(server), store))

    assert asyncio.run(cell()) == len(DIALOGUES)


def test_the_key_goes_only_into_the_header(
    server: Server, store: AnswerStore, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("YOYAK_ENDPOINT_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "my-organization")
    server.behave = lambda handler, body, number: handler.send(200, answer(f"키는 {handler.headers['authorization']}"))
    found = ask(endpoint(server), store, DIALOGUES[:1])["dev_0"]
    (call,) = server.calls
    assert call.headers["authorization"] == f"Bearer {KEY}" and "openai-organization" not in call.headers
    assert found.text == "키는 Bearer <YOYAK_ENDPOINT_KEY>"
    for path in store.folder.rglob("*"):
        assert path.is_dir() or KEY not in path.read_text(encoding="utf-8")
    assert KEY not in repr(client.read_key(endpoint(server))) and KEY not in "".join(capfd.readouterr())


@pytest.mark.parametrize(("provider", "variable"), [("upstage", "UPSTAGE_API_KEY"), ("openai", "OPENAI_API_KEY")])
def test_without_a_key_the_variable_is_named(store: AnswerStore, provider: str, variable: str) -> None:
    with pytest.raises(YoyakError, match=f"^{variable}: not set"):
        ask(endpoint(provider=provider), store)


def test_a_key_with_a_line_break_is_refused_without_showing_it(server: Server, store: AnswerStore, monkeypatch: Any) -> None:
    monkeypatch.setenv("YOYAK_ENDPOINT_KEY", f"{KEY}\nX-Other: 1")
    with pytest.raises(YoyakError, match="has characters that no key has") as error:
        ask(endpoint(server), store)
    assert KEY not in str(error.value) and not server.calls


def test_where_dialogues_go_is_said_only_if_they_leave_this_machine(
    server: Server, store: AnswerStore, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(endpoint(server), store, DIALOGUES[:1])
    assert "sent to" not in capfd.readouterr().err
    monkeypatch.setattr(Endpoint, "is_loopback", property(lambda _: False))
    ask(endpoint(server), store, DIALOGUES[:2])
    assert f"1 dialogues are sent to 127.0.0.1 ({server.url})" in capfd.readouterr().err


def test_without_the_package_the_extra_is_named(server: Server, store: AnswerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(YoyakError, match=r"pip install 'yoyak\[endpoint\]'"):
        ask(endpoint(server), store)
