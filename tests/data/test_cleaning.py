"""Raw rows to clean ones: what is changed is counted, what is rejected is named, and nothing leaks."""

import json
import os
import shutil
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stages import preprocess as stage
from yoyak.data.cleaning import FirstSeen, Guard, Report, check, clean_row, clean_rows, references_of
from yoyak.data.dialogue import MAX_CHARACTERS, BadDialogueError, Noise, PersonTags
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import Row, write_csv

ROOT = Path(__file__).parents[2]
TALK = "#Person1#: 밥 먹었어?\n#Person2#: 응, 방금 먹었어."
SUMMARY = "#Person2#는 밥을 먹었다고 합니다."


def cells(**changed: str) -> dict[str, str]:
    return {"fname": "train_0", "dialogue": TALK, "summary": SUMMARY, "topic": "식사"} | changed


def clean(
    given: dict[str, str], noise: Noise = "moderate", person_tags: PersonTags = "keep_original", with_summary: bool = True
) -> tuple[dict[str, Any], Counter[str]]:
    return clean_row(given, noise=noise, person_tags=person_tags, with_summary=with_summary)


def test_a_clean_row_is_unchanged() -> None:
    row, changed = clean(cells())
    assert row == {"fname": "train_0", "dialogue": TALK, "summary": SUMMARY, "references": [SUMMARY], "topic": "식사"}
    assert not changed


@pytest.mark.parametrize(
    ("given", "dialogue", "kinds"),
    [
        ("#Person1#: 밥 먹었어? \n#Person2#: 응", "#Person1#: 밥 먹었어?\n#Person2#: 응", {"spaces"}),
        ("#Person1#: 밥 먹었어?\\n#Person2#: 응", "#Person1#: 밥 먹었어?\n#Person2#: 응", {"literal_newline"}),
        ("#Person1#: 밥 먹었어? #Person2#: 응", "#Person1#: 밥 먹었어?\n#Person2#: 응", {"two_speakers_on_a_line"}),
        ("#Person1#: 밥?\nPerson2: 응", "#Person1#: 밥?\n#Person2#: 응", {"tag_without_hashes"}),
        ("#Person1#: #Person2#, 밥?\n#Person2#: 응", "#Person1#: #Person2#, 밥?\n#Person2#: 응", set()),
        ("#Person1#: 밥\n먹었어?\n#Person2#: 응", "#Person1#: 밥 먹었어?\n#Person2#: 응", {"line_without_speaker"}),
        ("#Person1#: 밥?\r\n#Person2#: 응", "#Person1#: 밥?\n#Person2#: 응", {"line_break"}),
        ("#Person1#: 밥\b?\n#Person2#: 응", "#Person1#: 밥?\n#Person2#: 응", {"backspace"}),
        ("#사람1#: 밥?\n#Person2#: 응", "#Person1#: 밥?\n#Person2#: 응", {"translated_tag"}),
        ("#Person1#: #FlightNumber#요\n#Person2#: 응", "#Person1#: #FlightNumber#요\n#Person2#: 응", set()),
        ("#Person1#: 밥?ㅋㅋ\n#Person2#: 응ㅠ", "#Person1#: 밥? 웃음\n#Person2#: 응 슬픔", {"noise"}),
    ],
)
def test_every_kind_of_dirt_is_mended_and_counted(given: str, dialogue: str, kinds: set[str]) -> None:
    row, changed = clean(cells(dialogue=given))
    assert row["dialogue"] == dialogue
    assert set(changed) == kinds


def test_a_summary_is_mended_for_learning_and_kept_raw_for_scoring() -> None:
    raw = "Person2는 밥을 \r\n먹었다고 합니다.ㅋㅋ"
    row, changed = clean(cells(summary=raw), person_tags="simplify")
    assert row["summary"] == "P2는 밥을 먹었다고 합니다. 웃음"
    assert row["references"] == [raw]
    assert set(changed) == {
        "summary_tag_without_hashes",
        "summary_line_break",
        "summary_spaces",
        "summary_newline",
        "summary_noise",
    }


