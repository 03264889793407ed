"""One loaded model for many requests, each with its own generation settings: the weights are in memory once."""

import copy
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from yoyak.config.generation_section import Generation
from yoyak.data.truncation import EncodedDialogue, count_turns
from yoyak.inference import long_dialogues
from yoyak.inference.backend_choice import Choice, backend_named
from yoyak.inference.backends.base import Writer
from yoyak.inference.backends.ctranslate2 import CTranslate2Writer
from yoyak.inference.backends.transformers import TransformersWriter, generation_config
from yoyak.inference.consensus import ConsensusWriter
from yoyak.inference.member_choice import MembersWriter
from yoyak.inference.outputs import Output
from yoyak.inference.summarizer import Summarizer
from yoyak.models.families.ensemble import MemberSummaries
from yoyak.system import hardware
from yoyak.system.errors import YoyakError

Row = Mapping[str, str]  # dialogue (cleaned) and topic


@dataclass(frozen=True)
class Written:
    """A summary with what a caller may want to know of it.

    Attributes:
        summary: post-processed, with the speaker tags of the data.
        cut_off: whether the model stopped at max_new_tokens.
        dialogue_tokens: of the whole dialogue.
        input_tokens: that the model read.
        output_tokens: of the summary, as the model's tokenizer counts them, with the end of the text. Of a consensus all
            counts are those of the member whose summary was chosen; where its summary was stored, nothing was read or written.
        turns, turns_left_out, turn_cut: of a dialogue that was too long (`truncation.EncodedDialogue`).
        windows: in which the dialogue was read; 1 if it was read at once.
        notes: sentences on what was left out, and on characters that the model does not know.
    """

    summary: str
    cut_off: bool
    dialogue_tokens: int
    input_tokens: int
    output_tokens: int
    turns: int
    turns_left_out: int = 0
    turn_cut: bool = False
    windows: int = 1
    notes: tuple[str, ...] = ()


class _Variant(Summarizer):
    """The same model with other generation settings and a writer that is open already."""

    def use(self, choice: Choice) -> None:
        self._choice = choice


