"""`yoyak doctor`: checks that find within a minute what would stop a long run."""

import importlib.metadata
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from yoyak.augmentation.report import describe_plan
from yoyak.augmentation.unlabelled import read_unlabelled
from yoyak.config.sections import Params
from yoyak.config.uncommitted import uncommitted_note
from yoyak.data import collation
from yoyak.data.denoising import mask_token_of
from yoyak.data.split_files import find_split
from yoyak.data.splits import SplitCleaner
from yoyak.inference.endpoint import client
from yoyak.models import checkpoints
from yoyak.models.families.base import Family, TrainingSetup
from yoyak.models.families.lookup import family_named
from yoyak.system import hardware
from yoyak.system.dvc_paths import check_dvc_paths
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import counted
from yoyak.training import memory_checks
from yoyak.training.length_check import describe_data_lengths
from yoyak.training.score_checks import describe_model, describe_score
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
    setup: TrainingSetup | None = None

    @property
    def family(self) -> Family:
        return family_named(self.params.model.family)


@dataclass(frozen=True)
class Check:
    """One line of the report.

    `run` returns what it found, or raises YoyakError. The check is left out if one of the checks that it `needs` failed or was
    left out.
    """

    name: str
    run: Callable[[Subject], str]
    needs: tuple[str, ...] = ()


def check_params(subject: Subject) -> str:
    """They are validated when they are loaded. What is left to say is what a user may have forgotten."""
    lines = ["valid"]
    if subject.params.training.debug:
        lines.append(
            "WARNING: training.debug is true: the next run trains for one epoch on a few rows, and its scores are no results; "
            "write false there"
        )
    if note := uncommitted_note():
        lines.append(note)
    return "\n      ".join(line for text in lines for line in text.split("\n"))


def check_versions(_: Subject) -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)


def check_dvc(_: Subject) -> str:
    return check_dvc_paths(Path())


def check_trackers(_: Subject) -> str:
    return ", ".join([lookup.ALWAYS_ON, *lookup.further_trackers()])


def check_device(_: Subject) -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()} ({torch.cuda.device_count()} GPU)"
    return f"CPU, {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"


def check_score(subject: Subject) -> str:
    return describe_score(subject.params)


def check_data(subject: Subject) -> str:
    """Reads and parses every row, as preprocess does."""
    params = subject.params
    cleaner = SplitCleaner(params.data, params.preprocess, near=True)
    for split in cleaner.paths:
        deque(cleaner.clean(split), maxlen=0)  # reads every row and keeps none
    cleaner.check()
    rows = ", ".join(f"{split} {report.rows_out} rows" for split, report in cleaner.reports.items())
    notes = [note for split, report in cleaner.reports.items() for note in report.messages(str(cleaner.paths[split]))]
    notes += cleaner.near_duplicates()
    return "\n  ".join([rows, *notes])


def check_augment(subject: Subject) -> str:
    """Which methods add rows to train, and whether they find what they need."""
    return describe_plan(subject.params)


def check_pretrain(subject: Subject) -> str:
    """Whether the checkpoint is pre-trained further, on which dialogues, and whether memory suffices."""
    params = subject.params
    settings = params.pretrain
    if not settings.is_on or not subject.family.is_trained:
        return "off"
    texts = ["the dialogues of train"] if settings.texts != "unlabelled" else []
    if settings.texts != "train":
        count = len(read_unlabelled(Path(settings.dialogues), param="pretrain.dialogues"))
        texts.append(f"{counted(count, 'dialogue')} of {settings.dialogues}")
    if not subject.family.trains_adapter:
        mask_token_of(subject.family.load_tokenizer(params), params.model.chosen.checkpoint)
    return f"{settings.num_train_epochs:g} epochs over {' and '.join(texts)}; {memory_checks.check_pretraining(params)}"


def check_memory_of_adapter(subject: Subject) -> str:
    return memory_checks.check_adapter_training(subject.params)


def check_checkpoint(subject: Subject) -> str:
    """Loads model and tokenizer as the training does."""
    params, chosen = subject.params, subject.params.model.chosen
    limits = subject.family.token_limits(params.tokenizer, params.generation)
    checkpoints.check_token_limits(chosen.checkpoint, chosen.revision, limits)
    setup = subject.setup = subject.family.prepare_training(params)
    setup.model.to(hardware.default_device())
    details = "; ".join(setup.description.removeprefix(f"{chosen.checkpoint}: ").splitlines())
    return f"{chosen.checkpoint} ({setup.model.config.model_type}), {len(setup.tokenizer)} tokens; {details}"