def test_noise_and_tags_reach_dialogue_and_summary_alike() -> None:
    given = cells(dialogue="#Person1#: 음... 가자!!ㅋㅋ\n#Person2#: 네", summary="#Person1#은 가자고 합니다!!")
    row, _ = clean(given, noise="aggressive", person_tags="abstract")
    assert row["dialogue"] == "화자1: 가자! 웃음\n화자2: 네"
    assert row["summary"] == "화자1은 가자고 합니다!"
    assert row["references"] == [given["summary"]]


@pytest.mark.parametrize(
    ("given", "dialogue"),
    [
        ("#Person1#: 가 #Person2#😀: 나", "#Person1#: 가\n#Person2#: 나"),
        ("#Person1#: #Person😀2# 봐", "#Person1#: #Person2# 봐"),
    ],
)
def test_a_tag_that_an_emoji_hid_is_one(given: str, dialogue: str) -> None:
    assert clean(cells(dialogue=given), noise="aggressive")[0]["dialogue"] == dialogue


def test_topic_may_be_absent_and_is_put_on_one_line() -> None:
    assert clean({"fname": "1", "dialogue": TALK, "summary": SUMMARY})[0]["topic"] == ""
    assert clean(cells(topic=" 점심\n식사 "))[0]["topic"] == "점심 식사"


def test_test_rows_need_no_summary_and_carry_none() -> None:
    row, _ = clean(cells(summary=""), with_summary=False)
    assert set(row) == {"fname", "dialogue", "topic"}


def test_every_summary_column_is_a_reference() -> None:
    given = cells(summary2="둘", summary_3=" 셋 ", summary4="  ", summary_length="31", abstract="x")
    assert references_of(given) == [SUMMARY, "둘", " 셋 "]
    row, _ = clean(given)
    assert row["references"] == [SUMMARY, "둘", " 셋 "]
    assert row["summary"] == SUMMARY


def test_references_may_start_at_one() -> None:
    given = {"fname": "1", "dialogue": TALK, "summary1": "하나는 이렇다.", "summary2": "둘은 저렇다."}
    row, _ = clean(given)
    assert (row["summary"], row["references"]) == ("하나는 이렇다.", ["하나는 이렇다.", "둘은 저렇다."])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"dialogue": ""}, "empty_dialogue"),
        ({"dialogue": " \n\u200b"}, "empty_dialogue"),
        ({"dialogue": "밥 먹었어?"}, "no_speaker"),
        ({"dialogue": "#Person1#:\n#Person2#: "}, "nothing_said"),
        ({"dialogue": TALK + "\x1b"}, "control_character"),
        ({"summary": ""}, "empty_summary"),
        ({"summary": " \n "}, "empty_summary"),
        ({"summary": "\u200b\\n"}, "empty_summary"),
        ({"summary": "", "summary2": SUMMARY}, "empty_summary"),
        ({"summary": SUMMARY + "\x02"}, "control_character"),
        ({"fname": " "}, "no_fname"),
        ({"fname": "=1+1"}, "formula_in_fname"),
        ({"fname": "+1"}, "formula_in_fname"),
        ({"fname": "-1"}, "formula_in_fname"),
        ({"fname": "@sum"}, "formula_in_fname"),
        ({"fname": "\t=1"}, "formula_in_fname"),
        ({"fname": "\r=1"}, "formula_in_fname"),
        ({"dialogue": TALK + "\u0301" * 31}, "combining_marks"),
        ({"dialogue": TALK + "가" * 100_000}, "too_long"),
        ({"topic": "가" * (MAX_CHARACTERS + 1)}, "too_long"),
    ],
)
def test_a_rejection_has_its_reason(changed: dict[str, str], reason: str) -> None:
    with pytest.raises(BadDialogueError) as error:
        clean(cells(**changed))
    assert str(error.value) == reason


