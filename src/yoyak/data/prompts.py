"""What a decoder-only model is asked: a dialogue in a frame, as text and as token ids."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from transformers import PreTrainedTokenizerBase

from yoyak.config.sections import Prompt
from yoyak.system.errors import YoyakError

INSTRUCTIONS = (  # the first is asked always, the others are the augmentation
    "다음 대화를 간결하게 요약해주세요.",
    "아래 대화의 핵심 내용을 한두 문장으로 정리해주세요.",
    "다음 대화에서 누가 무엇을 하기로 했는지 짧게 써 주세요.",
    "대화를 읽고 중요한 점만 간추려 주세요.",
    "아래는 여러 사람의 대화입니다. 요점을 요약문으로 작성해주세요.",
)
FEWEST_FOR_DIALOGUE = 16  # tokens that a prompt must leave for the dialogue


@dataclass(frozen=True)
class Encoded:
    """A prompt's ids, and what its dialogue lost to fit."""

    ids: list[int]
    tokens: int  # before anything was left out
    turns_left_out: int = 0
    turn_cut: bool = False  # even the last turn alone was too long: its beginning was cut


@dataclass(frozen=True)
class Frame:
    """How one tokenizer's prompts are made. `render` gives the text of a dialogue with its topic and instruction."""

    tokenizer: PreTrainedTokenizerBase
    settings: Prompt
    max_length: int
    with_topic: bool

    def render(self, dialogue: str, topic: str = "", variant: int = 0) -> str:
        """The prompt as text, up to where the model has to go on. `variant` is an index into INSTRUCTIONS."""
        instruction = INSTRUCTIONS[variant]
        if self.settings.style == "instruction":
            return f"### Instruction:\n{instruction}\n\n### Input:\n{dialogue}\n\n### Response:\n"
        if self.settings.style == "structured":
            subject = topic if self.with_topic and topic else "대화"
            question = instruction if variant else f"위 {subject} 주제에 대한 대화를 요약해주세요."
            said = f"[Conversation]\n{dialogue}\n\n[Question]\n{question}"
        else:
            said = f"{instruction if variant else '다음 대화를 요약해주세요'}:\n{dialogue}"
        system = [{"role": "system", "content": self.settings.system}] if self.settings.system else []
        return chat(self.tokenizer, [*system, {"role": "user", "content": said}])

    def encode(self, rows: Sequence[Mapping[str, str]], *, variant: int = 0) -> list[Encoded]:
        """The prompts of rows with dialogue and topic, each at most max_length tokens.

        A dialogue that is too long loses turns from its middle, whole ones, until it fits; its last turn and the question
        always stay. If the last turn alone is too long, the beginning of what is said in it goes.

        Raises:
            YoyakError: if the frame without a dialogue leaves no room for one.
        """
        self._check_room(rows)
        texts = [self.render(row["dialogue"], row.get("topic", ""), variant) for row in rows]
        return [
            Encoded(ids, len(ids)) if len(ids) <= self.max_length else self._shorten(row, len(ids), variant)
            for row, ids in zip(rows, self._ids(texts), strict=True)
        ]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of whole prompts. They start with <s> if the tokenizer's texts do: most chat templates write it themselves, that
        of SOLAR does not."""
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False).input_ids
        bos = self.tokenizer.bos_token_id
        if bos is None or self.tokenizer("가").input_ids[0] != bos:
            return ids
        return [row if row[:1] == [bos] else [bos, *row] for row in ids]

    def _check_room(self, rows: Sequence[Mapping[str, str]]) -> None:
        """The longest frames: that with the longest topic, and that with the longest instruction."""
        topic = max((row.get("topic", "") for row in rows), key=len, default="")
        longest = max(range(len(INSTRUCTIONS)), key=lambda at: len(INSTRUCTIONS[at]))
        frames = self._ids([self.render("", topic), self.render("", variant=longest)])
        if (most := max(map(len, frames))) + FEWEST_FOR_DIALOGUE > self.max_length:
            raise YoyakError(
                f"tokenizer.max_input_length: {self.max_length} is too little: the prompt's frame alone takes {most} tokens, "
                f"and a dialogue needs at least {FEWEST_FOR_DIALOGUE} more"
            )

    def _shorten(self, row: Mapping[str, str], tokens: int, variant: int) -> Encoded:
        turns, topic = row["dialogue"].split("\n"), row.get("topic", "")
        render = partial(self.render, topic=topic, variant=variant)
        # From both ends inward, the last turn first.
        inward = [at for pair in zip(range(len(turns) - 1, -1, -1), range(len(turns)), strict=True) for at in pair][
            : len(turns)
        ]

        def keeping(count: int) -> list[int]:
            return self._ids([render("\n".join(turns[at] for at in sorted(inward[:count])))])[0]

        fewest, most = 0, len(turns)  # turns that fit, and that do not
        best: list[int] = []
        while most - fewest > 1:
            middle = (fewest + most) // 2
            ids = keeping(middle)
            fewest, most, best = (middle, most, ids) if len(ids) <= self.max_length else (fewest, middle, best)
        if fewest:
            return Encoded(best, tokens, turns_left_out=len(turns) - fewest)
        speaker, _, said = turns[-1].partition(": ")
        fewest, most = 0, len(said)  # characters of the end that fit, and that do not
        best = self._ids([render(f"{speaker}: ")])[0]
        while most - fewest > 1:
            middle = (fewest + most) // 2
            (ids,) = self._ids([render(f"{speaker}: {said[len(said) - middle :]}")])
            fewest, most, best = (middle, most, ids) if len(ids) <= self.max_length else (fewest, middle, best)
        return Encoded(best, tokens, turns_left_out=len(turns) - 1, turn_cut=True)


def chat(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str:
    """The messages in the tokenizer's own chat template, with the start of the assistant's turn.

    Raises:
        YoyakError: if there is no template, or it does not take these messages.
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
            date_string="26 Jul 2024",  # Llama's template would write today's date, and no run would come out twice
            enable_thinking=False,  # Qwen3's hybrid models
        )
    except Exception as error:  # whatever the template raises
        system = "; try prompt.system: null" if messages[0]["role"] == "system" else ""
        raise YoyakError(f"{tokenizer.name_or_path}: its chat template does not take the prompt: {error}{system}") from error
    return str(text)


def encode_targets(
    tokenizer: PreTrainedTokenizerBase, summaries: Sequence[str], max_length: int
) -> tuple[list[list[int]], list[int]]:
    """Ids of each summary, at most `max_length` with the final EOS, and its tokens before cutting."""
    ids = tokenizer(list(summaries), add_special_tokens=False).input_ids
    return [[*row[: max_length - 1], tokenizer.eos_token_id] for row in ids], [len(row) + 1 for row in ids]


def uses_topic(settings: Prompt, test_rows: Iterable[Mapping[str, str]]) -> bool:
    """Whether prompts name the topic. `auto`: only if every test row has one, so that no model learns to need what it will
    not be given."""
    return settings.topic == "always" or (settings.topic == "auto" and all(row.get("topic") for row in test_rows))
