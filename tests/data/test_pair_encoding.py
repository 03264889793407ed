"""Token ids for encoder-decoders: EOS, truncation, and texts that decoding gives back unchanged."""

from typing import Any

import pytest
from tokenizers import processors

from tests.conftest import DIALOGUES, SUMMARIES
from yoyak.data import pair_encoding
from yoyak.inference import outputs

EOS = 1


@pytest.fixture
def eos_adding_tokenizer(tiny_tokenizer: Any) -> Any:
    """A tokenizer that ends its texts itself, as T5's does."""
    tiny_tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", EOS)]
    )
    assert tiny_tokenizer("가").input_ids[-1] == EOS
    return tiny_tokenizer


def test_sources_and_targets_are_the_token_ids_of_the_text_and_one_eos(tiny_tokenizer: Any) -> None:
    for encode_texts, texts in ((pair_encoding.encode_sources, DIALOGUES), (pair_encoding.encode_targets, SUMMARIES)):
        for ids, text in zip(encode_texts(tiny_tokenizer, texts, 1000), texts, strict=True):
            assert ids == [*tiny_tokenizer(text).input_ids, EOS]
            assert tiny_tokenizer.decode(ids) == text + "</s>"


def test_exact_ids_of_a_short_source(tiny_tokenizer: Any) -> None:
    tag, newline, colon = (tiny_tokenizer.convert_tokens_to_ids(name) for name in ("#Person1#", "Ċ", ":"))
    assert pair_encoding.encode_sources(tiny_tokenizer, ["#Person1#:\n#Person1#"], 100) == [[tag, colon, newline, tag, EOS]]


@pytest.mark.parametrize("limit", [2, 3, 5, 8])
def test_a_summary_that_is_cut_ends_with_eos(tiny_tokenizer: Any, limit: int) -> None:
    text = SUMMARIES[3]
    whole = tiny_tokenizer(text).input_ids
    assert pair_encoding.encode_targets(tiny_tokenizer, [text], limit) == [[*whole[: limit - 1], EOS]]


@pytest.mark.parametrize(("truncation", "kept"), [("middle", [0, 3, 4]), ("start", [2, 3, 4]), ("end", [0, 1, 2])])
def test_a_dialogue_that_is_too_long_loses_whole_turns(tiny_tokenizer: Any, truncation: Any, kept: list[int]) -> None:
    turns = [f"#Person{number}#: {letter * 5}" for number, letter in enumerate("가나다라마", 1)]
    expected = [*tiny_tokenizer("\n".join(turns[place] for place in kept)).input_ids, EOS]
    text = "\n".join(turns)
    for room in (0, 3):
        (row,) = pair_encoding.encode_dialogues(tiny_tokenizer, [text], len(expected) + room, truncation)
        assert row.ids == expected
        assert (row.turns, row.turns_left_out, row.turn_cut) == (5, 2, False)
        assert row.tokens == len(tiny_tokenizer(text).input_ids) + 1


def test_the_end_of_a_single_long_turn_stays(tiny_tokenizer: Any) -> None:
    text = f"#Person1#: {' '.join(f'{number}번' for number in range(100))}"
    (row,) = pair_encoding.encode_dialogues(tiny_tokenizer, [text], 30, "middle")
    kept = tiny_tokenizer.decode(row.ids)
    assert kept.startswith("#Person1#: ") and kept.endswith("98번 99번</s>")
    assert 27 <= len(row.ids) <= 30
    assert (row.turns_left_out, row.turn_cut) == (0, True)


def test_even_a_speaker_that_does_not_fit_stays_within_the_limit(tiny_tokenizer: Any) -> None:
    (row,) = pair_encoding.encode_dialogues(tiny_tokenizer, ["#PersonWithoutToken#: 가"], 8, "middle")
    assert len(row.ids) == 8 and row.ids[-1] == EOS
    assert row.is_shortened


def test_a_text_of_exactly_the_limit_is_not_truncated(tiny_tokenizer: Any) -> None:
    whole = [*tiny_tokenizer(SUMMARIES[0]).input_ids, EOS]
    assert pair_encoding.encode_targets(tiny_tokenizer, [SUMMARIES[0]], len(whole)) == [whole]
    assert pair_encoding.encode_targets(tiny_tokenizer, [SUMMARIES[0]], len(whole) - 1) == [[*whole[:-2], EOS]]


