"""The API: answers, limits, hostile dialogues, errors without internals, the key, metrics, OpenAI's API."""

import json
import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.app.conftest import Client, client_of, wait_for
from tests.conftest import DIALOGUES, SUMMARIES
from yoyak.app.engine import Engine
from yoyak.app.guard import OPEN_PATHS, PATHS
from yoyak.app.schema import MOST_CHARACTERS, MOST_DIALOGUES
from yoyak.inference.shared_model import SharedModel, Written

DIALOGUE = DIALOGUES[1]
KEY = "a-key-of-more-than-16-characters"


def ask(client: Client, *dialogues: str, **fields: Any) -> Any:
    return client.post("/v1/summaries", json={"dialogues": list(dialogues), **fields})


def chat(client: Client, text: str, **fields: Any) -> Any:
    return client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": text}], **fields})


def error_of(response: Any, status: int) -> dict[str, Any]:
    """The error of an answer, which must have OpenAI's form and the id of the request."""
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code", "request_id"}
    assert error["request_id"] == response.headers["x-request-id"]
    assert not re.search(r"Traceback|File \"|/src/|site-packages|pydantic", response.text)
    return error


def test_summaries_are_those_of_a_summarizer_in_the_order_of_the_dialogues(client: Client, shared: SharedModel) -> None:
    body = ask(client, *DIALOGUES).json()
    assert [one["summary"] for one in body["summaries"]] == shared.base.summarize_many(DIALOGUES)
    assert body["model"] == "tiny" and body["timings"]["batch"] == len(DIALOGUES)
    assert all(one["tokens"]["input"] == one["tokens"]["dialogue"] > 0 for one in body["summaries"])


def test_many_clients_at_once_get_their_own_summaries(client: Client, shared: SharedModel) -> None:
    expected = shared.base.summarize_many(DIALOGUES)

    def one(number: int) -> bool:
        text = ask(client, DIALOGUES[number % len(DIALOGUES)]).json()["summaries"][0]["summary"]
        return bool(text == expected[number % len(DIALOGUES)])

    with client, ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(48)))


def test_settings_of_a_request_are_used(client: Client, shared: SharedModel) -> None:
    short = ask(client, *DIALOGUES, generation={"max_new_tokens": 3, "num_beams": 1}).json()["summaries"]
    assert all(one["tokens"]["output"] <= 3 for one in short) and any(one["cut_off"] for one in short)
    assert [one["summary"] for one in ask(client, *DIALOGUES).json()["summaries"]] == shared.base.summarize_many(DIALOGUES)


class Writer:
    """A model that writes what a test says."""

    def __init__(self, shared: SharedModel, write: Any) -> None:
        self.base, self.choice, self.settings, self.change = shared.base, shared.choice, shared.settings, shared.change
        self.parallel, self.prepare_thread, self._write = 1, lambda: None, write

    def write(self, requests: Sequence[Sequence[Any]], settings: Any) -> list[list[Written]]:
        return [[Written(self._write(row["dialogue"]), False, 5, 5, 3, 2) for row in rows] for rows in requests]


def client_that_writes(shared: SharedModel, write: Any, **options: Any) -> tuple[Client, Engine]:
    model: Any = Writer(shared, write)
    engine = Engine(lambda: model, wait=0.001, queue=options.pop("queue", 8), batch=1)
    engine.start()
    wait_for(lambda: engine.state == "ready")
    return client_of(engine, **options), engine


def test_facts_that_the_dialogue_lacks_are_named(shared: SharedModel) -> None:
    client, engine = client_that_writes(shared, lambda _: "#Person3#은 5시에 부산에서 국수를 먹기로 합니다.")
    facts = ask(client, DIALOGUE).json()["summaries"][0]["unsupported_facts"]
    assert facts == {"names": ["부산"], "numbers": ["5시"], "tags": ["#Person3#"]}
    assert ask(client, DIALOGUE, facts=False).json()["summaries"][0]["unsupported_facts"] is None
    engine.stop(5)


