"""Mending the end of a summary that was cut off, and deciding on the dev split whether that helps."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from yoyak.data.dialogue import TAG
from yoyak.data.person_tags import PersonTags, restore_person_tags
from yoyak.evaluation import rouge
from yoyak.evaluation.morphemes import Morphemes
from yoyak.inference.decoding import Output

_HALF_TAG = re.compile(r"#[A-Za-z0-9]*$")
_WHOLE_TAG_AT_END = re.compile(rf"{TAG.pattern}$")
_CLOSED = r"[.!?…][\"'”’」』)\]]*"  # the end of a sentence, with the quotation or bracket that it closes
_SENTENCE_END = re.compile(rf"{_CLOSED}$")


def finish(output: Output) -> str:
    """Drop a half-written tag at the end; where the length limit cut the text, drop what follows its last sentence (or, if
    there is none, its last word, but never its only one); close the sentence."""
    whole = _WHOLE_TAG_AT_END.search(output.text)  # its second hash looks like the start of another tag
    text = output.text if whole else _HALF_TAG.sub("", output.text).rstrip()
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
    """Whether to post-process, and the dev rouge_sum without and with it. `auto` does so only if that raises the score."""
    tokenizer = Morphemes()
    sums = {
        name: rouge.summarize(
            rouge.score_rows(
                predictions=[restore_person_tags(text, person_tags) for text in texts],
                references=[row["references"] for row in rows],
                tokenizer=tokenizer,
            )
        )["rouge_sum"]
        for name, texts in (
            ("without", [output.text for output in outputs]),
            ("with", [finish(output) for output in outputs]),
        )
    }
    use = setting == "always" or (setting == "auto" and sums["with"] > sums["without"])
    return use, {"postprocess": {"used": use, "dev_rouge_sum_without": sums["without"], "dev_rouge_sum_with": sums["with"]}}