def check_lengths(subject: Subject) -> str:
    setup = _loaded(subject)
    positions = getattr(setup.model.config, "max_position_embeddings", None)
    return describe_data_lengths(subject.params, subject.family, setup.tokenizer, positions)


def check_precision(subject: Subject) -> str:
    parameters = _loaded(subject).model.num_parameters()
    quantized = subject.family.trains_adapter
    return " — ".join(hardware.choose_precision(subject.params.training.precision, parameters=parameters, quantized=quantized))


def check_memory_of_full_training(subject: Subject) -> str:
    return memory_checks.check_full_training(_loaded(subject).model, subject.params)


def check_one_step(subject: Subject) -> str:
    """Trains one step on the first two train rows, with a batch as the pipeline makes it."""
    model = _loaded(subject).model
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


def check_key(subject: Subject) -> str:
    """Whether the key of the API is in the environment. Its value is not shown."""
    key = client.read_key(subject.params.model.endpoint)
    return f"{key.variable} is {'set' if key.is_set else 'not set; this server may need none'}"


def check_server(subject: Subject) -> str:
    """Asks the server which models it has. No dialogue is sent."""
    settings = subject.params.model.endpoint
    return describe_model(settings.model, settings.url, client.offered_models(settings))


def _loaded(subject: Subject) -> TrainingSetup:
    if subject.setup is None:
        raise RuntimeError("this check needs the check of the checkpoint")
    return subject.setup


def _batch(subject: Subject) -> collation.Batch:
    params, setup = subject.params, _loaded(subject)
    table = find_split(Path(params.data.dir), "train").rows(["dialogue", "summary"])
    cells = [row.cells for row in islice(table, 2)]
    columns = {key: [row.get(key, "") for row in cells] for key in ("fname", "dialogue", "summary", "topic")}
    encoded = subject.family.batch_encoders(setup.tokenizer, params, [])["train"](columns)
    rows = zip(encoded["input_ids"], encoded["labels"], strict=True)
    return setup.collate([{"input_ids": ids, "labels": labels} for ids, labels in rows])


CHECKS_OF_EVERY_FAMILY = (
    Check("params", check_params),
    Check("versions", check_versions),
    Check("dvc", check_dvc),
    Check("trackers", check_trackers),
    Check("device", check_device),
    Check("score", check_score),
    Check("data", check_data),
    Check("augment", check_augment),
    Check("pretrain", check_pretrain),
)
FULL_TRAINING_CHECKS = (
    *CHECKS_OF_EVERY_FAMILY,
    Check("checkpoint", check_checkpoint),
    Check("lengths", check_lengths, needs=("data", "checkpoint")),
    Check("precision", check_precision, needs=("checkpoint",)),
    Check("memory", check_memory_of_full_training, needs=("checkpoint",)),
    Check("one step", check_one_step, needs=("checkpoint",)),
)
ADAPTER_CHECKS = (
    *CHECKS_OF_EVERY_FAMILY,
    Check("memory", check_memory_of_adapter),
    Check("checkpoint", check_checkpoint, needs=("memory",)),  # a model that does not fit is not loaded
    Check("lengths", check_lengths, needs=("data", "checkpoint")),
    Check("precision", check_precision, needs=("checkpoint",)),
    Check("one step", check_one_step, needs=("checkpoint",)),
)


ENDPOINT_CHECKS = (
    *CHECKS_OF_EVERY_FAMILY,
    Check("key", check_key),
    Check("server", check_server, needs=("key",)),
)


def _checks_of(family: Family) -> tuple[Check, ...]:
    if family.trains_adapter:
        return ADAPTER_CHECKS
    if family.is_trained:
        return FULL_TRAINING_CHECKS
    return CHECKS_OF_EVERY_FAMILY if family.name == "ensemble" else ENDPOINT_CHECKS


def run_checks(params: Params, *, step: bool) -> bool:
    """Run the checks of the chosen family, and print one line for each.

    Args:
        params: the params of the run.
        step: whether to train one step too.

    Returns:
        Whether every check passed.
    """
    subject = Subject(params)
    passed: set[str] = set()
    all_passed = True
    for check in _checks_of(subject.family):
        if not passed.issuperset(check.needs) or (check.run is check_one_step and not step):
            continue
        try:
            print(f"ok    {check.name}: {check.run(subject)}", flush=True)
            passed.add(check.name)
        except (YoyakError, importlib.metadata.PackageNotFoundError, torch.OutOfMemoryError) as error:
            print(f"FAIL  {check.name}: {error}", flush=True)
            all_passed = False
    return all_passed
