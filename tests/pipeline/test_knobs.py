"""No dead knobs: every key of params.yaml changes what the libraries are really called with, in both families.

The stages run as they are, on a few rows and tiny random models, with spies at the entrances of transformers, peft, accelerate,
torch, numpy and DVCLive. What a stage's spies saw, with the rows and texts that it wrote, is its record. Nothing in a record
repeats params.yaml as yoyak read it (as a score's signature would): a difference is one in what was done.

dvc.yaml says which stages read a key (test_stages.py holds it to that): those run, on what the base params gave before them.
preprocess and score read nothing of the family.
"""

import contextlib
import copy
import csv
import hashlib
import importlib
import inspect
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import DIALOGUES, ROOT, SUMMARIES, save_csv
from yoyak.config.params import leaf_keys, parse_params
from yoyak.config.yaml_files import read_yaml
from yoyak.data.dialogue import LISTED_TAGS
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, read_jsonl

Record = dict[str, Any]
FAMILIES = ("kobart", "qlora")
OTHER = {"kobart": "qlora", "qlora": "kobart"}
STAGES = ("preprocess", "tokenize", "train", "predict", "score")
LEARNED = ("tokenize", "train")  # without predict, which refuses an adapter that was trained on another base

# params.yaml made small. Rows: 52 train (debug takes 50), 12 dev (debug takes 10), 4 test; the first of each is long.
BASE: dict[str, Any] = {
    "data.dir": "HERE/csv",
    "preprocess.max_rejected": 1,
    "model.kobart.checkpoint": "HERE/bases/kobart",
    "model.qlora.checkpoint": "HERE/bases/qlora",
    "tokenizer.max_input_length": 240,
    "tokenizer.max_target_length": 8,
    "training.num_train_epochs": 2,
    "training.per_device_train_batch_size": 16,
    "training.precision": "float32",
    "training.logging_steps": 1,
    "generation.max_new_tokens": 12,
    "generation.num_beams": 1,
    "generation.batch_size": 3,
    "generation.backend": "transformers",  # shows what is done with the logits
    "generation.postprocess": "never",
    "score.bootstrap_samples": 100,
    "hardware.cpu_threads": 1,
}


PLACES = {"output_dir", "logging_dir", "run_name"}  # of TrainingArguments; they may be named after all that is read


def up_to(most: int) -> Callable[[Any], bool]:
    return lambda found: isinstance(found, int) and found <= most


def holds(part: Any) -> Callable[[Any], bool]:
    return lambda found: isinstance(found, str | list) and part in found


def without(part: Any) -> Callable[[Any], bool]:
    return lambda found: isinstance(found, list) and part not in found


def ends(found: Any) -> bool:
    return isinstance(found, str) and found[-1:] in {".", "!", "?"}


def fits(found: Any, expected: Any) -> bool:
    """Whether that is the value expected, or what a function says yes to."""
    return bool(expected(found) if callable(expected) else found == expected)


@dataclass(frozen=True)
class Knob:
    """Another value for a key, and what stands in which place of the record then (None: that place is not there)."""

    value: Any
    shows: dict[str, Any]
    base: dict[str, Any] = field(default_factory=dict)  # what else must be set for the key to act
    stages: Sequence[str] = STAGES  # of those that read it


def checkpoint_knobs(family: str) -> dict[str, Knob]:
    """Another hub name and another revision of it (a spy puts a folder in its place)."""
    hub = {f"model.{family}.checkpoint": f"hub/{family}", f"model.{family}.revision": "a1"}
    classes = ("AutoTokenizer", "AutoConfig", "AutoModelForSeq2SeqLM" if family == "kobart" else "AutoModelForCausalLM")
    loaded = [f"train.loaded.{name}.0" for name in classes] + ["tokenize.loaded.AutoTokenizer.0"]
    return {
        f"model.{family}.checkpoint": Knob(
            f"hub/{family}-2",
            {f"{place}.pretrained_model_name_or_path": f"hub/{family}-2" for place in loaded},
            base=hub,
            stages=LEARNED,
        ),
        f"model.{family}.revision": Knob(
            "b2",
            {f"{place}.revision": "b2" for place in (*loaded, "tokenize.loaded.AutoConfig.0")},
            base=hub,
            stages=LEARNED,
        ),
    }


LR = 1e-3
CAUSAL = "train.loaded.AutoModelForCausalLM.0"
COSINE = {"training.lr_scheduler_type": "cosine"}
SAMPLES = {"generation.do_sample": True}
BEAMS = {"generation.num_beams": 2}
GENERATES = "predict.generate.0.config"
PROCESSES = "predict.generate.0.processors"


