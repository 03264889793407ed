"""Asking many requests: from the store where they are answered, or else several at a time, with retries and a budget."""

import asyncio
import random
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from yoyak.config.endpoint_section import Endpoint
from yoyak.data.token_counts import estimate_tokens
from yoyak.inference.endpoint.answer_store import Answer, AnswerStore
from yoyak.inference.endpoint.budget import Budget, BudgetReachedError, price_of
from yoyak.inference.endpoint.client import CallFailedError, Client, read_key
from yoyak.inference.endpoint.request import Request
from yoyak.system.errors import YoyakError

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds between two tries: doubled each time, with jitter
LONGEST_ASKED_WAIT = 300.0  # a server that asks to wait longer has failed
OTHER_PROCESS_SECONDS = 0.2  # between two looks for the answer that another process asks
GIVE_UP_AFTER = 5  # requests that failed for good without a single answer: the server is broken or params are wrong
MAX_NAMED = 5  # rows that a message names

Result = TypeVar("Result")


@dataclass(frozen=True)
class Question:
    """A request of a row.

    Attributes:
        name: of the row, for messages.
        request: what is asked.
        input_tokens: of the request, counted or estimated.
        most_input_tokens: no tokenizer counts more.
    """

    name: str
    request: Request
    input_tokens: int
    most_input_tokens: int


@dataclass
class _Run:
    """The state of one call of `ask_all`."""

    settings: Endpoint
    most_output_tokens: int
    store: AnswerStore
    budget: Budget
    answered: Callable[[Question, Answer], None]
    keep_faults: bool
    failures: dict[str, str] = field(default_factory=dict)  # by the name of the row
    client: Client = field(init=False)
    stopped: str | None = None  # why no further request is asked
    successes: int = 0
    calls: int = 0
    not_before: float = 0.0  # of the event loop's clock: all requests wait when a server asks to
    next_start: float = 0.0

    def _price(self, *, input_tokens: int, output_tokens: int) -> float:
        return price_of(self.settings, input_tokens=input_tokens, output_tokens=output_tokens)

    async def work(self, questions: "asyncio.Queue[Question]") -> None:
        while not questions.empty() and self.stopped is None:
            question = questions.get_nowait()
            try:
                answer = await self._answer(question)
            except BudgetReachedError as error:
                self.stopped = self.stopped or str(error)
                return
            except CallFailedError as error:
                self._failed(question, str(error), stops_all=error.stops_all)
                continue
            if answer is None:
                return
            if answer.fault and not self.keep_faults:
                self._failed(question, answer.fault, stops_all=False)
                continue
            self.successes += 1
            self.answered(question, answer)

    def _failed(self, question: Question, message: str, *, stops_all: bool) -> None:
        self.failures[question.name] = message
        if stops_all:
            self.stopped = self.stopped or message
        elif self.successes == 0 and len(self.failures) >= GIVE_UP_AFTER:
            self.stopped = self.stopped or f"the first {len(self.failures)} requests all failed"

    async def _answer(self, question: Question) -> Answer | None:
        """The answer, which is in the store when this returns; None if the run stops before."""
        while self.stopped is None:
            with self.store.asking(question.request.hash) as is_mine:
                if answer := self.store.get(question.request.hash):  # another process may have asked
                    return answer
                if is_mine:
                    return await self._ask_with_retries(question)
            await asyncio.sleep(OTHER_PROCESS_SECONDS)
        return None

    async def _ask_with_retries(self, question: Question) -> Answer | None:
        for attempt in range(self.settings.max_retries + 1):
            await self._wait_for_turn()
            if self.stopped is not None:
                return None
            try:
                return await self._ask_once(question)
            except CallFailedError as error:
                too_long = error.wait is not None and error.wait > LONGEST_ASKED_WAIT
                if not error.passes or too_long or attempt == self.settings.max_retries:
                    tries = f" (after {attempt + 1} tries)" if attempt else ""
                    asked = f"; it asks to wait {error.wait:,.0f} s" if too_long else ""
                    raise CallFailedError(f"{error}{asked}{tries}", passes=False, stops_all=error.stops_all) from None
                await self._wait_after(error, attempt)
        raise AssertionError("the loop returns or raises")

    async def _ask_once(self, question: Question) -> Answer:
        highest = self._price(input_tokens=question.most_input_tokens, output_tokens=self.most_output_tokens)
        await self.budget.reserve(highest)
        price = highest  # what is not known counts as the highest price
        try:
            self.calls += 1
            answer = with_tokens(await self.client.ask(question.request), question)
            self.store.put(answer)  # before anything else happens to it
            price = self._price(input_tokens=answer.input_tokens, output_tokens=answer.output_tokens)
            return answer
        except CallFailedError as error:
            price = highest if error.may_cost else 0.0
            raise
        finally:
            await self.budget.settle(highest, price)

    async def _wait_for_turn(self) -> None:
        """Wait until requests_per_minute and the server allow another request."""
        clock = asyncio.get_running_loop().time
        if self.settings.requests_per_minute:
            start = max(clock(), self.next_start)
            self.next_start = start + 60 / self.settings.requests_per_minute
            await asyncio.sleep(start - clock())
        while (pause := self.not_before - clock()) > 0 and self.stopped is None:
            await asyncio.sleep(pause)

    async def _wait_after(self, error: CallFailedError, attempt: int) -> None:
        """Wait before the next try: as long as the server asks, or ever longer."""
        if error.wait is not None:
            self.not_before = max(self.not_before, asyncio.get_running_loop().time() + error.wait)
            return
        await asyncio.sleep(min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.5, 1.0))


