"""The typed sections of params.yaml."""

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def number_from_text(value: object) -> object:
    """A number that a YAML 1.1 writer left as text ("2e-05" has no dot, so YAML 1.1 takes it for a string)."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+", value):
        return float(value)
    return value


Float = Annotated[float, BeforeValidator(number_from_text)]
Share = Annotated[Float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[Float, Field(ge=0)]
Script = Literal["latin", "han", "kana", "other"]
FamilyName = Literal["kobart", "qlora"]
BackendName = Literal["auto", "transformers", "ctranslate2", "ctranslate2-int8"]


class Section(BaseModel):
    """Frozen; unknown keys are errors; nothing is coerced (but text like "2e-05" to a number)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class Data(Section):
    dir: Annotated[str, Field(min_length=1)]


class Preprocess(Section):
    noise: Literal["minimal", "moderate", "aggressive"]
    person_tags: Literal["keep_original", "simplify", "abstract"]
    max_rejected: Annotated[int, Field(ge=0)]


class Checkpoint(Section):
    """What `from_pretrained` takes: a folder, or a hub name with its revision."""

    checkpoint: Annotated[str, Field(min_length=1)]
    revision: str | None


class QuantizedCheckpoint(Checkpoint):
    """A decoder-only checkpoint, and how it is loaded."""

    quantization: Literal["nf4", "int8", "none"]
    double_quantization: bool
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"]
    padding_free: Literal["auto", "always", "never"]
    offload_folder: str | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.padding_free == "always" and self.attention == "eager":
            raise ValueError("padding_free: always needs model.qlora.attention: auto, sdpa or flash_attention_2")
        return self


class Model(Section):
    family: FamilyName
    kobart: Checkpoint
    qlora: QuantizedCheckpoint

    @property
    def chosen(self) -> Checkpoint:
        return self.kobart if self.family == "kobart" else self.qlora


class Tokenizer(Section):
    max_input_length: Annotated[int, Field(ge=8)]
    max_target_length: Annotated[int, Field(ge=4)]
    special_tokens: list[Annotated[str, Field(pattern=r"^#[A-Za-z]+\d?#$")]]


class Prompt(Section):
    """What a decoder-only model is asked; the qlora family alone reads it."""

    style: Literal["structured", "plain", "instruction"]
    system: str | None
    topic: Literal["auto", "always", "never"]
    augmentation: Literal["none", "templates"]


# For each scheduler what lr_scheduler_kwargs may hold, and of what it must hold one (transformers.optimization).
_DECAY = {"decay_type", "min_lr_ratio", "num_cycles", "num_decay_steps", "num_stable_steps", "warmup_type"}
_SCHEDULER_KWARGS: dict[str, tuple[set[str], set[str]]] = {
    "linear": (set(), set()),
    "cosine": ({"num_cycles"}, set()),
    "cosine_with_restarts": ({"num_cycles"}, set()),
    "polynomial": ({"lr_end", "power"}, set()),
    "constant": (set(), set()),
    "constant_with_warmup": (set(), set()),
    "inverse_sqrt": ({"timescale"}, set()),
    "reduce_lr_on_plateau": ({"cooldown", "eps", "factor", "min_lr", "mode", "patience", "threshold", "threshold_mode"}, set()),
    "cosine_with_min_lr": ({"min_lr", "min_lr_rate", "num_cycles"}, {"min_lr", "min_lr_rate"}),
    "warmup_stable_decay": (_DECAY, {"num_decay_steps"}),
}


