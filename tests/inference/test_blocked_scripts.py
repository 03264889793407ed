"""Blocked scripts: counting foreign letters, finding the tokens that write them, and models that must not write them."""

import copy
import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from tests.conftest import DIALOGUES, SUMMARIES, generate_with_transformers
from yoyak.config.generation_section import Generation, Script
from yoyak.data.dialogue import LISTED_TAGS, without_tags
from yoyak.evaluation import foreign_letters
from yoyak.inference import blocked_scripts

CPU = torch.device("cpu")
# Each of these bytes begins letters of several scripts, or letters and emoji. They are not blocked. So a model can still write
# such letters byte by byte: they are the expected failures of test_a_foreign_letter_cannot_be_written_byte_by_byte.
SHARED_FIRST_BYTES = bytes([0xC2, 0xC9, 0xCB, 0xE1, 0xE2, 0xE3, 0xEA, 0xEF, 0xF0])


def script_of(char: str) -> str:
    """Return the script of a character, or an empty text if it is not a letter or a radical.

    This function reads the Unicode name. The library uses ranges of code points, so the two are independent.
    """
    name = unicodedata.name(char, "")
    if unicodedata.category(char)[0] != "L" and not name.startswith(("CJK RADICAL", "KANGXI RADICAL")):
        return ""
    for words, script in (
        (("HANGUL",), "hangul"),
        (("LATIN", "ORDINAL INDICATOR"), "latin"),
        (("CJK", "KANGXI", "IDEOGRAPHIC"), "han"),
        (("HIRAGANA", "KATAKANA"), "kana"),
    ):
        if any(word in name for word in words):
            return script
    return "other"


# Counting letters

LETTERS = {
    "latin": "AzéßŁÅạＡｚ",
    "han": "漢中国一龥鿿㐀々𠀀",
    "kana": "あんゔゞアンヴーㇰｱﾝ",
    "other": "ЖяαΩאعसกကაꀀ𐐀",
}


@pytest.mark.parametrize("name", LETTERS)
def test_letters_of_a_script(name: Script) -> None:
    for char in LETTERS[name]:
        assert foreign_letters.script_pattern((name,)).findall(char) == [char]
        assert foreign_letters.script_pattern(foreign_letters.ALL_SCRIPTS).findall(char) == [char]
        for other in {*foreign_letters.ALL_SCRIPTS} - {name}:
            assert not foreign_letters.script_pattern((other,)).search(char), (char, other)


NOT_FOREIGN = {
    "hangul": "비가 온다 뷁 ㅋㅋ ㅠㅠ ㄱㅏ ㆍ",
    "decomposed": unicodedata.normalize("NFD", "비가 온다 값"),
    "old jamo": "ᄀᆞᆯ ꥠ ힰ",
    "halfwidth": "ﾡￂￜ",
    "digits": "0123456789 ４５６",
    "punctuation": ".,!?…·“”‘’「」—–~()[]<>《》_-/\\@#$%^&*+=|`'\"",
    "symbols": "→★♥※㎏㎡℃㈜ⓐ₩€°±×÷√",
    "emoji": "😀👍🏽❤️👨‍👩‍👧🇰🇷",
    "tags": "#Person1# #PhoneNumber# #FlightNumber# #Person12#",
    "spaces": " \n\t\u3000",
}


@pytest.mark.parametrize("kind", NOT_FOREIGN)
def test_hangul_and_symbols_are_not_foreign(kind: str) -> None:
    assert foreign_letters.count_foreign_letters([NOT_FOREIGN[kind]], [""]) == {"foreign_share": 0, "with_foreign": 0}
    if kind != "tags":
        assert foreign_letters.script_pattern(foreign_letters.ALL_SCRIPTS).findall(NOT_FOREIGN[kind]) == []


@pytest.mark.parametrize("number", "①⑩½²Ⅲ㉑")
def test_numbers_are_not_letters(number: str) -> None:
    assert foreign_letters.count_foreign_letters([f"{number} 회의"], [""]) == {"foreign_share": 0, "with_foreign": 0}


@pytest.mark.parametrize("char", ["\uf900", "\uf914", "\uf9f7", "\ufad9"])
def test_compatibility_ideographs_are_han(char: str) -> None:
    """KS X 1001 has 268 of them: hanja with a second reading."""
    assert script_of(char) == "han"
    assert foreign_letters.script_pattern(("han",)).findall(char) == [char]


