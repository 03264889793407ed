"""resume.py, and training that goes on from its checkpoints: the same end as if nothing had happened."""

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.test_trainer import contents, run
from yoyak.config.sections import Params
from yoyak.system import resumable
from yoyak.system.checksums import CHECKSUMS_FILE, write_checksums

trains = pytest.mark.slow


class Killed(BaseException):
    """Nothing catches it, like a kill."""


def killed_after(forwards: int) -> Callable[[Any], None]:
    """Ends training in the middle of its nth batch."""

    def change(model: Any) -> None:
        seen = 0

        def before(module: Any, given: Any) -> None:
            nonlocal seen
            seen += module.training
            if seen > forwards:
                raise Killed

        model.register_forward_pre_hook(before)

    return change


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


@trains
@pytest.mark.parametrize("name", CONFIGS)
def test_killed_anywhere_training_ends_as_if_nothing_had_happened(name: str, params: Params, tmp_path: Path) -> None:
    changes = {"learning_rate": 0.02} | CONFIGS[name]
    whole = result(params, tmp_path / "whole", "a", **changes)
    assert (whole[0]["epochs"] < changes["num_train_epochs"]) == (name == "stopped early")
    assert (whole[0]["best_step"] < whole[0]["steps"]) or "earlier" not in name
    batches = whole[0]["steps"] * changes.get("gradient_accumulation_steps", 1)
    for at in (1, batches // 2, batches - 1):
        folder = tmp_path / str(at)
        with pytest.raises(Killed):
            result(params, folder, "killed", killed_after(at), **changes)
        with pytest.raises(Killed):  # and again, two batches later
            result(params, folder, "again", killed_after(min(2, batches - 1 - at)), **changes)
        assert result(params, folder, "resumed", **changes) == whole, at
        assert result(params, folder, "done", killed_after(0), **changes) == whole, "its end is kept too: nothing trains"


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

    def lost(checkpoint: Path) -> str:
        (checkpoint / "rng_state.pth").unlink()
        return "rng_state.pth: missing"

    for damage in (flip, cut, unfinished, newer, lost):
        folder = tmp_path / damage.__name__
        with pytest.raises(Killed):
            result(params, folder, "killed", killed_after(7), **changes)
        capsys.readouterr()
        said = damage(folder / "checkpoints/checkpoint-7")
        assert result(params, folder, "resumed", **changes) == whole
        told = capsys.readouterr().out
        assert said in told and "goes on from its checkpoint at step 6" in told


@trains
def test_checkpoints_hold_no_pickle_and_stay_few(params: Params, tmp_path: Path) -> None:
    result(params, tmp_path, "a", num_train_epochs=3, save_steps=1, save_total_limit=2)
    kept = sorted((tmp_path / "checkpoints").iterdir())
    assert len(kept) == 2
    assert not list((tmp_path / "checkpoints").rglob("training_args.bin"))
    assert all(resumable.why_unusable(checkpoint) is None for checkpoint in kept)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("YOYAK_CHECKPOINTS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/rows").write_text("a")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/train.py").write_text("a")
    return tmp_path


def test_another_param_input_code_or_package_is_another_work(
    place: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(params: Params = params) -> str:
        return resumable.work_key({"training": params.training, "lora": params.lora}, [Path("data")])

    keys = [key()]
    assert key() == keys[0]
    keys.append(key(params.model_copy(update={"training": params.training.model_copy(update={"seed": 1})})))
    (place / "data/rows").write_text("b")
    keys.append(key())
    (place / "data" / CHECKSUMS_FILE).write_text("written with it")
    keys.append(key())
    (place / "stages/train.py").write_text("b")
    keys.append(key())
    monkeypatch.setattr(resumable, "version", lambda name: "0")
    keys.append(key())
    monkeypatch.setattr(resumable, "SCHEMA", "2")
    keys.append(key())
    monkeypatch.setenv("WORLD_SIZE", "2")  # by torchrun
    keys.append(key())
    assert len(set(keys)) == len(keys)


def hold(stage: str, seconds: float, told: Any) -> None:
    with resumable.work_folder(stage, {}, []) as folder:
        told.put(("in", stage, time.monotonic(), folder.name))
        time.sleep(seconds)
        told.put(("out", stage, time.monotonic(), folder.name))


def test_two_of_the_same_work_take_turns_and_others_do_not_wait(place: Path) -> None:
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    runs = [context.Process(target=hold, args=(stage, 0.5, told)) for stage in ("a", "a", "b")]
    for one in runs:
        one.start()
    events = sorted((told.get(timeout=20) for _ in range(6)), key=lambda event: event[2])
    for one in runs:
        one.join()
    assert [kind for kind, stage, _, _ in events if stage == "a"] == ["in", "out", "in", "out"]
    assert len({folder for _, stage, _, folder in events if stage == "a"}) == 1
    first_out = next(at for kind, stage, at, _ in events if (kind, stage) == ("out", "a"))
    assert next(at for kind, stage, at, _ in events if (kind, stage) == ("in", "b")) < first_out


def test_what_is_finished_old_or_too_much_goes_and_what_is_in_use_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kept() -> set[str]:
        return {path.name for path in Path(".checkpoints").iterdir() if path.is_dir()}

    def add(name: str, days: float, size: int = 10) -> Path:
        folder = Path(".checkpoints", name)
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"a" * size)
        os.utime(folder, (time.time() - days * 86400,) * 2)
        return folder

    add("old", 8)
    add("new", 6)
    add("of-tomorrow", -1)
    (add("finished", 1) / resumable.FINISHED_MARKER).touch()
    with resumable.work_folder("train", {}, []) as folder:
        (folder / resumable.FINISHED_MARKER).touch()
        resumable.delete_old_work()
        assert kept() == {"new", "of-tomorrow", folder.name}
    monkeypatch.setattr(resumable, "KEEP_BYTES", 15)
    resumable.delete_old_work()
    assert kept() == {"of-tomorrow"}
    resumable.delete_old_work(keep=Path(".checkpoints/of-tomorrow"))
    assert not list(Path(".checkpoints").glob("train*.lock"))


def test_finished_batches_survive_a_torn_line_and_a_flipped_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dev.jsonl"
    batches = resumable.BatchStore(path)
    for start in (0, 2, 4):
        batches.add(start, [[start, "요약\u2028 가", False, True]])
    whole = path.read_bytes()
    expected = {start: [[start, "요약\u2028 가", False, True]] for start in (0, 2, 4)}
    assert resumable.BatchStore(path).done == expected
    assert "no whole batch" not in capsys.readouterr().out
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        again = resumable.BatchStore(path)
        count = whole[:size].count(b"\n")
        assert again.done == {start: expected[start] for start in (0, 2, 4)[:count]}
        assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:count])
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert set(resumable.BatchStore(path).done) < {0, 2, 4}
    assert "no whole batch" in capsys.readouterr().out
