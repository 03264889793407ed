"""What a stage does, as a record: spies on the libraries that it calls."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.pipeline.knobs import Record

PLACES = {"output_dir", "logging_dir", "run_name"}  # of TrainingArguments; they may be named after all that is read


def plain(value: Any) -> Any:
    """Return a value as JSON has it; an object as its `to_dict`, or else as the name of its type."""
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
    """Return the attributes of an object that are numbers or texts."""
    return {name: value for name, value in vars(thing).items() if isinstance(value, bool | int | float | str)}


def batch_summary(batch: Mapping[str, Any]) -> Record:
    """Return the shape of each tensor, and a digest of the input ids."""
    shapes = {name: list(value.shape) if hasattr(value, "shape") else plain(value) for name, value in batch.items()}
    ids = batch["input_ids"].tolist()
    return shapes | {"digest": hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:12]}


def spy_on_loading(patch: pytest.MonkeyPatch, record: Record, folder: Path) -> None:
    """Record the arguments of each `from_pretrained` of the Auto classes, and the added tokens."""
    import transformers
    from transformers import PreTrainedTokenizerBase

    within: list[str] = []

    def noted(name: str, load: Callable[..., Any]) -> Callable[..., Any]:
        def from_pretrained(pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
            if not within:  # one class may call another
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

    from yoyak.models import checkpoints, tokenizer_loading

    for module in (checkpoints, tokenizer_loading):  # a spy stands for the hub, which would be asked first
        patch.setattr(module, "check_hub", lambda *_: None)
    for name in ("AutoConfig", "AutoTokenizer", "AutoModel", "AutoModelForSeq2SeqLM", "AutoModelForCausalLM"):
        kind = getattr(transformers, name)
        patch.setattr(kind, "from_pretrained", staticmethod(noted(name, kind.from_pretrained)))
    add = PreTrainedTokenizerBase.add_tokens

    def add_tokens(self: Any, tokens: Any, *args: Any, **kwargs: Any) -> Any:
        record.setdefault("added_tokens", []).append([str(token) for token in tokens])
        return add(self, tokens, *args, **kwargs)

    patch.setattr(PreTrainedTokenizerBase, "add_tokens", add_tokens)


def spy_on_chance(patch: pytest.MonkeyPatch, record: Record) -> None:
    """Record seeds, threads and kernels, and whether torch becomes deterministic (not passed on: they would stay set)."""
    import numpy
    import rouge_score.rouge_scorer  # noqa: F401  (SciPy, which it imports, draws a number of its own)
    import torch

    from yoyak.system import portable_kernels

    torch.set_num_threads(1)  # CTranslate2 may have changed it in an earlier stage
    seed, generator = torch.manual_seed, numpy.random.default_rng

    def manual_seed(value: int) -> Any:
        record.setdefault("seeds", []).append(int(value))
        return seed(value)

    def use_deterministic_algorithms(mode: bool, **kwargs: Any) -> None:
        record.setdefault("deterministic", []).append(mode)

    def set_num_threads(count: int) -> None:
        if count != torch.get_num_threads():  # otherwise it restores the count
            record.setdefault("threads", []).append(count)

    def use_if(portable: bool) -> None:
        if portable:
            record["portable"] = True

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
    patch.setattr(portable_kernels, "use_if", use_if)
    if record["stage"] == "score":
        patch.setattr(numpy.random, "default_rng", default_rng)


def spy_on_writing(patch: pytest.MonkeyPatch, record: Record) -> None:
    """Record what `generate` receives, and at its first step how it changes the logits and when it stops."""
    import ctranslate2
    import torch
    from transformers import GenerationMixin, LogitsProcessorList, StoppingCriteriaList

    from yoyak.data.prompts import PromptTexts
    from yoyak.evaluation.facts import Facts
    from yoyak.inference import consensus

    write, process, stop = GenerationMixin.generate, LogitsProcessorList.__call__, StoppingCriteriaList.__call__

    def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        config = kwargs.get("generation_config") or self.generation_config
        ids = kwargs["input_ids"]
        record.setdefault("generate", []).append(
            {
                "config": plain(config),
                "inputs": list(ids.shape),
                "digest": batch_summary({"input_ids": ids})["digest"],
                "dropout": self.training,
                "start": 1 if self.config.is_encoder_decoder else ids.shape[1],
            }
        )
        return write(self, *args, **kwargs)

    def processed(self: Any, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        after = process(self, input_ids, scores, **kwargs)
        last = record["generate"][-1]
        if "processors" not in last:
            last["processors"] = {type(processor).__name__: scalars(processor) for processor in self}
            latin = record["latin"]
            last["blocks_latin"] = bool(torch.isinf(after[:, latin]).all() and torch.isfinite(scores[:, latin]).all())
        return after

    def stopped(self: Any, *args: Any, **kwargs: Any) -> Any:
        last = record["generate"][-1]
        last["stop_after"] = self.max_length - last["start"]
        return stop(self, *args, **kwargs)

    class Translator:
        """CTranslate2's translator, whose calls are recorded in the same form."""

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

    def chosen(rows: Any, utility: Any, penalty: Any) -> Any:
        record["consensus"] = {
            "candidates": max(map(len, rows)),
            "utility": utility.__qualname__.partition(".")[0],
            "penalty": penalty(0, "x"),
        }
        return choose(rows, utility, penalty)

    def weights_by_probability(row: Any, temperature: float) -> Any:
        record["by_probability"] = {"temperature": temperature}
        return by_probability(row, temperature)

    def question(self: Any, dialogue: str, topic: str = "", instruction: str | None = None) -> str:
        if instruction and instruction not in record.setdefault("asked", []) and dialogue:
            record["asked"].append(instruction)
        return ask(self, dialogue, topic, instruction)

    ask, by_probability = PromptTexts.question, consensus.weights_by_probability
    patch.setattr(PromptTexts, "question", question)
    patch.setattr(consensus, "weights_by_probability", weights_by_probability)
    choose = consensus.choose
    patch.setattr(consensus, "choose", chosen)
    patch.setattr(consensus, "unsupported_facts", lambda *_: Facts(frozenset({"x"}), frozenset(), frozenset()))
    real = ctranslate2.Translator
    patch.setattr(ctranslate2, "Translator", Translator)
    patch.setattr(GenerationMixin, "generate", generate)
    patch.setattr(LogitsProcessorList, "__call__", processed)
    patch.setattr(StoppingCriteriaList, "__call__", stopped)


