"""Make further train rows with the chosen methods. With all rates at 0 there are none, and the stage ends at once."""

from pathlib import Path

from stages import exit_of_stage
from yoyak.augmentation.lookup import chosen_methods
from yoyak.config.params import load_params
from yoyak.system import portable_kernels
from yoyak.system.atomic import atomic_folder
from yoyak.system.integrity import verify_checksums
from yoyak.system.text_files import read_jsonl, write_json, write_jsonl

SECTIONS = ("augment", "model", "preprocess", "prompt", "hardware")


def main(processed: Path, output: Path, metrics: Path) -> None:
    params = load_params().only(*SECTIONS)
    portable_kernels.use_if(params.hardware.portable)
    names, notes = chosen_methods(params)
    for note in notes:
        print(f"augment: {note}", flush=True)
    if not names:
        with atomic_folder(output) as folder:
            (folder / "train.jsonl").touch()
        write_json(metrics, {"added": 0})
        return

    verify_checksums(processed)
    from yoyak.augmentation.run import Augmentation
    from yoyak.augmentation.workspace import Workspace

    evaluation = (row for split in ("dev", "test") for row in read_jsonl(processed / f"{split}.jsonl"))
    augmentation = Augmentation.build(names, Workspace(params.augment.seed, params), evaluation)
    with atomic_folder(output) as folder:
        write_jsonl(folder / "train.jsonl", augmentation.rows(list(read_jsonl(processed / "train.jsonl"))))
        if augmentation.replaced:
            write_jsonl(folder / "replaced.jsonl", ({"fname": fname} for fname in augmentation.replaced))
        if augmentation.rejected:
            write_jsonl(folder / "rejected.jsonl", augmentation.rejected)
    write_json(metrics, augmentation.report())


if __name__ == "__main__":
    with exit_of_stage():
        main(Path("data/processed"), Path("data/augmented"), Path("metrics/augment.json"))
