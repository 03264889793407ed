"""Checkpoints and their tokenizers: where they are loaded from, their limits, tags and spaces."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import processors
from transformers import T5Config, T5ForConditionalGeneration

from tests.conftest import SHARED, SUMMARIES
from yoyak.data import pair_encoding
from yoyak.inference import outputs
from yoyak.models import checkpoints, tokenizer_loading
from yoyak.system.errors import YoyakError

KOBART = SHARED / "tokenizers" / "kobart"
TAGS = ("#Person1#", "#Person2#", "#Person3#", "#PhoneNumber#")


def edit(file: Path, **changes: object) -> None:
    """Change keys of a JSON file. None removes a key."""
    values = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}), encoding="utf-8")


def make_t5(folder: Path) -> Path:
    """Replace the checkpoint in `folder` by a random T5: its tokenizer adds </s>, and its decoder starts with padding."""
    tokenizer = tokenizer_loading.load_tokenizer(str(folder), None, ())
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.eos_token_id)]
    )
    shutil.rmtree(folder)
    tokenizer.save_pretrained(folder)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=8,
        d_kv=4,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        initializer_factor=4.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(3)
    T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def test_tags_become_single_tokens_that_decoding_keeps(tiny: Path) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(tiny), None, TAGS)
    size = len(tokenizer_loading.load_tokenizer(str(tiny), None, ()))
    assert len(tokenizer) == size + len(TAGS)
    ids = tokenizer("#Person1#은 #PhoneNumber#로").input_ids
    assert ids[0] == tokenizer.convert_tokens_to_ids("#Person1#") >= size
    assert tokenizer.convert_tokens_to_ids("#PhoneNumber#") in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "#Person1#은 #PhoneNumber#로"


def test_tags_that_the_tokenizer_knows_are_not_added_again(tiny: Path, tmp_path: Path) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(tiny), None, TAGS)
    tokenizer.save_pretrained(tmp_path / "again")
    shutil.copy(tiny / "config.json", tmp_path / "again")
    assert tokenizer_loading.load_tokenizer(str(tmp_path / "again"), None, TAGS).get_vocab() == tokenizer.get_vocab()


def test_a_decoder_only_model_pads_with_eos_if_it_has_no_padding_token(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tokenizer_loading.load_tokenizer(str(tiny), None, TAGS, pad_with_eos=True).pad_token == "<pad>"
    assert capsys.readouterr().err == ""
    edit(tiny / "tokenizer_config.json", pad_token=None)
    tokenizer = tokenizer_loading.load_tokenizer(str(tiny), None, TAGS, pad_with_eos=True)
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("</s>", tokenizer.eos_token_id)
    assert f"{tiny}: the tokenizer has no padding token; </s> is used for it" in capsys.readouterr().err
    edit(tiny / "tokenizer_config.json", eos_token=None)
    with pytest.raises(YoyakError, match="its tokenizer has no eos_token"):
        tokenizer_loading.load_tokenizer(str(tiny), None, TAGS, pad_with_eos=True)


@pytest.mark.parametrize("revision", [None, "main", "0123abc"])
def test_a_hub_name_needs_a_revision(monkeypatch: pytest.MonkeyPatch, revision: str | None) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    pinned = revision == "0123abc"
    with pytest.raises(YoyakError, match=r"^some/kobart: its tokenizer cannot" if pinned else r"'some/kobart'.*`revision`"):
        tokenizer_loading.load_tokenizer("some/kobart", revision, TAGS)
    with pytest.raises(YoyakError, match=r"^some/kobart: its config" if pinned else r"'some/kobart'.*`revision`"):
        checkpoints.check_token_limits("some/kobart", revision, {"tokenizer.max_input_length": 100})


def test_a_folder_needs_no_revision_and_remote_code_is_never_allowed(tiny: Path) -> None:
    folder = {"pretrained_model_name_or_path": str(tiny), "trust_remote_code": False}
    assert (
        checkpoints.from_pretrained_arguments(str(tiny), None)
        == checkpoints.from_pretrained_arguments(str(tiny), "main")
        == folder
    )
    (tiny / "config.json").rename(tiny / "adapter_config.json")
    assert checkpoints.from_pretrained_arguments(str(tiny), None) == folder
    (tiny / "adapter_config.json").unlink()
    with pytest.raises(YoyakError, match=r"this folder has no config\.json, so it holds no checkpoint"):
        checkpoints.from_pretrained_arguments(str(tiny), None)
    hub = {"pretrained_model_name_or_path": "a/b", "revision": "c", "trust_remote_code": False}
    assert checkpoints.from_pretrained_arguments("a/b", "c") == hub


def test_a_limit_above_the_positions_of_the_model_is_an_error(tiny: Path) -> None:
    checkpoints.check_token_limits(str(tiny), None, {"tokenizer.max_input_length": 256})
    with pytest.raises(YoyakError, match=r"tokenizer\.max_input_length: 257 is more than the 256 positions of .*tiny"):
        checkpoints.check_token_limits(str(tiny), None, {"tokenizer.max_input_length": 257})


def test_a_model_with_relative_positions_accepts_any_length(tiny: Path) -> None:
    checkpoints.check_token_limits(str(make_t5(tiny)), None, {"tokenizer.max_input_length": 100_000})


@pytest.mark.parametrize(
    "text", ["안녕하세요 저는 학생입니다", "#Person1#은 학생입니다", "#Person1#: 안녕하세요 #Person2#: 저는"]
)
def test_the_tokenizer_of_t5_keeps_spaces(tmp_path: Path, text: str) -> None:
    """ROUGE over morphemes hardly changes if summaries have no spaces, so no score would show the error."""
    from transformers import T5Tokenizer

    pieces = ["▁", "▁안녕", "하세요", "▁저는", "▁학생", "입니다", *"#Person12:.은는이가안녕하세요저학생입니다"]
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((piece, -1.0) for piece in dict.fromkeys(pieces))]
    T5Tokenizer(vocab=vocab).save_pretrained(tmp_path)
    for folder, tags in ((tmp_path, TAGS), (tmp_path / "saved", ())):
        T5Config().save_pretrained(folder)
        tokenizer = tokenizer_loading.load_tokenizer(str(folder), None, tags)
        for variant in (text, text.replace(" ", "  "), text.replace(" ", "\n")):
            ids = pair_encoding.encode_sources(tokenizer, [variant], 64)
            assert tokenizer.unk_token_id not in ids[0]
            assert outputs.decode_tokens(tokenizer, ids) == [text]
        tokenizer.save_pretrained(tmp_path / "saved")


@pytest.mark.parametrize("name", ["T5TokenizerFast", "T5Tokenizer"])
def test_a_byte_level_tokenizer_with_the_class_name_of_t5_is_loaded(tiny: Path, name: str) -> None:
    """The tokenizer of KoT5 is byte-level and names the class of T5. transformers builds that class only for Unigram models."""
    edit(tiny / "tokenizer_config.json", tokenizer_class=name)
    T5Config().save_pretrained(tiny)
    tokenizer = tokenizer_loading.load_tokenizer(str(tiny), None, TAGS)
    assert outputs.decode_tokens(tokenizer, pair_encoding.encode_sources(tokenizer, SUMMARIES, 200)) == list(SUMMARIES)
    tokenizer.save_pretrained(tiny)
    again = tokenizer_loading.load_tokenizer(str(tiny), None, ())
    assert pair_encoding.encode_sources(again, SUMMARIES, 200) == pair_encoding.encode_sources(tokenizer, SUMMARIES, 200)