def spy_on_objectives(patch: pytest.MonkeyPatch, record: Record) -> None:
    """Record what the parts of an objective are called with, and how often a reward is mixed into the loss."""
    import torch
    from torch.optim import swa_utils
    from transformers import Trainer

    from yoyak.training import objectives, rewards, weight_averaging

    seen: Record = record.setdefault("objective", {})
    entropy, divergence, lerp = objectives.weighted_cross_entropy, objectives.symmetric_divergence, torch.lerp
    repeated, noise, write = objectives.unlikelihood, objectives.ObjectiveLoss._add_noise, rewards.RewardLoss.write
    average: Any = swa_utils.get_ema_multi_avg_fn

    def weighted_cross_entropy(predictions: Any, *, weights: Any = None, **kwargs: Any) -> Any:
        seen["largest_weight"] = 1.0 if weights is None else weights.max().item()
        return entropy(predictions, weights=weights, **kwargs)

    def symmetric_divergence(*logits: Any, weight: float) -> Any:
        seen["divergence_weight"] = weight
        return divergence(*logits, weight=weight)

    def unlikelihood(predictions: Any) -> Any:
        seen["unlikelihood"] = True
        return repeated(predictions)

    def add_noise(self: Any, model: Any, batch: Any) -> Any:
        noised = noise(self, model, batch)
        stack = model.get_encoder() if self.is_encoder_decoder else model
        added = noised["inputs_embeds"] - stack.get_input_embeddings()(batch["input_ids"])
        seen["noise"] = max(seen.get("noise", 0.0), added.abs().max().item())
        return noised

    def mixed(loss: Any, reward: Any, share: float) -> Any:
        seen["shares"] = [*seen.get("shares", []), share]
        return lerp(loss, reward, share)

    def written(self: Any, model: Any, sources: Any, *, samples: int) -> Any:
        seen["samples"] = max(samples, seen.get("samples", 0))
        return write(self, model, sources, samples=samples)

    def averaged(decay: float) -> Any:
        seen["decays"] = [*seen.get("decays", []), decay]
        return average(decay)

    def loaded(self: Any, folder: str, *args: Any) -> None:
        seen["averaged"] = [*seen.get("averaged", []), int(folder.rpartition("-")[2])]
        load(self, folder, *args)

    load = Trainer._load_from_checkpoint
    patch.setattr(Trainer, "_load_from_checkpoint", loaded)
    patch.setattr(objectives, "weighted_cross_entropy", weighted_cross_entropy)
    patch.setattr(objectives, "symmetric_divergence", symmetric_divergence)
    patch.setattr(objectives, "unlikelihood", unlikelihood)
    patch.setattr(objectives.ObjectiveLoss, "_add_noise", add_noise)
    patch.setattr(torch, "lerp", mixed)
    patch.setattr(rewards.RewardLoss, "write", written)
    patch.setattr(weight_averaging, "get_ema_multi_avg_fn", averaged)


