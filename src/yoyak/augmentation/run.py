"""Augmentation of a train split: every chosen method in its order, filtered and counted."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Self

from yoyak.augmentation.base import Candidate, Method, Refusal, Row, Task
from yoyak.augmentation.evaluation_rows import EvaluationRows
from yoyak.augmentation.filters import Filters
from yoyak.augmentation.lookup import build_methods
from yoyak.augmentation.workspace import Workspace
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.person_tags import PersonTags, replace_reversibly, restore_person_tags
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import counted

MOST_REJECTED = 20  # rows of a method with the same reason that are kept for the app
REPORT_EVERY = 1000  # rows between two lines about the progress


@dataclass
class Counts:
    """What became of the tasks of a method."""

    tried: int = 0
    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        return {"tried": self.tried, "kept": self.kept, "rejected": dict(sorted(self.rejected.items()))}


class Augmentation:
    """Makes the new rows of a train split.

    Attributes:
        counts: what became of the tasks of each method, by its name.
        replaced: the fname of each train row in whose place a new row is trained on.
        rejected: the first rejected rows of each method and reason, with method, source, reason and what the method wrote.
    """

    def __init__(self, methods: Sequence[Method], filters: Filters, *, person_tags: PersonTags) -> None:
        """Keep the arguments.

        Args:
            methods: in the order in which their rows stand.
            filters: decide which rows are kept.
            person_tags: preprocess.person_tags, the form of the tags in processed rows. Methods and filters see original tags.
        """
        self.methods, self.filters, self.person_tags = methods, filters, person_tags
        self.counts = {method.name: Counts() for method in methods}
        self.replaced: list[str] = []
        self.rejected: list[dict[str, Any]] = []

    @classmethod
    def build(cls, names: Sequence[str], workspace: Workspace, evaluation: Iterable[Row]) -> Self:
        """The augmentation that params ask for.

        Args:
            names: of the methods, from `chosen_methods`.
            workspace: its params have the sections augment and preprocess.
            evaluation: the processed rows of dev and test.

        Raises:
            YoyakError: if Mecab or the package rensa cannot be loaded.
        """
        params = workspace.params
        tags = params.preprocess.person_tags
        guard = EvaluationRows(restore_person_tags(row["dialogue"], tags) for row in evaluation)
        workspace.shared("evaluation", lambda: guard)
        filters = Filters(params.augment.filters, guard, workspace.morphemes)
        return cls(build_methods(list(names), workspace), filters, person_tags=tags)

    def rows(self, train: Sequence[Row]) -> Iterator[dict[str, Any]]:
        """The new rows that are kept, in the form of processed rows, with `source`, `method`, `filters` and `details`.

        Args:
            train: the processed rows of train.

        Raises:
            YoyakError: if a method takes a row that is not in train, or two rows would have one fname.
        """
        originals = [self._with_original_tags(row) for row in train]
        fnames = {row["fname"] for row in originals}
        names, seen = set(fnames), set[bytes]()
        for method in self.methods:
            for task, candidate in self._results(method, originals, fnames):
                if row := self._kept(method, task, candidate, seen):
                    if row["fname"] in names:
                        raise YoyakError(
                            f"augment.{method.name}: the fname {row['fname']} exists already; rename the row of train"
                        )
                    names.add(row["fname"])
                    if method.replaces_source:
                        self.replaced.append(row["source"])
                    yield row
            self._print_result(method, len(originals))

    def report(self) -> dict[str, Any]:
        """The content of metrics/augment.json."""
        methods = {
            method.name: {"rate": method.settings.rate, **self.counts[method.name].as_dict(), **method.report()}
            for method in self.methods
        }
        replaced = {"replaced": len(self.replaced)} if self.replaced else {}
        return {"added": sum(counts.kept for counts in self.counts.values()), **replaced, "methods": methods}

    def _print_result(self, method: Method, train_rows: int) -> None:
        counts = self.counts[method.name]
        rejected = ", ".join(f"{reason} {count}" for reason, count in counts.rejected.most_common())
        kept = f"{counted(counts.kept, 'row')} of {counts.tried} added to {train_rows} train rows"
        print(f"{method.name}: {kept}" + (f"; rejected: {rejected}" if rejected else ""), flush=True)
        if counts.tried and not counts.kept:
            print(f"WARNING: {method.name}: all rows are rejected; see the filters in docs/how-to/augment.md", flush=True)

    def _with_original_tags(self, row: Row) -> dict[str, str]:
        texts = {kind: restore_person_tags(row[kind], self.person_tags) for kind in ("dialogue", "summary")}
        return {"fname": row["fname"], **texts, "topic": row.get("topic", "")}

    def _results(self, method: Method, train: Sequence[Row], fnames: set[str]) -> Iterator[tuple[Task, Candidate | Refusal]]:
        """Each task of a method with its result."""
        tasks = method.tasks(train)
        if method.takes_train_rows:
            for task in tasks:
                for row in task.sources:
                    if row["fname"] not in fnames:
                        raise YoyakError(f"augment.{method.name}: its source {row['fname']} is not a row of train")
        remaining, done = iter(tasks), 0
        while batch := list(islice(remaining, method.batch_size)):
            yield from zip(batch, method.write(batch), strict=True)
            if done // REPORT_EVERY != (done := done + len(batch)) // REPORT_EVERY:
                print(f"{method.name}: {done} of {len(tasks)} rows", flush=True)

    def _kept(self, method: Method, task: Task, candidate: Candidate | Refusal, seen: set[bytes]) -> dict[str, Any] | None:
        """The new row, or None if it is rejected. Counts it."""
        counts = self.counts[method.name]
        counts.tried += 1
        if isinstance(candidate, Refusal):
            self._reject(method, task, candidate.reason)
            return None
        verdict = self.filters.check(candidate, task.sources, method.filters)
        reason = verdict.reason
        content = f"{candidate.instruction}\n{candidate.summary}\n{candidate.dialogue}".encode()
        digest = hashlib.blake2b(content, digest_size=16).digest()
        texts = {}
        if not reason and digest in seen:
            reason = "repeated"
        if not reason:
            try:
                texts = {
                    kind: replace_reversibly(text, self.person_tags)
                    for kind, text in (("dialogue", candidate.dialogue), ("summary", candidate.summary))
                }
            except BadDialogueError as error:
                reason = str(error)
        if reason:
            self._reject(method, task, reason, {"dialogue": candidate.dialogue, "summary": candidate.summary})
            return None
        seen.add(digest)
        counts.kept += 1
        row: dict[str, Any] = {"fname": task.fname(method.name), **texts, "topic": candidate.topic}
        row |= {"instruction": candidate.instruction} if candidate.instruction else {}
        row |= {"source": task.source["fname"]}
        row |= {"further_sources": [row["fname"] for row in task.sources[1:]]} if len(task.sources) > 1 else {}
        return row | {"method": method.name, "filters": verdict.scores, "details": dict(candidate.details)}

    def _reject(self, method: Method, task: Task, reason: str, texts: Mapping[str, str] | None = None) -> None:
        """Count a rejected row, and keep the first ones of each reason."""
        counts = self.counts[method.name]
        counts.rejected[reason] += 1
        if counts.rejected[reason] <= MOST_REJECTED:
            self.rejected.append({"method": method.name, "source": task.source["fname"], "reason": reason, **(texts or {})})
