"""Post-processing: removing what chat models write around a summary, and completing the end of one that was cut off.

The first always happens. The second happens if it raises the score on the dev split (`decide`).
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from yoyak.data.dialogue import MASK, TAG
from yoyak.data.person_tags import PersonTags, restore_person_tags
from yoyak.evaluation import bootstrap, rouge
from yoyak.evaluation.artefacts import remove_artefacts
from yoyak.evaluation.morphemes import Morphemes
from yoyak.inference.outputs import Output

_HALF_TAG = re.compile(r"#[A-Za-z0-9]*$")
_WHOLE_TAG_AT_END = re.compile(rf"(?:{TAG.pattern}|{MASK.pattern})$")
_CLOSED = r"[.!?…][\"'”’」』)\]]*"  # the end of a sentence, with the quotation mark or bracket that it closes
_SENTENCE_END = re.compile(rf"{_CLOSED}$")


def without_artefacts(outputs: Sequence[Output]) -> list[Output]:
    """The outputs with the summary alone: without reasoning, code fences, "요약:" and similar (`evaluation.artefacts`)."""
    cleaned = [remove_artefacts(output.text) for output in outputs]
    return [
        replace(output, text=text, artefacts=rules) if rules else output
        for output, (text, rules) in zip(outputs, cleaned, strict=True)
    ]


def complete_ending(output: Output) -> str:
    """Return the text with a clean end.

    A half-written tag at the end is removed. If the length limit cut the text off, everything after its last sentence is
    removed, or its last word if there is no complete sentence (never its only word). A text without a final mark gets a full
    stop.
    """
    whole_tag = _WHOLE_TAG_AT_END.search(output.text)  # its second # looks like the start of another tag
    text = output.text if whole_tag else _HALF_TAG.sub("", output.text).rstrip()
    if output.hit_limit and not _SENTENCE_END.search(text):
        ends = [match.end() for match in re.finditer(rf"{_CLOSED}(?=\s)", text)]
        text = text[: ends[-1]] if ends else " ".join(text.split()[:-1]) or text
    text = text.strip()
    return text if not text or _SENTENCE_END.search(text) else text + "."


def decide(
    setting: Literal["never", "auto", "always"],
    outputs: Sequence[Output],
    rows: Sequence[dict[str, Any]],
    person_tags: PersonTags,
) -> tuple[bool, dict[str, Any]]:
    """Decide whether to post-process.

    Args:
        setting: `generation.postprocess`. "auto" post-processes only if that raises rouge_sum on dev. With fewer than
            bootstrap.MIN_ROWS rows it does not.
        outputs: what the model wrote for dev.
        rows: the processed rows of dev.
        person_tags: how speaker tags were replaced; they are restored before scoring.

    Returns:
        The decision, and the report for metrics/predict.json with the rouge_sum on dev with and without post-processing.

    Raises:
        YoyakError: if Mecab cannot be loaded.
    """
    tokenizer = Morphemes()

    def rouge_sum(texts: Sequence[str]) -> float:
        scores = rouge.score_rows(
            predictions=[restore_person_tags(text, person_tags) for text in texts],
            references=[row["references"] for row in rows],
            tokenizer=tokenizer,
        )
        return rouge.summarize(scores)["rouge_sum"]

    without = rouge_sum([output.text for output in outputs])
    with_ = rouge_sum([complete_ending(output) for output in outputs])
    enough = len(rows) >= bootstrap.MIN_ROWS
    use = setting == "always" or (setting == "auto" and enough and with_ > without)
    report: dict[str, Any] = {"used": use, "dev_rouge_sum_without": without, "dev_rouge_sum_with": with_}
    if setting == "auto" and not enough:
        report["why"] = f"too few dev rows to judge it by ({len(rows)}, at least {bootstrap.MIN_ROWS} are needed)"
    return use, {"postprocess": report}
