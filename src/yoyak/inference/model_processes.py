"""Several processes that write with one model: `hardware.processes` in the stage predict.

Each process loads the model and writes whole batches, the same ones that one process writes. The batches with the longest
dialogues come first, and a process takes the next one when it is ready, so all of them end at about the same time.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoyak.config.sections import Params
from yoyak.inference.backend_choice import backend_named
from yoyak.inference.backends.base import Backend, Writer
from yoyak.inference.consensus import ConsensusWriter
from yoyak.inference.decoding import Batch
from yoyak.inference.member_choice import MembersWriter
from yoyak.inference.outputs import Output
from yoyak.models.families.base import LoadedModel
from yoyak.models.families.ensemble import StoredSummaries
from yoyak.models.families.lookup import family_named
from yoyak.system import hardware
from yoyak.system.model_pools import model_pool

UNDIVIDED = ("endpoint", "vllm")  # backends that already do several things at the same time

_loaded: dict[Path, LoadedModel] = {}  # of this process
_writers: dict["WriterPlan", Writer] = {}  # of this process


@dataclass(frozen=True)
class WriterPlan:
    """Which writer a process opens.

    Attributes:
        folder: of the trained model.
        backend: its name; empty for the summaries that the members of an ensemble wrote.
        consensus: whether the writer chooses among several summaries (`generation.consensus`).
    """

    folder: Path
    backend: str
    consensus: bool = False

    def writer(self, params: Params) -> Writer:
        """The writer of this process. It and its model are opened once."""
        if self not in _writers:
            _writers[self] = self._open(params)
        return _writers[self]

    def _open(self, params: Params) -> Writer:
        if self.folder not in _loaded:
            hardware.configure_cpu(params.hardware.threads_of_process)
            _loaded[self.folder] = family_named(params.model.family).load_trained(self.folder, params)
        loaded, settings = _loaded[self.folder], params.generation
        if isinstance(loaded.model, StoredSummaries):
            return MembersWriter(loaded.model)
        threads, processes = params.hardware.cpu_threads, params.hardware.processes
        writer = backend_named(self.backend).open(loaded, settings, threads=threads, processes=processes)
        return ConsensusWriter(writer, settings, params.preprocess.person_tags) if self.consensus else writer


def _write(plan: WriterPlan, params: Params, batch: Batch) -> list[Output]:
    """Runs in a process of the pool."""
    return plan.writer(params).write(batch.encoded, batch.dialogues, seed=batch.seed)


@dataclass(frozen=True)
class SharedWriter:
    """Writes each batch in one of several processes. It is a `backends.base.Writer`."""

    pool: ProcessPoolExecutor
    plan: WriterPlan
    params: Params
    local: Writer | None = None  # has what a writer has besides `write`

    def __getattr__(self, name: str) -> Any:
        return getattr(self.local, name)

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        return self._submit(Batch(0, list(encoded), list(dialogues), seed)).result()

    def write_batches(self, batches: Iterable[Batch]) -> Iterator[tuple[int, list[Output]]]:
        """The outputs of all batches with their numbers, as they are finished."""
        numbers = {self._submit(batch): batch.number for batch in batches}
        for future in as_completed(numbers):
            yield numbers[future], future.result()

    def _submit(self, batch: Batch) -> Future[list[Output]]:
        return self.pool.submit(_write, self.plan, self.params, batch)


class ModelProcesses:
    """Opens writers that write in several processes."""

    def __init__(self, pool: ProcessPoolExecutor, folder: Path, params: Params, loaded: LoadedModel) -> None:
        """
        Args:
            pool: its processes load the model.
            folder: of the trained model.
            params: sections model, preprocess, generation and hardware.
            loaded: the model in this process. It is given up before the others load it, to free the memory.
        """
        self.pool, self.folder, self.params, self.loaded = pool, folder, params, loaded

    def open(self, backend: Backend) -> Writer:
        """A backend in all processes."""
        if backend.name in UNDIVIDED:
            return backend.open(self.loaded, self.params.generation, threads=self.params.hardware.cpu_threads)
        self.loaded.model = None
        return SharedWriter(self.pool, WriterPlan(self.folder, backend.name), self.params)

    def with_consensus(self, writer: Writer) -> Writer:
        """A writer of `open` that chooses among several summaries, each process for its own batches."""
        if isinstance(writer, SharedWriter):
            plan = WriterPlan(self.folder, writer.plan.backend, consensus=True)
            return SharedWriter(self.pool, plan, self.params)
        return ConsensusWriter(writer, self.params.generation, self.params.preprocess.person_tags)

    def around(self, members: MembersWriter) -> Writer:
        """A writer that chooses among the summaries of an ensemble's members."""
        return SharedWriter(self.pool, WriterPlan(self.folder, ""), self.params, members)


@contextmanager
def model_processes(folder: Path, params: Params, loaded: LoadedModel) -> Iterator[ModelProcesses | None]:
    """Start `hardware.processes` processes for a model, as soon as there is a batch to write. None if it is one process.

    The arguments are those of ModelProcesses.

    Raises:
        YoyakError: if one of the processes is killed.
    """
    if params.hardware.processes == 1:
        yield None
        return
    advice = "the same command continues from the finished batches, with a lower hardware.processes if need be"
    with model_pool(params.hardware.processes, advice=advice) as pool:
        yield ModelProcesses(pool, folder, params, loaded)