def table(family: str) -> dict[str, Knob]:
    """An entry for each key of params.yaml."""
    return {
        "data.dir": Knob("HERE/csv-2", {"preprocess.rows.train.0.dialogue": holds("다른 자료")}),
        "preprocess.noise": Knob("minimal", {"preprocess.rows.train.1.dialogue": holds("ㅋㅋ")}),
        "preprocess.person_tags": Knob("simplify", {"preprocess.rows.train.1.dialogue": holds("P1: ")}),
        "preprocess.max_rejected": Knob(0, {"preprocess.error": holds("max_rejected allows 0")}),
        "model.family": Knob(
            OTHER[family],
            {"train": {}, "predict.loaded.AutoTokenizer.0.pretrained_model_name_or_path": f"HERE/models/{OTHER[family]}"},
        ),
        **checkpoint_knobs("kobart"),
        **checkpoint_knobs("qlora"),
        "model.qlora.quantization": Knob(
            "int8",
            {f"{CAUSAL}.quantization_config.load_in_8bit": True, "train.layers": ["Linear8bitLt"]},
        ),
        "model.qlora.double_quantization": Knob(
            False, {f"{CAUSAL}.quantization_config.bnb_4bit_use_double_quant": False, "train.nested": [False]}
        ),
        "model.qlora.attention": Knob("eager", {f"{CAUSAL}.attn_implementation": "eager", "train.attention": "eager"}),
        "model.qlora.padding_free": Knob("always", {"train.batches.0.attention_mask": None, "train.batches.0.input_ids.0": 1}),
        "model.qlora.offload_folder": Knob(
            "HERE/offload",
            {
                f"{CAUSAL}.offload_folder": "HERE/offload",
                f"{CAUSAL}.device_map": "auto",
                f"{CAUSAL}.quantization_config.llm_int8_enable_fp32_cpu_offload": True,
                "predict.loaded.AutoModelForCausalLM.0.offload_folder": "HERE/offload",
            },
        ),
        "tokenizer.max_input_length": Knob(
            200, {"tokenize.longest": up_to(200), **{f"predict.generate.{at}.inputs.1": up_to(200) for at in (0, 4)}}
        ),
        "tokenizer.max_target_length": Knob(
            6, {"tokenize.longest_target": 6, "train.generate.0.config.max_new_tokens": 6, "train.generate.0.stop_after": 6}
        ),
        "tokenizer.special_tokens": Knob(
            [*LISTED_TAGS, "#Extra#"],
            {
                "tokenize.added_tokens": holds([*LISTED_TAGS, "#Extra#"]),
                "train.added_tokens": holds([*LISTED_TAGS, "#Extra#"]),
                "train.tokens": holds("#Extra#"),
            },
        ),
        "prompt.style": Knob("plain", {"tokenize.texts.test.1": holds("다음 대화를 요약해주세요:")}),
        "prompt.system": Knob("짧게.", {"tokenize.texts.test.1": holds("짧게.")}),
        "prompt.topic": Knob("never", {"tokenize.texts.test.1": holds("위 대화 주제에 대한")}),
        "prompt.augmentation": Knob("templates", {"tokenize.counts": {"train": 5 * 52, "dev": 12, "test": 4}}),
        **training_knobs(),
        "lora.r": Knob(4, {"train.lora.config.r": 4, "train.lora.r": [4]}),
        "lora.lora_alpha": Knob(12, {"train.lora.config.lora_alpha": 12, "train.lora.scaling": [3.0]}),  # over lora.r, 4
        "lora.lora_dropout": Knob(0.25, {"train.lora.config.lora_dropout": 0.25, "train.lora.dropout": [0.25]}),
        **generation_knobs(family),
        "score.references": Knob("max", {}),  # its numbers are in test_scoring.py
        "score.bootstrap_samples": Knob(130, {"score.drawn.0.draws": 130}),
        "score.seed": Knob(7, {"score.drawn.0.seed": 7}),
        "hardware.cpu_threads": Knob(3, {"train.threads": [3], "predict.threads": [3]}),
        "search.pruned": Knob(
            "too slow",
            {"train": {}, **{f"predict.{x}": None for x in ("loaded", "generate")}, "score.drawn": None},
        ),
    }


