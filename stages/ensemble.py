"""Make one of several finished experiments, if the family ensemble is chosen."""

import os
from pathlib import Path

from stages import exit_of_stage
from yoyak.config.params import load_params
from yoyak.system import portable_kernels
from yoyak.system.skip_note import write_skip_note
from yoyak.system.text_files import write_json

SECTIONS = ("model", "preprocess", "hardware", "search")


def main(processed: Path, output: Path, metrics: Path) -> None:
    params = load_params().only(*SECTIONS)
    portable_kernels.use_if(params.hardware.portable)
    if params.model.family != "ensemble":
        hint = f"nothing to do, model.family is {params.model.family} (`yoyak ensemble` makes ensembles)"
        write_skip_note("not-chosen.txt", f"ensemble: {hint}", output)
        write_json(metrics, {})
        return
    if params.search.pruned:
        write_skip_note("pruned.txt", f"ensemble: pruned: {params.search.pruned}", output)
        write_json(metrics, {})
        return

    from yoyak.ensembles.building import build_ensemble

    # A queued run has a copy of the files only; the members' commits are in the main repository.
    root = Path(os.environ.get("DVC_ROOT") or ".")
    build_ensemble(params, root=root, processed=processed, output=output, metrics=metrics)


if __name__ == "__main__":
    with exit_of_stage():
        main(Path("data/processed"), Path("models/ensemble"), Path("metrics/ensemble.json"))
