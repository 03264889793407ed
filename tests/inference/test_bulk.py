"""Bulk jobs: parts that are complete or absent, in the order of the input, by several processes or hosts."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests.conftest import DIALOGUES
from yoyak.config.sections import Params
from yoyak.inference.bulk import Summaries, TrainedModel, run_job
from yoyak.inference.bulk_input import Part, input_files, read_parts
from yoyak.inference.decisions import Decisions
from yoyak.system.errors import YoyakError


def summarize(part: Part) -> Summaries:
    texts: list[str | None] = [f"summary of {dialogue.text}" for dialogue in part.dialogues]
    return Summaries(part.name, [dialogue.fname for dialogue in part.dialogues], texts, [None] * len(texts))


def kill_at_b3(part: Part) -> Summaries:
    if part.dialogues[0].fname == "b3" and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return summarize(part)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three files: a.parquet with 7 dialogues, nested/b.jsonl with 4, c.csv with 2."""
    folder = tmp_path / "in"
    (folder / "nested").mkdir(parents=True)
    rows = [{"fname": f"{name}{number}", "dialogue": f"text {name}{number}"} for name in "abc" for number in range(7)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows[:7]), folder / "a.parquet", row_group_size=2)
    (folder / "nested/b.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows[7:11]))
    (folder / "c.csv").write_text("fname,dialogue\nc0,text c0\nc1,text c1\n")
    return folder


def written(output: Path) -> dict[str, str]:
    """The summaries in all parts, by fname. No name stands in two parts."""
    rows = [row for path in sorted(output.glob("*.parquet")) for row in pyarrow.parquet.read_table(path).to_pylist()]
    assert len({row["fname"] for row in rows}) == len(rows)
    return {row["fname"]: row["summary"] for row in rows}


EXPECTED = {f"{name}{i}": f"summary of text {name}{i}" for name, count in (("a", 7), ("b", 4), ("c", 2)) for i in range(count)}


def test_every_dialogue_gets_its_summary_once(source: Path, tmp_path: Path) -> None:
    progress = run_job(source, tmp_path / "out", summarize, key="k", rows=3)
    assert written(tmp_path / "out") == EXPECTED
    assert (progress.parts, progress.dialogues, progress.kept_parts) == (6, 13, 0)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *("a-000000.parquet", "a-000001.parquet", "a-000002.parquet", "c-000000.parquet", "job.json"),
        *("nested__b-000000.parquet", "nested__b-000001.parquet"),
    }


def test_a_single_file_can_be_named(source: Path, tmp_path: Path) -> None:
    run_job(source / "nested/b.jsonl", tmp_path / "out", summarize, key="k", rows=3)
    assert sorted(path.name for path in (tmp_path / "out").glob("b-*")) == ["b-000000.parquet", "b-000001.parquet"]


def test_a_job_that_failed_goes_on_with_the_missing_parts(source: Path, tmp_path: Path) -> None:
    done: list[str] = []

    def fail_late(part: Part) -> Summaries:
        if len(done) == 2:
            raise RuntimeError("out of memory")
        done.append(part.name)
        return summarize(part)

    with pytest.raises(RuntimeError):
        run_job(source, tmp_path / "out", fail_late, key="k", rows=3)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.parquet")}
    assert sorted(path.stem for path in kept) == done
    progress = run_job(source, tmp_path / "out", summarize, key="k", rows=3)
    assert (progress.parts, progress.kept_parts) == (4, 2)
    assert written(tmp_path / "out") == EXPECTED
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not list((tmp_path / "out").glob(".*"))


def test_hosts_share_the_parts(source: Path, tmp_path: Path) -> None:
    parts = [run_job(source, tmp_path / "out", summarize, key="k", rows=2, share=(number, 3)).parts for number in (3, 1, 2)]
    assert sum(parts) == 7
    assert max(parts) - min(parts) <= 1
    assert written(tmp_path / "out") == EXPECTED


def test_parts_are_read_only_when_they_are_needed(monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path) -> None:
    events: list[str] = []

    def noted(*args: Path, rows: int) -> Iterator[Part]:
        for part in read_parts(*args, rows=rows):
            events.append(f"read {part.name}")
            yield part

    def noted_summarize(part: Part) -> Summaries:
        events.append(f"done {part.name}")
        return summarize(part)

    monkeypatch.setattr("yoyak.inference.bulk.read_parts", noted)
    run_job(source, tmp_path / "out", noted_summarize, key="k", rows=3)
    assert [event.partition(" ")[0] for event in events] == ["read", "done"] * 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"key": "other"}, "of another model or of other settings"),
        ({"rows": 4}, "its parts have 3 dialogues; give --rows 3"),
    ],
)
def test_summaries_of_different_jobs_are_not_mixed(source: Path, tmp_path: Path, change: dict[str, object], said: str) -> None:
    run_job(source, tmp_path / "out", summarize, key="k", rows=3)
    with pytest.raises(YoyakError, match=said):
        run_job(source, tmp_path / "out", summarize, **{"key": "k", "rows": 3} | change)  # type: ignore[arg-type]


