"""Dynamic batching: requests wait in a bounded queue, and a thread writes the summaries of several of them together.

Where the backend can do it, two threads take turns: one prepares and finishes its batch while the other one's is written.

Nothing here knows HTTP. The server and the web app hand in rows and get a future.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from yoyak.config.generation_section import Generation
from yoyak.data.person_tags import restore_person_tags
from yoyak.evaluation.facts import FactFinder, Facts
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.unsupported_facts import unsupported_facts
from yoyak.inference.shared_model import Row, SharedModel, Written

State = Literal["loading", "ready", "stopping", "failed"]


class RefusedError(Exception):
    """The engine does not take a request. `reason` says why."""

    def __init__(self, reason: Literal["full", "loading", "stopping", "failed"]) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Answer:
    """What a request gets.

    Attributes:
        written: for each of its rows.
        facts: for each of its rows what the summary states and the dialogue does not; None if nobody asked.
        queued, writing: seconds.
        batch: dialogues that were written together.
    """

    written: list[Written]
    facts: list[Facts] | None
    queued: float
    writing: float
    batch: int


@dataclass(frozen=True)
class Batch:
    """What the engine tells its observer after each batch."""

    dialogues: int
    requests: int
    seconds: float
    input_tokens: int
    output_tokens: int


@dataclass
class _Job:
    rows: Sequence[Row]
    settings: Generation
    facts: bool
    future: "Future[Answer]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)

    def goes_with(self, other: "_Job") -> bool:
        """Whether both can be written together. Samples depend on their batch, so a request that samples is alone."""
        return self.settings == other.settings and not self.settings.do_sample


class Engine:
    """A model with its queue and its thread.

    A batch takes the oldest request and those behind it with the same settings, up to `batch` dialogues. It starts when it is
    full, or `wait` seconds after its oldest request came.
    """

    def __init__(
        self,
        load: Callable[[], SharedModel],
        *,
        batch: int = 32,
        wait: float = 0.005,
        queue: int = 256,
        observe: Callable[[Batch], None] = lambda _: None,
        changed: Callable[[State], None] = lambda _: None,
    ) -> None:
        """
        Args:
            load: loads the model; the thread of the engine calls it, because torch's number of threads belongs to a thread.
            batch: the most dialogues that are written together. A request with more is written in parts.
            wait: seconds.
            queue: the most dialogues that wait.
            observe: is called after each batch, in the thread of the engine.
            changed: is called with each new state, in the thread of the engine.
        """
        self.batch, self.wait, self.queue = batch, wait, queue
        self._load, self._observe, self._changed = load, observe, changed
        self._jobs: deque[_Job] = deque()
        self._condition = threading.Condition()
        self._threads = [threading.Thread(target=self._run, name="yoyak-engine", daemon=True)]
        self.state: State = "loading"
        self.failure: BaseException | None = None
        self.model: SharedModel | None = None

    def start(self) -> None:
        """Start loading, and then writing, in a thread."""
        self._threads[0].start()

    @property
    def waiting(self) -> int:
        """Dialogues in the queue."""
        with self._condition:
            return self._waiting()

    def _waiting(self) -> int:
        return sum(len(job.rows) for job in self._jobs if not job.future.cancelled())

    def check(self) -> SharedModel:
        """The model.

        Raises:
            RefusedError: if it is not ready.
        """
        if self.state != "ready" or self.model is None:
            raise RefusedError("loading" if self.state == "ready" else self.state)
        return self.model

    def submit(self, rows: Sequence[Row], settings: Generation, *, facts: bool = False) -> "Future[Answer]":
        """Put a request into the queue. If its future is cancelled before it is written, it is not written.

        Args:
            rows: at least one.
            settings: from `SharedModel.change`.
            facts: whether to look for facts that the dialogue lacks.

        Raises:
            RefusedError: if the queue has no room for all rows, or the model is not ready, or the engine stops.
        """
        with self._condition:
            self.check()
            waiting = self._waiting()
            # A request that is larger than the queue is taken if nothing waits.
            if waiting and waiting + len(rows) > self.queue:
                raise RefusedError("full")
            job = _Job(rows, settings, facts)
            self._jobs.append(job)
            self._condition.notify_all()
            return job.future

    def stop(self, timeout: float | None = None) -> bool:
        """Refuse new requests and write those that wait. Returns whether all were written within `timeout` seconds."""
        self.refuse()
        end = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:  # the first one starts the others before it ends
            if thread.ident is not None:
                thread.join(None if end is None else max(0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def refuse(self) -> None:
        """Refuse new requests from now on. The thread ends when nothing waits any more."""
        with self._condition:
            if self.state in ("loading", "ready"):
                self.state = "stopping"
            self._condition.notify_all()

    def _run(self) -> None:
        try:
            model = self._load()
            with self._condition:
                self.model = model
                if self.state == "loading":
                    self.state = "ready"
                more = [threading.Thread(target=self._work, args=(model,), daemon=True) for _ in range(model.parallel - 1)]
                self._threads += more
            for thread in more:
                thread.start()
            self._changed(self.state)
        except BaseException as error:
            self._fail(error)
        else:
            self._work(model)

    def _work(self, model: SharedModel) -> None:
        """What each thread does until the engine stops."""
        try:
            model.prepare_thread()
            morphemes = Morphemes()
            while jobs := self._next():
                self._write(model, jobs, morphemes)
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._condition:
            self.state, self.failure = "failed", error
            for job in self._jobs:
                if job.future.set_running_or_notify_cancel():
                    job.future.set_exception(RefusedError("failed"))
            self._jobs.clear()
            self._condition.notify_all()
        self._changed("failed")

    def _next(self) -> list[_Job]:
        """The requests of the next batch; none if the engine stops."""
        with self._condition:
            while True:
                while not self._jobs:
                    if self.state in ("stopping", "failed"):
                        return []
                    self._condition.wait()
                left = self._jobs[0].since + self.wait - time.monotonic()
                if left > 0 and self._fitting() < self.batch and self.state != "stopping":
                    self._condition.wait(left)
                elif jobs := self._take():
                    return jobs

    def _fitting(self) -> int:
        return sum(len(job.rows) for job in self._jobs if job is self._jobs[0] or job.goes_with(self._jobs[0]))

    def _take(self) -> list[_Job]:
        """Remove the next batch from the queue, and what was cancelled."""
        taken: list[_Job] = []
        kept: deque[_Job] = deque()
        rows = 0
        for job in self._jobs:
            fits = not taken or (job.goes_with(taken[0]) and rows + len(job.rows) <= self.batch)
            if not fits:
                kept.append(job)
            elif job.future.set_running_or_notify_cancel():
                taken.append(job)
                rows += len(job.rows)
        self._jobs = kept
        return taken

    def _write(self, model: SharedModel, jobs: Sequence[_Job], morphemes: Morphemes) -> None:
        try:
            answers = self._answers(model, jobs, morphemes)
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
                return
            for job in jobs:  # one of them is at fault: the others must not suffer from it
                self._write(model, [job], morphemes)
            return
        for job, answer in zip(jobs, answers, strict=True):
            job.future.set_result(answer)

    def _answers(self, model: SharedModel, jobs: Sequence[_Job], morphemes: Morphemes) -> list[Answer]:
        start = time.monotonic()
        written = model.write([job.rows for job in jobs], jobs[0].settings)
        seconds = time.monotonic() - start
        finder = FactFinder(morphemes)  # a new one each time, because it keeps what it finds
        tags = model.base.params.preprocess.person_tags
        answers = []
        for job, items in zip(jobs, written, strict=True):
            facts = None
            if job.facts:
                facts = [
                    unsupported_facts(item.summary, restore_person_tags(row["dialogue"], tags), finder)
                    for item, row in zip(items, job.rows, strict=True)
                ]
            answers.append(Answer(items, facts, start - job.since, seconds, sum(len(other.rows) for other in jobs)))
        self._observe(
            Batch(
                sum(len(job.rows) for job in jobs),
                len(jobs),
                seconds,
                sum(item.input_tokens for items in written for item in items),
                sum(item.output_tokens for items in written for item in items),
            )
        )
        return answers
