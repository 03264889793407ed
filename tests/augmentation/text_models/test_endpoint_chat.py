"""A language model behind an API: answers are paid once, the budget holds, personal data stays here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.augmentation.model_helpers import TRAIN, text_of, workspace
from tests.inference.endpoint.server import Server, answer, running
from yoyak.augmentation.base import Candidate, Refusal
from yoyak.augmentation.methods.paraphrase import Paraphrase
from yoyak.augmentation.run import Augmentation
from yoyak.augmentation.text_models.chat import ask
from yoyak.augmentation.text_models.endpoint_chat import EndpointChat
from yoyak.augmentation.text_models.writer import open_chat_model
from yoyak.augmentation.text_models.written import Written
from yoyak.inference.endpoint import asking
from yoyak.inference.endpoint.answer_store import AnswerStore
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import to_json

QUESTIONS = [ask(f"train_{number}", f"{number}번 대화", seed=str(number)) for number in range(4)]


@pytest.fixture
def server() -> Iterator[Server]:
    with running(lambda handler, body, number: handler.send(200, answer(f"답: {body['messages'][-1]['content']}"))) as server:
        yield server


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("YOYAK_ANSWERS", str(tmp_path / "answers"))
    monkeypatch.delenv("YOYAK_ENDPOINT_KEY", raising=False)


def opened(
    values: dict[str, Any], folder: Path, server: Server, writer: dict[str, Any] | None = None, **endpoint: Any
) -> EndpointChat:
    values["model"]["endpoint"] |= {"base_url": server.url, "model": "test-model", "max_retries": 1, "timeout": 5.0} | endpoint
    settings = {"source": "endpoint", "max_new_tokens": 50} | (writer or {})
    model = open_chat_model(workspace(values, folder, writer=settings))
    assert isinstance(model, EndpointChat)
    return model


def test_each_question_is_paid_once(values: dict[str, Any], tmp_path: Path, server: Server) -> None:
    first = opened(values, tmp_path, server, {"temperature": 0.7, "top_p": 0.9}, price_per_million_output=10.0)
    answers = first.answer([*QUESTIONS, QUESTIONS[0]])
    assert [one.text for one in answers] == [*(f"답: {number}번 대화" for number in range(4)), "답: 0번 대화"]
    sent = server.calls[0].body
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"]) == (0.7, 0.9, 50)
    assert len({call.body["seed"] for call in server.calls}) == 4 == len(server.calls)
    assert first.report()["price"] == pytest.approx(4 * 20 * 10 / 1e6) and first.report()["questions"] == 4
    assert opened(values, tmp_path, server).answer(QUESTIONS) == answers[:4] and len(server.calls) == 4
    opened(values, tmp_path, server, {"temperature": 0.0}).answer(QUESTIONS[:1])
    assert server.calls[-1].body["temperature"] == 0.0 and "seed" not in server.calls[-1].body


def test_the_budget_ends_the_work_and_a_higher_one_goes_on(values: dict[str, Any], tmp_path: Path, server: Server) -> None:
    prices: dict[str, Any] = {"price_per_million_input": 0.0, "price_per_million_output": 1e6 / 50, "max_in_flight": 1}
    with pytest.raises(
        YoyakError, match=r"model.endpoint.budget: the next call could cost up to 1.0.*\n.*3 of 4 requests are answered"
    ):
        opened(values, tmp_path, server, budget=1.9, **prices).answer(QUESTIONS)  # an answer costs 0.4, and at most 1
    paid = len(server.calls)
    assert paid == 3
    assert len(opened(values, tmp_path, server, budget=3.0, **prices).answer(QUESTIONS)) == 4
    assert len(server.calls) == 4, "what was paid is not asked again"


def test_the_budget_counts_all_methods_together(values: dict[str, Any], tmp_path: Path, server: Server) -> None:
    prices: dict[str, Any] = {"price_per_million_input": 0.0, "price_per_million_output": 1e6 / 50, "max_in_flight": 1}
    model = opened(values, tmp_path, server, budget=1.9, **prices)
    model.answer(QUESTIONS[:2])
    with pytest.raises(YoyakError, match="budget"):
        model.answer(QUESTIONS[2:])


def test_a_server_that_is_down_is_told_with_its_address(values: dict[str, Any], tmp_path: Path) -> None:
    with running() as gone:
        pass
    with pytest.raises(YoyakError, match=r"train_0: http://127.0.0.1:\d+/v1: the connection failed"):
        opened(values, tmp_path, gone, max_retries=0).answer(QUESTIONS[:2])


def test_answers_that_cannot_be_used_do_not_end_the_work(values: dict[str, Any], tmp_path: Path, server: Server) -> None:
    replies = {
        "0번 대화": answer("", finish="content_filter"),
        "1번 대화": answer("끝나지 않은", finish="length"),
        "2번 대화": answer("<think>음, 어떻게</think>\n```\n다 됐다\n```"),
        "3번 대화": answer("<think>생각만", finish="length"),
    }
    server.behave = lambda handler, body, number: handler.send(200, replies[body["messages"][-1]["content"]])
    model = opened(values, tmp_path, server)
    expected = [
        Written("", "answer_refused"),
        Written("끝나지 않은", "unfinished_answer"),
        Written("다 됐다"),
        Written("", "empty_answer"),
    ]
    assert model.answer(QUESTIONS) == expected
    assert opened(values, tmp_path, server).answer(QUESTIONS) == expected and len(server.calls) == 4, "refusals are kept too"


def test_personal_data_stays_here(values: dict[str, Any], tmp_path: Path, server: Server) -> None:
    question = ask("train_0", "제 번호는 010-1234-5678입니다.", seed="1")
    (written,) = opened(values, tmp_path, server).answer([question])
    assert server.calls[0].question == "제 번호는 #PhoneNumber1#입니다."
    assert written.text == "답: 제 번호는 010-1234-5678입니다."
    values["prompt"]["mask"] = False
    opened(values, tmp_path, server).answer([question])
    assert server.calls[1].question == "제 번호는 010-1234-5678입니다."


def test_paraphrase_by_a_server_from_params_to_rows(values: dict[str, Any], tmp_path: Path, server: Server) -> None:
    def behave(handler: Any, body: Any, number: int) -> None:
        text = body["messages"][-1]["content"].rpartition("[대화]\n")[2]
        handler.send(200, answer(text if "비가" in text else text.replace("?", "요?")))

    server.behave = behave
    model = opened(values, tmp_path, server)
    place = workspace(values, tmp_path, paraphrase={"rate": 1.0, "of": "dialogue"})
    place.shared("writer", lambda: model)
    method = Paraphrase(place.params.augment.paraphrase, place)
    results = method.write(method.tasks(TRAIN))
    assert isinstance(results[0], Candidate) and results[0].dialogue == TRAIN[0]["dialogue"].replace("?", "요?")
    assert not [one for one in results if isinstance(one, Refusal)]
    assert method.report()["writer"]["questions"] == len(TRAIN) and method.report()["writer"]["url"] == server.url


def rewrite_politely(handler: Any, body: Any, number: int) -> None:
    """Answer with the text of the question, in which each first word of a turn is another one."""
    text = text_of(body["messages"][-1]["content"])
    handler.send(200, answer("\n".join(f"{line} 그렇습니다." for line in text.splitlines())))


def test_a_killed_stage_goes_on_with_the_same_bytes(
    values: dict[str, Any], tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.behave = rewrite_politely
    values["model"]["endpoint"] |= {"base_url": server.url, "model": "test-model", "max_in_flight": 1}
    values["augment"]["filters"] |= {"length_min": 0.0, "length_max": 1.0, "rouge_min": 0.0, "rouge_max": 1.0}
    sections = {"writer": {"source": "endpoint"}, "paraphrase": {"rate": 1.0}}

    def rows(answers: str) -> str:
        monkeypatch.setenv("YOYAK_ANSWERS", str(tmp_path / answers))
        place = workspace(values, tmp_path / answers, **sections)
        augmentation = Augmentation.build(["paraphrase"], place, [])
        return to_json(list(augmentation.rows(TRAIN)))

    expected = rows("undisturbed")
    undisturbed = len(server.calls)
    assert expected.count('"method": "paraphrase"') == len(TRAIN) and undisturbed == 2 * len(TRAIN)

    put, stored = AnswerStore.put, 0

    def killed(store: AnswerStore, item: Any) -> None:
        nonlocal stored
        put(store, item)
        stored += 1
        if stored == 5:
            raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(AnswerStore, "put", killed)
        with pytest.raises(RuntimeError, match="killed"):
            rows("killed")
    assert rows("killed") == expected
    assert len(server.calls) == 2 * undisturbed, "no answer is paid twice"
