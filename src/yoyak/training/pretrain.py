"""Further pre-training of a checkpoint on dialogues: what the stage pretrain runs.

An encoder-decoder learns to undo noise (`data.denoising`), a decoder-only model to write the next token. The trainer is that of
the training stages. The noise of a dialogue depends on the seed, the epoch and the dialogue alone, so a run that was killed and
resumed sees the same noise as one that was not.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import datasets
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from yoyak.config.fields import Section
from yoyak.config.sections import Params
from yoyak.data.collation import IGNORED_LABEL, Batch, Collator
from yoyak.data.denoising import Denoising, mask_token_of
from yoyak.data.encoding_checks import neutralize
from yoyak.data.pair_encoding import encode_sources, encode_targets
from yoyak.models.checkpoints import fingerprint
from yoyak.models.families.base import Family, TrainingSetup
from yoyak.models.new_tokens import choose_words
from yoyak.system import hardware
from yoyak.system.processes import is_launched, rank
from yoyak.system.resumable import work_folder, work_hashes
from yoyak.system.text_files import write_json
from yoyak.system.timings import record_seconds
from yoyak.training.dev_rouge import DevReferences
from yoyak.training.fit import TrackedRun, TrainingData, fit
from yoyak.training.pretraining_texts import Texts, choose_texts, hold_out, pieces
from yoyak.training.process_group import processes_together
from yoyak.training.trackers.base import RunDescription

REPORT = "pretrain.json"  # in metrics/pretrain
RECORD = "pretrained.json"  # in models/pretrained: where the model comes from
Encode = Callable[[str, random.Random], tuple[list[int], list[int]]]  # a text to input ids and labels


class TextsKey(Section):
    """Which dialogues are read, for the key of the work folder."""

    sha256: str


@dataclass
class TextCollator:
    """Makes a batch of rows with text, row and held_out.

    Attributes:
        encode: gives the input ids and labels of a text.
        collate: makes a batch of tensors from rows with input_ids and labels.
        seed: `pretrain.seed`.
        epoch: the number of the current epoch. Texts that are held out have the same noise in each.
    """

    encode: Encode
    collate: Collator
    seed: int
    epoch: int = 0

    def __call__(self, rows: list[Batch]) -> Batch:
        return self.collate([self._encode(row) for row in rows])

    def _encode(self, row: Batch) -> Batch:
        when = "held out" if row["held_out"] else self.epoch
        ids, labels = self.encode(row["text"], random.Random(f"{self.seed} {when} {row['row']}"))
        return {"input_ids": ids, "labels": labels}


@dataclass
class Progress(TrainerCallback):  # type: ignore[misc]
    """Tells the collator which epoch it is, and keeps the log of the training."""

    collator: TextCollator
    log: list[dict[str, float]] = field(default_factory=list)

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.collator.epoch = int(state.epoch or 0)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.log = list(state.log_history)

    def curve(self, name: str, by: str) -> list[list[float]]:
        """Pairs of a step or epoch and a value of the log."""
        return [[round(entry[by], 4), round(entry[name], 6)] for entry in self.log if name in entry]


def encode_next_token(text: str, tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[list[int], list[int]]:
    """The ids of a text between the tokens that start and end texts, and the same as labels. The first token is no target."""
    ids: list[int] = tokenizer(neutralize(tokenizer, text)).input_ids
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    ids = ids if start is None or ids[:1] == [start] else [start, *ids]
    ids = ids[:-1] if ids[-1:] == [end] else ids
    ids = [*ids[: max_length - 1], end]
    return ids, [IGNORED_LABEL, *ids[1:]]


def encoder_of(setup: TrainingSetup, params: Params) -> Encode:
    """The function that makes the input and the target of a text, for the kind of model in `setup`.

    Raises:
        YoyakError: if the tokenizer of an encoder-decoder has no mask token.
    """
    tokenizer, max_length = setup.tokenizer, params.tokenizer.max_input_length
    if not setup.model.config.is_encoder_decoder:
        return lambda text, _: encode_next_token(text, tokenizer, max_length)
    mask = mask_token_of(tokenizer, params.model.chosen.checkpoint)
    noise = Denoising(params.pretrain, tokenizer, mask, params.preprocess.person_tags, max_length)
    return lambda text, rng: (noise.source(text, rng), encode_targets(tokenizer, [text], max_length)[0])


def make_rows(texts: Texts, setup: TrainingSetup, params: Params) -> datasets.DatasetDict:
    """The texts in pieces that fit, as train and, for the loss of each epoch, dev. These are no rows of the split dev."""
    limit = params.tokenizer.max_input_length
    is_pair = setup.model.config.is_encoder_decoder

    def tokens(text: str) -> int:
        if is_pair:
            return len(encode_sources(setup.tokenizer, [text], 10**9)[0])
        return len(encode_next_token(text, setup.tokenizer, 10**9)[0])

    splits = {}
    for name, dialogues in zip(("train", "dev"), hold_out(texts.dialogues, params.pretrain.seed), strict=True):
        parts = [part for dialogue in dialogues for part in pieces(dialogue, tokens=tokens, max_length=limit)]
        splits[name] = datasets.Dataset.from_dict(
            {
                "text": parts,
                "row": list(range(len(parts))),
                "held_out": [name == "dev"] * len(parts),
                "length": [min(tokens(part), limit) for part in parts],
            }
        )
    return datasets.DatasetDict(splits)


def pretrain(family: Family, params: Params, *, processed: Path, output: Path, metrics: Path) -> None:
    """Pre-train the checkpoint that params choose, going on from what a killed run has kept.

    Args:
        family: of the checkpoint.
        params: sections preprocess, model, tokenizer, pretrain, hardware, and lora unless the family does not read it.
        processed: folder of the processed rows, verified.
        output: folder for the model, which has the form of a checkpoint.
        metrics: folder for DVCLive's files, the arguments and the report.

    Raises:
        YoyakError: if an input is damaged, there are too few dialogues, the checkpoint cannot be loaded or its tokenizer has
            no mask token, or the loss is not a number.
    """
    set_seed(params.pretrain.seed)
    hardware.configure_cpu(params.hardware.threads_of_process)
    texts = choose_texts(processed, params)
    sections = _result_depends_on(family, params) | {"texts": TextsKey(sha256=texts.digest())}
    depends_on = sections, [processed, Path(params.model.chosen.checkpoint)]
    with processes_together(work_hashes(*depends_on) if is_launched() else {}):
        _pretrain(family, params, texts, depends_on, output=output, metrics=metrics)


def _pretrain(
    family: Family,
    params: Params,
    texts: Texts,
    depends_on: tuple[dict[str, Section], list[Path]],
    *,
    output: Path,
    metrics: Path,
) -> None:
    training = params.pretrain.as_training()
    for message in texts.messages():
        print(f"pretrain: {message}", flush=True)
    is_extended = bool(params.tokenizer.new_tokens)
    processed = depends_on[1][0]
    words = choose_words(params, family.load_tokenizer(params), processed / "train.jsonl") if is_extended else []
    setup = family.prepare_pretraining(params.model_copy(update={"training": training}), words)
    print(setup.description, flush=True)
    collator = TextCollator(encoder_of(setup, params), setup.collate, training.seed)
    progress, rows = Progress(collator), make_rows(texts, setup, params)
    data = TrainingData(rows, DevReferences([], "keep_original"), 0, ("text", "row", "held_out", "length"), (progress,))
    with work_folder("pretrain", *depends_on) as checkpoints:
        is_new, start = not any(checkpoints.iterdir()), time.monotonic()
        fit(
            _with(setup, collator, record=_record(params, texts)),
            data,
            training,
            checkpoints=checkpoints,
            metrics=metrics,
            output=output,
            tracked=TrackedRun(RunDescription("pretraining"), checkpoints / "trackers"),
            is_trial=False,
            write_report=partial(_write_report, rows=rows, texts=texts, progress=progress),
        )
    if rank() == 0:
        record_seconds(output, round(time.monotonic() - start, 2) if is_new else None)


def _result_depends_on(family: Family, params: Params) -> dict[str, Section]:
    names = ("preprocess", "tokenizer", "pretrain", "hardware", *(["lora"] if family.trains_adapter else []))
    return {name: getattr(params, name) for name in names} | {"model": params.model.chosen}


def _with(setup: TrainingSetup, collator: TextCollator, *, record: dict[str, Any]) -> TrainingSetup:
    """`setup` with another collator, which writes where the model comes from beside it."""

    def save(folder: Path) -> None:
        setup.save(folder)
        write_json(folder / RECORD, record)

    return TrainingSetup(setup.model, setup.tokenizer, collator, setup.precision, save, setup.description)


def _record(params: Params, texts: Texts) -> dict[str, Any]:
    chosen = params.model.chosen
    return {
        "checkpoint": chosen.checkpoint,
        "revision": chosen.revision,
        "sha256": fingerprint(chosen.checkpoint),
        "pretrain": params.pretrain.model_dump(),
        **texts.report(),
    }


def _write_report(
    folder: Path, result: dict[str, Any], *, rows: datasets.DatasetDict, texts: Texts, progress: Progress
) -> None:
    """Write the content of metrics/pretrain/pretrain.json. `tokens` are those of one epoch."""
    tokens = sum(rows["train"]["length"])
    write_json(
        folder / REPORT,
        {
            **texts.report(),
            "pieces": {"train": len(rows["train"]), "held_out": len(rows["dev"])},
            "tokens": tokens,
            "tokens_read": round(tokens * result["epochs"]),
            **result,
            "loss": progress.curve("loss", "step"),
            "held_out_loss": progress.curve("eval_loss", "epoch"),
        },
    )
