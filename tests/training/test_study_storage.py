import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from yoyak.system.errors import YoyakError
from yoyak.training.study_storage import open_study_storage


def connect_at_once(url: str) -> None:
    """Eight workers start at the same moment on a database without tables."""
    with ThreadPoolExecutor(8) as pool:
        barrier = threading.Barrier(8)

        def work(_: int) -> None:
            barrier.wait()
            storage = open_study_storage(url)
            storage.get_all_studies()
            storage.engine.dispose()

        list(pool.map(work, range(8)))


def test_workers_that_start_at_the_same_moment_create_the_tables_once(tmp_path: Path) -> None:
    for number in range(5):
        connect_at_once(f"sqlite:///{tmp_path}/{number}.db")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:hunter2@127.0.0.1:1/none",
        "mysql+pymysql://me:hunter2@127.0.0.1:1/none",
        "mysql+nodriver://me:hunter2@h/n",
    ],
)
def test_the_error_for_an_unreachable_database_names_it_without_its_password(url: str) -> None:
    with pytest.raises(YoyakError) as caught:
        open_study_storage(url)
    assert "me:***@" in str(caught.value) and "hunter2" not in str(caught.value)
