"""Writing many summaries: in batches of similar length, in the order of the input, resumable after a kill."""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from tqdm import tqdm

from yoyak.config.generation_section import Generation
from yoyak.inference.backends.base import Writer
from yoyak.inference.outputs import Output
from yoyak.system.progress_bars import bars_hidden
from yoyak.system.resumable import BatchStore

WINDOW_PARAMS = ("long_dialogues", "window_overlap", "window_merge")


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
    outputs: dict[int, Output] = {}
    with tqdm(
        total=len(encoded), desc=progress, unit="dialogue", mininterval=1, disable=bars_hidden(bool(rows_at_once))
    ) as bar:
        for start in range(0, len(order), batch_size):
            batch, number = order[start : start + batch_size], offset + start
            if kept and number in kept.finished:
                written = [Output(*values) for values in kept.finished[number]]
            else:
                # Each batch has its own seed, so that its result does not depend on earlier batches.
                seed = settings.seed + number
                written = writer.write([encoded[row] for row in batch], [dialogues[row] for row in batch], seed=seed)
                if kept:
                    kept.add(number, [astuple(output) for output in written])
            outputs.update(zip(batch, written, strict=True))
            bar.update(len(batch))
    return [outputs[row] for row in range(len(encoded))]


def describe_decoding(settings: Generation, backend: str, *, unread: tuple[str, ...] = (), postprocess: bool = False) -> str:
    """The decoding settings on one line, for the signature of a score, without those that the family does not read."""
    not_decoding = {"batch_size", "backend", "postprocess", "restore_speakers"}
    values = settings.model_dump(exclude={*not_decoding, "seed", "temperature", "top_p", "top_k"})
    if settings.long_dialogues == "truncate":
        values = {name: value for name, value in values.items() if name not in WINDOW_PARAMS}
    consensus = values.pop("consensus")
    if settings.consensus.candidates > 1:
        values |= {f"consensus.{name}": value for name, value in consensus.items()}
    values["blocked_scripts"] = "+".join(settings.blocked_scripts) or "none"
    if settings.do_sample:
        values |= settings.model_dump(include={"temperature", "top_p", "top_k", "seed"})
    read = {key: value for key, value in values.items() if not f"generation.{key}".startswith(unread)}
    shown = {**read, "backend": backend, **({"postprocess": "on"} if postprocess else {})}
    return ",".join(f"{key}={value}" for key, value in shown.items())
