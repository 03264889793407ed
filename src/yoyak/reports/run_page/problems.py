"""Why a summary has a low score: rules that a page states beside what they found.

The rules are heuristics. Each compares the summary with its dialogue and its references; `RULES` has the limits that the page
shows with each rule.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations, groupby
from typing import NamedTuple

from yoyak.data.dialogue import SPEAKER_TAG, without_tags
from yoyak.evaluation import rouge
from yoyak.evaluation.morphemes import Morphemes
from yoyak.reports.run_page.marks import Token, Unsupported
from yoyak.system.invisible import is_blank

MIN_TOPIC_SHARE = 0.3  # share of a reference's content words that the summary has at least
MIN_EXCHANGE_GAIN = 5.0  # rouge_sum that a summary gains at least if two of its speakers change places
MIN_REPEATED = 5  # morphemes of a sequence that occurs twice
MIN_IN_A_ROW = 3  # times that a morpheme follows itself
MIN_LENGTH, MAX_LENGTH = 0.5, 2.0  # morphemes of the summary for each morpheme of a reference
KINDS = ("empty", "cut_off", "repeated", "unsupported_fact", "wrong_speaker", "missed_topic", "wrong_length")
RULES: dict[str, dict[str, object]] = {  # values in the text of each rule (texts.yaml)
    "empty": {},
    "cut_off": {},
    "repeated": {"count": MIN_REPEATED},
    "unsupported_fact": {},
    "wrong_speaker": {"gain": f"{MIN_EXCHANGE_GAIN:g}"},
    "missed_topic": {"share": f"{MIN_TOPIC_SHARE:.0%}"},
    "wrong_length": {"low": f"{MIN_LENGTH:g}", "high": f"{MAX_LENGTH:g}"},
}
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’」』)\]]*$")
_HALF_TAG = re.compile(r"#[A-Za-z0-9]*$")
_MAX_WORDS = 6  # words that the evidence names
_MAX_END = 16  # characters of a cut-off end that the evidence shows


class Problem(NamedTuple):
    """One rule that applies to a row, and what it found, in words of the data."""

    kind: str
    evidence: str


class Texts(NamedTuple):
    """What the rules look at: composed texts of one row, and the tokens of summary and references."""

    summary: str
    references: Sequence[str]
    summary_tokens: Sequence[Token]
    reference_tokens: Sequence[Sequence[Token]]
    unsupported: Sequence[Unsupported]


def find_problems(rows: Sequence[Texts], morphemes: Morphemes) -> list[list[Problem]]:
    """The problems of each row, in the order of KINDS. A row without any summary text has only the problem `empty`."""
    exchanges = _exchange_gains(rows, morphemes)
    return [_problems_of(row, exchange, morphemes) for row, exchange in zip(rows, exchanges, strict=True)]


def _problems_of(row: Texts, exchange: tuple[str, float] | None, morphemes: Morphemes) -> list[Problem]:
    if is_blank(row.summary):
        return [Problem("empty", "")]
    found = {
        "cut_off": cut_off(row.summary, row.references),
        "repeated": repeated(row.summary, row.summary_tokens, row.reference_tokens),
        "unsupported_fact": ", ".join(each.text for each in row.unsupported if not each.text.startswith("#")),
        "wrong_speaker": _wrong_speaker(row.unsupported, exchange),
        "missed_topic": missed_topic(row.summary, row.references, morphemes),
        "wrong_length": wrong_length(row.summary_tokens, row.reference_tokens),
    }
    return [Problem(kind, evidence) for kind, evidence in found.items() if evidence]


def cut_off(summary: str, references: Sequence[str]) -> str:
    """The end of a summary that ends inside a tag, or without a final mark where a reference has one; else an empty text."""
    text = summary.rstrip()
    whole_tag = SPEAKER_TAG.search(text[-12:])
    half_tag = _HALF_TAG.search(text) and not (whole_tag and text.endswith(whole_tag[0]))
    open_end = not _SENTENCE_END.search(text) and any(_SENTENCE_END.search(each.rstrip()) for each in references)
    return f"…{text[-_MAX_END:]}" if half_tag or open_end else ""


def repeated(text: str, summary: Sequence[Token], references: Sequence[Sequence[Token]]) -> str:
    """What a summary repeats although no reference does it as often; an empty text if nothing.

    It is a morpheme MIN_IN_A_ROW times in a row, or the most frequent sequence of MIN_REPEATED morphemes that occurs twice.
    """
    word, times = _longest_run(summary)
    if times >= MIN_IN_A_ROW and times > max((_longest_run(each)[1] for each in references), default=0):
        return f"{word} × {times}"
    counts = _sequences(summary)
    if not counts or counts.most_common(1)[0][1] < 2:
        return ""
    allowed = [_sequences(each) for each in references]
    for sequence, count in counts.most_common():
        if count > max([1, *(each[sequence] for each in allowed)]):
            return f"{_as_written(text, summary, sequence)} × {count}"
    return ""


def _as_written(text: str, tokens: Sequence[Token], sequence: tuple[str, ...]) -> str:
    """A sequence of tokens as the text writes it at its first place."""
    words = tuple(token.text for token in tokens)
    start = next(at for at in range(len(words)) if words[at : at + len(sequence)] == sequence)
    return text[tokens[start].start : tokens[start + len(sequence) - 1].end]


def _longest_run(tokens: Sequence[Token]) -> tuple[str, int]:
    """The morpheme of letters or digits that stands most often in a row, and how often."""
    words = (token.text for token in tokens)
    return max(
        ((word, len(list(each))) for word, each in groupby(words) if word.isalnum()), key=lambda run: run[1], default=("", 0)
    )


def _sequences(tokens: Sequence[Token]) -> Counter[tuple[str, ...]]:
    words = [token.text for token in tokens]
    return Counter(tuple(words[at : at + MIN_REPEATED]) for at in range(len(words) - MIN_REPEATED + 1))


def missed_topic(summary: str, references: Sequence[str], morphemes: Morphemes) -> str:
    """The share of a reference's content words that the summary has, and words that it lacks; empty if the share is enough."""
    words = morphemes.content_words(without_tags(summary))
    best: tuple[float, list[str]] | None = None
    for reference in references:
        wanted = morphemes.content_words(without_tags(reference))
        if wanted:
            share = len(wanted & words) / len(wanted)
            if best is None or share > best[0]:
                best = share, sorted(wanted - words, key=lambda word: (-len(word), word))
    if best is None or best[0] >= MIN_TOPIC_SHARE:
        return ""
    return f"{best[0]:.0%} ({', '.join(best[1][:_MAX_WORDS])}{', …' if len(best[1]) > _MAX_WORDS else ''})"


