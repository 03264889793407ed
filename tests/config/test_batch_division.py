"""The rows of a step are divided among processes, or an error says what to change."""

from typing import Any

import pytest

from yoyak.config.batch_division import divide_batch
from yoyak.config.params import parse_params
from yoyak.system.errors import YoyakError


@pytest.mark.parametrize(
    ("rows", "batches", "processes", "expected"),
    [
        (16, 1, 1, (16, 1)),
        (16, 1, 2, (8, 1)),
        (16, 4, 2, (16, 2)),
        (16, 3, 2, (12, 2)),  # no batch is larger than that of one process
        (7, 2, 2, (7, 1)),
        (3, 2, 3, (2, 1)),
    ],
)
def test_processes_read_as_many_rows_as_one(rows: int, batches: int, processes: int, expected: tuple[int, int]) -> None:
    divided = divide_batch(rows, batches, processes)
    assert divided == expected
    assert divided.rows * divided.batches * processes == rows * batches


@pytest.mark.parametrize("section", ["training", "pretrain"])
def test_a_batch_that_cannot_be_divided_names_the_params(values: dict[str, Any], section: str) -> None:
    values["hardware"]["processes"] = 2
    values["pretrain"]["num_train_epochs"] = 1
    values[section] |= {"per_device_train_batch_size": 5, "gradient_accumulation_steps": 3}
    with pytest.raises(
        YoyakError, match=rf"{section}: per_device_train_batch_size × gradient_accumulation_steps = 5 × 3.*15 rows"
    ):
        parse_params(values, source="test")


def test_a_stage_that_is_off_does_not_matter(values: dict[str, Any]) -> None:
    values["hardware"]["processes"] = 2
    values["pretrain"] |= {"num_train_epochs": 0, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
    parse_params(values, source="test")


@pytest.mark.parametrize(("threads", "processes", "expected"), [(2, 1, 2), (None, 1, None), (8, 2, 4), (2, 4, 1)])
def test_processes_share_the_threads(values: dict[str, Any], threads: int | None, processes: int, expected: int | None) -> None:
    values["training"]["per_device_train_batch_size"] = 4
    values["hardware"] |= {"cpu_threads": threads, "processes": processes}
    assert parse_params(values, source="test").hardware.threads_of_process == expected
