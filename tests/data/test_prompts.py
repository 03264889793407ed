import copy
import re
import time
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import processors

from tests.conftest import DIALOGUES, SHARED, SUMMARIES
from yoyak.config.sections import Prompt
from yoyak.data import chat_encoding, prompts
from yoyak.system.errors import YoyakError

LLAMA = SHARED / "tokenizers" / "llama-3.2-korean-3b"
SYSTEM = "당신은 대화를 요약합니다."
Style = Literal["structured", "plain", "instruction"]
STYLES: tuple[Style, ...] = ("structured", "plain", "instruction")

DIALOGUE = "#Person1#: 안녕하세요, 방 있나요?\n#Person2#: 네, 몇 분이세요?"
STRUCTURED = f"[Conversation]\n{DIALOGUE}\n\n[Question]\n위 숙소 예약 주제에 대한 대화를 요약해주세요."
WITHOUT_TOPIC = f"[Conversation]\n{DIALOGUE}\n\n[Question]\n위 대화 주제에 대한 대화를 요약해주세요."
PLAIN = f"다음 대화를 요약해주세요:\n{DIALOGUE}"
INSTRUCTION = f"### Instruction:\n다음 대화를 간결하게 요약해주세요.\n\n### Input:\n{DIALOGUE}\n\n### Response:\n"

LONG = "\n".join(f"#Person{at % 3 + 1}#: {at}번째 말입니다. {'그리고 ' * (at % 5)}끝." for at in range(30))


def ask(style: Style = "structured", **changes: Any) -> Prompt:
    return Prompt(style=style, **({"system": None, "topic": "auto", "augmentation": "none"} | changes))


def frame(
    tokenizer: Any, style: Style = "structured", *, limit: int = 10**6, topic: bool = True, **changes: Any
) -> prompts.PromptBuilder:
    return prompts.PromptBuilder(tokenizer, ask(style, **changes), max_length=limit, names_topic=topic)


def ids_of(asked: prompts.PromptBuilder, dialogue: str, topic: str = "", variant: int = 0) -> list[int]:
    """The prompt's ids from its text: a template writes <s> itself, for plain text the tokenizer does."""
    text = asked.render(dialogue, topic, variant)
    ids: list[int] = asked.tokenizer(text, add_special_tokens=asked.settings.style == "instruction").input_ids
    return ids


def frame_tokens(asked: prompts.PromptBuilder, topic: str = "") -> list[int]:
    """Tokens of the prompt without a dialogue, for each variant."""
    return [len(ids_of(asked, "", topic, variant)) for variant in range(5)]


def dialogue_in(asked: prompts.PromptBuilder, ids: list[int], topic: str = "", variant: int = 0) -> str:
    """What stands in the dialogue's place. Fails if the frame around it is not whole."""
    before, after = asked.render("\0", topic, variant).split("\0")
    text = asked.tokenizer.decode(ids)
    if asked.settings.style == "instruction" and asked.tokenizer.bos_token:
        text = text.removeprefix(asked.tokenizer.bos_token)
    assert text.startswith(before)
    assert text.endswith(after)
    return str(text[len(before) : len(text) - len(after)])


@pytest.fixture(scope="module")
def llama(chat_tokenizer: Any) -> Any:
    """Llama 3's own template (its vocabulary is not at hand) over the stand-in's tokens."""
    if not LLAMA.is_dir():
        pytest.skip("no ../shared/tokenizers")
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = (LLAMA / "chat_template.jinja").read_text(encoding="utf-8")
    return tokenizer


@pytest.fixture(params=["chat", "qwen3"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("chat_tokenizer" if request.param == "chat" else request.param)


@pytest.fixture
def ending(chat_tokenizer: Any) -> Any:
    """A tokenizer that puts <s> before its texts and ends them itself."""
    tokenizer = copy.deepcopy(chat_tokenizer)
    begin, end = tokenizer.bos_token, tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, tokenizer.bos_token_id), (end, tokenizer.eos_token_id)]
    )
    assert tokenizer("가").input_ids[-1] == tokenizer.eos_token_id
    return tokenizer


