"""The three splits together: reports, the guard, the check, flat memory, and the stage preprocess."""

import json
import os
import re
import shutil
import tracemalloc
import unicodedata
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from stages import preprocess as stage
from tests.conftest import ROOT
from yoyak.config.data_section import Data
from yoyak.config.sections import Preprocess
from yoyak.data.cleaning import REASONS
from yoyak.data.noise import Noise
from yoyak.data.split_files import FileRow
from yoyak.data.split_report import Rejection
from yoyak.data.splits import REQUIRED_COLUMNS, SplitCleaner
from yoyak.system.csv_files import write_csv
from yoyak.system.errors import YoyakError

TALK = "#Person1#: 밥 먹었어?\n#Person2#: 응, 방금 먹었어."
TRAIN = Path("d/train.csv")
SUMMARY = "#Person2#는 밥을 먹었다고 합니다."


def cells(**changed: str) -> dict[str, str]:
    return {"fname": "train_0", "dialogue": TALK, "summary": SUMMARY, "topic": "식사"} | changed


def cleaner_of(*, max_rejected: int = 0, noise: Noise = "moderate", **options: Any) -> SplitCleaner:
    """A cleaner of a folder that does not exist: its rows come from the test."""
    settings = Preprocess(noise=noise, person_tags="keep_original", max_rejected=max_rejected)
    return SplitCleaner(Data(dir="d", folds=0, fold=1), settings, **options)


def run(rows: list[dict[str, str]], *, cleaner: SplitCleaner | None = None, split: str = "train") -> list[dict[str, Any]]:
    """The cleaned rows; the first one is in line 10 of the file, the second in line 20 …"""
    numbered = [FileRow(10 * number, row, Path(f"d/{split}.csv")) for number, row in enumerate(rows, 1)]
    return list((cleaner or cleaner_of()).clean_rows(split, numbered))


def test_report_counts_rows_not_changes() -> None:
    dirty = "#Person1#: 밥? #Person2#: 응 #Person1#: 그래ㅋㅋ"
    cleaner = cleaner_of()
    rows = run([cells(dialogue=dirty), cells(fname="b", dialogue=dirty + "!"), cells(fname="c", dialogue="")], cleaner=cleaner)
    report = cleaner.reports["train"]
    assert [row["fname"] for row in rows] == ["train_0", "b"]
    assert report.counts() == {
        "rows_in": 3,
        "rows_out": 2,
        "changed": {"noise": 2, "two_speakers_on_a_line": 2},  # rows, though each has two such places
        "rejected": {"empty_dialogue": 1},
        "repeated_dialogues": 1,
        "near_duplicates": None,
        "lines": 6,
        "lines_without_speaker": 0,
        "lines_with_another_name": 0,
    }
    assert report.rejects == [("d/train.csv:30 (fname c)", Rejection("empty_dialogue"))]


@pytest.mark.parametrize("first", [TALK, ""])
def test_an_fname_that_occurs_twice_stops(first: str) -> None:
    """Also when its first row was rejected."""
    cleaner = cleaner_of(max_rejected=1)
    run([cells(dialogue=first), cells(dialogue=TALK + "!")], cleaner=cleaner)
    with pytest.raises(YoyakError, match=r"1 row has an fname that occurs before:\n  d/train\.csv:20 \(fname train_0\)"):
        cleaner.check()


def test_fnames_that_differ_only_in_their_unicode_form_occur_twice() -> None:
    cleaner = cleaner_of()
    run([cells(fname="가"), cells(fname=unicodedata.normalize("NFD", "가"), dialogue=TALK + "!")], cleaner=cleaner)
    with pytest.raises(YoyakError, match="occurs in line 10 too in another Unicode form"):
        cleaner.check()


def test_rows_without_a_name_are_rejected_not_doubled() -> None:
    cleaner = cleaner_of()
    run([cells(fname=""), cells(fname="\u3164")], cleaner=cleaner)
    assert cleaner.reports["train"].rejected == {"no_fname": 2}


def test_lines_without_a_speaker_are_counted_and_told() -> None:
    cleaner = cleaner_of()
    glued = "#Person1#: 밥 먹었어?\n아직이지?\n민수: 네\n#Person2#: 응"
    run([cells(dialogue=glued), *(cells(fname=f"f{n}", dialogue=f"{TALK} {n}") for n in range(9))], cleaner=cleaner)
    report = cleaner.reports["train"]
    assert report.counts()["lines"] == 22
    assert (report.counts()["lines_without_speaker"], report.counts()["lines_with_another_name"]) == (2, 1)
    told = report.messages("d/train.csv")
    assert told[0] == (
        "d/train.csv: 2 lines in 1 dialogue have no speaker tag and joined the turn above, such as "
        'd/train.csv:10 (fname train_0): "민수:"'
    )
    assert "1 of these lines starts with a name" in told[1]
    assert told[2].startswith("WARNING: d/train.csv: 10% of the dialogues have such lines (9% of all lines)")


