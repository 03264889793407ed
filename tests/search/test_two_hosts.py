"""A study on a PostgreSQL server that another host uses, over a cable that is cut (`tests.network`)."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.conftest import ROOT
from tests.network import Cable, laid_cable, needs_namespaces
from yoyak.training import study_storage

pytestmark = [pytest.mark.very_slow, needs_namespaces]

WORKER = """
import sys, time
import optuna, sqlalchemy
from yoyak.training import study_storage

study_storage.SILENT_SECONDS = int(sys.argv[2])
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="s", storage=study_storage.open_study_storage(sys.argv[1]))
try:
    for number in range(int(sys.argv[3])):
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1))
        print(number, flush=True)
        time.sleep(0.05)
except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
    sys.exit(f"the database failed: {type(error).__name__}")
"""


@pytest.fixture
def cable() -> Iterator[Cable]:
    with laid_cable() as cable:
        yield cable


@pytest.fixture
def address(server: Any, cable: Cable) -> Iterator[str]:
    """The studies' database as the other host reaches it. The server listens to a socket file only, so bytes are passed on."""
    path = next(Path(server.get_uri().partition("?host=")[2]).glob(".s.PGSQL.*[0-9]"))
    listener = socket.create_server((cable.ours, 0))
    threading.Thread(target=pass_on, args=(listener, str(path)), daemon=True).start()
    yield f"postgresql+psycopg://worker:hunter2@{cable.ours}:{listener.getsockname()[1]}/studies"
    listener.close()


def pass_on(listener: socket.socket, path: str) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        to_server = socket.socket(socket.AF_UNIX)
        to_server.connect(path)
        for source, target in ((client, to_server), (to_server, client)):
            threading.Thread(target=copy, args=(source, target), daemon=True).start()


def copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    target.close()


def start_worker(cable: Cable, address: str, *, silent: int, trials: int) -> "subprocess.Popen[str]":
    command = cable.on_other_host(sys.executable, "-c", WORKER, address, str(silent), str(trials))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def study(server: Any) -> Iterator[optuna.Study]:
    """An empty study in the same database, over the socket file."""
    url = server.get_uri().replace("postgresql://postgres:@/postgres", "postgresql+psycopg://worker:hunter2@/studies")
    storage = study_storage.open_study_storage(url)
    yield optuna.create_study(study_name="s", storage=storage, direction="maximize")
    optuna.delete_study(study_name="s", storage=storage)


def test_a_short_interruption_loses_nothing(study: optuna.Study, cable: Cable, address: str) -> None:
    worker = start_worker(cable, address, silent=60, trials=30)
    assert worker.stdout
    assert [worker.stdout.readline() for _ in range(5)][-1] == "4\n"
    cable.cut()
    time.sleep(3)
    cut_off = len(study.get_trials(deepcopy=False))
    assert cut_off < 30
    cable.mend()
    _, error = worker.communicate(timeout=60)
    assert worker.returncode == 0, error
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 30


def test_a_long_interruption_ends_the_worker_and_it_can_start_again(study: optuna.Study, cable: Cable, address: str) -> None:
    worker = start_worker(cable, address, silent=2, trials=1000)
    assert worker.stdout
    assert [worker.stdout.readline() for _ in range(5)][-1] == "4\n"
    cable.cut()
    start = time.monotonic()
    _, error = worker.communicate(timeout=60)
    assert "the database failed" in error
    assert time.monotonic() - start < 30
    cable.mend()
    before = len(study.trials)
    again = start_worker(cable, address, silent=60, trials=3)
    _, error = again.communicate(timeout=60)
    assert again.returncode == 0, error
    assert len(study.trials) == before + 3
