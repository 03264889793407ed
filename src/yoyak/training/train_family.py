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
from yoyak.system.resumable import work_folder
from yoyak.system.text_files import read_jsonl
from yoyak.system.timings import record_seconds
from yoyak.training.dev_rouge import DevReferences
from yoyak.training.fit import TrackedRun, TrainingData, fit
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
    set_seed(params.training.seed)
    hardware.configure_cpu(params.hardware.cpu_threads)
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
    chosen = params.model.chosen
    result_depends_on: dict[str, Section] = {
        "preprocess": params.preprocess,
        "model": chosen,
        "tokenizer": params.tokenizer,
        "training": params.training,
        "hardware": params.hardware,
    }
    if family.trains_adapter:
        result_depends_on["lora"] = params.lora

    def save(folder: Path) -> None:
        setup.save(folder)
        settings.write(folder)
        beams = params.training.generation_num_beams
        defaults = {"max_new_tokens": params.tokenizer.max_target_length, "num_beams": beams, "early_stopping": beams > 1}
        write_generation_defaults(folder, **defaults)

    with work_folder(f"train_{family.name}", result_depends_on, [processed, tokenized, Path(chosen.checkpoint)]) as checkpoints:
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
    record_seconds(output, round(time.monotonic() - start, 2) if is_new else None)


def _tracked_run(family: Family, setup: TrainingSetup, processed: Path) -> TrackedRun | None:
    """What further trackers show about this run, or None if there are none. It has no influence on the result."""
    if not further_trackers():
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