def test_few_lines_without_a_speaker_are_no_warning() -> None:
    cleaner = cleaner_of()
    run(
        [cells(dialogue=TALK + "\n잘 먹었어."), *(cells(fname=f"f{n}", dialogue=f"{TALK} {n}") for n in range(30))],
        cleaner=cleaner,
    )
    (told,) = cleaner.reports["train"].messages("d/train.csv")
    assert told.startswith("d/train.csv: 1 line has no speaker tag") and '"잘 먹었어."' in told


def test_faults_of_all_files_are_told_in_one_step(project: Path) -> None:
    """A missing column in train, a doubled fname in dev, a bad row in test."""
    train, dev, test = (project / "raw" / f"{split}.csv" for split in REQUIRED_COLUMNS)
    train.write_text(train.read_text(encoding="utf-8").replace("summary", "summery"), encoding="utf-8")
    dev.write_text(dev.read_text(encoding="utf-8").replace("dev_1,", "dev_0,"), encoding="utf-8")
    with open(test, "a", encoding="utf-8") as file:
        file.write("test_x,민수: 네\n")
    with pytest.raises(YoyakError) as error:
        run_stage()
    for part in (
        "raw/train.csv:1: no column summary; the columns are: fname, dialogue, summery, topic; rename summery to summary?",
        "raw/dev.csv:5 (fname dev_0): this fname occurs in line 2 too",
        'raw/test.csv:11 (fname test_x): no_speaker (found "민수:")',
        f"no_speaker: {REASONS['no_speaker']}",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "leaked",
    [
        TALK,
        TALK.replace("\n", " \\n"),
        TALK.replace(" ", "").replace(":", ": "),
        TALK.replace(".", "!!"),
        TALK.replace("#Person1#", "#X#").replace("#Person2#", "#Person1#").replace("#X#", "#Person2#"),  # speakers swapped
    ],
)
def test_guard_finds_a_dialogue_of_another_split_however_it_is_written(leaked: str) -> None:
    cleaner = cleaner_of()
    run([cells()], cleaner=cleaner)
    run([cells(fname="dev_7", dialogue=leaked), cells(fname="dev_8", dialogue=TALK + " 너는?")], cleaner=cleaner, split="dev")
    assert cleaner.guard.leaks == ["d/dev.csv:10 (fname dev_7): the same dialogue as d/train.csv:10 (fname train_0)"]


def test_guard_allows_repeats_within_a_split() -> None:
    cleaner = cleaner_of()
    run([cells(), cells(fname="b"), cells(fname="c")], cleaner=cleaner)
    assert cleaner.guard.leaks == []
    assert cleaner.reports["train"].messages("d/train.csv") == [
        "d/train.csv: 2 dialogues repeat an earlier one, such as d/train.csv:20 (fname b): the same dialogue as "
        "d/train.csv:10 (fname train_0)"
    ]


