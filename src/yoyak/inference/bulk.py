"""Summaries of more dialogues than fit into memory: in parts, by several processes, on several hosts, resumable by part.

Each part of the input becomes one Parquet file with fname, summary and problem. It appears only when it is complete, so a job
that was killed goes on with the parts that are missing. `job.json` in the same folder has the hash of everything that the
summaries depend on, so that parts of another model or with other settings are never mixed.
"""

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from yoyak.config.sections import Params
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.raw_dialogues import prepare_dialogue, why_refused
from yoyak.inference.bulk_input import Part, input_files, read_parts
from yoyak.inference.decisions import Decisions
from yoyak.system.atomic import temporary_folder_next_to
from yoyak.system.checksums import CHECKSUMS_FILE, file_checksums, sha256
from yoyak.system.errors import YoyakError
from yoyak.system.model_pools import model_pool
from yoyak.system.text_files import read_json, to_json, write_json

if TYPE_CHECKING:
    from yoyak.inference.summarizer import Summarizer

JOB_FILE = "job.json"
AHEAD = 2  # parts for each process that are read before they are needed


class Summaries(NamedTuple):
    """What became of the dialogues of a part, in their order."""

    name: str
    fnames: list[str]
    texts: list[str | None]  # None where the dialogue cannot be used
    problems: list[str | None]  # why not


class PartSummarizer(Protocol):
    """Summarizes one part. With several processes it is pickled."""

    def __call__(self, part: Part) -> Summaries: ...


@dataclass
class Progress:
    """Counts of a run."""

    parts: int = 0
    kept_parts: int = 0  # that an earlier run has finished
    dialogues: int = 0
    problems: int = 0
    seconds: float = 0.0


def _ignore(_: object) -> None:
    """Each part would tell again that long dialogues are cut; and most models need no preparation."""


@dataclass(frozen=True)
class TrainedModel:
    """Summarizes parts with a trained model. Each process loads it once.

    Attributes:
        prepare: what to do with the model when it is loaded (`ensembles.live_members.connect`).
    """

    folder: Path
    params: Params
    decisions: Decisions
    prepare: Callable[["Summarizer"], object] = _ignore

    def key(self) -> str:
        """The hash of everything but the dialogues that the summaries depend on."""
        checksums = self.folder / CHECKSUMS_FILE
        files = checksums.read_text(encoding="utf-8") if checksums.is_file() else to_json(file_checksums(self.folder))
        sections = ("preprocess", "model", "tokenizer", "prompt", "generation", "hardware")
        settings = {name: getattr(self.params, name).model_dump(mode="json") for name in sections}
        return hashlib.sha256((files + to_json(settings | {"decisions": asdict(self.decisions)})).encode()).hexdigest()[:32]

    def __call__(self, part: Part) -> Summaries:
        rows: list[dict[str, str]] = []
        texts: list[str | None] = []
        problems: list[str | None] = []
        for dialogue in part.dialogues:
            try:
                text, _ = prepare_dialogue(dialogue.text, self.params.preprocess)
            except BadDialogueError as error:
                texts.append(None)
                problems.append(why_refused(error))
                continue
            rows.append({"dialogue": text, "topic": " ".join(dialogue.topic.split())})
            texts.append("")
            problems.append(None)
        if rows:
            written = iter(self._summarizer().summarize_rows(rows, progress=part.name, tell=_ignore))
            texts = [None if text is None else next(written) for text in texts]
        return Summaries(part.name, [dialogue.fname for dialogue in part.dialogues], texts, problems)

    def _summarizer(self) -> "Summarizer":
        from yoyak.inference.summarizer import Summarizer

        if self.folder not in _loaded:
            _loaded[self.folder] = Summarizer.load(self.folder, params=self.params, decisions=self.decisions)
            self.prepare(_loaded[self.folder])
        return _loaded[self.folder]


_loaded: dict[Path, "Summarizer"] = {}  # of this process


