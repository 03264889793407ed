"""Writing many summaries: in batches of similar length, in the order of the input, resumable after a kill."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple
from functools import partial
from typing import Any, NamedTuple

from tqdm import tqdm

from yoyak.config.generation_section import Consensus, Generation
from yoyak.inference.backends.base import Writer
from yoyak.inference.outputs import Output
from yoyak.system.progress_bars import bars_hidden
from yoyak.system.resumable import BatchStore

WINDOW_PARAMS = ("long_dialogues", "window_overlap", "window_merge")


class Batch(NamedTuple):
    """Rows that are written at the same time.

    Attributes:
        number: of its first row, in the order from long to short.
        encoded: what the model reads for each row.
        dialogues: the text of each row's dialogue.
        seed: each batch has its own, so that its result does not depend on earlier batches.
    """

    number: int
    encoded: list[Any]
    dialogues: list[str]
    seed: int


WriteBatches = Callable[[Iterable[Batch]], Iterator[tuple[int, list[Output]]]]  # numbers of batches, as they are finished


def one_by_one(writer: Writer, batches: Iterable[Batch]) -> Iterator[tuple[int, list[Output]]]:
    """Write batches one after another."""
    for batch in batches:
        yield batch.number, writer.write(batch.encoded, batch.dialogues, seed=batch.seed)


def generate(
    writer: Writer,
    encoded: Sequence[Any],
    dialogues: Sequence[str],
    *,
    settings: Generation,
    progress: str,
    kept: BatchStore | None = None,
    offset: int = 0,
) -> list[Output]:
    """Write one output for each row.

    The rows of a batch have similar lengths, so that there is little padding. The longest rows come first, so that a lack of
    memory shows at once.

    Args:
        writer: a model that a backend has opened.
        encoded: what the model reads for each row.
        dialogues: the text of each row's dialogue.
        settings: section generation of params.yaml. Only batch_size and seed are read.
        progress: the label of the progress bar.
        kept: the finished batches of an earlier call with the same arguments. New batches are added, so that work
            continues after a kill.
        offset: the number of rows in earlier calls with the same `kept`.

    Returns:
        The outputs in the order of the rows.
    """
    rows_at_once = getattr(writer, "rows_at_once", None)  # a writer that limits and keeps its work itself
    batch_size = rows_at_once or settings.batch_size
    if rows_at_once:
        kept, offset = None, 0  # the seed is a part of each stored answer's request: it must not depend on other rows
    order = sorted(range(len(encoded)), key=lambda row: -len(encoded[row]))
    rows_of = {offset + start: order[start : start + batch_size] for start in range(0, len(order), batch_size)}
    outputs: dict[int, Output] = {}
    # A writer with several processes has its own way to write several batches.
    write_batches: WriteBatches = getattr(writer, "write_batches", None) or partial(one_by_one, writer)
    finished = kept.finished if kept else {}
    missing = (
        Batch(number, [encoded[row] for row in rows], [dialogues[row] for row in rows], settings.seed + number)
        for number, rows in rows_of.items()
        if number not in finished
    )
    with tqdm(
        total=len(encoded), desc=progress, unit="dialogue", mininterval=1, disable=bars_hidden(bool(rows_at_once))
    ) as bar:
        for number in rows_of.keys() & finished.keys():
            outputs.update(zip(rows_of[number], (Output(*values) for values in finished[number]), strict=True))
            bar.update(len(rows_of[number]))
        for number, written in write_batches(missing):
            if kept:
                kept.add(number, [astuple(output) for output in written])
            outputs.update(zip(rows_of[number], written, strict=True))
            bar.update(len(written))
    return [outputs[row] for row in range(len(encoded))]


def _describe_consensus(consensus: Consensus) -> dict[str, Any]:
    """The settings that have an effect. Instructions are long texts, so their hash stands for them."""
    values = consensus.model_dump(exclude={"instructions", "weights", "weights_temperature"})
    if consensus.weights != "auto":
        values["weights"] = consensus.weights
    if consensus.weights == "probability":
        values["weights_temperature"] = consensus.weights_temperature
    if consensus.source == "prompts" and consensus.instructions:
        values["instructions"] = hashlib.sha256("\n".join(consensus.instructions).encode()).hexdigest()[:8]
    return values


def describe_decoding(settings: Generation, backend: str, *, unread: tuple[str, ...] = (), postprocess: bool = False) -> str:
    """The decoding settings on one line, for the signature of a score, without those that the family does not read."""
    not_decoding = {"batch_size", "backend", "postprocess", "restore_speakers"}
    values = settings.model_dump(exclude={*not_decoding, "seed", "temperature", "top_p", "top_k"})
    if settings.long_dialogues == "truncate":
        values = {name: value for name, value in values.items() if name not in WINDOW_PARAMS}
    values.pop("consensus")
    if settings.consensus.candidates > 1:
        values |= {f"consensus.{name}": value for name, value in _describe_consensus(settings.consensus).items()}
    values["blocked_scripts"] = "+".join(settings.blocked_scripts) or "none"
    if settings.do_sample:
        values |= settings.model_dump(include={"temperature", "top_p", "top_k", "seed"})
    read = {key: value for key, value in values.items() if not f"generation.{key}".startswith(unread)}
    shown = {**read, "backend": backend, **({"postprocess": "on"} if postprocess else {})}
    return ",".join(f"{key}={value}" for key, value in shown.items())
