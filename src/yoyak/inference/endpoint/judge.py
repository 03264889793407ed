"""The metric judge: a language model behind an OpenAI-compatible API grades each summary alone, by a fixed rubric."""

import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from yoyak.config.generation_section import Generation
from yoyak.config.score_section import Judge
from yoyak.data.masking import Masker, count_masked
from yoyak.data.token_counts import TokenCounter
from yoyak.evaluation import judge_rubric
from yoyak.evaluation.judging import judge_messages, read_grades
from yoyak.evaluation.metrics.base import Metric, MetricSettings, Rows
from yoyak.inference.endpoint.answer_store import Answer, AnswerStore
from yoyak.inference.endpoint.asking import Question, ask_all
from yoyak.inference.endpoint.budget import Budget, price_of
from yoyak.inference.endpoint.request import make_request
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import printable

ATTEMPTS = 3  # that a vote has; an answer that cannot be read is asked for again
LOWEST_TEMPERATURE = 1e-3  # that section generation accepts
REFUSED = "refused"


def drawn_rows(count: int, settings: Judge) -> list[int]:
    """The places of the dialogues that are graded, in order. They depend on the number of dialogues and the seed alone."""
    if settings.rows is None or settings.rows >= count:
        return list(range(count))
    return sorted(int(place) for place in np.random.default_rng(settings.seed).permutation(count)[: settings.rows])


