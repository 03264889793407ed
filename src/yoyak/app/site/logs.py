"""The logs of trials, experiments in other folders and DVC's queue: a listing, and the end of one. A request names no path."""

import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from yoyak.reports.page.markup import visible
from yoyak.search.workers import SEARCH_FOLDER

LINES, MOST_BYTES = 200, 256_000  # of the end that is shown
END_BYTES = 8_000  # that are read for the listing
LIVE_SECONDS = 60  # a log that changed so recently belongs to something that runs
MOST_LOGS = 200
PATTERNS = (
    ("trial", f"{SEARCH_FOLDER}/logs/*.log"),
    ("experiment", ".dvc/tmp/exps/run/*/*.out"),
    ("queue", ".dvc/tmp/exps/celery/*.out"),
)
_PERCENT = re.compile(r"\b(\d{1,3})%\|")  # of tqdm's bar
_COLORS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Log:
    """A log: id for requests, kind (trial, experiment, queue), name, path, seconds since the last change, size in bytes."""

    id: str
    kind: str
    name: str
    path: Path
    age: float
    size: int

    @property
    def is_live(self) -> bool:
        return self.age < LIVE_SECONDS


def list_logs(root: Path) -> list[Log]:
    """All logs, the one that changed last first."""
    found = [log for kind, pattern in PATTERNS for log in _logs(root, kind, pattern)]
    return sorted(found, key=lambda log: log.age)[:MOST_LOGS]


def _logs(root: Path, kind: str, pattern: str) -> Iterator[Log]:
    for path in root.glob(pattern):
        try:
            status = path.lstat()
        except OSError:
            continue
        if path.is_symlink() or not path.is_file():
            continue
        identifier = hashlib.sha256(str(path.relative_to(root)).encode("utf-8", "replace")).hexdigest()[:16]
        yield Log(identifier, kind, _name(path, kind), path, time.time() - status.st_mtime, status.st_size)


def _name(path: Path, kind: str) -> str:
    """The name of the experiment, from the note that DVC keeps beside the log of a task."""
    if kind == "experiment":
        try:
            note = json.loads(path.with_suffix(".run").read_text(encoding="utf-8"))
            return str(note.get("name") or path.stem[:7])
        except (OSError, ValueError, AttributeError):
            return path.stem[:7]
    return path.stem


def describe_log(log: Log) -> dict[str, object]:
    """A log for the listing, with the last line and the percentage of the last progress bar."""
    lines = tail(log, lines=40, most_bytes=END_BYTES)
    percents = [int(match[1]) for line in lines for match in _PERCENT.finditer(line)]
    return {
        "id": log.id,
        "kind": log.kind,
        "name": visible(log.name),
        "live": log.is_live,
        "age": round(log.age),
        "bytes": log.size,
        "percent": min(percents[-1], 100) if percents and log.is_live else None,
        "last": next((line[:200] for line in reversed(lines) if line.strip()), ""),
    }


def tail(log: Log, *, lines: int = LINES, most_bytes: int = MOST_BYTES) -> list[str]:
    """The last lines. Of a progress bar that was drawn many times only the last state stays."""
    try:
        with log.path.open("rb") as file:
            file.seek(max(0, log.path.stat().st_size - most_bytes))
            content = file.read(most_bytes)
    except OSError:  # the experiment has ended, and DVC has removed its folder
        return []
    text = _COLORS.sub("", content.decode("utf-8", "replace"))
    return [visible(line.rstrip("\r").rpartition("\r")[2]) for line in text.rstrip("\n").split("\n")][-lines:]