@pytest.mark.parametrize("changed", [{"dialogue": TALK + "\n#Person1#: P1에 세웠어"}, {"summary": "#Person1#3은 P2"}])
def test_a_row_whose_tags_could_not_come_back_is_rejected(changed: dict[str, str]) -> None:
    clean(cells(**changed))
    with pytest.raises(BadDialogueError, match="simplify_could_not_be_undone"):
        clean(cells(**changed), person_tags="simplify")


def test_the_seam_of_dialogue_and_summary_hides_no_tag() -> None:
    with pytest.raises(BadDialogueError, match="could_not_be_undone"):
        clean(cells(dialogue="#Person1#: 주차는 P1", summary="2시에 만납니다."), person_tags="simplify")


def run(rows: list[dict[str, str]], *, guard: Guard | None = None, split: str = "train") -> tuple[list[dict[str, Any]], Report]:
    report = Report()
    numbered = [Row(10 * number, row) for number, row in enumerate(rows, 1)]
    cleaned = clean_rows(
        numbered,
        path=Path(f"{split}.csv"),
        split=split,
        noise="moderate",
        person_tags="keep_original",
        guard=guard or Guard(),
        report=report,
    )
    return list(cleaned), report


def test_report_counts_rows_not_changes() -> None:
    dirty = "#Person1#: 밥? #Person2#: 응 #Person1#: 그래ㅋㅋ"
    rows, report = run([cells(dialogue=dirty), cells(fname="b", dialogue=dirty + "!"), cells(fname="c", dialogue="")])
    assert [row["fname"] for row in rows] == ["train_0", "b"]
    assert report.counts() == {
        "rows_in": 3,
        "rows_out": 2,
        "changed": {"noise": 2, "two_speakers_on_a_line": 2},  # rows, though each has two such places
        "rejected": {"empty_dialogue": 1},
    }
    assert report.rejects == [
        {"split": "train", "line": 30, "reason": "empty_dialogue", "cells": cells(fname="c", dialogue="")},
    ]


@pytest.mark.parametrize("first", [TALK, ""])
def test_an_fname_that_occurs_twice_stops(first: str) -> None:
    """Also when its first row was rejected."""
    with pytest.raises(YoyakError, match=r"train\.csv: line 20: train_0: .* line 10"):
        run([cells(dialogue=first), cells(dialogue=TALK + "!")])


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
    guard = Guard()
    run([cells()], guard=guard)
    run([cells(fname="dev_7", dialogue=leaked), cells(fname="dev_8", dialogue=TALK + " 너는?")], guard=guard, split="dev")
    assert guard.leaks == ["dev dev_7 is the dialogue of train train_0"]


def test_guard_allows_repeats_within_a_split() -> None:
    guard = Guard()
    run([cells(), cells(fname="b")], guard=guard)
    assert guard.leaks == []


def test_guard_tells_apart_what_has_no_word() -> None:
    guard = Guard()
    guard.add("train", "a", "#Person1#: ...")
    guard.add("dev", "b", "#Person1#: ?!")
    assert guard.leaks == []


def test_first_seen_gives_what_came_first() -> None:
    seen = FirstSeen()
    assert [seen.setdefault(key, value) for key, value in ((b"a", "1"), (b"b", "2"), (b"a", "3"), (b"", ""))] == [
        "1",
        "2",
        "1",
        "",
    ]


def test_first_seen_without_room_is_one_error() -> None:
    seen = FirstSeen()
    seen._database.execute("pragma max_page_count = 3")
    with pytest.raises(YoyakError, match=r"no temporary file .*full.*SQLITE_TMPDIR"):
        for number in range(10_000):
            seen.setdefault(str(number).encode(), "x" * 100)