def with_tokens(answer: Answer, question: Question) -> Answer:
    """The answer with counts of tokens also if the server says none: the estimates, so that its price is not 0."""
    if answer.input_tokens >= 0 and answer.output_tokens >= 0:
        return answer
    return replace(
        answer,
        input_tokens=answer.input_tokens if answer.input_tokens >= 0 else question.input_tokens,
        output_tokens=answer.output_tokens if answer.output_tokens >= 0 else estimate_tokens(answer.text),
    )


def ask_all(
    questions: Sequence[Question],
    settings: Endpoint,
    *,
    most_output_tokens: int,
    budget: Budget,
    store: AnswerStore | None = None,
    progress: Callable[[int], object] | None = None,
    keep_faults: bool = False,
) -> dict[str, Answer]:
    """The answers to all questions, each asked at most once.

    What is in the store is not asked again. Each new answer is stored before it is used. Questions with equal requests share
    one answer.

    Args:
        questions: the requests.
        settings: section model.endpoint, or another one with its keys.
        most_output_tokens: the limit of an answer, in tokens.
        budget: of the run. The prices of stored answers are added to it too.
        store: by default the store of the repository.
        progress: gets the number of questions that have been answered since the last call.
        keep_faults: return an answer that cannot be used (`Answer.fault`), such as a refusal of a content filter. By default it
            is an error.

    Returns:
        The answers by the hash of the request.

    Raises:
        YoyakError: if not every question has an answer. It names the rows and says what the server said.
    """
    store = store or AnswerStore()
    rows: dict[str, list[Question]] = {}
    for question in questions:
        rows.setdefault(question.request.hash, []).append(question)
    answers: dict[str, Answer] = {}
    failures: dict[str, str] = {}
    missing: list[Question] = []

    def answered(question: Question, answer: Answer) -> None:
        answers[question.request.hash] = answer
        if progress:
            progress(len(rows[question.request.hash]))

    for request_hash, (question, *_) in rows.items():
        stored = store.get(request_hash)
        if stored is None:
            missing.append(question)
            continue
        budget.spent += price_of(settings, input_tokens=stored.input_tokens, output_tokens=stored.output_tokens)
        if stored.fault and not keep_faults:
            failures[question.name] = f"{stored.fault}; `yoyak answers prune --failed` lets it be asked again"
        else:
            answered(question, stored)

    run = _Run(settings, most_output_tokens, store, budget, answered, keep_faults, failures)
    if missing:
        _run(_ask_missing(run, missing))
    if run.failures or run.stopped:
        raise YoyakError(_what_failed(run.failures, run.stopped, asked=len(rows), answered=len(answers)))
    return answers


async def _ask_missing(run: _Run, questions: Sequence[Question]) -> None:
    """Ask the questions. `run` then says what failed for good, and why it stopped early."""
    settings = run.settings
    key = read_key(settings)
    if not settings.is_loopback:
        host = urlsplit(settings.url).hostname
        print(
            f"{len(questions)} dialogues are sent to {host} ({settings.url}), model {settings.model}",
            file=sys.stderr,
            flush=True,
        )
    run.budget.start()
    queue: asyncio.Queue[Question] = asyncio.Queue()
    for question in questions:
        queue.put_nowait(question)
    async with Client(settings, key) as run.client:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(settings.max_in_flight, len(questions))):
                tasks.create_task(run.work(queue))
        if run.stopped and "HTTP 404" in run.stopped:
            run.stopped = await explain_not_found(run.client, run.stopped)


async def explain_not_found(client: Client, said: str) -> str:
    """What is wrong after a 404: the name of the model, or the address."""
    settings = client.settings
    try:
        names = await client.model_names()
    except CallFailedError:
        hint = "" if settings.url.endswith("/v1") else f"; most servers want /v1 at its end: {settings.url}/v1"
        return f"{settings.url}: there is no OpenAI-compatible API ({said}){hint}; correct {settings.param}.base_url"
    offered = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"{settings.param}.model: the server does not know {settings.model} ({said}); it offers: {offered or 'no model'}"


def _what_failed(failures: Mapping[str, str], stopped: str | None, *, asked: int, answered: int) -> str:
    kept = f"{answered} of {asked} requests are answered; the answers are kept, and the same command goes on from there"
    named = [f"{name}: {message}" for name, message in list(failures.items())[:MAX_NAMED]]
    more = [f"and {len(failures) - MAX_NAMED} more"] if len(failures) > MAX_NAMED else []
    if stopped and (len(failures) <= 1 or any(stopped in line for line in named)):
        return f"{stopped}\n  {kept}"
    heads = [stopped] if stopped else [f"{len(failures)} requests failed"]
    return "\n  ".join([*heads, *named, *more, kept])


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine, also where an event loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_without_group(work))
    results: list[Result] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(asyncio.run(_without_group(work)))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


async def _without_group(work: Coroutine[Any, Any, Result]) -> Result:
    """The first exception of a group of tasks alone, such as a full disk, which `exit_with_message` explains."""
    try:
        return await work
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
