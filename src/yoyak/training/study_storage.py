"""Opens the database that holds the Optuna studies. The search and each of its training runs use it."""

import time
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from yoyak.system.errors import YoyakError
from yoyak.system.locks import exclusive_lock

if TYPE_CHECKING:
    import optuna
    import sqlalchemy

# The search sets this environment variable for each training run that its study may end early (`search_reporting` reads it).
# JSON: {"storage": address of the studies' database, "study": name, "trial": Optuna's id of the trial, "pruner": settings,
# "until": the epoch after which the training is paused, or null}.
# The address can hold a password. So it travels in the environment and stands in no file.
TRIAL_VARIABLE = "YOYAK_TRIAL"

OPENING_SECONDS = 30  # how long other workers may take to create the tables
SILENT_SECONDS = 60  # how long a server may not answer, for example because the network is down


def open_study_storage(url: str, *, heartbeat: int | None = None) -> "optuna.storages.RDBStorage":
    """Open the studies' database, and create its tables if there are none.

    Args:
        url: SQLAlchemy address, such as `sqlite:////path/studies.db` or `postgresql+psycopg://user@host/name`.
        heartbeat: seconds between two signs of life of a worker. A trial whose worker gives no sign for three times as long
            counts as interrupted. None: no heartbeat.

    Raises:
        YoyakError: if the database cannot be opened. The message does not show the password in `url`.
    """
    import optuna
    import sqlalchemy

    address = sqlalchemy.engine.make_url(url)
    sqlite_file = address.database if address.get_backend_name() == "sqlite" else None
    # Several workers write to one SQLite file, one after the other, so a worker must wait long enough.
    engine = {"connect_args": {"timeout": 120}} if sqlite_file else {"pool_pre_ping": True, "connect_args": _limits(address)}
    deadline = time.monotonic() + OPENING_SECONDS
    while True:
        try:
            with warnings.catch_warnings(), exclusive_lock(Path(sqlite_file).parent) if sqlite_file else nullcontext():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return optuna.storages.RDBStorage(
                    url, engine_kwargs=engine, heartbeat_interval=heartbeat, grace_period=3 * heartbeat if heartbeat else None
                )
        except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
            reason = " ".join(str(getattr(error, "orig", error)).split())
            # Another worker that starts at the same moment creates the tables, one after the other: try again.
            being_created = "already exists" in reason or "duplicate key" in reason
            if not being_created or time.monotonic() > deadline:
                raise YoyakError(f"storage {address.render_as_string(hide_password=True)}: {reason}") from None
            time.sleep(0.2)


def _limits(address: "sqlalchemy.engine.URL") -> dict[str, int]:
    """Arguments of the driver, so that an answer that never comes is an error after SILENT_SECONDS.

    Without them, a worker whose network is cut off waits until the system gives up, which is after 15 minutes on Linux.
    Sources: "Parameter Key Words" of libpq, and pymysql.connections.Connection.
    """
    backend = address.get_backend_name()
    if backend == "postgresql":
        return {
            "connect_timeout": SILENT_SECONDS,
            "keepalives_idle": max(1, SILENT_SECONDS // 2),
            "keepalives_interval": max(1, SILENT_SECONDS // 8),
            "keepalives_count": 4,
            "tcp_user_timeout": SILENT_SECONDS * 1000,  # milliseconds
        }
    return dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), SILENT_SECONDS) if backend == "mysql" else {}
