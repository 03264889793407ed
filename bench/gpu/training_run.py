"""A short training as a stage does it, in its own process, which can kill itself: `python -m bench.gpu.training_run FOLDER`."""

import argparse
import hashlib
import os
import signal
from pathlib import Path
from typing import Any

import torch

from bench.gpu import models


def train_kobart(rows: int, *, precision: str, batch: int) -> float:
    """Train kobart-tiny for one epoch with yoyak's trainer, and return the loss on the same rows."""
    import tempfile

    from bench import contest
    from yoyak.data.collation import collate_pairs

    params = models.params_of("kobart", "training.num_train_epochs=1", f"training.per_device_train_batch_size={batch}")
    model, tokenizer, encoded = models.kobart(rows)
    collate = collate_pairs(tokenizer, model)
    with tempfile.TemporaryDirectory() as folder:
        trainer = contest.trainer_of_yoyak(
            model, tokenizer, encoded, settings=params.training, folder=folder, precision=precision, collate=collate
        )
        trainer.train()
    return contest.dev_loss(model, encoded, collate)


def run(folder: Path, *, family: str, rows: int, kill_at: int | None) -> str:
    """Train with full determinism, as a stage does, and return a hash of the weights. Unfinished work in `folder` goes on."""
    from datasets import Dataset, DatasetDict
    from transformers import TrainerCallback, set_seed

    from yoyak.models.families.lookup import family_named
    from yoyak.system import hardware
    from yoyak.training import fit
    from yoyak.training.arguments import training_arguments
    from yoyak.training.dev_rouge import DevReferences

    params = models.params_of(
        family,
        "training.num_train_epochs=1",
        "training.per_device_train_batch_size=4",
        "training.full_determinism=true",
        "training.predict_with_generate=false",
        "training.metric_for_best_model=loss",
        "training.save_steps=2",
        "model.qlora.quantization=none",
        "hardware.cpu_threads=1",  # of a CPU, the other processes of the check use the rest
    )
    hardware.configure_cpu(params.hardware.cpu_threads)
    set_seed(params.training.seed)
    setup = family_named(family).prepare_training(params)
    encoded = models.encoded_rows(params, setup.tokenizer, rows)
    splits = DatasetDict({"train": Dataset.from_list(encoded), "dev": Dataset.from_list(encoded[:4])})
    data = fit.TrainingData(splits, DevReferences([[""]] * 4, "keep_original"), max_target_length=100)
    arguments = training_arguments(params.training, folder=folder, precision=setup.precision)

    class Kill(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    fit.train(setup, data, params.training, arguments, callbacks=[Kill()] if kill_at else [])
    return hash_of(setup.model)


def hash_of(model: Any) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--family", choices=("kobart", "qlora"), default="kobart")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--kill-at", type=int)
    args = parser.parse_args()
    print("HASH " + run(args.folder, family=args.family, rows=args.rows, kill_at=args.kill_at), flush=True)


if __name__ == "__main__":
    main()
