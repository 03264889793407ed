import copy
import re
import time
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import processors

from tests.conftest import DIALOGUES, SHARED, SUMMARIES, WITHOUT_ADDITIONS
from yoyak.config.generation_section import INSTRUCTIONS
from yoyak.config.sections import Prompt
from yoyak.data import chat_encoding, prompts
from yoyak.data.truncation import EncodedDialogue
from yoyak.system.errors import YoyakError

LLAMA = SHARED / "tokenizers" / "llama-3.2-korean-3b"
SYSTEM = "당신은 대화를 요약합니다."
Style = Literal["structured", "plain", "instruction"]
STYLES: tuple[Style, ...] = ("structured", "plain", "instruction")
CHOICES = (None, *INSTRUCTIONS[1:])  # the usual question and the four others

DIALOGUE = "#Person1#: 안녕하세요, 방 있나요?\n#Person2#: 네, 몇 분이세요?"
STRUCTURED = f"[Conversation]\n{DIALOGUE}\n\n[Question]\n위 숙소 예약 주제에 대한 대화를 요약해주세요."
WITHOUT_TOPIC = f"[Conversation]\n{DIALOGUE}\n\n[Question]\n위 대화 주제에 대한 대화를 요약해주세요."
PLAIN = f"다음 대화를 요약해주세요:\n{DIALOGUE}"
INSTRUCTION = f"### Instruction:\n다음 대화를 간결하게 요약해주세요.\n\n### Input:\n{DIALOGUE}\n\n### Response:\n"

LONG = "\n".join(f"#Person{turn % 3 + 1}#: {turn}번째 말입니다. {'그리고 ' * (turn % 5)}끝." for turn in range(30))


def prompt_settings(style: Style = "structured", **changes: Any) -> Prompt:
    return Prompt(style=style, **({"system": None, "topic": "auto", **WITHOUT_ADDITIONS} | changes))


def make_builder(
    tokenizer: Any, style: Style = "structured", *, limit: int = 10**6, topic: bool = True, **changes: Any
) -> prompts.PromptBuilder:
    return prompts.PromptBuilder(
        tokenizer, prompt_settings(style, **changes), max_length=limit, names_topic=topic, truncation="middle"
    )


def ids_of(builder: prompts.PromptBuilder, dialogue: str, topic: str = "", instruction: str | None = None) -> list[int]:
    """Return the token ids of the rendered prompt. A chat template contains <s>. For plain text the tokenizer adds <s>."""
    text = builder.render(dialogue, topic, instruction)
    ids: list[int] = builder.tokenizer(text, add_special_tokens=builder.settings.style == "instruction").input_ids
    return ids


def empty_prompt_tokens(builder: prompts.PromptBuilder, topic: str = "") -> list[int]:
    """The number of tokens of the prompt without a dialogue, for each instruction."""
    return [len(ids_of(builder, "", topic, instruction)) for instruction in CHOICES]


def dialogue_of(builder: prompts.PromptBuilder, ids: list[int], topic: str = "", instruction: str | None = None) -> str:
    """The dialogue that a prompt contains. Fails if the text around it is not complete."""
    before, after = builder.render("\0", topic, instruction).split("\0")
    text = builder.tokenizer.decode(ids)
    if builder.settings.style == "instruction" and builder.tokenizer.bos_token:
        text = text.removeprefix(builder.tokenizer.bos_token)
    assert text.startswith(before)
    assert text.endswith(after)
    return str(text[len(before) : len(text) - len(after)])


@pytest.fixture(scope="module")
def llama(chat_tokenizer: Any) -> Any:
    """The chat tokenizer of the tests with Llama 3's template. Its vocabulary is not available."""
    if not LLAMA.is_dir():
        pytest.skip("no ../shared/tokenizers")
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = (LLAMA / "chat_template.jinja").read_text(encoding="utf-8")
    return tokenizer


