"""A preflight: what would stop a long run is found in a minute."""

import importlib.metadata
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from transformers import PreTrainedModel

from yoyak import checkpoint, encoding, preprocess, rouge, training
from yoyak.errors import YoyakError
from yoyak.files import read_csv
from yoyak.params import Params

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "datasets",
    "accelerate",
    "dvc",
    "dvclive",
    "optuna",
    "rouge-score",
    "python-mecab-ko",
)
GIB = 2**30


def training_bytes(parameters: int) -> int:
    """Memory for full fine-tuning but for activations: float32 weights, gradients and two Adam moments, 4 bytes each."""
    return parameters * 4 * 4


def disk_bytes(parameters: int, save_total_limit: int) -> int:
    """Disk for checkpoints (weights alone; one more than are kept while the oldest goes), the model and DVC's copy of it."""
    return parameters * 4 * (save_total_limit + 1 + 2)


def _available_memory() -> int:
    """Bytes free on the GPU, where there is one, else in RAM."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _versions() -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)


def _device() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()} ({torch.cuda.device_count()} GPU)"
    return f"CPU, {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"


def _data(params: Params) -> str:
    """Every row is read and parsed, as preprocess would."""
    paths = {split: Path(params.data.dir) / f"{split}.csv" for split in preprocess.COLUMNS}
    reports = {split: preprocess.Report() for split in paths}
    guard = preprocess.Guard()
    for split, path in paths.items():
        for _ in preprocess.clean_file(path, split=split, settings=params.preprocess, guard=guard, report=reports[split]):
            pass
    preprocess.check(reports, guard=guard, paths=paths, max_rejected=params.preprocess.max_rejected)
    return ", ".join(f"{split} {report.rows_out} rows" for split, report in reports.items())


def _fits(model: PreTrainedModel, params: Params) -> str:
    """Memory and disk against the model."""
    parameters = model.num_parameters()
    memory, free = training_bytes(parameters), _available_memory()
    if memory > free:
        raise YoyakError(
            f"training needs {memory / GIB:.1f} GiB before activations, {free / GIB:.1f} GiB are free; "
            "choose a smaller checkpoint, or the qlora family"
        )
    disk, left = disk_bytes(parameters, params.training.save_total_limit), shutil.disk_usage(".").free
    if disk > left:
        raise YoyakError(
            f"checkpoints and model need {disk / GIB:.1f} GiB of disk, {left / GIB:.1f} GiB are free; "
            "lower training.save_total_limit or make room (dvc gc)"
        )
    return (
        f"{parameters:,} parameters; {memory / GIB:.2f} GiB of {free / GIB:.1f} GiB memory before activations, "
        f"{disk / GIB:.2f} GiB of {left / GIB:.1f} GiB disk"
    )


def _one_step(params: Params, model: PreTrainedModel) -> str:
    """Forward, backward and an optimizer step on the two first train rows."""
    chosen = params.model.kobart
    tokenizer = checkpoint.load_tokenizer(chosen.checkpoint, chosen.revision, params.tokenizer.special_tokens)
    path = Path(params.data.dir) / "train.csv"
    rows = [row.cells for row, _ in zip(read_csv(path, required=["dialogue", "summary"]), range(2), strict=False)]
    inputs = encoding.encode_inputs(tokenizer, [row["dialogue"] for row in rows], params.tokenizer.max_input_length)
    labels = encoding.encode_targets(tokenizer, [row["summary"] for row in rows], params.tokenizer.max_target_length)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=params.training.learning_rate)
    batch = tokenizer.pad({"input_ids": inputs}, return_tensors="pt").to(device)
    width = max(map(len, labels))
    padded = torch.tensor([row + [-100] * (width - len(row)) for row in labels], device=device)
    losses = []
    for _ in range(2):
        loss = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=padded).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if not all(map(torch.isfinite, torch.tensor(losses))):
        raise YoyakError(f"the loss is {losses} after one step; lower training.learning_rate")
    return f"loss {losses[0]:.3f}, after one step {losses[1]:.3f}"


def report(params: Params, *, step: bool) -> bool:
    """Print one line a check, and return whether all passed. A check that needs a failed one is left out."""
    if params.model.family != "kobart":
        raise YoyakError("doctor: the qlora family comes with the next issue; choose model.family: kobart")
    chosen = params.model.kobart
    loaded: list[PreTrainedModel] = []

    def model() -> str:
        tokenizer = checkpoint.load_tokenizer(chosen.checkpoint, chosen.revision, params.tokenizer.special_tokens)
        lengths = {
            "tokenizer.max_input_length": params.tokenizer.max_input_length,
            "tokenizer.max_target_length": params.tokenizer.max_target_length,
            "generation.max_new_tokens": params.generation.max_new_tokens,
        }
        checkpoint.check_lengths(chosen.checkpoint, chosen.revision, lengths)
        loaded.append(checkpoint.load_seq2seq(chosen.checkpoint, chosen.revision, tokenizer))
        return f"{chosen.checkpoint} ({loaded[0].config.model_type}), {len(tokenizer)} tokens"

    def checks() -> Iterator[tuple[str, Callable[[], str]]]:
        yield "params", lambda: "valid"
        yield "versions", _versions
        yield "device", _device
        yield "score", lambda: f"Mecab loads; {rouge.Morphemes() and rouge.signature(params.score.references)}"
        yield "data", lambda: _data(params)
        yield "checkpoint", model
        if loaded:
            precision = params.training.precision
            yield (
                "precision",
                lambda: " — ".join(training.choose_precision(precision, parameters=loaded[0].num_parameters())),
            )
            yield "room", lambda: _fits(loaded[0], params)
            if step:
                yield "one step", lambda: _one_step(params, loaded[0])

    passed = True
    for name, check in checks():
        try:
            print(f"ok    {name}: {check()}", flush=True)
        except (YoyakError, importlib.metadata.PackageNotFoundError, torch.OutOfMemoryError) as error:
            print(f"FAIL  {name}: {error}", flush=True)
            passed = False
    return passed
