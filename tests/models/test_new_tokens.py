"""tokenizer.new_tokens: words of train that become tokens."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import normalizers

from tests.conftest import load_trained
from yoyak.config.model_settings import SETTINGS_FILE, ModelSettings
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.data import tokenized_data
from yoyak.evaluation.morphemes import Morphemes
from yoyak.models import new_tokens
from yoyak.models.families.lookup import family_named
from yoyak.models.tokenizer_loading import load_tokenizer, save_tokenizer
from yoyak.system.errors import YoyakError

ROOT = Path(__file__).parents[2]
TAGS = ["#Person1#", "#Person2#"]
WORDS = [" 훌라후프", " 뮤지컬"]  # neither is a token of kobart-tiny or llama-tiny
DIALOGUE = "#Person1#: 오늘 훌라후프를 샀어요.\n#Person2#: 저는 뮤지컬을 봤어요. 훌라후프는 싫어요."
BASES = {"kobart": "models/base/kobart-tiny", "qlora": "models/base/llama-tiny"}


def tokenizer_of(family: str = "kobart") -> Any:
    return load_tokenizer(str(ROOT / BASES[family]), None, TAGS, pad_with_eos=True)


def write_rows(path: Path, *dialogues: str) -> Path:
    rows = [json.dumps({"dialogue": text, "summary": "둘은 훌라후프 이야기를 한다."}, ensure_ascii=False) for text in dialogues]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def params(values: dict[str, Any]) -> Params:
    for family, base in BASES.items():
        values["model"][family]["checkpoint"] = str(ROOT / base)
    values["model"]["qlora"]["quantization"] = "none"
    values["tokenizer"]["new_tokens"] = 2
    return parse_params(values, source="test")


def test_words_are_first_morphemes_with_the_space_before_them() -> None:
    found = Counter(
        new_tokens.word_starts("훌라후프를 훌라후프를 그 국회의원이\n화자1: 화자2는 말했다 2024년 KTX", Morphemes())
    )
    assert found[" 훌라후프"] == 1  # the first one follows no space
    assert not {" 그", " 화자", " 를", " KTX", " 의원"} & set(found)
    assert all(word[0] == " " for word in found)


def test_the_most_frequent_words_that_the_tokenizer_splits_are_taken() -> None:
    tokenizer = tokenizer_of()
    known = next(word for word in (" 오늘", " 내일", " 회사") if len(tokenizer(word, add_special_tokens=False).input_ids) == 1)
    texts = [f"저는{known} 훌라후프를 봤어요."] * 6 + ["저는 뮤지컬을 봤어요."] * 5 + ["저는 콩국수를 먹어요."] * 4
    assert new_tokens.frequent_words(texts, tokenizer, 9) == WORDS  # 콩국수 is too rare, and the tokenizer knows the others
    assert new_tokens.frequent_words(texts, tokenizer, 1) == WORDS[:1]


@pytest.mark.parametrize("family", BASES)
def test_words_become_one_token_and_texts_stay_the_same(family: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(family)
    before = tokenizer(DIALOGUE, add_special_tokens=False).input_ids
    said = new_tokens.add_compared(tokenizer, WORDS, write_rows(tmp_path / "train.jsonl", DIALOGUE), "base")
    ids = tokenizer(DIALOGUE, add_special_tokens=False).input_ids
    assert [tokenizer.convert_tokens_to_ids(word) for word in WORDS] == sorted(set(ids) - set(before))
    assert tokenizer.decode(ids) == DIALOGUE and len(ids) < len(before)
    assert "2 words are new tokens (훌라후프, 뮤지컬 …)" in said
    save_tokenizer(tokenizer, tmp_path)
    (tmp_path / "config.json").symlink_to(ROOT / BASES[family] / "config.json")
    assert load_tokenizer(str(tmp_path), None, ())(DIALOGUE, add_special_tokens=False).input_ids == ids


def test_a_tokenizer_that_would_change_texts_is_refused(tmp_path: Path) -> None:
    """Llama 2's writes a space before each piece between added tokens."""
    tokenizer = tokenizer_of()
    tokenizer.backend_tokenizer.normalizer = normalizers.Prepend("=")
    with pytest.raises(YoyakError, match=r"tokenizer.new_tokens: words cannot be added to the tokenizer of base.*set it to 0"):
        new_tokens.add_compared(tokenizer, WORDS, write_rows(tmp_path / "train.jsonl", DIALOGUE), "base")