@pytest.fixture(params=["chat", "qwen3"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("chat_tokenizer" if request.param == "chat" else request.param)


@pytest.fixture
def eos_adding_tokenizer(chat_tokenizer: Any) -> Any:
    """A tokenizer that adds a start and an end token to every text."""
    tokenizer = copy.deepcopy(chat_tokenizer)
    begin, end = tokenizer.bos_token, tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", special_tokens=[(begin, tokenizer.bos_token_id), (end, tokenizer.eos_token_id)]
    )
    assert tokenizer("가").input_ids[-1] == tokenizer.eos_token_id
    return tokenizer


# The text of the prompt


def qwen3_chat(user_text: str, system: str | None) -> str:
    before = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    return f"{before}<|im_start|>user\n{user_text}<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("system", [None, SYSTEM], ids=["no system", "system"])
@pytest.mark.parametrize(
    ("style", "topic", "user_text"),
    [
        ("structured", "숙소 예약", STRUCTURED),
        ("structured", "", WITHOUT_TOPIC),
        ("plain", "숙소 예약", PLAIN),
        ("plain", "", PLAIN),
    ],
    ids=["structured", "structured without a topic", "plain", "plain without a topic"],
)
def test_the_whole_prompt_with_the_template_of_qwen3(
    qwen3: Any, style: Style, topic: str, user_text: str, system: str | None
) -> None:
    builder = make_builder(qwen3, style, system=system)
    assert builder.render(DIALOGUE, topic) == qwen3_chat(user_text, system)
    (encoded,) = builder.encode([{"dialogue": DIALOGUE, "topic": topic}])
    assert qwen3.decode(encoded.ids) == qwen3_chat(user_text, system)
    turn = qwen3.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert [encoded.ids.count(id_) for id_ in turn] == ([3, 2] if system else [2, 1])  # as special tokens, not as text


def llama_chat(user_text: str, system: str) -> str:
    return (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        f"Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n{system}<|eot_id|>"
        f"<|start_header_id|>user<|end_header_id|>\n\n{user_text}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


@pytest.mark.parametrize("system", [None, SYSTEM], ids=["no system", "system"])
@pytest.mark.parametrize(("style", "user_text"), [("structured", STRUCTURED), ("plain", PLAIN)], ids=["structured", "plain"])
def test_the_whole_prompt_with_the_template_of_llama(llama: Any, style: Style, user_text: str, system: str | None) -> None:
    (own,) = re.findall(r'set system_message = "(.*)"', llama.chat_template)  # Llama's default system message
    expected = llama_chat(user_text, system or own)
    builder = make_builder(llama, style, system=system)
    assert builder.render(DIALOGUE, "숙소 예약") == expected
    (encoded,) = builder.encode([{"dialogue": DIALOGUE, "topic": "숙소 예약"}])
    assert llama.decode(encoded.ids) == expected
    assert encoded.ids[0] == llama.bos_token_id
    assert encoded.ids.count(llama.bos_token_id) == 1


@pytest.mark.parametrize("system", [None, SYSTEM], ids=["no system", "system"])
@pytest.mark.parametrize(("style", "user_text"), [("structured", WITHOUT_TOPIC), ("plain", PLAIN)], ids=["structured", "plain"])
def test_the_whole_prompt_with_the_template_of_the_tests(
    chat_tokenizer: Any, style: Style, user_text: str, system: str | None
) -> None:
    turns = [*([("system", system)] if system else []), ("user", user_text), ("assistant", "")]
    heads = [f"<|start_header_id|>{role}<|end_header_id|>\n\n" for role, _ in turns]
    bodies = [f"{text}<|eot_id|>" if text else "" for _, text in turns]
    bodies[0] = f"Today: 26 Jul 2024\n\n{bodies[0]}"
    expected = "<|begin_of_text|>" + "".join(head + body for head, body in zip(heads, bodies, strict=True))
    builder = make_builder(chat_tokenizer, style, system=system)
    assert builder.render(DIALOGUE) == expected
    (encoded,) = builder.encode([{"dialogue": DIALOGUE}])
    assert chat_tokenizer.decode(encoded.ids) == expected
    assert encoded.ids.count(chat_tokenizer.bos_token_id) == 1


def test_no_prompt_holds_todays_date(chat_tokenizer: Any) -> None:
    today = time.strftime("%d %b %Y")
    template_alone = chat_tokenizer.apply_chat_template([{"role": "user", "content": "가"}], tokenize=False)
    assert today in template_alone
    assert today not in make_builder(chat_tokenizer).render(DIALOGUE)


def test_thinking_is_turned_off_for_hybrid_models(chat_tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = "{% if enable_thinking is defined and enable_thinking is false %}no thinking{% endif %}"
    assert prompts.render_chat(tokenizer, [{"role": "user", "content": "가"}]) == "no thinking"


@pytest.mark.parametrize("system", [None, SYSTEM], ids=["no system", "system"])
def test_the_whole_instruction_prompt(tokenizer: Any, system: str | None) -> None:
    """This style uses no chat template, no system message and no topic."""
    builder = make_builder(tokenizer, "instruction", system=system)
    assert builder.render(DIALOGUE, "숙소 예약") == INSTRUCTION
    (encoded,) = builder.encode([{"dialogue": DIALOGUE, "topic": "숙소 예약"}])
    assert tokenizer.decode(encoded.ids) == (tokenizer.bos_token or "") + INSTRUCTION
    assert encoded.ids == tokenizer(INSTRUCTION).input_ids


def test_the_topic_is_left_out_if_prompts_do_not_name_it(chat_tokenizer: Any) -> None:
    assert WITHOUT_TOPIC in make_builder(chat_tokenizer, topic=False).render(DIALOGUE, "숙소 예약")


def test_there_are_five_different_instructions() -> None:
    assert len(INSTRUCTIONS) == len(set(INSTRUCTIONS)) == 5


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("structured", "[Conversation]\n{dialogue}\n\n[Question]\n{instruction}<|eot_id|>"),
        ("plain", "{instruction}:\n{dialogue}<|eot_id|>"),
        ("instruction", "### Instruction:\n{instruction}\n\n### Input:\n{dialogue}\n\n### Response:\n"),
    ],
)
def test_each_prompt_has_its_own_instruction(chat_tokenizer: Any, style: Style, expected: str) -> None:
    builder = make_builder(chat_tokenizer, style)
    texts = [builder.render(DIALOGUE, "숙소 예약", instruction) for instruction in CHOICES]
    assert len(set(texts)) == 5
    for text, instruction in zip(texts[1:], INSTRUCTIONS[1:], strict=True):
        assert expected.format(dialogue=DIALOGUE, instruction=instruction) in text
        assert [other in text for other in INSTRUCTIONS].count(True) == 1


@pytest.mark.parametrize("style", STYLES)
def test_the_ids_are_those_of_the_rendered_text(tokenizer: Any, style: Style) -> None:
    builder = make_builder(tokenizer, style)
    for instruction in CHOICES:
        (encoded,) = builder.encode([{"dialogue": DIALOGUE, "topic": "숙소 예약"}], instructions=[instruction])
        assert encoded.ids == ids_of(builder, DIALOGUE, "숙소 예약", instruction)
        assert (encoded.tokens, encoded.turns_left_out, encoded.turn_cut) == (len(encoded.ids), 0, False)


@pytest.mark.parametrize("style", STYLES)
def test_a_prompt_does_not_end_with_eos_if_the_tokenizer_adds_eos(
    chat_tokenizer: Any, eos_adding_tokenizer: Any, style: Style
) -> None:
    rows = [{"dialogue": text} for text in DIALOGUES]
    expected = make_builder(chat_tokenizer, style).encode(rows)
    actual = make_builder(eos_adding_tokenizer, style).encode(rows)
    assert actual == expected
    for encoded in actual:
        assert encoded.ids[-1] != eos_adding_tokenizer.eos_token_id
        assert encoded.ids.count(eos_adding_tokenizer.bos_token_id) == 1


# Templates that are missing or refuse the prompt


@pytest.mark.parametrize("style", ["structured", "plain"])
def test_without_a_chat_template_the_error_names_another_style(chat_tokenizer: Any, style: Style) -> None:
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(YoyakError, match=r"no chat template; choose prompt\.style: instruction"):
        make_builder(tokenizer, style).encode([{"dialogue": DIALOGUE}])
    assert make_builder(tokenizer, "instruction").render(DIALOGUE) == INSTRUCTION


def test_a_template_that_refuses_a_system_message_is_a_clear_error(chat_tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{{ messages[0].content }}"
    )
    with pytest.raises(YoyakError, match=r"System role not supported; try prompt\.system: null"):
        make_builder(tokenizer, system=SYSTEM).encode([{"dialogue": DIALOGUE}])
    assert make_builder(tokenizer).render(DIALOGUE) == WITHOUT_TOPIC


def test_other_errors_of_a_template_do_not_mention_the_system_message(chat_tokenizer: Any) -> None:
    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = "{{ raise_exception('no') }}"
    with pytest.raises(YoyakError, match=r"does not accept the prompt: no$"):
        make_builder(tokenizer).render(DIALOGUE)


# Dialogues that are too long


@pytest.mark.parametrize("style", STYLES)
def test_a_prompt_of_exactly_the_limit_is_not_shortened(tokenizer: Any, style: Style) -> None:
    whole = ids_of(make_builder(tokenizer, style), LONG)
    row = {"dialogue": LONG}
    assert make_builder(tokenizer, style, limit=len(whole)).encode([row]) == [EncodedDialogue(whole, len(whole), 30)]
    (cut,) = make_builder(tokenizer, style, limit=len(whole) - 1).encode([row])
    assert len(cut.ids) < len(whole) == cut.tokens
    assert cut.turns_left_out >= 1


def test_turns_are_left_out_from_the_middle(tokenizer: Any) -> None:
    builder = make_builder(tokenizer)
    a, b, c, d, e = turns = [
        f"#Person{index % 2 + 1}#: {word} 그리고 {'다시 ' * 9}말합니다." for index, word in enumerate("가나다라마")
    ]
    for kept in ([e], [a, e], [a, d, e], [a, b, d, e], [a, b, c, d, e]):
        limit = len(ids_of(builder, "\n".join(kept))) + 5
        (encoded,) = make_builder(tokenizer, limit=limit).encode([{"dialogue": "\n".join(turns)}])
        assert dialogue_of(builder, encoded.ids).split("\n") == kept
        assert (encoded.turns_left_out, encoded.turn_cut) == (5 - len(kept), False)
        assert encoded.tokens == len(ids_of(builder, "\n".join(turns)))


def without_middle(builder: prompts.PromptBuilder, turns: list[str]) -> list[tuple[int, list[str]]]:
    """For each number of turns from all to two: the tokens of the prompt with so many turns, without the middle ones, and
    these turns.
    """
    kept = [[*turns[: count // 2], *turns[len(turns) - (count + 1) // 2 :]] for count in range(len(turns), 1, -1)]
    return [(len(ids_of(builder, "\n".join(some))), some) for some in kept]


@pytest.mark.slow
def test_no_turn_is_left_out_that_would_fit(tokenizer: Any) -> None:
    for style in STYLES:
        builder = make_builder(tokenizer, style)
        turns = LONG.split("\n")
        least = max(len(ids_of(builder, turns[-1])), max(empty_prompt_tokens(builder)) + prompts.MIN_DIALOGUE_TOKENS)
        candidates = without_middle(builder, turns)
        for limit in range(least, len(ids_of(builder, LONG)), 3):
            (encoded,) = make_builder(tokenizer, style, limit=limit).encode([{"dialogue": LONG}])
            # The last turn always counts as fitting.
            expected = next((kept for tokens, kept in candidates if tokens <= limit), turns[-1:])
            assert dialogue_of(builder, encoded.ids).split("\n") == expected, (style, limit)


speech = st.text(st.sampled_from("가나다 비가온다 ?!.,:#1KTX漢あ😀é"), min_size=1, max_size=60).map(
    lambda utterance: " ".join(utterance.split()) or "네"
)
turn = st.builds("{}: {}".format, st.sampled_from(["#Person1#", "#Person2#", "화자3", "P4"]), speech)


@given(
    turns=st.lists(turn, min_size=1, max_size=14),
    topic=st.sampled_from(["", "여행", "병원 예약"]),
    style=st.sampled_from(STYLES),
    system=st.sampled_from([None, SYSTEM]),
    instruction=st.sampled_from(CHOICES),
    room=st.integers(prompts.MIN_DIALOGUE_TOKENS, 250),
)
@settings(max_examples=150, deadline=None)
def test_a_dialogue_that_is_too_long_keeps_its_first_and_last_turns(
    chat_tokenizer: Any, *, turns: list[str], topic: str, style: Style, system: str | None, instruction: str | None, room: int
) -> None:
    builder = make_builder(chat_tokenizer, style, system=system)
    limit = max(empty_prompt_tokens(builder, topic)) + room
    row = {"dialogue": "\n".join(turns), "topic": topic}
    (encoded,) = make_builder(chat_tokenizer, style, limit=limit, system=system).encode([row], instructions=[instruction])
    assert len(encoded.ids) <= limit
    assert encoded.tokens == len(ids_of(builder, row["dialogue"], topic, instruction))
    kept = dialogue_of(builder, encoded.ids, topic, instruction).split("\n")
    assert len(kept) == len(turns) - encoded.turns_left_out
    order = [index for pair in zip(reversed(range(len(turns))), range(len(turns)), strict=True) for index in pair]
    order = order[: len(turns)]  # in which turns are kept

    def ids_with(count: int, further: str = "") -> list[int]:
        texts = {index: turns[index] for index in order[:count]} | ({order[count]: further} if further else {})
        return ids_of(builder, "\n".join(texts[index] for index in sorted(texts)), topic, instruction)

    whole = len(kept) - encoded.turn_cut
    cut = sorted(order[: len(kept)]).index(order[whole]) if encoded.turn_cut else None
    assert [text for place, text in enumerate(kept) if place != cut] == [turns[index] for index in sorted(order[:whole])]
    if cut is not None:
        speaker, utterance = turns[order[whole]].split(": ", 1)
        rest = kept[cut].removeprefix(f"{speaker}: ")
        assert kept[cut] == f"{speaker}: {rest}"
        assert utterance.endswith(rest)
        assert len(rest) < len(utterance)
        assert len(ids_of(builder, turns[order[whole]], topic, instruction)) > limit, "a turn that fits alone is not cut"
        assert len(ids_with(whole, f"{speaker}: {utterance[len(utterance) - len(rest) - 1 :]}")) > limit
    elif whole < len(turns):
        assert len(ids_with(whole + 1)) > limit
    if encoded.tokens <= limit:
        assert (encoded.turns_left_out, encoded.turn_cut) == (0, False)
    else:
        assert encoded.turns_left_out or encoded.turn_cut


@pytest.mark.parametrize("style", STYLES)
def test_a_last_turn_that_is_too_long_keeps_its_end(tokenizer: Any, style: Style) -> None:
    utterance = " ".join(f"{number}번째 말입니다." for number in range(300))
    builder = make_builder(tokenizer, style)
    limit = max(empty_prompt_tokens(builder)) + 60
    for before, left_out in (("", 0), ("#Person1#: 가\n#Person2#: 나\n", 2)):
        (encoded,) = make_builder(tokenizer, style, limit=limit).encode([{"dialogue": f"{before}#Person3#: {utterance}"}])
        assert encoded.turn_cut
        assert encoded.turns_left_out == left_out
        assert limit - 4 <= len(encoded.ids) <= limit
        speaker, rest = dialogue_of(builder, encoded.ids).split(": ")
        assert speaker == "#Person3#"
        assert utterance.endswith(rest)


def test_another_turn_that_is_too_long_fills_the_room_that_is_left(chat_tokenizer: Any) -> None:
    builder = make_builder(chat_tokenizer)
    limit = max(empty_prompt_tokens(builder)) + 60
    turns = ["#Person1#: 가", f"#Person2#: {'나 ' * 300}다", "#Person1#: 라"]
    (encoded,) = make_builder(chat_tokenizer, limit=limit).encode([{"dialogue": "\n".join(turns)}])
    first, middle, last = dialogue_of(builder, encoded.ids).split("\n")
    assert (first, last) == (turns[0], turns[2])
    assert middle.startswith("#Person2#: ") and middle.endswith("나 나 다")
    assert limit - 4 <= len(encoded.ids) <= limit
    assert (encoded.turns_left_out, encoded.turn_cut) == (0, True)


@pytest.mark.parametrize("style", STYLES)
def test_a_prompt_without_room_for_a_dialogue_is_a_clear_error(tokenizer: Any, style: Style) -> None:
    tokens = empty_prompt_tokens(make_builder(tokenizer, style))
    enough, few = max(tokens) + prompts.MIN_DIALOGUE_TOKENS, min(tokens) + prompts.MIN_DIALOGUE_TOKENS - 1
    short, long = {"dialogue": "#Person1#: 네"}, {"dialogue": LONG}
    make_builder(tokenizer, style, limit=enough).encode([short, long])
    for row in (short, long):  # also for a short dialogue
        with pytest.raises(YoyakError) as caught:
            make_builder(tokenizer, style, limit=few).encode([row])
        match = re.match(
            rf"tokenizer\.max_input_length: {few} is too small\. The prompt without a dialogue takes (\d+) tokens",
            str(caught.value),
        )
        assert match
        assert int(match[1]) in tokens
        least = int(match[1]) + prompts.MIN_DIALOGUE_TOKENS
        make_builder(tokenizer, style, limit=least).encode([row])
        with pytest.raises(YoyakError, match="too small"):
            make_builder(tokenizer, style, limit=least - 1).encode([row])


def test_a_long_topic_takes_room_from_the_dialogue(tokenizer: Any) -> None:
    topic = "한국의 대중교통 " * 10
    tokens = empty_prompt_tokens(make_builder(tokenizer), topic)[0]
    rows = [{"dialogue": LONG, "topic": "여행"}, {"dialogue": LONG, "topic": topic}]
    limit = tokens + prompts.MIN_DIALOGUE_TOKENS
    assert max(len(encoded.ids) for encoded in make_builder(tokenizer, limit=limit).encode(rows)) <= limit
    make_builder(tokenizer, limit=tokens, topic=False).encode(rows)  # a topic that is not named takes no room
    with pytest.raises(YoyakError, match=f"The prompt without a dialogue takes {tokens} tokens"):
        make_builder(tokenizer, limit=tokens).encode(rows)


# Answers and topics


@pytest.mark.parametrize("limit", [2, 3, 5, 8])
def test_a_truncated_answer_ends_with_eos(tokenizer: Any, limit: int) -> None:
    whole = tokenizer(SUMMARIES[3], add_special_tokens=False).input_ids
    ids, tokens = chat_encoding.encode_answers(tokenizer, [SUMMARIES[3]], limit)
    assert ids == [[*whole[: limit - 1], tokenizer.eos_token_id]]
    assert tokens == [len(whole) + 1]


def test_an_answer_of_exactly_the_limit_is_not_truncated(tokenizer: Any) -> None:
    whole = [*tokenizer(SUMMARIES[0], add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    assert chat_encoding.encode_answers(tokenizer, [SUMMARIES[0]], len(whole)) == ([whole], [len(whole)])


def test_an_answer_is_the_summary_and_one_eos(tokenizer: Any, eos_adding_tokenizer: Any) -> None:
    for one in (tokenizer, eos_adding_tokenizer):
        ids, _ = chat_encoding.encode_answers(one, SUMMARIES, 1000)
        assert [one.decode(row) for row in ids] == [text + one.eos_token for text in SUMMARIES]
        assert all(row.count(one.eos_token_id) == 1 for row in ids)


WITH_TOPIC, NO_TOPIC = {"topic": "여행"}, {"topic": ""}


@pytest.mark.parametrize(
    ("topic", "test_rows", "expected"),
    [
        ("auto", [WITH_TOPIC, WITH_TOPIC], True),
        ("auto", [WITH_TOPIC, NO_TOPIC], False),
        ("auto", [{}], False),
        ("always", [NO_TOPIC, {}], True),
        ("never", [WITH_TOPIC, WITH_TOPIC], False),
    ],
)
def test_when_prompts_name_the_topic(topic: str, test_rows: list[dict[str, str]], expected: bool) -> None:
    assert prompts.uses_topic(prompt_settings(topic=topic), iter(test_rows)) is expected


def test_the_start_token_of_the_tokenizer_is_added_if_the_template_has_none(chat_tokenizer: Any) -> None:
    """The template of SOLAR writes no <s>, but its tokenizer puts <s> before every text."""
    from tokenizers import processors

    tokenizer = copy.deepcopy(chat_tokenizer)
    tokenizer.chat_template = "{% for message in messages %}### User:\n{{ message.content }}\n\n{% endfor %}### Assistant:\n"
    bos = tokenizer.bos_token_id
    row = {"dialogue": DIALOGUES[0], "topic": ""}
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    (plain,) = make_builder(tokenizer).encode([row])
    assert plain.ids[0] != bos
    start = (tokenizer.bos_token, bos)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start[0]} $A", pair=f"{start[0]} $A $B", special_tokens=[start]
    )
    (started,) = make_builder(tokenizer).encode([row])
    assert started.ids == [bos, *plain.ids]