class Training(Section):
    """Keys are transformers' TrainingArguments, but `precision`, `early_stopping_patience` and `debug`, which are ours."""

    num_train_epochs: Annotated[Float, Field(gt=0)]
    per_device_train_batch_size: Count
    per_device_eval_batch_size: Count
    gradient_accumulation_steps: Count
    learning_rate: Annotated[Float, Field(gt=0, le=1)]
    lr_scheduler_type: Literal[
        "linear",
        "cosine",
        "cosine_with_restarts",
        "polynomial",
        "constant",
        "constant_with_warmup",
        "inverse_sqrt",
        "reduce_lr_on_plateau",
        "cosine_with_min_lr",
        "warmup_stable_decay",
    ]
    lr_scheduler_kwargs: dict[str, Any]
    warmup_steps: NotNegative
    weight_decay: Share
    label_smoothing_factor: Annotated[Float, Field(ge=0, lt=1)]
    max_grad_norm: NotNegative
    optim: Literal[
        "adamw_torch",
        "adamw_torch_fused",
        "adafactor",
        "sgd",
        "adamw_bnb_8bit",
        "paged_adamw_32bit",
        "paged_adamw_8bit",
    ]
    adam_beta1: Annotated[Float, Field(ge=0, lt=1)]
    adam_beta2: Annotated[Float, Field(ge=0, lt=1)]
    adam_epsilon: Annotated[Float, Field(gt=0)]
    train_sampling_strategy: Literal["group_by_length", "random"]
    gradient_checkpointing: bool
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    metric_for_best_model: Literal["rouge_sum", "rouge1", "rouge2", "rougeL", "loss"]
    predict_with_generate: bool
    generation_num_beams: Count
    early_stopping_patience: Annotated[int, Field(ge=0)]
    save_steps: Annotated[int, Field(ge=0)]
    save_total_limit: Count
    logging_steps: Count
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    full_determinism: bool
    debug: bool

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.metric_for_best_model != "loss" and not self.predict_with_generate:
            raise ValueError("metric_for_best_model: a ROUGE needs training.predict_with_generate: true (or choose loss)")
        known, needed = _SCHEDULER_KWARGS[self.lr_scheduler_type]
        if unknown := set(self.lr_scheduler_kwargs) - known:
            raise ValueError(
                f"lr_scheduler_kwargs: {self.lr_scheduler_type} takes {', '.join(sorted(known)) or 'none'}, "
                f"not {', '.join(sorted(unknown))}"
            )
        if needed and not needed & set(self.lr_scheduler_kwargs):
            raise ValueError(f"lr_scheduler_kwargs: {self.lr_scheduler_type} needs {' or '.join(sorted(needed))}")
        for key, value in self.lr_scheduler_kwargs.items():
            finite = not isinstance(value, float) or math.isfinite(value)
            if not (value is None or (isinstance(value, str | int | float) and finite)):
                raise ValueError(f"lr_scheduler_kwargs: {key} is neither a finite number nor a word")
        if self.warmup_steps > 1 and self.warmup_steps != int(self.warmup_steps):
            raise ValueError("warmup_steps: a share of all steps (below 1) or a whole number of steps")
        return self


class Lora(Section):
    """Keys of peft's LoraConfig; the qlora family alone reads them."""

    r: Count
    lora_alpha: Count
    lora_dropout: Annotated[Float, Field(ge=0, lt=1)]


class Generation(Section):
    """Keys are transformers' GenerationConfig, but `blocked_scripts`, `batch_size`, `backend` and `postprocess`, which
    are ours."""

    max_new_tokens: Count
    min_new_tokens: Annotated[int, Field(ge=0)]
    num_beams: Count
    do_sample: bool
    temperature: Annotated[Float, Field(gt=0)]
    top_p: Annotated[Float, Field(gt=0, le=1)]
    top_k: Annotated[int, Field(ge=0)]
    repetition_penalty: Annotated[Float, Field(gt=0)]
    length_penalty: Float
    no_repeat_ngram_size: Annotated[int, Field(ge=0)]
    early_stopping: Literal[True, False, "never"]
    blocked_scripts: list[Script]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    batch_size: Count
    backend: BackendName
    postprocess: Literal["never", "auto", "always"]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(
                f"min_new_tokens: {self.min_new_tokens} is more than generation.max_new_tokens ({self.max_new_tokens})"
            )
        return self


class Hardware(Section):
    cpu_threads: Count | None


class Score(Section):
    references: Literal["mean", "max"]
    bootstrap_samples: Annotated[int, Field(ge=100, le=100_000)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]


class SearchStatus(Section):
    """What a search writes into the experiment of a trial that it ended early."""

    pruned: str | None


class Params(Section):
    """All of params.yaml."""

    data: Data
    preprocess: Preprocess
    model: Model
    tokenizer: Tokenizer
    prompt: Prompt
    training: Training
    lora: Lora
    generation: Generation
    hardware: Hardware
    score: Score
    search: SearchStatus
