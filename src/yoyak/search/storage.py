"""The database of studies: its address, and access to the studies in it."""

import os
from pathlib import Path

import optuna
import sqlalchemy

from yoyak.search.plan import SearchPlan
from yoyak.search.workers import SEARCH_FOLDER
from yoyak.system.errors import YoyakError
from yoyak.training.study_storage import open_study_storage

ADDRESS_VARIABLE = "OPTUNA_STORAGE"  # Optuna's command line and dashboard read the same variable.
STORAGE_ERRORS = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)


def storage_url(plan: SearchPlan | None) -> str:
    """The address of the database: OPTUNA_STORAGE, else the plan's `storage`, else a SQLite file in this clone.

    Raises:
        YoyakError: if the address is not valid, or if the plan contains a password.
    """
    address = os.environ.get(ADDRESS_VARIABLE) or (plan.storage if plan else None) or f"sqlite:///{SEARCH_FOLDER}/studies.db"
    try:
        url = sqlalchemy.engine.make_url(address)
    except sqlalchemy.exc.ArgumentError:
        raise YoyakError(
            "storage: this is not the address of a database; expected an address such as postgresql+psycopg://user@host/name"
        ) from None
    if url.password and not os.environ.get(ADDRESS_VARIABLE):
        raise YoyakError(
            "storage: the search file contains a password, and a search file is committed to git; "
            f"remove `storage` from the file and set the environment variable {ADDRESS_VARIABLE} to the address"
        )
    if url.get_backend_name() == "sqlite" and url.database:  # Trials run in other folders, so the path must be absolute.
        path = Path(url.database).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        url = url.set(database=str(path))
    return url.render_as_string(hide_password=False)


def is_shared(url: str) -> bool:
    """Whether workers on several machines can use the database. A SQLite file belongs to one machine."""
    return not url.startswith("sqlite")


def find_study(name: str, url: str) -> optuna.Study | None:
    """The study of that name; None if the database has no such study."""
    try:
        return optuna.load_study(study_name=name, storage=open_study_storage(url))
    except KeyError:
        return None
