"""Token ids for decoder-only models: a row is a prompt and its answer, and only the answer has labels."""

import copy
from pathlib import Path
from typing import Any

import datasets
import pytest
from tokenizers import processors

from tests.conftest import DIALOGUES, SUMMARIES, WITHOUT_ADDITIONS, batch_encoders, encode_for_prediction
from yoyak.config.sections import Prompt, Tokenizer
from yoyak.data import prompts, tokenized_data
from yoyak.inference import outputs
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import write_jsonl

STYLES = ("structured", "plain", "instruction")
LONG = "\n".join(f"#Person{turn % 3 + 1}#: {turn}번째 말입니다. {'그리고 ' * (turn % 5)}끝." for turn in range(30))
LONG_TURN = f"#Person1#: 네?\n#Person2#: {' '.join(f'{number}번째 말입니다.' for number in range(200))}"


@pytest.fixture(params=["chat", "qwen3"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("chat_tokenizer" if request.param == "chat" else request.param)


def prompt_settings(**changes: Any) -> Prompt:
    return Prompt(**({"style": "structured", "system": None, "topic": "auto", **WITHOUT_ADDITIONS} | changes))


def length_limits(prompt: int = 2000, answer: int = 100) -> Tokenizer:
    return Tokenizer(max_input_length=prompt, max_target_length=answer, truncation="middle", special_tokens=[], new_tokens=0)


def rows(*more: str, topics: bool = True, summaries: bool = True) -> list[dict[str, Any]]:
    """A processed row for each of DIALOGUES, and for each further dialogue."""
    result: list[dict[str, Any]] = []
    for index, dialogue in enumerate([*DIALOGUES, *more]):
        result.append({"fname": f"row_{index}", "dialogue": dialogue, "topic": f"주제 {index}" if topics else ""})
        if summaries:
            result[-1]["summary"] = SUMMARIES[index % len(SUMMARIES)]
    return result


def prediction_prompts(tokenizer: Any, examples: list[dict[str, Any]], lengths: Tokenizer, prompt: Prompt) -> list[list[int]]:
    """The token ids that the model reads for these rows when predict runs."""
    without_summaries = [{name: row[name] for name in ("fname", "dialogue", "topic")} for row in examples]
    return encode_for_prediction("qlora", without_summaries, tokenizer, lengths, prompt)


def encode(
    folder: Path,
    tokenizer: Any,
    splits: dict[str, list[dict[str, Any]]],
    *,
    lengths: Tokenizer | None = None,
    workers: int = 1,
    added: list[dict[str, Any]] | None = None,
    **prompt: Any,
) -> tuple[dict[str, Any], datasets.DatasetDict]:
    """Encode rows, and return the report and the encoded splits.

    Prompts name the topic if every row of the test split has one, or if there is no test split.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {split: folder / f"{split}.jsonl" for split in splits}
    for split, split_rows in splits.items():
        write_jsonl(paths[split], split_rows)
    encoders = batch_encoders("qlora", tokenizer, lengths or length_limits(), prompt_settings(**prompt), splits.get("test", []))
    more = folder / "added.jsonl"
    write_jsonl(more, added or [])
    report = tokenized_data.encode_files(paths, folder / "out", encoders, workers=workers, added=more)
    return report, tokenized_data.load_tokenized(folder / "out")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("system", [None, "짧게."], ids=["no system", "system"])
def test_a_training_row_is_the_prompt_of_prediction_and_the_summary(
    tokenizer: Any, tmp_path: Path, style: str, system: str | None
) -> None:
    examples, lengths = rows(LONG, LONG_TURN), length_limits(prompt=190)
    _, splits = encode(tmp_path, tokenizer, {"train": examples}, lengths=lengths, style=style, system=system)
    prompts = prediction_prompts(tokenizer, examples, lengths, prompt_settings(style=style, system=system))
    for row, source, prompt in zip(splits["train"], examples, prompts, strict=True):
        assert row["fname"] == source["fname"]
        assert row["input_ids"][: len(prompt)] == prompt
        assert row["labels"] == [-100] * len(prompt) + row["input_ids"][len(prompt) :]
        assert row["length"] == len(row["input_ids"]) == len(row["labels"])
        answer = [id_ for id_ in row["labels"] if id_ != -100]
        assert tokenizer.decode(answer) == source["summary"] + tokenizer.eos_token
        assert answer.count(tokenizer.eos_token_id) == 1
        assert outputs.decode_tokens(tokenizer, [answer]) == [source["summary"]]
    assert [len(prompt) <= 190 for prompt in prompts] == [True] * len(examples)
    assert [len(prompt) > 150 for prompt in prompts[-2:]] == [True] * 2


def test_prompt_and_summary_are_tokenized_separately(qwen3: Any, tmp_path: Path) -> None:
    """Otherwise the last newline of the prompt and the start of the summary could become one token."""
    examples = [rows()[0] | {"summary": "\n비가 온다."}]
    (prompt,) = prediction_prompts(qwen3, examples, length_limits(), prompt_settings(style="instruction"))
    answer = qwen3("\n비가 온다.", add_special_tokens=False).input_ids
    assert qwen3(qwen3.decode(prompt) + "\n비가 온다.").input_ids != prompt + answer
    _, splits = encode(tmp_path, qwen3, {"train": examples}, style="instruction")
    assert splits["train"]["input_ids"][0] == [*prompt, *answer, qwen3.eos_token_id]


@pytest.mark.parametrize("style", STYLES)
def test_a_tokenizer_that_adds_eos_itself_gives_the_same_rows(chat_tokenizer: Any, tmp_path: Path, style: str) -> None:
    eos_adding_tokenizer = copy.deepcopy(chat_tokenizer)
    begin, end = eos_adding_tokenizer.bos_token, eos_adding_tokenizer.eos_token
    eos_adding_tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        special_tokens=[(begin, eos_adding_tokenizer.bos_token_id), (end, eos_adding_tokenizer.eos_token_id)],
    )
    _, expected = encode(tmp_path / "a", chat_tokenizer, {"train": rows()}, style=style)
    _, actual = encode(tmp_path / "b", eos_adding_tokenizer, {"train": rows()}, style=style)
    for column in ("input_ids", "labels"):
        assert list(actual["train"][column]) == list(expected["train"][column])
    assert all(ids.count(eos_adding_tokenizer.bos_token_id) == 1 for ids in actual["train"]["input_ids"])


@pytest.mark.parametrize("limit", [4, 6])
def test_a_truncated_summary_ends_with_eos(tokenizer: Any, tmp_path: Path, limit: int) -> None:
    _, splits = encode(tmp_path, tokenizer, {"train": rows()}, lengths=length_limits(answer=limit))
    for labels, ids, text in zip(splits["train"]["labels"], splits["train"]["input_ids"], SUMMARIES, strict=True):
        whole = tokenizer(text, add_special_tokens=False).input_ids
        assert [id_ for id_ in labels if id_ != -100] == [*whole[: limit - 1], tokenizer.eos_token_id]
        assert ids[-limit:] == labels[-limit:]


def test_rows_without_a_summary_have_only_the_prompt(chat_tokenizer: Any, tmp_path: Path) -> None:
    examples = rows(summaries=False)
    report, splits = encode(tmp_path, chat_tokenizer, {"train": rows(), "test": examples})
    assert {split: set(splits[split].column_names) for split in splits} == {
        "train": {"fname", "input_ids", "labels", "length"},
        "test": {"fname", "input_ids", "length"},
    }
    assert list(splits["test"]["input_ids"]) == prediction_prompts(chat_tokenizer, examples, length_limits(), prompt_settings())
    assert list(splits["test"]["length"]) == [len(ids) for ids in splits["test"]["input_ids"]]
    assert {split: set(counts) for split, counts in report.items()} == {
        "train": {"rows", "prompt", "summary"},
        "test": {"rows", "prompt"},
    }


@pytest.mark.parametrize(
    ("choice", "test_has_topics", "expected"),
    [("auto", True, True), ("auto", False, False), ("always", False, True), ("never", True, False)],
)
def test_train_prompts_name_the_topic_if_every_test_row_has_one(
    chat_tokenizer: Any, tmp_path: Path, choice: str, test_has_topics: bool, expected: bool
) -> None:
    test = rows(summaries=False)
    if not test_has_topics:
        test[3]["topic"] = ""
    _, splits = encode(tmp_path, chat_tokenizer, {"train": rows(), "test": test}, topic=choice)
    texts = [chat_tokenizer.decode(ids) for ids in splits["train"]["input_ids"]]
    assert [f"위 주제 {index} 주제에" in text for index, text in enumerate(texts)] == [expected] * 8
    assert ["위 대화 주제에" in text for text in texts] == [not expected] * 8


def with_instructions(train: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What augment.templates.rate: 4 adds."""
    return [row | {"instruction": index, "source": row["fname"]} for row in train for index in range(1, 5)]


@pytest.mark.parametrize("style", STYLES)
def test_added_rows_have_the_other_instructions(chat_tokenizer: Any, tmp_path: Path, style: str) -> None:
    train, test = rows(LONG), rows(summaries=False)
    splits = {"train": train, "dev": train[:3], "test": test}
    lengths = length_limits(prompt=300)
    report, encoded = encode(tmp_path, chat_tokenizer, splits, lengths=lengths, style=style, added=with_instructions(train))
    assert {split: report[split]["rows"] for split in report} == {"train": 45, "dev": 3, "test": 8}
    assert {split: report[split].get("added") for split in report} == {"train": 36, "dev": None, "test": None}
    assert {split: len(encoded[split]) for split in encoded} == {"train": 45, "dev": 3, "test": 8}
    prompt = prompt_settings(style=style)
    plain_prompts = prediction_prompts(chat_tokenizer, train, lengths, prompt)
    for row, plain_prompt in zip(train, plain_prompts, strict=True):
        variants = [variant for variant in encoded["train"] if variant["fname"] == row["fname"]]
        prompts = [tuple(variant["input_ids"][: variant["labels"].count(-100)]) for variant in variants]
        assert len(set(prompts)) == len(prompts) == 5
        assert tuple(plain_prompt) in prompts  # one variant is the prompt of prediction
        answers = [[id_ for id_ in variant["labels"] if id_ != -100] for variant in variants]
        assert [chat_tokenizer.decode(ids) for ids in answers] == [row["summary"] + chat_tokenizer.eos_token] * 5
        for variant, ids in zip(variants, answers, strict=True):
            assert variant["input_ids"][-len(ids) :] == ids
            assert row["dialogue"].split("\n")[-1] in chat_tokenizer.decode(variant["input_ids"])
    dev_prompts = [row["input_ids"][: len(ids)] for row, ids in zip(encoded["dev"], plain_prompts, strict=False)]
    assert dev_prompts == plain_prompts[:3]
    assert list(encoded["test"]["input_ids"]) == prediction_prompts(chat_tokenizer, test, lengths, prompt)


def test_truncated_prompts_and_summaries_are_counted(chat_tokenizer: Any, tmp_path: Path) -> None:
    turns = [f"#Person{index % 2 + 1}#: {word} 그리고 {'다시 ' * 9}말합니다." for index, word in enumerate("가나다라마")]
    kept = [turns[0], *turns[3:]]
    dialogues = ["#Person1#: 네.", "\n".join(turns), f"#Person1#: {'다시 ' * 200}", "\n".join(kept), LONG_TURN]
    summaries = ["네.", "#Person1#은 묻습니다.", "가", "#Person1#은 #Person2#를 축하합니다. 그리고 다시 축하합니다.", "나"]
    examples = [
        {"fname": str(index), "dialogue": dialogue, "topic": "", "summary": summary}
        for index, (dialogue, summary) in enumerate(zip(dialogues, summaries, strict=True))
    ]
    unlimited = prompts.PromptBuilder(chat_tokenizer, prompt_settings(), 10**6, names_topic=False, truncation="middle")
    lengths = [len(chat_tokenizer(unlimited.render(dialogue), add_special_tokens=False).input_ids) for dialogue in dialogues]
    targets = [len(chat_tokenizer(summary, add_special_tokens=False).input_ids) + 1 for summary in summaries]
    longest = sorted(targets)[-2]  # one summary is longer
    limits = length_limits(prompt=lengths[3] + 5, answer=longest)
    report, splits = encode(tmp_path, chat_tokenizer, {"train": examples, "test": examples[:1]}, lengths=limits)
    kept_tokens = [sum(label == -100 for label in labels) for labels in splits["train"]["labels"]]
    assert report["train"]["prompt"] == {
        "tokens": sum(lengths),
        "tokens_left_out": sum(lengths) - sum(kept_tokens),
        "tokens_left_out_share": round(1 - sum(kept_tokens) / sum(lengths), 6),
        "turns": 1 + 5 + 1 + 3 + 2,
        "tokens_mean": round(sum(lengths) / 5, 2),
        "tokens_p95": max(lengths),
        "tokens_max": max(lengths),
        "truncated": 3,  # five turns to three, and both dialogues with a long turn
        "turns_left_out": 2 + 1,
        "turns_cut": 2,
        "unknown_tokens": 0,
        "control_tokens": 0,
        "unknown_characters": {},
        "truncated_share": 0.6,
        "unknown_share": 0,
    }
    assert report["train"]["summary"] == {
        "tokens": sum(targets),
        "tokens_left_out": max(targets) - longest,
        "tokens_left_out_share": round((max(targets) - longest) / sum(targets), 6),
        "tokens_mean": round(sum(targets) / 5, 2),
        "tokens_p95": max(targets),
        "tokens_max": max(targets),
        "truncated": 1,
        "unknown_tokens": 0,
        "control_tokens": 0,
        "unknown_characters": {},
        "unreachable": 0,
        "rewritten_characters": {},
        "truncated_share": 0.2,
        "unknown_share": 0,
    }
    assert report["test"]["prompt"]["truncated"] == report["test"]["prompt"]["turns_left_out"] == 0
    assert max(splits["train"]["length"]) <= limits.max_input_length + longest


def test_eos_does_not_count_as_unknown_if_it_is_also_the_unknown_token(chat_tokenizer: Any, tmp_path: Path) -> None:
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.unk_token = tokenizer.eos_token
    report, _ = encode(tmp_path, tokenizer, {"train": rows()}, style="instruction")
    assert report["train"]["prompt"]["unknown_tokens"] == 0
    assert report["train"]["summary"]["unknown_tokens"] == 0


def test_an_empty_summary_is_an_error_that_names_the_row(chat_tokenizer: Any, tmp_path: Path) -> None:
    examples = rows()
    examples[5]["summary"] = ""
    with pytest.raises(YoyakError, match=r"^row_5: its summary has no token"):
        encode(tmp_path, chat_tokenizer, {"train": examples})
    assert not list((tmp_path / "out").iterdir())


def test_a_limit_too_small_for_the_prompt_is_a_clear_error(chat_tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match=r"^tokenizer\.max_input_length: 20 is too small"):
        encode(tmp_path, chat_tokenizer, {"train": rows()}, lengths=length_limits(prompt=20))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_two_runs_give_the_same_bytes(chat_tokenizer: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        encode(tmp_path / name, copy.deepcopy(chat_tokenizer), {"train": rows(LONG)}, added=with_instructions(rows(LONG)))
    assert contents(tmp_path / "a" / "out") == contents(tmp_path / "b" / "out")


@pytest.mark.slow
@pytest.mark.parametrize("with_added", [False, True])
def test_the_number_of_workers_does_not_change_the_bytes(
    chat_tokenizer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    with_added: bool,
) -> None:
    monkeypatch.setattr(tokenized_data, "ROWS_FOR_SEVERAL_PROCESSES", 100)
    examples = [row | {"fname": f"{index}_{row['fname']}"} for index in range(150) for row in rows()]  # several batches
    results = {
        workers: encode(
            tmp_path / str(workers),
            chat_tokenizer,
            {"train": examples},
            workers=workers,
            added=with_instructions(examples) if with_added else None,
        )
        for workers in (1, 2)
    }
    assert "num_proc=2" in capfd.readouterr().err
    assert results[1][0] == results[2][0]
    assert contents(tmp_path / "1" / "out") == contents(tmp_path / "2" / "out")
