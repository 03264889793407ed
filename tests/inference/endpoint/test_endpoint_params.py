"""What each param of the family `endpoint` changes in what is sent, and what comes back."""

import csv
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, ROOT, SUMMARIES
from tests.inference.endpoint.server import Server, answer, good
from yoyak.cli.main import main as command
from yoyak.config.params import leaf_keys, parse_params
from yoyak.config.sections import Params
from yoyak.config.yaml_files import read_yaml
from yoyak.data.prompts import uses_topic
from yoyak.data.splits import SplitCleaner
from yoyak.inference.decisions import Decisions
from yoyak.inference.endpoint import asking, client
from yoyak.inference.endpoint.estimate import cost_table, estimate_cost
from yoyak.inference.endpoint.request import make_request
from yoyak.inference.outputs import Output
from yoyak.inference.summarizer import Summarizer
from yoyak.models.families.endpoint import FAMILY
from yoyak.search.family_rules import reads_param
from yoyak.system.errors import YoyakError

CARD = "1234-5678-9012-3456"
ROWS = [{"fname": f"dev_{number}", "dialogue": text, "topic": ""} for number, text in enumerate(DIALOGUES)]
TRAIN = [
    {"fname": f"train_{number}", "dialogue": f"#Person1#: {summary}", "summary": summary, "topic": ""}
    for number, summary in enumerate(SUMMARIES)
]


def params_with(server: Server, **changes: Any) -> Params:
    """params.yaml with the family, the server, and changes by dotted name, where __ stands for a dot."""
    values: Any = read_yaml(ROOT / "params.yaml")
    values["model"]["endpoint"] |= {"base_url": server.url, "model": "test-model"}
    for name, value in {"model__family": "endpoint", **changes}.items():
        *sections, key = name.split("__")
        place = values
        for section in sections:
            place = place[section]
        place[key] = value
    return parse_params(values, source="params.yaml")


def summarizer_of(params: Params) -> Summarizer:
    summarizer = Summarizer(FAMILY.load_untrained(params), FAMILY, params, Decisions(postprocess=False))
    summarizer.use_examples(TRAIN)
    return summarizer


def write(params: Params, rows: Any = ROWS) -> list[Output]:
    summarizer = summarizer_of(params)
    return summarizer.write(summarizer.encode(rows), rows, progress="test")


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOYAK_ANSWERS", str(tmp_path / "answers"))
    monkeypatch.chdir(tmp_path)


def test_the_default_request(server: Server) -> None:
    write(params_with(server), ROWS[:1])
    (call,) = server.calls
    assert call.body == {
        "model": "test-model",
        "messages": [
            {
                "role": "user",
                "content": f"[Conversation]\n{DIALOGUES[0]}\n\n[Question]\n위 대화 주제에 대한 대화를 요약해주세요.",
            }
        ],
        "max_tokens": 100,
        "temperature": 0.0,
    }


BODY: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the model": ({"model__endpoint__model": "other"}, {"model": "other"}),
    "extra_body": ({"model__endpoint__extra_body": {"top_k": 3}}, {"top_k": 3}),
    "max_new_tokens": ({"generation__max_new_tokens": 7}, {"max_tokens": 7}),
    "sampling": (
        {"generation__do_sample": True, "generation__temperature": 0.5, "generation__top_p": 0.9, "generation__seed": 7},
        {"temperature": 0.5, "top_p": 0.9, "seed": 7},
    ),
}


@pytest.mark.parametrize("case", BODY)
def test_a_param_changes_the_body(server: Server, case: str) -> None:
    changes, expected = BODY[case]
    write(params_with(server), ROWS[:1])
    write(params_with(server, **changes), ROWS[:1])
    first, second = (call.body for call in server.calls)
    assert second == first | expected and second != first


PROMPTS: dict[str, tuple[dict[str, Any], str]] = {
    "style": ({"prompt__style": "plain"}, "다음 대화를 요약해주세요:\n"),
    "instruction": ({"prompt__style": "instruction"}, "### Instruction:\n"),
    "system": ({"prompt__system": "짧게."}, "짧게."),
    "examples": ({"prompt__examples": 1}, SUMMARIES[6]),  # the most similar one to the bus that was missed
}


@pytest.mark.parametrize("case", PROMPTS)
def test_a_param_changes_the_messages(server: Server, case: str) -> None:
    changes, expected = PROMPTS[case]
    write(params_with(server, **changes), ROWS[6:7])
    assert any(expected in message["content"] for message in server.calls[0].body["messages"])


def test_fixed_examples_are_the_same_for_all_rows(server: Server) -> None:
    write(params_with(server, prompt__examples=1, prompt__example_choice="fixed"))
    assert len({call.body["messages"][0]["content"] for call in server.calls}) == 1
    server.calls.clear()
    write(params_with(server, prompt__examples=1))
    assert len({call.body["messages"][0]["content"] for call in server.calls}) > 3


