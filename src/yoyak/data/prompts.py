"""Prompts for decoder-only models: as text, and as token ids that fit a length limit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from yoyak.config.sections import Prompt
from yoyak.data.encoding_checks import neutralize
from yoyak.data.truncation import EncodedDialogue, Truncation, count_turns, shorten
from yoyak.system.errors import YoyakError

INSTRUCTIONS = (  # the first one is always used; the others are the augmentation `templates`
    "다음 대화를 간결하게 요약해주세요.",
    "아래 대화의 핵심 내용을 한두 문장으로 정리해주세요.",
    "다음 대화에서 누가 무엇을 하기로 했는지 짧게 써 주세요.",
    "대화를 읽고 중요한 점만 간추려 주세요.",
    "아래는 여러 사람의 대화입니다. 요점을 요약문으로 작성해주세요.",
)
MIN_DIALOGUE_TOKENS = 16  # that the rest of a prompt must leave for the dialogue


@dataclass(frozen=True)
class PromptBuilder:
    """Makes prompts for one tokenizer.

    Attributes:
        tokenizer: of the model that reads the prompts.
        settings: section prompt of params.yaml.
        max_length: tokens of a prompt.
        names_topic: whether the structured question names the topic of a dialogue (`uses_topic`).
        truncation: where turns of a dialogue that is too long are left out.
    """

    tokenizer: PreTrainedTokenizerBase
    settings: Prompt
    max_length: int
    names_topic: bool
    truncation: Truncation

    def render(self, dialogue: str, topic: str = "", instruction: int = 0) -> str:
        """The text of a prompt, up to the place where the model continues. `instruction` is an index into INSTRUCTIONS."""
        text = INSTRUCTIONS[instruction]
        dialogue, topic = neutralize(self.tokenizer, dialogue), neutralize(self.tokenizer, topic)
        if self.settings.style == "instruction":
            return f"### Instruction:\n{text}\n\n### Input:\n{dialogue}\n\n### Response:\n"
        if self.settings.style == "structured":
            subject = topic if self.names_topic and topic else "대화"
            question = text if instruction else f"위 {subject} 주제에 대한 대화를 요약해주세요."
            message = f"[Conversation]\n{dialogue}\n\n[Question]\n{question}"
        else:
            message = f"{text if instruction else '다음 대화를 요약해주세요'}:\n{dialogue}"
        system = [{"role": "system", "content": self.settings.system}] if self.settings.system else []
        return render_chat(self.tokenizer, [*system, {"role": "user", "content": message}])

    def encode(self, rows: Sequence[Mapping[str, str]], *, instruction: int = 0) -> list[EncodedDialogue]:
        """The prompts of rows with dialogue and topic, each at most `max_length` tokens.

        A dialogue that is too long loses whole turns until its prompt fits (`truncation.shorten`). The question always stays.

        Raises:
            YoyakError: if a prompt without a dialogue leaves no room for one.
        """
        self._check_room(rows)
        texts = [self.render(row["dialogue"], row.get("topic", ""), instruction) for row in rows]
        return [
            EncodedDialogue(ids, len(ids), count_turns(row["dialogue"]))
            if len(ids) <= self.max_length
            else self._shorten(row, len(ids), instruction)
            for row, ids in zip(rows, self._token_ids(texts), strict=True)
        ]

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of whole prompts. They start with <s> if the tokenizer's texts do. Most chat templates write <s> themselves,
        that of SOLAR does not."""
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False).input_ids
        bos = self.tokenizer.bos_token_id
        if bos is None or self.tokenizer("가").input_ids[0] != bos:
            return ids
        return [row if row[:1] == [bos] else [bos, *row] for row in ids]

    def _check_room(self, rows: Sequence[Mapping[str, str]]) -> None:
        """Check the longest prompts without a dialogue: those with the longest topic and with the longest instruction."""
        topic = max((row.get("topic", "") for row in rows), key=len, default="")
        longest = max(range(len(INSTRUCTIONS)), key=lambda index: len(INSTRUCTIONS[index]))
        empty_prompts = self._token_ids([self.render("", topic), self.render("", instruction=longest)])
        tokens = max(map(len, empty_prompts))
        if tokens + MIN_DIALOGUE_TOKENS > self.max_length:
            raise YoyakError(
                f"tokenizer.max_input_length: {self.max_length} is too small. The prompt without a dialogue takes {tokens} "
                f"tokens, and a dialogue needs at least {MIN_DIALOGUE_TOKENS} more"
            )

    def _shorten(self, row: Mapping[str, str], tokens: int, instruction: int) -> EncodedDialogue:
        return shorten(
            row["dialogue"],
            encode=lambda dialogue: self._token_ids([self.render(dialogue, row.get("topic", ""), instruction)])[0],
            tokens=tokens,
            max_length=self.max_length,
            truncation=self.truncation,
        )


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
