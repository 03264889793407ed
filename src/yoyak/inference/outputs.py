"""Generated texts: decoding token ids, how a text ended, artefacts, and counts that show a broken model."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from yoyak.data.dialogue import copies
from yoyak.evaluation.foreign_letters import count_foreign_letters
from yoyak.system.errors import YoyakError
from yoyak.system.invisible import is_blank


class Candidate(NamedTuple):
    """A text that was considered for a summary (`inference.consensus`).

    Attributes:
        text: the text.
        weight: its share of the weight of all candidates.
        utility: how well it agrees with all candidates, from 0 to 100.
    """

    text: str
    weight: float
    utility: float


@dataclass(frozen=True)
class Output:
    """One generated text."""

    text: str
    hit_limit: bool  # generation stopped at max_new_tokens, not at an end-of-text token
    broken: bool = False  # it had bytes that form no character; they are removed from `text`
    artefacts: tuple[str, ...] = ()  # kinds that post-processing removed from `text`
    candidates: tuple[Candidate, ...] = ()  # of a consensus, with `text` as it was before post-processing


def decode_tokens(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> list[str]:
    """The text of each row of token ids, without <s>, </s>, padding and similar tokens.

    `skip_special_tokens` cannot be used: KoBART's tokenizer marks 122 pieces of text as special (BI, ^^, :-), ㅠㅠ, emoji).
    """
    special = {
        token_id
        for token_id, token in tokenizer.added_tokens_decoder.items()
        if token.special and token.content[0] == "<" and token.content[-1] == ">"
    }
    special |= set(tokenizer.all_special_ids)
    texts: list[str] = tokenizer.batch_decode([[token for token in row if token not in special] for row in rows])
    return texts


def output_of(text: str, *, hit_limit: bool) -> Output:
    """The output of a generated text: without bytes that form no character, and without spaces around it."""
    return Output(text.replace("\ufffd", "").strip(), hit_limit=hit_limit, broken="\ufffd" in text)


def outputs_from_tokens(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]], *, end_ids: set[int]
) -> list[Output]:
    """Make outputs from the generated token ids of each row. `end_ids` are the tokens that end a text."""
    texts = decode_tokens(tokenizer, rows)
    return [output_of(text, hit_limit=end_ids.isdisjoint(row)) for text, row in zip(texts, rows, strict=True)]


def count_faults(outputs: Sequence[Output], texts: Sequence[str], dialogues: Sequence[str]) -> dict[str, Any]:
    """Counts that show a broken or collapsed model.

    Args:
        outputs: what the model wrote.
        texts: the summaries made of the outputs, after post-processing.
        dialogues: the dialogue of each summary.

    Returns:
        Numbers of rows, and of rows that are distinct, empty, at the length limit, broken, or copied from their dialogue;
        for each kind of artefact the rows from which it was removed; foreign letters as `count_foreign_letters` counts them;
        the mean number of characters.
    """
    artefacts = Counter(name for output in outputs for name in output.artefacts)
    return {
        "rows": len(texts),
        "distinct": len(set(texts)),
        "empty": sum(map(is_blank, texts)),
        "hit_limit": sum(output.hit_limit for output in outputs),
        "broken": sum(output.broken for output in outputs),
        "artefacts": dict(sorted(artefacts.items())),
        "copied": sum(copies(text, dialogue) for text, dialogue in zip(texts, dialogues, strict=True)),
        **count_foreign_letters(texts, dialogues),
        "mean_characters": round(sum(map(len, texts)) / len(texts), 2),
    }


def check_not_all_empty(counts: Mapping[str, Any], split: str) -> None:
    """Raise YoyakError if all texts of a split are empty, by what `count_faults` counted."""
    if counts["empty"] == counts["rows"]:
        raise YoyakError(f"all {counts['rows']} outputs for {split} are empty: the model writes nothing")


def describe_faults(counts: Mapping[str, Any]) -> str:
    """What `count_faults` counted, in words and on one line."""
    faults = {
        "empty": "empty",
        "hit_limit": "at the length limit (generation.max_new_tokens)",
        "broken": "with broken characters",
        "copied": "copied from the dialogue",
        "with_foreign": "with foreign letters",
    }
    found = [f"{counts[name]} {words}" for name, words in faults.items() if counts[name]]
    found += [f"{count} with {name.replace('_', ' ')} (removed)" for name, count in counts["artefacts"].items()]
    return (
        f"{counts['rows']} summaries, {counts['distinct']} distinct, {counts['mean_characters']:.0f} characters on average; "
        + (", ".join(found) or "no faults")
    )


def candidate_rows(
    rows: Sequence[Mapping[str, str]], outputs: Sequence[Output], restore_tags: Callable[[Sequence[str]], list[str]]
) -> Iterator[dict[str, Any]]:
    """For each dialogue its fname, and the text, weight and utility of each candidate, the chosen one marked.

    Args:
        rows: with fname.
        outputs: of the same rows.
        restore_tags: puts the data's speaker tags into texts.
    """
    for row, output in zip(rows, outputs, strict=True):
        candidates = [Candidate(*candidate) for candidate in output.candidates]  # lists, if they come from an unfinished run
        best = max((candidate.utility for candidate in candidates), default=None)
        chosen = next((place for place, candidate in enumerate(candidates) if candidate.utility == best), None)
        texts = restore_tags([candidate.text for candidate in candidates])
        yield {
            "fname": row["fname"],
            "candidates": [
                {"text": text, "weight": candidate.weight, "utility": candidate.utility, "chosen": place == chosen}
                for place, (text, candidate) in enumerate(zip(texts, candidates, strict=True))
            ],
        }