def training_knobs() -> dict[str, Knob]:
    """In the base, 4 steps an epoch, 8 in all."""
    steps = [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25]
    groups = "train.optimizer.groups.0"
    knobs = {
        "num_train_epochs": Knob(1, {"train.args.num_train_epochs": 1, "train.steps_and_batches": [7, 7]}),
        "per_device_train_batch_size": Knob(8, {"train.batches.0.input_ids.0": 8, "train.steps_and_batches": [7, 7]}),
        "per_device_eval_batch_size": Knob(
            5, {"train.evaluated.0.input_ids.0": 5, "train.evaluated.2.input_ids.0": 2, "train.generate.2.inputs.0": 2}
        ),
        "gradient_accumulation_steps": Knob(2, {"train.steps_and_batches": [4, 8]}),
        "learning_rate": Knob(2e-4, {f"{groups}.initial_lr": 2e-4}),
        "lr_scheduler_type": Knob("constant", {"train.lrs": pytest.approx([LR] * 8)}),
        "lr_scheduler_kwargs": Knob({"num_cycles": 2}, {"train.scheduler.num_cycles": 2}, base=COSINE),
        "warmup_steps": Knob(4, {"train.lrs": pytest.approx([LR * x for x in steps]), "train.scheduler.num_warmup_steps": 4}),
        "weight_decay": Knob(0.25, {f"{groups}.weight_decay": 0.25}),
        "label_smoothing_factor": Knob(0.3, {"train.label_smoothing": 0.3}),
        "max_grad_norm": Knob(0.7, {"train.clipped": [0.7] * 8}),
        "optim": Knob("adafactor", {"train.optimizer.type": "Adafactor"}),
        "adam_beta1": Knob(0.8, {f"{groups}.betas.0": 0.8}),
        "adam_beta2": Knob(0.9, {f"{groups}.betas.1": 0.9}),
        "adam_epsilon": Knob(1e-5, {f"{groups}.eps": 1e-5}),
        "train_sampling_strategy": Knob("group_by_length", {"train.like_length": True}),
        "gradient_checkpointing": Knob(True, {"train.checkpointing": True}),
        "precision": Knob("bfloat16", {"train.args.bf16": True, "train.autocast": "torch.bfloat16"}),
        "metric_for_best_model": Knob("loss", {"train.best": ["eval_loss"], "train.args.greater_is_better": False}),
        "predict_with_generate": Knob(False, {"train.generate": None}, base={"training.metric_for_best_model": "loss"}),
        "generation_num_beams": Knob(2, {"train.generate.0.config.num_beams": 2}),
        "early_stopping_patience": Knob(1, {"train.callbacks.EarlyStoppingCallback.early_stopping_patience": 1}),
        "save_total_limit": Knob(
            1,
            {"train.most_checkpoints": up_to(2)},
            base={"training.save_steps": 1},
        ),
        "logging_steps": Knob(3, {"train.logged": without(2)}),
        "seed": Knob(7, {"train.seeds.0": 7, "train.args.seed": 7}),
        "debug": Knob(
            True,
            {"train.rows": {"train": 50, "dev": 10}, "train.steps_and_batches": [25, 25], "train.batches.0.input_ids.0": 2},
        ),
        "save_steps": Knob(3, {"train.on_disk": holds(3)}),
        "full_determinism": Knob(True, {"train.args.full_determinism": True, "train.deterministic.0": True}),
    }
    return {f"training.{name}": knob for name, knob in knobs.items()}


def generation_knobs(family: str) -> dict[str, Knob]:
    """Each shows in the GenerationConfig that `generate` has, and most in what is then done with the logits."""
    fewest = "MinNewTokensLengthLogitsProcessor"
    knobs = {
        "max_new_tokens": Knob(14, {f"{GENERATES}.max_new_tokens": 14, "predict.generate.0.stop_after": 14}),
        "min_new_tokens": Knob(3, {f"{GENERATES}.min_new_tokens": 3, f"{PROCESSES}.{fewest}.min_new_tokens": 3}),
        "num_beams": Knob(2, {f"{GENERATES}.num_beams": 2}),
        "do_sample": Knob(True, {f"{GENERATES}.do_sample": True, f"{PROCESSES}.TopKLogitsWarper.top_k": 50}),
        "temperature": Knob(
            0.7, {f"{GENERATES}.temperature": 0.7, f"{PROCESSES}.TemperatureLogitsWarper.temperature": 0.7}, base=SAMPLES
        ),
        "top_p": Knob(0.8, {f"{GENERATES}.top_p": 0.8, f"{PROCESSES}.TopPLogitsWarper.top_p": 0.8}, base=SAMPLES),
        "top_k": Knob(9, {f"{GENERATES}.top_k": 9, f"{PROCESSES}.TopKLogitsWarper.top_k": 9}, base=SAMPLES),
        "repetition_penalty": Knob(
            1.3,
            {
                f"{GENERATES}.repetition_penalty": 1.3,
                f"{PROCESSES}.RepetitionPenaltyLogitsProcessor.penalty": 1.3,
            },
        ),
        "length_penalty": Knob(0.5, {f"{GENERATES}.length_penalty": 0.5}, base=BEAMS),
        "no_repeat_ngram_size": Knob(
            2, {f"{GENERATES}.no_repeat_ngram_size": 2, f"{PROCESSES}.NoRepeatNGramLogitsProcessor.ngram_size": 2}
        ),
        "early_stopping": Knob("never", {f"{GENERATES}.early_stopping": "never"}, base=BEAMS),
        "blocked_scripts": Knob(["latin", "han"], {"predict.generate.0.blocks_latin": True}),
        "seed": Knob(7, {"predict.seeds": holds(7)}, base=SAMPLES),
        "batch_size": Knob(2, {"predict.generate.0.inputs.0": 2}),
        "backend": Knob(
            "ctranslate2-int8",
            {"predict.generate.0.by.compute_type": "int8"} if family == "kobart" else {"predict.generate": None},
        ),
        "postprocess": Knob("always", {"predict.metrics.postprocess.used": True, "predict.texts.test.0.summary": ends}),
    }
    return {f"generation.{name}": knob for name, knob in knobs.items()}


def of_family(key: str) -> str | None:
    """The family that alone reads a key."""
    if key.startswith(("lora.", "prompt.", "model.qlora.")):
        return "qlora"
    return "kobart" if key.startswith("model.kobart.") else None


