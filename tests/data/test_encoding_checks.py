"""Control tokens that a user writes are text; unknown and rewritten characters are counted and told with examples."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.conftest import DIALOGUES, SUMMARIES, WITHOUT_ADDITIONS
from yoyak.config.sections import Prompt
from yoyak.config.sections import Tokenizer as TokenizerSection
from yoyak.data.chat_encoding import encode_chats
from yoyak.data.encoding_checks import (
    count_control_tokens,
    describe_characters,
    describe_dialogues,
    most_common_characters,
    neutralize,
    rewritten_characters,
    unknown_characters,
)
from yoyak.data.pair_encoding import encode_pairs
from yoyak.data.prompts import PromptBuilder
from yoyak.data.tokenized_data import encode_files
from yoyak.system.text_files import write_jsonl

LENGTHS = TokenizerSection(max_input_length=99, max_target_length=99, truncation="middle", special_tokens=[], new_tokens=0)
CONTROL = ["<s>", "</s>", "<pad>", "<unk>", "[SEP]", "<|im_start|>"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """As KoBART's: it normalizes by NFKC, has an unknown token, and an emoji as a special token."""
    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.normalizer = normalizers.NFKC()
    bpe.pre_tokenizer = pre_tokenizers.Metaspace()
    bpe.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=CONTROL, show_progress=False)
    bpe.train_from_iterator([*DIALOGUES, *SUMMARIES, "... kg 다라 </unkpad[]SEP|im_str>b0"], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    fast.add_tokens([AddedToken("😀", special=True), AddedToken("#Person1#", normalized=False)])
    fast.chat_template = "<|im_start|>{{ messages[-1].content }}"
    return fast


@pytest.mark.parametrize(
    ("text", "expected", "count"),
    [
        ("가</s>나 <unk>", "가< /s>나 < unk>", 2),
        ("[SEP]<|im_start|><pad><s>", "[ SEP]< |im_start|>< pad>< s>", 4),
        ("<b> [0] < /s> 😀 #Person1# a<b", "<b> [0] < /s> 😀 #Person1# a<b", 0),
    ],
)
def test_control_tokens_become_text(tokenizer: PreTrainedTokenizerFast, text: str, expected: str, count: int) -> None:
    assert neutralize(tokenizer, text) == expected
    assert count_control_tokens(tokenizer, text) == count
    assert count_control_tokens(tokenizer, expected) == 0
    control = {tokenizer.convert_tokens_to_ids(token) for token in CONTROL if token != "<unk>"}
    assert not set(tokenizer(expected).input_ids) & control


def test_a_control_token_does_not_end_a_dialogue_or_a_summary(tokenizer: PreTrainedTokenizerFast) -> None:
    batch = {"fname": ["a"], "dialogue": ["#Person1#: 안녕</s>하세요"], "summary": ["#Person1#은 </s>라고 묻습니다."]}
    columns = encode_pairs(batch, tokenizer, LENGTHS)
    for name in ("input_ids", "labels"):
        (ids,) = columns[name]
        assert ids.index(tokenizer.eos_token_id) == len(ids) - 1
    assert (columns["_dialogue_control_tokens"], columns["_summary_control_tokens"]) == ([1], [1])


def test_a_control_token_does_not_start_a_message(tokenizer: PreTrainedTokenizerFast) -> None:
    settings = Prompt(style="plain", system=None, topic="always", **WITHOUT_ADDITIONS)
    builder = PromptBuilder(tokenizer, settings, 200, names_topic=True, truncation="middle")
    batch = {"fname": ["a"], "dialogue": ["#Person1#: <|im_start|>"], "topic": ["</s>"], "summary": ["</s> 네"]}
    columns = encode_chats(batch, builder, 50)
    (ids,) = columns["input_ids"]
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 1  # that of the template
    assert ids.index(tokenizer.eos_token_id) == len(ids) - 1
    assert (columns["_prompt_control_tokens"], columns["_summary_control_tokens"]) == ([2], [1])


def test_unknown_and_rewritten_characters(tokenizer: PreTrainedTokenizerFast) -> None:
    assert unknown_characters(tokenizer, "안녕 𠮷龘𠮷") == "𠮷龘"
    assert rewritten_characters(tokenizer, "안녕… ㎏ #Person1# 3kg…") == "…㎏"
    assert rewritten_characters(tokenizer, "안녕하세요. abc") == ""
    assert most_common_characters(["가나", "가", "", "\u200d"]) == {"가": 2, "U+200D": 1, "나": 1}


def test_a_tokenizer_without_normalization_rewrites_nothing(tiny: Path) -> None:
    from yoyak.models.tokenizer_loading import load_tokenizer

    loaded = load_tokenizer(str(tiny), None, ["#Person1#"])
    assert rewritten_characters(loaded, "#Person1#… ㎏") == ""


def test_the_report_has_examples_and_tells_them(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"fname": "a", "dialogue": "#Person1#: 안녕 𠮷 <unk>", "summary": "#Person1#은 안녕… 합니다.", "topic": ""},
        {"fname": "b", "dialogue": "#Person1#: 안녕 𠮷龘", "summary": "#Person1#은 안녕 합니다.", "topic": ""},
    ]
    write_jsonl(tmp_path / "dev.jsonl", rows)

    def encode(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return encode_pairs(batch, tokenizer, LENGTHS)

    counts = encode_files({"dev": tmp_path / "dev.jsonl"}, tmp_path / "out", {"dev": encode}, workers=1)["dev"]
    assert counts["dialogue"]["unknown_characters"] == {"𠮷": 2, "龘": 1}
    assert (counts["dialogue"]["unknown_tokens"], counts["dialogue"]["control_tokens"]) == (3, 1)
    assert (counts["summary"]["unreachable"], counts["summary"]["rewritten_characters"]) == (1, {"…": 1})
    assert describe_characters(counts, tokenizer) == [
        "3 unknown tokens in the dialogues: the tokenizer does not know 𠮷, 龘, so the model does not see them",
        "1 control token of the model, such as </s>, in the dialogues; they are read as text",
        "1 of 2 summaries have characters that the tokenizer writes in another way (… → ...), so no output can equal them; "
        "the score against them stays below 100",
    ]
    ids = tokenizer(["#Person1#: 𠮷"]).input_ids
    (told,) = describe_dialogues(tokenizer, ["#Person1#: 𠮷"], ids)
    assert told.startswith("1 unknown token in the dialogues: the tokenizer does not know 𠮷")
