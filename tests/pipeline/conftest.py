"""Repositories in which the pipeline has run: one for each family, built once a session. Tests change copies of them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.repository import PRINTED, build_once, command, commit, copy_repository


@pytest.fixture(scope="session")
def finished_kobart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository after `dvc repro` with model.family kobart. Do not change it; `copy_of` makes a copy."""

    def build(folder: Path) -> None:
        copy_repository(folder)
        printed = command(folder, "dvc", "repro")
        commit(folder, "result")
        (folder / PRINTED).write_text(printed, encoding="utf-8")

    return build_once(tmp_path_factory, "finished-kobart", build)


@pytest.fixture(scope="session")
def finished_qlora(finished_kobart: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same repository after `dvc exp run -S model.family=qlora`. Do not change it; `copy_of` makes a copy."""

    def build(folder: Path) -> None:
        shutil.copytree(finished_kobart, folder, dirs_exist_ok=True)
        printed = command(folder, "dvc", "exp", "run", "-S", "model.family=qlora")
        commit(folder, "qlora")
        (folder / PRINTED).write_text(printed, encoding="utf-8")

    return build_once(tmp_path_factory, "finished-qlora", build)


@pytest.fixture
def copy_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Path]:
    """A function that copies the finished repository of a family, for a test to change."""
    return lambda family: Path(shutil.copytree(request.getfixturevalue(f"finished_{family}"), tmp_path / family))