def wrong_length(summary: Sequence[Token], references: Sequence[Sequence[Token]]) -> str:
    """The morphemes of summary and reference if the summary is too short or too long for every reference, else empty."""
    length = sum(not token.is_tag for token in summary)
    lengths = [sum(not token.is_tag for token in each) for each in references]
    if not lengths or any(MIN_LENGTH * each <= length <= MAX_LENGTH * each for each in lengths):
        return ""
    nearest = min(lengths, key=lambda each: abs(each - length))
    return f"{length} / {nearest}"


def _wrong_speaker(unsupported: Sequence[Unsupported], exchange: tuple[str, float] | None) -> str:
    parts = [each.text for each in unsupported if each.text.startswith("#")]
    return ", ".join([*parts, *([f"{exchange[0]}: {exchange[1]:+.1f}"] if exchange else [])])


def _exchange_gains(rows: Sequence[Texts], morphemes: Morphemes) -> list[tuple[str, float] | None]:
    """For each row the pair of speakers whose exchange raises rouge_sum most, if by MIN_EXCHANGE_GAIN or more."""
    numbers, names, texts = [], [], []
    for number, row in enumerate(rows):
        speakers = [sorted({match[0] for match in SPEAKER_TAG.finditer(text)}) for text in (row.summary, *row.references)]
        for one, other in combinations(sorted(set().union(*speakers)), 2):
            if one in speakers[0] or other in speakers[0]:
                numbers.append(number)
                names.append(f"{one} ↔ {other}")
                texts.append(_exchanged(row.summary, one, other))
    if not texts:
        return [None] * len(rows)
    plain = sorted(set(numbers))
    before = dict(zip(plain, _rouge_sums([rows[number].summary for number in plain], rows, plain, morphemes), strict=True))
    best: list[tuple[str, float] | None] = [None] * len(rows)
    for number, name, value in zip(numbers, names, _rouge_sums(texts, rows, numbers, morphemes), strict=True):
        gain, known = value - before[number], best[number]
        if gain >= MIN_EXCHANGE_GAIN and (known is None or gain > known[1]):
            best[number] = name, gain
    return best


def _exchanged(text: str, one: str, other: str) -> str:
    names = {one: other, other: one}
    return SPEAKER_TAG.sub(lambda match: names.get(match[0], match[0]), text)


def _rouge_sums(texts: Sequence[str], rows: Sequence[Texts], numbers: Sequence[int], morphemes: Morphemes) -> list[float]:
    references = [rows[number].references for number in numbers]
    scores = rouge.score_rows(predictions=texts, references=references, tokenizer=morphemes)
    return [float(value) for value in scores.sum(axis=1)]
