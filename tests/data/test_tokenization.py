import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import processors

from tests.conftest import DIALOGUES, SHARED, SUMMARIES, batch_encoders, encode_for_prediction
from yoyak.config.sections import Prompt, Tokenizer
from yoyak.data import pair_encoding, tokenized_data
from yoyak.inference import outputs
from yoyak.models.tokenizer_loading import load_tokenizer
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import write_jsonl

KOBART = SHARED / "tokenizers" / "kobart"
TAGS = ("#Person1#", "#Person2#", "#Person3#", "#PhoneNumber#")
EOS = 1
ASK = Prompt(style="structured", system=None, topic="auto", augmentation="none")


def lengths(max_input_length: int = 64, max_target_length: int = 32) -> Tokenizer:
    return Tokenizer(max_input_length=max_input_length, max_target_length=max_target_length, special_tokens=[*TAGS])


@pytest.fixture
def tokenizer(tiny: Path) -> Any:
    return load_tokenizer(str(tiny), None, TAGS)


@pytest.fixture
def ending(tokenizer: Any) -> Any:
    """A tokenizer that ends its texts itself, as T5's does."""
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", EOS)])
    assert tokenizer("가").input_ids[-1] == EOS
    return tokenizer


def rows(*, summaries: Sequence[str] | None = SUMMARIES) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for at, dialogue in enumerate(DIALOGUES):
        made.append({"fname": f"row_{at}", "dialogue": dialogue, "topic": ""})
        if summaries is not None:
            made[-1] |= {"summary": summaries[at], "references": [summaries[at]]}
    return made


def encode(
    folder: Path, tokenizer: Any, splits: dict[str, list[dict[str, Any]]], *, workers: int = 1, **limits: int
) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {split: folder / f"{split}.jsonl" for split in splits}
    for split, made in splits.items():
        write_jsonl(paths[split], made)
    made_by = batch_encoders("kobart", tokenizer, lengths(**limits), ASK)
    return tokenized_data.encode_files(paths, folder / "out", made_by, workers=workers)


def test_inputs_and_targets_are_the_texts_ids_and_one_eos(tokenizer: Any) -> None:
    for encode_texts, texts in ((pair_encoding.encode_sources, DIALOGUES), (pair_encoding.encode_targets, SUMMARIES)):
        for ids, text in zip(encode_texts(tokenizer, texts, 1000), texts, strict=True):
            assert ids == [*tokenizer(text).input_ids, EOS]
            assert tokenizer.decode(ids) == text + "</s>"


def test_exact_ids(tokenizer: Any) -> None:
    tag, newline, colon = (tokenizer.convert_tokens_to_ids(name) for name in ("#Person1#", "Ċ", ":"))
    assert pair_encoding.encode_sources(tokenizer, ["#Person1#:\n#Person1#"], 100) == [[tag, colon, newline, tag, EOS]]


@pytest.mark.parametrize("limit", [2, 3, 5, 8])
def test_eos_ends_also_what_was_cut(tokenizer: Any, limit: int) -> None:
    text = SUMMARIES[3]
    whole = tokenizer(text).input_ids
    for encode_texts in (pair_encoding.encode_sources, pair_encoding.encode_targets):
        assert encode_texts(tokenizer, [text], limit) == [[*whole[: limit - 1], EOS]]


def test_a_text_of_just_the_limit_is_not_cut(tokenizer: Any) -> None:
    whole = [*tokenizer(SUMMARIES[0]).input_ids, EOS]
    assert pair_encoding.encode_targets(tokenizer, [SUMMARIES[0]], len(whole)) == [whole]
    assert pair_encoding.encode_targets(tokenizer, [SUMMARIES[0]], len(whole) - 1) == [[*whole[:-2], EOS]]


def test_a_tokenizer_that_adds_its_own_eos_gives_one(ending: Any) -> None:
    for encode_texts in (pair_encoding.encode_sources, pair_encoding.encode_targets):
        (ids,) = encode_texts(ending, [SUMMARIES[0]], 100)
        assert ids.count(EOS) == 1
        assert ending.decode(ids) == SUMMARIES[0] + "</s>"
        (cut,) = encode_texts(ending, [SUMMARIES[0]], 5)
        assert cut == [*ids[:4], EOS]


def test_truncation_and_padding_baked_into_the_tokenizer_do_nothing(tokenizer: Any) -> None:
    """A published KoBART tokenizer has a truncation of 100 in its tokenizer.json."""
    expected = pair_encoding.encode_sources(tokenizer, DIALOGUES, 1000)
    tokenizer.backend_tokenizer.enable_truncation(5)
    tokenizer.backend_tokenizer.enable_padding(pad_id=2, length=300)
    assert pair_encoding.encode_sources(tokenizer, DIALOGUES, 1000) == expected


