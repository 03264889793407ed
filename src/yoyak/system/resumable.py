"""Work that was killed goes on where it was: kept under a key of its params, inputs and code, checked before it is used.

.checkpoints/STAGE-KEY/         what the stage keeps (training: checkpoint-N; predict: finished batches)
.checkpoints/STAGE-KEY.lock     held while that work is done; a kill releases it
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
from yoyak.system.text_files import to_json

SCHEMA = "1"  # of what is kept; another one is never read
FINISHED_MARKER = "done"  # a file that says that the work was finished
KEEP_DAYS = 7
KEEP_BYTES = 20 * 2**30
CODE_FOLDERS = (Path(__file__).parents[1], Path("stages"))
PACKAGES = ("torch", "transformers", "accelerate", "peft", "bitsandbytes", "ctranslate2", "tokenizers", "datasets", "numpy")


def checkpoints_root() -> Path:
    """Where unfinished work lies: in the main repository, also for a run in a copy of it (a queued one, a search's)."""
    return Path(os.environ.get("YOYAK_CHECKPOINTS") or Path(os.environ.get("DVC_ROOT", "."), ".checkpoints"))


def work_key(params: Mapping[str, BaseModel], inputs: Sequence[Path]) -> str:
    """A hash of everything that a result depends on: params, contents of the input folders, code, packages, processor,
    and the number of processes that train together.

    Inputs that were written with SHA256SUMS are known by that; who reads them verifies it.
    """
    known: dict[str, Any] = {"schema": SCHEMA, "python": platform.python_version()}
    known["params"] = {name: section.model_dump() for name, section in params.items()}
    known["inputs"] = [_content(path) for path in inputs]
    known["code"] = [sha256(path) for folder in CODE_FOLDERS for path in sorted(folder.rglob("*.py"))]
    known["packages"] = {name: version(name) for name in PACKAGES}
    known["processor"] = _processor()
    known["processes"] = os.environ.get("WORLD_SIZE", "1")  # that train together; steps of several are larger
    return hashlib.sha256(to_json(known).encode()).hexdigest()[:32]


def _content(path: Path) -> object:
    if not path.is_dir():  # a hub's name, which its revision among the params makes exact
        return str(path)
    return (path / CHECKSUMS_FILE).read_text(encoding="utf-8") if (path / CHECKSUMS_FILE).is_file() else file_checksums(path)


def _processor() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else torch.backends.cpu.get_cpu_capability()


@contextmanager
def work_folder(stage: str, params: Mapping[str, BaseModel], inputs: Sequence[Path]) -> Iterator[Path]:
    """The folder where a stage keeps what it has done so far of this very work; alone in it.

    Who does the same work at the same time waits, and then finds it done. The folder stays, so that a kill after this loses
    nothing either (DVC has still to take the result into its cache), until `clean` takes it.
    """
    folder = checkpoints_root() / f"{stage}-{work_key(params, inputs)}"
    if os.environ.get("RANK", "0") != "0":  # another process of the same run (accelerate launch) keeps the folder
        yield folder
        return
    delete_old_work(keep=folder)
    with _alone(folder):
        folder.mkdir(exist_ok=True)
        yield folder
        (folder / FINISHED_MARKER).touch()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f"{folder.name}.lock")
    with ExitStack() as held:
        while True:
            lock.touch()
            try:
                descriptor = held.enter_context(exclusive_lock(lock, wait=False))
            except BlockingIOError:
                print(f"{folder.name}: another process does this very work; waiting for it", flush=True)
                with suppress(FileNotFoundError), exclusive_lock(lock):
                    continue
            if lock.exists() and os.path.samestat(os.fstat(descriptor), lock.stat()):
                break  # else `clean` was faster, and a lock on what has lost its name holds nobody off
        yield


def delete_old_work(*, keep: Path | None = None) -> None:
    """Delete kept work that is finished, older than KEEP_DAYS, or, the oldest first, over KEEP_BYTES in all; none in use."""
    found = []
    for folder in checkpoints_root().glob("*"):
        with suppress(FileNotFoundError):  # another run cleans too
            if folder.is_dir() and folder != keep:
                size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                found.append((folder.stat().st_mtime, size, folder))
    total = 0
    for modified, size, folder in sorted(found, reverse=True):
        total += size
        if (folder / FINISHED_MARKER).exists() or time.time() - modified > KEEP_DAYS * 86400 or total > KEEP_BYTES:
            lock = folder.with_name(f"{folder.name}.lock")
            with suppress(OSError):
                lock.touch()
                with exclusive_lock(lock, wait=False):
                    shutil.rmtree(folder)
                    lock.unlink()


def mark_complete(checkpoint: Path) -> None:
    """Say of a checkpoint that it is whole, and what its files are; until then nobody will use it."""
    (checkpoint / "schema").write_text(SCHEMA, encoding="utf-8")
    write_checksums(checkpoint)


def why_unusable(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be used, or None."""
    if not (checkpoint / CHECKSUMS_FILE).is_file():
        return f"{checkpoint.name}: it was not written to its end"
    try:
        verify_checksums(checkpoint)
    except YoyakError as error:
        return str(error).partition(";")[0]
    schema = (checkpoint / "schema").read_text(encoding="utf-8") if (checkpoint / "schema").is_file() else "none"
    return None if schema == SCHEMA else f"{checkpoint.name}: its schema is {schema[:20]}, not {SCHEMA}"


class BatchStore:
    """Results of batches that are done, one on a line behind its SHA-256, in a file that a kill leaves usable."""

    def __init__(self, path: Path) -> None:
        self.done: dict[int, Any] = {}
        whole = 0
        if path.is_file():
            data = path.read_bytes()
            for line in data.splitlines(keepends=True):
                digest, _, body = line.rstrip(b"\n").partition(b" ")
                if not line.endswith(b"\n") or hashlib.sha256(body).hexdigest().encode() != digest:
                    break
                batch = json.loads(body)
                self.done[batch["start"]] = batch["rows"]
                whole += len(line)
            if whole < len(data):
                print(f"{path.name}: {len(data) - whole} bytes of it are no whole batch; they are made again", flush=True)
        if self.done:
            print(f"{path.name}: {len(self.done)} batches were done before a kill; they are not made again", flush=True)
        self.file = open(path, "ab")  # noqa: SIM115
        self.file.truncate(whole)

    def add(self, start: int, rows: list[Any]) -> None:
        body = to_json({"start": start, "rows": rows}).encode()
        self.file.write(hashlib.sha256(body).hexdigest().encode() + b" " + body + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())
