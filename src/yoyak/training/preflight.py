"""`yoyak doctor`: checks that find within a minute what would stop a long run."""

import importlib.metadata
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from yoyak.config.sections import Params
from yoyak.data import collation, tokenization
from yoyak.data.splits import SplitCleaner
from yoyak.evaluation import rouge
from yoyak.evaluation.morphemes import Morphemes
from yoyak.models import checkpoints, encoder_decoder, lora
from yoyak.system import hardware
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_csv
from yoyak.training import memory_checks
from yoyak.training.trackers import lookup

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "datasets",
    "accelerate",
    "ctranslate2",
    "dvc",
    "dvclive",
    "optuna",
    "rapidfuzz",
    "rouge-score",
    "python-mecab-ko",
)


@dataclass
class Subject:
    """What the checks examine. The check of the checkpoint loads the model and its tokenizer for those after it."""

    params: Params
    model: PreTrainedModel | None = None
    tokenizer: PreTrainedTokenizerBase | None = None

    @property
    def is_decoder_only(self) -> bool:
        return self.params.model.family == "qlora"


@dataclass(frozen=True)
class Check:
    """One line of the report.

    `run` returns what it found, or raises YoyakError. The check is left out if one of the checks that it `needs` failed or was
    left out.
    """

    name: str
    run: Callable[[Subject], str]
    needs: tuple[str, ...] = ()


def check_params(_: Subject) -> str:
    return "valid"  # they are validated when they are loaded


def check_versions(_: Subject) -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)


def check_trackers(_: Subject) -> str:
    return ", ".join([lookup.ALWAYS_ON, *lookup.further_trackers()])


def check_device(_: Subject) -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()} ({torch.cuda.device_count()} GPU)"
    return f"CPU, {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"


def check_score(subject: Subject) -> str:
    Morphemes()  # raises if Mecab or its dictionary is missing
    return f"Mecab loads; {rouge.signature(subject.params.score.references)}"


def check_data(subject: Subject) -> str:
    """Reads and parses every row, as preprocess does."""
    params = subject.params
    cleaner = SplitCleaner(Path(params.data.dir), params.preprocess)
    for split in cleaner.paths:
        deque(cleaner.clean(split), maxlen=0)  # reads every row and keeps none
    cleaner.check()
    return ", ".join(f"{split} {report.rows_out} rows" for split, report in cleaner.reports.items())


def check_memory_of_adapter(subject: Subject) -> str:
    return memory_checks.check_adapter_training(subject.params)


def check_checkpoint(subject: Subject) -> str:
    """Loads model and tokenizer as the training does."""
    params, chosen = subject.params, subject.params.model.chosen
    subject.tokenizer = checkpoints.load_tokenizer(
        chosen.checkpoint, chosen.revision, params.tokenizer.special_tokens, pad_with_eos=subject.is_decoder_only
    )
    lengths = checkpoints.lengths_of(params.model.family, params.tokenizer, params.generation)
    checkpoints.check_lengths(chosen.checkpoint, chosen.revision, lengths)
    if subject.is_decoder_only:
        settings = params.model.qlora
        precision, _ = hardware.choose_precision(params.training.precision, parameters=0, quantized=True)
        base, new_tokens = lora.load_base(settings, subject.tokenizer, precision=precision)
        model = lora.add_lora(base, params.lora, new_tokens=new_tokens, settings=settings)
        model_type, details = base.config.model_type, f", {lora.describe(model)}"
    else:
        model = encoder_decoder.load(chosen.checkpoint, chosen.revision, subject.tokenizer).to(hardware.default_device())
        model_type, details = model.config.model_type, ""
    subject.model = model
    return f"{chosen.checkpoint} ({model_type}), {len(subject.tokenizer)} tokens{details}"


def check_precision(subject: Subject) -> str:
    model, _ = _loaded(subject)
    return " — ".join(
        hardware.choose_precision(
            subject.params.training.precision, parameters=model.num_parameters(), quantized=subject.is_decoder_only
        )
    )


