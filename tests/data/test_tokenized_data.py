"""Tokenized splits on disk, written by the encoders of the family kobart."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, SUMMARIES, WITHOUT_ADDITIONS, batch_encoders, encode_for_prediction
from tests.data.conftest import TAGS
from yoyak.config.sections import Prompt, Tokenizer
from yoyak.data import pair_encoding, tokenized_data
from yoyak.inference import outputs
from yoyak.models.tokenizer_loading import load_tokenizer
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import write_jsonl

EOS = 1
PROMPT = Prompt(style="structured", system=None, topic="auto", **WITHOUT_ADDITIONS)


def length_limits(max_input_length: int = 64, max_target_length: int = 32) -> Tokenizer:
    """The section tokenizer with these limits."""
    return Tokenizer(
        max_input_length=max_input_length,
        max_target_length=max_target_length,
        truncation="middle",
        special_tokens=[*TAGS],
        new_tokens=0,
    )


def rows(*, summaries: Sequence[str] | None = SUMMARIES) -> list[dict[str, Any]]:
    """A processed row for each of DIALOGUES."""
    result: list[dict[str, Any]] = []
    for index, dialogue in enumerate(DIALOGUES):
        result.append({"fname": f"row_{index}", "dialogue": dialogue, "topic": ""})
        if summaries is not None:
            result[-1] |= {"summary": summaries[index], "references": [summaries[index]]}
    return result


def encode(
    folder: Path, tokenizer: Any, splits: dict[str, list[dict[str, Any]]], *, workers: int = 1, **limits: int
) -> dict[str, Any]:
    """Write the rows as JSON lines, encode them into `folder`/out, and return the report."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {split: folder / f"{split}.jsonl" for split in splits}
    for split, split_rows in splits.items():
        write_jsonl(paths[split], split_rows)
    encoders = batch_encoders("kobart", tokenizer, length_limits(**limits), PROMPT)
    return tokenized_data.encode_files(paths, folder / "out", encoders, workers=workers)


def test_files_are_written_as_a_dataset_for_each_split(tiny_tokenizer: Any, tmp_path: Path) -> None:
    encode(tmp_path, tiny_tokenizer, {"train": rows(), "test": rows(summaries=None)})
    splits = tokenized_data.load_tokenized(tmp_path / "out")
    assert {split: set(splits[split].column_names) for split in splits} == {
        "train": {"fname", "input_ids", "labels", "length"},
        "test": {"fname", "input_ids", "length"},
    }
    assert list(splits["train"]["fname"]) == [f"row_{index}" for index in range(8)]
    assert list(splits["train"]["input_ids"]) == pair_encoding.encode_sources(tiny_tokenizer, DIALOGUES, 64)
    assert list(splits["train"]["labels"]) == pair_encoding.encode_targets(tiny_tokenizer, SUMMARIES, 32)
    assert list(splits["test"]["length"]) == [len(ids) for ids in splits["test"]["input_ids"]]
    assert {path.name for path in tmp_path.iterdir()} == {
        "train.jsonl",
        "test.jsonl",
        "out",
        "tiny",
    }  # the scratch folder is deleted


def test_datasets_are_memory_mapped(tiny_tokenizer: Any, tmp_path: Path) -> None:
    encode(tmp_path, tiny_tokenizer, {"train": rows()})
    splits = tokenized_data.load_tokenized(tmp_path / "out")
    (file,) = splits["train"].cache_files
    assert Path(file["filename"]).parent == tmp_path / "out" / "train"
    maps = Path("/proc/self/maps")
    if maps.is_file():
        assert file["filename"] in maps.read_text(encoding="utf-8")