def test_memory_does_not_grow_with_the_rows() -> None:
    """Of Python; SQLite's own is bounded by its cache."""

    def peak(count: int) -> int:
        rows = (
            FileRow(n, {"fname": f"t_{n}", "dialogue": f"#Person1#: {n}번" if n % 2 else "말", "summary": SUMMARY}, TRAIN)
            for n in range(count)
        )
        with open(os.devnull, "w", encoding="utf-8") as file:
            cleaner = cleaner_of(noise="minimal", rejects_file=file)
            tracemalloc.start()
            deque(cleaner.clean_rows("train", rows), maxlen=0)
            peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        report = cleaner.reports["train"]
        assert (report.rows_in, report.rows_out, report.rejected) == (count, count // 2, {"no_speaker": count // 2})
        return peak_bytes

    peak(100)  # what is filled once, like the caches of regular expressions
    assert peak(2000) < peak(250) + 50_000


def fill(cleaner: SplitCleaner, split: str, *, out: int = 1, rejected: int = 0) -> None:
    """Write counts into a report, as if so many rows were cleaned."""
    report = cleaner.reports[split]
    report.rows_in, report.rows_out = out + rejected, out
    for number in range(rejected):
        where = f"d/{split}.csv:{number} (fname f{number})"
        report.reject(Rejection("no_speaker"), split=split, where=where, line=number, cells=cells(fname=f"f{number}"))


def filled(*, max_rejected: int, out: int = 1, **rejected: int) -> SplitCleaner:
    cleaner = cleaner_of(max_rejected=max_rejected)
    for split in cleaner.paths:
        fill(cleaner, split, out=out, rejected=rejected.get(split, 0))
    return cleaner


@pytest.mark.parametrize(("rejected", "allowed", "stops"), [(0, 0, False), (1, 0, True), (2, 2, False), (3, 2, True)])
def test_more_rejects_than_allowed_stop(rejected: int, allowed: int, stops: bool) -> None:
    cleaner = filled(max_rejected=allowed, train=rejected)
    if not stops:
        cleaner.check()
        return
    with pytest.raises(YoyakError, match=f"^{rejected} {'row' if rejected == 1 else 'rows'} cannot be used") as error:
        cleaner.check()
    assert f"preprocess.max_rejected allows {allowed}" in str(error.value)
    assert "d/train.csv:0 (fname f0): no_speaker" in str(error.value)
    assert str(error.value).endswith(f"\nno_speaker: {REASONS['no_speaker']}")


def test_rejects_of_all_splits_count_together() -> None:
    with pytest.raises(YoyakError, match="2 rows"):
        filled(max_rejected=1, train=1, dev=1).check()


def test_a_row_of_test_is_never_left_out() -> None:
    with pytest.raises(YoyakError, match=r"a submission needs every row of test[^$]*d/test\.csv:0 \(fname f0\)"):
        filled(max_rejected=100, test=1).check()


def test_rejected_rows_of_test_are_named_first_and_those_of_train_in_the_same_step() -> None:
    with pytest.raises(YoyakError, match=r"^1 row cannot be used; a submission needs every row of test") as error:
        filled(max_rejected=0, train=1, test=1).check()
    assert "max_rejected allows 0:\n  d/train.csv:0 (fname f0): no_speaker" in str(error.value)
    assert str(error.value).count("no_speaker: ") == 1


def test_many_rejects_are_not_all_printed() -> None:
    with pytest.raises(YoyakError, match="and 30 more") as error:
        filled(max_rejected=0, train=50).check()
    assert len(str(error.value).splitlines()) == 23  # what is wrong, 20 rows, how many more, what the reason means


def test_leaks_and_empty_splits_stop() -> None:
    cleaner = filled(max_rejected=9)
    cleaner.guard.add(split="train", row="b", dialogue=TALK)
    cleaner.guard.add(split="dev", row="a", dialogue=TALK)
    with pytest.raises(YoyakError, match=r"1 dialogue occurs in two splits[^$]*a: the same dialogue as b"):
        cleaner.check()
    with pytest.raises(YoyakError, match=r"d/train\.csv: no row is left"):
        filled(max_rejected=1, out=0).check()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with params.yaml and three rows a split, as the working folder."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("dir: data/sample", "dir: raw")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    for split in REQUIRED_COLUMNS:
        rows = [cells(fname=f"{split}_{n}", dialogue=f"{TALK}\n#Person1#: {split} {n}번이야.") for n in range(3)]
        columns = ["fname", "dialogue"] if split == "test" else ["fname", "dialogue", "summary", "topic"]
        write_csv(tmp_path / "raw" / f"{split}.csv", [{k: row[k] for k in columns} for row in rows], columns=columns)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_stage() -> None:
    stage.main(Path("out/processed"), Path("out/rejects.jsonl"), Path("metrics/preprocess.json"))


def written(project: Path) -> dict[str, bytes]:
    return {str(p.relative_to(project)): p.read_bytes() for top in ("out", "metrics") for p in (project / top).rglob("*.*")}


def test_the_rows_are_the_same_whatever_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yoyak.data.splits.CHUNK_ROWS", 7)
    table = [
        FileRow(index + 2, {"fname": f"t{index}", "dialogue": f"#Person1#: {index}번 ㅋㅋ", "summary": "요약"}, TRAIN)
        for index in range(100)
    ]
    table[33][1]["dialogue"] = "no dialogue"
    results = []
    for processes in (1, 2):
        cleaner = cleaner_of()
        rows = list(cleaner.clean_rows("train", table, processes=processes))
        report = cleaner.reports["train"]
        results.append((rows, report.counts(), [where for where, _ in report.rejects]))
    assert results[0] == results[1]
    assert results[0][2] == ["d/train.csv:35 (fname t33)"]


def test_stage_writes_all_files_and_the_same_twice(project: Path) -> None:
    run_stage()
    first = written(project)
    assert set(first) == {
        *(f"out/processed/{split}.jsonl" for split in REQUIRED_COLUMNS),
        "out/rejects.jsonl",
        "metrics/preprocess.json",
    }
    assert first["out/rejects.jsonl"] == b""
    rows = {
        split: [json.loads(line) for line in first[f"out/processed/{split}.jsonl"].splitlines()] for split in REQUIRED_COLUMNS
    }
    assert [row["fname"] for row in rows["test"]] == ["test_0", "test_1", "test_2"]
    assert all("summary" not in row for row in rows["test"])
    counts = json.loads(first["metrics/preprocess.json"])["dev"]
    assert counts.pop("near_duplicates") in (0, None)  # None without the package rensa
    assert counts == {
        "rows_in": 3,
        "rows_out": 3,
        "changed": {},
        "rejected": {},
        "repeated_dialogues": 0,
        "lines": 9,
        "lines_without_speaker": 0,
        "lines_with_another_name": 0,
    }
    run_stage()
    assert written(project) == first


def test_stage_leaves_out_what_max_rejected_allows_and_names_it(project: Path) -> None:
    with open(project / "raw" / "dev.csv", "a", encoding="utf-8") as file:
        file.write("dev_x,말만 있다,요약은 있다.,잡담\n")
    with pytest.raises(YoyakError, match=r"dev\.csv:11 \(fname dev_x\): no_speaker"):
        run_stage()
    assert set(written(project)) == {"out/rejects.jsonl"}
    params = project / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("max_rejected: 0", "max_rejected: 1"), encoding="utf-8")
    run_stage()
    (reject,) = [json.loads(line) for line in written(project)["out/rejects.jsonl"].splitlines()]
    assert (reject["split"], reject["line"], reject["reason"]) == ("dev", 11, "no_speaker")
    assert (reject["found"], reject["cells"]["fname"]) == ("말만 있다", "dev_x")
    assert b"dev_x" not in written(project)["out/processed/dev.jsonl"]
    assert json.loads(written(project)["metrics/preprocess.json"])["dev"]["rejected"] == {"no_speaker": 1}


