"""The judge behind a server of the tests: votes, retries, what is paid, missing grades, and what each param changes."""

import contextlib
import csv
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import DIALOGUES, ROOT, SUMMARIES
from tests.inference.endpoint.conftest import SETTINGS
from tests.inference.endpoint.server import Behaviour, Body, Handler, Server, answer
from yoyak.cli.main import main as command
from yoyak.config.params import leaf_keys, load_params
from yoyak.config.score_section import Judge
from yoyak.evaluation import bootstrap
from yoyak.evaluation.baselines import baseline_predictions
from yoyak.evaluation.metrics.base import MetricSettings, Rows
from yoyak.evaluation.metrics.lookup import build_metrics
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.paired_tests import compare_metrics
from yoyak.evaluation.scoring import per_dialogue_columns, score
from yoyak.inference.endpoint.answer_store import AnswerStore
from yoyak.inference.endpoint.judge import ATTEMPTS, JudgeMetric, drawn_rows
from yoyak.system.csv_files import write_csv
from yoyak.system.errors import YoyakError

OWN: dict[str, Any] = {
    "votes": 1,
    "rows": None,
    "baselines": ["medoid"],
    "mask": True,
    "temperature": 0.7,
    "max_new_tokens": 60,
    "seed": 42,
}
REFERENCES = [[text] for text in SUMMARIES]


def judge(server: Server, **changes: Any) -> Judge:
    return Judge(**(SETTINGS | OWN | {"base_url": server.url} | changes))


def graded(text: str) -> str:
    """Grades that depend on the summary in a question."""
    match = re.search(r"<summary-\w+>\n(.*)\n</summary", text, re.S)
    assert match
    grade = 1 + len(match[1]) % 5
    return json.dumps({"faithfulness": grade, "coverage": 3, "conciseness": 5, "fluency": 2})


def good(handler: Handler, body: Body, number: int) -> None:
    handler.send(200, answer(graded(body["messages"][-1]["content"])))


def says(text: str | None, **changes: Any) -> Behaviour:
    return lambda handler, body, number: handler.send(200, answer(text, **changes))


@pytest.fixture(autouse=True)
def _grades(server: Server) -> None:
    server.behave = good


def metric_of(settings: Judge, store: AnswerStore) -> JudgeMetric:
    return JudgeMetric(MetricSettings(tokenizer=Morphemes(), aggregation="mean"), settings, store=store)


def rows_of(metric: JudgeMetric, predictions: Sequence[str] = SUMMARIES) -> Rows:
    return metric.score_rows(predictions=predictions, references=REFERENCES, dialogues=DIALOGUES)


def test_every_summary_is_graded_alone_and_never_paid_twice(server: Server, store: AnswerStore) -> None:
    rows = rows_of(metric_of(judge(server, votes=3), store))
    expected = [[1 + len(text) % 5, 3, 5, 2] for text in SUMMARIES]
    assert rows.tolist() == [[*grades, sum(grades) / 4] for grades in expected]
    assert len(server.calls) == 3 * len(SUMMARIES)
    assert len(list(store.answers())) == len(server.calls)
    assert len({call.body["seed"] for call in server.calls}) == 3, "each vote has its own seed"
    order = [7, 3, 0, 1, 2, 4, 5, 6]
    again = metric_of(judge(server, votes=3), store).score_rows(
        predictions=[SUMMARIES[place] for place in order],
        references=REFERENCES,
        dialogues=[DIALOGUES[place] for place in order],
    )
    assert again.tolist() == [rows.tolist()[place] for place in order], "the order of rows has no effect"
    assert len(server.calls) == 3 * len(SUMMARIES), "a rerun asks nothing"


