"""The interface of a model family, and the objects that it gives to training and prediction."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from yoyak.config.generation_section import Generation
from yoyak.config.sections import Params, Tokenizer
from yoyak.data.examples import ExampleChooser
from yoyak.system.errors import YoyakError

Row = Mapping[str, str]  # a processed row: fname, dialogue, topic, and summary where there is one
Columns = dict[str, list[Any]]  # a batch of rows by column
BatchEncoder = Callable[[Columns], Columns]


@dataclass
class LoadedModel:
    """A model that is ready to write summaries.

    `model` and `tokenizer` can have any class that the backends for this family know. For kobart and qlora these are the
    classes of transformers. Backends store converted models in `shared`, so that another backend can use them too.
    """

    family: str
    model: Any
    tokenizer: Any
    shared: dict[str, Any] = field(default_factory=dict)
    examples: ExampleChooser | None = None  # chooses the examples of few-shot prompts


@dataclass(frozen=True)
class TrainingSetup:
    """A model that is ready to be trained, with everything about it that depends on the family."""

    model: Any
    tokenizer: Any
    collate: Callable[[list[dict[str, Any]]], dict[str, Any]]  # tokenized rows to a batch of tensors
    precision: str  # "float32", "bfloat16" or "float16"
    save: Callable[[Path], None]  # writes the trained model into an empty folder
    description: str  # what was chosen and why, for the log


class Family(ABC):
    """One kind of model: how it reads dialogues, and how it is loaded, trained and saved.

    Methods that take `params` read only the sections that they name. A stage passes a view with just the sections that
    dvc.yaml lists for it (`Params.only`), so that an undeclared one is an error.
    """

    name: ClassVar[str]
    is_trained: ClassVar[bool] = True  # False: there is nothing to do in the stages tokenize and train
    trains_adapter: ClassVar[bool] = False  # True: only an adapter (LoRA) is trained, on a frozen base
    unread_params: ClassVar[tuple[str, ...]] = ()  # prefixes of params without effect on this family, such as "lora."

    @abstractmethod
    def recognizes(self, folder: Path) -> bool:
        """Whether `folder` holds a trained model of this family."""

    @abstractmethod
    def load_trained(self, folder: Path, params: Params | None = None) -> LoadedModel:
        """Load a trained model.

        Args:
            folder: the stage's output, such as models/kobart.
            params: section model. If it is given, the model must come from the checkpoint that it names.

        Raises:
            YoyakError: if the folder has no usable model, or an adapter belongs to another base than params name.
        """

    @abstractmethod
    def encode(self, rows: Sequence[Row], loaded: LoadedModel, params: Params, *, names_topic: bool) -> list[Any]:
        """Return what the model reads for each row. Batches are sorted by the length of the items.

        A family that shortens long dialogues returns an `EncodedDialogue` for each row, which counts what was left out.

        Args:
            rows: processed rows, as preprocess writes them.
            loaded: the model from `load_trained` or `load_untrained`.
            params: sections tokenizer and prompt.
            names_topic: whether the prompt names the topic of a row (`prompts.uses_topic`); families without prompts ignore it.
        """

    def encode_asking(
        self, instruction: str | None, rows: Sequence[Row], loaded: LoadedModel, params: Params, *, names_topic: bool
    ) -> list[Any]:
        """What the model reads for each row, as `encode`, with `instruction` in place of the usual question of a prompt.

        Raises:
            YoyakError: if the family has no prompts.
        """
        raise YoyakError(
            f"generation.consensus.source: prompts: the family {self.name} has no prompts; choose samples, beams or dropout"
        )

    def token_limits(self, lengths: Tokenizer, generation: Generation | None) -> dict[str, int]:
        """The numbers of tokens that must fit into the model's positions, by the params that set them.

        Args:
            lengths: section tokenizer.
            generation: section generation, or None before prediction.
        """
        return {}

    def load_tokenizer(self, params: Params, words: Sequence[str] = ()) -> Any:
        """The tokenizer of the checkpoint, with the special tokens of params and further `words` as tokens.

        Args:
            params: sections model and tokenizer.
            words: those that the stage tokenize has chosen (`models.new_tokens`).
        """
        raise self._not_trained()

    def batch_encoders(
        self, tokenizer: Any, params: Params, test_rows: Iterable[Row], examples: ExampleChooser | None = None
    ) -> dict[str, BatchEncoder]:
        """For each split, return the function that encodes a batch of rows as columns of token ids.

        Columns are `fname`, `input_ids`, `length` (of input_ids) and, where rows have a summary, `labels`. Columns whose names
        begin with an underscore go into metrics/tokenize.json only (`tokenized_data.encode_files`).

        Args:
            tokenizer: from `load_tokenizer`.
            params: sections tokenizer and prompt.
            test_rows: the processed rows of test, from which `prompt.topic: auto` follows for all splits.
            examples: chooses the examples of few-shot prompts; None for prompts without examples.
        """
        raise self._not_trained()

    def prepare_training(self, params: Params, words: Sequence[str] = ()) -> TrainingSetup:
        """Load the checkpoint for training.

        Args:
            params: sections model, tokenizer, training and lora.
            words: further tokens, whose embeddings are trained too.
        """
        raise self._not_trained()

    def prepare_pretraining(self, params: Params, words: Sequence[str] = ()) -> TrainingSetup:
        """Load the checkpoint for further pre-training. What `save` writes is a checkpoint of its own.

        Args:
            params: sections model, tokenizer, training (of `Pretrain.as_training`), pretrain and lora.
            words: as in `prepare_training`.
        """
        return self.prepare_training(params, words)

    def load_untrained(self, params: Params) -> LoadedModel:
        """Load the checkpoint as it is, to score it without training (`yoyak screen`). Section: model."""
        raise self._not_trained()

    def base_model_bytes(self, params: Params) -> int:
        """Bytes of the base model that an adapter needs; 0 if trained models are complete. Section: model."""
        return 0

    def _not_trained(self) -> NotImplementedError:
        return NotImplementedError(f"the family {self.name} has no checkpoint to train")
