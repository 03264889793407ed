"""What a run of predict with the family `endpoint` would cost, without sending anything."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from yoyak.config.sections import Params
from yoyak.data.masking import count_masked
from yoyak.data.prompts import uses_topic
from yoyak.data.splits import SplitCleaner
from yoyak.data.token_counts import BYTES_PER_TOKEN, TEMPLATE_SHARE, TEMPLATE_TOKENS, TOKENS_PER_MESSAGE, TokenCounter
from yoyak.inference.backends.endpoint import questions
from yoyak.inference.consensus import candidate_seed
from yoyak.inference.endpoint.answer_store import AnswerStore
from yoyak.inference.endpoint.budget import price_of
from yoyak.inference.long_dialogues import count_windows, model_inputs
from yoyak.inference.prompt_inputs import input_of
from yoyak.inference.summarizer import Summarizer
from yoyak.models.families.endpoint import FAMILY


@dataclass
class SplitCost:
    """What one split would cost.

    Attributes:
        rows: dialogues of the split.
        stored: requests that the store answers.
        calls: requests that would be asked.
        input_tokens: of these calls, counted or estimated.
        output_tokens: of these calls, if each summary is as long as those of train on average.
        price: of these tokens.
        paid: the price of the stored answers.
        most: the price of the calls if every answer is as long as it may be, and of the most tokens that a prompt can have.
    """

    rows: int = 0
    stored: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    price: float = 0.0
    paid: float = 0.0
    most: float = 0.0


@dataclass
class Cost:
    """The costs by split, how tokens were counted, and how much personal data would be masked."""

    splits: dict[str, SplitCost]
    counted: str
    masked: Counter[str]

    @property
    def total(self) -> SplitCost:
        names = SplitCost.__dataclass_fields__
        return SplitCost(**{name: sum(getattr(split, name) for split in self.splits.values()) for name in names})


def estimate_cost(params: Params, store: AnswerStore | None = None) -> Cost:
    """Count the calls, tokens and money of predict.

    Args:
        params: all sections.
        store: by default the store of the repository.

    Raises:
        YoyakError: if the data is not usable, as in the stage preprocess.
    """
    store = store or AnswerStore()
    cleaner = SplitCleaner(params.data, params.preprocess)
    cleaned = {split: list(cleaner.clean(split)) for split in cleaner.paths}
    cleaner.check()
    summarizer = Summarizer(FAMILY.load_untrained(params), FAMILY, params)
    summarizer.use_examples(cleaned["train"])
    counter: TokenCounter = summarizer.loaded.tokenizer
    settings, generation = params.model.endpoint, params.generation
    summaries = [[{"content": row["summary"]}] for row in cleaned["train"]]
    expected = min(generation.max_new_tokens, round(fmean(map(counter.count, summaries)) - TOKENS_PER_MESSAGE))
    cost = Cost({}, counter.how, Counter())
    names_topic = uses_topic(params.prompt, cleaned["test"])
    for split in ("dev", "test"):
        encoded = summarizer.encode(cleaned[split], names_topic=names_topic)
        inputs = model_inputs(encoded)
        found = cost.splits[split] = SplitCost(rows=len(encoded))
        _add_second_pass(found, encoded, params, expected)
        for item in inputs:
            cost.masked.update(count_masked(input_of(item, 0).originals))
        asked = [
            question
            for number in range(generation.consensus.candidates)
            for question in questions(
                settings,
                generation,
                [input_of(item, number) for item in inputs],
                seed=candidate_seed(generation.seed, number),
            )
        ]
        for question in {question.request.hash: question for question in asked}.values():
            if answer := store.get(question.request.hash):
                found.stored += 1
                found.paid += price_of(settings, input_tokens=answer.input_tokens, output_tokens=answer.output_tokens)
                continue
            found.calls += 1
            found.input_tokens += question.input_tokens
            found.output_tokens += expected
            found.price += price_of(settings, input_tokens=question.input_tokens, output_tokens=expected)
            found.most += price_of(settings, input_tokens=question.most_input_tokens, output_tokens=generation.max_new_tokens)
    return cost


def _add_second_pass(found: SplitCost, encoded: Sequence[Any], params: Params, expected: int) -> None:
    """Count a request for each dialogue that is read in windows, as long as a prompt may be: its text is not known before."""
    settings, generation = params.model.endpoint, params.generation
    count = 0 if generation.window_merge == "join" else count_windows(encoded)["dialogues"]
    count *= generation.consensus.candidates
    tokens = params.tokenizer.max_input_length * count
    found.calls += count
    found.input_tokens += tokens
    found.output_tokens += expected * count
    found.price += price_of(settings, input_tokens=tokens, output_tokens=expected * count)
    most = tokens * (1 + TEMPLATE_SHARE) if settings.tokenizer else tokens * BYTES_PER_TOKEN  # as `TokenCounter.at_most`
    most = int(most) + TEMPLATE_TOKENS * count
    found.most += price_of(settings, input_tokens=most, output_tokens=generation.max_new_tokens * count)


def cost_table(cost: Cost, params: Params) -> list[str]:
    """The costs as lines of text."""
    settings = params.model.endpoint
    lines = [
        f"model {settings.model} at {settings.url}; nothing is sent now",
        f"tokens are {cost.counted}; output as long as the summaries of train, at most {params.generation.max_new_tokens}",
        f"{'':6}{'rows':>7}{'stored':>8}{'calls':>7}{'input tokens':>14}{'output tokens':>15}{'price':>12}{'at most':>12}",
    ]
    for name, split in {**cost.splits, "total": cost.total}.items():
        lines.append(
            f"{name:6}{split.rows:7,}{split.stored:8,}{split.calls:7,}{split.input_tokens:14,}{split.output_tokens:15,}"
            f"{split.price:12.4f}{split.most:12.4f}"
        )
    if settings.price_per_million_input is None and settings.price_per_million_output is None:
        lines.append("no price is set: model.endpoint.price_per_million_input and price_per_million_output")
    if cost.total.stored:
        lines.append(f"the stored answers cost {cost.total.paid:.4f}; they cost nothing now")
    if settings.budget is not None:
        fits = cost.total.paid + cost.total.most <= settings.budget
        lines.append(f"budget {settings.budget:g}: {'it is enough in any case' if fits else 'it may stop the run'}")
    if cost.masked:
        lines.append("masked: " + ", ".join(f"{count} {kind}" for kind, count in sorted(cost.masked.items())))
    return lines
