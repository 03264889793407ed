"""Training a model of any family, from tokenized rows to the model's folder: what the training stages run."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from transformers import set_seed

from yoyak.config.fields import Section
from yoyak.config.model_settings import SETTINGS_FILE, ModelSettings
from yoyak.config.params import load_params
from yoyak.config.sections import Params
from yoyak.data.person_tags import PersonTags
from yoyak.data.tokenized_data import load_tokenized, read_words
from yoyak.models.families.base import Family, TrainingSetup
from yoyak.models.portable import write_generation_defaults
from yoyak.system import hardware
from yoyak.system.debug_note import DEBUG_WARNING
from yoyak.system.errors import YoyakError
from yoyak.system.processes import is_launched, rank
from yoyak.system.resumable import work_folder, work_hashes
from yoyak.system.text_files import read_jsonl
from yoyak.system.timings import record_seconds
from yoyak.training.dev_rouge import DevReferences
from yoyak.training.fit import TrackedRun, TrainingData, fit
from yoyak.training.process_group import processes_together
from yoyak.training.trackers.description import describe_run, keep_description, run_folder
from yoyak.training.trackers.lookup import further_trackers


def train_family(family: Family, params: Params, *, processed: Path, tokenized: Path, output: Path, metrics: Path) -> None:
    """Train the checkpoint that params choose, going on from what a killed run has kept.

    Args:
        family: of the checkpoint.
        params: sections preprocess, model, tokenizer, training and hardware, and lora unless the family does not read it.
        processed: folder of the processed rows, verified; those of dev have the references.
        tokenized: folder of the tokenized splits, verified.
        output: folder for the trained model.
        metrics: folder for DVCLive's files and the arguments of the run.

    Raises:
        YoyakError: if an input is damaged, the checkpoint cannot be loaded, or the loss is not a number.
    """
    depends_on = _result_depends_on(family, params), [processed, tokenized, Path(params.model.chosen.checkpoint)]
    hardware.configure_cpu(params.hardware.threads_of_process)
    with processes_together(work_hashes(*depends_on) if is_launched() else {}):
        _train(family, params, processed=processed, tokenized=tokenized, output=output, metrics=metrics)


def _train(family: Family, params: Params, *, processed: Path, tokenized: Path, output: Path, metrics: Path) -> None:
    set_seed(params.training.seed)
    splits = load_tokenized(tokenized)
    references = _dev_references(processed / "dev.jsonl", splits["dev"]["fname"], params.preprocess.person_tags)
    data = TrainingData(splits, references, params.tokenizer.max_target_length)
    settings = ModelSettings.read(tokenized)
    if settings is None:
        raise YoyakError(f"{tokenized / SETTINGS_FILE}: no such file; run `dvc repro`")
    setup = family.prepare_training(params, read_words(tokenized))
    print(setup.description, flush=True)
    if params.training.debug:
        print(f"WARNING: {DEBUG_WARNING}; -S training.debug=false ends this", flush=True)

    def save(folder: Path) -> None:
        setup.save(folder)
        settings.write(folder)
        beams = params.training.generation_num_beams
        defaults = {"max_new_tokens": params.tokenizer.max_target_length, "num_beams": beams, "early_stopping": beams > 1}
        write_generation_defaults(folder, **defaults)

    inputs = [processed, tokenized, Path(params.model.chosen.checkpoint)]
    with work_folder(f"train_{family.name}", _result_depends_on(family, params), inputs) as checkpoints:
        is_new, start = not any(checkpoints.iterdir()), time.monotonic()
        fit(
            replace(setup, save=save),
            data,
            params.training,
            checkpoints=checkpoints,
            metrics=metrics,
            output=output,
            tracked=_tracked_run(family, setup, processed),
        )
    if rank() == 0:
        record_seconds(output, round(time.monotonic() - start, 2) if is_new else None)


def _result_depends_on(family: Family, params: Params) -> dict[str, Section]:
    names = ("preprocess", "tokenizer", "training", "hardware", *(["lora"] if family.trains_adapter else []))
    return {name: getattr(params, name) for name in names} | {"model": params.model.chosen}


def _tracked_run(family: Family, setup: TrainingSetup, processed: Path) -> TrackedRun | None:
    """What further trackers show about this run, or None if there are none. It has no influence on the result."""
    if rank() != 0 or not further_trackers():
        return None
    params = load_params()  # every section: the run of a tracker is the whole experiment
    parameters = setup.model.num_parameters()
    facts = {
        "training": "lora" if family.trains_adapter else "full",
        "architecture": setup.model.config.model_type,
        "size": f"{parameters / 1e9:.1f}B" if parameters >= 1e9 else f"{parameters / 1e6:.1f}M",
        "dtype": setup.precision,
    }
    if family.trains_adapter:
        facts["quantization"] = params.model.qlora.quantization
    run = TrackedRun(describe_run(params, facts), run_folder(params, processed))
    keep_description(run.description, run.folder)
    return run


def _dev_references(path: Path, fnames: Sequence[str], person_tags: PersonTags) -> DevReferences:
    """The references of dev. YoyakError if the processed rows are not the tokenized ones."""
    rows = list(read_jsonl(path))
    if [row["fname"] for row in rows] != list(fnames):
        raise YoyakError(f"{path}: its rows differ from the tokenized rows; run `dvc repro`")
    return DevReferences([row["references"] for row in rows], person_tags)