def test_a_changed_file_is_refused_and_a_new_one_is_done(source: Path, tmp_path: Path) -> None:
    run_job(source, tmp_path / "out", summarize, key="k", rows=3)
    (source / "d.csv").write_text("fname,dialogue\nd0,text d0\n")
    assert run_job(source, tmp_path / "out", summarize, key="k", rows=3).parts == 1
    (source / "d.csv").write_text("fname,dialogue\nd0,another text\n")
    with pytest.raises(YoyakError, match=r"in/d\.csv is not the file of its summaries any more"):
        run_job(source, tmp_path / "out", summarize, key="k", rows=3)


def test_a_folder_with_other_files_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").touch()
    with pytest.raises(YoyakError, match=r"out: is not empty and has no job\.json"):
        run_job(source, tmp_path / "out", summarize, key="k")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.jsonl", b'{"fname": "x0", "text": "a"}\n', r"x\.jsonl:1: no text in dialogue"),
        ("x.csv", b"id,dialogue\n1,a\n", "fname"),
        ("x.parquet", b"PAR1 and then nothing", r"x\.parquet: cannot be read as Parquet"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(YoyakError, match=said):
        list(read_parts(tmp_path, tmp_path / name, rows=3))


def test_a_parquet_file_without_the_columns_says_which_it_has(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"id": ["1"], "dialogue": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(YoyakError, match=r"no column fname; it has id, dialogue\. `yoyak import --columns`"):
        list(read_parts(tmp_path, tmp_path / "x.parquet", rows=3))


def test_a_parquet_file_that_was_cut_off_is_named(tmp_path: Path) -> None:
    """Zeros in the middle: the footer is whole, the data are not."""
    rows = [{"fname": str(number), "dialogue": f"text {number} " * 50} for number in range(4000)]
    path = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=1000, compression="zstd")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(YoyakError, match=r"x\.parquet: damaged after row"):
        list(read_parts(tmp_path, path, rows=100))


def test_no_input_and_equal_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match="no dialogues here"):
        input_files(tmp_path)
    for name in ("x.csv", "x.jsonl"):
        (tmp_path / name).touch()
    with pytest.raises(YoyakError, match=r"x\.jsonl: x\.csv has the same name"):
        input_files(tmp_path)


@pytest.mark.slow
def test_a_killed_process_ends_the_job_and_the_next_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(YoyakError, match="a process that summarizes was killed"):
        run_job(source, tmp_path / "out", kill_at_b3, key="k", rows=1, processes=2)
    assert "b3" not in written(tmp_path / "out")
    run_job(source, tmp_path / "out", kill_at_b3, key="k", rows=1, processes=2)
    assert written(tmp_path / "out") == EXPECTED


def test_a_model_writes_what_it_writes_elsewhere(tiny: Path, params: Params, tmp_path: Path) -> None:
    from yoyak.inference.summarizer import Summarizer

    texts = [*DIALOGUES[:2], "kein Dialog", DIALOGUES[2]]
    (tmp_path / "in.jsonl").write_text(
        "".join(f"{json.dumps({'fname': str(number), 'dialogue': text})}\n" for number, text in enumerate(texts)),
        encoding="utf-8",
    )
    model = TrainedModel(tiny, params, Decisions())
    progress = run_job(tmp_path / "in.jsonl", tmp_path / "out", model, key=model.key())
    rows = pyarrow.parquet.read_table(tmp_path / "out/in-000000.parquet").to_pylist()
    expected = Summarizer.load(tiny, params=params).summarize_many(DIALOGUES[:3])
    assert [row["summary"] for row in rows] == [*expected[:2], None, expected[2]]
    assert [bool(row["problem"]) for row in rows] == [False, False, True, False]
    assert progress.problems == 1


def test_the_key_follows_the_model_and_the_settings(tiny: Path, params: Params) -> None:
    model = TrainedModel(tiny, params, Decisions())
    generation = params.generation.model_copy(update={"num_beams": 7})
    others = [
        TrainedModel(tiny, params.model_copy(update={"generation": generation}), Decisions()),
        TrainedModel(tiny, params, Decisions(backend="transformers")),
    ]
    training = params.training.model_copy(update={"seed": 7})
    assert TrainedModel(tiny, params.model_copy(update={"training": training}), Decisions()).key() == model.key()
    keys = {model.key(), *(other.key() for other in others)}
    (tiny / "config.json").write_text((tiny / "config.json").read_text() + " ")
    assert len({*keys, model.key()}) == 4