# The keys that one run changes together, each with effects of its own in the record. A key in no group has a run of its own.
GROUPS: tuple[tuple[str, ...], ...] = (
    ("preprocess.noise", "preprocess.person_tags"),
    ("model.kobart.checkpoint", "model.kobart.revision"),
    ("model.qlora.checkpoint", "model.qlora.revision"),
    ("model.qlora.double_quantization", "model.qlora.attention"),
    ("tokenizer.max_input_length", "tokenizer.max_target_length", "tokenizer.special_tokens", "hardware.cpu_threads"),
    ("prompt.style", "prompt.system"),
    ("prompt.topic", "prompt.augmentation"),
    (
        "training.learning_rate",
        "training.weight_decay",
        "training.label_smoothing_factor",
        "training.max_grad_norm",
        "training.adam_beta1",
        "training.adam_beta2",
        "training.adam_epsilon",
        "training.train_sampling_strategy",
        "training.gradient_checkpointing",
        "training.per_device_eval_batch_size",
        "training.early_stopping_patience",
        "training.save_steps",
        "training.logging_steps",
        "training.seed",
    ),
    (
        "training.lr_scheduler_type",
        "training.optim",
        "training.precision",
        "training.metric_for_best_model",
        "training.generation_num_beams",
        "training.full_determinism",
    ),
    ("training.num_train_epochs", "training.per_device_train_batch_size"),
    ("training.gradient_accumulation_steps", "training.lr_scheduler_kwargs"),
    ("training.warmup_steps", "training.predict_with_generate", "training.save_total_limit"),
    ("lora.r", "lora.lora_alpha", "lora.lora_dropout"),
    (
        "generation.max_new_tokens",
        "generation.min_new_tokens",
        "generation.num_beams",
        "generation.repetition_penalty",
        "generation.no_repeat_ngram_size",
        "generation.blocked_scripts",
        "generation.batch_size",
        "generation.postprocess",
    ),
    ("generation.temperature", "generation.top_p", "generation.top_k", "generation.seed"),
    ("generation.length_penalty", "generation.early_stopping"),
    ("score.bootstrap_samples", "score.seed"),
)
GROUP_OF = {key: group for group in GROUPS for key in group}


def read_by(family: str, key: str) -> bool:
    """Whether a run of this family shows a key. preprocess and score read nothing of the family: kobart's runs show theirs."""
    return of_family(key) in (None, family) and not (family == "qlora" and key.startswith(("data.", "preprocess.", "score.")))


def cases(family: str) -> list[Any]:
    """The groups of keys that a family reads, with all of them together in one pytest-xdist worker."""
    groups = dict.fromkeys(GROUP_OF.get(key, (key,)) for key in leaf_keys() if read_by(family, key))
    marks = pytest.mark.xdist_group(f"knobs-{family}")
    return [pytest.param(family, group, id=f"{family}-{group[0]}", marks=marks) for group in groups]


BY_FAMILY = [pytest.param(family, marks=pytest.mark.xdist_group(f"knobs-{family}")) for family in FAMILIES]


# What the spies note


def plain(value: Any) -> Any:
    """A value as JSON has it; an object as its `to_dict`, or else as the name of its type."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | Path) or type(value).__module__ == "torch":  # its dtypes and devices
        return str(value)
    return plain(value.to_dict()) if hasattr(value, "to_dict") else type(value).__name__


def scalars(thing: Any) -> Record:
    """The attributes of an object that are numbers or texts."""
    return {name: value for name, value in vars(thing).items() if isinstance(value, bool | int | float | str)}


def shown(batch: Mapping[str, Any]) -> Record:
    """Each tensor's shape, and what the inputs are in short."""
    shapes = {name: list(value.shape) if hasattr(value, "shape") else plain(value) for name, value in batch.items()}
    ids = batch["input_ids"].tolist()
    return shapes | {"digest": hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:12]}


