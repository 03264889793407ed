"""Pre-train the checkpoint further on dialogues, if pretrain.num_train_epochs is more than 0."""

from pathlib import Path

from stages import exit_of_stage
from yoyak.config.params import load_params
from yoyak.system import portable_kernels
from yoyak.system.atomic import atomic_folder
from yoyak.system.integrity import verify_checksums
from yoyak.system.skip_note import write_skip_note
from yoyak.system.text_files import write_json
from yoyak.training.launcher import launch, starts_processes

SECTIONS = ("preprocess", "model", "tokenizer", "pretrain", "lora", "hardware")


def skip(note: str, output: Path, metrics: Path) -> None:
    write_skip_note("not-chosen.txt", f"pretrain: {note}", output)
    with atomic_folder(metrics) as folder:
        write_json(folder / "pretrain.json", {"skipped": note})


def main(processed: Path, output: Path, metrics: Path) -> None:
    params = load_params().only(*SECTIONS)
    portable_kernels.use_if(params.hardware.portable)
    if not params.pretrain.is_on:
        hint = "pretrain.num_train_epochs is 0 (-S pretrain.num_train_epochs=3 chooses this)"
        skip(f"nothing to do, {hint}", output, metrics)
        return
    from yoyak.models.families.lookup import family_named  # after the early exit, because it is slow

    family = family_named(params.model.family)
    if not family.is_trained:
        skip(f"nothing to do, the family {family.name} is not trained", output, metrics)
        return
    verify_checksums(processed)
    if starts_processes(params.hardware):
        launch("stages.pretrain", params.hardware)
        return
    from yoyak.training.pretrain import pretrain

    pretrain(family, params, processed=processed, output=output, metrics=metrics)


if __name__ == "__main__":
    with exit_of_stage():
        main(Path("data/processed"), Path("models/pretrained"), Path("metrics/pretrain"))