TEXTS = (
    "#Person1#은 밥을 먹습니다.",
    "#Person1#과 #Person2#는 #Person3#에게 #PhoneNumber#로 전화합니다.",
    "밥을 먹은 #Person1#, #Person2#.",
    "#Person1#: 안녕하세요?\n#Person2#: 네, 안녕하세요.\n#Person1#: 1,000원이에요!",
)


@pytest.mark.parametrize("text", TEXTS)
def test_spacing_comes_back(tokenizer: Any, text: str) -> None:
    assert outputs.decode_tokens(tokenizer, pair_encoding.encode_sources(tokenizer, [text], 1000)) == [text]


@pytest.fixture(scope="module")
def kobart() -> Any:
    if not KOBART.is_dir():
        pytest.skip("no ../shared/tokenizers")
    return load_tokenizer(str(KOBART), None, TAGS)


@pytest.mark.parametrize("text", [*TEXTS, "BI 도구와 KBI :-( ㅠㅠ ^^ 😀"])
def test_spacing_comes_back_with_kobart(kobart: Any, text: str) -> None:
    """Its tokenizer marks BI, smileys and emoji as special; they are text all the same."""
    ids = pair_encoding.encode_targets(kobart, [text], 1000)
    assert outputs.decode_tokens(kobart, ids) == [text]
    assert ids[0][-1] == kobart.eos_token_id
    assert ids[0].count(kobart.eos_token_id) == 1


def test_kobarts_tags_are_single_tokens(kobart: Any) -> None:
    (ids,) = pair_encoding.encode_targets(kobart, ["#Person1#은 밥을 먹습니다."], 100)
    assert ids[0] == kobart.convert_tokens_to_ids("#Person1#") >= 30000
    assert kobart.convert_ids_to_tokens(ids) == ["#Person1#", "은", "▁밥을", "▁먹", "습니다.", "</s>"]
    (cut,) = pair_encoding.encode_targets(kobart, ["#Person1#은 밥을 먹습니다."], 4)
    assert kobart.convert_ids_to_tokens(cut) == ["#Person1#", "은", "▁밥을", "</s>"]


def test_decoding_drops_what_is_no_text(tokenizer: Any) -> None:
    ids = tokenizer(SUMMARIES[0]).input_ids
    assert outputs.decode_tokens(tokenizer, [[EOS, 0, *ids, EOS, 2, 2], [2, 2], []]) == [SUMMARIES[0], "", ""]


def test_decoding_drops_kobarts_unused_tokens(kobart: Any) -> None:
    unused = kobart.convert_tokens_to_ids(["<usr>", "<sys>", "<unused0>", "<mask>"])
    assert outputs.decode_tokens(kobart, [[*unused, *kobart("밥").input_ids, 3]]) == ["밥"]


def test_files_to_a_dataset(tokenizer: Any, tmp_path: Path) -> None:
    encode(tmp_path, tokenizer, {"train": rows(), "test": rows(summaries=None)})
    splits = tokenized_data.load_tokenized(tmp_path / "out")
    assert {split: set(splits[split].column_names) for split in splits} == {
        "train": {"fname", "input_ids", "labels", "length"},
        "test": {"fname", "input_ids", "length"},
    }
    assert list(splits["train"]["fname"]) == [f"row_{at}" for at in range(8)]
    assert list(splits["train"]["input_ids"]) == pair_encoding.encode_sources(tokenizer, DIALOGUES, 64)
    assert list(splits["train"]["labels"]) == pair_encoding.encode_targets(tokenizer, SUMMARIES, 32)
    assert list(splits["test"]["length"]) == [len(ids) for ids in splits["test"]["input_ids"]]
    assert {path.name for path in tmp_path.iterdir()} == {"train.jsonl", "test.jsonl", "out", "tiny"}  # no scratch is left


def test_datasets_are_memory_mapped(tokenizer: Any, tmp_path: Path) -> None:
    encode(tmp_path, tokenizer, {"train": rows()})
    splits = tokenized_data.load_tokenized(tmp_path / "out")
    (file,) = splits["train"].cache_files
    assert Path(file["filename"]).parent == tmp_path / "out" / "train"
    maps = Path("/proc/self/maps")
    if maps.is_file():
        assert file["filename"] in maps.read_text(encoding="utf-8")


