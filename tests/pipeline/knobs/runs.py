"""The stages under changed params: each run once, its record, and what differs between two records."""

import contextlib
import copy
import csv
import importlib
import inspect
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import DIALOGUES, ROOT, SUMMARIES, save_csv
from tests.pipeline.knobs import FAMILIES, STAGES, Record
from tests.pipeline.knobs.spies import (
    fake_paraphrases,
    spy_on_chance,
    spy_on_loading,
    spy_on_objectives,
    spy_on_pretraining,
    spy_on_training,
    spy_on_writing,
)
from tests.pipeline.knobs.table import BASE
from yoyak.config.params import parse_params
from yoyak.config.yaml_files import read_yaml
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, read_jsonl


def cells(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tokenized(folder: Path, tokenizer: Any) -> Record:
    import datasets

    splits = {name: split.to_list() for name, split in datasets.load_from_disk(str(folder)).items()}
    targets = [[id_ for id_ in row["labels"] if id_ != -100] for row in (*splits["train"], *splits["dev"])]
    return {
        "rows": splits,
        "counts": {name: len(rows) for name, rows in splits.items()},
        "longest": max(len(row["input_ids"]) for row in splits["test"]),
        "longest_target": max(map(len, targets)),
        "texts": {"test": tokenizer.batch_decode([row["input_ids"] for row in splits["test"]])},
    }


def outputs_of(stage: str, folder: Path, tokenizer: Any) -> Record:
    """Read the rows and texts of a stage, and its metrics without those that repeat params."""
    if stage == "preprocess":
        return {"rows": {split: list(read_jsonl(folder / f"output/{split}.jsonl")) for split in ("train", "dev", "test")}}
    if stage == "augment":
        report = read_json(folder / "metrics")
        rows = list(read_jsonl(folder / "output/train.jsonl")) if report["added"] else []
        dropped = sum(len(row["details"].get("dropped", [])) for row in rows)
        return {"rows": rows, "report": report, "dropped": dropped}
    if stage == "tokenize":
        return tokenized(folder / "output", tokenizer)
    if stage == "predict" and (folder / "output/dev.csv").is_file():
        metrics = {name: value for name, value in read_json(folder / "metrics").items() if name not in {"decoding", "topic"}}
        return {"texts": {name: cells(folder / f"output/{name}.csv") for name in ("dev", "test")}, "metrics": metrics}
    if stage == "score":
        scores = {name: value for name, value in read_json(folder / "scores").items() if name not in {"signature", "pruned"}}
        return {"scores": scores, "rows": cells(folder / "per_dialogue.csv")}
    return {}


@contextlib.contextmanager
def spied(record: Record, folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """Set all spies, and restore the environment afterwards."""
    variables = dict(os.environ)
    try:
        with pytest.MonkeyPatch.context() as patch:
            spy_on_loading(patch, record, folder)
            spy_on_chance(patch, record)
            spy_on_writing(patch, record)
            spy_on_training(patch, record)
            spy_on_objectives(patch, record)
            spy_on_pretraining(patch, record)
            fake_paraphrases(patch)
            yield patch
    finally:
        os.environ.clear()
        os.environ.update(variables)


def set_value(values: dict[str, Any], name: str, value: Any) -> None:
    *sections, key = name.split(".")
    for section in sections:
        values = values[section]
    assert key in values, f"{name}: no such key"
    values[key] = value


class Runs:
    """The records of the stages under changed params, each made once. Later stages read what the base params gave."""

    def __init__(self, folder: Path, tokenizers: dict[str, Any]) -> None:
        self.folder, self.tokenizers = folder, tokenizers
        self.records: dict[str, Record] = {}
        self.values = read_yaml(ROOT / "params.yaml")

    def folder_of(self, stage: str, family: str) -> Path:
        """Return the folder of a stage's run with the base params."""
        self.record(stage, family, {})
        return self.folder / "runs" / f"{stage}-{family}"

    def record(self, stage: str, family: str, changes: dict[str, Any]) -> Record:
        name = json.dumps([stage, family, changes], sort_keys=True)
        if name not in self.records:
            folder = self.folder / "runs" / (f"{stage}-{family}-{len(self.records)}" if changes else f"{stage}-{family}")
            self.records[name] = self.run(stage, family, changes, folder)
        return copy.deepcopy(self.records[name])

    def run(self, stage: str, family: str, changes: dict[str, Any], folder: Path) -> Record:
        """Run a stage's own main in `folder`, and return its record, in which paths are below HERE."""
        from ruamel.yaml import YAML

        values = copy.deepcopy(self.values)
        assert isinstance(values, dict)
        for name, value in {**BASE, "model.family": family, **changes}.items():
            set_value(values, name, str(self.folder) + value[4:] if isinstance(value, str) and value[:4] == "HERE" else value)
        parse_params(values, source="this test")
        paths: dict[str, Any] = self.inputs(stage, family) | {
            "output": folder / "output",
            "rejects": folder / "rejects",
            "metrics": folder / "metrics",
            "checkpoints": folder / "checkpoints",
            **({} if stage == "gate" else {"scores": folder / "scores"}),
            "summary": folder / "summary.json",
            "reasons": folder / "gates.txt",
            "per_dialogue": folder / "per_dialogue.csv",
        }
        folder.mkdir(parents=True)
        with open(folder / "params.yaml", "w", encoding="utf-8") as file:
            YAML().dump(values, file)
        tokenizer = self.tokenizers[values["model"]["family"]]
        record: Record = {"stage": stage, "latin": tokenizer.convert_tokens_to_ids(["A", "z"])}
        main = importlib.import_module(f"stages.{stage}_{family}" if stage == "train" else f"stages.{stage}").main
        with spied(record, self.folder) as patch, contextlib.chdir(folder):
            patch.delenv("YOYAK_TRIAL", raising=False)
            try:
                main(**{name: paths[name] for name in inspect.signature(main).parameters if name in paths})
            except YoyakError as error:
                record["error"] = str(error)
        del record["stage"], record["latin"]
        if stage == "gate":  # they are written before the stage fails
            record["reasons"] = paths["reasons"].read_text(encoding="utf-8")
        if "error" not in record:
            record |= outputs_of(stage, folder, tokenizer)
        text = json.dumps(record, ensure_ascii=False).replace(str(folder), "RUN").replace(str(self.folder), "HERE")
        text = re.sub(r'[^"]*/converted-\w+', "CONVERTED", text)  # a temporary folder
        return dict(json.loads(text))

    def inputs(self, stage: str, family: str) -> dict[str, Any]:
        """Return the inputs of a stage by the names of its main's parameters."""
        if stage == "preprocess":
            return {}
        processed = {"processed": self.folder_of("preprocess", "kobart") / "output"}
        if stage in ("augment", "pretrain"):
            return processed
        processed["augmented"] = self.folder_of("augment", "kobart") / "output"
        if stage == "tokenize":
            return processed
        if stage == "train":
            return processed | {"tokenized": self.folder_of("tokenize", family) / "output"}
        if stage == "predict":
            models = self.folder / "models"
            models.mkdir(exist_ok=True)
            for name in FAMILIES:
                if not (models / name).exists():
                    (models / name).symlink_to(self.folder_of("train", name) / "output")
            return processed | {"models": models}
        predicted = self.folder_of("predict", family)
        if stage == "gate":
            link = self.folder / "trained" / family
            if not link.exists():
                link.parent.mkdir(exist_ok=True)
                link.symlink_to(self.folder_of("train", family) / "metrics")
            scores = self.folder_of("score", "kobart") / "scores"
            return {"scores": scores, "predict_metrics": predicted / "metrics", "trained": (link,)}
        return processed | {"predictions": predicted / "output", "predict_metrics": predicted / "metrics"}

    def all(self, stages: Sequence[str], family: str, changes: dict[str, Any]) -> Record:
        return {stage: self.record(stage, family, changes) for stage in stages}


def rows(split: str, count: int, mark: str) -> list[dict[str, str]]:
    """Return different dialogues; the first is longer than every limit, the second laughs."""
    dialogues = []
    for index in range(count):
        said = "\n".join(DIALOGUES) if index == 0 else DIALOGUES[index % 8]
        laughed = "ㅋㅋㅋㅋ " if index == 1 else ""
        dialogues.append(
            {
                "fname": f"{split}_{index}",
                "dialogue": f"{said}\n#Person1#: {laughed}{mark} {split} {index}번.",
                "summary": SUMMARIES[index % 8],
                "topic": f"화제 {index}",
            }
        )
    return dialogues


def save_rows(folder: Path, *, mark: str) -> None:
    """Save train with a row that preprocess rejects, dev with a second reference, and test without references."""
    train, dev, test = rows("train", 52, mark), rows("dev", 12, mark), rows("test", 4, mark)
    save_csv(folder / "train.csv", [*train, train[0] | {"fname": "train_bad", "dialogue": " "}])
    save_csv(folder / "dev.csv", [row | {"summary2": SUMMARIES[(index + 3) % 8]} for index, row in enumerate(dev)])
    save_csv(folder / "test.csv", [{name: row[name] for name in ("fname", "dialogue", "topic")} for row in test])


def save_llama(folder: Path, tokenizer: Any) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def readers(key: str, family: str) -> list[str]:
    """Return the stages that read a key according to dvc.yaml; `train` is the training stage of the family."""
    from ruamel.yaml import YAML

    stages = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    section = key.partition(".")[0]
    return [stage for stage in STAGES if section in stages[f"train_{family}" if stage == "train" else stage]["params"]]


def value_at(record: Any, path: str) -> Any:
    """Return the value in a place of a record ("train.batches.0.input_ids"), or None."""
    for name in path.split("."):
        if isinstance(record, list):
            record = record[int(name)] if int(name) < len(record) else None
        else:
            record = record.get(name) if isinstance(record, dict) else None
    return record


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Return the places where two records differ, with both values."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            line
            for name in sorted({*one, *other})
            for line in differences(one.get(name), other.get(name), f"{path}.{name}" if path else name)
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            line for index, pair in enumerate(zip(one, other, strict=True)) for line in differences(*pair, f"{path}.{index}")
        ]
    return [] if json.dumps(one) == json.dumps(other) else [f"{path}: {str(one)[:200]} | {str(other)[:200]}"]