def spy_on_loading(patch: pytest.MonkeyPatch, record: Record, folder: Path) -> None:
    """What every `from_pretrained` of the Auto classes gets, and the tokens that are added."""
    import transformers
    from transformers import PreTrainedTokenizerBase

    within: list[str] = []

    def noted(name: str, load: Callable[..., Any]) -> Callable[..., Any]:
        def from_pretrained(pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
            if not within:  # else one class asks another
                given = {"pretrained_model_name_or_path": pretrained_model_name_or_path, **kwargs}
                record.setdefault("loaded", {}).setdefault(name, []).append(plain(given))
            where = str(pretrained_model_name_or_path)
            if where.startswith("hub/"):
                where = str(folder / "bases" / where.removeprefix("hub/"))
                kwargs.pop("revision")
            within.append(name)
            try:
                return load(where, *args, **kwargs)
            finally:
                within.pop()

        return from_pretrained

    for name in ("AutoConfig", "AutoTokenizer", "AutoModelForSeq2SeqLM", "AutoModelForCausalLM"):
        kind = getattr(transformers, name)
        patch.setattr(kind, "from_pretrained", staticmethod(noted(name, kind.from_pretrained)))
    add = PreTrainedTokenizerBase.add_tokens

    def add_tokens(self: Any, tokens: Any, *args: Any, **kwargs: Any) -> Any:
        record.setdefault("added_tokens", []).append([str(token) for token in tokens])
        return add(self, tokens, *args, **kwargs)

    patch.setattr(PreTrainedTokenizerBase, "add_tokens", add_tokens)


def spy_on_chance(patch: pytest.MonkeyPatch, record: Record) -> None:
    """Seeds, and whether torch is told to be deterministic and with how many threads (it is not: that would stay so)."""
    import numpy
    import rouge_score.rouge_scorer  # noqa: F401  (SciPy, which it imports, draws a number of its own)
    import torch

    torch.set_num_threads(1)  # what CTranslate2 changed in an earlier stage was not given back: here nothing sets it
    seed, generator = torch.manual_seed, numpy.random.default_rng

    def manual_seed(value: int) -> Any:
        record.setdefault("seeds", []).append(int(value))
        return seed(value)

    def use_deterministic_algorithms(mode: bool, **kwargs: Any) -> None:
        record.setdefault("deterministic", []).append(mode)

    def set_num_threads(count: int) -> None:
        if count != torch.get_num_threads():  # else it gives back what there was
            record.setdefault("threads", []).append(count)

    def default_rng(value: Any = None) -> Any:
        drawn = {"seed": value, "draws": 0}
        record.setdefault("drawn", []).append(drawn)
        real = generator(value)

        def integers(*args: Any) -> Any:
            drawn["draws"] += 1
            return real.integers(*args)

        return SimpleNamespace(integers=integers)

    patch.setattr(torch, "manual_seed", manual_seed)
    patch.setattr(torch, "use_deterministic_algorithms", use_deterministic_algorithms)
    patch.setattr(torch, "set_num_threads", set_num_threads)
    if record["stage"] == "score":
        patch.setattr(numpy.random, "default_rng", default_rng)


def spy_on_writing(patch: pytest.MonkeyPatch, record: Record) -> None:
    """What `generate` is told and given, and at its first step what is done with the logits and when it is to stop."""
    import ctranslate2
    import torch
    from transformers import GenerationMixin, LogitsProcessorList, StoppingCriteriaList

    write, process, stop = GenerationMixin.generate, LogitsProcessorList.__call__, StoppingCriteriaList.__call__

    def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        config = kwargs.get("generation_config") or self.generation_config
        ids = kwargs["input_ids"]
        record.setdefault("generate", []).append(
            {
                "config": plain(config),
                "inputs": list(ids.shape),
                "digest": shown({"input_ids": ids})["digest"],
                "start": 1 if self.config.is_encoder_decoder else ids.shape[1],
            }
        )
        return write(self, *args, **kwargs)

    def processed(self: Any, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        after = process(self, input_ids, scores, **kwargs)
        last = record["generate"][-1]
        if "processors" not in last:
            last["processors"] = {type(each).__name__: scalars(each) for each in self}
            latin = record["latin"]
            last["blocks_latin"] = bool(torch.isinf(after[:, latin]).all() and torch.isfinite(scores[:, latin]).all())
        return after

    def stopped(self: Any, *args: Any, **kwargs: Any) -> Any:
        last = record["generate"][-1]
        last["stop_after"] = self.max_length - last["start"]
        return stop(self, *args, **kwargs)

    class Translator:
        """Of CTranslate2, and the same of its calls."""

        def __init__(self, folder: str, **kwargs: Any) -> None:
            self.made = {name: kwargs[name] for name in ("compute_type", "inter_threads")}
            self.engine = real(folder, **kwargs)

        def translate_batch(self, rows: list[list[str]], **kwargs: Any) -> Any:
            limits = {"max_new_tokens": kwargs["max_decoding_length"], "num_beams": kwargs["beam_size"]}
            record.setdefault("generate", []).append(
                {
                    "config": {**kwargs, **limits},
                    "inputs": [len(rows), max(map(len, rows))],
                    "digest": hashlib.sha256(str(rows).encode()).hexdigest(),
                    "stop_after": kwargs["max_decoding_length"],
                    "by": self.made,
                }
            )
            return self.engine.translate_batch(rows, **kwargs)

    real = ctranslate2.Translator
    patch.setattr(ctranslate2, "Translator", Translator)
    patch.setattr(GenerationMixin, "generate", generate)
    patch.setattr(LogitsProcessorList, "__call__", processed)
    patch.setattr(StoppingCriteriaList, "__call__", stopped)


def untimed(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not re.search("runtime|per_second|flos", name)}


def tuned(model: Any) -> Record:
    """What peft's layers on a model are."""
    if not hasattr(model, "peft_config"):
        return {}
    layers = [module for module in model.modules() if getattr(module, "lora_A", None)]
    dropouts = [layer.lora_dropout["default"] for layer in layers]
    return {
        "config": plain(model.peft_config["default"].to_dict()),
        "count": len(layers),
        "r": sorted({layer.lora_A["default"].out_features for layer in layers}),
        "scaling": sorted({layer.scaling["default"] for layer in layers}),
        "dropout": sorted({getattr(dropout, "p", 0.0) for dropout in dropouts}),
    }


def begun(trainer: Any, model: Any, optimizer: Any, scheduler: Any) -> Record:
    """What the trainer is when it begins."""
    optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate's wrappers
    scheduler = getattr(scheduler, "scheduler", scheduler)
    layers = [module for module in model.modules() if type(module).__name__.startswith("Linear")]
    states = [getattr(getattr(layer, "weight", None), "quant_state", None) for layer in layers]
    rate = getattr(scheduler, "lr_lambdas", [None])[0]
    loss, smoother = trainer.compute_loss_func, trainer.label_smoother
    return {
        "args": {name: plain(value) for name, value in trainer.args.to_dict().items() if name not in PLACES},
        "like_length": trainer._get_train_sampler().like_length,
        "callbacks": {type(each).__name__: scalars(each) for each in trainer.callback_handler.callbacks},
        "rows": {"train": len(trainer.train_dataset), "dev": len(trainer.eval_dataset)},
        "tokens": sorted(trainer.processing_class.get_added_vocab()),
        "optimizer": {
            "type": type(optimizer).__name__,
            "groups": [
                {name: plain(value) for name, value in group.items() if name != "params"} | {"count": len(group["params"])}
                for group in optimizer.param_groups
            ],
        },
        "scheduler": {"type": type(scheduler).__name__, **plain(getattr(rate, "keywords", {}))},
        "label_smoothing": loss.keywords["label_smoothing"] if loss else smoother.epsilon if smoother else 0.0,
        "lora": tuned(model),
        "layers": sorted({type(layer).__name__ for layer in layers} - {"Linear"}),
        "nested": sorted({state.nested for state in states if state is not None}),
        "attention": model.config._attn_implementation,
        "embeddings": list(model.get_input_embeddings().weight.shape),
    }


def spy_on_training(patch: pytest.MonkeyPatch, record: Record) -> None:
    """The trainer as it begins; then its batches, rates, clippings, evaluations, logs and checkpoints."""
    import torch
    from accelerate import Accelerator  # type: ignore[import-untyped]
    from dvclive import Live
    from transformers import Trainer, TrainerCallback

    from yoyak.training.trainer import SummaryTrainer

    begin, step, evaluate = Trainer.__init__, SummaryTrainer.training_step, Trainer.prediction_step
    clip = Accelerator.clip_grad_norm_
    log_metric = Live.log_metric

    class Spy(TrainerCallback):  # type: ignore[misc]
        trainer: Any

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            model = kwargs["model"]
            record.update(begun(self.trainer, model, kwargs["optimizer"], kwargs["lr_scheduler"]))
            record.update({"lrs": [], "logged": [], "logs": [], "on_disk": [], "most_checkpoints": 0})
            model.get_input_embeddings().register_forward_pre_hook(self.forward)

        def forward(self, module: Any, inputs: Any) -> None:
            kind = inputs[0].device.type
            record.setdefault("autocast", str(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else None)

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            record["lrs"].append(kwargs["optimizer"].param_groups[0]["lr"])
            modules = kwargs["model"].modules()
            record["checkpointing"] = any(getattr(module, "gradient_checkpointing", False) for module in modules)
            self.look(args)

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            record["logs"].append(untimed(kwargs["logs"]))
            if "loss" in kwargs["logs"]:
                record["logged"].append(state.global_step)

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            record.setdefault("metrics", []).append(untimed(kwargs["metrics"]))

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.look(args)
            record["steps_and_batches"] = [state.global_step, len(record["batches"])]
            wanted = ("eval_loss", "eval_rouge1", "eval_rouge2", "eval_rougeL", "eval_rouge_sum")
            record["best"] = sorted(
                {name for each in record["metrics"] for name in wanted if each.get(name) == state.best_metric}
            )

        def look(self, args: Any) -> None:
            """The steps of the checkpoints that were on the disk at any time, and how many lay there together."""
            steps = [int(path.name.rpartition("-")[2]) for path in Path(args.output_dir).glob("*-[0-9]*")]
            record["on_disk"] = sorted({*record["on_disk"], *steps})
            record["most_checkpoints"] = max(record["most_checkpoints"], len(steps))

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        spy = Spy()
        self.add_callback(spy)
        spy.trainer = self

    def training_step(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        record.setdefault("batches", []).append(shown(inputs))
        return step(self, model, inputs, *args, **kwargs)

    def prediction_step(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        record.setdefault("evaluated", []).append(shown(inputs))
        return evaluate(self, model, inputs, *args, **kwargs)

    def clip_grad_norm_(self: Any, parameters: Any, max_norm: float, *args: Any, **kwargs: Any) -> Any:
        record.setdefault("clipped", []).append(max_norm)
        return clip(self, parameters, max_norm, *args, **kwargs)

    def logged(self: Any, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        record.setdefault("live", []).append([name, self.step, value])
        log_metric(self, name, value, *args, **kwargs)

    patch.setattr(Trainer, "__init__", init)
    patch.setattr(SummaryTrainer, "training_step", training_step)
    patch.setattr(Trainer, "prediction_step", prediction_step)
    patch.setattr(Accelerator, "clip_grad_norm_", clip_grad_norm_)
    patch.setattr(Live, "log_metric", logged)


# What the stages wrote


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


def written(stage: str, folder: Path, tokenizer: Any) -> Record:
    """The rows and texts of a stage, and its metrics without what they say of the params."""
    if stage == "preprocess":
        return {"rows": {split: list(read_jsonl(folder / f"output/{split}.jsonl")) for split in ("train", "dev", "test")}}
    if stage == "tokenize":
        return tokenized(folder / "output", tokenizer)
    if stage == "predict" and (folder / "output/dev.csv").is_file():
        metrics = {name: value for name, value in read_json(folder / "metrics").items() if name not in {"decoding", "topic"}}
        return {"texts": {name: cells(folder / f"output/{name}.csv") for name in ("dev", "test")}, "metrics": metrics}
    if stage == "score":
        scores = {name: value for name, value in read_json(folder / "scores").items() if name not in {"signature", "pruned"}}
        return {"scores": scores, "rows": cells(folder / "per_dialogue.csv")}
    return {}


# Running them


@contextlib.contextmanager
def spied(record: Record, folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """With all spies in place, and the environment as it was afterwards."""
    variables = dict(os.environ)
    try:
        with pytest.MonkeyPatch.context() as patch:
            spy_on_loading(patch, record, folder)
            spy_on_chance(patch, record)
            spy_on_writing(patch, record)
            spy_on_training(patch, record)
            yield patch
    finally:
        os.environ.clear()
        os.environ.update(variables)


def place(values: dict[str, Any], name: str, value: Any) -> None:
    *sections, key = name.split(".")
    for section in sections:
        values = values[section]
    assert key in values, f"{name}: no such key"
    values[key] = value


class Runs:
    """The stages' records under changed params, each made once. What the base params give is what later stages read."""

    def __init__(self, folder: Path, tokenizers: dict[str, Any]) -> None:
        self.folder, self.tokenizers = folder, tokenizers
        self.records: dict[str, Record] = {}
        self.values = read_yaml(ROOT / "params.yaml")

    def made(self, stage: str, family: str) -> Path:
        """The folder of a stage's base run."""
        self.record(stage, family, {})
        return self.folder / "runs" / f"{stage}-{family}"

    def record(self, stage: str, family: str, changes: dict[str, Any]) -> Record:
        name = json.dumps([stage, family, changes], sort_keys=True)
        if name not in self.records:
            folder = self.folder / "runs" / (f"{stage}-{family}-{len(self.records)}" if changes else f"{stage}-{family}")
            self.records[name] = self.run(stage, family, changes, folder)
        return copy.deepcopy(self.records[name])

    def run(self, stage: str, family: str, changes: dict[str, Any], folder: Path) -> Record:
        """Let a stage's own main do its work in `folder`; its record, in which paths are below HERE."""
        from ruamel.yaml import YAML

        values = copy.deepcopy(self.values)
        assert isinstance(values, dict)
        for name, value in {**BASE, "model.family": family, **changes}.items():
            place(values, name, str(self.folder) + value[4:] if isinstance(value, str) and value[:4] == "HERE" else value)
        parse_params(values, source="this test")
        paths = self.inputs(stage, family) | {
            "output": folder / "output",
            "rejects": folder / "rejects",
            "metrics": folder / "metrics",
            "checkpoints": folder / "checkpoints",
            "scores": folder / "scores",
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
        if "error" not in record:
            record |= written(stage, folder, tokenizer)
        text = json.dumps(record, ensure_ascii=False).replace(str(folder), "RUN").replace(str(self.folder), "HERE")
        text = re.sub(r'[^"]*/converted-\w+', "CONVERTED", text)  # a temporary folder
        return dict(json.loads(text))

    def inputs(self, stage: str, family: str) -> dict[str, Path]:
        """What a stage reads, by the names of its main's parameters."""
        if stage == "preprocess":
            return {}
        processed = {"processed": self.made("preprocess", "kobart") / "output"}
        if stage == "tokenize":
            return processed
        if stage == "train":
            return {"tokenized": self.made("tokenize", family) / "output"}
        if stage == "predict":
            models = self.folder / "models"
            models.mkdir(exist_ok=True)
            for name in FAMILIES:
                if not (models / name).exists():
                    (models / name).symlink_to(self.made("train", name) / "output")
            return processed | {"models": models}
        predicted = self.made("predict", family)
        return processed | {"predictions": predicted / "output", "predict_metrics": predicted / "metrics"}

    def all(self, stages: Sequence[str], family: str, changes: dict[str, Any]) -> Record:
        return {stage: self.record(stage, family, changes) for stage in stages}


def rows(split: str, count: int, mark: str) -> list[dict[str, str]]:
    """As many dialogues, no two alike; the first of them is longer than every limit, the second laughs."""
    made = []
    for at in range(count):
        said = "\n".join(DIALOGUES) if at == 0 else DIALOGUES[at % 8]
        laughed = "ㅋㅋㅋㅋ " if at == 1 else ""
        made.append(
            {
                "fname": f"{split}_{at}",
                "dialogue": f"{said}\n#Person1#: {laughed}{mark} {split} {at}번.",
                "summary": SUMMARIES[at % 8],
                "topic": f"화제 {at}",
            }
        )
    return made


def save_rows(folder: Path, *, mark: str) -> None:
    """train with a row that must be rejected, dev with a second reference, test without any."""
    train, dev, test = rows("train", 52, mark), rows("dev", 12, mark), rows("test", 4, mark)
    save_csv(folder / "train.csv", [*train, train[0] | {"fname": "train_bad", "dialogue": " "}])
    save_csv(folder / "dev.csv", [row | {"summary2": SUMMARIES[(at + 3) % 8]} for at, row in enumerate(dev)])
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


@pytest.fixture(scope="module")
def runs(_tiny: Path, chat_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    from yoyak.models.checkpoints import load_tokenizer

    folder = tmp_path_factory.mktemp("knobs")
    shutil.copytree(_tiny, folder / "bases/kobart")
    save_llama(folder / "bases/qlora", chat_tokenizer)
    for family in FAMILIES:
        shutil.copytree(folder / f"bases/{family}", folder / f"bases/{family}-2")
    save_rows(folder / "csv", mark="이 자료")
    save_rows(folder / "csv-2", mark="다른 자료")
    return Runs(folder, {"kobart": load_tokenizer(str(_tiny), None, LISTED_TAGS), "qlora": chat_tokenizer})


def readers(key: str, family: str) -> list[str]:
    """The stages that dvc.yaml says read a key, with the family's own for both of training."""
    stages: dict[str, Any] = dict(read_yaml(ROOT / "dvc.yaml")["stages"])  # type: ignore[index]
    section = key.partition(".")[0]
    return [stage for stage in STAGES if section in stages[f"train_{family}" if stage == "train" else stage]["params"]]


def look(record: Any, path: str) -> Any:
    """What stands in a place of a record ("train.batches.0.input_ids"), or None."""
    for name in path.split("."):
        if isinstance(record, list):
            record = record[int(name)] if int(name) < len(record) else None
        else:
            record = record.get(name) if isinstance(record, dict) else None
    return record


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """The places where two records differ, with what stands there."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            line
            for name in sorted({*one, *other})
            for line in differences(one.get(name), other.get(name), f"{path}.{name}" if path else name)
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [line for at, pair in enumerate(zip(one, other, strict=True)) for line in differences(*pair, f"{path}.{at}")]
    return [] if json.dumps(one) == json.dumps(other) else [f"{path}: {str(one)[:200]} | {str(other)[:200]}"]


# The tests


def test_every_key_of_params_yaml_has_an_entry() -> None:
    for family in FAMILIES:
        missing, unknown = set(leaf_keys()) - set(table(family)), set(table(family)) - set(leaf_keys())
        assert not missing, "a new key: say here what it changes"
        assert not unknown, "no such key in params.yaml"
    assert set(GROUP_OF) <= set(leaf_keys())
    assert len(GROUP_OF) == sum(map(len, GROUPS)), "a key in two groups"


@pytest.mark.parametrize("family", FAMILIES)
def test_each_key_of_a_group_has_an_effect_of_its_own(family: str) -> None:
    """The arguments of the trainer alone would not show that it acts on them."""
    for key in GROUP_OF:
        knob = table(family)[key]
        assert [place for place in knob.shows if not place.startswith("train.args.")], key


@pytest.mark.slow
@pytest.mark.parametrize("family", BY_FAMILY)
@pytest.mark.parametrize("stage", STAGES)
def test_the_same_params_give_the_same_record(runs: Runs, stage: str, family: str) -> None:
    """Without this, a difference between two records would prove nothing."""
    first = runs.record(stage, family, {})
    assert first.get("error") is None
    changed = differences(first, runs.run(stage, family, {}, runs.folder / f"again-{stage}-{family}"))
    assert not changed


@pytest.mark.slow
@pytest.mark.parametrize(("family", "keys"), [*cases("kobart"), *cases("qlora")])
def test_a_key_changes_what_is_really_done(runs: Runs, family: str, keys: tuple[str, ...]) -> None:
    knobs = {key: table(family)[key] for key in keys}
    stages_of = {key: [stage for stage in readers(key, family) if stage in knob.stages] for key, knob in knobs.items()}
    stages = [stage for stage in STAGES if any(stage in names for names in stages_of.values())]
    base = {name: value for knob in knobs.values() for name, value in knob.base.items()}
    before = runs.all(stages, family, base)
    after = runs.all(stages, family, {**base, **{key: knob.value for key, knob in knobs.items()}})
    assert [line for line in differences(before, after) if not line.startswith("train.args.")], "nothing changed"
    expected_errors = {path for knob in knobs.values() for path in knob.shows if path.endswith(".error")}
    assert {f"{stage}.error" for stage in stages if "error" in after[stage]} == expected_errors, after
    for key, knob in knobs.items():
        for path, expected in knob.shows.items():
            assert fits(look(after, path), expected), f"{key}: {path} is {look(after, path)}"
            assert not fits(look(before, path), expected), f"{key}: {path} is that without the change"


@pytest.mark.slow
@pytest.mark.parametrize("family", BY_FAMILY)
def test_the_other_familys_keys_change_nothing(runs: Runs, family: str) -> None:
    """All of them at once."""
    changes = {key: knob.value for key, knob in table(family).items() if of_family(key) == OTHER[family]}
    changes |= {"model.qlora.padding_free": "never"} if family == "kobart" else {}  # always forbids eager
    stages = ("tokenize", "train", "predict")
    changed = differences(runs.all(stages, family, {}), runs.all(stages, family, changes))
    assert not changed