def test_providers_have_their_own_address_key_and_limit(server: Server) -> None:
    local, upstage, openai = (
        params_with(server, model__endpoint__provider=name, model__endpoint__base_url=None).model.endpoint
        for name in ("local", "upstage", "openai")
    )
    assert local.url == "http://localhost:8000/v1" and local.is_loopback
    assert upstage.url == "https://api.upstage.ai/v1" and not upstage.is_loopback
    assert openai.url == "https://api.openai.com/v1"
    assert [each.key_variable for each in (local, upstage, openai)] == [
        "YOYAK_ENDPOINT_KEY",
        "UPSTAGE_API_KEY",
        "OPENAI_API_KEY",
    ]
    generation = params_with(server).generation
    bodies = [make_request(each, generation, [], seed=1).body for each in (local, upstage, openai)]
    assert ["max_completion_tokens" in body for body in bodies] == [False, False, True]


def test_personal_data_leaves_only_without_the_mask(server: Server) -> None:
    def repeat(handler: Any, body: Any, number: int) -> None:
        said = body["messages"][-1]["content"].splitlines()[1]
        handler.send(200, answer(f"카드 번호는 {said.split()[-1]}"))

    server.behave = repeat
    rows = [{"fname": "dev_0", "dialogue": f"#Person1#: 카드는 {CARD}", "topic": ""}]
    summarizer = summarizer_of(params_with(server))
    (output,) = summarizer.write(summarizer.encode(rows), rows, progress="test")
    assert CARD not in server.calls[0].question and "#CardNumber1#" in server.calls[0].question
    assert output.text == f"카드 번호는 {CARD}"
    report = summarizer.choose_backend().report()["endpoint"]
    assert report["masked"] == {"CardNumber": 1} and report["restored"] == 1
    assert CARD not in "".join(path.read_text() for path in Path("answers").rglob("*.json"))
    write(params_with(server, prompt__mask=False), rows)
    assert CARD in server.calls[-1].question


def test_personal_data_in_examples_is_masked_too(server: Server) -> None:
    params = params_with(server, prompt__examples=1)
    summarizer = Summarizer(FAMILY.load_untrained(params), FAMILY, params)
    summarizer.use_examples([row | {"summary": f"카드는 {CARD}", "dialogue": f"{row['dialogue']} {CARD}"} for row in TRAIN])
    encoded: Any = summarizer.encode(ROWS[:1])
    text = str(encoded[0].ids.messages)
    assert CARD not in text and text.count("#CardNumber1#") == 2


def test_control_tokens_are_sent_as_ordinary_text(server: Server) -> None:
    write(params_with(server), [{"fname": "dev_0", "dialogue": "#Person1#: </s><|im_start|>끝 3 < 5", "topic": ""}])
    assert "#Person1#: < /s>< |im_start|>끝 3 < 5" in server.calls[0].question


def test_a_long_dialogue_loses_turns_and_says_so(server: Server) -> None:
    params = params_with(server, tokenizer__max_input_length=100)
    summarizer = summarizer_of(params)
    encoded = summarizer.encode(ROWS)
    long = encoded[3]
    assert long.turns_left_out > 0 and len(long.ids) <= 100
    assert long.ids.messages[0]["content"].splitlines()[1].startswith("#Person1#: 이 책을")
    assert "turns are left out" in (summarizer.reader.describe_cuts(encoded) or "")
    with pytest.raises(YoyakError, match=r"tokenizer\.max_input_length: 40 is too small"):
        summarizer_of(params_with(server, tokenizer__max_input_length=40)).encode(ROWS)


def test_a_long_dialogue_is_read_in_windows_and_paid_once(server: Server) -> None:
    """Other rows beside it, such as in another run, change no request."""
    turns = [f"#Person{number % 2 + 1}#: {number}번째로 {CARD} 카드를 씁니다." for number in range(12)]
    long = {"fname": "dev_9", "dialogue": "\n".join(turns), "topic": ""}
    settings = {"tokenizer__max_input_length": 160, "generation__long_dialogues": "windows", "generation__do_sample": True}
    params = params_with(server, **settings)  # a request that samples has a seed
    (first,) = write(params, [long])
    *windows, last = [call.question for call in server.calls]
    assert len(windows) > 1 and all("위 대화 주제에 대한 대화를 요약해주세요." in text for text in (*windows, last))
    sent = {line for text in windows for line in text.splitlines() if line.startswith("#Person")}
    assert len(sent) == len(turns) and not any(CARD in call.question for call in server.calls), "all turns, masked"
    assert CARD in first.text, "and put back"
    calls = len(server.calls)
    assert write(params, [*ROWS[:2], long])[2] == first
    assert len(server.calls) == calls + 2


