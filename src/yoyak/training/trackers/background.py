"""Runs a further tracker in a thread of its own, so that it can neither stop nor slow a stage."""

import queue
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from yoyak.training.trackers.base import RunDescription, Tracker


class BackgroundTracker(Tracker):
    """Runs a further tracker in a thread of its own, so that the tracker can neither stop nor slow the stage.

    A tracker that raises is switched off with one warning. At the end the stage waits END_SECONDS for one that is slow.
    """

    END_SECONDS = 30.0

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.name, self.tracker = name, tracker
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run_calls, name=f"tracker {name}", daemon=True)
        self._is_on = True

    def start(self, folder: Path, run: RunDescription) -> None:
        def make_folder_and_start() -> None:
            folder.mkdir(parents=True, exist_ok=True)
            self.tracker.start(folder, run)

        self._calls.put(make_folder_and_start)
        try:
            self._thread.start()
        except RuntimeError as error:  # no memory for a thread, or too many of them
            self._switch_off(error)

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        if self._is_on:
            self._calls.put(partial(self.tracker.log, dict(metrics), step=step))

    def add_results(self, scores: Mapping[str, float], artifacts: Mapping[str, str]) -> None:
        if self._is_on:
            self._calls.put(partial(self.tracker.add_results, dict(scores), dict(artifacts)))

    def end(self) -> None:
        if not self._is_on:
            return
        self._calls.put(self.tracker.end)
        self._calls.put(None)
        self._thread.join(self.END_SECONDS)
        if self._thread.is_alive():
            print(f"WARNING: tracker {self.name} did not end within {self.END_SECONDS:g} s; it may be incomplete", flush=True)

    def _run_calls(self) -> None:
        try:
            while call := self._calls.get():
                call()
        except BaseException as error:  # also SystemExit: whatever a tracker raises, the training continues
            self._switch_off(error)

    def _switch_off(self, error: BaseException) -> None:
        self._is_on = False
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"WARNING: tracker {self.name} is switched off, the stage continues: {reason}", flush=True)


def start_all(trackers: Mapping[str, Tracker], run: RunDescription, private_folder: Path) -> list[Tracker]:
    """Start each tracker in the background. A tracker has the folder of its name in `private_folder`."""
    started: list[Tracker] = []
    for name, tracker in trackers.items():
        background = BackgroundTracker(name, tracker)
        background.start(private_folder / name, run)
        started.append(background)
    return started
