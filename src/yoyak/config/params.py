"""params.yaml as frozen, typed sections. Every fault is reported at once, by its dotted name, before any work."""

import difflib
import functools
import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from yoyak.system.errors import YoyakError
from yoyak.system.text_files import first_bytes, printable

# Of a YAML file, far more than ours have. Each bounds what a small file can cost: aliases of aliases multiply.
MOST_BYTES, MOST_BRACKETS, MOST_ALIASES = 20_000, 50, 10
MOST_SHOWN = 50  # faults named in a message


def number(value: object) -> object:
    """A number that a YAML 1.1 writer left as text ("2e-05" has no dot, so YAML 1.1 takes it for a string)."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+", value):
        return float(value)
    return value


Float = Annotated[float, BeforeValidator(number)]
Share = Annotated[Float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[Float, Field(ge=0)]
Script = Literal["latin", "han", "kana", "other"]


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


class Quantized(Checkpoint):
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
    family: Literal["kobart", "qlora"]
    kobart: Checkpoint
    qlora: Quantized

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
    backend: Literal["auto", "transformers", "ctranslate2", "ctranslate2-int8"]
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


class Search(Section):
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
    search: Search


@functools.cache
def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key below `model`."""
    names = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += [prefix + name, *keys(kind, f"{prefix}{name}.")]
        else:
            names.append(prefix + name)
    return names


@functools.cache
def leaves() -> list[str]:
    """Every dotted name that has a value in params.yaml."""
    valid = keys(Params)
    return [name for name in valid if not any(other.startswith(f"{name}.") for other in valid)]


def nearest(name: str, model: type[BaseModel]) -> str:
    """ " (did you mean KEY?)": the key of `model` that an unknown one was probably meant to be, or nothing.

    That is a sibling of nearly that name, or one of another section.
    """
    section, _, last = name.rpartition(".")
    valid = keys(model)
    anywhere = {key.rpartition(".")[2]: key for key in valid}
    siblings = {key.rpartition(".")[2]: key for key in valid if key.rpartition(".")[0] == section}
    found = [anywhere[last]] if last in anywhere else []
    for among, cutoff in ((siblings, 0.6), (anywhere, 0.7)):
        found += [among[near] for near in difflib.get_close_matches(last, among, n=1, cutoff=cutoff)]
    return f" (did you mean {found[0]}?)" if found else ""


def _describe(error: dict[str, Any], model: type[BaseModel]) -> str:
    """One line for one of pydantic's errors."""
    name = ".".join(printable(str(part)) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{name}: unknown key{nearest(name, model)}"
    if error["type"] == "missing":
        return f"{name}: missing"
    message = printable(str(error["msg"]).removeprefix("Value error, "), 500)
    if error["type"] == "value_error":  # from a check over several keys, which names the key itself
        return f"{name}.{message}" if name else message
    return f"{name}: {message[0].lower()}{message[1:]} (is {_short(error['input'])})"


def _short(value: object) -> str:
    """A value as a message may hold it: Python refuses to write out an integer of very many digits."""
    if isinstance(value, int) and abs(value) >= 10**50:
        return "an integer of very many digits"
    try:
        return printable(repr(value), 200)
    except ValueError:
        return f"a {type(value).__name__} with an integer of very many digits"


Validated = TypeVar("Validated", bound=BaseModel)


def check(model: type[Validated], values: object, *, source: str) -> Validated:
    """A mapping as a `model`.

    Raises:
        YoyakError: with one line for each unknown, missing, mistyped or out-of-range key. `source` is named in it.
    """
    if not isinstance(values, dict):
        raise YoyakError(f"{source}: no mapping of {', '.join(model.model_fields)}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        count = error.error_count()
        lines = [_describe(dict(item), model) for item in error.errors()[:MOST_SHOWN]]
        more = [f"and {count - MOST_SHOWN} more"] if count > MOST_SHOWN else []
        raise YoyakError("\n  ".join([f"{source}: {count} fault{'s' * (count > 1)}", *lines, *more])) from None


def parse(values: object, *, source: str) -> Params:
    """The typed parameters of a mapping. YoyakError as `check` has it."""
    return check(Params, values, source=source)


def read(path: Path) -> object:
    """The values of a YAML 1.2 file (there 2e-5 and 2e-05 are numbers). YoyakError if it is missing or is no YAML."""
    if not path.exists():
        raise YoyakError(f"{path}: there is no such file here; run from the repository's root")
    first_bytes(path)  # says what is wrong with a pipe or a folder
    if path.stat().st_size > MOST_BYTES:
        raise YoyakError(f"{path}: more than {MOST_BYTES:,} bytes; this is another file")
    try:
        return _yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise YoyakError(f"{path}: not readable as YAML: {printable(' '.join(str(error).split()), 500)}") from None


def _yaml(text: str) -> object:
    """The value of a YAML text. ValueError if it is none, or if it would grow out of all proportion."""
    from ruamel.yaml import YAML
    from ruamel.yaml.events import AliasEvent

    steps = (1 if bracket in "[{" else -1 for bracket in re.findall(r"[\[\]{}]", text))
    if max(itertools.accumulate(steps), default=0) > MOST_BRACKETS:
        raise ValueError(f"more than {MOST_BRACKETS} brackets in one another")
    try:
        if "*" in text:
            events = YAML(typ="safe", pure=True).parse(text)
            if sum(isinstance(event, AliasEvent) for event in events) > MOST_ALIASES:
                raise ValueError(f"more than {MOST_ALIASES} aliases (*name)")
        value: object = YAML(typ="safe", pure=True).load(text)
    except Exception as error:  # on odd tags and nestings ruamel fails with KeyError, IndexError, RecursionError, …
        raise ValueError(error) from None
    return value


def parse_change(change: str) -> tuple[str, Any]:
    """Name and value of "section.key=value", the value as YAML, like `dvc exp run -S`. YoyakError if it is none."""
    name, _, value = change.partition("=")
    if name not in leaves():
        raise YoyakError(f"{printable(name)}: unknown key{nearest(name, Params)}")
    try:
        return name, _yaml(value)
    except ValueError:
        raise YoyakError(f"{name}: {printable(repr(value))} is no YAML value") from None


def load(path: Path = Path("params.yaml"), *, changes: Sequence[str] = ()) -> Params:
    """Read and check params.yaml, with `changes` ("section.key=value") put over it."""
    values = read(path)
    for name, value in map(parse_change, changes):
        *sections, key = name.split(".")
        place = values
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise YoyakError(f"{path}: no section {'.'.join(sections)}")
        place[key] = value
    return parse(values, source=str(path))