class JudgeMetric(Metric):
    """Grades from 1 to 5 for each dimension of the rubric, and their mean; each is a mean over the votes.

    Every answer is stored under the hash of its request before it is used, and never paid twice. An answer that cannot be read
    is asked for again, at most ATTEMPTS times in all. A summary without a readable vote is not measured, and counted by reason.
    """

    name = "judge"
    keys = (*judge_rubric.DIMENSIONS, "mean")
    needs_dialogues = True

    def __init__(self, settings: MetricSettings, judge: Judge, *, store: AnswerStore | None = None) -> None:
        """Prepare; nothing is sent yet.

        Args:
            settings: of all metrics; it reads nothing of them.
            judge: section score.judge.
            store: by default the store of the repository.
        """
        super().__init__(settings)
        self.judge, self.store = judge, store
        self.baselines = frozenset(judge.baselines)
        self.budget = Budget(judge.budget, param=judge.param)
        self.counter = TokenCounter.load(judge.tokenizer, section=judge.param)
        self.generation = judge_generation(judge)
        self.answers: dict[str, Answer] = {}
        self.missing, self.masked = Counter[str](), Counter[str]()
        self.graded = self.unreadable = 0

    def score_rows(
        self, *, predictions: Sequence[str], references: Sequence[Sequence[str]], dialogues: Sequence[str] | None
    ) -> Rows:
        """(rows, 5): the grades and their mean; NaN for a row that is not drawn or has no readable vote.

        Raises:
            YoyakError: if the server or the budget ends the work, or no vote at all can be read.
        """
        assert dialogues is not None
        rows = np.full((len(predictions), len(self.keys)), np.nan)
        places = drawn_rows(len(predictions), self.judge)
        votes: dict[int, list[list[int]]] = {place: [] for place in places}
        reasons: dict[int, str] = {}
        waiting = [(place, vote) for place in places for vote in range(self.judge.votes)]
        for attempt in range(ATTEMPTS):
            if not waiting:
                break
            asked = [self._question(dialogues[place], predictions[place], place, vote, attempt) for place, vote in waiting]
            answers = self._ask(asked)
            unread = []
            for (place, vote), question in zip(waiting, asked, strict=True):
                grades = _grades_of(answers[question.request.hash])
                if isinstance(grades, str):
                    reasons[place] = grades
                    unread.append((place, vote))
                else:
                    votes[place].append([grades[dimension] for dimension in judge_rubric.DIMENSIONS])
            self.unreadable += len(unread)
            waiting = unread
        self._check(votes, reasons, list(self.answers.values())[-1:])
        for place, found in votes.items():
            if found:
                means = np.mean(found, axis=0)
                rows[place] = [*means, means.mean()]
                self.graded += 1
            else:
                self.missing[reasons[place]] += 1
        return rows

    def _question(self, dialogue: str, summary: str, place: int, vote: int, attempt: int) -> Question:
        if self.judge.mask:
            masker = Masker()
            dialogue, summary = masker.mask(dialogue), masker.mask(summary)
            self.masked.update(count_masked(masker.originals))
        messages = judge_messages(dialogue, summary, attempt=attempt)
        request = make_request(self.judge, self.generation, messages, seed=_number_of(f"{self.judge.seed}/{vote}/{attempt}"))
        tokens, most = self.counter.count(messages), self.counter.at_most(messages)
        return Question(f"dev row {place + 1}, vote {vote + 1}", request, input_tokens=tokens, most_input_tokens=most)

    def _ask(self, questions: Sequence[Question]) -> dict[str, Answer]:
        with tqdm(total=len(questions), desc="judge", unit="vote", mininterval=1) as bar:
            answers = ask_all(
                questions,
                self.judge,
                most_output_tokens=self.generation.max_new_tokens,
                budget=self.budget,
                store=self.store,
                progress=bar.update,
                keep_faults=True,
            )
        self.answers |= answers
        return answers

    def _check(self, votes: dict[int, list[list[int]]], reasons: dict[int, str], last: Sequence[Answer]) -> None:
        if any(votes.values()):
            return
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(Counter(reasons.values()).items()))
        shown = "".join(f'; for example "{printable(answer.text, 200)}"' for answer in last)
        raise YoyakError(
            f"score.judge: no answer of {self.judge.model} can be read ({counts}){shown}. The judge must write a JSON object "
            "with the grades: choose another model, or raise score.judge.max_new_tokens if the answers are cut off"
        )

    def details(self) -> dict[str, Any]:
        """What was asked for all summaries together, those of baselines included."""
        tokens = {
            "input_tokens": sum(answer.input_tokens for answer in self.answers.values()),
            "output_tokens": sum(answer.output_tokens for answer in self.answers.values()),
        }
        priced = self.judge.price_per_million_input is not None or self.judge.price_per_million_output is not None
        report = {
            "graded": self.graded,
            "missing": dict(sorted(self.missing.items())),
            "unreadable_answers": self.unreadable,
            "requests": len(self.answers),
            **tokens,
            "price": round(price_of(self.judge, **tokens), 6) if priced else None,
            "masked": dict(sorted(self.masked.items())),
        }
        if self.missing:
            counts = ", ".join(f"{count} {reason}" for reason, count in sorted(self.missing.items()))
            print(f"score.judge: no grades for {self.missing.total()} summaries: {counts}", file=sys.stderr, flush=True)
        return report

    def signature(self) -> str:
        judge = self.judge
        rows = "all" if judge.rows is None else judge.rows
        return (
            f"judge:{judge.model}|url:{judge.url}|rubric:{judge_rubric.VERSION}|votes:{judge.votes}|rows:{rows}|seed:{judge.seed}"
            f"|temperature:{judge.temperature:g}|scale:1-5"
        )


def judge_generation(judge: Judge) -> Generation:
    """How the judge decodes, as section generation."""
    sampling = {"do_sample": judge.temperature > 0, "temperature": max(judge.temperature, LOWEST_TEMPERATURE)}
    return Generation.plain(max_new_tokens=judge.max_new_tokens, num_beams=1).model_copy(update=sampling)


def _grades_of(answer: Answer) -> dict[str, int] | str:
    return REFUSED if answer.fault else read_grades(answer.text, finished=answer.finish_reason != "length")


def _number_of(text: str) -> int:
    """A number below 2**31 that depends on a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) & 0x7FFFFFFF
