"""The lengths of sampled rows in tokens of the model that params.yaml names."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from yoyak.config.sections import Params
from yoyak.data.token_counts import TokenCounter
from yoyak.models.checkpoints import check_token_limits, largest_length
from yoyak.models.families.lookup import family_named
from yoyak.reports.exploration.sample_measures import SampledRow
from yoyak.system.errors import YoyakError

_BATCH = 500


@dataclass(frozen=True)
class TokenLimits:
    """Where params.yaml cuts, and where the model ends.

    Attributes:
        model: the name of the checkpoint or model.
        max_input_length, max_target_length: the values in params.yaml.
        max_new_tokens: the value of generation.max_new_tokens, which limits what the model writes.
        largest_input, largest_target: the largest values that the model's positions allow; None if any is possible.
        counts_prompt: whether the length of a dialogue includes the prompt around it.
        problem: why no tokens are counted, or an empty text.
    """

    model: str
    max_input_length: int
    max_target_length: int
    max_new_tokens: int
    largest_input: int | None = None
    largest_target: int | None = None
    counts_prompt: bool = False
    problem: str = ""


def add_tokens(rows: Sequence[SampledRow], params: Params) -> TokenLimits:
    """Add dialogue_tokens and summary_tokens to the numbers of the rows, as the stage tokenize counts them before it cuts.

    For the family endpoint these are the tokens of the texts alone. If the tokenizer cannot be loaded, the rows stay as they
    are, and the result says why.
    """
    lengths = params.tokenizer
    basic = TokenLimits(
        params.model.name, lengths.max_input_length, lengths.max_target_length, params.generation.max_new_tokens
    )
    family = family_named(params.model.family)
    if not family.is_trained:
        try:
            counter = TokenCounter.load(params.model.endpoint.tokenizer)
        except YoyakError as error:
            return replace(basic, problem=str(error))
        for row in rows:
            _count_texts(row, counter)
        return basic
    try:
        limits = family.token_limits(lengths, None)
        positions = check_token_limits(params.model.chosen.checkpoint, params.model.chosen.revision, limits)
        encoders = family.batch_encoders(family.load_tokenizer(params), params, [_columns_row(row) for row in rows[:1]])
        with_summary = [row for row in rows if row.record.summary]
        without = [row for row in rows if not row.record.summary]
        for split, group in (("dev", with_summary), ("test", without)):
            for start in range(0, len(group), _BATCH):
                _count_batch(group[start : start + _BATCH], encoders[split], with_summary=split == "dev")
    except YoyakError as error:
        return replace(basic, problem=str(error))
    return replace(
        basic,
        largest_input=largest_length("max_input_length", lengths.max_input_length, limits, positions),
        largest_target=largest_length("max_target_length", lengths.max_target_length, limits, positions),
        counts_prompt=family.name == "qlora",
    )


def _columns_row(row: SampledRow) -> dict[str, str]:
    record = row.record
    return {"fname": record.fname, "dialogue": record.dialogue, "summary": record.summary, "topic": record.topic}


def _count_batch(rows: Sequence[SampledRow], encode: Any, *, with_summary: bool) -> None:
    cells = [_columns_row(row) for row in rows]
    names = ["fname", "dialogue", "topic", *(["summary"] if with_summary else [])]
    columns = encode({name: [cell[name] for cell in cells] for name in names})
    for kind, name in (("dialogue", "dialogue_tokens"), ("prompt", "dialogue_tokens"), ("summary", "summary_tokens")):
        for row, count in zip(rows, columns.get(f"_{kind}_tokens", []), strict=False):
            row.numbers[name] = int(count)


def _count_texts(row: SampledRow, counter: TokenCounter) -> None:
    for name, text in (("dialogue_tokens", row.record.dialogue), ("summary_tokens", row.record.summary)):
        if text:
            row.numbers[name] = counter.count([{"content": text}])