def test_many_leaks_are_not_all_kept_or_printed() -> None:
    guard = Guard()
    for split in ("train", "dev"):
        for number in range(50):
            guard.add(split, f"{split}_{number}", f"#Person1#: {number}번")
    assert (guard.leaked, len(guard.leaks)) == (50, 20)
    with pytest.raises(YoyakError, match="50 dialogues stand in two splits") as error:
        check({"train": report_of("train")}, guard=guard, paths=PATHS, max_rejected=0)
    assert str(error.value).endswith("\n  and 30 more")
    assert len(str(error.value).splitlines()) == 22


def test_memory_does_not_grow_with_the_rows() -> None:
    """Of Python; SQLite's own is bounded by its cache."""

    def peak(count: int) -> int:
        rows = (
            Row(n, {"fname": f"t_{n}", "dialogue": f"#Person1#: {n}번" if n % 2 else "말", "summary": SUMMARY})
            for n in range(count)
        )
        with open(os.devnull, "w", encoding="utf-8") as file:
            guard, report = Guard(), Report(file=file)
            tracemalloc.start()
            for _ in clean_rows(
                rows,
                path=PATHS["train"],
                split="train",
                noise="minimal",
                person_tags="keep_original",
                guard=guard,
                report=report,
            ):
                pass
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert (report.rows_in, report.rows_out, report.rejected) == (count, count // 2, {"no_speaker": count // 2})
        return found

    peak(100)  # what is filled once, like the caches of regular expressions
    assert peak(2000) < peak(250) + 50_000


def test_guard_knows_a_colon_in_an_utterance() -> None:
    guard = Guard()
    guard.add("train", "a", "#Person1#: 비율은 3: 1이야")
    guard.add("dev", "b", "#Person1#: 비율은 5: 1이야")
    guard.add("test", "c", "#Person1#: 1이야")
    assert guard.leaks == []


def report_of(split: str, *, out: int = 1, rejected: int = 0) -> Report:
    report = Report(rows_in=out + rejected, rows_out=out)
    for n in range(rejected):
        report.reject(split=split, line=n, reason="no_speaker", cells=cells(fname=f"f{n}"))
    return report


PATHS = {"train": Path("d/train.csv"), "dev": Path("d/dev.csv"), "test": Path("d/test.csv")}


@pytest.mark.parametrize(("rejected", "allowed", "stops"), [(0, 0, False), (1, 0, True), (2, 2, False), (3, 2, True)])
def test_more_rejects_than_allowed_stop(rejected: int, allowed: int, stops: bool) -> None:
    reports = {"train": report_of("train", rejected=rejected), "dev": report_of("dev"), "test": report_of("test")}
    if not stops:
        check(reports, guard=Guard(), paths=PATHS, max_rejected=allowed)
        return
    with pytest.raises(YoyakError, match=f"{rejected} rows cannot be used") as error:
        check(reports, guard=Guard(), paths=PATHS, max_rejected=allowed)
    assert f"preprocess.max_rejected allows {allowed}" in str(error.value)
    assert "d/train.csv: line 0: f0: no_speaker" in str(error.value)


def test_rejects_of_all_splits_count_together() -> None:
    reports = {"train": report_of("train", rejected=1), "dev": report_of("dev", rejected=1)}
    with pytest.raises(YoyakError, match="2 rows"):
        check(reports, guard=Guard(), paths=PATHS, max_rejected=1)


def test_a_row_of_test_is_never_left_out() -> None:
    with pytest.raises(YoyakError, match=r"may not be missing from a submission[^$]*d/test\.csv: line 0: f0"):
        check({"test": report_of("test", rejected=1)}, guard=Guard(), paths=PATHS, max_rejected=100)


def test_many_rejects_are_not_all_printed() -> None:
    with pytest.raises(YoyakError, match="and 30 more") as error:
        check({"train": report_of("train", rejected=50)}, guard=Guard(), paths=PATHS, max_rejected=0)
    assert len(str(error.value).splitlines()) == 22


def test_leaks_and_empty_splits_stop() -> None:
    with pytest.raises(YoyakError, match="1 dialogues stand in two splits") as error:
        guard = Guard()
        guard.add("train", "b", TALK)
        guard.add("dev", "a", TALK)
        check({"train": report_of("train")}, guard=guard, paths=PATHS, max_rejected=9)
    assert "dev a is the dialogue of train b" in str(error.value)
    with pytest.raises(YoyakError, match=r"d/dev\.csv: no row is left"):
        check({"dev": report_of("dev", out=0, rejected=1)}, guard=Guard(), paths=PATHS, max_rejected=1)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with params.yaml and three rows a split, as the working folder."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("dir: data/sample", "dir: raw")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    for split in PATHS:
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
    monkeypatch.setattr("yoyak.data.cleaning.CHUNK_ROWS", 7)
    table = [Row(at + 2, {"fname": f"t{at}", "dialogue": f"#Person1#: {at}번 ㅋㅋ", "summary": "요약"}) for at in range(100)]
    table[33][1]["dialogue"] = "no dialogue"
    found = []
    for processes in (1, 2):
        report = Report()
        rows = clean_rows(
            table,
            path=Path("train.csv"),
            split="train",
            noise="moderate",
            person_tags="keep_original",
            guard=Guard(),
            report=report,
            processes=processes,
        )
        found.append((list(rows), report.counts(), [reject["line"] for reject in report.rejects]))
    assert found[0] == found[1]
    assert found[0][2] == [35]


def test_stage_writes_all_files_and_the_same_twice(project: Path) -> None:
    run_stage()
    first = written(project)
    assert set(first) == {
        *(f"out/processed/{split}.jsonl" for split in PATHS),
        "out/rejects.jsonl",
        "metrics/preprocess.json",
    }
    assert first["out/rejects.jsonl"] == b""
    rows = {split: [json.loads(line) for line in first[f"out/processed/{split}.jsonl"].splitlines()] for split in PATHS}
    assert [row["fname"] for row in rows["test"]] == ["test_0", "test_1", "test_2"]
    assert all("summary" not in row for row in rows["test"])
    assert json.loads(first["metrics/preprocess.json"])["dev"] == {"rows_in": 3, "rows_out": 3, "changed": {}, "rejected": {}}
    run_stage()
    assert written(project) == first


def test_stage_leaves_out_what_max_rejected_allows_and_names_it(project: Path) -> None:
    with open(project / "raw" / "dev.csv", "a", encoding="utf-8") as file:
        file.write("dev_x,말만 있다,요약은 있다.,잡담\n")
    with pytest.raises(YoyakError, match="dev_x: no_speaker"):
        run_stage()
    assert set(written(project)) == {"out/rejects.jsonl"}
    params = project / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("max_rejected: 0", "max_rejected: 1"), encoding="utf-8")
    run_stage()
    (reject,) = [json.loads(line) for line in written(project)["out/rejects.jsonl"].splitlines()]
    assert (reject["split"], reject["line"], reject["reason"], reject["cells"]["fname"]) == ("dev", 11, "no_speaker", "dev_x")
    assert b"dev_x" not in written(project)["out/processed/dev.jsonl"]
    assert json.loads(written(project)["metrics/preprocess.json"])["dev"]["rejected"] == {"no_speaker": 1}


def test_stage_warns_of_a_last_line_without_an_end(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_stage()
    assert "WARNING" not in capsys.readouterr().out
    path = project / "raw" / "train.csv"
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    run_stage()
    out = capsys.readouterr().out
    assert out.count("WARNING: raw/train.csv: the last line has no end; was the file cut off?\n") == out.count("WARNING") == 1
    assert "raw/train.csv: 3 rows, 3 kept" in out


def test_a_name_that_a_terminal_would_obey_is_shown_harmless(project: Path) -> None:
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
    with pytest.raises(YoyakError, match="stand in two splits"):
        run_stage()
    assert written(project) == first