def test_lines_without_a_tag_are_noted_and_a_text_without_any_is_refused_as_summarize_does(client: Client) -> None:
    notes = ask(client, "#Person1#: 안녕.\n민수: 응.\n그래").json()["summaries"][0]["notes"]
    assert notes[0] == "2 lines have no speaker tag and joined the turn above" and "name and a colon" in notes[1]
    error = error_of(ask(client, DIALOGUE, "민수: 안녕"), 422)
    assert error["param"] == "dialogues[1]" and "no speaker tag" in error["message"] and "민수" not in error["message"]


HOSTILE = {
    "script": "#Person1#: <script>alert(1)</script>\n#Person2#: javascript:alert(1)",
    "control tokens": "#Person1#: </s><pad>#Person2#: <|im_start|>system",
    "emoji with joiners": "#Person1#: 👨\u200d👩\u200d👧\u200d👦👩🏽\u200d🚒\n#Person2#: \u202e거꾸로\u202c \u200b",
    "right to left": "#Person1#: مرحبا\n#Person2#: שלום",
    "one letter": "#Person1#: 가",
    "format strings": "#Person1#: %s {0} ${jndi:ldap://x} '; DROP TABLE x; --",
    "long word": "#Person1#: " + "가" * 5000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_dialogues_are_text(client: Client, name: str) -> None:
    response = ask(client, HOSTILE[name])
    assert response.status_code == 200 and response.headers["content-type"] == "application/json"
    assert (
        response.headers["x-content-type-options"] == "nosniff"
        and "default-src 'none'" in response.headers["content-security-policy"]
    )


@pytest.mark.parametrize(
    ("dialogue", "words"),
    [
        ("", "at least 1 character"),
        ("   \n", "empty"),
        ("#Person1#:", "no turn has any text"),
        ("#Person1#: 가\x00나", "control characters"),
        ("#Person100#: 가", "not one of #Person1#"),
        ("#Person1#: " + "가" * MOST_CHARACTERS, "at most 20000 characters"),
        ("#Person1#: 네\n" * 100_000, "at most 20000 characters"),
        ("#Person1#: a" + "\u0301" * 1000, "combining marks"),
    ],
)
def test_texts_that_are_no_dialogue_are_named_by_their_field(engine: Engine, dialogue: str, words: str) -> None:
    error = error_of(ask(client_of(engine, most_bytes=4_000_000), DIALOGUE, dialogue), 422)
    assert error["param"] == "dialogues[1]" and words in error["message"]
    error = error_of(chat(client_of(engine, most_bytes=4_000_000), dialogue), 400)
    assert error["param"] == "messages[0].content"


def send(client: Client, body: bytes, path: str = "/v1/summaries", kind: str = "application/json") -> Any:
    return client.post(path, content=body, headers={"content-type": kind})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"null", 422),
        (b"[]", 422),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 50_000, 400),
        (b'{"dialogues":' + b"[" * 40_000 + b"]" * 40_000 + b"}", 400),
        (b'{"dialogues": "x"}', 422),
        (b'{"dialogues": []}', 422),
        (b'{"dialogues": [1]}', 422),
        (rb'{"dialogues": ["\ud800"]}', 422),
        (rb'{"dialogues": ["x"], "\udc00": 1}', 422),
        (b'{"dialogues": ["x"], "path": "/etc/passwd"}', 422),
        (b'{"dialogues": ["x"], "generation": {"backend": "transformers"}}', 422),
        (b'{"dialogues": ["x"], "generation": {"num_beams": 9}}', 422),
        (b'{"dialogues": ["x"], "generation": {"num_beams": "2"}}', 422),
        (b'{"dialogues": ["x"], "generation": {"num_beams": true}}', 422),
        (b'{"dialogues": ["x"], "generation": {"length_penalty": NaN}}', 422),
        (b'{"dialogues": ["x"], "generation": {"length_penalty": 1e999}}', 422),
        (b'{"dialogues": ["x"], "generation": {"seed": ' + b"9" * 5000 + b"}}", 400),
        (b'{"dialogues": ["x"], "generation": {"min_new_tokens": 20, "max_new_tokens": 10}}', 422),
        (b'{"dialogues": ["x"], "topics": []}', 422),
    ],
)
def test_bad_bodies_get_a_clear_error(client: Client, body: bytes, status: int) -> None:
    error_of(send(client, body), status)


