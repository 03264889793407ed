"""Resumable work: the key, the lock and the lifetime of work folders, complete checkpoints, and stores of finished batches."""

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

import yoyak
from yoyak.config.sections import Params
from yoyak.system import resumable
from yoyak.system.checksums import CHECKSUMS_FILE, write_checksums

LIBRARY = Path(yoyak.__file__).parent


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with an input folder and one stage script."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("YOYAK_CHECKPOINTS", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/rows").write_text("a")
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/train.py").write_text("a")
    return tmp_path


def test_each_param_input_file_of_code_and_package_changes_the_key(
    repository: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(params: Params = params) -> str:
        return resumable.work_key({"training": params.training, "lora": params.lora}, [Path("data")])

    keys = [key()]
    assert key() == keys[0]
    keys.append(key(params.model_copy(update={"training": params.training.model_copy(update={"seed": 1})})))
    (repository / "data/rows").write_text("b")
    keys.append(key())
    (repository / "data" / CHECKSUMS_FILE).write_text("written with it")
    keys.append(key())
    (repository / "stages/train.py").write_text("b")
    keys.append(key())
    monkeypatch.setattr(resumable, "version", lambda name: "0")
    keys.append(key())
    monkeypatch.setattr(resumable, "SCHEMA", "2")
    keys.append(key())
    monkeypatch.setenv("WORLD_SIZE", "2")  # set by torchrun
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_the_key_changes_with_a_module_of_a_nested_package(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = repository / "yoyak/models/families/new.py"
    module.parent.mkdir(parents=True)
    module.write_text("A = 1\n")
    monkeypatch.setattr(resumable, "CODE_FOLDERS", (repository / "yoyak", Path("stages")))
    before = resumable.work_key({}, [])
    module.write_text("A = 2\n")
    assert resumable.work_key({}, []) != before


def test_the_key_contains_every_module_of_the_library(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []

    def record(path: Path) -> str:
        hashed.append(path)
        return ""

    monkeypatch.setattr(resumable, "sha256", record)
    resumable.work_key({}, [])
    assert {path for path in hashed if path.is_absolute()} == set(LIBRARY.rglob("*.py"))
    assert LIBRARY / "system/resumable.py" in hashed and Path("stages/train.py") in hashed


def test_an_input_on_the_hub_is_part_of_the_key_by_its_name(repository: Path) -> None:
    keys = {resumable.work_key({}, [Path(name)]) for name in ("owner/model", "owner/other", "data")}
    assert len(keys) == 3


def test_work_folders_lie_in_the_main_repository_also_for_a_run_in_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("YOYAK_CHECKPOINTS", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert resumable.checkpoints_root() == Path(".checkpoints")
    monkeypatch.setenv("DVC_ROOT", "/main")
    assert resumable.checkpoints_root() == Path("/main/.checkpoints")
    monkeypatch.setenv("YOYAK_CHECKPOINTS", "/elsewhere")
    assert resumable.checkpoints_root() == Path("/elsewhere")


def hold(stage: str, seconds: float, events: Any) -> None:
    with resumable.work_folder(stage, {}, []) as folder:
        events.put(("enter", stage, time.monotonic(), folder.name))
        time.sleep(seconds)
        events.put(("leave", stage, time.monotonic(), folder.name))


def test_processes_with_the_same_work_take_turns_and_others_do_not_wait(repository: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=hold, args=(stage, 0.5, queue)) for stage in ("a", "a", "b")]
    for process in processes:
        process.start()
    events = sorted((queue.get(timeout=20) for _ in range(6)), key=lambda event: event[2])
    for process in processes:
        process.join()
    assert [kind for kind, stage, _, _ in events if stage == "a"] == ["enter", "leave", "enter", "leave"]
    assert len({folder for _, stage, _, folder in events if stage == "a"}) == 1
    first_leave = next(moment for kind, stage, moment, _ in events if (kind, stage) == ("leave", "a"))
    assert next(moment for kind, stage, moment, _ in events if (kind, stage) == ("enter", "b")) < first_leave


def test_a_process_of_another_rank_uses_the_folder_without_the_lock(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with resumable.work_folder("train", {}, []) as first:
        monkeypatch.setenv("LOCAL_RANK", "1")
        with resumable.work_folder("train", {}, []) as second:
            assert second == first
    assert (first / resumable.FINISHED_MARKER).exists()


def test_a_folder_is_marked_finished_only_if_the_work_ends_without_an_error(repository: Path) -> None:
    with pytest.raises(ValueError, match="bug"), resumable.work_folder("train", {}, []) as folder:
        (folder / "part").touch()
        raise ValueError("bug")
    assert not (folder / resumable.FINISHED_MARKER).exists()
    with resumable.work_folder("train", {}, []) as again:
        assert again == folder and (again / "part").exists()
    assert (folder / resumable.FINISHED_MARKER).exists()


def test_old_work_is_deleted_and_locked_work_stays(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def remaining() -> set[str]:
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
    resumable.mark_paused(paused := add("paused", 9))
    with resumable.work_folder("train", {}, []) as folder:
        (folder / resumable.FINISHED_MARKER).touch()
        resumable.delete_old_work()
        assert remaining() == {"new", "of-tomorrow", "paused", folder.name}
    resumable.unmark_paused(paused)
    monkeypatch.setattr(resumable, "KEEP_BYTES", 15)
    resumable.delete_old_work()
    assert remaining() == {"of-tomorrow"}
    resumable.delete_old_work(keep=Path(".checkpoints/of-tomorrow"))
    assert remaining() == {"of-tomorrow"}
    assert not list(Path(".checkpoints").glob("train*.lock"))
    monkeypatch.setattr(resumable, "KEEP_BYTES", 5)
    resumable.delete_old_work(keep=Path(".checkpoints/of-tomorrow"))
    assert remaining() == {"of-tomorrow"}
    resumable.delete_old_work()
    assert not remaining()


def test_only_a_complete_checkpoint_is_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tmp_path / "checkpoint-7"
    checkpoint.mkdir()
    (checkpoint / "weights").write_text("a")
    assert resumable.why_unusable(checkpoint) == "checkpoint-7: it is incomplete (no SHA256SUMS)"
    resumable.mark_complete(checkpoint)
    assert resumable.why_unusable(checkpoint) is None
    (checkpoint / "weights").write_text("b")
    assert resumable.why_unusable(checkpoint) == f"{checkpoint}/weights: damaged: its SHA-256 differs from SHA256SUMS"
    resumable.mark_complete(checkpoint)
    monkeypatch.setattr(resumable, "SCHEMA", "2")
    assert resumable.why_unusable(checkpoint) == "checkpoint-7: its schema is 1, not 2"
    (checkpoint / "schema").unlink()
    write_checksums(checkpoint)
    assert resumable.why_unusable(checkpoint) == "checkpoint-7: its schema is none, not 2"


def test_finished_batches_survive_a_cut_line_and_a_flipped_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dev.jsonl"
    batches = resumable.BatchStore(path)
    for start in (0, 2, 4):
        batches.add(start, [[start, "요약\u2028 가", False, True]])
    whole = path.read_bytes()
    expected = {start: [[start, "요약\u2028 가", False, True]] for start in (0, 2, 4)}
    assert resumable.BatchStore(path).finished == expected
    assert "not a complete batch" not in capsys.readouterr().out
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        again = resumable.BatchStore(path)
        count = whole[:size].count(b"\n")
        assert again.finished == {start: expected[start] for start in (0, 2, 4)[:count]}
        assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:count])
    for index in range(0, len(whole), 7):
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        assert set(resumable.BatchStore(path).finished) < {0, 2, 4}
    assert "not a complete batch" in capsys.readouterr().out
