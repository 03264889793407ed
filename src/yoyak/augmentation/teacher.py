"""A model that was trained before and writes summaries for dialogues that have none."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from yoyak.augmentation.text_models.loading import fingerprint_of
from yoyak.config.model_settings import SETTINGS_FILE, ModelSettings
from yoyak.inference.decisions import Decisions
from yoyak.inference.outputs import Output
from yoyak.inference.postprocessing import complete_ending
from yoyak.inference.summarizer import Summarizer
from yoyak.models.families.ensemble import MEMBERS_FOLDER
from yoyak.system.checksums import CHECKSUMS_FILE, file_checksums
from yoyak.system.errors import YoyakError
from yoyak.system.integrity import verify_checksums
from yoyak.system.kept_values import KeptValues

PARAM = "augment.pseudo_label.model"
VERSION = 1  # of what is kept
PIPELINE_OUTPUTS = ("kobart", "qlora", "endpoint", "ensemble", "pretrained")


class Teacher:
    """A trained model with the settings of its own folder. params.yaml of the pipeline does not change its summaries."""

    def __init__(self, folder: Path, kept: KeptValues, *, outputs: Path = Path("models")) -> None:
        """Check the folder; the model is loaded when the first summary must be written.

        Args:
            folder: a package (`yoyak package`) or a copy of a model that a stage trained.
            kept: summaries that are finished.
            outputs: the folder in which the pipeline writes its models.

        Raises:
            YoyakError: if there is no trained model, or it is an output of this pipeline.
        """
        if folder.resolve() in [(outputs / name).resolve() for name in PIPELINE_OUTPUTS]:
            raise YoyakError(
                f"{PARAM}: {folder} is an output of this pipeline, so training would depend on its own result; make a copy "
                f"that stays: yoyak package models/teacher, or cp -r {folder} models/teacher"
            )
        if not folder.is_dir():
            raise YoyakError(f"{PARAM}: {folder}: no such folder; `yoyak package` writes one, or copy models/kobart")
        settings = ModelSettings.read(folder)
        if settings is None:
            raise YoyakError(f"{PARAM}: {folder / SETTINGS_FILE}: no such file; the folder holds no model that yoyak trained")
        self.folder, self.settings, self.kept = folder, settings, kept
        self.params = settings.params(folder)

    @cached_property
    def fingerprint(self) -> Any:
        if (self.folder / CHECKSUMS_FILE).is_file():
            verify_checksums(self.folder)
        if (self.folder / MEMBERS_FOLDER).is_dir():  # an ensemble of several models
            return file_checksums(self.folder)
        return fingerprint_of(str(self.folder), None)

    @cached_property
    def summarizer(self) -> Summarizer:
        own = self.settings
        return Summarizer.load(
            self.folder, params=self.params, decisions=Decisions(own.backend, own.postprocess, own.names_topic)
        )

    def write(self, rows: Sequence[dict[str, str]]) -> list[Output]:
        """Summaries with original tags.

        Args:
            rows: with dialogue and topic, cleaned as `params.preprocess` of the teacher says.
        """
        keys = [[VERSION, self.fingerprint, row["dialogue"], row["topic"]] for row in rows]
        finished = [self.kept.get(key) for key in keys]
        if None in finished:
            # All rows are written again, so that the batches, and with them the last digits, are those of an undisturbed run.
            written = [[one.text, one.hit_limit, one.broken] for one in self._write(rows)]
            self.kept.put_all([(key, new) for key, new, old in zip(keys, written, finished, strict=True) if old is None])
            finished = [new if old is None else old for new, old in zip(written, finished, strict=True)]
        return [Output(text, hit_limit=hit_limit, broken=broken) for text, hit_limit, broken in finished]

    def _write(self, rows: Sequence[dict[str, str]]) -> list[Output]:
        summarizer = self.summarizer
        outputs = summarizer.write(summarizer.encode(rows), rows, progress="pseudo_label")
        ends = summarizer.postprocesses
        texts = summarizer.restore_tags([complete_ending(one) if ends else one.text for one in outputs])
        return [
            Output(text, hit_limit=one.hit_limit and not ends, broken=one.broken)
            for text, one in zip(texts, outputs, strict=True)
        ]
