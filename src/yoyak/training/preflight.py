"""A preflight: what would stop a long run is found in a minute."""

import importlib.metadata
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from yoyak.config import presets
from yoyak.config.sections import Params
from yoyak.data import cleaning, collation, tokenization
from yoyak.evaluation import rouge
from yoyak.evaluation.morphemes import Morphemes
from yoyak.models import checkpoints, encoder_decoder, lora, memory_estimate
from yoyak.models.memory_estimate import GIB
from yoyak.system import hardware
from yoyak.system.errors import SMALLER_BATCHES, YoyakError
from yoyak.system.text_files import read_csv

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


def training_bytes(parameters: int) -> int:
    """Memory for full fine-tuning but for activations: float32 weights, gradients and two Adam moments, 4 bytes each."""
    return parameters * 4 * 4


def disk_bytes(parameters: int, save_total_limit: int) -> int:
    """Disk for checkpoints (weights and two Adam moments; one more than are kept while the oldest goes), the model and DVC's
    copy of it."""
    return parameters * 4 * (3 * (save_total_limit + 1) + 2)


def _available_memory() -> int:
    """Bytes to be had on the GPU, where there is one, else in RAM."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return hardware.memory_bytes().available


def _versions() -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)


def _device() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()} ({torch.cuda.device_count()} GPU)"
    return f"CPU, {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"


def _data(params: Params) -> str:
    """Every row is read and parsed, as preprocess would."""
    paths = {split: Path(params.data.dir) / f"{split}.csv" for split in cleaning.COLUMNS}
    reports = {split: cleaning.Report() for split in paths}
    guard = cleaning.Guard()
    for split, path in paths.items():
        for _ in cleaning.clean_file(path, split=split, settings=params.preprocess, guard=guard, report=reports[split]):
            pass
    cleaning.check(reports, guard=guard, paths=paths, max_rejected=params.preprocess.max_rejected)
    return ", ".join(f"{split} {report.rows_out} rows" for split, report in reports.items())


def _room_for_all(model: PreTrainedModel, params: Params) -> str:
    """Memory and disk for training every weight of an encoder-decoder."""
    parameters = model.num_parameters()
    needed, free = training_bytes(parameters), _available_memory()
    if needed > free:
        raise YoyakError(
            f"training needs {needed / GIB:.1f} GiB before activations, {free / GIB:.1f} GiB are free; "
            "choose a smaller checkpoint, or the qlora family"
        )
    if torch.cuda.is_available() and (peak := memory_estimate.peak_of(params)) > free:  # a CPU reads a batch in parts: less
        raise YoyakError(
            f"an estimated peak of {peak / GIB:.1f} GiB, {free / GIB:.1f} GiB are free; {SMALLER_BATCHES}, "
            "or lower generation.batch_size"
        )
    disk = _disk(disk_bytes(parameters, params.training.save_total_limit))
    return f"{parameters:,} parameters; {needed / GIB:.2f} GiB of {free / GIB:.1f} GiB memory before activations, {disk}"


def _disk(needed: int) -> str:
    left = shutil.disk_usage(".").free
    if needed > left:
        raise YoyakError(
            f"checkpoints and model need {needed / GIB:.1f} GiB of disk, {left / GIB:.1f} GiB are free; "
            "lower training.save_total_limit or make room (dvc gc)"
        )
    return f"{needed / GIB:.2f} GiB of {left / GIB:.1f} GiB disk"


def _room_for_adapter(params: Params) -> str:
    """Memory for a quantized model and its adapter, from its config alone."""
    chosen = params.model.qlora
    config = checkpoints.config_of(checkpoints.locate(chosen.checkpoint, chosen.revision))
    precision, _ = hardware.choose_precision(params.training.precision, parameters=0, quantized=True)
    made_of, free = memory_estimate.layers_of(config), _available_memory()
    found = memory_estimate.estimate(config, params, precision=precision, made_of=made_of)
    told = _parts(found)
    if advice := memory_estimate.advise(config, params, precision=precision, free=free, made_of=made_of):
        raise YoyakError(f"{told}; {free / GIB:.1f} GiB are free; {advice}")
    disk = _disk(found.adapter * (params.training.save_total_limit + 2))
    return f"{told} of {free / GIB:.1f} GiB free, {disk}"


def _parts(found: memory_estimate.Estimate) -> str:
    return (
        f"{found.parameters:,} parameters; training {found.training / GIB:.2f} GiB (weights {found.weights / GIB:.2f}, adapter "
        f"{found.adapter / GIB:.2f}, activations {found.activations / GIB:.2f}, logits {found.logits / GIB:.2f}), prediction "
        f"{found.prediction / GIB:.2f} GiB; estimated peak {found.peak / GIB:.2f} GiB"
    )


def presets_table(folder: Path, params: Path, *, gib: float | None) -> list[str]:
    """For each preset of a decoder-only model: the estimated peak on a GPU with bfloat16, and whether it fits into `gib` (if
    not given: into what is free here)."""
    free = int(gib * GIB) if gib else _available_memory()
    lines = [f"estimated peak memory in bfloat16, against {free / GIB:.1f} GiB"]
    for name in presets.preset_names(folder):
        _, about = presets.read_preset(name, folder)
        if "shape" in about:
            applied = presets.params_with_preset(name, folder=folder, params=params)
            config = memory_estimate.config_of_shape(about["shape"])
            made_of = memory_estimate.layers_of(config)
            found = memory_estimate.estimate(config, applied, precision="bfloat16", made_of=made_of)
            advice = memory_estimate.advise(config, applied, precision="bfloat16", free=free, made_of=made_of)
            lines.append(
                f"{name:24} {found.parameters / 1e9:5.1f} B  training {found.training / GIB:5.1f} GiB  prediction "
                f"{found.prediction / GIB:5.1f} GiB  peak {found.peak / GIB:5.1f} GiB  " + (advice or "fits")
            )
    return lines


def _two_rows(params: Params) -> list[dict[str, str]]:
    path = Path(params.data.dir) / "train.csv"
    return [row.cells for row, _ in zip(read_csv(path, required=["dialogue", "summary"]), range(2), strict=False)]


def _one_step(params: Params, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> str:
    """Forward, backward and an optimizer step on the two first train rows, made as the pipeline makes its batches."""
    encode = tokenization.encoders(
        tokenizer, family=params.model.family, lengths=params.tokenizer, ask=params.prompt, test_rows=[]
    )["train"]
    rows = [{key: row.get(key, "") for key in ("fname", "dialogue", "summary", "topic")} for row in _two_rows(params)]
    columns = encode({key: [row[key] for row in rows] for key in rows[0]})
    if params.model.family == "kobart":
        collate = collation.collate_pairs(tokenizer, model)
    else:
        collate = collation.collate_chats(tokenizer.pad_token_id, padding_free=False)
    batch = collate([{"input_ids": ids, "labels": to} for ids, to in zip(columns["input_ids"], columns["labels"], strict=True)])
    batch = {key: value.to(model.device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=params.training.learning_rate)
    losses = []
    for _ in range(2):
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if not all(map(torch.isfinite, torch.tensor(losses))):
        raise YoyakError(f"the loss is {losses} after one step; lower training.learning_rate")
    return f"loss {losses[0]:.3f}, after one step {losses[1]:.3f}"


def report(params: Params, *, step: bool) -> bool:
    """Print one line a check, and return whether all passed. A check that needs a failed one is left out."""
    chosen, chats = params.model.chosen, params.model.family == "qlora"
    precision = params.training.precision
    loaded: list[tuple[PreTrainedModel, PreTrainedTokenizerBase]] = []

    def model() -> str:
        tokenizer = checkpoints.load_tokenizer(
            chosen.checkpoint, chosen.revision, params.tokenizer.special_tokens, pad_with_eos=chats
        )
        lengths = checkpoints.lengths_of(params.model.family, params.tokenizer, params.generation)
        checkpoints.check_lengths(chosen.checkpoint, chosen.revision, lengths)
        if chats:
            settings = params.model.qlora
            dtype, _ = hardware.choose_precision(precision, parameters=0, quantized=True)
            base, new = lora.load_base(settings, tokenizer, precision=dtype)
            tuned = lora.add_lora(base, params.lora, new_tokens=new, settings=settings)
            loaded.append((tuned, tokenizer))
            return f"{chosen.checkpoint} ({base.config.model_type}), {len(tokenizer)} tokens, {lora.describe(tuned)}"
        model = encoder_decoder.load(chosen.checkpoint, chosen.revision, tokenizer).to(hardware.default_device())
        loaded.append((model, tokenizer))
        return f"{chosen.checkpoint} ({model.config.model_type}), {len(tokenizer)} tokens"

    def checks() -> Iterator[tuple[str, Callable[[], str]]]:
        yield "params", lambda: "valid"
        yield "versions", _versions
        yield "device", _device
        yield "score", lambda: f"Mecab loads; {Morphemes() and rouge.signature(params.score.references)}"
        yield "data", lambda: _data(params)
        if chats:
            yield "room", lambda: _room_for_adapter(params)
        if passed or not chats:  # what will not fit is not loaded
            yield "checkpoint", model
        if loaded:
            count = loaded[0][0].num_parameters()
            yield (
                "precision",
                lambda: " — ".join(hardware.choose_precision(precision, parameters=count, quantized=chats)),
            )
            if not chats:
                yield "room", lambda: _room_for_all(loaded[0][0], params)
            if step:
                yield "one step", lambda: _one_step(params, *loaded[0])

    passed = True
    for name, check in checks():
        try:
            print(f"ok    {name}: {check()}", flush=True)
        except (YoyakError, importlib.metadata.PackageNotFoundError, torch.OutOfMemoryError) as error:
            print(f"FAIL  {name}: {error}", flush=True)
            passed = False
    return passed
