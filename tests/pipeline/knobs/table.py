"""For each key of params.yaml another value, and what then stands in the record of the stages."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.pipeline.knobs import LEARNED, OTHER, STAGES
from yoyak.data.dialogue import LISTED_TAGS
from yoyak.data.examples import FIXED_SEED

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
    "augment.filters.near_duplicate": 1.0,  # the splits have the same dialogues
    "score.bootstrap_samples": 100,
    "hardware.cpu_threads": 1,
}


def _shuffled(count: int) -> list[int]:
    order = list(range(count))
    random.Random(FIXED_SEED).shuffle(order)
    return order


def above(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and value > least


def up_to(most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and value <= most


def holds(part: Any) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str | list) and part in value


def without(part: Any) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and part not in value


def lacks(part: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and part not in value


def between(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, float) and low <= value <= high


def shorter_than(length: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and 0 < len(value) < length


def ends_a_sentence(value: Any) -> bool:
    return isinstance(value, str) and value[-1:] in {".", "!", "?"}


def fits(value: Any, expected: Any) -> bool:
    """Whether a value is the expected one, or a function that is expected accepts it."""
    return bool(expected(value) if callable(expected) else value == expected)


@dataclass(frozen=True)
class Knob:
    """Another value for a key, and what then stands in which places of the record (None: the place does not exist)."""

    value: Any
    shows: dict[str, Any]
    base: dict[str, Any] = field(default_factory=dict)  # other keys that must be set for this key to act
    stages: Sequence[str] = STAGES  # the stages that may read the key


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
ROOM = {"tokenizer.max_input_length": 480}  # for an example
FIXED = _shuffled(52)[0]  # the train row that `fixed` shows
JUDGE: dict[str, Any] = {
    "provider": "openai",
    "base_url": "http://localhost:9/v1",
    "model": "other",
    "tokenizer": "HERE/other",
    "extra_body": {"top_k": 1},
    "price_per_million_input": 1.0,
    "price_per_million_output": 1.0,
    "budget": 1.0,
    "requests_per_minute": 1,
    "max_in_flight": 1,
    "timeout": 1.0,
    "max_retries": 1,
    "votes": 1,
    "rows": 1,
    "baselines": [],
    "mask": False,
    "temperature": 1.0,
    "max_new_tokens": 10,
    "seed": 1,
}
ENDPOINT = {
    "model.endpoint.provider": "openai",
    "model.endpoint.base_url": "http://localhost:9/v1",
    "model.endpoint.model": "other",
    "model.endpoint.tokenizer": "models/base/llama-tiny",
    "model.endpoint.extra_body": {"top_k": 3},
    "model.endpoint.price_per_million_input": 1.0,
    "model.endpoint.price_per_million_output": 2.0,
    "model.endpoint.budget": 3.0,
    "model.endpoint.requests_per_minute": 60,
    "model.endpoint.max_in_flight": 2,
    "model.endpoint.timeout": 7.0,
    "model.endpoint.max_retries": 1,
}
ENSEMBLE = {
    "model.ensemble.method": "average_weights",
    "model.ensemble.members": ["a" * 40, "b" * 40],
    "model.ensemble.utility": "chrf",
    "model.ensemble.facts": 1.0,
    "model.ensemble.selection": "greedy",
    "model.ensemble.keep_if": "better",
    "model.ensemble.halvings": 0,
}
TWO_SAMPLES = SAMPLES | {"generation.consensus.candidates": 2}
WINDOWS = {"generation.long_dialogues": "windows"}
BEAMS = {"generation.num_beams": 2}
GENERATES = "predict.generate.0.config"
PROCESSES = "predict.generate.0.processors"


def knobs_of(family: str) -> dict[str, Knob]:
    """An entry for each key of params.yaml."""
    return {
        "data.dir": Knob("HERE/csv-2", {"preprocess.rows.train.0.dialogue": holds("다른 자료")}),
        "data.folds": Knob(4, {"preprocess.rows.dev.0.dialogue": holds("train ")}),
        "data.fold": Knob(2, {}, base={"data.folds": 4}),
        "preprocess.noise": Knob("minimal", {"preprocess.rows.train.1.dialogue": holds("ㅋㅋ")}),
        "preprocess.person_tags": Knob("simplify", {"preprocess.rows.train.1.dialogue": holds("P1: ")}),
        "preprocess.max_rejected": Knob(0, {"preprocess.error": holds("max_rejected allows 0")}),
        "model.family": Knob(
            OTHER[family],
            {
                "train": {"objective": {}},
                "predict.loaded.AutoTokenizer.0.pretrained_model_name_or_path": f"HERE/models/{OTHER[family]}",
            },
        ),
        **checkpoint_knobs("kobart"),
        **checkpoint_knobs("qlora"),
        "model.kobart.decoder_layers": Knob(2, {"train.error": holds("2 is more than the 1 decoder layers")}),
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
            200, {"tokenize.longest": up_to(200), **{f"predict.generate.{call}.inputs.1": up_to(200) for call in (0, 4)}}
        ),
        "tokenizer.max_target_length": Knob(
            6, {"tokenize.longest_target": 6, "train.generate.0.config.max_new_tokens": 6, "train.generate.0.stop_after": 6}
        ),
        "tokenizer.truncation": Knob(
            "end",
            {
                "tokenize.texts.test.0": lacks("test 0번"),  # its last turn
                "predict.metrics.test.input.truncation": "end",
            },
        ),
        "tokenizer.special_tokens": Knob(
            [*LISTED_TAGS, "#Extra#"],
            {
                "tokenize.added_tokens": holds([*LISTED_TAGS, "#Extra#"]),
                "train.added_tokens": holds([*LISTED_TAGS, "#Extra#"]),
                "train.tokens": holds("#Extra#"),
            },
        ),
        "tokenizer.new_tokens": Knob(
            1, {"tokenize.added_tokens": holds([" 자료"])}
        ),  # in tests/models/test_new_tokens.py: train
        "prompt.style": Knob("plain", {"tokenize.texts.test.1": holds("다음 대화를 요약해주세요:")}),
        "prompt.system": Knob("짧게.", {"tokenize.texts.test.1": holds("짧게.")}),
        "prompt.topic": Knob("never", {"tokenize.texts.test.1": holds("위 대화 주제에 대한")}),
        "prompt.examples": Knob(1, {"tokenize.texts.test.1": holds("이 자료 train ")}, base=ROOM),
        "prompt.example_choice": Knob(
            "fixed", {"tokenize.texts.test.1": holds(f"train {FIXED}번")}, base=ROOM | {"prompt.examples": 1}
        ),
        "prompt.mask": Knob(False, {}),  # as model.endpoint
        # What these do is in tests/inference/endpoint/test_endpoint_params.py: no model is loaded for this family.
        **{key: Knob(value, {}) for key, value in ENDPOINT.items()},
        # What these do is in tests/ensembles: the members are experiments of a repository.
        **{key: Knob(value, {}) for key, value in ENSEMBLE.items()},
        **augment_knobs(),
        **pretrain_knobs(),
        **training_knobs(),
        "lora.r": Knob(4, {"train.lora.config.r": 4, "train.lora.r": [4]}),
        "lora.lora_alpha": Knob(12, {"train.lora.config.lora_alpha": 12, "train.lora.scaling": [3.0]}),  # over lora.r, 4
        "lora.lora_dropout": Knob(0.25, {"train.lora.config.lora_dropout": 0.25, "train.lora.dropout": [0.25]}),
        **generation_knobs(family),
        "score.references": Knob("max", {}),  # its numbers are in test_scoring.py
        "score.bootstrap_samples": Knob(130, {"score.drawn.0.draws": 130}),
        "score.seed": Knob(7, {"score.drawn.0.seed": 7}),
        "score.bert_score.checkpoint": Knob(
            "HERE/bases/kobart", {"score.loaded.AutoModel.0.pretrained_model_name_or_path": "HERE/bases/kobart"}
        ),
        "score.bert_score.revision": Knob(
            "b2",
            {"score.loaded.AutoModel.0.revision": "b2"},
            base={"score.bert_score.checkpoint": "hub/kobart", "score.bert_score.revision": "a1"},
        ),
        "score.bert_score.layer": Knob(1, {}, base={"score.bert_score.checkpoint": "HERE/bases/kobart"}),
        "score.bert_score.idf": Knob(True, {}, base={"score.bert_score.checkpoint": "HERE/bases/kobart"}),
        "score.embedding.checkpoint": Knob(
            "HERE/bases/kobart", {"score.loaded.AutoModel.0.pretrained_model_name_or_path": "HERE/bases/kobart"}
        ),
        "score.embedding.revision": Knob(
            "b2",
            {"score.loaded.AutoModel.0.revision": "b2"},
            base={"score.embedding.checkpoint": "hub/kobart", "score.embedding.revision": "a1"},
        ),
        "score.embedding.pooling": Knob("cls", {}, base={"score.embedding.checkpoint": "HERE/bases/kobart"}),
        # What these do is in tests/inference/endpoint/test_judge.py.
        **{f"score.judge.{key}": Knob(value, {}) for key, value in JUDGE.items()},
        # Each reason is written before a gate that is not met ends the stage.
        "score.gates.better_than": Knob(
            "lead2", {"gate.error": holds("better_than: FAILED: rouge_sum"), "gate.reasons": holds("lead2")}
        ),
        "score.gates.foreign_share": Knob(0.75, {"gate.reasons": holds("the limit is 75.00%")}),
        "score.gates.grad_norm": Knob(1e9, {"gate.reasons": holds("grad_norm: passed: at most")}),
        "score.gates.dev_loss_falls": Knob(True, {"gate.reasons": holds("dev_loss_falls: ")}),
        "hardware.portable": Knob(True, {f"{stage}.portable": True for stage in ("augment", "train", "predict", "score")}),
        "hardware.cpu_threads": Knob(3, {"train.threads": [3], "predict.threads": [3]}),
        # The stages start others, which the spies do not see. What those do is in tests/training/test_together.py and
        # tests/inference/test_model_processes.py.
        "hardware.processes": Knob(
            2, {"train.launched": holds("stages.train_"), "train.steps_and_batches": None}, stages=("train",)
        ),
        # YOYAK_RENDEZVOUS is missing. What several hosts do is in tests/training/test_hosts.py and test_host_checkpoints.py.
        "hardware.hosts": Knob(2, {"train.error": holds("YOYAK_RENDEZVOUS=HOST:PORT")}, stages=("train",)),
        "search.pruned": Knob(
            "too slow",
            {"train": {"objective": {}}, **{f"predict.{x}": None for x in ("loaded", "generate")}, "score.drawn": None},
        ),
    }


TEXT_MODELS: dict[str, Any] = {
    "back_translation.rate": 1.0,
    "back_translation.of": "summary",
    "back_translation.by": "writer",
    "back_translation.pivots": ["en"],
    "synthesize.rate": 1.0,
    "synthesize.examples": 1,
    "pseudo_label.rate": 1.0,
    "pseudo_label.dialogues": "HERE/other",
    "pseudo_label.model": "HERE/other",
    "relabel.rate": 1.0,
    "relabel.originals": "replace",
    "translator.checkpoint": "hub/b",
    "translator.revision": "b2",
    "translator.back_checkpoint": "hub/b",
    "translator.back_revision": "b2",
    "translator.korean": "ko",
    "translator.num_beams": 1,
    "translator.batch_size": 1,
    "writer.source": "endpoint",
    "writer.checkpoint": "hub/b",
    "writer.revision": "b2",
    "writer.quantization": "int8",
    "writer.max_new_tokens": 7,
    "writer.temperature": 0.5,
    "writer.top_p": 0.5,
    "writer.batch_size": 1,
}


def augment_knobs() -> dict[str, Knob]:
    """The stage has 52 train rows. Without a change it adds none."""
    tried = "augment.report.methods"
    kinds = ("punctuation", "deletion", "swap", "spacing", "typo")
    silent: dict[str, Any] = {"augment.noise.rate": 1, **{f"augment.noise.{kind}": 0 for kind in kinds}}
    rejects = f"{tried}.paraphrase.rejected"
    limits = ("rouge_min", 0), ("rouge_max", 1), ("length_min", 0), ("length_max", 1), ("language", 0)
    open_filters = {"augment.paraphrase.rate": 1, **{f"augment.filters.{name}": value for name, value in limits}}
    all_noise = {"augment.noise.rate": 1}
    knobs = {
        "seed": Knob(7, {"augment.rows.0.source": _first_chosen(7)}, base={"augment.speaker_swap.rate": 0.25}),
        "speaker_swap.rate": Knob(0.5, {f"{tried}.speaker_swap.tried": 26}),
        "noise.rate": Knob(1.5, {f"{tried}.noise.tried": 78}),
        **{
            f"noise.{kind}": Knob(0.5, {f"augment.rows.{row}.details.{kind}": above(0) for row in (0, 9)}, base=silent)
            for kind in kinds
        },
        "turn_dropout.rate": Knob(2, {f"{tried}.turn_dropout.tried": 104}),
        "turn_dropout.share": Knob(1.0, {"augment.dropped": above(20)}, base={"augment.turn_dropout.rate": 1}),
        "templates.rate": Knob(4, {f"{tried}.templates.tried": 208, "augment.rows.3.instruction": 4}),
        "paraphrase.rate": Knob(0.5, {f"{tried}.paraphrase.tried": 26}),
        "paraphrase.of": Knob("summary", {"augment.rows.0.filters.dialogue_rouge": None}, base=open_filters),
        "filters.rouge_min": Knob(1, {f"{rejects}.rouge_low": above(0)}, base=open_filters),
        "filters.rouge_max": Knob(0, {f"{rejects}.rouge_high": above(0)}, base=open_filters),
        "filters.length_min": Knob(1, {f"{rejects}.length_low": above(0)}, base=open_filters),
        "filters.length_max": Knob(0, {f"{rejects}.length_high": above(0)}, base=open_filters),
        "filters.language": Knob(1, {f"{rejects}.other_language": above(0)}, base=open_filters),
        # What these do is in tests/augmentation (test_model_params.py for the models): here no text model is loaded.
        **{key: Knob(value, {}) for key, value in TEXT_MODELS.items()},
        "filters.near_duplicate": Knob(0.5, {f"{tried}.noise.rejected.near_duplicate": above(0)}, base=all_noise),
    }
    return {f"augment.{name}": knob for name, knob in knobs.items()}


def _first_chosen(seed: int) -> str:
    """The first of the 13 train rows that speaker_swap takes."""
    order = list(range(52))
    random.Random(f"{seed} speaker_swap").shuffle(order)
    return f"train_{min(order[:13])}"


def pretrain_knobs() -> dict[str, Knob]:
    """52 dialogues of train or 12 of a file, of which one measures the loss."""
    on: dict[str, Any] = {"pretrain.num_train_epochs": 1, "pretrain.precision": "float32"}
    files = on | {"pretrain.dialogues": "HERE/csv/dev.csv", "pretrain.logging_steps": 1}
    quiet = on | {f"pretrain.{name}": 0 for name in ("permute_turns", "mask_speakers")}
    six_steps = files | {"pretrain.per_device_train_batch_size": 2}
    groups = "pretrain.optimizer.groups.0"
    knobs = {
        "num_train_epochs": Knob(2, {"pretrain.args.num_train_epochs": 2, "pretrain.steps_and_batches": [4, 6]}, base=files),
        "texts": Knob("unlabelled", {"pretrain.rows": {"train": 12, "dev": 1}}, base=files),
        "dialogues": Knob("HERE/csv-2/dev.csv", {"pretrain.texts.0": holds("다른 자료 dev")}, base=files),
        "mask_ratio": Knob(0.7, {"pretrain.noise.ratio": 0.7}, base=quiet),
        "poisson_lambda": Knob(5.0, {"pretrain.noise.mean": 5.0}, base=quiet),
        "permute_turns": Knob(1.0, {"pretrain.noise.permuted": above(40)}, base=quiet),
        "mask_speakers": Knob(1.0, {"pretrain.noise.masked_speakers": above(150)}, base=quiet),
        "method": Knob("full", {"pretrain.lora": {}, "pretrain.layers": []}, base=on),
        "per_device_train_batch_size": Knob(4, {"pretrain.batches.0.input_ids.0": 4}, base=files),
        "gradient_accumulation_steps": Knob(2, {"pretrain.steps_and_batches": [4, 6]}, base=files),
        "learning_rate": Knob(2e-4, {f"{groups}.initial_lr": 2e-4}, base=files),
        "warmup_steps": Knob(3, {"pretrain.scheduler.num_warmup_steps": 3}, base=files),
        "optim": Knob("adafactor", {"pretrain.optimizer.type": "Adafactor"}, base=files),
        "gradient_checkpointing": Knob(True, {"pretrain.checkpointing": True}, base=files),
        "precision": Knob("bfloat16", {"pretrain.args.bf16": True, "pretrain.autocast": "torch.bfloat16"}, base=files),
        "save_steps": Knob(3, {"pretrain.on_disk": holds(3)}, base=six_steps),
        "logging_steps": Knob(3, {"pretrain.logged": without(2)}, base=six_steps),
        "full_determinism": Knob(True, {"pretrain.args.full_determinism": True, "pretrain.deterministic.0": True}, base=files),
        "seed": Knob(7, {"pretrain.seeds.0": 7, "pretrain.args.seed": 7}, base=files),
    }
    return {f"pretrain.{name}": replace(knob, stages=("pretrain",)) for name, knob in knobs.items()}


def training_knobs() -> dict[str, Knob]:
    """The base has 4 steps in an epoch and 8 in all."""
    steps = [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25]
    groups = "train.optimizer.groups.0"
    r_drop, r3f, rewards = ({"training.objective.name": name} for name in ("r_drop", "r3f", "self_critical"))
    seen = "train.objective"
    knobs = {
        "objective.name": Knob("r_drop", {f"{seen}.divergence_weight": 0.7 / 4}),
        "objective.r_drop_alpha": Knob(4.0, {f"{seen}.divergence_weight": 1.0}, base=r_drop),
        "objective.tag_weight": Knob(2.0, {f"{seen}.largest_weight": 2.0}, base=r_drop),
        "objective.unlikelihood": Knob(0.5, {f"{seen}.unlikelihood": True}, base=r_drop),
        "objective.r3f_lambda": Knob(2.0, {f"{seen}.divergence_weight": 2.0}, base=r3f),
        "objective.r3f_epsilon": Knob(0.5, {f"{seen}.noise": between(0.4, 0.5)}, base=r3f),
        "objective.reward_weight": Knob(0.25, {f"{seen}.shares.0": 0.25}, base=rewards),
        "objective.reward_start": Knob(0.75, {f"{seen}.shares": shorter_than(4)}, base=rewards),
        "objective.reward_samples": Knob(2, {f"{seen}.samples": 2}, base=rewards),
        "ema_decay": Knob(0.125, {f"{seen}.decays.7": 0.125}),
        "average_checkpoints": Knob(2, {f"{seen}.averaged": [4, 8]}),
        "average_choice": Knob("last", {f"{seen}.averaged": [8]}, base={"training.average_checkpoints": 1}),
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
        "train_sampling_strategy": Knob("group_by_length", {"train.group_by_length": True}),
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
    """Each key shows in the GenerationConfig of `generate`, and most keys in what is then done with the logits."""
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
        "consensus.candidates": Knob(3, {"predict.consensus.candidates": 3}, base=TWO_SAMPLES),
        "consensus.utility": Knob("chrf", {"predict.consensus.utility": "chrf_utility"}, base=TWO_SAMPLES),
        "consensus.facts": Knob(7, {"predict.consensus.penalty": 7}, base=TWO_SAMPLES),
        "consensus.source": Knob("dropout", {"predict.generate.0.dropout": True}, base=TWO_SAMPLES),
        "consensus.weights": Knob("probability", {"predict.by_probability.temperature": 1.0}, base=TWO_SAMPLES),
        "consensus.weights_temperature": Knob(
            0.5,
            {"predict.by_probability.temperature": 0.5},
            base=TWO_SAMPLES | {"generation.consensus.weights": "probability"},
        ),
        "consensus.instructions": Knob(
            ["짧게.", "길게."],
            {"predict.asked": ["짧게.", "길게."]},
            base={"generation.consensus.candidates": 2, "generation.consensus.source": "prompts"},
        ),
        "long_dialogues": Knob("windows", {"predict.metrics.test.input.windowed.dialogues": 1}),
        "window_overlap": Knob(0, {"predict.metrics.test.input.windowed.turns_read_twice": 0}, base=WINDOWS),
        "window_merge": Knob("join", {"predict.metrics.test.input.windowed.merge": "join"}, base=WINDOWS),
        "restore_speakers": Knob(True, {"predict.error": holds("`yoyak import` did not make the data of")}),
        "postprocess": Knob(
            "always", {"predict.metrics.postprocess.used": True, "predict.texts.test.0.summary": ends_a_sentence}
        ),
    }
    return {f"generation.{name}": knob for name, knob in knobs.items()}


def of_family(key: str) -> str | None:
    """The only family that reads a key; None if all do. `endpoint` reads the section prompt too."""
    if key.removeprefix("augment.") in TEXT_MODELS:
        return "text models"
    if key.startswith("model.ensemble."):
        return "ensemble"
    if key.startswith(("model.endpoint.", "score.judge.")) or key == "prompt.mask":
        return "endpoint"
    prompted = ("prompt.", "augment.templates.", "generation.consensus.instructions")
    if key.startswith(("lora.", "model.qlora.", "pretrain.method", *prompted)):
        return "qlora"
    noise = tuple(f"pretrain.{name}" for name in ("mask_ratio", "poisson_lambda", "permute_turns", "mask_speakers"))
    return "kobart" if key.startswith(("model.kobart.", *noise)) else None


# The keys that one run changes together, each with effects of its own in the record. A key in no group has a run of its own.
GROUPS: tuple[tuple[str, ...], ...] = (
    ("preprocess.noise", "preprocess.person_tags"),
    ("model.kobart.checkpoint", "model.kobart.revision"),
    ("model.qlora.checkpoint", "model.qlora.revision"),
    ("model.qlora.double_quantization", "model.qlora.attention"),
    (
        "tokenizer.max_input_length",
        "tokenizer.max_target_length",
        "tokenizer.special_tokens",
        "tokenizer.new_tokens",
        "hardware.cpu_threads",
        "hardware.portable",
    ),
    ("prompt.style", "prompt.system"),
    tuple(f"augment.{name}.rate" for name in ("speaker_swap", "noise", "turn_dropout", "paraphrase")),
    tuple(f"augment.noise.{kind}" for kind in ("punctuation", "deletion", "swap", "spacing", "typo")),
    tuple(
        f"pretrain.{name}"
        for name in (
            *("num_train_epochs", "texts", "dialogues", "per_device_train_batch_size", "gradient_accumulation_steps"),
            *("learning_rate", "warmup_steps", "optim", "gradient_checkpointing", "precision", "full_determinism", "seed"),
        )
    ),
    ("pretrain.save_steps", "pretrain.logging_steps"),
    tuple(f"pretrain.{name}" for name in ("mask_ratio", "poisson_lambda", "permute_turns", "mask_speakers")),
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
        "training.objective.name",
    ),
    ("training.num_train_epochs", "training.per_device_train_batch_size"),
    ("training.objective.r_drop_alpha", "training.objective.tag_weight", "training.objective.unlikelihood"),
    ("training.objective.r3f_lambda", "training.objective.r3f_epsilon", "training.ema_decay"),
    ("training.objective.reward_weight", "training.objective.reward_start", "training.objective.reward_samples"),
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
    (
        "generation.consensus.candidates",
        "generation.consensus.utility",
        "generation.consensus.source",
        "generation.consensus.weights",
        "generation.consensus.facts",
    ),
    ("generation.temperature", "generation.top_p", "generation.top_k", "generation.seed"),
    ("generation.length_penalty", "generation.early_stopping"),
    ("generation.window_overlap", "generation.window_merge"),
    ("score.bootstrap_samples", "score.seed"),
    ("score.gates.better_than", "score.gates.foreign_share", "score.gates.grad_norm", "score.gates.dev_loss_falls"),
)
GROUP_OF = {key: group for group in GROUPS for key in group}


def read_by(family: str, key: str) -> bool:
    """Whether a run of this family shows a key. What preprocess, augment and score do is the same for both: kobart shows it."""
    same = key.startswith(("data.", "preprocess.", "augment.", "score.")) and of_family(key) is None
    return of_family(key) in (None, family) and not (family == "qlora" and same)