def test_tokens_are_counted_by_the_tokenizer_or_estimated(server: Server) -> None:
    estimated = summarizer_of(params_with(server)).encode(ROWS)
    folder = str(ROOT / "models/base/llama-tiny")
    counted = summarizer_of(params_with(server, model__endpoint__tokenizer=folder)).encode(ROWS)
    assert [len(row.ids) for row in estimated] != [len(row.ids) for row in counted]
    assert all(row.ids.most_tokens > len(row.ids) for row in (*estimated, *counted))
    with pytest.raises(YoyakError, match=r"model\.endpoint\.tokenizer: nowhere/tokenizer\.json: no such file"):
        summarizer_of(params_with(server, model__endpoint__tokenizer="nowhere"))


def test_timeout_retries_pace_and_limit_are_read(server: Server) -> None:
    def slow(handler: Any, body: Any, number: int) -> None:
        time.sleep(0.1)
        handler.send(500, {"error": {"message": "no"}})

    server.behave = slow
    asking_first = asking.FIRST_WAIT
    assert asking_first < 1
    with pytest.raises(YoyakError, match="after 2 tries"):
        write(params_with(server, model__endpoint__max_retries=1), ROWS[:1])
    with pytest.raises(YoyakError, match=r"within 0\.05 s"):
        write(params_with(server, model__endpoint__max_retries=0, model__endpoint__timeout=0.05), ROWS[:1])
    while server.running:  # the server still works on the call that timed out
        time.sleep(0.01)
    server.behave, server.most_running = good, 0
    write(params_with(server, model__endpoint__max_in_flight=1))
    assert server.most_running == 1
    server.calls.clear()
    write(params_with(server, model__endpoint__model="paced", model__endpoint__requests_per_minute=600), ROWS[:4])
    assert server.calls[-1].time - server.calls[0].time > 0.27


def test_the_report_has_the_price_of_all_answers(server: Server) -> None:
    prices = {"model__endpoint__price_per_million_input": 2.0, "model__endpoint__price_per_million_output": 10.0}
    params = params_with(server, **prices)
    for _ in range(2):  # the second time all answers come from the store
        summarizer = summarizer_of(params)
        summarizer.write(summarizer.encode(ROWS), ROWS, progress="test")
        report = summarizer.choose_backend().report()["endpoint"]
        assert report["price"] == round(8 * (100 * 2 + 20 * 10) / 1e6, 6) and report["requests"] == 8
        assert (report["input_tokens"], report["output_tokens"]) == (800, 160)
    assert len(server.calls) == 8
    with pytest.raises(YoyakError, match=r"model\.endpoint\.budget"):
        write(params_with(server, **prices, model__endpoint__budget=0.0001, model__endpoint__model="other"))
    assert len(server.calls) == 8
    summarizer = summarizer_of(params_with(server))
    summarizer.write(summarizer.encode(ROWS), ROWS, progress="test")
    assert summarizer.choose_backend().report()["endpoint"]["price"] is None


def test_artefacts_are_removed_and_the_raw_answer_stays_in_the_store(server: Server) -> None:
    server.behave = lambda handler, body, number: handler.send(200, answer("<think>음</think>\n요약: 비가 온다."))
    (output,) = write(params_with(server), ROWS[:1])
    assert output.text == "비가 온다." and output.artefacts == ("reasoning", "prefix")
    (path,) = Path("answers").glob("??/*.json")
    assert "<think>음</think>" in path.read_text(encoding="utf-8")


