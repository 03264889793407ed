"""These tests check which checkpoints are kept and from which one a training resumes.

tests/pipeline/test_resume.py checks that a resumed training gives the same result.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from yoyak.system import resumable
from yoyak.training import training_checkpoints


def nothing(_log: Any) -> list[int]:
    return []


def write_checkpoint(folder: Path, step: int, *, best_step: int | None = None, has_ended: bool = False) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    state: dict[str, Any] = {
        "best_global_step": best_step,
        "log_history": [],
        "stateful_callbacks": {"TrainerControl": {"args": {"should_training_stop": has_ended}}},
    }
    (checkpoint / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    (checkpoint / "training_args.bin").write_bytes(b"a pickle")
    return checkpoint


def steps_in(folder: Path) -> list[int]:
    return [training_checkpoints.step_of(path) for path in training_checkpoints.newest_first(folder)]


@pytest.mark.parametrize(
    ("best_step", "keep", "expected"),
    [
        (None, 1, [10]),
        (None, 3, [10, 9, 8]),
        (10, 2, [10, 9]),
        (7, 1, [10, 7]),
        (7, 3, [10, 9, 7]),
    ],
)
def test_the_newest_and_the_best_stay(tmp_path: Path, best_step: int | None, keep: int, expected: list[int]) -> None:
    for step in (7, 8, 9, 10):
        write_checkpoint(tmp_path, step)
    (tmp_path / "trackers").mkdir()
    training_checkpoints.complete_newest(tmp_path, step=10, needed_steps={best_step} if best_step else set(), keep=keep)
    assert steps_in(tmp_path) == expected, "by their numbers: 10 comes after 9"
    assert resumable.why_unusable(tmp_path / "checkpoint-10") is None
    assert not (tmp_path / "checkpoint-10" / "training_args.bin").exists()
    assert (tmp_path / "trackers").is_dir()


def test_an_incomplete_checkpoint_is_named_and_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (9, 10):
        write_checkpoint(tmp_path, step)
        training_checkpoints.complete_newest(tmp_path, step=step, needed_steps=set(), keep=3)
    write_checkpoint(tmp_path, 11)  # a kill stopped it before it was complete
    checkpoint = training_checkpoints.checkpoint_to_resume(tmp_path, also_needed=nothing)
    assert checkpoint == tmp_path / "checkpoint-10"
    assert steps_in(tmp_path) == [10, 9]
    assert "a training checkpoint cannot be used and is deleted: checkpoint-11" in capsys.readouterr().out


def test_a_checkpoint_without_its_best_is_not_resumed(tmp_path: Path) -> None:
    for step, best_step in ((4, 4), (8, 4), (12, 8)):
        write_checkpoint(tmp_path, step, best_step=best_step)
        training_checkpoints.complete_newest(tmp_path, step=step, needed_steps={best_step} if best_step else set(), keep=3)
    assert training_checkpoints.checkpoint_to_resume(tmp_path, also_needed=nothing) == tmp_path / "checkpoint-12"
    (tmp_path / "checkpoint-8" / "trainer_state.json").write_text("damaged", encoding="utf-8")
    assert training_checkpoints.checkpoint_to_resume(tmp_path, also_needed=nothing) == tmp_path / "checkpoint-4"


def test_a_checkpoint_is_not_resumed_without_those_that_the_end_averages(tmp_path: Path) -> None:
    for step in (4, 8, 12):
        write_checkpoint(tmp_path, step, best_step=4)
        training_checkpoints.complete_newest(tmp_path, step=step, needed_steps={4, 8}, keep=1)
    assert steps_in(tmp_path) == [12, 8, 4], "the needed ones stay beside the newest"
    assert training_checkpoints.checkpoint_to_resume(tmp_path, also_needed=lambda _: [8]) == tmp_path / "checkpoint-12"
    (tmp_path / "checkpoint-8" / "trainer_state.json").write_text("damaged", encoding="utf-8")
    chosen = training_checkpoints.checkpoint_to_resume(tmp_path, also_needed=lambda log: [8] if log is not None else [])
    assert chosen is None


def test_nothing_is_resumed_in_an_empty_folder(tmp_path: Path) -> None:
    assert training_checkpoints.checkpoint_to_resume(tmp_path, also_needed=nothing) is None
    assert training_checkpoints.checkpoint_to_resume(tmp_path / "missing", also_needed=nothing) is None


@pytest.mark.parametrize("has_ended", [True, False])
def test_the_last_checkpoint_of_a_training_is_recognized(tmp_path: Path, has_ended: bool) -> None:
    assert training_checkpoints.is_last_of_training(write_checkpoint(tmp_path, 3, has_ended=has_ended)) == has_ended
