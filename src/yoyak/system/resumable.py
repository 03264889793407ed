"""Resumable work: a stage that is killed continues where it stopped when it runs again with the same inputs.

A stage keeps unfinished work in a folder whose name contains a key: a hash of its params, inputs and code. Kept files are
verified before they are used.

    .checkpoints/STAGE-KEY/         files of the stage (training: checkpoint-N; predict: finished batches)
    .checkpoints/STAGE-KEY-host-2/  copies of the above on the second of several hosts that train together
    .checkpoints/STAGE-KEY.lock     locked while a process does this work; a kill releases the lock
"""

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from yoyak.system.checksums import CHECKSUMS_FILE, file_checksums, sha256, write_checksums
from yoyak.system.errors import YoyakError
from yoyak.system.integrity import verify_checksums
from yoyak.system.locks import exclusive_lock
from yoyak.system.processes import host, local_rank, world_size
from yoyak.system.text_files import to_json

SCHEMA = "1"  # version of the format of kept files; files of another version are not used
SCHEMA_FILE = "schema"
FINISHED_MARKER = "done"  # an empty file in a work folder whose work is finished
PAUSED_MARKER = "paused"  # an empty file in a work folder whose work a search has paused
KEEP_DAYS = 7
KEEP_BYTES = 20 * 2**30
CODE_FOLDERS = (Path(__file__).parents[1], Path("stages"))  # the whole library, with its nested packages, and the stages
PACKAGES = ("torch", "transformers", "accelerate", "peft", "bitsandbytes", "ctranslate2", "tokenizers", "datasets", "numpy")


def checkpoints_root() -> Path:
    """The folder that contains all work folders: YOYAK_CHECKPOINTS, or `.checkpoints` in the main repository.

    A queued experiment or a trial of a search runs in a copy of the repository. DVC_ROOT leads from there to the main one.
    """
    return Path(os.environ.get("YOYAK_CHECKPOINTS") or Path(os.environ.get("DVC_ROOT", "."), ".checkpoints"))


def work_key(params: Mapping[str, BaseModel], inputs: Sequence[Path]) -> str:
    """Hash everything that the result of a stage depends on.

    This includes the params, the content of the input folders, all code of the library and the stages, the versions of the
    packages, the processor, and the number of processes that train together.

    Args:
        params: the sections that the stage reads, by name.
        inputs: folders that the stage reads. A folder with SHA256SUMS is represented by that file, so the stage must verify
            it. A path that is not a folder is taken as a name on the hub; its revision belongs to `params`.

    Returns:
        32 hexadecimal digits.
    """
    return hashlib.sha256(to_json(_work_content(params, inputs)).encode()).hexdigest()[:32]


def work_hashes(params: Mapping[str, BaseModel], inputs: Sequence[Path]) -> dict[str, str]:
    """What the result of a stage depends on, each part as a hash: params, inputs, code, packages, python, processor.

    Processes compare them before they train together. The arguments are those of `work_key`.
    """
    return {name: hashlib.sha256(to_json(part).encode()).hexdigest() for name, part in _work_content(params, inputs).items()}


def _work_content(params: Mapping[str, BaseModel], inputs: Sequence[Path]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "python": platform.python_version(),
        "params": {name: section.model_dump() for name, section in params.items()},
        "inputs": [_input_content(path) for path in inputs],
        "code": [sha256(path) for folder in CODE_FOLDERS for path in sorted(folder.rglob("*.py"))],
        "packages": {name: version(name) for name in PACKAGES},
        "processor": _processor_name(),
        "processes": str(world_size()),  # the sums over rows have another order
    }


def _input_content(path: Path) -> object:
    if not path.is_dir():
        return str(path)
    checksums = path / CHECKSUMS_FILE
    return checksums.read_text(encoding="utf-8") if checksums.is_file() else file_checksums(path)


def _processor_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else torch.backends.cpu.get_cpu_capability()


@contextmanager
def work_folder(stage: str, params: Mapping[str, BaseModel], inputs: Sequence[Path]) -> Iterator[Path]:
    """Open the folder where a stage keeps its unfinished work, and lock it.

    A second process with the same key waits, and then finds the finished work. The folder stays after the block, because DVC
    must still move the result into its cache and can be killed meanwhile. `delete_old_work` deletes it later.

    Of several hosts that train together only the first keeps unfinished work. Each other one has a folder of its own, also if
    they share a disk, which is empty at the start.

    Args:
        stage: name of the stage.
        params: as in `work_key`.
        inputs: as in `work_key`.

    Yields:
        The folder. It contains what an earlier, killed run of the same work left.
    """
    folder = checkpoints_root() / f"{stage}-{work_key(params, inputs)}{f'-host-{host() + 1}' if host() else ''}"
    if local_rank() != 0:  # the first process of a host holds the lock for all of them
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    if host() == 0:
        delete_old_work(keep=folder)
    with _work_lock(folder):
        folder.mkdir(exist_ok=True)
        if host() > 0:
            _empty(folder)
        yield folder
        (folder / FINISHED_MARKER).touch()


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