# What is asked


def qwen3_chat(said: str, system: str | None) -> str:
    before = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    return f"{before}<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("system", [None, SYSTEM], ids=["no system", "system"])
@pytest.mark.parametrize(
    ("style", "topic", "said"),
    [
        ("structured", "숙소 예약", STRUCTURED),
        ("structured", "", WITHOUT_TOPIC),
        ("plain", "숙소 예약", PLAIN),
        ("plain", "", PLAIN),
    ],
    ids=["structured", "structured without a topic", "plain", "plain without a topic"],
)
def test_whole_prompt_with_qwen3s_template(qwen3: Any, style: Style, topic: str, said: str, system: str | None) -> None:
    asked = frame(qwen3, style, system=system)
    assert asked.render(DIALOGUE, topic) == qwen3_chat(said, system)
    (encoded,) = asked.encode([{"dialogue": DIALOGUE, "topic": topic}])
    assert qwen3.decode(encoded.ids) == qwen3_chat(said, system)
    turn = qwen3.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert [encoded.ids.count(id_) for id_ in turn] == ([3, 2] if system else [2, 1])  # as tokens, not as letters


def llama_chat(said: str, system: str) -> str:
    return (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        f"Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n{system}<|eot_id|>"
        f"<|start_header_id|>user<|end_header_id|>\n\n{said}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


@pytest.mark.parametrize("system", [None, SYSTEM], ids=["no system", "system"])
@pytest.mark.parametrize(("style", "said"), [("structured", STRUCTURED), ("plain", PLAIN)], ids=["structured", "plain"])
def test_whole_prompt_with_llamas_template(llama: Any, style: Style, said: str, system: str | None) -> None:
    (own,) = re.findall(r'set system_message = "(.*)"', llama.chat_template)  # said where there is no other
    expected = llama_chat(said, system or own)
    asked = frame(llama, style, system=system)
    assert asked.render(DIALOGUE, "숙소 예약") == expected
    (encoded,) = asked.encode([{"dialogue": DIALOGUE, "topic": "숙소 예약"}])
    assert llama.decode(encoded.ids) == expected
    assert encoded.ids[0] == llama.bos_token_id
    assert encoded.ids.count(llama.bos_token_id) == 1


@pytest.mark.parametrize("system", [None, SYSTEM], ids=["no system", "system"])
@pytest.mark.parametrize(("style", "said"), [("structured", WITHOUT_TOPIC), ("plain", PLAIN)], ids=["structured", "plain"])
def test_whole_prompt_with_our_own_template(chat_tokenizer: Any, style: Style, said: str, system: str | None) -> None:
    turns = [*([("system", system)] if system else []), ("user", said), ("assistant", "")]
    heads = [f"<|start_header_id|>{role}<|end_header_id|>\n\n" for role, _ in turns]
    bodies = [f"{text}<|eot_id|>" if text else "" for _, text in turns]
    bodies[0] = f"Today: 26 Jul 2024\n\n{bodies[0]}"
    expected = "<|begin_of_text|>" + "".join(head + body for head, body in zip(heads, bodies, strict=True))
    asked = frame(chat_tokenizer, style, system=system)
    assert asked.render(DIALOGUE) == expected
    (encoded,) = asked.encode([{"dialogue": DIALOGUE}])
    assert chat_tokenizer.decode(encoded.ids) == expected
    assert encoded.ids.count(chat_tokenizer.bos_token_id) == 1


def test_no_prompt_holds_todays_date(chat_tokenizer: Any) -> None:
    today = time.strftime("%d %b %Y")
    template_alone = chat_tokenizer.apply_chat_template([{"role": "user", "content": "가"}], tokenize=False)
    assert today in template_alone
    assert today not in frame(chat_tokenizer).render(DIALOGUE)


def test_hybrid_models_are_told_not_to_think(chat_tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = "{% if enable_thinking is defined and enable_thinking is false %}no thinking{% endif %}"
    assert prompts.render_chat(tokenizer, [{"role": "user", "content": "가"}]) == "no thinking"


@pytest.mark.parametrize("system", [None, SYSTEM], ids=["no system", "system"])
def test_whole_instruction_prompt(tokenizer: Any, system: str | None) -> None:
    """No template, no system message, no topic."""
    asked = frame(tokenizer, "instruction", system=system)
    assert asked.render(DIALOGUE, "숙소 예약") == INSTRUCTION
    (encoded,) = asked.encode([{"dialogue": DIALOGUE, "topic": "숙소 예약"}])
    assert tokenizer.decode(encoded.ids) == (tokenizer.bos_token or "") + INSTRUCTION
    assert encoded.ids == tokenizer(INSTRUCTION).input_ids


def test_a_topic_is_named_only_where_prompts_may_name_it(chat_tokenizer: Any) -> None:
    assert WITHOUT_TOPIC in frame(chat_tokenizer, topic=False).render(DIALOGUE, "숙소 예약")


def test_five_ways_to_ask() -> None:
    assert len(prompts.INSTRUCTIONS) == len(set(prompts.INSTRUCTIONS)) == 5


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("structured", "[Conversation]\n{dialogue}\n\n[Question]\n{instruction}<|eot_id|>"),
        ("plain", "{instruction}:\n{dialogue}<|eot_id|>"),
        ("instruction", "### Instruction:\n{instruction}\n\n### Input:\n{dialogue}\n\n### Response:\n"),
    ],
)
def test_each_variant_asks_with_its_own_instruction(chat_tokenizer: Any, style: Style, expected: str) -> None:
    asked = frame(chat_tokenizer, style)
    texts = [asked.render(DIALOGUE, "숙소 예약", variant) for variant in range(5)]
    assert len(set(texts)) == 5
    for text, instruction in zip(texts[1:], prompts.INSTRUCTIONS[1:], strict=True):
        assert expected.format(dialogue=DIALOGUE, instruction=instruction) in text
        assert [other in text for other in prompts.INSTRUCTIONS].count(True) == 1


