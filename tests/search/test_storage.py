"""The address of the database."""

from pathlib import Path

import pytest

from yoyak.search import storage
from yoyak.search.plan import SearchPlan
from yoyak.system.errors import YoyakError


def plan_with(storage: str | None) -> SearchPlan:
    return SearchPlan.model_validate({"parameters": {"a": {"choices": [1]}}, "budget": {"trials": 1}, "storage": storage})


def test_the_environment_overrides_the_storage_of_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(storage.ADDRESS_VARIABLE, raising=False)
    assert storage.storage_url(plan_with(None)) == f"sqlite:///{tmp_path}/.searches/studies.db"
    assert storage.storage_url(plan_with("postgresql+psycopg://me@host/db")) == "postgresql+psycopg://me@host/db"
    assert storage.storage_url(plan_with("sqlite:///mine/all.db")) == f"sqlite:///{tmp_path}/mine/all.db", (
        "trials run elsewhere"
    )
    monkeypatch.setenv(storage.ADDRESS_VARIABLE, "postgresql+psycopg://me:secret@host/db")
    assert storage.storage_url(plan_with("mysql+pymysql://host/db")) == "postgresql+psycopg://me:secret@host/db"


def test_a_password_in_a_file_is_refused_and_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(storage.ADDRESS_VARIABLE, raising=False)
    with pytest.raises(YoyakError, match="OPTUNA_STORAGE") as message:
        storage.storage_url(plan_with("postgresql+psycopg://me:hunter2@host/db"))
    assert "hunter2" not in str(message.value)
    with pytest.raises(YoyakError, match="not the address of a database"):
        storage.storage_url(plan_with("my database"))
