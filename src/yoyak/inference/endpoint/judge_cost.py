"""What grading by the judge would cost, without sending anything."""

from dataclasses import dataclass

from yoyak.config.sections import Params
from yoyak.data.person_tags import restore_person_tags
from yoyak.data.splits import SplitCleaner
from yoyak.data.token_counts import TokenCounter
from yoyak.evaluation.judging import judge_messages
from yoyak.inference.endpoint.budget import price_of
from yoyak.inference.endpoint.judge import ATTEMPTS, drawn_rows

OUTPUT_TOKENS = 60  # of a JSON object with four grades


@dataclass(frozen=True)
class JudgeCost:
    """What the stage score would ask.

    Attributes:
        rows: summaries that are graded, those of baselines included.
        calls: one for each vote.
        input_tokens: of these calls, with the references in place of summaries that are not written yet.
        output_tokens: of these calls.
        price: of these tokens.
        most: if every answer is as long as it may be and has to be asked for ATTEMPTS times.
    """

    rows: int
    calls: int
    input_tokens: int
    output_tokens: int
    price: float
    most: float


def estimate_judge_cost(params: Params) -> JudgeCost:
    """Count the calls, tokens and money of `score.judge`.

    Raises:
        YoyakError: if the data is not usable, as in the stage preprocess.
    """
    judge = params.score.judge
    cleaner = SplitCleaner(params.data, params.preprocess)
    dev = {split: list(cleaner.clean(split)) for split in cleaner.paths}["dev"]
    cleaner.check()
    counter = TokenCounter.load(judge.tokenizer, section=judge.param)
    strategy = params.preprocess.person_tags
    messages = [
        judge_messages(*(restore_person_tags(dev[place][key], strategy) for key in ("dialogue", "summary")))
        for place in drawn_rows(len(dev), judge)
    ]
    each = judge.votes * (1 + len(judge.baselines))  # calls for a dialogue
    calls = each * len(messages)
    tokens = each * sum(map(counter.count, messages))
    output = calls * min(OUTPUT_TOKENS, judge.max_new_tokens)
    most = ATTEMPTS * each * sum(map(counter.at_most, messages)), ATTEMPTS * calls * judge.max_new_tokens
    return JudgeCost(
        rows=len(messages) * (1 + len(judge.baselines)),
        calls=calls,
        input_tokens=tokens,
        output_tokens=output,
        price=price_of(judge, input_tokens=tokens, output_tokens=output),
        most=price_of(judge, input_tokens=most[0], output_tokens=most[1]),
    )


def judge_cost_table(cost: JudgeCost, params: Params) -> list[str]:
    """The cost as lines of text."""
    judge = params.score.judge
    lines = [
        f"judge {judge.model} at {judge.url}; nothing is sent now, and answers that are stored cost nothing again",
        f"{'':6}{'rows':>7}{'calls':>15}{'input tokens':>14}{'output tokens':>15}{'price':>12}{'at most':>12}",
        f"{'judge':6}{cost.rows:7,}{cost.calls:15,}{cost.input_tokens:14,}{cost.output_tokens:15,}{cost.price:12.4f}{cost.most:12.4f}",
    ]
    if judge.price_per_million_input is None and judge.price_per_million_output is None:
        lines.append("no price is set: score.judge.price_per_million_input and price_per_million_output")
    if judge.budget is not None:
        fits = cost.most <= judge.budget
        lines.append(f"budget {judge.budget:g}: {'it is enough in any case' if fits else 'it may stop the stage score'}")
    return lines