def test_votes_are_averaged(server: Server, store: AnswerStore) -> None:
    def by_seed(handler: Handler, body: Body, number: int) -> None:
        grade = 2 + body["seed"] % 2
        handler.send(200, answer(json.dumps(dict.fromkeys(("faithfulness", "coverage", "conciseness", "fluency"), grade))))

    server.behave = by_seed
    rows = rows_of(metric_of(judge(server, votes=5), store))
    seeds = {call.body["seed"] for call in server.calls}
    mean = 2 + sum(seed % 2 for seed in seeds) / 5
    assert 2 < mean < 3 and rows == pytest.approx(np.full((8, 5), mean))


def test_an_unreadable_answer_is_asked_again(server: Server, store: AnswerStore) -> None:
    seen: set[str] = set()

    def first_bad(handler: Handler, body: Body, number: int) -> None:
        question = body["messages"][-1]["content"]
        good(handler, body, number) if question in seen else handler.send(200, answer("모두 좋습니다."))
        seen.add(question)

    server.behave = first_bad
    metric = metric_of(judge(server, temperature=0.0), store)  # greedy: the same request would give the same answer
    assert not np.isnan(rows_of(metric)).any()
    assert len(server.calls) == 2 * len(SUMMARIES)
    assert metric.details() | {"requests": 0} == {
        "graded": 8,
        "missing": {},
        "unreadable_answers": 8,
        "requests": 0,
        "input_tokens": 1600,
        "output_tokens": 320,
        "price": None,
        "masked": {},
    }
    rows_of(metric_of(judge(server, temperature=0.0), store))
    assert len(server.calls) == 2 * len(SUMMARIES), "unreadable answers are stored too"