def check_memory_of_full_training(subject: Subject) -> str:
    model, _ = _loaded(subject)
    return memory_checks.check_full_training(model, subject.params)


def check_one_step(subject: Subject) -> str:
    """Trains one step on the first two train rows, with a batch as the pipeline makes it."""
    model, _ = _loaded(subject)
    batch = {
        key: value.to(model.device) if isinstance(value, torch.Tensor) else value for key, value in _batch(subject).items()
    }
    model.train()
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=subject.params.training.learning_rate)
    losses = []
    for _ in range(2):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if not all(map(torch.isfinite, torch.tensor(losses))):
        raise YoyakError(f"the loss is {losses[0]}, and {losses[1]} after one step; lower training.learning_rate")
    return f"loss {losses[0]:.3f}, after one step {losses[1]:.3f}"


def _loaded(subject: Subject) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if subject.model is None or subject.tokenizer is None:
        raise RuntimeError("this check needs the check of the checkpoint")
    return subject.model, subject.tokenizer


def _batch(subject: Subject) -> collation.Batch:
    params, (model, tokenizer) = subject.params, _loaded(subject)
    table = read_csv(Path(params.data.dir) / "train.csv", required=["dialogue", "summary"])
    cells = [row.cells for row, _ in zip(table, range(2), strict=False)]
    columns = {key: [row.get(key, "") for row in cells] for key in ("fname", "dialogue", "summary", "topic")}
    encode = tokenization.encoders(
        tokenizer, family=params.model.family, lengths=params.tokenizer, ask=params.prompt, test_rows=[]
    )["train"]
    encoded = encode(columns)
    rows = zip(encoded["input_ids"], encoded["labels"], strict=True)
    if subject.is_decoder_only:
        collate = collation.collate_chats(tokenizer.pad_token_id, padding_free=False)
    else:
        collate = collation.collate_pairs(tokenizer, model)
    return collate([{"input_ids": ids, "labels": labels} for ids, labels in rows])


CHECKS_OF_EVERY_FAMILY = (
    Check("params", check_params),
    Check("versions", check_versions),
    Check("trackers", check_trackers),
    Check("device", check_device),
    Check("score", check_score),
    Check("data", check_data),
)
ENCODER_DECODER_CHECKS = (
    *CHECKS_OF_EVERY_FAMILY,
    Check("checkpoint", check_checkpoint),
    Check("precision", check_precision, needs=("checkpoint",)),
    Check("memory", check_memory_of_full_training, needs=("checkpoint",)),
    Check("one step", check_one_step, needs=("checkpoint",)),
)
DECODER_ONLY_CHECKS = (
    *CHECKS_OF_EVERY_FAMILY,
    Check("memory", check_memory_of_adapter),
    Check("checkpoint", check_checkpoint, needs=("memory",)),  # a model that does not fit is not loaded
    Check("precision", check_precision, needs=("checkpoint",)),
    Check("one step", check_one_step, needs=("checkpoint",)),
)


def run_checks(params: Params, *, step: bool) -> bool:
    """Run the checks of the chosen family, and print one line for each.

    Args:
        params: the params of the run.
        step: whether to train one step too.

    Returns:
        Whether every check passed.
    """
    subject = Subject(params)
    checks = DECODER_ONLY_CHECKS if subject.is_decoder_only else ENCODER_DECODER_CHECKS
    passed: set[str] = set()
    all_passed = True
    for check in checks:
        if not passed.issuperset(check.needs) or (check.run is check_one_step and not step):
            continue
        try:
            print(f"ok    {check.name}: {check.run(subject)}", flush=True)
            passed.add(check.name)
        except (YoyakError, importlib.metadata.PackageNotFoundError, torch.OutOfMemoryError) as error:
            print(f"FAIL  {check.name}: {error}", flush=True)
            all_passed = False
    return all_passed
