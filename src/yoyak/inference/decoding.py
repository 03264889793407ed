"""Writing many summaries: in batches of similar length, in the order of the input, resumable after a kill."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from tqdm import tqdm

from yoyak.config.sections import Generation
from yoyak.inference.backends.base import Writer
from yoyak.inference.outputs import Output
from yoyak.system.resumable import BatchStore


def generate(
    writer: Writer,
    encoded: Sequence[Any],
    dialogues: Sequence[str],
    *,
    settings: Generation,
    progress: str,
    kept: BatchStore | None = None,
) -> list[Output]:
    """Write one output for each row.

    Batches hold rows of similar length, the longest first, so that little padding is needed and memory is tried out early.

    Args:
        writer: from a backend.
        encoded: what the model reads for each row.
        dialogues: the text of each row's dialogue.
        settings: section generation of params.yaml; batch_size and seed are read here.
        progress: the label of the progress bar.
        kept: finished batches of an earlier call with the same arguments that was killed. Each further batch is added.

    Returns:
        The outputs in the order of the rows.
    """
    order = sorted(range(len(encoded)), key=lambda row: -len(encoded[row]))
    outputs: dict[int, Output] = {}
    with tqdm(total=len(encoded), desc=progress, unit="dialogue", mininterval=1) as bar:
        for start in range(0, len(order), settings.batch_size):
            batch = order[start : start + settings.batch_size]
            if kept and start in kept.finished:
                written = [Output(*values) for values in kept.finished[start]]
            else:
                # The seed depends on the batch alone, so that no batch depends on those before it.
                seed = settings.seed + start
                written = writer.write([encoded[row] for row in batch], [dialogues[row] for row in batch], seed=seed)
                if kept:
                    kept.add(start, [astuple(output) for output in written])
            outputs.update(zip(batch, written, strict=True))
            bar.update(len(batch))
    return [outputs[row] for row in range(len(encoded))]


def describe_decoding(settings: Generation, *, backend: str) -> str:
    """The decoding settings on one line, for the signature of a score."""
    values = settings.model_dump(exclude={"batch_size", "backend", "postprocess", "seed", "temperature", "top_p", "top_k"})
    values["blocked_scripts"] = "+".join(settings.blocked_scripts) or "none"
    if settings.do_sample:
        values |= settings.model_dump(include={"temperature", "top_p", "top_k", "seed"})
    return ",".join(f"{key}={value}" for key, value in {**values, "backend": backend}.items())
