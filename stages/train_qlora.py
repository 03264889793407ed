"""Train a LoRA adapter on a quantized decoder-only model, if the family qlora is chosen."""

from pathlib import Path

from stages import exit_of_stage
from yoyak.config.params import load_params
from yoyak.system import portable_kernels
from yoyak.system.integrity import verify_checksums
from yoyak.system.skip_note import write_skip_note
from yoyak.training.launcher import launch, starts_processes

SECTIONS = ("preprocess", "model", "pretrain", "tokenizer", "training", "lora", "hardware", "search")


def main(processed: Path, tokenized: Path, output: Path, metrics: Path) -> None:
    params = load_params().only(*SECTIONS).after_pretraining()
    portable_kernels.use_if(params.hardware.portable)
    if params.model.family != "qlora":
        hint = f"nothing to do, model.family is {params.model.family} (-S model.family=qlora chooses this)"
        write_skip_note("not-chosen.txt", f"train_qlora: {hint}", output, metrics)
        return
    if params.search.pruned:
        write_skip_note("pruned.txt", f"train_qlora: pruned: {params.search.pruned}", output, metrics)
        return

    verify_checksums(processed)  # before the slow imports
    verify_checksums(tokenized)
    if starts_processes(params.hardware):
        launch("stages.train_qlora", params.hardware)
        return
    from yoyak.models.families.qlora import FAMILY
    from yoyak.training.train_family import train_family

    train_family(FAMILY, params, processed=processed, tokenized=tokenized, output=output, metrics=metrics)


if __name__ == "__main__":
    with exit_of_stage():
        main(Path("data/processed"), Path("data/tokenized"), Path("models/qlora"), Path("metrics/train/qlora"))
