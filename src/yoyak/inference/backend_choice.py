"""Choosing the backend that writes the summaries, with the reason for the choice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, get_args

import numpy as np

from yoyak.config.generation_section import BackendName, Generation
from yoyak.data.person_tags import PersonTags, restore_person_tags
from yoyak.evaluation import bootstrap, rouge
from yoyak.evaluation.morphemes import Morphemes
from yoyak.inference.backends.base import Backend, Writer
from yoyak.inference.decoding import generate
from yoyak.models.families.base import LoadedModel
from yoyak.system.errors import YoyakError

BACKENDS: tuple[str, ...] = tuple(name for name in get_args(BackendName) if name != "auto")  # in the order of preference

# The number of dev rows on which an approximate backend is compared with an exact one. For a small model it is larger, because
# a small model loses more in 8 bits (docs/log/speed.md) and writes fast.
COMPARED_ROWS, COMPARED_ROWS_OF_SMALL_MODELS, SMALL_MODEL_PARAMETERS = 64, 256, 50_000_000
OpenWriter = Callable[[Backend], Writer]
LARGEST_LOSS = 0.01  # as a share of the rouge_sum of the exact backend


@dataclass(frozen=True)
class Choice:
    """A backend that is ready to write, and the reason for choosing it."""

    writer: Writer
    backend: str
    why: str

    def report(self) -> dict[str, Any]:
        """For metrics/predict.json: the choice, and what a writer says about its work under the name of its backend."""
        report: dict[str, Any] = {"backend": self.backend, "why": self.why}
        return report | ({self.backend: self.writer.report()} if hasattr(self.writer, "report") else {})


def backend_named(name: str) -> Backend:
    """The implementation that `generation.backend: name` means."""
    module = name.replace("-", "_")
    backend: Backend = import_module(f"yoyak.inference.backends.{module}").BACKEND
    return backend


def choose_backend(
    loaded: LoadedModel,
    settings: Generation,
    *,
    threads: int | None,
    dev_scores: Callable[[Writer], rouge.Scores] | None = None,
    previous: str | None = None,
    open_writer: OpenWriter | None = None,
) -> Choice:
    """Open the backend that `generation.backend` names, or for `auto` the first one that can be used.

    If the first usable backend is approximate, `auto` compares it on dev rows with the first usable exact one. The exact one is
    taken if the approximate one lowers the mean rouge_sum by more than LARGEST_LOSS, or if the 95 % bootstrap interval of the
    change is below 0.

    Args:
        loaded: the model. Opening a backend may make its weights unusable.
        settings: section generation of params.yaml.
        threads: CPU threads, as in `Backend.open`.
        dev_scores: returns the ROUGE scores (rows, 3) of the summaries that a writer writes for some dev rows. Without it,
            nothing is compared.
        previous: the backend that predict chose for this model. It is taken if nothing is compared.
        open_writer: opens a backend in place of `Backend.open`, such as in several processes.

    Raises:
        YoyakError: if the named backend cannot be used, or if no backend can.
    """
    opened = open_writer or (lambda backend: backend.open(loaded, settings, threads=threads))
    requested = settings.backend
    if requested != "auto":
        backend = backend_named(requested)
        if reason := backend.why_not(loaded, settings):
            raise YoyakError(f"generation.backend: {requested}: {reason}; choose auto or transformers")
        return Choice(opened(backend), requested, "generation.backend says so")

    usable: list[Backend] = []
    refused: str | None = None  # why the most preferred backend cannot be used
    for name in BACKENDS:
        backend = backend_named(name)
        reason = backend.why_not(loaded, settings)
        refused = refused or reason
        if not reason:
            usable.append(backend)
            if backend.is_exact:
                break
    if not usable or not usable[-1].is_exact:
        raise YoyakError(f"no backend can write with this model: {refused}")
    *approximate, exact = usable
    if not approximate:
        return Choice(opened(exact), exact.name, refused or "it is the first that can be used")
    if dev_scores:
        return _compare(approximate[0], exact, opened, dev_scores=dev_scores, seed=settings.seed)
    chosen = next((backend for backend in approximate if backend.name == previous), exact)
    why = "as it was chosen for dev" if previous else "no dev to judge int8 by"
    return Choice(opened(chosen), chosen.name, why)


def _compare(
    approximate: Backend,
    exact: Backend,
    opened: OpenWriter,
    *,
    dev_scores: Callable[[Writer], rouge.Scores],
    seed: int,
) -> Choice:
    """Return the approximate backend, or the exact one if the approximate one lowers the score on dev.

    With too few dev rows to say so, the exact one.
    """
    name = approximate.name.rpartition("-")[2]
    exact_writer = opened(exact)
    before = dev_scores(exact_writer).sum(axis=1)
    if len(before) < bootstrap.MIN_ROWS:
        few = f"too few dev rows to judge {name} by ({len(before)}, at least {bootstrap.MIN_ROWS} are needed)"
        return Choice(exact_writer, exact.name, few)
    approximate_writer = opened(approximate)
    change = dev_scores(approximate_writer).sum(axis=1) - before
    means = bootstrap.resampled_means(change[:, None], samples=1000, seed=seed)
    low, high = np.percentile(means, [2.5, 97.5])
    is_worse = high < 0 or change.mean() < -LARGEST_LOSS * before.mean()
    why = f"{name} changes rouge_sum by {change.mean():+.2f} [{low:+.2f}, {high:+.2f}] on {len(change)} dev rows"
    return Choice(exact_writer, exact.name, why) if is_worse else Choice(approximate_writer, approximate.name, why)


def dev_scorer(
    encoded: Sequence[Any],
    rows: Sequence[Mapping[str, Any]],
    *,
    settings: Generation,
    person_tags: PersonTags,
    parameters: int,
) -> Callable[[Writer], rouge.Scores]:
    """Make a function that returns the ROUGE scores (rows, 3) of a writer on evenly spaced dev rows.

    Args:
        encoded: what the model reads for each row of dev.
        rows: the processed rows of dev.
        settings: section generation of params.yaml.
        person_tags: how speaker tags were replaced; they are restored before scoring.
        parameters: the number of parameters of the model. A small model is compared on more rows.
    """
    count = COMPARED_ROWS_OF_SMALL_MODELS if parameters < SMALL_MODEL_PARAMETERS else COMPARED_ROWS
    indices = [i * len(rows) // count for i in range(count)] if len(rows) > count else range(len(rows))
    chosen = [rows[i] for i in indices]
    morphemes = Morphemes()

    def scores(writer: Writer) -> rouge.Scores:
        outputs = generate(
            writer,
            [encoded[i] for i in indices],
            [row["dialogue"] for row in chosen],
            settings=settings,
            progress="compare backends",
        )
        return rouge.score_rows(
            predictions=[restore_person_tags(output.text, person_tags) for output in outputs],
            references=[row["references"] for row in chosen],
            tokenizer=morphemes,
        )

    return scores
