"""What several tests of training share: a short training of the tiny model, and batches for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import (
    MBartConfig,
    MBartForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
    TrainingArguments,
    set_seed,
)

from tests.conftest import DIALOGUES, SUMMARIES
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.config.training_section import Training
from yoyak.data import pair_encoding
from yoyak.data.collation import collate_pairs
from yoyak.models import encoder_decoder, tokenizer_loading
from yoyak.models.families.base import TrainingSetup
from yoyak.training import fit
from yoyak.training.arguments import training_arguments
from yoyak.training.dev_rouge import DevReferences
from yoyak.training.trackers.base import RunDescription
from yoyak.training.trackers.dvclive import DvcLiveTracker
from yoyak.training.tracking import TrackingCallback

TAGS = ("#Person1#", "#Person2#", "#Person3#", "#PhoneNumber#")
REFERENCES = DevReferences([[text] for text in SUMMARIES], "keep_original")  # of `tokenized_splits`
TABLES = Path("live", "plots", "metrics")  # of DVCLive, in the folder of `train_tiny`


def training_section(values: dict[str, Any], **changes: Any) -> Training:
    return parse_params(values | {"training": values["training"] | changes}, source="test").training


def make_arguments(training: Training, folder: Path, *, precision: str = "float32") -> TrainingArguments:
    return training_arguments(training, folder=folder, precision=precision)


def load_tiny_tokenizer(params: Params) -> Any:
    return tokenizer_loading.load_tokenizer(params.model.kobart.checkpoint, None, TAGS)


def load_tiny_model(params: Params, tokenizer: Any) -> Any:
    torch.manual_seed(0)
    return encoder_decoder.load(params.model.kobart.checkpoint, None, tokenizer)


def tokenized_splits(tokenizer: Any) -> datasets.DatasetDict:
    """The eight dialogues as train and as dev."""
    inputs = pair_encoding.encode_sources(tokenizer, DIALOGUES, 128)
    columns = {
        "fname": [str(index) for index in range(len(inputs))],
        "input_ids": inputs,
        "labels": pair_encoding.encode_targets(tokenizer, SUMMARIES, 48),
        "length": [len(ids) for ids in inputs],
    }
    return datasets.DatasetDict({name: datasets.Dataset.from_dict(columns) for name in ("train", "dev")})


def train_tiny(
    params: Params,
    folder: Path,
    change: Callable[[Any], object] = lambda _: None,
    *,
    precision: str = "float32",
    **changes: Any,
) -> tuple[dict[str, Any], Any, TrainingArguments]:
    """Train the tiny model as the stage does. DVCLive writes to folder/live, checkpoints go to folder/checkpoints.

    Args:
        change: is called with the model before the training.
        changes: of the section `training`.

    Returns:
        What `fit.train` returns, the model, and the trainer's arguments.
    """
    training = params.training.model_copy(update=changes)
    set_seed(training.seed)
    tokenizer = load_tiny_tokenizer(params)
    model = encoder_decoder.load(params.model.kobart.checkpoint, None, tokenizer)
    change(model)
    args = training_arguments(training, folder=folder / "checkpoints", precision=precision)
    tracker = DvcLiveTracker()
    tracker.start(folder / "live", RunDescription("training"))
    data = fit.TrainingData(tokenized_splits(tokenizer), REFERENCES, max_target_length=48)
    result = fit.train(setup_of(model, tokenizer), data, training, args, callbacks=[TrackingCallback([tracker])])
    tracker.end()
    return result, model, args


def setup_of(model: Any, tokenizer: Any) -> TrainingSetup:
    """What `KobartFamily.prepare_training` returns, for a model in float32."""
    return TrainingSetup(model, tokenizer, collate_pairs(tokenizer, model), "float32", model.save_pretrained, "tiny")


def read_points(file: Path) -> list[tuple[int, float]]:
    """(step, value) of one of DVCLive's tables."""
    header, *lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    assert header.split("\t") == ["step", file.stem]
    return [(int(step), float(value)) for step, value in (line.split("\t") for line in lines)]


def file_contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def model_without_dropout(model_type: str, params: Params, tokenizer: Any) -> Any:
    """A tiny bart, mbart or t5."""
    torch.manual_seed(0)
    ids = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "decoder_start_token_id": 1}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    layers = {"encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    if model_type == "mbart":
        model: Any = MBartForConditionalGeneration(MBartConfig(**ids, **heads, **layers, d_model=8, scale_embedding=True))
    elif model_type == "t5":
        model = T5ForConditionalGeneration(T5Config(**ids, d_model=8, d_kv=4, d_ff=16, num_layers=2, num_heads=2))
    else:
        model = load_tiny_model(params, tokenizer)
    for module in model.modules():
        for name in ("dropout", "p"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model


def padded_batch(
    params: Params, model_type: str = "bart", *, seed: int = 0, rows: int = 16
) -> tuple[Any, dict[str, torch.Tensor]]:
    """A model without dropout, and a batch whose rows have sources and targets of different lengths."""
    tokenizer = load_tiny_tokenizer(params)
    model = model_without_dropout(model_type, params, tokenizer)
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 60, (rows, 2), generator=generator).tolist()
    return model, collate_pairs(tokenizer, model)(
        [
            {
                name: torch.randint(9, 99, (length,), generator=generator).tolist()
                for name, length in zip(("input_ids", "labels"), row_lengths, strict=True)
            }
            for row_lengths in lengths
        ]
    )


def rows_of(batch: dict[str, torch.Tensor]) -> list[tuple[list[int], list[int], list[int]]]:
    """For each row of a padded batch: source, target, and what the decoder reads, without padding."""
    real = batch["attention_mask"].bool()
    return [
        (ids[mask].tolist(), labels[labels != -100].tolist(), decoder[labels != -100].tolist())
        for ids, mask, labels, decoder in zip(
            batch["input_ids"], real, batch["labels"], batch["decoder_input_ids"], strict=True
        )
    ]


class Killed(BaseException):
    """Nothing catches it, like a kill."""


def kill_after(batches: int) -> Callable[[Any], None]:
    """A change of a model that raises Killed in the training, after so many batches."""

    def change(model: Any) -> None:
        seen = 0

        def before(module: Any, inputs: Any) -> None:
            nonlocal seen
            seen += module.training
            if seen > batches:
                raise Killed

        model.register_forward_pre_hook(before)

    return change