def test_every_letter_except_hangul_belongs_to_a_script() -> None:
    pattern = foreign_letters.script_pattern(foreign_letters.ALL_SCRIPTS)
    for point in (*range(0xD800), *range(0xE000, 0x32000)):
        char = chr(point)
        if kind := script_of(char):
            assert bool(pattern.fullmatch(char)) == (kind != "hangul"), hex(point)


def test_the_share_matches_a_count_by_hand() -> None:
    texts = ["#Person1#은 Netflix를 봅니다, 漢字.", "비가 온다.", "#Person2#는 KTX로 갑니다."]
    # Without tags and spaces: 은Netflix를봅니다,漢字. / 비가온다. / 는KTX로갑니다.
    counts = foreign_letters.count_foreign_letters(texts, ["", "", ""])
    assert counts == {"foreign_share": round((7 + 2 + 3) / (16 + 5 + 9), 6), "with_foreign": 2}


def test_words_of_the_dialogue_are_not_foreign() -> None:
    dialogue = "#Person1#: KTX에서 netflix를 봤어. Wi-Fi도 되고 漢字도 배웠어."
    assert (
        foreign_letters.count_foreign_letters(["#Person1#은 KTX에서 Netflix를 보고 WI-FI로 漢字를 배웁니다."], [dialogue])[
            "with_foreign"
        ]
        == 0
    )
    for word in ("SRT", "KTXs", "Net", "漢", "字漢"):
        assert foreign_letters.count_foreign_letters([f"{word}입니다"], [dialogue]) == {
            "foreign_share": round(len(word) / (len(word) + 3), 6),
            "with_foreign": 1,
        }


def test_words_of_another_rows_dialogue_are_foreign() -> None:
    assert foreign_letters.count_foreign_letters(["KTX", "KTX"], ["KTX 있어?", "버스 있어?"]) == {
        "foreign_share": 0.5,
        "with_foreign": 1,
    }


@pytest.mark.parametrize("texts", [[""], [" \n"], ["#Person1#"], []])
def test_empty_texts_have_no_foreign_letters(texts: list[str]) -> None:
    assert foreign_letters.count_foreign_letters(texts, [""] * len(texts)) == {"foreign_share": 0, "with_foreign": 0}


def test_different_numbers_of_texts_and_dialogues_raise() -> None:
    with pytest.raises(ValueError, match="shorter"):
        foreign_letters.count_foreign_letters(["가", "나"], ["다"])


# Tokens


