"""All experiments of the repository for the board. DVC reads them in the background, and only after something has changed."""

import hashlib
import json
import math
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoyak.reports.experiments import SCORE_COLUMNS, WORKSPACE, Experiment, read_experiments
from yoyak.reports.page.markup import visible
from yoyak.reports.status import running_searches, running_stages
from yoyak.search.git_dvc import git
from yoyak.search.workers import SEARCH_FOLDER
from yoyak.system.errors import YoyakError

SHOWN_COMMITS = 10  # the last ones that changed dvc.lock
RETRY_SECONDS = 10.0  # after DVC could not read the repository
WATCHED = ("params.yaml", "dvc.yaml", "dvc.lock", "metrics/summary.json", "metrics/scores.json", ".searches/studies.db")
WATCHED_FOLDERS = (".dvc/tmp/exps/run", ".dvc/tmp/exps/celery/broker")
_TRIAL = re.compile(r"(.+)-t\d+(-.+)?")  # the experiment of a search: STUDY-t12


@dataclass(frozen=True)
class Snapshot:
    """The board as JSON, and its ETag."""

    body: bytes
    etag: str


class Board:
    """What the board shows. `snapshot` never waits for DVC."""

    def __init__(self, root: Path, *, read: Callable[[Path], list[Experiment]] | None = None) -> None:
        """
        Args:
            root: folder of the repository.
            read: reads the experiments.
        """
        self.root = root
        self._read = read or read_all
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._seen = ""  # the state of the repository that was read last
        self._tried = -math.inf
        self._table: dict[str, Any] | None = None
        self._searches: list[str] = []
        self.error = ""

    def snapshot(self) -> Snapshot:
        """What is known now. If the repository has changed, a thread starts to read it."""
        state = repository_state(self.root)
        with self._lock:
            is_old = state != self._seen or (self.error and time.monotonic() - self._tried > RETRY_SECONDS)
            if is_old and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._refresh, args=(state,), daemon=True)
                self._thread.start()
            reading = self._thread is not None and self._thread.is_alive()
            table = self._table or table_of([])
            running = [*running_stages(self.root), *self._searches, *_counted(table["rows"])]
            shown = {**table, "running": [visible(line) for line in running], "reading": reading, "error": visible(self.error)}
        body = json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
        return Snapshot(body, hashlib.sha256(body).hexdigest()[:32])

    def wait(self, seconds: float) -> None:
        """Wait until the thread that reads has ended, or for so many seconds."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _refresh(self, state: str) -> None:
        table, error = None, ""
        try:
            table = table_of(self._read(self.root))
        except YoyakError as failure:
            error = str(failure)
        except Exception as failure:  # DVC prints what is no JSON: the board must stay
            error = f"the experiments cannot be read: {type(failure).__name__}: {failure}"
        try:
            searches = [f"search {line}" for line in running_searches(self.root)]
        except Exception:  # the database of studies can be locked or damaged; the page of searches says so
            searches = []
        with self._lock:
            self._seen, self._tried, self.error = state, time.monotonic(), error
            self._table = table or self._table
            self._searches = [line.removeprefix("search search ") for line in searches]


def read_all(root: Path) -> list[Experiment]:
    """The workspace, HEAD, the last commits that changed dvc.lock, and every commit that has experiments, with these."""
    head = git(root, "rev-parse", "HEAD")
    last = git(root, "log", "--first-parent", f"-{SHOWN_COMMITS}", "--format=%H", "--", "dvc.lock").split()
    below = git(root, "for-each-ref", "--format=%(refname)", "refs/exps").split("\n")
    # refs/exps/<2 digits>/<38 digits of the commit>/NAME
    bases = [parts[2] + parts[3] for parts in (ref.split("/") for ref in below) if len(parts) > 4 and len(parts[2]) == 2]
    return read_experiments(root, commits=list(dict.fromkeys([head, *last, *bases])))


def repository_state(root: Path) -> str:
    """A hash that changes when experiments can have changed: refs of git, files of the last run, DVC's queue."""
    parts = [_refs(root)]
    files = [root / name for name in WATCHED]
    for name in WATCHED_FOLDERS:
        if (root / name).is_dir():
            files += [*sorted((root / name).rglob("*.run")), root / name]
    for path in files:
        try:
            status = path.stat()
        except OSError:
            continue
        parts.append(f"{path} {status.st_mtime_ns} {status.st_size}")
    return hashlib.sha256("\n".join(parts).encode("utf-8", "replace")).hexdigest()


def _refs(root: Path) -> str:
    try:
        return git(root, "for-each-ref", "--format=%(refname) %(objectname)") + git(root, "rev-parse", "HEAD")
    except YoyakError as error:  # no repository, or one without a commit
        return str(error)


def table_of(experiments: Sequence[Experiment]) -> dict[str, Any]:
    """Rows, names of metrics and params for the board. Params that are the same everywhere stand in `constant` once."""
    values: dict[str, set[str]] = {}
    for one in experiments:
        for name, value in one.params.items():
            values.setdefault(name, set()).add(json.dumps(value, ensure_ascii=False, default=str))
    varying = [name for name, found in values.items() if len(found) > 1 and not name.startswith("search.")]
    metrics = list(dict.fromkeys(name for one in experiments for name in one.metrics))
    metrics.sort(key=lambda name: SCORE_COLUMNS.index(name) if name in SCORE_COLUMNS else len(SCORE_COLUMNS))
    names = Counter(one.name for one in experiments)
    return {
        "rows": [_row(one, varying, is_unique=names[one.name] == 1) for one in experiments],
        "metrics": [visible(name) for name in metrics],
        "params": [visible(name) for name in varying],
        "constant": {visible(name): visible(next(iter(found))) for name, found in values.items() if len(found) == 1},
    }


def _row(one: Experiment, varying: Sequence[str], *, is_unique: bool) -> dict[str, Any]:
    found = _TRIAL.fullmatch(one.name)
    kind = WORKSPACE if one.name == WORKSPACE and one.is_baseline else "commit" if one.is_baseline else "experiment"
    return {
        "name": visible(one.name),
        "run": one.name if is_unique or not one.revision else one.revision,
        "kind": kind,
        "baseline": visible(one.baseline),
        "search": visible(found[1]) if found and not one.is_baseline else "",
        "state": one.state or ("damaged" if one.error else ""),
        "time": one.time,
        "error": visible(one.error)[:500],
        "metrics": {visible(name): _number(value) for name, value in one.metrics.items()},
        "params": {visible(name): _value(one.params[name]) for name in varying if name in one.params},
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _value(value: Any) -> float | str | bool | None:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return _number(value)
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))[:200]


def _counted(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    running = [row["name"] for row in rows if row["state"] == "running"]
    return [f"experiments: {', '.join(running[:5])}{f' (+{len(running) - 5})' if len(running) > 5 else ''}"] if running else []


def has_searches(root: Path) -> bool:
    """Whether this clone has run a search. Optuna takes a second to import, so this is asked first."""
    return "OPTUNA_STORAGE" in os.environ or (root / SEARCH_FOLDER / "studies.db").is_file()