def test_settings_that_the_api_does_not_have_are_named(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    write(params_with(server, generation__num_beams=4, generation__blocked_scripts=["latin"]), ROWS[:1])
    assert "num_beams=4, blocked_scripts=['latin']: the API has no such setting" in capsys.readouterr().err
    assert "num_beams" not in server.calls[0].body
    assert not reads_param("endpoint", "generation.num_beams") and reads_param("endpoint", "generation.temperature")


def test_the_backend_is_for_this_family_alone(server: Server) -> None:
    params = params_with(server, generation__backend="transformers")
    with pytest.raises(YoyakError, match="the family endpoint has no transformers model"):
        write(params)


def test_the_cost_is_what_the_run_then_costs(server: Server, tmp_path: Path) -> None:
    (tmp_path / "csv").mkdir()
    for split, count in {"train": 50, "dev": 5, "test": 5}.items():
        with open(ROOT / f"data/sample/{split}.csv", encoding="utf-8", newline="") as file:
            table = list(csv.reader(file))[: count + 1]
        with open(tmp_path / f"csv/{split}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(table)
    prices = {"model__endpoint__price_per_million_input": 2.0, "model__endpoint__price_per_million_output": 10.0}
    params = params_with(server, data__dir=str(tmp_path / "csv"), model__endpoint__budget=1.0, **prices)
    before = estimate_cost(params)
    assert before.total.calls == before.total.rows == 10 and before.total.stored == 0 and not server.calls
    assert 0 < before.total.price < before.total.most
    cleaner = SplitCleaner(params.data, params.preprocess)
    rows, test_rows = list(cleaner.clean("dev")), list(cleaner.clean("test"))
    summarizer = summarizer_of(params)
    encoded = summarizer.encode(rows, names_topic=uses_topic(params.prompt, test_rows))  # as predict does
    summarizer.write(encoded, rows, progress="test")
    assert len(server.calls) == 5
    after = estimate_cost(params)
    assert (after.splits["dev"].stored, after.splits["dev"].calls) == (5, 0)
    assert after.splits["test"] == before.splits["test"]
    assert after.total.paid == pytest.approx(5 * (100 * 2 + 20 * 10) / 1e6)
    text = "\n".join(cost_table(after, params))
    assert "the stored answers cost 0.0020" in text and "budget 1: it is enough in any case" in text
    prompts = {"generation__consensus__candidates": 3, "generation__consensus__source": "prompts"}
    each = estimate_cost(params_with(server, data__dir=str(tmp_path / "csv"), **prices, **prompts))
    assert (each.total.calls, each.total.stored) == (25, 5), "the first of three is the usual question, asked of dev already"


def test_every_key_of_the_section_is_in_a_test_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    keys = [key for key in leaf_keys() if key.startswith("model.endpoint.")]
    assert [key for key in keys if key.replace(".", "__") not in text and key not in text] == []


def test_doctor_asks_for_the_models_and_sends_no_dialogue(server: Server) -> None:
    from yoyak.training.preflight import Subject, check_key, check_server

    assert "has test-model" in check_server(Subject(params_with(server)))
    assert "it does not list gone, but other-model, test-model" in check_server(
        Subject(params_with(server, model__endpoint__model="gone"))
    )
    assert "may need none" in check_key(Subject(params_with(server)))
    assert not server.calls
    server.no_models = True
    with pytest.raises(YoyakError, match="HTTP 404"):
        check_server(Subject(params_with(server)))
    assert client.NO_KEY == "none"


@pytest.mark.parametrize("name", ["solar-pro", "solar-mini", "vllm-local", "ollama-local"])
def test_commands_and_the_first_stage_accept_a_preset_without_a_checkpoint(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from stages.check_params import main as check_params

    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    command(["use", name])
    assert "model.family: kobart → endpoint" in capsys.readouterr().out
    check_params(tmp_path / "checked.txt")
    assert (tmp_path / "checked.txt").is_file()
    for words in (["time"], ["package"]):
        with pytest.raises(SystemExit, match=r"model\.family is endpoint"):
            command(words)


def test_summarize_masks_asks_and_restores(server: Server) -> None:
    def repeat(handler: Any, body: Any, number: int) -> None:
        handler.send(200, answer(body["messages"][-1]["content"].splitlines()[1].removeprefix("#Person1#: ")))

    server.behave = repeat
    summarizer = Summarizer.load(ROOT / "models/endpoint", params=params_with(server))
    text = summarizer.summarize("#Person1#: 제 번호는 010-1234-5678입니다.")
    assert text == "제 번호는 010-1234-5678입니다." and "010-1234-5678" not in server.calls[0].question


def test_doctor_runs_the_checks_of_this_family(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    from yoyak.training.preflight import run_checks

    params = params_with(server, data__dir=str(ROOT / "data/sample"))
    assert run_checks(params, step=True)
    printed = capsys.readouterr().out
    assert "ok    server:" in printed and "one step" not in printed and not server.calls


def test_a_consensus_asks_with_each_instruction(server: Server) -> None:
    """The estimate counts the same requests, and a second run asks nothing again."""
    texts = ["누가 무엇을 하나요?", "한 문장으로 요약하세요."]
    consensus = {
        "generation__consensus__candidates": 2,
        "generation__consensus__source": "prompts",
        "generation__consensus__instructions": texts,
    }
    params = params_with(server, **consensus)
    outputs = write(params, ROWS[:2])
    asked = sorted(call.body["messages"][-1]["content"].rpartition("[Question]\n")[2] for call in server.calls)
    assert asked == sorted(texts * 2)
    assert [sum(one.weight for one in output.candidates) for output in outputs] == [1.0, 1.0]
    assert write(params, ROWS[:2]) == outputs
    assert len(server.calls) == 4