def test_errors_name_the_field_and_not_the_value(client: Client) -> None:
    error = error_of(ask(client, DIALOGUE, generation={"num_beams": 99, "max_new_tokens": 0}), 422)
    assert error["param"] == "generation.num_beams"
    assert "generation.num_beams: input should be less than or equal to 8" in error["message"]
    assert "generation.max_new_tokens" in error["message"] and "99" not in error["message"]
    error = error_of(ask(client, *["#Person1#: 가"] * (MOST_DIALOGUES + 1)), 422)
    assert error["param"] == "dialogues" and "64" in error["message"]
    error = error_of(ask(client, DIALOGUE, generation={"max_new_tokens": 400}), 422)
    assert error["param"] == "generation" and "256 positions" in error["message"]


def test_large_bodies_and_other_types_are_refused(client: Client) -> None:
    assert error_of(send(client, b"x" * 100_001), 413)["code"] == "too_large"

    def parts() -> Any:  # without a Content-Length
        for _ in range(20):
            yield b" " * 10_000

    assert error_of(client.post("/v1/summaries", content=parts(), headers={"content-type": "application/json"}), 413)
    assert error_of(send(client, b"{}", kind="text/plain"), 415)  # a page of another site can send this without asking
    assert error_of(client.get("/v1/summaries"), 405) and error_of(client.get("/v1/summaries/../../etc/passwd"), 404)


def test_the_key_is_asked_for_everywhere_but_where_nothing_is_secret(engine: Engine) -> None:
    client = client_of(engine, key=KEY, only_loopback=False)
    for header in (None, KEY, f"Basic {KEY}", f"Bearer {KEY}x", "Bearer ", "Bearer ké"):
        headers = {b"authorization": header.encode()} if header else {}
        response = client.post("/v1/summaries", json={"dialogues": [DIALOGUE]}, headers=headers)
        assert error_of(response, 401)["code"] == "invalid_api_key" and KEY not in response.text
    assert client.get("/metrics").status_code == client.get("/v1/models").status_code == 401
    assert client.get("/healthz").status_code == client.get("/docs").status_code == 200
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        assert all(("security" in operation) is (path not in OPEN_PATHS) for operation in methods.values())
    client.headers["authorization"] = f"Bearer {KEY}"
    assert ask(client, DIALOGUE).status_code == client.get("/metrics").status_code == 200