@pytest.mark.parametrize("style", STYLES)
def test_a_variants_ids_are_its_texts(tokenizer: Any, style: Style) -> None:
    asked = frame(tokenizer, style)
    for variant in range(5):
        (encoded,) = asked.encode([{"dialogue": DIALOGUE, "topic": "숙소 예약"}], instruction=variant)
        assert encoded.ids == ids_of(asked, DIALOGUE, "숙소 예약", variant)
        assert (encoded.tokens, encoded.turns_left_out, encoded.turn_cut) == (len(encoded.ids), 0, False)


@pytest.mark.parametrize("style", STYLES)
def test_a_tokenizer_that_ends_texts_does_not_end_a_prompt(chat_tokenizer: Any, ending: Any, style: Style) -> None:
    rows = [{"dialogue": text} for text in DIALOGUES]
    expected = frame(chat_tokenizer, style).encode(rows)
    found = frame(ending, style).encode(rows)
    assert found == expected
    for encoded in found:
        assert encoded.ids[-1] != ending.eos_token_id
        assert encoded.ids.count(ending.bos_token_id) == 1


# What the tokenizer cannot do


@pytest.mark.parametrize("style", ["structured", "plain"])
def test_without_a_chat_template_another_style_is_advised(chat_tokenizer: Any, style: Style) -> None:
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(YoyakError, match=r"no chat template; choose prompt\.style: instruction"):
        frame(tokenizer, style).encode([{"dialogue": DIALOGUE}])
    assert frame(tokenizer, "instruction").render(DIALOGUE) == INSTRUCTION


