"""Summaries of further dialogues by the model of a member, with the settings of the member."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yoyak.config.generation_section import Generation
from yoyak.config.model_settings import ModelSettings
from yoyak.config.sections import Params
from yoyak.config.validation import validate
from yoyak.config.yaml_files import parse_yaml
from yoyak.ensembles.members import Member, Row
from yoyak.inference.decisions import Decisions
from yoyak.inference.summarizer import Summarizer
from yoyak.models.families.lookup import family_named, family_of_folder
from yoyak.system.atomic import atomic_folder
from yoyak.system.errors import YoyakError
from yoyak.system.resumable import BatchStore


def copy_once(member: Member, kept: Path) -> Path:
    """The folder with a copy of the member's model; a copy of an earlier, killed run is taken."""
    folder = kept / f"model-{member.name}"
    if not folder.is_dir():
        with atomic_folder(folder) as new:
            member.copy_model(new)
    return folder


def settings_in(folder: Path, member: Member, params: Params) -> ModelSettings:
    """yoyak.json of a member's model, which must read dialogues that are cleaned as those of the ensemble.

    Raises:
        YoyakError: if it was trained with another section preprocess.
    """
    settings = ModelSettings.read(folder)
    assert settings is not None  # `copy_model` has looked
    ours = params.preprocess.model_copy(update={"max_rejected": settings.preprocess.max_rejected})
    if settings.preprocess != ours:
        raise YoyakError(
            f"member {member.name}: its model reads dialogues with preprocess {settings.preprocess.model_dump()}, the ensemble "
            f"has {ours.model_dump()}; members whose models are used need the same section preprocess"
        )
    return settings


def write_dev(member: Member, rows: Sequence[Row], params: Params, kept: Path) -> list[str]:
    """The member's summaries of the ensemble's dev, which the member itself has not read.

    Args:
        member: an experiment of a cross-validation.
        rows: processed rows.
        params: sections preprocess and hardware of the ensemble.
        kept: folder for the copy of the model and for finished batches.

    Raises:
        YoyakError: if the member has no model here.
    """
    if not family_named(member.family).is_trained:
        raise YoyakError(
            f"member {member.name}: its dev is another one, and the family {member.family} has no model here that could "
            "summarize the dev of the ensemble; use experiments with the same dev"
        )
    summarizer = member_summarizer(member, params, kept)
    encoded = summarizer.encode(rows)
    store = BatchStore(kept / f"dev-{member.name}.jsonl")
    outputs = summarizer.write(encoded, rows, progress=f"dev by {member.name}", kept=store)
    return summarizer.finish(outputs, postprocess=summarizer.postprocesses)


def member_summarizer(member: Member, params: Params, kept: Path) -> Summarizer:
    """The member's model with its own settings.

    Args:
        member: one with a model.
        params: sections preprocess and hardware of the ensemble.
        kept: folder for the copy of the model.

    Raises:
        YoyakError: if it has no complete model here, or reads dialogues that are cleaned otherwise.
    """
    folder = copy_once(member, kept)
    own = settings_in(folder, member, params).params(folder)
    own = own.model_copy(update={"generation": _generation_of(member), "hardware": params.hardware})
    decisions = Decisions.of_report(json.loads(member.run.read("metrics/predict.json")))
    loaded = family_of_folder(folder).load_trained(folder)
    summarizer = Summarizer(loaded, family_named(loaded.family), own, decisions)
    if own.prompt.examples:
        summarizer.use_examples(member.rows["train"])
    return summarizer


def _generation_of(member: Member) -> Generation:
    """Its section generation. Keys that it does not have yet are off."""
    stated: Any = parse_yaml(member.run.read("params.yaml"))
    off = Generation.plain(max_new_tokens=1, num_beams=1).model_dump()
    return validate(Generation, off | stated["generation"], source=f"{member.name}: params.yaml: generation")