def test_the_stage_asks_for_words_that_exist(params: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = write_rows(tmp_path / "train.jsonl", *[DIALOGUE] * 5)
    assert new_tokens.add_chosen(params, tokenizer_of(), train) == WORDS
    assert "fewer tokens" in capsys.readouterr().out
    more = params.model_copy(update={"tokenizer": params.tokenizer.model_copy(update={"new_tokens": 50})})
    new_tokens.add_chosen(more, tokenizer_of(), train)
    assert "50 were asked for" in capsys.readouterr().out
    with pytest.raises(YoyakError, match="none can be added; set it to 0"):
        new_tokens.add_chosen(params, tokenizer_of(), write_rows(tmp_path / "few.jsonl", DIALOGUE))
    off = params.model_copy(update={"tokenizer": params.tokenizer.model_copy(update={"new_tokens": 0})})
    assert new_tokens.add_chosen(off, tokenizer_of(), tmp_path / "no such file") == []
    tokenized_data.write_words(tmp_path, [])
    assert not (tmp_path / tokenized_data.NEW_TOKENS).exists() and tokenized_data.read_words(tmp_path) == []
    tokenized_data.write_words(tmp_path, WORDS)
    assert tokenized_data.read_words(tmp_path) == WORDS


@pytest.mark.parametrize("family", BASES)
def test_embeddings_start_as_the_mean_of_the_pieces_and_are_saved(family: str, params: Params, tmp_path: Path) -> None:
    own, setup = tokenizer_of(family), family_named(family).prepare_training(params, WORDS)
    ids = setup.tokenizer.convert_tokens_to_ids(WORDS)
    pieces = [own(word, add_special_tokens=False).input_ids for word in WORDS]
    assert ids == [len(own), len(own) + 1] and min(map(len, pieces)) > 1
    for layer in (setup.model.get_input_embeddings(), setup.model.get_output_embeddings()):
        weight = getattr(layer, "base_layer", layer).weight
        for token, parts in zip(ids, pieces, strict=True):
            torch.testing.assert_close(weight[token], weight[parts].mean(0))
    trained = dict(setup.model.named_parameters())
    if family == "qlora":
        rows = next(value for name, value in trained.items() if "trainable_tokens_delta" in name)
        assert rows.requires_grad and rows.shape[0] == 2 + len(set(TAGS) - set(own.get_vocab()))
    else:
        rows = setup.model.get_input_embeddings().weight
        assert rows.requires_grad
    with torch.no_grad():
        rows[-2:] += 1  # as a training changes them
    (tmp_path / "model").mkdir()
    setup.save(tmp_path / "model")
    model, tokenizer = load_trained(tmp_path / "model")
    assert tokenizer.convert_tokens_to_ids(WORDS) == ids
    torch.testing.assert_close(model.get_input_embeddings().weight[ids], rows[-2:].detach())


def test_the_settings_of_a_model_do_not_name_them(params: Params, tmp_path: Path) -> None:
    """Its tokenizer has them already, and without new tokens the file has the bytes of before."""
    settings = ModelSettings.model_validate(
        {
            **{"format": 1, "family": "kobart", "preprocess": params.preprocess, "tokenizer": params.tokenizer},
            **{"prompt": None, "names_topic": None, "clean_up": None, "input": None},
        }
    )
    settings.write(tmp_path)
    assert "new_tokens" not in (tmp_path / SETTINGS_FILE).read_text(encoding="utf-8")
    assert (read := ModelSettings.read(tmp_path)) is not None and read.tokenizer.new_tokens == 0