def test_a_tokenizer_that_adds_eos_itself_still_gives_one_eos(eos_adding_tokenizer: Any) -> None:
    for encode_texts in (pair_encoding.encode_sources, pair_encoding.encode_targets):
        (ids,) = encode_texts(eos_adding_tokenizer, [SUMMARIES[0]], 100)
        assert ids.count(EOS) == 1
        assert eos_adding_tokenizer.decode(ids) == SUMMARIES[0] + "</s>"
    (cut,) = pair_encoding.encode_targets(eos_adding_tokenizer, [SUMMARIES[0]], 5)
    assert cut == [*ids[:4], EOS]


def test_truncation_and_padding_stored_in_the_tokenizer_have_no_effect(tiny_tokenizer: Any) -> None:
    """A published KoBART tokenizer has a truncation of 100 in its tokenizer.json."""
    expected = pair_encoding.encode_sources(tiny_tokenizer, DIALOGUES, 1000)
    tiny_tokenizer.backend_tokenizer.enable_truncation(5)
    tiny_tokenizer.backend_tokenizer.enable_padding(pad_id=2, length=300)
    assert pair_encoding.encode_sources(tiny_tokenizer, DIALOGUES, 1000) == expected


TEXTS = (
    "#Person1#은 밥을 먹습니다.",
    "#Person1#과 #Person2#는 #Person3#에게 #PhoneNumber#로 전화합니다.",
    "밥을 먹은 #Person1#, #Person2#.",
    "#Person1#: 안녕하세요?\n#Person2#: 네, 안녕하세요.\n#Person1#: 1,000원이에요!",
)


@pytest.mark.parametrize("text", TEXTS)
def test_decoding_restores_the_spaces(tiny_tokenizer: Any, text: str) -> None:
    assert outputs.decode_tokens(tiny_tokenizer, pair_encoding.encode_sources(tiny_tokenizer, [text], 1000)) == [text]


@pytest.mark.parametrize("text", [*TEXTS, "BI 도구와 KBI :-( ㅠㅠ ^^ 😀"])
def test_decoding_restores_the_spaces_with_kobart(kobart_tokenizer: Any, text: str) -> None:
    """KoBART's tokenizer marks BI, smileys and emoji as special tokens, but they are text."""
    ids = pair_encoding.encode_targets(kobart_tokenizer, [text], 1000)
    assert outputs.decode_tokens(kobart_tokenizer, ids) == [text]
    assert ids[0][-1] == kobart_tokenizer.eos_token_id
    assert ids[0].count(kobart_tokenizer.eos_token_id) == 1


def test_tags_are_single_tokens_of_kobart(kobart_tokenizer: Any) -> None:
    (ids,) = pair_encoding.encode_targets(kobart_tokenizer, ["#Person1#은 밥을 먹습니다."], 100)
    assert ids[0] == kobart_tokenizer.convert_tokens_to_ids("#Person1#") >= 30000
    assert kobart_tokenizer.convert_ids_to_tokens(ids) == ["#Person1#", "은", "▁밥을", "▁먹", "습니다.", "</s>"]
    (cut,) = pair_encoding.encode_targets(kobart_tokenizer, ["#Person1#은 밥을 먹습니다."], 4)
    assert kobart_tokenizer.convert_ids_to_tokens(cut) == ["#Person1#", "은", "▁밥을", "</s>"]


def test_decoding_leaves_out_special_tokens(tiny_tokenizer: Any) -> None:
    ids = tiny_tokenizer(SUMMARIES[0]).input_ids
    assert outputs.decode_tokens(tiny_tokenizer, [[EOS, 0, *ids, EOS, 2, 2], [2, 2], []]) == [SUMMARIES[0], "", ""]


def test_decoding_leaves_out_the_unused_tokens_of_kobart(kobart_tokenizer: Any) -> None:
    unused = kobart_tokenizer.convert_tokens_to_ids(["<usr>", "<sys>", "<unused0>", "<mask>"])
    assert outputs.decode_tokens(kobart_tokenizer, [[*unused, *kobart_tokenizer("밥").input_ids, 3]]) == ["밥"]
