"""Prompts for decoder-only models: as messages, as text, and as token ids that fit a length limit."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from transformers import PreTrainedTokenizerBase

from yoyak.config.generation_section import INSTRUCTIONS
from yoyak.config.sections import Prompt
from yoyak.data.encoding_checks import neutralize
from yoyak.data.examples import Example, ExampleChooser
from yoyak.data.truncation import EncodedDialogue, Truncation, count_turns, shorten
from yoyak.system.errors import YoyakError

MIN_DIALOGUE_TOKENS = 16  # that the rest of a prompt must leave for the dialogue


@dataclass(frozen=True)
class PromptTexts:
    """What a prompt says, for models here and behind an API alike.

    Attributes:
        settings: section prompt of params.yaml.
        names_topic: whether the structured question names the topic of a dialogue (`uses_topic`).
    """

    settings: Prompt
    names_topic: bool

    def question(self, dialogue: str, topic: str = "", instruction: str | None = None) -> str:
        """The message with a dialogue, with the usual question of the style or another instruction."""
        if self.settings.style == "instruction":
            return f"### Instruction:\n{instruction or INSTRUCTIONS[0]}\n\n### Input:\n{dialogue}\n\n### Response:\n"
        if self.settings.style == "structured":
            subject = topic if self.names_topic and topic else "대화"
            question = instruction or f"위 {subject} 주제에 대한 대화를 요약해주세요."
            return f"[Conversation]\n{dialogue}\n\n[Question]\n{question}"
        return f"{instruction or '다음 대화를 요약해주세요'}:\n{dialogue}"

    def messages(
        self, dialogue: str, topic: str = "", instruction: str | None = None, examples: Sequence[Example] = ()
    ) -> list[dict[str, str]]:
        """The messages of a chat. Examples are earlier turns of it; the first of `examples` stands next to the question."""
        messages = [{"role": "system", "content": self.settings.system}] if self.settings.system else []
        for example in reversed(examples):
            question = self.question(example.dialogue, example.topic, instruction)
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": example.summary}]
        return [*messages, {"role": "user", "content": self.question(dialogue, topic, instruction)}]


def fit_prompt(
    dialogue: str,
    examples: Sequence[Example],
    *,
    encode: Callable[[str, Sequence[Example]], Any],
    max_length: int,
    truncation: Truncation,
) -> EncodedDialogue:
    """A prompt of at most `max_length` tokens.

    If it is too long, examples are left out whole, the last of them first. If the dialogue does not fit even without
    examples, it loses turns (`truncation.shorten`).

    Args:
        dialogue: one turn on each line.
        examples: the best first.
        encode: what the model reads for a dialogue and examples; its `len` is the number of tokens.
        max_length: tokens of a prompt.
        truncation: where turns of a dialogue that is too long are left out.
    """
    for count in range(len(examples), -1, -1):
        ids = encode(dialogue, examples[:count])
        if len(ids) <= max_length:
            left_out = len(examples) - count
            turns = count_turns(dialogue)
            return EncodedDialogue(ids, len(ids), turns, examples=count, examples_left_out=left_out)
    shortened = shorten(
        dialogue,
        encode=lambda text: encode(text, ()),
        tokens=len(ids),
        max_length=max_length,
        truncation=truncation,
    )
    return replace(shortened, examples_left_out=len(examples))


@dataclass(frozen=True)
class PromptBuilder:
    """Makes prompts for one tokenizer.

    Attributes:
        tokenizer: of the model that reads the prompts.
        settings: section prompt of params.yaml.
        max_length: tokens of a prompt.
        names_topic: whether the structured question names the topic of a dialogue (`uses_topic`).
        truncation: where turns of a dialogue that is too long are left out.
        chooser: chooses the examples for a dialogue; None for prompts without examples.
    """

    tokenizer: PreTrainedTokenizerBase
    settings: Prompt
    max_length: int
    names_topic: bool
    truncation: Truncation
    chooser: ExampleChooser | None = None

    def render(self, dialogue: str, topic: str = "", instruction: str | None = None, examples: Sequence[Example] = ()) -> str:
        """The text of a prompt, up to the place where the model continues.

        Args:
            dialogue: one turn on each line.
            topic: of the dialogue.
            instruction: stands in place of the usual question.
            examples: the best first.
        """
        safe = partial(neutralize, self.tokenizer)
        dialogue, topic = safe(dialogue), safe(topic)
        examples = [Example(safe(item.dialogue), safe(item.summary), safe(item.topic)) for item in examples]
        texts = PromptTexts(self.settings, self.names_topic)
        if self.settings.style == "instruction":  # for models without a chat template, and without a system message
            shown = [texts.question(item.dialogue, item.topic, instruction) + item.summary for item in reversed(examples)]
            return "\n\n".join([*shown, texts.question(dialogue, topic, instruction)])
        return render_chat(self.tokenizer, texts.messages(dialogue, topic, instruction, examples))

    def encode(
        self, rows: Sequence[Mapping[str, str]], *, instructions: Sequence[str | None] | None = None
    ) -> list[EncodedDialogue]:
        """The prompts of rows with dialogue and topic, each at most `max_length` tokens.

        A dialogue that is too long loses whole turns until its prompt fits (`fit_prompt`). The question always stays.

        Args:
            rows: processed rows.
            instructions: for each row what stands in place of the usual question, or None.

        Raises:
            YoyakError: if a prompt without a dialogue leaves no room for one.
        """
        asked = instructions or [None] * len(rows)
        self._check_room(rows, asked)
        texts = [self.render(row["dialogue"], row.get("topic", ""), one) for row, one in zip(rows, asked, strict=True)]
        return [
            EncodedDialogue(ids, len(ids), count_turns(row["dialogue"]))
            if len(ids) <= self.max_length and self.chooser is None
            else self._fit(row, one)
            for row, one, ids in zip(rows, asked, self._token_ids(texts), strict=True)
        ]

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of whole prompts. They start with <s> if the tokenizer's texts do. Most chat templates write <s> themselves,
        that of SOLAR does not."""
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False).input_ids
        bos = self.tokenizer.bos_token_id
        if bos is None or self.tokenizer("가").input_ids[0] != bos:
            return ids
        return [row if row[:1] == [bos] else [bos, *row] for row in ids]

    def _check_room(self, rows: Sequence[Mapping[str, str]], asked: Sequence[str | None]) -> None:
        """Check the longest prompts without a dialogue: those with the longest topic and with the longest instruction."""
        topic = max((row.get("topic", "") for row in rows), key=len, default="")
        longest = max([*INSTRUCTIONS, *filter(None, asked)], key=len)
        empty_prompts = self._token_ids([self.render("", topic), self.render("", instruction=longest)])
        tokens = max(map(len, empty_prompts))
        if tokens + MIN_DIALOGUE_TOKENS > self.max_length:
            raise YoyakError(
                f"tokenizer.max_input_length: {self.max_length} is too small. The prompt without a dialogue takes {tokens} "
                f"tokens, and a dialogue needs at least {MIN_DIALOGUE_TOKENS} more"
            )

    def _fit(self, row: Mapping[str, str], instruction: str | None) -> EncodedDialogue:
        def encode(dialogue: str, examples: Sequence[Example]) -> list[int]:
            return self._token_ids([self.render(dialogue, row.get("topic", ""), instruction, examples)])[0]

        examples = self.chooser.choose(row["dialogue"]) if self.chooser else []
        return fit_prompt(row["dialogue"], examples, encode=encode, max_length=self.max_length, truncation=self.truncation)


def render_chat(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str:
    """The messages in the tokenizer's own chat template, up to the start of the assistant's turn.

    Raises:
        YoyakError: if the tokenizer has no chat template, or the template does not accept these messages.
    """
    if not tokenizer.chat_template:
        raise YoyakError(
            f"{tokenizer.name_or_path}: its tokenizer has no chat template; choose prompt.style: instruction for a base model"
        )
    try:
        text: Any = tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=True,
            date_string="26 Jul 2024",  # Llama's template would write today's date, and no run would be reproducible
            enable_thinking=False,  # for Qwen3's hybrid models
        )
    except Exception as error:  # a template can raise any class
        hint = "; try prompt.system: null" if messages[0]["role"] == "system" else ""
        raise YoyakError(f"{tokenizer.name_or_path}: its chat template does not accept the prompt: {error}{hint}") from error
    return str(text)


def uses_topic(settings: Prompt, test_rows: Iterable[Mapping[str, str]]) -> bool:
    """Whether prompts name the topic of a dialogue.

    With `prompt.topic: auto` they do only if every test row has a topic, so that a model does not learn to rely on something
    that it will not be given.
    """
    return settings.topic == "always" or (settings.topic == "auto" and all(row.get("topic") for row in test_rows))