@contextmanager
def _work_lock(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock_file(folder)
    with ExitStack() as held:
        while True:
            lock.touch()
            try:
                descriptor = held.enter_context(exclusive_lock(lock, wait=False))
            except BlockingIOError:
                print(f"{folder.name}: another process does the same work; waiting until it ends", flush=True)
                with suppress(FileNotFoundError), exclusive_lock(lock):
                    continue
            # `delete_old_work` may have deleted the file before it was locked. A lock on a deleted file keeps nobody out, so
            # the loop tries again.
            if lock.exists() and os.path.samestat(os.fstat(descriptor), lock.stat()):
                break
        yield


def delete_old_work(*, keep: Path | None = None) -> None:
    """Delete work folders that are not needed any more. Folders that a process has locked stay.

    A folder is deleted if its work is finished, if it is older than KEEP_DAYS, or, the oldest first, if all folders together
    exceed KEEP_BYTES. What a search has paused stays: the search deletes it.

    Args:
        keep: a work folder that is neither deleted nor counted.
    """
    folders = []
    for folder in checkpoints_root().glob("*"):
        with suppress(FileNotFoundError):  # another process may delete files at the same time
            if folder.is_dir() and folder != keep and not (folder / PAUSED_MARKER).exists():
                size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                folders.append((folder.stat().st_mtime, size, folder))
    total = 0
    for modified, size, folder in sorted(folders, reverse=True):
        total += size
        if (folder / FINISHED_MARKER).exists() or time.time() - modified > KEEP_DAYS * 86400 or total > KEEP_BYTES:
            _delete_unlocked(folder)


def _delete_unlocked(folder: Path) -> None:
    """Delete a work folder, unless a process has locked it."""
    lock = _lock_file(folder)
    with suppress(OSError):
        lock.touch()
        with exclusive_lock(lock, wait=False):
            shutil.rmtree(folder)
            lock.unlink()


def unlocked_work() -> list[Path]:
    """The work folders that no process has locked, finished or not."""
    return [folder for folder in sorted(checkpoints_root().glob("*")) if folder.is_dir() and not _is_locked(folder)]


def _is_locked(folder: Path) -> bool:
    lock = _lock_file(folder)
    if not lock.exists():
        return False
    try:
        with exclusive_lock(lock, wait=False):
            return False
    except OSError:
        return True


def delete_work(folders: Sequence[Path]) -> None:
    """Delete work folders. Those that a process has locked stay."""
    for folder in folders:
        _delete_unlocked(folder)


def mark_paused(folder: Path) -> None:
    """Keep a work folder until the search that paused its work deletes it, or until the work goes on."""
    (folder / PAUSED_MARKER).touch()


def unmark_paused(folder: Path) -> None:
    """The work goes on, so the folder is an ordinary one again."""
    (folder / PAUSED_MARKER).unlink(missing_ok=True)


def mark_complete(checkpoint: Path) -> None:
    """Mark a checkpoint folder as complete: write the schema version and SHA256SUMS. Unmarked checkpoints are not used."""
    (checkpoint / SCHEMA_FILE).write_text(SCHEMA, encoding="utf-8")
    write_checksums(checkpoint)


def why_unusable(checkpoint: Path) -> str | None:
    """Why a checkpoint folder cannot be used (incomplete, damaged, or of another schema), or None if it can be used."""
    if not (checkpoint / CHECKSUMS_FILE).is_file():
        return f"{checkpoint.name}: it is incomplete (no {CHECKSUMS_FILE})"
    try:
        verify_checksums(checkpoint)
    except YoyakError as error:
        return str(error).partition(";")[0]
    schema_file = checkpoint / SCHEMA_FILE
    schema = schema_file.read_text(encoding="utf-8") if schema_file.is_file() else "none"
    return None if schema == SCHEMA else f"{checkpoint.name}: its schema is {schema[:20]}, not {SCHEMA}"


class BatchStore:
    """A file of finished batches that a kill cannot damage beyond its last line.

    Each line has the SHA-256 of a batch, a space, and the batch as JSON. Opening the file reads the complete lines and cuts off
    everything after the first damaged one.

    Attributes:
        finished: the rows of each finished batch, by the index of its first row.
    """

    def __init__(self, path: Path) -> None:
        self.finished: dict[int, Any] = {}
        valid_bytes = 0
        if path.is_file():
            data = path.read_bytes()
            for line in data.splitlines(keepends=True):
                digest, _, body = line.rstrip(b"\n").partition(b" ")
                if not line.endswith(b"\n") or hashlib.sha256(body).hexdigest().encode() != digest:
                    break
                batch = json.loads(body)
                self.finished[batch["start"]] = batch["rows"]
                valid_bytes += len(line)
            if valid_bytes < len(data):
                print(
                    f"{path.name}: the last {len(data) - valid_bytes} bytes are not a complete batch; they are computed again",
                    flush=True,
                )
        if self.finished:
            print(
                f"{path.name}: {len(self.finished)} batches are kept from an earlier run; they are not computed again",
                flush=True,
            )
        self._file = open(path, "ab")  # noqa: SIM115
        self._file.truncate(valid_bytes)

    def add(self, start: int, rows: list[Any]) -> None:
        """Append a finished batch and flush it to the disk.

        Args:
            start: index of the batch's first row.
            rows: the results, which must be JSON values.
        """
        body = to_json({"start": start, "rows": rows}).encode()
        self._file.write(hashlib.sha256(body).hexdigest().encode() + b" " + body + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