def test_stage_warns_of_a_last_line_without_a_newline(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_stage()
    assert "WARNING" not in capsys.readouterr().out
    path = project / "raw" / "train.csv"
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    run_stage()
    out = capsys.readouterr().out
    assert (
        out.count("WARNING: raw/train.csv: the last line has no newline at its end; is the file complete?\n")
        == out.count("WARNING")
        == 1
    )
    assert "raw/train.csv: 3 rows, 3 kept" in out


def test_a_name_with_control_characters_is_printed_without_them(project: Path) -> None:
    with open(project / "raw" / "dev.csv", "a", encoding="utf-8") as file:
        file.write(f"\x1b[2J{'x' * 1000},말만 있다,요약은 있다.,잡담\n")
    with pytest.raises(YoyakError, match="no_speaker") as error:
        run_stage()
    assert "\x1b" not in str(error.value)
    assert len(str(error.value)) < 500


def test_stage_that_fails_keeps_the_earlier_results(project: Path) -> None:
    run_stage()
    first = written(project)
    shutil.copy(project / "raw" / "train.csv", project / "raw" / "dev.csv")  # now dev is train
    with pytest.raises(YoyakError, match="occur in two splits"):
        run_stage()
    assert written(project) == first


def test_near_duplicates_in_two_splits_are_told_and_counted_and_do_not_stop() -> None:
    text = "#Person1#: 내일 저녁에 시간 있으면 같이 공포 영화를 보러 가자.\n#Person2#: 좋아, 여섯 시에 극장 앞에서 만나자."
    cleaner = cleaner_of(near=True)
    run(
        [cells(dialogue=text.replace("여섯", "일곱")), cells(fname="b", dialogue="#Person1#: 다른 이야기를 하자.")],
        cleaner=cleaner,
    )
    run([cells(fname="d", dialogue=text)], cleaner=cleaner, split="dev")
    cleaner.guard.check()
    (message,) = cleaner.near_duplicates()
    assert "1 dialogue is almost the same in another split" in message
    assert re.search(r"d/train\.csv:\d+ \(fname train_0\): \d+% like d/dev\.csv:\d+ \(fname d\)", message)
    assert [cleaner.reports[split].near_duplicates for split in REQUIRED_COLUMNS] == [1, 1, 0]