def test_truncation_is_counted(tokenizer: Any, tmp_path: Path) -> None:
    lengths = [len(tokenizer(text).input_ids) + 1 for text in DIALOGUES]
    limit = sorted(lengths)[-3]  # two are longer
    report = encode(tmp_path, tokenizer, {"train": rows(), "test": rows(summaries=None)}, max_input_length=limit)
    assert report["train"]["rows"] == 8
    assert report["train"]["dialogue"] == {
        "tokens_mean": round(sum(lengths) / 8, 2),
        "tokens_p95": max(lengths),
        "tokens_max": max(lengths),
        "truncated": 2,
        "truncated_share": 0.25,
        "unknown_tokens": 0,
        "unknown_share": 0,
    }
    assert set(report["train"]) == {"rows", "dialogue", "summary"}
    assert set(report["test"]) == {"rows", "dialogue"}
    assert max(tokenized_data.load_tokenized(tmp_path / "out")["train"]["length"]) == limit


def test_unknown_tokens_are_counted(kobart: Any, tmp_path: Path) -> None:
    unknown = "뷁 쀍"
    expected = kobart(unknown).input_ids.count(kobart.unk_token_id)
    assert expected > 0
    made = [{"fname": "a", "dialogue": f"#Person1#: {unknown}", "summary": "밥"}]
    report = encode(tmp_path, kobart, {"train": made})
    assert report["train"]["dialogue"]["unknown_tokens"] == expected
    assert report["train"]["summary"]["unknown_tokens"] == 0


def test_an_empty_summary_is_refused_by_name(tokenizer: Any, tmp_path: Path) -> None:
    made = rows()
    made[5]["summary"] = ""
    with pytest.raises(YoyakError, match=r"^row_5: its summary has no token"):
        encode(tmp_path, tokenizer, {"train": made})
    assert not list((tmp_path / "out").iterdir())


def test_text_that_looks_like_a_date_stays_text(tokenizer: Any, tmp_path: Path) -> None:
    made = [{"fname": "2024-11-20", "dialogue": "2024-11-20", "summary": "2024-11-21"}]
    encode(tmp_path, tokenizer, {"train": made})
    row = tokenized_data.load_tokenized(tmp_path / "out")["train"][0]
    assert row["fname"] == "2024-11-20"
    assert outputs.decode_tokens(tokenizer, [row["labels"]]) == ["2024-11-21"]


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
    for name, data in first.items():  # nothing of where or when it ran
        assert str(tmp_path).encode() not in data, name


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tokenized_data, "ROWS_FOR_SEVERAL_PROCESSES", 100)
    made = [row | {"fname": f"{at}_{row['fname']}"} for at in range(150) for row in rows()]  # more than one batch of 500
    tokenizer = load_tokenizer(str(tiny), None, TAGS)
    for workers in (1, 2, 3):
        encode(tmp_path / str(workers), tokenizer, {"train": made}, workers=workers)
    assert "num_proc=3" in capfd.readouterr().err
    first = contents(tmp_path / "1" / "out")
    assert contents(tmp_path / "2" / "out") == first
    assert contents(tmp_path / "3" / "out") == first
    made[-1]["summary"] = ""
    with pytest.raises(YoyakError, match=r"^149_row_7: its summary has no token"):  # an error crosses from a worker whole
        encode(tmp_path / "bad", tokenizer, {"train": made}, workers=2)


@pytest.mark.parametrize("damage", ["missing", "no state", "cut arrow", "no arrow"])
def test_a_damaged_set_is_one_clear_error(tokenizer: Any, tmp_path: Path, damage: str) -> None:
    encode(tmp_path, tokenizer, {"train": rows()})
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
def test_a_damaged_input_file_is_one_clear_error(tokenizer: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(YoyakError, match=r"train\.jsonl"):
        tokenized_data.encode_files(
            {"train": path},
            tmp_path / "out",
            batch_encoders("kobart", tokenizer, lengths(9, 9), ASK),
            workers=1,
        )


@pytest.mark.parametrize("limit", [9, 20, 128])
def test_prediction_reads_what_training_read(tokenizer: Any, tmp_path: Path, limit: int) -> None:
    """Each dialogue is cut to the limit, the same way, with its EOS."""
    encode(tmp_path, tokenizer, {"train": rows()}, max_input_length=limit)
    made = rows(summaries=None)
    read = encode_for_prediction("kobart", made, tokenizer, lengths(limit), ASK)
    assert read == list(tokenized_data.load_tokenized(tmp_path / "out")["train"]["input_ids"])
    assert max(map(len, read)) <= limit
    assert all(ids[-1] == EOS for ids in read)


def test_every_split_has_its_encoder(tokenizer: Any) -> None:
    made_by = batch_encoders("kobart", tokenizer, lengths(), ASK)
    assert set(made_by) == {"train", "dev", "test"}