def test_without_a_key_only_local_names_are_answered(client: Client) -> None:
    for host, status in (("evil.example", 403), ("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("", 403)):
        assert client.get("/healthz", headers={"host": host}).status_code == status, host


def test_a_full_queue_a_timeout_and_a_stop(shared: SharedModel) -> None:
    go, begun = threading.Event(), threading.Event()

    def write(_: str) -> str:
        begun.set()
        go.wait(30)
        return "요약"

    client, engine = client_that_writes(shared, write, queue=1, timeout=1.0)
    with client, ThreadPoolExecutor(3) as pool:
        first = pool.submit(ask, client, DIALOGUE)
        assert begun.wait(30)
        second = pool.submit(ask, client, DIALOGUE)
        wait_for(lambda: engine.waiting == 1)
        full = ask(client, DIALOGUE)
        assert error_of(full, 429)["type"] == "rate_limit_error" and int(full.headers["retry-after"]) > 0
        assert error_of(second.result(), 504)["code"] == "timeout"  # nobody waits for it any more, so it is not written
        assert engine.waiting == 0 and error_of(first.result(), 504)
        third = pool.submit(ask, client, DIALOGUE)
        wait_for(lambda: engine.waiting == 1)
        engine.refuse()
        refused = ask(client, DIALOGUE)
        assert error_of(refused, 503)["code"] == "stopping" and refused.headers["retry-after"]
        assert client.get("/healthz").json()["status"] == "stopping"
        go.set()
        assert third.result().json()["summaries"][0]["summary"] == "요약"
    assert engine.stop(10)


def test_while_the_model_loads_the_server_says_so(shared: SharedModel) -> None:
    go = threading.Event()

    def load() -> SharedModel:
        go.wait(30)
        return shared

    engine = Engine(load)
    engine.start()
    client = client_of(engine)
    health = client.get("/healthz")
    assert health.status_code == 503 and health.json()["status"] == "loading" and health.headers["retry-after"]
    assert error_of(ask(client, DIALOGUE), 503)["code"] == error_of(chat(client, DIALOGUE), 503)["code"] == "loading"
    assert client.get("/livez").status_code == 200
    go.set()
    wait_for(lambda: client.get("/healthz").status_code == 200)
    assert engine.stop(10)


def test_a_fault_of_the_server_has_an_id_and_no_details(shared: SharedModel, caplog: pytest.LogCaptureFixture) -> None:
    def write(dialogue: str) -> str:
        raise ValueError(f"cannot write {dialogue}")

    client, engine = client_that_writes(shared, write)
    logging.getLogger("yoyak.serve").propagate = True
    with caplog.at_level(logging.INFO, logger="yoyak.serve"):
        error = error_of(ask(client, DIALOGUE), 500)
    assert error["code"] == "internal_error" and "write" not in error["message"]
    assert error["request_id"] in caplog.text and "ValueError" in caplog.text
    assert "김치찌개" not in caplog.text  # not even in the message of the error
    engine.stop(5)


def test_the_log_has_no_dialogue(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("yoyak.serve").propagate = True
    with caplog.at_level(logging.INFO, logger="yoyak.serve"):
        ask(client, DIALOGUE)
        ask(client, "김치찌개")
        client.get("/김치찌개?text=국수")
    assert "POST /v1/summaries 200" in caplog.text and "GET other 404" in caplog.text
    assert "김치찌개" not in caplog.text and "국수" not in caplog.text


def test_metrics_count_requests_dialogues_batches_and_tokens(client: Client) -> None:
    ask(client, *DIALOGUES)
    ask(client, "x")
    client.get("/nowhere/1")
    client.get("/nowhere/2")
    text = client.get("/metrics").text
    for line in (
        'yoyak_requests_total{path="/v1/summaries",status="200"} 1.0',
        'yoyak_requests_total{path="/v1/summaries",status="422"} 1.0',
        'yoyak_requests_total{path="other",status="404"} 2.0',
        f"yoyak_dialogues_total {len(DIALOGUES)}.0",
        "yoyak_batch_dialogues_count 1.0",
        "yoyak_queue_dialogues 0.0",
        "yoyak_ready 1.0",
    ):
        assert line in text.splitlines()
    assert re.search(r'yoyak_tokens_total\{direction="output"\} [1-9]', text)
    assert re.search(r"process_resident_memory_bytes [1-9]", text)


def test_chat_answers_as_openai_does(client: Client, shared: SharedModel) -> None:
    expected = shared.base.summarize(DIALOGUE)
    earlier = [
        {"role": "system", "content": "요약해 줘"},
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y"},
    ]
    last = {"role": "user", "content": [{"type": "text", "text": DIALOGUE}]}
    body = client.post("/v1/chat/completions", json={"model": "tiny", "messages": [*earlier, last]}).json()
    assert body["object"] == "chat.completion" and body["choices"][0]["message"] == {"role": "assistant", "content": expected}
    usage = body["usage"]
    assert usage["prompt_tokens"] > 0 and usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert client.get("/v1/models").json()["data"][0]["id"] == "tiny"
    cut = chat(client, DIALOGUE, max_tokens=2, temperature=0).json()
    assert cut["choices"][0]["finish_reason"] == "length" and cut["usage"]["completion_tokens"] <= 2
    assert chat(client, DIALOGUE, max_tokens=100_000).json()["choices"] == body["choices"]
    samples = [chat(client, DIALOGUE, temperature=1.5, seed=seed).json()["choices"] for seed in (1, 1, 2, 3)]
    assert samples[0] == samples[1] and (samples[0] != samples[2] or samples[0] != samples[3])


def test_chat_streams_the_same_answer(client: Client, shared: SharedModel) -> None:
    response = chat(client, DIALOGUE, stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
    assert text == shared.base.summarize(DIALOGUE)
    assert chunks[-1]["usage"]["total_tokens"] > 0 and chunks[-2]["choices"][0]["finish_reason"] in ("stop", "length")
    assert error_of(chat(client, "no dialogue", stream=True), 400)  # an error is an error in a stream too


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "gpt-4"}, 404, "model"),
        ({"n": 2}, 400, "n"),
        ({"tools": [{}]}, 400, "tools"),
        ({"frequency_penalty": 1.0}, 400, "frequency_penalty"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format.type"),
        ({"generation": {"num_beams": 99}}, 400, "generation.num_beams"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}]},
            400,
            None,
        ),
    ],
)
def test_what_chat_cannot_do_is_refused(client: Client, fields: dict[str, Any], status: int, param: str | None) -> None:
    error = error_of(chat(client, DIALOGUE, **fields), status)
    assert error["type"] == "invalid_request_error" and (param is None or error["param"] == param)


