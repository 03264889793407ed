"""The form of a synthetic dialogue with its summary: how it is asked for, and how an answer is read."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from yoyak.augmentation.base import Row
from yoyak.augmentation.protection import PROTECTED
from yoyak.augmentation.text_models.answers import dialogue_of
from yoyak.data.dialogue import LISTED_TAGS, SPEAKER_TAG, BadDialogueError, copies, parse, to_text

LEAST_TURNS = 2
TURNS_FACTOR = 2.0  # the turns may be at most this many times as many or as few as were asked for
SUMMARY_FACTOR = 2.0  # and the summary as long or as short as the longest or shortest summary of the examples

REASONS: Mapping[str, str] = {
    "no_format": "the answer does not have the parts [대화] and [요약], each once and in this order",
    "not_a_dialogue": "the dialogue has lines without a speaker, or no speaker at all",
    "other_speakers": "the dialogue has other speakers than were asked for",
    "other_length": "the dialogue has less than half or more than twice as many turns as were asked for",
    "unlisted_tag": "the texts have a tag that neither the data nor the examples have",
    "summary_length": "the summary is longer than the dialogue, or much longer or shorter than those of the examples",
    "summary_copies_dialogue": "the summary is a part of the dialogue",
}

PROMPT = """아래 보기와 같은 형식으로 새 대화 하나와 그 요약문을 써 주세요.

조건
{topic}- 말하는 사람: {count}명({speakers})
- 대화 길이: {turns}줄 안팎

지킬 점
1. 대화의 각 줄은 화자 표시와 콜론(:)으로 시작합니다. 예: "#Person1#: "
2. 대화는 실제로 주고받는 말처럼 씁니다. 존댓말과 반말은 말하는 사람들의 사이에 맞게 고릅니다.
3. 요약문은 한 문단으로, 대화에 나온 사실만 씁니다. 말하는 사람은 대화와 같은 화자 표시로 부릅니다.
4. 요약문의 문체와 길이는 보기의 요약문을 따릅니다.
5. 보기와 다른 상황을 새로 지어냅니다. 보기의 문장, 이름, 숫자를 가져오지 않습니다.
6. 전화번호나 주소 같은 개인정보는 지어내지 않고 #PhoneNumber#, #Address# 같은 표시로 씁니다.
7. [대화]와 [요약] 두 부분만 씁니다. 다른 말은 덧붙이지 않습니다.

{examples}

[새로 쓸 것]
"""

_ANSWER = re.compile(
    r"\A(?:\W*\[주제\][^\n]*\n+)?\W{0,6}\[대화\]\W{0,3}\n(?P<dialogue>.+?)\n\W{0,6}\[요약문?\][*\s:：]*(?P<summary>[^\[].*)\Z",
    re.S,
)
_PARTS = re.compile(r"\[(?:대화|요약문?)\]")


@dataclass(frozen=True)
class Shape:
    """What is asked for.

    Attributes:
        speakers: the tags of the speakers, in order.
        turns: about how many.
        topic: may be empty.
    """

    speakers: tuple[str, ...]
    turns: int
    topic: str

    @classmethod
    def of(cls, row: Row) -> "Shape":
        """The shape of a train row: as many speakers and turns, and its topic."""
        turns, _ = parse(row["dialogue"])
        count = len({turn.speaker for turn in turns})
        return cls(tuple(f"#Person{number}#" for number in range(1, max(2, count) + 1)), len(turns), row.get("topic", ""))


def prompt_of(shape: Shape, examples: Sequence[Row]) -> str:
    """The question for one new dialogue."""
    shown = [
        f"[보기 {number}]\n"
        + (f"[주제] {row['topic']}\n" if row.get("topic") else "")
        + f"[대화]\n{row['dialogue']}\n[요약]\n{row['summary']}"
        for number, row in enumerate(examples, 1)
    ]
    return PROMPT.format(
        topic=f"- 주제: {shape.topic}\n" if shape.topic else "",
        count=len(shape.speakers),
        speakers=", ".join(shape.speakers),
        turns=max(LEAST_TURNS, shape.turns),
        examples="\n\n".join(shown),
    )


def read_answer(answer: str, shape: Shape, examples: Sequence[Row]) -> tuple[str, str]:
    """The dialogue and the summary of an answer.

    Raises:
        BadDialogueError: with one of REASONS, if the answer does not have the form or the shape that was asked for.
    """
    match = _ANSWER.match(answer)
    if match is None or len(_PARTS.findall(answer)) != 2:
        raise BadDialogueError("no_format")
    summary = " ".join(match["summary"].strip(" *\n").split())
    if not summary:
        raise BadDialogueError("no_format")
    try:
        turns, unusual = parse(dialogue_of(match["dialogue"]))
    except BadDialogueError:
        raise BadDialogueError("not_a_dialogue") from None
    if unusual:
        raise BadDialogueError("not_a_dialogue", found=next(iter(unusual)))
    dialogue = to_text(turns)
    if {turn.speaker for turn in turns} != set(shape.speakers):
        raise BadDialogueError("other_speakers")
    asked = max(LEAST_TURNS, shape.turns)
    if not asked / TURNS_FACTOR <= len(turns) <= asked * TURNS_FACTOR:
        raise BadDialogueError("other_length")
    known = set(LISTED_TAGS) | set(PROTECTED.findall("\n".join(f"{row['dialogue']}\n{row['summary']}" for row in examples)))
    tags = [tag for tag in PROTECTED.findall(f"{dialogue}\n{summary}") if not SPEAKER_TAG.fullmatch(tag)]
    if unlisted := [tag for tag in tags if tag not in known]:
        raise BadDialogueError("unlisted_tag", found=unlisted[0])
    lengths = [len(row["summary"]) for row in examples]
    fits = min(lengths) / SUMMARY_FACTOR <= len(summary) <= max(lengths) * SUMMARY_FACTOR
    if not fits or len(summary) >= len(dialogue):
        raise BadDialogueError("summary_length")
    if copies(summary, dialogue):
        raise BadDialogueError("summary_copies_dialogue")
    return dialogue, summary