class Vocabulary:
    """A tokenizer and the texts of its tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.texts: list[str] = tokenizer.batch_decode([[id_] for id_ in range(len(tokenizer))])
        self.ids: dict[str, int] = tokenizer.get_vocab()
        added = tokenizer.added_tokens_decoder
        self.special = {id_ for id_, token in added.items() if token.special} | set(tokenizer.all_special_ids)
        self.tags = {self.ids[tag] for tag in LISTED_TAGS if tag in self.ids}
        self.symbols = bytes_to_unicode()
        self.bytes_of = {symbol: byte for byte, symbol in self.symbols.items()}

    @functools.cache  # noqa: B019  the objects live as long as the tests
    def blocked(self, *scripts: Script) -> blocked_scripts.BlockedTokens:
        return blocked_scripts.BlockedTokens(self.tokenizer, scripts)

    def ordinary(self) -> Iterator[tuple[int, str]]:
        for id_, text in enumerate(self.texts):
            if id_ not in self.special | self.tags:
                yield id_, text

    def id_of(self, raw: bytes | int) -> int:
        raw = bytes([raw]) if isinstance(raw, int) else raw
        return self.ids["".join(self.symbols[byte] for byte in raw)]

    def raw(self, id_: int) -> bytes:
        return bytes(self.bytes_of[symbol] for symbol in self.tokenizer.convert_ids_to_tokens(id_))

    def writable(self, blocked: blocked_scripts.BlockedTokens, ids: Sequence[int], dialogue: str = "#Person1#: 네") -> bool:
        """Whether a model can write these tokens one after the other."""
        processor = blocked.processor([dialogue], vocabulary_size=len(self.tokenizer), device=CPU)
        written = list(self.tokenizer("네").input_ids)
        for id_ in ids:
            if processor(torch.tensor([written]), torch.zeros(1, len(self.tokenizer)))[0, id_] != 0:
                return False
            written.append(id_)
        return True


@pytest.fixture(scope="module")
def chat(chat_tokenizer: Any) -> Vocabulary:
    return Vocabulary(chat_tokenizer)


@pytest.fixture(scope="module")
def qwen(qwen3: Any) -> Vocabulary:
    return Vocabulary(qwen3)


@pytest.fixture(params=["chat", "qwen"])
def vocabulary(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


CHOICES: tuple[tuple[Script, ...], ...] = (foreign_letters.ALL_SCRIPTS, ("latin",), ("han", "kana"))


def blocks(scripts: tuple[Script, ...], char: str) -> bool:
    """Whether a character must be blocked.

    Rare letters (ligatures, subscripts, compatibility ideographs) are blocked for sure only if all scripts are blocked.
    """
    rare = "\u0250" <= char < "\u1e00" or "\u2000" <= char < "\u2e80" or char == "〻" or "\ua000" <= char < "\uff00"
    return script_of(char) in scripts and (scripts == foreign_letters.ALL_SCRIPTS or not rare)


@pytest.mark.parametrize("scripts", CHOICES, ids="+".join)
def test_every_token_with_a_letter_of_a_blocked_script_is_blocked(vocabulary: Vocabulary, scripts: tuple[Script, ...]) -> None:
    blocked = set(vocabulary.blocked(*scripts).ids.tolist())
    expected = {id_ for id_, text in vocabulary.ordinary() if any(blocks(scripts, char) for char in text)}
    assert len(expected) >= 20
    assert expected - blocked == set()


@pytest.mark.parametrize("scripts", CHOICES, ids="+".join)
def test_no_other_whole_token_is_blocked(vocabulary: Vocabulary, scripts: tuple[Script, ...]) -> None:
    """Hangul, digits, punctuation, spaces and emoji stay free, and so do letters of scripts that are not blocked."""
    blocked = set(vocabulary.blocked(*scripts).ids.tolist())
    free = {
        id_
        for id_, text in vocabulary.ordinary()
        if "\ufffd" not in text
        and not any(script_of(char) in scripts for char in text)
        and not any(unicodedata.category(char) in ("No", "Nl") for char in text)  # test_numbers_are_not_letters
    }
    assert len(free) > 100
    assert free & blocked == set()


@pytest.mark.parametrize("scripts", CHOICES, ids="+".join)
def test_special_tokens_and_tags_are_never_blocked(vocabulary: Vocabulary, scripts: tuple[Script, ...]) -> None:
    tokenizer = vocabulary.tokenizer
    never = vocabulary.special | vocabulary.tags
    assert {tokenizer.eos_token_id, tokenizer.pad_token_id} <= never
    assert len(vocabulary.tags) == len(LISTED_TAGS)
    assert never & set(vocabulary.blocked(*scripts).ids.tolist()) == set()
    for tag in LISTED_TAGS:
        assert vocabulary.writable(vocabulary.blocked(*scripts), tokenizer(f"{tag}은", add_special_tokens=False).input_ids)


def test_a_tag_that_the_user_adds_is_not_blocked(chat_tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.add_tokens([AddedToken("#FlightNumber#", special=False, normalized=False)])
    assert (
        tokenizer.convert_tokens_to_ids("#FlightNumber#")
        not in blocked_scripts.BlockedTokens(tokenizer, ["latin"]).ids.tolist()
    )


def test_a_byte_that_begins_only_foreign_letters_is_blocked(vocabulary: Vocabulary) -> None:
    everything, han = (
        set(vocabulary.blocked(*scripts).ids.tolist()) for scripts in (foreign_letters.ALL_SCRIPTS, ("han", "kana"))
    )
    for byte in range(0xE4, 0xEA):
        assert vocabulary.id_of(byte) in han
    for byte in (*range(0xC3, 0xCA), *range(0xD0, 0xD5), *range(0xD8, 0xDC), 0xE0, *range(0xE4, 0xEA)):
        assert vocabulary.id_of(byte) in everything, hex(byte)


def test_a_first_byte_of_hangul_and_a_continuation_byte_are_never_blocked(vocabulary: Vocabulary) -> None:
    everything = set(vocabulary.blocked(*foreign_letters.ALL_SCRIPTS).ids.tolist())
    for byte in (0xE1, 0xE3, *range(0xEA, 0xEE), 0xEF, *range(0x80, 0xC0)):
        assert vocabulary.id_of(byte) not in everything, hex(byte)


def test_tokens_that_end_within_a_character(vocabulary: Vocabulary) -> None:
    """Such a token is blocked if only foreign letters start with its bytes, and never if Hangul or emoji do."""
    everything, han = (
        set(vocabulary.blocked(*scripts).ids.tolist()) for scripts in (foreign_letters.ALL_SCRIPTS, ("han", "kana"))
    )
    starts: dict[bytes, set[str]] = {}
    for point in (*range(0x80, 0xD800), *range(0xE000, 0x32000)):
        if unicodedata.category(chr(point)) not in ("Cn", "Co"):
            raw = chr(point).encode()
            for length in range(1, len(raw)):
                starts.setdefault(raw[:length], set()).add(script_of(chr(point)) if chr(point).isalpha() else "none")
    halves = 0
    for id_, text in vocabulary.ordinary():
        if "\ufffd" not in text:
            continue
        raw = vocabulary.raw(id_)
        half = next((raw[-length:] for length in (3, 2, 1) if raw[-length:] in starts), None)
        whole = {script_of(char) for char in text} - {"", "hangul"}
        if half is None:
            if not whole:
                assert id_ not in everything, raw
            continue
        halves += 1
        if starts[half] <= {"han", "kana"} and half[0] != 0xEF:  # test_compatibility_ideographs_are_han
            assert id_ in han, raw
        if starts[half] <= {"latin", "han", "kana", "other"}:
            assert id_ in everything, raw
        if "hangul" in starts[half] and not whole:
            assert id_ not in everything, raw
        if half.startswith(b"\xf0\x9f") and not whole:
            assert id_ not in everything, raw
    assert halves > 60


def byte_fallback_tokenizer() -> PreTrainedTokenizerFast:
    """A SentencePiece vocabulary as that of Llama 2 and SOLAR: other characters are written as bytes, such as <0xE4>."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "가", "▁가", "A", "▁The", "中"]
    bpe = Tokenizer(models.BPE({piece: id_ for id_, piece in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True))
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def test_bytes_of_a_sentencepiece_vocabulary() -> None:
    tokenizer = byte_fallback_tokenizer()
    pieces = tokenizer.convert_ids_to_tokens(blocked_scripts.BlockedTokens(tokenizer, ["latin", "han"]).ids.tolist())
    assert {"A", "▁The", "中", "<0x41>", "<0x7A>", "<0xC3>", "<0xE4>", "<0xE9>"} <= set(pieces)
    free = {
        "▁",
        "가",
        "▁가",
        "<0x0A>",
        "<0x30>",
        "<0xEA>",
        "<0xED>",
        "<0xE3>",
        "<0xD0>",
        "<0x80>",
        "<0xBF>",
        "<s>",
        "</s>",
        "<unk>",
    }
    assert free & set(pieces) == set()


WRITTEN_BY_BYTES = [
    *"é中漢鿿Жعส",
    *(
        pytest.param(
            char,
            marks=pytest.mark.xfail(strict=True, raises=AssertionError, reason="Hangul or emoji have the same first byte"),
        )
        for char in "あア㐀Ａｱကაꀀ𠀀𐐀"
    ),
]


@pytest.mark.parametrize("char", WRITTEN_BY_BYTES)
def test_a_foreign_letter_cannot_be_written_byte_by_byte(vocabulary: Vocabulary, char: str) -> None:
    """If the token of a letter is blocked, the next likely tokens are the bytes of the same letter."""
    ids = [vocabulary.id_of(byte) for byte in char.encode()]
    assert vocabulary.tokenizer.decode(ids) == char
    assert not vocabulary.writable(vocabulary.blocked(*foreign_letters.ALL_SCRIPTS), ids)


def test_a_first_byte_is_judged_by_all_characters_that_start_with_it(vocabulary: Vocabulary) -> None:
    ids = [vocabulary.id_of(byte) for byte in "ส".encode()]
    assert not vocabulary.writable(vocabulary.blocked("han", "kana", "other"), ids)


KOREAN = "비가 온다. ‘네’, “아니요”… 1,000원 ㅋㅋ ㅠㅠ · ~ → ★ ♥ ※ 20℃ ㎏ 😀 👍🏽 ❤️ 뷁"


def test_korean_text_is_writable_with_qwen3(qwen: Vocabulary) -> None:
    for text in (KOREAN, *SUMMARIES, *DIALOGUES):
        assert qwen.writable(qwen.blocked(*foreign_letters.ALL_SCRIPTS), qwen.tokenizer(text).input_ids), text


@pytest.mark.parametrize("char", ["😀", "👍"])
def test_emoji_are_writable_byte_by_byte(vocabulary: Vocabulary, char: str) -> None:
    assert vocabulary.writable(
        vocabulary.blocked(*foreign_letters.ALL_SCRIPTS), [vocabulary.id_of(byte) for byte in char.encode()]
    )


@pytest.mark.parametrize("char", "…’·★")
def test_punctuation_is_writable_byte_by_byte(vocabulary: Vocabulary, char: str) -> None:
    assert vocabulary.writable(
        vocabulary.blocked(*foreign_letters.ALL_SCRIPTS), [vocabulary.id_of(byte) for byte in char.encode()]
    )


def test_a_degree_sign_after_a_space_is_writable(qwen: Vocabulary) -> None:
    assert qwen.writable(qwen.blocked(*foreign_letters.ALL_SCRIPTS), qwen.tokenizer("20 ℃").input_ids)


# Words of the dialogue


@pytest.mark.parametrize("word", ["KTX", "Netflix"])
def test_a_word_of_the_dialogue_is_writable(vocabulary: Vocabulary, word: str) -> None:
    blocked = vocabulary.blocked(*foreign_letters.ALL_SCRIPTS)
    inside, outside = f"#Person1#: {word}에서 봤어.", "#Person1#: 거기서 봤어."
    for text in (word, f" {word}", f"{word}를", f"가 {word} {word}"):
        ids = vocabulary.tokenizer(text, add_special_tokens=False).input_ids
        assert vocabulary.writable(blocked, ids, inside), text
        assert not vocabulary.writable(blocked, ids, outside), text
    pieces = vocabulary.tokenizer(["(", word, ")"], add_special_tokens=False).input_ids
    assert vocabulary.writable(blocked, [id_ for piece in pieces for id_ in piece], inside)


@pytest.mark.parametrize("word", ["中国", "ひらがな", "Привет", "Café"])
def test_a_word_of_the_dialogue_in_another_script_is_writable(vocabulary: Vocabulary, word: str) -> None:
    ids = vocabulary.tokenizer(f" {word}", add_special_tokens=False).input_ids
    assert vocabulary.writable(vocabulary.blocked(*foreign_letters.ALL_SCRIPTS), ids, f"#Person1#: {word}?")
    assert not vocabulary.writable(vocabulary.blocked(*foreign_letters.ALL_SCRIPTS), ids)


@pytest.mark.parametrize(("name", "text"), [("chat", "龘"), ("qwen", "龘"), ("qwen", " 漢字")])
def test_a_word_of_the_dialogue_in_parts_of_characters_is_writable(
    request: pytest.FixtureRequest, name: str, text: str
) -> None:
    vocabulary: Vocabulary = request.getfixturevalue(name)
    ids = vocabulary.tokenizer(text, add_special_tokens=False).input_ids
    assert any("\ufffd" in vocabulary.texts[id_] for id_ in ids)
    assert vocabulary.writable(vocabulary.blocked("han"), ids, f"#Person1#:{text}?")


def test_a_token_that_ends_with_the_start_of_another_letter_is_blocked(chat: Vocabulary) -> None:
    ids = [chat.id_of(b"f\xc3"), chat.id_of(0xB6)]
    assert chat.tokenizer.decode(ids) == "fö"
    assert not chat.writable(chat.blocked("latin"), ids, "#Person1#: 버스 있어?")


def test_tags_of_the_dialogue_do_not_allow_other_words(vocabulary: Vocabulary) -> None:
    for word in ("Netflix", "KTX", "Hello"):
        ids = vocabulary.tokenizer(word, add_special_tokens=False).input_ids
        assert not vocabulary.writable(vocabulary.blocked("latin"), ids, "\n".join(DIALOGUES))


@pytest.mark.parametrize("word", ["Email", "Person", "SSN", "Address"])
def test_the_words_inside_tags_are_blocked_if_tags_are_tokens(vocabulary: Vocabulary, word: str) -> None:
    ids = vocabulary.tokenizer(f"{word}을", add_special_tokens=False).input_ids
    assert foreign_letters.count_foreign_letters([f"{word}을"], ["버스 있어?"])["with_foreign"] == 1
    assert not vocabulary.writable(vocabulary.blocked("latin"), ids, "버스 있어?")


def test_tags_are_writable_if_they_are_not_tokens() -> None:
    vocabulary = Vocabulary(byte_fallback_tokenizer())
    for tag in LISTED_TAGS:
        ids = vocabulary.tokenizer(f"{tag}가").input_ids
        assert len(ids) > 4
        assert vocabulary.writable(vocabulary.blocked("latin"), ids)
    assert not vocabulary.writable(vocabulary.blocked("latin"), vocabulary.tokenizer("KTX").input_ids)


def test_a_tag_of_the_dialogue_does_not_allow_its_name_as_a_word(vocabulary: Vocabulary) -> None:
    """A summary with Person1 in place of #Person1# has lost the tag."""
    text, dialogue = "Person은 갑니다.", "#Person1#: 버스 있어?"
    ids = vocabulary.tokenizer(text, add_special_tokens=False).input_ids
    assert (
        foreign_letters.count_foreign_letters([text], [dialogue])["with_foreign"],
        vocabulary.writable(vocabulary.blocked("latin"), ids, dialogue),
    ) == (
        1,
        False,
    )


def allowed_columns(scores: torch.Tensor) -> list[set[int]]:
    """For each row, the ids that are not blocked, if all scores were 0."""
    return [set(torch.nonzero(row == 0).flatten().tolist()) for row in scores]


@pytest.mark.parametrize("beams", [1, 3])
def test_all_beams_of_a_row_may_write_the_words_of_its_dialogue(vocabulary: Vocabulary, beams: int) -> None:
    blocked, columns = vocabulary.blocked("latin", "han"), len(vocabulary.tokenizer) + 7
    dialogues = ["#Person1#: KTX 타자.", "#Person1#: 버스 타자.", "#Person1#: Netflix 漢字 보자."]
    alone = [
        allowed_columns(
            blocked.processor([text], vocabulary_size=columns, device=CPU)(torch.zeros(1, 1), torch.zeros(1, columns))
        )[0]
        for text in dialogues
    ]
    assert alone[1] < alone[0]
    assert alone[1] < alone[2]
    rows = len(dialogues) * beams
    processor = blocked.processor(dialogues, vocabulary_size=columns, device=CPU)
    actual = allowed_columns(processor(torch.zeros(rows, 1, dtype=torch.long), torch.zeros(rows, columns)))
    assert actual == [free for free in alone for _ in range(beams)]
    for own, word in ((alone[0] - alone[1], "KTX"), (alone[2] - alone[1], "Netflix漢字")):
        assert all(char in word for id_ in own for char in vocabulary.texts[id_] if script_of(char) in ("latin", "han"))


def test_other_scores_do_not_change(chat: Vocabulary) -> None:
    columns = len(chat.tokenizer)
    scores = torch.randn(2, columns, generator=torch.Generator().manual_seed(1))
    before = scores.clone()
    after = chat.blocked("latin").processor(["가", "나"], vocabulary_size=columns, device=CPU)(torch.zeros(2, 1), scores)
    assert torch.equal(scores, before)
    assert torch.isneginf(after[:, chat.blocked("latin").ids]).any()
    kept = ~torch.isneginf(after)
    assert torch.equal(after[kept], before[kept])


# Models


@pytest.fixture(scope="module")
def model(chat_tokenizer: Any) -> Any:
    """A random Llama with more output columns than tokens. It writes all tokens with about the same probability."""
    config = LlamaConfig(
        vocab_size=len(chat_tokenizer) + 9,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        bos_token_id=chat_tokenizer.bos_token_id,
        eos_token_id=chat_tokenizer.eos_token_id,
        pad_token_id=chat_tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return LlamaForCausalLM(config).eval()


def letters_by_script(texts: Sequence[str]) -> dict[str, set[str]]:
    """The letters of each script except Hangul, without the letters of tags."""
    found: dict[str, set[str]] = {}
    for char in re.sub("|".join(LISTED_TAGS), "", " ".join(texts)):
        if script_of(char) not in ("", "hangul"):
            found.setdefault(script_of(char), set()).add(char)
    return found


def sample_texts(model: Any, tokenizer: Any, values: dict[str, Any], scripts: Sequence[Script], beams: int) -> list[str]:
    changes = {"do_sample": True, "top_k": 0, "min_new_tokens": 200, "max_new_tokens": 200, "num_beams": beams}
    settings = Generation(**(values["generation"] | changes | {"blocked_scripts": [*scripts], "batch_size": 8}))
    dialogues = [without_tags(text) for text in DIALOGUES]  # test_a_tag_of_the_dialogue_does_not_allow_its_name_as_a_word
    ids = [tokenizer(text).input_ids for text in dialogues]
    outputs = generate_with_transformers(model, tokenizer, ids, dialogues, settings)
    assert all(any("가" <= char <= "힣" for char in output.text) for output in outputs)
    return [output.text for output in outputs]


def test_without_blocking_a_random_model_writes_all_scripts(model: Any, chat_tokenizer: Any, values: dict[str, Any]) -> None:
    assert {*letters_by_script(sample_texts(model, chat_tokenizer, values, [], 1))} == {"latin", "han", "kana", "other"}


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("scripts", [("latin",), ("han", "kana", "other"), foreign_letters.ALL_SCRIPTS], ids="+".join)
def test_a_model_writes_no_letter_of_a_blocked_script(
    model: Any, chat_tokenizer: Any, values: dict[str, Any], scripts: tuple[Script, ...], beams: int
) -> None:
    texts = sample_texts(model, chat_tokenizer, values, scripts, beams)
    found = letters_by_script(texts)
    for name in scripts:
        written = {char for char in found.get(name, ()) if blocks(scripts, char) and char.encode()[0] not in SHARED_FIRST_BYTES}
        assert written == set()
    for name in {*foreign_letters.ALL_SCRIPTS} - {*scripts}:
        assert found[name]
    if "kana" in scripts:
        assert not re.search("[ぁ-ゖァ-ヺ]{2}", " ".join(texts))


@pytest.mark.parametrize("beams", [1, 3])
def test_a_word_of_a_dialogue_is_allowed_only_in_its_own_summary(
    model: Any, chat_tokenizer: Any, values: dict[str, Any], beams: int
) -> None:
    """The model prefers KTX, then Netflix, then 다. Batches are sorted by length, so a mix-up of rows would show."""
    preferred = chat_tokenizer.convert_tokens_to_ids(
        ["KTX", chat_tokenizer.tokenize(" Netflix")[0], chat_tokenizer.tokenize("다")[0]]
    )
    model = copy.deepcopy(model)
    model.lm_head = torch.nn.Linear(16, len(chat_tokenizer) + 9)
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.bias.zero_()
        model.lm_head.bias[preferred] = torch.tensor([60.0, 40.0, 20.0])
    dialogues = [
        "버스",
        "KTX를 타자",
        "우리는 오늘 저녁에 Netflix를 보자",
        "택시를 타고 가자",
        "Netflix하고 KTX",
        "아주 긴 ktx 말입니다, 그리고",
    ]
    ids = [chat_tokenizer(text).input_ids for text in dialogues]
    settings = Generation(
        **(values["generation"] | {"blocked_scripts": ["latin"], "num_beams": beams, "batch_size": 4, "max_new_tokens": 3})
    )
    outputs = generate_with_transformers(model, chat_tokenizer, ids, dialogues, settings)
    assert [output.text for output in outputs] == [
        "다다다",
        "KTXKTXKTX",
        "Netflix Netflix Netflix",
        "다다다",
        "KTXKTXKTX",
        "다다다",
    ]