def test_truncation_is_counted(tiny_tokenizer: Any, tmp_path: Path) -> None:
    lengths = [len(tiny_tokenizer(text).input_ids) + 1 for text in DIALOGUES]
    limit = sorted(lengths)[-3]  # two texts are longer
    report = encode(tmp_path, tiny_tokenizer, {"train": rows(), "test": rows(summaries=None)}, max_input_length=limit)
    assert report["train"]["rows"] == 8
    sources = tokenized_data.load_tokenized(tmp_path / "out")["train"]["input_ids"]
    kept = [len(ids) for ids in sources]
    turns = sum(text.count("\n") + 1 for text in DIALOGUES)
    assert report["train"]["dialogue"] == {
        "tokens": sum(lengths),
        "tokens_left_out": sum(lengths) - sum(kept),
        "tokens_left_out_share": round(1 - sum(kept) / sum(lengths), 6),
        "turns": turns,
        "turns_left_out": turns - sum(tiny_tokenizer.decode(ids).count("\n") + 1 for ids in sources),
        "turns_cut": 0,
        "tokens_mean": round(sum(lengths) / 8, 2),
        "tokens_p95": max(lengths),
        "tokens_max": max(lengths),
        "truncated": 2,
        "truncated_share": 0.25,
        "unknown_tokens": 0,
        "control_tokens": 0,
        "unknown_characters": {},
        "unknown_share": 0,
    }
    assert set(report["train"]) == {"rows", "dialogue", "summary"}
    assert set(report["test"]) == {"rows", "dialogue"}
    assert max(kept) <= limit


def test_unknown_tokens_are_counted(kobart_tokenizer: Any, tmp_path: Path) -> None:
    unknown = "뷁 쀍"
    expected = kobart_tokenizer(unknown).input_ids.count(kobart_tokenizer.unk_token_id)
    assert expected > 0
    examples = [{"fname": "a", "dialogue": f"#Person1#: {unknown}", "summary": "밥"}]
    report = encode(tmp_path, kobart_tokenizer, {"train": examples})
    assert report["train"]["dialogue"]["unknown_tokens"] == expected
    assert report["train"]["summary"]["unknown_tokens"] == 0


def test_an_empty_summary_is_an_error_that_names_the_row(tiny_tokenizer: Any, tmp_path: Path) -> None:
    examples = rows()
    examples[5]["summary"] = ""
    with pytest.raises(YoyakError, match=r"^row_5: its summary has no token"):
        encode(tmp_path, tiny_tokenizer, {"train": examples})
    assert not list((tmp_path / "out").iterdir())


