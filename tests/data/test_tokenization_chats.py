"""Rows of the qlora family: prompt and target in one, only the target taught."""

import copy
from pathlib import Path
from typing import Any

import datasets
import pytest
from tokenizers import processors

from tests.conftest import DIALOGUES, SUMMARIES, batch_encoders, encode_for_prediction
from yoyak.config.sections import Prompt, Tokenizer
from yoyak.data import prompts, tokenized_data
from yoyak.inference import outputs
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import write_jsonl

STYLES = ("structured", "plain", "instruction")
LONG = "\n".join(f"#Person{at % 3 + 1}#: {at}번째 말입니다. {'그리고 ' * (at % 5)}끝." for at in range(30))
MONSTER = f"#Person1#: 네?\n#Person2#: {' '.join(f'{at}번째 말입니다.' for at in range(200))}"


@pytest.fixture(params=["chat", "qwen3"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("chat_tokenizer" if request.param == "chat" else request.param)


def ask(**changes: Any) -> Prompt:
    return Prompt(**({"style": "structured", "system": None, "topic": "auto", "augmentation": "none"} | changes))


def settings(read: int = 2000, written: int = 100) -> Tokenizer:
    return Tokenizer(max_input_length=read, max_target_length=written, special_tokens=[])


def rows(*more: str, topics: bool = True, summaries: bool = True) -> list[dict[str, Any]]:
    """Rows of the examples, and of dialogues `more`."""
    made: list[dict[str, Any]] = []
    for at, dialogue in enumerate([*DIALOGUES, *more]):
        made.append({"fname": f"row_{at}", "dialogue": dialogue, "topic": f"주제 {at}" if topics else ""})
        if summaries:
            made[-1]["summary"] = SUMMARIES[at % len(SUMMARIES)]
    return made


def predicted(tokenizer: Any, made: list[dict[str, Any]], lengths: Tokenizer, asked: Prompt) -> list[list[int]]:
    """What prediction gives the model for these rows."""
    bare = [{name: row[name] for name in ("fname", "dialogue", "topic")} for row in made]
    return encode_for_prediction("qlora", bare, tokenizer, lengths, asked)


def encode(
    folder: Path,
    tokenizer: Any,
    splits: dict[str, list[dict[str, Any]]],
    *,
    lengths: Tokenizer | None = None,
    workers: int = 1,
    **asked: Any,
) -> tuple[dict[str, Any], datasets.DatasetDict]:
    """The report and the splits; prompts name the topic if all of `splits["test"]` do (or there is no test split)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {split: folder / f"{split}.jsonl" for split in splits}
    for split, made in splits.items():
        write_jsonl(paths[split], made)
    encoders = batch_encoders("qlora", tokenizer, lengths or settings(), ask(**asked), splits.get("test", []))
    report = tokenized_data.encode_files(paths, folder / "out", encoders, workers=workers)
    return report, tokenized_data.load_tokenized(folder / "out")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("system", [None, "짧게."], ids=["no system", "system"])
def test_a_row_is_what_prediction_reads_and_then_its_summary(
    tokenizer: Any, tmp_path: Path, style: str, system: str | None
) -> None:
    made, lengths = rows(LONG, MONSTER), settings(read=190)
    _, splits = encode(tmp_path, tokenizer, {"train": made}, lengths=lengths, style=style, system=system)
    prompts = predicted(tokenizer, made, lengths, ask(style=style, system=system))
    for row, source, read in zip(splits["train"], made, prompts, strict=True):
        assert row["fname"] == source["fname"]
        assert row["input_ids"][: len(read)] == read
        assert row["labels"] == [-100] * len(read) + row["input_ids"][len(read) :]
        assert row["length"] == len(row["input_ids"]) == len(row["labels"])
        taught = [id_ for id_ in row["labels"] if id_ != -100]
        assert tokenizer.decode(taught) == source["summary"] + tokenizer.eos_token
        assert taught.count(tokenizer.eos_token_id) == 1
        assert outputs.decode_tokens(tokenizer, [taught]) == [source["summary"]]
    assert [len(read) <= 190 for read in prompts] == [True] * len(made)
    assert [len(read) > 150 for read in prompts[-2:]] == [True] * 2


def test_prompt_and_summary_are_tokenized_apart(qwen3: Any, tmp_path: Path) -> None:
    """Else the prompt's last newline and the summary's first character could be one token, which prediction never reads."""
    made = [rows()[0] | {"summary": "\n비가 온다."}]
    (read,) = predicted(qwen3, made, settings(), ask(style="instruction"))
    target = qwen3("\n비가 온다.", add_special_tokens=False).input_ids
    assert qwen3(qwen3.decode(read) + "\n비가 온다.").input_ids != read + target
    _, splits = encode(tmp_path, qwen3, {"train": made}, style="instruction")
    assert splits["train"]["input_ids"][0] == [*read, *target, qwen3.eos_token_id]


@pytest.mark.parametrize("style", STYLES)
def test_a_tokenizer_that_ends_texts_ends_a_row_once(chat_tokenizer: Any, tmp_path: Path, style: str) -> None:
    ending = copy.deepcopy(chat_tokenizer)
    begin, end = ending.bos_token, ending.eos_token
    ending.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, ending.bos_token_id), (end, ending.eos_token_id)]
    )
    _, expected = encode(tmp_path / "a", chat_tokenizer, {"train": rows()}, style=style)
    _, found = encode(tmp_path / "b", ending, {"train": rows()}, style=style)
    for column in ("input_ids", "labels"):
        assert list(found["train"][column]) == list(expected["train"][column])
    assert all(ids.count(ending.bos_token_id) == 1 for ids in found["train"]["input_ids"])


@pytest.mark.parametrize("limit", [4, 6])
def test_eos_ends_also_a_summary_that_was_cut(tokenizer: Any, tmp_path: Path, limit: int) -> None:
    _, splits = encode(tmp_path, tokenizer, {"train": rows()}, lengths=settings(written=limit))
    for labels, ids, text in zip(splits["train"]["labels"], splits["train"]["input_ids"], SUMMARIES, strict=True):
        whole = tokenizer(text, add_special_tokens=False).input_ids
        assert [id_ for id_ in labels if id_ != -100] == [*whole[: limit - 1], tokenizer.eos_token_id]
        assert ids[-limit:] == labels[-limit:]


def test_rows_without_a_summary_are_prompts_alone(chat_tokenizer: Any, tmp_path: Path) -> None:
    made = rows(summaries=False)
    report, splits = encode(tmp_path, chat_tokenizer, {"train": rows(), "test": made})
    assert {split: set(splits[split].column_names) for split in splits} == {
        "train": {"fname", "input_ids", "labels", "length"},
        "test": {"fname", "input_ids", "length"},
    }
    assert list(splits["test"]["input_ids"]) == predicted(chat_tokenizer, made, settings(), ask())
    assert list(splits["test"]["length"]) == [len(ids) for ids in splits["test"]["input_ids"]]
    assert {split: set(counts) for split, counts in report.items()} == {
        "train": {"rows", "prompt", "summary"},
        "test": {"rows", "prompt"},
    }


@pytest.mark.parametrize(
    ("choice", "named_in_test", "expected"),
    [("auto", True, True), ("auto", False, False), ("always", False, True), ("never", True, False)],
)
def test_train_prompts_name_a_topic_if_test_prompts_can(
    chat_tokenizer: Any, tmp_path: Path, choice: str, named_in_test: bool, expected: bool
) -> None:
    test = rows(summaries=False)
    if not named_in_test:
        test[3]["topic"] = ""
    _, splits = encode(tmp_path, chat_tokenizer, {"train": rows(), "test": test}, topic=choice)
    asked = [chat_tokenizer.decode(ids) for ids in splits["train"]["input_ids"]]
    assert [f"위 주제 {at} 주제에" in text for at, text in enumerate(asked)] == [expected] * 8
    assert ["위 대화 주제에" in text for text in asked] == [not expected] * 8


@pytest.mark.parametrize("style", STYLES)
def test_augmentation_asks_each_train_row_five_ways(chat_tokenizer: Any, tmp_path: Path, style: str) -> None:
    train, test = rows(LONG), rows(summaries=False)
    splits = {"train": train, "dev": train[:3], "test": test}
    lengths = settings(read=300)
    report, encoded = encode(tmp_path, chat_tokenizer, splits, lengths=lengths, style=style, augmentation="templates")
    assert {split: report[split]["rows"] for split in report} == {"train": 45, "dev": 3, "test": 8}
    assert {split: len(encoded[split]) for split in encoded} == {"train": 45, "dev": 3, "test": 8}
    asked = ask(style=style)
    once = predicted(chat_tokenizer, train, lengths, asked)
    for row, read in zip(train, once, strict=True):
        five = [one for one in encoded["train"] if one["fname"] == row["fname"]]
        prompts = [tuple(one["input_ids"][: one["labels"].count(-100)]) for one in five]
        assert len(set(prompts)) == len(prompts) == 5
        assert tuple(read) in prompts  # one of them is the question that prediction asks
        taught = [[id_ for id_ in one["labels"] if id_ != -100] for one in five]
        assert [chat_tokenizer.decode(ids) for ids in taught] == [row["summary"] + chat_tokenizer.eos_token] * 5
        for one, ids in zip(five, taught, strict=True):
            assert one["input_ids"][-len(ids) :] == ids
            assert row["dialogue"].split("\n")[-1] in chat_tokenizer.decode(one["input_ids"])
    assert [row["input_ids"][: len(read)] for row, read in zip(encoded["dev"], once, strict=False)] == once[:3]
    assert list(encoded["test"]["input_ids"]) == predicted(chat_tokenizer, test, lengths, asked)


def test_what_was_left_out_is_counted(chat_tokenizer: Any, tmp_path: Path) -> None:
    turns = [f"#Person{at % 2 + 1}#: {word} 그리고 {'다시 ' * 9}말합니다." for at, word in enumerate("가나다라마")]
    kept = [turns[0], *turns[3:]]
    dialogues = ["#Person1#: 네.", "\n".join(turns), f"#Person1#: {'다시 ' * 200}", "\n".join(kept), MONSTER]
    summaries = ["네.", "#Person1#은 묻습니다.", "가", "#Person1#은 #Person2#를 축하합니다. 그리고 다시 축하합니다.", "나"]
    made = [
        {"fname": str(at), "dialogue": dialogue, "topic": "", "summary": summary}
        for at, (dialogue, summary) in enumerate(zip(dialogues, summaries, strict=True))
    ]
    whole = prompts.PromptBuilder(chat_tokenizer, ask(), max_length=10**6, names_topic=False)
    lengths = [len(chat_tokenizer(whole.render(dialogue), add_special_tokens=False).input_ids) for dialogue in dialogues]
    targets = [len(chat_tokenizer(summary, add_special_tokens=False).input_ids) + 1 for summary in summaries]
    longest = sorted(targets)[-2]  # one summary is longer
    limits = settings(read=lengths[3] + 5, written=longest)
    report, splits = encode(tmp_path, chat_tokenizer, {"train": made, "test": made[:1]}, lengths=limits)
    assert report["train"]["prompt"] == {
        "tokens_mean": round(sum(lengths) / 5, 2),
        "tokens_p95": max(lengths),
        "tokens_max": max(lengths),
        "truncated": 3,  # five turns to three, and the two monsters
        "turns_left_out": 2 + 1,
        "turns_cut": 2,
        "unknown_tokens": 0,
        "truncated_share": 0.6,
        "unknown_share": 0,
    }
    assert report["train"]["summary"] == {
        "tokens_mean": round(sum(targets) / 5, 2),
        "tokens_p95": max(targets),
        "tokens_max": max(targets),
        "truncated": 1,
        "unknown_tokens": 0,
        "truncated_share": 0.2,
        "unknown_share": 0,
    }
    assert report["test"]["prompt"]["truncated"] == report["test"]["prompt"]["turns_left_out"] == 0
    assert max(splits["train"]["length"]) <= limits.max_input_length + longest


def test_an_end_that_is_also_the_unknown_token_is_not_counted_as_unknown(chat_tokenizer: Any, tmp_path: Path) -> None:
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.unk_token = tokenizer.eos_token
    report, _ = encode(tmp_path, tokenizer, {"train": rows()}, style="instruction")
    assert report["train"]["prompt"]["unknown_tokens"] == 0
    assert report["train"]["summary"]["unknown_tokens"] == 0


def test_an_empty_summary_is_refused_by_name(chat_tokenizer: Any, tmp_path: Path) -> None:
    made = rows()
    made[5]["summary"] = ""
    with pytest.raises(YoyakError, match=r"^row_5: its summary has no token"):
        encode(tmp_path, chat_tokenizer, {"train": made})
    assert not list((tmp_path / "out").iterdir())


def test_too_little_room_is_one_clear_error(chat_tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match=r"^tokenizer\.max_input_length: 20 is too small"):
        encode(tmp_path, chat_tokenizer, {"train": rows()}, lengths=settings(read=20))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_two_runs_give_the_same_bytes(chat_tokenizer: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        encode(tmp_path / name, copy.deepcopy(chat_tokenizer), {"train": rows(LONG)}, augmentation="templates")
    assert contents(tmp_path / "a" / "out") == contents(tmp_path / "b" / "out")


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", ["none", "templates"])
def test_the_number_of_workers_changes_nothing(
    chat_tokenizer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    augmentation: str,
) -> None:
    monkeypatch.setattr(tokenized_data, "ROWS_FOR_SEVERAL_PROCESSES", 100)
    made = [row | {"fname": f"{at}_{row['fname']}"} for at in range(150) for row in rows()]  # more than one batch of 500
    found = {
        workers: encode(tmp_path / str(workers), chat_tokenizer, {"train": made}, workers=workers, augmentation=augmentation)
        for workers in (1, 2)
    }
    assert "num_proc=2" in capfd.readouterr().err
    assert found[1][0] == found[2][0]
    assert contents(tmp_path / "1" / "out") == contents(tmp_path / "2" / "out")