def test_a_summary_without_grades_is_missing_with_its_reason(
    server: Server, store: AnswerStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(handler: Handler, body: Body, number: int) -> None:
        question = body["messages"][-1]["content"]
        if SUMMARIES[1] in question:
            handler.send(200, answer("점수 없음"))
        elif SUMMARIES[2] in question:
            handler.send(200, answer('{"faithfulness": 3', finish="length"))
        elif SUMMARIES[4] in question:
            handler.send(200, answer(None, finish="content_filter"))
        else:
            good(handler, body, number)

    server.behave = bad
    metric = metric_of(judge(server, baselines=[]), store)
    monkeypatch.setattr(bootstrap, "MIN_ROWS", 5)
    result, cells = scored(metric, SUMMARIES)
    assert [place for place, row in enumerate(cells) if row["judge_mean"] is None] == [1, 2, 4]
    section = result["judge"]
    assert section["missing"] == {"cut_off": 1, "no_object": 1, "refused": 1} and section["graded"] == 5
    kept = [len(text) % 5 + 1 for place, text in enumerate(SUMMARIES) if place not in (1, 2, 4)]
    assert section["faithfulness"] == pytest.approx(sum(kept) / 5), "means leave out what is missing"
    assert section["interval"]["faithfulness"][0] < section["faithfulness"] < section["interval"]["faithfulness"][1]
    assert "no grades for 3 summaries: 1 cut_off, 1 no_object, 1 refused" in capsys.readouterr().err
    asked = [call for call in server.calls if SUMMARIES[1] in call.question]
    assert len(asked) == ATTEMPTS


def scored(metric: JudgeMetric, predictions: Sequence[str]) -> tuple[dict[str, Any], list[dict[str, float | None]]]:
    return score(
        predictions=predictions,
        references=REFERENCES,
        dialogues=DIALOGUES,
        baselines=baseline_predictions(DIALOGUES, medoid=SUMMARIES[3]),
        metrics=[*build_metrics(tokenizer=Morphemes(), aggregation="mean"), metric],
        bootstrap_samples=100,
        seed=1,
        decoding="unknown",
    )


def test_the_chosen_baselines_are_graded_too_on_the_same_rows(
    server: Server, store: AnswerStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "MIN_ROWS", 4)
    settings = judge(server, rows=5, baselines=["medoid", "lead1"], price_per_million_input=10.0, price_per_million_output=20.0)
    metric = metric_of(settings, store)
    result, cells = scored(metric, SUMMARIES)
    assert len(server.calls) == 14, "the medoid is the summary of one of the rows too, which is asked once"
    assert {name for name, values in result["baselines"].items() if "judge" in values} == {"medoid", "lead1"}
    drawn = drawn_rows(8, settings)
    assert len(drawn) == 5 and [place for place, row in enumerate(cells) if row["judge_mean"] is not None] == drawn
    assert result["baselines"]["medoid"]["judge"]["faithfulness"] == 1 + len(SUMMARIES[3]) % 5
    assert result["judge"]["price"] == pytest.approx(14 * (100 * 10 + 20 * 20) / 1e6)
    assert "rubric:ko-1|votes:1|rows:5|seed:42|temperature:0.7|scale:1-5" in result["judge"]["signature"]
    assert drawn != drawn_rows(8, judge(server, rows=5, seed=1))

    columns = per_dialogue_columns([*build_metrics(tokenizer=Morphemes(), aggregation="mean"), metric])
    write_csv(tmp_path / "rows.csv", [{"fname": "x", **row} for row in cells], columns=columns)
    with open(tmp_path / "rows.csv", encoding="utf-8", newline="") as file:
        assert [row["judge_mean"] == "" for row in csv.DictReader(file)] == [place not in drawn for place in range(8)]
    table = {name: np.array([np.nan if row[name] is None else row[name] for row in cells]) for name in cells[0]}
    compared = compare_metrics({"same": table}, table, lower_is_better=(), samples=50)
    assert compared["judge_mean"]["same"].rows == 5 and compared["rouge_sum"]["same"].rows == 8


def test_a_judge_that_never_answers_in_the_form_stops(server: Server, store: AnswerStore) -> None:
    server.behave = says("저는 채점하지 않습니다.")
    with pytest.raises(YoyakError, match=r'score\.judge: no answer of test-model .*8 no_object.*"저는 채점하지 않습니다\."'):
        rows_of(metric_of(judge(server), store))


def test_the_budget_is_kept_and_named(server: Server, store: AnswerStore) -> None:
    prices = {"price_per_million_input": 1000.0, "price_per_million_output": 1000.0}
    asking = metric_of(judge(server), store)
    pairs = zip(DIALOGUES, SUMMARIES, strict=True)
    longest = max(asking._question(*pair, 0, 0, 0).most_input_tokens for pair in pairs)
    budget = (longest + OWN["max_new_tokens"]) / 1000 + 0.3  # the highest price of a call, and two calls that cost 0.12
    metric = metric_of(judge(server, budget=budget, max_in_flight=1, **prices), store)
    with pytest.raises(YoyakError, match=r"score\.judge\.budget: the next call could cost"):
        rows_of(metric)
    assert 0 < len(server.calls) < 8
    rows_of(metric_of(judge(server, budget=1000.0, **prices), store))
    assert len(server.calls) == 8, "the answers of the stopped run are not paid again"


def test_faults_of_the_server_name_the_section(server: Server, store: AnswerStore) -> None:
    server.behave = lambda handler, body, number: handler.send(404, {"error": {"message": "no such model"}})
    with pytest.raises(YoyakError, match=r"score\.judge\.model: the server does not know other; it offers|does not know other"):
        rows_of(metric_of(judge(server, model="other"), store))
    server.behave = lambda handler, body, number: time.sleep(0.3)
    with pytest.raises(YoyakError, match=r"score\.judge\.timeout"):
        rows_of(metric_of(judge(server, timeout=0.05, max_retries=0), store))
    with pytest.raises(YoyakError, match=r"score\.judge\.tokenizer: .*no such file"):
        metric_of(judge(server, tokenizer="no/such"), store)


def test_personal_data_is_masked_before_it_is_sent(server: Server, store: AnswerStore) -> None:
    dialogues = [f"{DIALOGUES[0]}\n#Person1#: 010-1234-5678이에요."]
    predictions = ["#Person1#의 번호는 010-1234-5678입니다."]
    for mask in (True, False):
        metric = metric_of(judge(server, mask=mask), store)
        metric.score_rows(predictions=predictions, references=[["x"]], dialogues=dialogues)
        sent = server.calls[-1].question
        assert ("010-1234-5678" not in sent) == mask
        assert sent.count("#PhoneNumber1#") == (2 if mask else 0), "one placeholder in both texts"
        assert metric.details()["masked"] == ({"PhoneNumber": 1} if mask else {})


SEEN = {
    "model": ("other-model", lambda call: call.body["model"] == "other-model"),
    "extra_body": ({"top_k": 7}, lambda call: call.body["top_k"] == 7),
    "temperature": (1.3, lambda call: call.body["temperature"] == 1.3),
    "max_new_tokens": (77, lambda call: call.body["max_tokens"] == 77),
    "seed": (7, lambda call: call.body["seed"] != 1077208859),
}
ELSEWHERE = {
    *("provider", "base_url", "tokenizer", "price_per_million_input", "price_per_million_output", "budget"),
    *("requests_per_minute", "max_in_flight", "timeout", "max_retries", "votes", "rows", "baselines", "mask"),
}  # in the tests above, and for what the client does with them in test_asking.py


@pytest.mark.parametrize("key", SEEN)
def test_a_key_changes_what_is_sent(server: Server, store: AnswerStore, key: str) -> None:
    value, shows = SEEN[key]
    rows_of(metric_of(judge(server), store))
    before = len(server.calls)
    rows_of(metric_of(judge(server, **{key: value}), store))
    assert len(server.calls) == 2 * before, "another request"
    assert all(map(shows, server.calls[before:]))


def test_every_key_of_the_judge_is_tested() -> None:
    keys = {name.removeprefix("score.judge.") for name in leaf_keys() if name.startswith("score.judge.")}
    assert keys == ELSEWHERE | set(SEEN)


def test_what_it_would_cost(capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["votes=3", "rows=20", "price_per_million_input=1.0", "price_per_million_output=2.0", "budget=0.5"]
    arguments = [part for change in changes for part in ("-S", f"score.judge.{change}")]
    with contextlib.chdir(ROOT):
        command(["cost", *arguments])
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.startswith("judge  "))
    rows, calls, read, written, price, most = (float(cell.replace(",", "")) for cell in line.split()[1:])
    assert (rows, calls) == (40, 120), "three votes for the model and the medoid"
    assert price == pytest.approx((read + 2 * written) / 1e6, abs=1e-4) and most > 3 * price
    assert read > 120 * 500 and "budget 0.5: it may stop the stage score" in printed
    assert "nothing is sent now" in printed and "model.endpoint" not in printed
    with contextlib.chdir(ROOT), pytest.raises(SystemExit, match=r"score\.judge\.votes is 0, which cost nothing"):
        command(["cost"])


def test_doctor_looks_for_what_the_chosen_metrics_need(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from yoyak.training.score_checks import describe_score

    def said(*changes: str) -> str:
        with contextlib.chdir(ROOT):
            return describe_score(load_params(changes=[f"score.{change}" for change in changes]))

    judged = ("judge.votes=1", f"judge.base_url={server.url}")
    assert said().count("\n") == 0 and said().startswith("Mecab loads; tok:mecab")
    assert "has test-model" in said(*judged, "judge.model=test-model")
    assert "it does not list gone, but other-model, test-model" in said(*judged, "judge.model=gone")
    assert "model:kobart-tiny#" in said("bert_score.checkpoint=models/base/kobart-tiny")
    assert not server.calls, "no dialogue is sent"
    monkeypatch.delenv("UPSTAGE_API_KEY", raising=False)
    with pytest.raises(YoyakError, match="UPSTAGE_API_KEY: not set"):
        said("judge.votes=1", "judge.provider=upstage")


def test_without_the_package_the_message_says_what_to_install(
    server: Server, store: AnswerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(YoyakError, match="pip install 'yoyak\\[endpoint\\]'"):
        rows_of(metric_of(judge(server), store))