def spy_on_pretraining(patch: pytest.MonkeyPatch, record: Record) -> None:
    """Record the dialogues and the noise of the stage pretrain. The guard of dev and test is off: all splits are alike here."""
    if record["stage"] != "pretrain":
        return
    from yoyak.data import denoising
    from yoyak.training import pretrain, pretraining_texts

    noise: Record = record.setdefault("noise", {"masked_speakers": 0, "permuted": 0})
    fill, draw, choose = denoising.infill, denoising.poisson, pretraining_texts.choose_texts
    mask_spans, source = denoising.Denoising._mask_spans, denoising.Denoising.source
    reading: list[str] = []

    def infill(ids: Any, *, ratio: float, **kwargs: Any) -> Any:
        noise["ratio"] = ratio
        return fill(ids, ratio=ratio, **kwargs)

    def poisson(rng: Any, mean: float) -> int:
        noise["mean"] = mean
        return draw(rng, mean)

    def read(self: Any, dialogue: str, rng: Any) -> Any:
        reading[:] = [dialogue]
        return source(self, dialogue, rng)

    def masked(self: Any, ids: Any, offsets: Any, places: Any) -> Any:
        noise["masked_speakers"] += len(places)
        noise["permuted"] += ids != self.tokenizer(reading[0]).input_ids
        return mask_spans(self, ids, offsets, places)

    def chosen(*args: Any) -> Any:
        texts = choose(*args)
        record["texts"] = texts.dialogues
        return texts

    patch.setattr(pretraining_texts, "THRESHOLD", 1.1)
    patch.setattr(denoising, "infill", infill)
    patch.setattr(denoising, "poisson", poisson)
    patch.setattr(denoising.Denoising, "source", read)
    patch.setattr(denoising.Denoising, "_mask_spans", masked)
    patch.setattr(pretrain, "choose_texts", chosen)


def untimed(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not re.search("runtime|per_second|flos", name)}


def lora_of(model: Any) -> Record:
    """Describe the LoRA layers of a model."""
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


def state_at_start(trainer: Any, model: Any, optimizer: Any, scheduler: Any) -> Record:
    """Describe the trainer when it starts."""
    optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate's wrappers
    scheduler = getattr(scheduler, "scheduler", scheduler)
    layers = [module for module in model.modules() if type(module).__name__.startswith("Linear")]
    states = [getattr(getattr(layer, "weight", None), "quant_state", None) for layer in layers]
    rate = getattr(scheduler, "lr_lambdas", [None])[0]
    loss, smoother = trainer.compute_loss_func, trainer.label_smoother
    return {
        "args": {name: plain(value) for name, value in trainer.args.to_dict().items() if name not in PLACES},
        "group_by_length": trainer._get_train_sampler().group_by_length,
        "callbacks": {type(callback).__name__: scalars(callback) for callback in trainer.callback_handler.callbacks},
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
        "lora": lora_of(model),
        "layers": sorted({type(layer).__name__ for layer in layers} - {"Linear"}),
        "nested": sorted({state.nested for state in states if state is not None}),
        "attention": model.config._attn_implementation,
        "embeddings": list(model.get_input_embeddings().weight.shape),
    }


def spy_on_training(patch: pytest.MonkeyPatch, record: Record) -> None:
    """Record the trainer when it starts, and its batches, learning rates, clipping, evaluations, logs and checkpoints."""
    import torch
    from accelerate import Accelerator
    from dvclive import Live
    from transformers import Trainer, TrainerCallback

    from yoyak.training import launcher
    from yoyak.training.trainer import SummaryTrainer

    patch.setattr(launcher, "_run_agent", lambda module, *_: record.update(launched=module))
    patch.setattr(launcher, "check_process_count", lambda *_, **__: None)
    begin, step, evaluate = Trainer.__init__, SummaryTrainer.training_step, Trainer.prediction_step
    clip = Accelerator.clip_grad_norm_
    log_metric = Live.log_metric

    class Spy(TrainerCallback):  # type: ignore[misc]
        trainer: Any

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            model = kwargs["model"]
            record.update(state_at_start(self.trainer, model, kwargs["optimizer"], kwargs["lr_scheduler"]))
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
            names = ("eval_loss", "eval_rouge1", "eval_rouge2", "eval_rougeL", "eval_rouge_sum")
            record["best"] = sorted(
                {name for metrics in record["metrics"] for name in names if metrics.get(name) == state.best_metric}
            )

        def look(self, args: Any) -> None:
            """Record the steps of the checkpoints on the disk, and the largest number of them at one time."""
            steps = [int(path.name.rpartition("-")[2]) for path in Path(args.output_dir).glob("*-[0-9]*")]
            record["on_disk"] = sorted({*record["on_disk"], *steps})
            record["most_checkpoints"] = max(record["most_checkpoints"], len(steps))

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        spy = Spy()
        self.add_callback(spy)
        spy.trainer = self

    def training_step(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        record.setdefault("batches", []).append(batch_summary(inputs))
        return step(self, model, inputs, *args, **kwargs)

    def prediction_step(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        record.setdefault("evaluated", []).append(batch_summary(inputs))
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


def fake_paraphrases(patch: pytest.MonkeyPatch) -> None:
    """Paraphrases without a language model: every fourth word of a line is missing. The filters act on them."""
    from yoyak.augmentation.methods.paraphrase import Paraphrase
    from yoyak.augmentation.rewriting import Failed, Part

    def shorter(line: str) -> str:
        return " ".join(word for index, word in enumerate(line.split(" ")) if index % 4 != 3)

    def rewrite(self: Paraphrase, parts: list[Part]) -> list[str | Failed]:
        return ["\n".join(map(shorter, part.text.split("\n"))) for part in parts]

    patch.setattr(Paraphrase, "rewrite", rewrite)
    patch.setattr(Paraphrase, "report", lambda self: {})