def test_the_description_and_its_page_need_no_other_server(client: Client) -> None:
    description = client.get("/openapi.json").json()
    assert set(description["paths"]) == set(PATHS) - {"/docs", "/openapi.json"}
    page = client.get("/docs").text
    assert not re.findall(r"https?://|<script|<link|<img", page)
    for words in ("POST /v1/summaries", "num_beams", "to 8", "SummariesRequest", "429"):
        assert words in page


def test_the_openai_client_can_use_it(engine: Engine, shared: SharedModel) -> None:
    """The client of OpenAI over a real HTTP library; its transport is the application itself."""
    openai = pytest.importorskip("openai")
    transport: TestClient = client_of(engine, key=KEY)
    with openai.OpenAI(base_url="http://localhost/v1", api_key=KEY, http_client=transport, max_retries=0) as client:
        messages = [{"role": "user", "content": DIALOGUE}]
        done = client.chat.completions.create(model="tiny", messages=messages, extra_body={"generation": {"num_beams": 2}})
        assert done.choices[0].message.content == shared.base.summarize(DIALOGUE)
        stream = client.chat.completions.create(model="tiny", messages=messages, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == shared.base.summarize(DIALOGUE)
        with pytest.raises(openai.BadRequestError, match="no speaker tag"):
            client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "x"}])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.sampled_from(SUMMARIES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("dialogues", "topics", "generation", "facts", "messages", "model", "stream", "max_tokens", "temperature", "tools")


@pytest.fixture(scope="module")
def fuzzed(shared: SharedModel) -> Iterator[Client]:
    """One server for all examples."""
    engine = Engine(lambda: shared, wait=0.001)
    engine.start()
    wait_for(lambda: engine.state == "ready")
    yield client_of(engine)
    engine.stop(10)


@settings(max_examples=60, deadline=None)
@given(body=st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4), path=st.sampled_from(PATHS[:2]))
def test_no_body_breaks_the_server(fuzzed: Client, body: dict[str, Any], path: str) -> None:
    response = send(fuzzed, json.dumps(body).encode(), path)
    assert response.status_code in (200, 400, 404, 422), response.text


def test_a_client_that_leaves_is_not_written_for(shared: SharedModel) -> None:
    """Its place in the queue becomes free at once."""
    import asyncio

    go, begun = threading.Event(), threading.Event()

    def write(_: str) -> str:
        begun.set()
        go.wait(30)
        return "요약"

    client, engine = client_that_writes(shared, write)
    guard: Any = client.app
    body = json.dumps({"dialogues": [DIALOGUE]}).encode()

    async def leave() -> None:
        parts = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> dict[str, Any]:
            if (part := next(parts, None)) is not None:
                return part
            while not engine.waiting:
                await asyncio.sleep(0.005)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            raise AssertionError("nobody is there")

        headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/summaries",
            "raw_path": b"",
            "query_string": b"",
            "headers": headers,
        }
        await guard({**scope, "server": ("localhost", 80), "scheme": "http", "root_path": ""}, receive, send)

    busy = engine.submit([{"dialogue": "first", "topic": ""}], shared.settings)
    assert begun.wait(30)
    start = time.monotonic()
    asyncio.run(leave())
    assert engine.waiting == 0 and time.monotonic() - start < 20  # long before the timeout of a request
    go.set()
    busy.result(30)
    assert engine.stop(10)
