"""Summaries by a trained model, exactly as the pipeline makes them: load, encode, choose a backend, decode, post-process."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from yoyak.config.fields import Section
from yoyak.config.sections import Params
from yoyak.data import prompts
from yoyak.data.person_tags import restore_person_tags
from yoyak.data.raw_dialogues import prepare_row
from yoyak.data.truncation import EncodedDialogue
from yoyak.inference import long_dialogues
from yoyak.inference.backend_choice import Choice, choose_backend, dev_scorer
from yoyak.inference.consensus import ConsensusWriter
from yoyak.inference.decisions import Decisions
from yoyak.inference.decoding import generate
from yoyak.inference.dialogue_reading import DialogueReader
from yoyak.inference.member_choice import MembersWriter
from yoyak.inference.model_folder import settings_of
from yoyak.inference.model_processes import ModelProcesses, model_processes
from yoyak.inference.outputs import Output
from yoyak.inference.postprocessing import complete_ending
from yoyak.inference.prompt_inputs import input_of
from yoyak.models.checkpoints import check_positions
from yoyak.models.families.base import Family, LoadedModel
from yoyak.models.families.ensemble import StoredSummaries
from yoyak.models.families.lookup import family_named, family_of_folder
from yoyak.models.few_shot import example_chooser
from yoyak.system import hardware
from yoyak.system.errors import YoyakError
from yoyak.system.resumable import BatchStore
from yoyak.system.text_files import read_jsonl


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=4)


def _inputs(encoded: Sequence[Any]) -> list[Any]:
    """What a backend reads: token ids, or the items of a family that shortens nothing. With several prompts, the first."""
    return [input_of(row.ids, 0) if isinstance(row, EncodedDialogue) else row for row in encoded]


class Summarizer:
    """A model with everything that makes its summaries: cleaning, encoding, a backend, post-processing.

    Example:
        >>> from yoyak import Summarizer
        >>> summarizer = Summarizer.load("models/kobart")
        >>> summarizer.summarize("#Person1#: 점심 먹었어?\\n#Person2#: 아직. 같이 먹을래?")
        '#Person1#과 #Person2#는 점심을 같이 먹기로 합니다.'
    """

    def __init__(self, loaded: LoadedModel, family: Family, params: Params, decisions: Decisions | None = None) -> None:
        """Use `load` unless you have already loaded the model.

        Args:
            loaded: the model.
            family: the family that loaded it.
            params: sections preprocess, tokenizer, prompt, generation and hardware.
            decisions: what predict decided for this model, if it has run.

        Raises:
            YoyakError: if the model has fewer positions than params need.
        """
        self.loaded, self.family, self.params = loaded, family, params
        self.decisions = decisions or Decisions()
        self.processes: ModelProcesses | None = None  # that write, in place of this one
        self._choice: Choice | None = None
        self._seconds: float | None = 0.0  # of all calls of `write`; None if one of them continued earlier work
        self._written = 0  # rows
        config = getattr(loaded.model, "config", None)
        positions: int | None = None
        if config is not None:
            limits = family.token_limits(params.tokenizer, params.generation)
            positions = check_positions(config, str(config.name_or_path), limits)
        self.reader = DialogueReader(loaded, family, params, positions)

    @classmethod
    def load(cls, folder: str | Path, *, params: Params | None = None, decisions: Decisions | None = None) -> Self:
        """Load a trained model.

        Args:
            folder: a stage's output such as models/kobart or models/qlora, or the output of `yoyak merge`.
            params: the params to use. By default params.yaml of the repository that holds `folder` is read. A package
                (`yoyak package`), and a model outside a repository, use the settings in their own yoyak.json.
            decisions: what predict decided. By default it is read from metrics/predict.json of that repository, if that
                report belongs to the family in `folder`.

        Raises:
            YoyakError: if there is no trained model in `folder`, a file is damaged, params are invalid, or no folder above
                has a params.yaml although `params` is None.
        """
        folder = Path(folder)
        settings = settings_of(folder, params, decisions)
        family, params = family_of_folder(folder), settings.params
        hardware.configure_cpu(params.hardware.cpu_threads)
        loaded = family.load_trained(folder, None if family.is_trained else params)
        summarizer = cls(loaded, family_named(loaded.family), params, settings.decisions)
        summarizer.use_examples((settings.repository or Path()) / "data/processed/train.jsonl")
        return summarizer

    @classmethod
    def load_chosen(
        cls,
        models: Path,
        params: Params,
        decisions: Decisions | None = None,
        *,
        processed: Path = Path("data/processed"),
    ) -> Self:
        """Load the trained model of the family that params choose, as predict does.

        Args:
            models: the folder with one folder for each family.
            params: sections model, preprocess, tokenizer, prompt, generation and hardware.
            decisions: what predict decided. By default, nothing is decided yet.
            processed: the folder with the train rows for few-shot prompts.

        Raises:
            YoyakError: if there is no usable model, or an adapter belongs to another base than params name.
        """
        family = family_named(params.model.family)
        hardware.configure_cpu(params.hardware.cpu_threads)
        loaded = family.load_trained(models / family.name, params)
        summarizer = cls(loaded, family_named(loaded.family), params, decisions)  # an ensemble can have a model of its members
        summarizer.use_examples(processed / "train.jsonl")
        return summarizer

    def use_examples(self, train: Path | Sequence[Mapping[str, str]]) -> None:
        """Take the examples of few-shot prompts from the processed rows of train, if `prompt.examples` wants any.

        Raises:
            YoyakError: if the file does not exist, or there are too few rows.
        """

        def read_train() -> Iterable[Mapping[str, str]]:
            if isinstance(train, Path) and not train.is_file():
                raise YoyakError(f"{train}: no such file; prompt.examples needs it; run `dvc repro preprocess`")
            return read_jsonl(train) if isinstance(train, Path) else train

        self.loaded.examples = example_chooser(self.family, self.params, read_train)

    def summarize(self, dialogue: str, *, topic: str = "") -> str:
        """Summarize one raw dialogue. A dialogue that is too long loses whole turns, and a warning says how many.

        Args:
            dialogue: one turn on each line, such as "#Person1#: …".
            topic: the topic of the dialogue, for prompts that name it (`prompt.topic`).

        Raises:
            YoyakError: if the text is not a dialogue.
        """
        return self.summarize_many([dialogue], topics=[topic])[0]

    def summarize_many(self, dialogues: Sequence[str], *, topics: Sequence[str] | None = None) -> list[str]:
        """Summarize raw dialogues, in batches.

        Dialogues that are too long lose whole turns (`tokenizer.truncation`). A Python warning says how many.

        Args:
            dialogues: the texts, with one turn on each line, such as "#Person1#: …".
            topics: the topic of each dialogue, for prompts that name it (`prompt.topic`).

        Returns:
            One summary for each dialogue, in the same order.

        Raises:
            YoyakError: if a text is not a dialogue (the message has its number, counted from 1), if `dialogues` is one text, or
                if `topics` has another length.
        """
        if isinstance(dialogues, str):
            raise YoyakError("dialogues: expected a list of texts, not one text")
        if topics is not None and len(topics) != len(dialogues):
            raise YoyakError(f"topics: {len(topics)} topics for {len(dialogues)} dialogues")
        if not dialogues:
            return []
        rows = [
            prepare_row(text, self.params.preprocess, source=f"dialogue {number}", topic=topic)
            for number, (text, topic) in enumerate(zip(dialogues, topics or [""] * len(dialogues), strict=True), 1)
        ]
        return self.summarize_rows(rows)

    def summarize_rows(
        self, rows: Sequence[Mapping[str, str]], *, progress: str = "summarize", tell: Callable[[str], None] = _warn
    ) -> list[str]:
        """Summarize rows that are already cleaned (`raw_dialogues.prepare_row`).

        Args:
            rows: with `dialogue` and `topic`.
            progress: the label of the progress bar.
            tell: gets a sentence on dialogues that are too long. By default it is a Python warning.

        Returns:
            One summary for each row, with speaker tags restored.
        """
        encoded = self.encode(rows)
        for message in self.reader.describe_losses(encoded, [row["dialogue"] for row in rows]):
            tell(message)
        return self.finish(self.write(encoded, rows, progress=progress), postprocess=self.postprocesses)

    @property
    def postprocesses(self) -> bool:
        """Whether summaries are post-processed: by `generation.postprocess`, or for `auto` by what predict decided on dev."""
        setting = self.params.generation.postprocess
        return setting == "always" or (setting == "auto" and bool(self.decisions.postprocess))

    def encode(self, rows: Sequence[Mapping[str, str]], *, names_topic: bool | None = None) -> list[Any]:
        """Return what the model reads for each row, and what was left out of it (`Family.encode`).

        Args:
            rows: with `dialogue` and `topic`.
            names_topic: whether prompts name the topic. By default, `prompt.topic` says so. For `auto`, what predict decided
                applies; if it has not decided, prompts name the topic only if every row has one.
        """
        if names_topic is None and self.params.prompt.topic == "auto":
            names_topic = self.decisions.names_topic
        if names_topic is None:
            names_topic = prompts.uses_topic(self.params.prompt, rows)
        return self.reader.encode(rows, names_topic=names_topic)

    def depends_on(self, *inputs: Path) -> tuple[dict[str, Section], list[Path]]:
        """What the generated texts depend on, for `resumable.work_folder`.

        Args:
            inputs: the dialogues and the trained model.

        Returns:
            Sections of params by name, and `inputs` with the checkpoint that the model was trained from, if there is one.
        """
        params = self.params
        sections: dict[str, Section] = {
            "tokenizer": params.tokenizer,
            "prompt": params.prompt,
            "generation": params.generation,
            "hardware": params.hardware,
        }
        if not self.family.is_trained:
            return sections | {"model": params.model}, [*inputs]
        base = getattr(params.model, self.family.name)  # of an ensemble, that of its members
        return sections | {"model": base}, [*inputs, Path(base.checkpoint)]

    @contextmanager
    def in_processes(self, folder: Path) -> Iterator[None]:
        """Inside this context `hardware.processes` processes write, each with the model in `folder`; 1 changes nothing.

        Enter it before a backend is chosen. The model of this process is given up if others load it.

        Raises:
            YoyakError: if one of the processes is killed.
        """
        with model_processes(folder, self.params, self.loaded) as self.processes:
            yield

    def choose_backend(
        self, encoded_dev: Sequence[Any] | None = None, dev_rows: Sequence[Mapping[str, Any]] | None = None
    ) -> Choice:
        """Choose and open a backend. Later calls return the first choice.

        With dev rows, an approximate backend is compared with an exact one (`backend_choice.choose_backend`).

        Args:
            encoded_dev: what the model reads for each row of dev.
            dev_rows: the processed rows of dev, with `references`.
        """
        if self._choice is None and isinstance(self.loaded.model, StoredSummaries):
            members = MembersWriter(self.loaded.model)
            written_by = self.processes.around(members) if self.processes else members
            is_live = self.loaded.model.members is not None
            why = "each member writes with its own backend" if is_live else "the summaries are written already"
            self._choice = Choice(written_by, "members", why)
        if self._choice is None:
            settings, scores = self.params.generation, None
            if encoded_dev is not None and dev_rows is not None:
                scores = dev_scorer(
                    _inputs(encoded_dev),
                    dev_rows,
                    settings=settings,
                    person_tags=self.params.preprocess.person_tags,
                    parameters=self.loaded.model.num_parameters() if hasattr(self.loaded.model, "num_parameters") else 0,
                )
            self._choice = choose_backend(
                self.loaded,
                settings,
                threads=self.params.hardware.cpu_threads,
                dev_scores=scores,
                previous=self.decisions.backend,
                open_writer=self.processes.open if self.processes else None,
            )
            if settings.consensus.candidates > 1:
                writer = self._choice.writer
                tags = self.params.preprocess.person_tags
                consensus = self.processes.with_consensus(writer) if self.processes else ConsensusWriter(writer, settings, tags)
                self._choice = replace(self._choice, writer=consensus)
        return self._choice

    def write(
        self,
        encoded: Sequence[Any],
        rows: Sequence[Mapping[str, str]],
        *,
        progress: str,
        kept: BatchStore | None = None,
    ) -> list[Output]:
        """Generate one output for each row, without what chat models write around a summary (`without_artefacts`).

        A dialogue that is read in windows takes several (`long_dialogues.write_in_passes`).

        Args:
            encoded: what the model reads for each row (`encode`).
            rows: with `dialogue`.
            progress: the label of the progress bar.
            kept: the finished batches of an earlier call with the same arguments. New batches are added.
        """
        writer, settings = self.choose_backend().writer, self.params.generation
        generate_rows = partial(generate, writer, settings=settings, progress=progress, kept=kept)
        tags = self.params.preprocess.person_tags
        is_new, start = not (kept and kept.finished), time.perf_counter()
        outputs = long_dialogues.write_in_passes(encoded, rows, generate_rows, settings=settings, person_tags=tags)
        self._written += len(outputs)
        self._seconds = self._seconds + time.perf_counter() - start if is_new and self._seconds is not None else None
        return outputs

    @property
    def seconds_a_dialogue(self) -> float | None:
        """The mean of all dialogues that `write` has written; None if some of the work was done in an earlier process."""
        return None if self._seconds is None or not self._written else round(self._seconds / self._written, 5)

    def finish(self, outputs: Sequence[Output], *, postprocess: bool) -> list[str]:
        """Return the summaries of outputs: post-processed if `postprocess` is true, with speaker tags restored."""
        return self.restore_tags([complete_ending(output) if postprocess else output.text for output in outputs])

    def restore_tags(self, texts: Sequence[str]) -> list[str]:
        """Return texts with the speaker tags of the data (#Person1#), which `preprocess.person_tags` may have replaced."""
        return [restore_person_tags(text, self.params.preprocess.person_tags) for text in texts]