class SharedModel:
    """A model with one open backend, for requests that differ in their generation settings.

    As many threads as `parallel` says may write at a time. The summaries are those of a `Summarizer` with the same params.
    """

    def __init__(self, summarizer: Summarizer) -> None:
        """Open the backend.

        Args:
            summarizer: a model of a family that is trained, or an ensemble. Nobody else may write with it afterwards.

        Raises:
            YoyakError: if no backend can write with it.
        """
        self.base = summarizer
        self.choice = summarizer.choose_backend()
        writer = self.choice.writer
        self._writer: Writer = writer.writer if isinstance(writer, ConsensusWriter) else writer
        # Settings of transformers belong to the model, and Python's part of the work gains nothing from a second thread.
        self._lock = threading.RLock()

    @property
    def settings(self) -> Generation:
        """The settings of a request that changes none."""
        return self.base.params.generation

    @property
    def parallel(self) -> int:
        """How many threads may write at a time. CTranslate2 computes outside Python; two threads keep its workers busy."""
        return min(2, self._writer.workers) if isinstance(self._writer, CTranslate2Writer) else 1

    def prepare_thread(self) -> None:
        """Call it in each thread that writes: torch's number of threads belongs to a thread, and it decides the last bits."""
        hardware.configure_cpu(self.base.params.hardware.cpu_threads)

    def change(self, changes: Mapping[str, Any]) -> Generation:
        """The settings with some values changed.

        Raises:
            YoyakError: if the values do not fit together, the model has not enough positions for them, or no open backend
                supports them. The message begins with the name of a setting where one is at fault.
        """
        if not changes:
            return self.settings
        if isinstance(self._writer, MembersWriter):
            raise YoyakError("a consensus has no settings of its own: each member writes with those of its experiment")
        try:
            settings = Generation.model_validate(self.settings.model_dump() | dict(changes))
        except ValidationError as error:
            raise YoyakError(
                "; ".join(str(item["msg"]).removeprefix("Value error, ") for item in error.errors(include_url=False))
            ) from None
        self._summarizer(settings)
        self._check_backend(settings)
        return settings

    def write(self, requests: Sequence[Sequence[Row]], settings: Generation) -> list[list[Written]]:
        """Summarize the rows of several requests together.

        Rows are written in batches of similar length, so that a short one does not wait for padding. The prompts of a request
        do not depend on the other requests.

        Args:
            requests: the rows of each request.
            settings: from `change`, the same for all requests.

        Raises:
            YoyakError: if the model cannot write them, for example for want of memory.
        """
        rows = [row for request in requests for row in request]
        with self._lock:
            summarizer = self._summarizer(settings)
            encoded = [item for request in requests for item in summarizer.encode(request)]
            if (chooser := self.base.loaded.examples) is not None:
                chooser.forget()
            writer = self._open(settings)
            summarizer.use(replace(self.choice, writer=writer))
            if not isinstance(writer, CTranslate2Writer):
                return self._write(summarizer, requests, rows, encoded)
        return self._write(summarizer, requests, rows, encoded)

    def _write(
        self, summarizer: "_Variant", requests: Sequence[Sequence[Row]], rows: Sequence[Row], encoded: Sequence[Any]
    ) -> list[list[Written]]:
        settings, writer = summarizer.params.generation, summarizer.choose_backend().writer
        outputs = long_dialogues.write_in_passes(
            encoded,
            rows,
            _Quiet(writer, settings, self._rows_at_once(settings)),
            settings=settings,
            person_tags=summarizer.params.preprocess.person_tags,
        )
        summaries = summarizer.finish(outputs, postprocess=summarizer.postprocesses)
        written = iter(self._describe(summarizer, *item) for item in zip(encoded, rows, outputs, summaries, strict=True))
        return [[next(written) for _ in request] for request in requests]

    def _summarizer(self, settings: Generation) -> _Variant:
        """YoyakError if the model has fewer positions than the settings need."""
        params = self.base.params.model_copy(update={"generation": settings})
        return _Variant(self.base.loaded, self.base.family, params, self.base.decisions)

    def _backend_of(self, settings: Generation) -> str | None:
        """The open backend, or one that writes with the same weights if only that supports the settings.

        None if the weights were given away.
        """
        converted = self.base.loaded.shared.get("ctranslate2")
        is_gone = converted is not None and converted.is_decoder_only
        names: list[str] = [self.choice.backend, *([] if is_gone else ["lean", "transformers"])]
        for name in names:
            if not backend_named(name).why_not(self.base.loaded, settings):
                return name
        return None

    def _check_backend(self, settings: Generation) -> None:
        reason = backend_named(self.choice.backend).why_not(self.base.loaded, settings)
        if reason and (self._backend_of(settings) is None or self.settings.backend not in ("auto", "transformers")):
            raise YoyakError(f"{reason}; start the server with -S generation.backend=transformers to use such settings")

    def _open(self, settings: Generation) -> Writer:
        """A writer for these settings with the weights that are loaded already."""
        if isinstance(self._writer, MembersWriter):  # a new one each time, because Mecab's results are kept in it
            return MembersWriter(self.base.loaded.model)
        name = self._backend_of(settings) or self.choice.backend
        writer = self._writer
        if name != self.choice.backend:
            writer = backend_named(name).open(self.base.loaded, settings, threads=None)
        elif isinstance(writer, CTranslate2Writer):
            writer = copy.copy(writer)
            writer.settings = settings
        elif isinstance(writer, TransformersWriter):  # the model is shared: an earlier batch may have set other settings
            writer.model.generation_config = generation_config(settings, writer.tokenizer, writer.model)
        elif settings != self.settings:
            writer = backend_named(name).open(self.base.loaded, settings, threads=None)
        if settings.consensus.candidates > 1:  # a new one each time, because Mecab's results are kept in it
            return ConsensusWriter(writer, settings, self.base.params.preprocess.person_tags)
        return writer

    def _rows_at_once(self, settings: Generation) -> int:
        """Fewer rows for more beams than usual, so that the memory does not grow with the wish of a request."""
        beams = max(1, settings.num_beams / self.settings.num_beams)
        return max(1, int(settings.batch_size / beams))

    def _describe(self, summarizer: Summarizer, item: Any, row: Row, output: Output, summary: str) -> Written:
        if isinstance(item, MemberSummaries):
            if not item.written:
                return Written(summary, False, 0, 0, 0, count_turns(row["dialogue"]))
            place = item.texts.index(output.text) if output.text in item.texts else 0
            chosen: Written = item.written[place]
            return replace(chosen, summary=summary)
        tokenizer = self.base.loaded.tokenizer
        whole = item if isinstance(item, EncodedDialogue) else EncodedDialogue(list(item), len(item), 1)
        windows = len(item.parts) if isinstance(item, long_dialogues.WindowedDialogue) else 1
        return Written(
            summary,
            cut_off=output.hit_limit,
            dialogue_tokens=whole.tokens,
            input_tokens=whole.tokens if windows > 1 else len(whole.ids),
            output_tokens=len(tokenizer(output.text, add_special_tokens=False).input_ids) + (not output.hit_limit),
            turns=whole.turns,
            turns_left_out=0 if windows > 1 else whole.turns_left_out,
            turn_cut=windows == 1 and whole.turn_cut,
            windows=windows,
            notes=tuple(summarizer.reader.describe_losses([item], [row["dialogue"]])),
        )


@dataclass(frozen=True)
class _Quiet:
    """Writes as `decoding.generate` does, without a bar on the terminal."""

    writer: Writer
    settings: Generation
    rows_at_once: int

    def __call__(self, encoded: Sequence[Any], dialogues: Sequence[str], *, offset: int) -> list[Output]:
        order = sorted(range(len(encoded)), key=lambda row: -len(encoded[row]))
        outputs: dict[int, Output] = {}
        for start in range(0, len(order), self.rows_at_once):
            batch = order[start : start + self.rows_at_once]
            written = self.writer.write(
                [encoded[row] for row in batch], [dialogues[row] for row in batch], seed=self.settings.seed + offset + start
            )
            outputs.update(zip(batch, written, strict=True))
        return [outputs[row] for row in range(len(encoded))]
