"""Sequence-level distillation: a teacher's summaries beside those of train, or in their place."""

import json
import shutil
from pathlib import Path
from typing import Any

from tests.augmentation.model_helpers import TRAIN, workspace
from tests.augmentation.test_pseudo_label import FakeTeacher
from yoyak.augmentation.methods.relabel import Relabel
from yoyak.augmentation.run import Augmentation
from yoyak.augmentation.teacher import Teacher
from yoyak.data.pair_encoding import encode_pairs
from yoyak.data.tokenized_data import encode_files, load_tokenized
from yoyak.inference.outputs import Output
from yoyak.models.tokenizer_loading import load_tokenizer
from yoyak.system.kept_values import KeptValues
from yoyak.system.text_files import write_jsonl

NEW = Output("#Person1#은 이야기를 새로 요약합니다.", hit_limit=False)


def augmentation(values: dict[str, Any], tmp_path: Path, dev: list[Any], **settings: Any) -> tuple[Augmentation, FakeTeacher]:
    """An augmentation by relabel alone, whose teacher writes NEW, but nothing for the second row."""
    place = workspace(values, tmp_path, relabel={"rate": 1.0, "originals": "replace"} | settings)
    built = Augmentation.build(["relabel"], place, dev)
    teacher = FakeTeacher(values, {row["dialogue"]: NEW for row in TRAIN} | {TRAIN[1]["dialogue"]: Output("", hit_limit=False)})
    (method,) = built.methods
    assert isinstance(method, Relabel)
    method.teacher = teacher  # type: ignore[assignment]
    return built, teacher


def test_new_summaries_take_the_place_of_those_of_train(values: dict[str, Any], tmp_path: Path) -> None:
    built, teacher = augmentation(values, tmp_path, [])
    rows = list(built.rows(TRAIN))
    sources = [row["fname"] for place, row in enumerate(TRAIN) if place != 1]
    assert [row["source"] for row in rows] == sources == built.replaced, "the row with an empty summary stays as it is"
    assert [row["dialogue"] for row in rows] == [row["dialogue"] for row in TRAIN if row["fname"] in sources]
    assert {row["summary"] for row in rows} == {NEW.text} and rows[0]["fname"] == f"{sources[0]}+relabel"
    assert len(teacher.read) == len(TRAIN)
    report = built.report()
    assert report["replaced"] == len(sources) and report["methods"]["relabel"]["rejected"] == {"empty_summary": 1}


def test_new_summaries_can_stand_beside_them(values: dict[str, Any], tmp_path: Path) -> None:
    built, _ = augmentation(values, tmp_path, [], originals="keep")
    assert list(built.rows(TRAIN)) and built.replaced == [] and "replaced" not in built.report()


def test_dialogues_of_dev_and_test_get_no_summary(values: dict[str, Any], tmp_path: Path) -> None:
    built, _ = augmentation(values, tmp_path, [TRAIN[0]])
    assert TRAIN[0]["fname"] not in [row["source"] for row in built.rows(TRAIN)] + built.replaced


def test_tokenize_leaves_out_what_is_replaced(tiny: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    from yoyak.config.sections import Tokenizer

    tokenizer = load_tokenizer(str(tiny), None, ())
    lengths = Tokenizer.model_validate(values["tokenizer"])

    def encode(batch: Any) -> Any:
        return encode_pairs(batch, tokenizer=tokenizer, lengths=lengths)

    write_jsonl(tmp_path / "train.jsonl", TRAIN)
    write_jsonl(tmp_path / "replaced.jsonl", [{"fname": TRAIN[0]["fname"]}])
    write_jsonl(tmp_path / "added.jsonl", [dict(TRAIN[0]) | {"fname": "new", "summary": NEW.text}])
    report = encode_files(
        {"train": tmp_path / "train.jsonl"},
        tmp_path / "out",
        {"train": encode},
        workers=1,
        added=tmp_path / "added.jsonl",
        replaced=tmp_path / "replaced.jsonl",
    )
    names = load_tokenized(tmp_path / "out")["train"]["fname"]
    assert list(names) == [row["fname"] for row in TRAIN[1:]] + ["new"]
    assert report["train"]["rows"] == len(TRAIN) and report["train"]["replaced"] == 1


def test_an_ensemble_of_several_models_is_told_from_another(tiny: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    """Its weights are in folders below, and kept summaries of another ensemble must not be taken for its own."""
    from yoyak.config.model_settings import ModelSettings

    folder = tmp_path / "teacher"
    shutil.copytree(tiny, folder / "members/1")
    ModelSettings(
        format=1, family="kobart", preprocess=values["preprocess"], tokenizer=values["tokenizer"], prompt=None,
        names_topic=None, clean_up=None, input=None,
    ).write(folder)  # fmt: skip
    (folder / "ensemble.json").write_text(json.dumps({"method": "average_probabilities"}), encoding="utf-8")
    before = Teacher(folder, KeptValues(tmp_path / "kept")).fingerprint
    assert before
    with open(folder / "members/1/model.safetensors", "ab") as file:
        file.write(b"x")
    assert Teacher(folder, KeptValues(tmp_path / "kept")).fingerprint != before