def run_job(
    source: Path,
    output: Path,
    summarize: PartSummarizer,
    *,
    key: str,
    processes: int = 1,
    rows: int = 4096,
    share: tuple[int, int] = (1, 1),
    tell: Callable[[Progress], None] | None = None,
) -> Progress:
    """Summarize all dialogues of `source`, except for the parts that an earlier run has finished.

    Args:
        source: a file or a folder (`bulk_input.input_files`).
        output: folder for the Parquet files. It is made if it is missing.
        summarize: is called for each part.
        key: the hash of what its summaries depend on besides the dialogues.
        processes: how many processes summarize. With 1, this process does it.
        rows: dialogues in a part.
        share: (2, 4) takes the second of four shares of the parts. Other hosts take the others, into this folder or another.
        tell: is called after each part.

    Raises:
        YoyakError: if the input cannot be read, if `output` has parts of another job, or if a process was killed.
    """
    files = input_files(source)
    output.mkdir(parents=True, exist_ok=True)
    inputs = {file.relative_to(source.parent).as_posix(): sha256(file) for file in files}
    _check_job(output, {"key": key, "rows": rows}, inputs)
    progress, start = Progress(), time.monotonic()

    def missing_parts() -> Iterator[Part]:
        number, total = share
        parts = (part for file in files for part in read_parts(source, file, rows=rows))
        for index, part in enumerate(parts):
            if index % total != number - 1:
                continue
            if _part_file(output, part.name).is_file():
                progress.kept_parts += 1
            else:
                yield part

    for summaries in _summarized(missing_parts(), summarize, processes):
        _write(_part_file(output, summaries.name), summaries)
        progress.parts += 1
        progress.dialogues += len(summaries.texts)
        progress.problems += sum(problem is not None for problem in summaries.problems)
        progress.seconds = time.monotonic() - start
        if tell:
            tell(progress)
    return progress


def _part_file(output: Path, name: str) -> Path:
    return output / f"{name}.parquet"


def _check_job(output: Path, job: dict[str, Any], inputs: dict[str, str]) -> None:
    """Compare `output` with this job, or note this job there if the folder is new.

    Raises:
        YoyakError: if the model, a setting or a file of the input changed. Further files are allowed.
    """
    path, advice = output / JOB_FILE, "name another folder, or delete this one to begin anew"
    if not path.is_file():
        if any(not file.name.startswith(".") for file in output.iterdir()):
            raise YoyakError(f"{output}: is not empty and has no {JOB_FILE}; name another folder")
        write_json(path, {**job, "inputs": inputs})
        return
    earlier = read_json(path)
    if earlier["key"] != job["key"]:
        raise YoyakError(f"{output}: its summaries are of another model or of other settings; {advice}")
    if earlier["rows"] != job["rows"]:
        raise YoyakError(f"{output}: its parts have {earlier['rows']} dialogues; give --rows {earlier['rows']}, or {advice}")
    if changed := [name for name, value in earlier["inputs"].items() if inputs.get(name, value) != value]:
        raise YoyakError(f"{output}: {changed[0]} is not the file of its summaries any more; {advice}")
    if inputs.keys() - earlier["inputs"].keys():
        write_json(path, {**job, "inputs": earlier["inputs"] | inputs})


def _summarized(parts: Iterator[Part], summarize: PartSummarizer, processes: int) -> Iterator[Summaries]:
    """The results in the order of the parts. At most AHEAD parts for each process are in memory at a time."""
    if processes == 1:
        yield from map(summarize, parts)
        return
    pending: deque[Future[Summaries]] = deque()
    with model_pool(processes, advice="the same command goes on, with fewer --processes if need be") as pool:
        for part in parts:
            pending.append(pool.submit(summarize, part))
            if len(pending) >= AHEAD * processes:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _write(path: Path, summaries: Summaries) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {"fname": summaries.fnames, "summary": summaries.texts, "problem": summaries.problems}
    table = pyarrow.table({name: pyarrow.array(values, pyarrow.string()) for name, values in columns.items()})
    with temporary_folder_next_to(path) as folder:
        pyarrow.parquet.write_table(table, folder / path.name)
        os.replace(folder / path.name, path)