def test_text_that_looks_like_a_date_stays_text(tiny_tokenizer: Any, tmp_path: Path) -> None:
    examples = [{"fname": "2024-11-20", "dialogue": "2024-11-20", "summary": "2024-11-21"}]
    encode(tmp_path, tiny_tokenizer, {"train": examples})
    row = tokenized_data.load_tokenized(tmp_path / "out")["train"][0]
    assert row["fname"] == "2024-11-20"
    assert outputs.decode_tokens(tiny_tokenizer, [row["labels"]]) == ["2024-11-21"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_two_runs_give_the_same_bytes(tiny: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        encode(tmp_path / name, load_tokenizer(str(tiny), None, TAGS), {"train": rows(), "dev": rows()[:2]})
    first, second = contents(tmp_path / "a" / "out"), contents(tmp_path / "b" / "out")
    assert first == second
    assert {name for name in first if name.endswith(".arrow")} == {
        "train/data-00000-of-00001.arrow",
        "dev/data-00000-of-00001.arrow",
    }
    for name, data in first.items():  # the path is not part of the files
        assert str(tmp_path).encode() not in data, name


@pytest.mark.slow
def test_the_number_of_workers_does_not_change_the_bytes(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tokenized_data, "ROWS_FOR_SEVERAL_PROCESSES", 100)
    examples = [row | {"fname": f"{index}_{row['fname']}"} for index in range(150) for row in rows()]  # several batches
    tokenizer = load_tokenizer(str(tiny), None, TAGS)
    for workers in (1, 2, 3):
        encode(tmp_path / str(workers), tokenizer, {"train": examples}, workers=workers)
    assert "num_proc=3" in capfd.readouterr().err
    first = contents(tmp_path / "1" / "out")
    assert contents(tmp_path / "2" / "out") == first
    assert contents(tmp_path / "3" / "out") == first
    examples[-1]["summary"] = ""
    with pytest.raises(YoyakError, match=r"^149_row_7: its summary has no token"):  # a worker process raises it
        encode(tmp_path / "bad", tokenizer, {"train": examples}, workers=2)


@pytest.mark.parametrize("damage", ["missing", "no state", "cut arrow", "no arrow"])
def test_a_damaged_dataset_is_a_clear_error(tiny_tokenizer: Any, tmp_path: Path, damage: str) -> None:
    encode(tmp_path, tiny_tokenizer, {"train": rows()})
    folder = tmp_path / "out"
    arrow = folder / "train" / "data-00000-of-00001.arrow"
    if damage == "missing":
        shutil.rmtree(folder)
    elif damage == "no state":
        (folder / "train" / "state.json").unlink()
    elif damage == "cut arrow":
        arrow.write_bytes(arrow.read_bytes()[:200])
    else:
        arrow.unlink()
    with pytest.raises(YoyakError, match="not a readable tokenized data set"):
        tokenized_data.load_tokenized(folder)


@pytest.mark.parametrize("text", ["", "{not json\n", json.dumps({"fname": "a"})[:-3]])
def test_a_damaged_input_file_is_an_error_that_names_it(tiny_tokenizer: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(YoyakError, match=r"train\.jsonl"):
        tokenized_data.encode_files(
            {"train": path},
            tmp_path / "out",
            batch_encoders("kobart", tiny_tokenizer, length_limits(9, 9), PROMPT),
            workers=1,
        )


@pytest.mark.parametrize("limit", [9, 20, 128])
def test_prediction_and_training_encode_dialogues_the_same_way(tiny_tokenizer: Any, tmp_path: Path, limit: int) -> None:
    """Both truncate a dialogue to the limit and end it with EOS."""
    encode(tmp_path, tiny_tokenizer, {"train": rows()}, max_input_length=limit)
    examples = rows(summaries=None)
    encoded = encode_for_prediction("kobart", examples, tiny_tokenizer, length_limits(limit), PROMPT)
    assert encoded == list(tokenized_data.load_tokenized(tmp_path / "out")["train"]["input_ids"])
    assert max(map(len, encoded)) <= limit
    assert all(ids[-1] == EOS for ids in encoded)


def test_every_split_has_an_encoder(tiny_tokenizer: Any) -> None:
    encoders = batch_encoders("kobart", tiny_tokenizer, length_limits(), PROMPT)
    assert set(encoders) == {"train", "dev", "test"}


def test_added_rows_follow_those_of_train_and_are_counted(tiny_tokenizer: Any, tmp_path: Path) -> None:
    added = [row | {"fname": f"{row['fname']}+noise", "source": row["fname"], "method": "noise"} for row in rows()[:3]]
    paths = {split: tmp_path / f"{split}.jsonl" for split in ("train", "dev")}
    for path in paths.values():
        write_jsonl(path, rows())
    write_jsonl(tmp_path / "added.jsonl", added)
    write_jsonl(tmp_path / "none.jsonl", [])
    encoders = batch_encoders("kobart", tiny_tokenizer, length_limits(), PROMPT)
    counts = {}
    for name in ("added", "none"):
        more = tmp_path / f"{name}.jsonl"
        counts[name] = tokenized_data.encode_files(paths, tmp_path / f"out-{name}", encoders, workers=1, added=more)
    splits = tokenized_data.load_tokenized(tmp_path / "out-added")
    assert list(splits["train"]["fname"]) == [row["fname"] for row in [*rows(), *added]]
    assert splits["train"]["input_ids"][8:] == splits["train"]["input_ids"][:3]
    assert [counts["added"][split].get("added") for split in ("train", "dev")] == [3, None]
    assert counts["none"] == tokenized_data.encode_files(paths, tmp_path / "out", encoders, workers=1)
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "out-none" / path.relative_to(tmp_path / "out")).read_bytes()
