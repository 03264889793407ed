"""Training that was killed continues from its checkpoints and ends with the same result as without the kill."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.helpers import Killed, kill_after
from tests.training.helpers import file_contents as contents
from tests.training.helpers import train_tiny as run
from yoyak.config.sections import Params
from yoyak.system import resumable
from yoyak.system.checksums import CHECKSUMS_FILE, write_checksums

trains = pytest.mark.slow


# The learning rate grows to the end: each epoch after the first is worse.
SPOILT = {"learning_rate": 10.0, "warmup_steps": 24, "metric_for_best_model": "loss"}
CONFIGS: dict[str, dict[str, Any]] = {
    "whole epochs": {"num_train_epochs": 3, "save_steps": 0, "logging_steps": 3},
    "within epochs": {"num_train_epochs": 3, "save_steps": 1, "logging_steps": 3},
    "accumulated, of like length": {
        "num_train_epochs": 3,
        "save_steps": 1,
        "gradient_accumulation_steps": 2,
        "train_sampling_strategy": "group_by_length",
        "lr_scheduler_type": "cosine",
    },
    "a broken epoch": {"num_train_epochs": 1.5, "save_steps": 2},
    "stopped early": {
        "num_train_epochs": 6,
        "save_steps": 3,
        **SPOILT,
        "early_stopping_patience": 2,
    },
    "one checkpoint kept, an earlier one the best": {
        "num_train_epochs": 6,
        "save_steps": 3,
        **SPOILT,
        "early_stopping_patience": 0,
        "save_total_limit": 1,
    },
    "another optimizer": {
        "num_train_epochs": 2,
        "save_steps": 1,
        "optim": "adafactor",
        "lr_scheduler_type": "reduce_lr_on_plateau",
    },
    "8 bits": {"num_train_epochs": 2, "save_steps": 1, "optim": "adamw_bnb_8bit"},
}


def result(params: Params, folder: Path, live: str, change: Callable[[Any], None] = lambda _: None, **changes: Any) -> Any:
    """What a run gives, with its DVCLive files in folder/live/…, as the stage has it: anew each time."""
    place = folder / live
    place.mkdir(parents=True)
    (place / "checkpoints").symlink_to(folder / "checkpoints")
    (folder / "checkpoints").mkdir(exist_ok=True)
    reached, model, _ = run(params, place, change, **changes)
    return reached, {name: value.numpy().tobytes() for name, value in model.state_dict().items()}, contents(place / "live")


# Where a run is killed: one configuration everywhere, the others in the middle; `make test-slow` runs the rest.
EVERYWHERE = ("accumulated, of like length",)
KILLS = [
    *(pytest.param(name, ("first", "middle", "last"), id=f"{name}-everywhere") for name in EVERYWHERE),
    *(pytest.param(name, ("middle",), id=f"{name}-middle") for name in CONFIGS if name not in EVERYWHERE),
    *(
        pytest.param(name, ("first", "last"), id=f"{name}-first-and-last", marks=pytest.mark.very_slow)
        for name in CONFIGS
        if name not in EVERYWHERE
    ),
]


@trains
@pytest.mark.parametrize(("name", "places"), KILLS)
def test_killed_anywhere_training_ends_as_if_nothing_had_happened(
    name: str, places: tuple[str, ...], params: Params, tmp_path: Path
) -> None:
    changes = {"learning_rate": 0.02} | CONFIGS[name]
    whole = result(params, tmp_path / "whole", "a", **changes)
    assert (whole[0]["epochs"] < changes["num_train_epochs"]) == (name == "stopped early")
    assert (whole[0]["best_step"] < whole[0]["steps"]) or "earlier" not in name
    batches = whole[0]["steps"] * changes.get("gradient_accumulation_steps", 1)
    for place in places:
        after = {"first": 1, "middle": batches // 2, "last": batches - 1}[place]
        folder = tmp_path / place
        with pytest.raises(Killed):
            result(params, folder, "killed", kill_after(after), **changes)
        with pytest.raises(Killed):  # and again, two batches later
            result(params, folder, "again", kill_after(min(2, batches - 1 - after)), **changes)
        assert result(params, folder, "resumed", **changes) == whole, place
        assert result(params, folder, "done", kill_after(0), **changes) == whole, "its end is kept too: nothing trains"


@trains
def test_a_damaged_checkpoint_is_named_and_not_used(params: Params, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes: dict[str, Any] = {"num_train_epochs": 3, "save_steps": 1, "learning_rate": 0.02}
    whole = result(params, tmp_path / "whole", "a", **changes)

    def flip(checkpoint: Path) -> str:
        data = bytearray((checkpoint / "optimizer.pt").read_bytes())
        data[len(data) // 2] ^= 4
        (checkpoint / "optimizer.pt").write_bytes(data)
        return "optimizer.pt: damaged"

    def cut(checkpoint: Path) -> str:
        with open(checkpoint / "model.safetensors", "r+b") as file:
            file.truncate(100)
        return "model.safetensors: damaged"

    def unfinished(checkpoint: Path) -> str:
        (checkpoint / CHECKSUMS_FILE).unlink()
        return f"{checkpoint.name}: it is incomplete (no SHA256SUMS)"

    def newer(checkpoint: Path) -> str:
        (checkpoint / "schema").write_text("2")
        write_checksums(checkpoint)
        return f"{checkpoint.name}: its schema is 2, not 1"

    def missing(checkpoint: Path) -> str:
        (checkpoint / "rng_state.pth").unlink()
        return "rng_state.pth: missing"

    with pytest.raises(Killed):
        result(params, tmp_path / "killed", "killed", kill_after(7), **changes)
    for damage in (flip, cut, unfinished, newer, missing):
        folder = tmp_path / damage.__name__
        shutil.copytree(tmp_path / "killed/checkpoints", folder / "checkpoints")
        capsys.readouterr()
        said = damage(folder / "checkpoints/checkpoint-7")
        assert result(params, folder, "resumed", **changes) == whole
        printed = capsys.readouterr().out
        assert said in printed and "resumes from its checkpoint at step 6" in printed


@trains
def test_checkpoints_hold_no_pickle_and_stay_few(params: Params, tmp_path: Path) -> None:
    result(params, tmp_path, "a", num_train_epochs=3, save_steps=1, save_total_limit=2)
    kept = sorted((tmp_path / "checkpoints").iterdir())
    assert len(kept) == 2
    assert not list((tmp_path / "checkpoints").rglob("training_args.bin"))
    assert all(resumable.why_unusable(checkpoint) is None for checkpoint in kept)
