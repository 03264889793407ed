"""The augmentation of a split: order, names, counts, and the guard of dev and test."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stages import augment
from tests.augmentation.model_helpers import TRAIN
from tests.augmentation.runs import ELSEWHERE, augmentation, filters, made, workspace
from tests.conftest import ROOT
from yoyak.augmentation.base import Candidate, Method, Refusal, Row, Task
from yoyak.augmentation.lookup import build_methods, chosen_methods
from yoyak.augmentation.methods import METHODS
from yoyak.augmentation.run import Augmentation
from yoyak.data.person_tags import PersonTags, replace_person_tags
from yoyak.system.atomic import atomic_folder
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, read_jsonl, write_jsonl

ON = ("augment.speaker_swap.rate=1", "augment.noise.rate=2", "augment.noise.punctuation=0.5")


class Echo(Method):
    """Takes rows of its own choice, and gives candidates of its own choice."""

    name = "noise"
    filters = ()
    rows: Sequence[Row] = TRAIN
    results: Sequence[Candidate | Refusal] = ()

    def tasks(self, train: Sequence[Row]) -> list[Task]:
        return [Task((row,)) for row in self.rows]

    def write(self, tasks: Sequence[Task]) -> list[Candidate | Refusal]:
        return [self.results[index] for index in range(len(tasks))]


def echo(rows: Sequence[Row], results: Sequence[Candidate | Refusal]) -> Augmentation:
    place = workspace()
    method = Echo(place.params.augment.noise, place)
    method.rows, method.results = rows, results
    return Augmentation([method], filters(), person_tags="keep_original")


def test_rows_follow_the_methods_and_the_rows_of_train() -> None:
    rows = made(*ON)
    order = [(METHODS.index(row["method"]), int(row["source"].split("_")[1])) for row in rows]
    assert order == sorted(order) and len({row["fname"] for row in rows}) == len(rows)
    assert {"train_1+speaker_swap", "train_1+noise", "train_1+noise-2"} <= {row["fname"] for row in rows}
    assert set(rows[0]) == {"fname", "dialogue", "summary", "topic", "source", "method", "filters", "details"}
    assert made(*ON) == rows


def test_every_task_is_kept_or_counted_with_its_reason() -> None:
    run = augmentation(*ON, "augment.turn_dropout.rate=1")
    rows = list(run.rows(TRAIN))
    report = run.report()
    assert report["added"] == len(rows)
    assert list(report["methods"]) == ["speaker_swap", "noise", "turn_dropout"]
    for name, counts in report["methods"].items():
        assert counts["tried"] == counts["kept"] + sum(counts["rejected"].values())
        assert counts["kept"] == sum(row["method"] == name for row in rows)
    assert report["methods"]["noise"]["tried"] == 16
    assert report["methods"]["turn_dropout"]["rejected"]["nothing_to_drop"] > 0


def test_a_row_that_was_made_before_is_counted_and_left_out() -> None:
    new = Candidate("#Person1#: 새 대화야.\n#Person2#: 그래.", "새롭습니다.")
    run = echo(TRAIN[:3], [new, new, Refusal("one_speaker")])
    assert len(list(run.rows(TRAIN))) == 1
    assert run.counts["noise"].rejected == {"repeated": 1, "one_speaker": 1}


def test_a_source_must_be_a_row_of_train() -> None:
    stranger = {**TRAIN[0], "fname": "dev_7"}
    with pytest.raises(YoyakError, match=r"^augment\.noise: its source dev_7 is not a row of train"):
        list(echo([stranger], [Refusal("x")]).rows(TRAIN))


def test_a_name_that_train_has_is_an_error() -> None:
    taken = [*TRAIN, {**TRAIN[0], "fname": "train_0+speaker_swap"}]
    with pytest.raises(YoyakError, match=r"train_0\+speaker_swap exists already"):
        made("augment.speaker_swap.rate=1", train=taken)


def test_rows_like_dev_or_test_are_never_added() -> None:
    """Neither equal, nor with other speakers, nor with noise."""
    run = augmentation(*ON, evaluation=[*ELSEWHERE, TRAIN[3]])
    rows = list(run.rows(TRAIN))
    assert not [row for row in rows if row["source"] == "train_3"]
    assert run.counts["speaker_swap"].rejected == {"near_duplicate": 1}
    assert run.counts["noise"].rejected["near_duplicate"] == 2


@pytest.mark.parametrize(("strategy", "written"), [("simplify", "P2: "), ("abstract", "화자2: ")])
def test_tags_have_the_form_that_preprocess_gave_them(strategy: PersonTags, written: str) -> None:
    train = [{**row, **{kind: replace_person_tags(row[kind], strategy) for kind in ("dialogue", "summary")}} for row in TRAIN]
    plain = made("augment.speaker_swap.rate=1")
    rows = made("augment.speaker_swap.rate=1", f"preprocess.person_tags={strategy}", train=train)
    assert rows[0]["dialogue"].startswith(written) and "#Person" not in rows[0]["dialogue"] + rows[0]["summary"]
    assert [row["dialogue"] for row in rows] == [replace_person_tags(row["dialogue"], strategy) for row in plain]


def test_methods_without_effect_on_the_family_are_left_out() -> None:
    def chosen(*changes: str) -> tuple[list[str], list[str]]:
        return chosen_methods(workspace("augment.templates.rate=4", "augment.noise.rate=1", *changes).params)

    names, (note,) = chosen()
    assert names == ["noise"] and note == "templates: nothing to do, it has no effect on the family kobart"
    assert chosen("model.family=qlora") == (["noise", "templates"], [])
    names, (note,) = chosen("model.family=endpoint")
    assert names == [] and "the family endpoint is not trained" in note


def test_every_method_is_a_file_with_a_section() -> None:
    place = workspace()
    for method in build_methods(list(METHODS), place):
        assert (ROOT / f"src/yoyak/augmentation/methods/{method.name}.py").is_file()
        assert method.settings is getattr(place.params.augment, method.name) and method.settings.rate == 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with processed rows, in which the stage can run."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    with atomic_folder(tmp_path / "processed") as processed:
        write_jsonl(processed / "train.jsonl", TRAIN)
        for split in ("dev", "test"):
            write_jsonl(processed / f"{split}.jsonl", [{"fname": split, **ELSEWHERE[0]}])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_stage(folder: Path, *switched_on: str) -> tuple[bytes, Any]:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    for name in switched_on:
        before, section, after = text.partition(f"\n  {name}: # ")  # preprocess.noise has a value there
        text = before + section + after.replace("rate: 0", "rate: 1", 1)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    augment.main(folder / "processed", folder / "augmented", folder / "augment.json")
    return (folder / "augmented/train.jsonl").read_bytes(), read_json(folder / "augment.json")


def test_the_stage_without_methods_adds_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stage(folder) == (b"", {"added": 0})
    assert capsys.readouterr().out.startswith("augment: nothing to do, the rate of each method is 0")


def test_the_stage_writes_the_rows_and_counts_them(folder: Path) -> None:
    _, report = run_stage(folder, "speaker_swap", "noise")
    rows = list(read_jsonl(folder / "augmented/train.jsonl"))
    assert report["added"] == len(rows) > 8
    assert {row["method"] for row in rows} == {"speaker_swap", "noise"}


def test_a_stage_that_was_killed_gives_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method that keeps its results does not make them again."""
    from yoyak.augmentation.methods import noise

    calls: list[str] = []

    class Slow(noise.Noise):
        batch_size = 2

        def write(self, tasks: Sequence[Task]) -> list[Candidate | Refusal]:
            kept = self.workspace.kept("slow")
            results = []
            for task in tasks:
                key = [task.fname(self.name), task.source["dialogue"]]
                if (answer := kept.get(key)) is None:
                    if len(calls) == kill_after:
                        raise KeyboardInterrupt
                    calls.append(task.source["fname"])
                    (new,) = super().write([task])
                    assert isinstance(new, Candidate)
                    kept.put(key, answer := new.dialogue)
                results.append(Candidate(answer, task.source["summary"], task.source["topic"]))
            return list[Candidate | Refusal](results)

    monkeypatch.setenv("YOYAK_CHECKPOINTS", str(folder / "kept"))
    monkeypatch.setattr(noise, "METHOD", Slow)
    kill_after = 5
    with pytest.raises(KeyboardInterrupt):
        run_stage(folder, "noise")
    assert not (folder / "augmented").exists()
    with open(folder / "kept/augment/slow.jsonl", "ab") as file:
        file.write(b"half a li")
    kill_after = 99
    resumed = run_stage(folder, "noise")
    assert calls == [row["fname"] for row in TRAIN], "each row once"
    (folder / "kept/augment/slow.jsonl").unlink()
    assert run_stage(folder, "noise") == resumed
    assert json.loads(resumed[0].splitlines()[0])["method"] == "noise"