def test_a_template_that_refuses_a_system_message_is_one_clear_error(chat_tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{{ messages[0].content }}"
    )
    with pytest.raises(YoyakError, match=r"System role not supported; try prompt\.system: null"):
        frame(tokenizer, system=SYSTEM).encode([{"dialogue": DIALOGUE}])
    assert frame(tokenizer).render(DIALOGUE) == WITHOUT_TOPIC


def test_any_other_fault_of_a_template_does_not_blame_the_system_message(chat_tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = "{{ raise_exception('no') }}"
    with pytest.raises(YoyakError, match=r"does not accept the prompt: no$"):
        frame(tokenizer).render(DIALOGUE)


# Dialogues that are too long


@pytest.mark.parametrize("style", STYLES)
def test_a_prompt_of_just_the_limit_loses_nothing(tokenizer: Any, style: Style) -> None:
    whole = ids_of(frame(tokenizer, style), LONG)
    row = {"dialogue": LONG}
    assert frame(tokenizer, style, limit=len(whole)).encode([row]) == [prompts.EncodedPrompt(whole, len(whole))]
    (cut,) = frame(tokenizer, style, limit=len(whole) - 1).encode([row])
    assert len(cut.ids) < len(whole) == cut.tokens
    assert cut.turns_left_out >= 1


def test_turns_go_from_the_middle(tokenizer: Any) -> None:
    asked = frame(tokenizer)
    a, b, c, d, e = turns = [
        f"#Person{at % 2 + 1}#: {word} 그리고 {'다시 ' * 9}말합니다." for at, word in enumerate("가나다라마")
    ]
    for kept in ([e], [a, e], [a, d, e], [a, b, d, e], [a, b, c, d, e]):
        limit = len(ids_of(asked, "\n".join(kept))) + 5
        (encoded,) = frame(tokenizer, limit=limit).encode([{"dialogue": "\n".join(turns)}])
        assert dialogue_in(asked, encoded.ids).split("\n") == kept
        assert (encoded.turns_left_out, encoded.turn_cut) == (5 - len(kept), False)
        assert encoded.tokens == len(ids_of(asked, "\n".join(turns)))


def what_fits(asked: prompts.PromptBuilder, turns: list[str], limit: int) -> list[str]:
    """The most turns, the middle ones left out, that fit; tried one by one. The last alone is taken to fit."""
    for some in range(len(turns), 1, -1):
        kept = [*turns[: some // 2], *turns[len(turns) - (some + 1) // 2 :]]
        if len(ids_of(asked, "\n".join(kept))) <= limit:
            return kept
    return turns[-1:]


@pytest.mark.slow
def test_all_that_fits_stays(tokenizer: Any) -> None:
    for style in STYLES:
        asked = frame(tokenizer, style)
        turns = LONG.split("\n")
        least = max(len(ids_of(asked, turns[-1])), max(frame_tokens(asked)) + prompts.MIN_DIALOGUE_TOKENS)
        for limit in range(least, len(ids_of(asked, LONG)), 3):
            (encoded,) = frame(tokenizer, style, limit=limit).encode([{"dialogue": LONG}])
            assert dialogue_in(asked, encoded.ids).split("\n") == what_fits(asked, turns, limit), (style, limit)


speech = st.text(st.sampled_from("가나다 비가온다 ?!.,:#1KTX漢あ😀é"), min_size=1, max_size=60).map(
    lambda said: " ".join(said.split()) or "네"
)
turn = st.builds("{}: {}".format, st.sampled_from(["#Person1#", "#Person2#", "화자3", "P4"]), speech)


@given(
    turns=st.lists(turn, min_size=1, max_size=14),
    topic=st.sampled_from(["", "여행", "병원 예약"]),
    style=st.sampled_from(STYLES),
    system=st.sampled_from([None, SYSTEM]),
    variant=st.integers(0, 4),
    room=st.integers(prompts.MIN_DIALOGUE_TOKENS, 250),
)
@settings(max_examples=150, deadline=None)
def test_whatever_is_too_long_keeps_both_ends(
    chat_tokenizer: Any, *, turns: list[str], topic: str, style: Style, system: str | None, variant: int, room: int
) -> None:
    asked = frame(chat_tokenizer, style, system=system)
    limit = max(frame_tokens(asked, topic)) + room
    row = {"dialogue": "\n".join(turns), "topic": topic}
    (encoded,) = frame(chat_tokenizer, style, limit=limit, system=system).encode([row], instruction=variant)
    assert len(encoded.ids) <= limit
    assert encoded.tokens == len(ids_of(asked, row["dialogue"], topic, variant))
    kept = dialogue_in(asked, encoded.ids, topic, variant).split("\n")
    assert len(kept) == len(turns) - encoded.turns_left_out
    if encoded.turn_cut:
        (last,) = kept
        speaker, said = turns[-1].split(": ", 1)
        rest = last.removeprefix(f"{speaker}: ")
        assert last == f"{speaker}: {rest}"
        assert said.endswith(rest)
        assert len(rest) < len(said)
        more = said[len(said) - len(rest) - 1 :]
        assert len(ids_of(asked, f"{speaker}: {more}", topic, variant)) > limit
    else:
        head, tail = len(kept) // 2, (len(kept) + 1) // 2
        assert kept == [*turns[:head], *turns[len(turns) - tail :]]
        head, tail = (len(kept) + 2) // 2, (len(kept) + 3) // 2
        more = "\n".join([*turns[:head], *turns[len(turns) - tail :]])
        assert head + tail > len(turns) or len(ids_of(asked, more, topic, variant)) > limit
    if encoded.tokens <= limit:
        assert (encoded.turns_left_out, encoded.turn_cut) == (0, False)
    else:
        assert encoded.turns_left_out or encoded.turn_cut


@pytest.mark.parametrize("style", STYLES)
def test_of_a_monstrous_last_turn_the_end_stays(tokenizer: Any, style: Style) -> None:
    said = " ".join(f"{at}번째 말입니다." for at in range(300))
    asked = frame(tokenizer, style)
    limit = max(frame_tokens(asked)) + 60
    for before, left_out in (("", 0), ("#Person1#: 가\n#Person2#: 나\n", 2)):
        (encoded,) = frame(tokenizer, style, limit=limit).encode([{"dialogue": f"{before}#Person3#: {said}"}])
        assert encoded.turn_cut
        assert encoded.turns_left_out == left_out
        assert limit - 4 <= len(encoded.ids) <= limit
        speaker, rest = dialogue_in(asked, encoded.ids).split(": ")
        assert speaker == "#Person3#"
        assert said.endswith(rest)


def test_a_monstrous_turn_that_is_not_the_last_goes_whole(chat_tokenizer: Any) -> None:
    asked = frame(chat_tokenizer)
    limit = max(frame_tokens(asked)) + 60
    turns = ["#Person1#: 가", f"#Person2#: {'나 ' * 300}다", "#Person1#: 라"]
    (encoded,) = frame(chat_tokenizer, limit=limit).encode([{"dialogue": "\n".join(turns)}])
    assert dialogue_in(asked, encoded.ids).split("\n") == [turns[0], turns[2]]
    assert (encoded.turns_left_out, encoded.turn_cut) == (1, False)


@pytest.mark.parametrize("style", STYLES)
def test_a_frame_that_leaves_no_room_is_one_clear_error(tokenizer: Any, style: Style) -> None:
    tokens = frame_tokens(frame(tokenizer, style))
    enough, few = max(tokens) + prompts.MIN_DIALOGUE_TOKENS, min(tokens) + prompts.MIN_DIALOGUE_TOKENS - 1
    short, long = {"dialogue": "#Person1#: 네"}, {"dialogue": LONG}
    frame(tokenizer, style, limit=enough).encode([short, long])
    for row in (short, long):  # not only where a dialogue happens to be long
        with pytest.raises(YoyakError) as caught:
            frame(tokenizer, style, limit=few).encode([row])
        found = re.match(
            rf"tokenizer\.max_input_length: {few} is too small\. The prompt without a dialogue takes (\d+) tokens",
            str(caught.value),
        )
        assert found
        assert int(found[1]) in tokens
        least = int(found[1]) + prompts.MIN_DIALOGUE_TOKENS
        frame(tokenizer, style, limit=least).encode([row])
        with pytest.raises(YoyakError, match="too small"):
            frame(tokenizer, style, limit=least - 1).encode([row])


def test_a_long_topic_is_part_of_the_frame(tokenizer: Any) -> None:
    topic = "한국의 대중교통 " * 10
    tokens = frame_tokens(frame(tokenizer), topic)[0]
    rows = [{"dialogue": LONG, "topic": "여행"}, {"dialogue": LONG, "topic": topic}]
    limit = tokens + prompts.MIN_DIALOGUE_TOKENS
    assert max(len(encoded.ids) for encoded in frame(tokenizer, limit=limit).encode(rows)) <= limit
    frame(tokenizer, limit=tokens, topic=False).encode(rows)  # where it is not named, it takes no room
    with pytest.raises(YoyakError, match=f"The prompt without a dialogue takes {tokens} tokens"):
        frame(tokenizer, limit=tokens).encode(rows)


# Targets, topics


@pytest.mark.parametrize("limit", [2, 3, 5, 8])
def test_eos_ends_also_a_target_that_was_cut(tokenizer: Any, limit: int) -> None:
    whole = tokenizer(SUMMARIES[3], add_special_tokens=False).input_ids
    ids, tokens = chat_encoding.encode_answers(tokenizer, [SUMMARIES[3]], limit)
    assert ids == [[*whole[: limit - 1], tokenizer.eos_token_id]]
    assert tokens == [len(whole) + 1]


def test_a_target_of_just_the_limit_is_not_cut(tokenizer: Any) -> None:
    whole = [*tokenizer(SUMMARIES[0], add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    assert chat_encoding.encode_answers(tokenizer, [SUMMARIES[0]], len(whole)) == ([whole], [len(whole)])


def test_a_target_is_its_summary_and_one_end(tokenizer: Any, ending: Any) -> None:
    for one in (tokenizer, ending):
        ids, _ = chat_encoding.encode_answers(one, SUMMARIES, 1000)
        assert [one.decode(row) for row in ids] == [text + one.eos_token for text in SUMMARIES]
        assert all(row.count(one.eos_token_id) == 1 for row in ids)


NAMED, UNNAMED = {"topic": "여행"}, {"topic": ""}


@pytest.mark.parametrize(
    ("topic", "test_rows", "expected"),
    [
        ("auto", [NAMED, NAMED], True),
        ("auto", [NAMED, UNNAMED], False),
        ("auto", [{}], False),
        ("always", [UNNAMED, {}], True),
        ("never", [NAMED, NAMED], False),
    ],
)
def test_when_prompts_name_the_topic(topic: str, test_rows: list[dict[str, str]], expected: bool) -> None:
    assert prompts.uses_topic(ask(topic=topic), iter(test_rows)) is expected


def test_a_template_without_a_start_gets_the_tokenizers_own(chat_tokenizer: Any) -> None:
    """SOLAR's template writes no <s>, which its tokenizer puts before every text."""
    from tokenizers import processors

    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = "{% for message in messages %}### User:\n{{ message.content }}\n\n{% endfor %}### Assistant:\n"
    bos = tokenizer.bos_token_id
    row = {"dialogue": DIALOGUES[0], "topic": ""}
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    (plain,) = frame(tokenizer).encode([row])
    assert plain.ids[0] != bos
    start = (tokenizer.bos_token, bos)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start[0]} $A", pair=f"{start[0]} $A $B", special_tokens=[start]
    )
    (started,) = frame(tokenizer).encode([row])
    assert started.ids == [bos, *plain.ids]
