"""The typed sections of params.yaml. The larger sections have modules of their own.

Each field has a description: what it does, its unit, and the source of its default. The reference in the documents is generated
from these descriptions (`yoyak.config.reference`).
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from yoyak.config.augment_section import Augment
from yoyak.config.batch_division import divide_batch
from yoyak.config.data_section import Data
from yoyak.config.endpoint_section import Endpoint
from yoyak.config.ensemble_section import Ensemble
from yoyak.config.fields import Count, CountOrZero, NonEmpty, Section, ShareBelowOne
from yoyak.config.generation_section import Generation
from yoyak.config.pretrain_section import PRETRAINED, Pretrain
from yoyak.config.score_section import Score
from yoyak.config.training_section import PORTABLE_OPTIMIZERS, Training
from yoyak.system.cores import usable_cores

FamilyName = Literal["kobart", "qlora", "endpoint", "ensemble"]
Tag = Annotated[str, Field(pattern=r"^#[A-Za-z]+\d?#$")]


class Preprocess(Section):
    """Cleaning of the raw rows."""

    noise: Literal["minimal", "moderate", "aggressive"] = Field(
        description="Level of cleaning. `minimal` only repairs damaged text. `moderate` also writes laughter and tears as "
        "words (ㅋㅋ → 웃음, ㅠㅠ → 슬픔). `aggressive` also drops fillers at the start of an utterance, emoji and repeated "
        "punctuation."
    )
    person_tags: Literal["keep_original", "simplify", "abstract"] = Field(
        description="Form of the speaker tags in the model's input. `keep_original` is #Person1#, `simplify` is P1, "
        "`abstract` is 화자1. The predictions get the original tags back."
    )
    max_rejected: CountOrZero = Field(
        description="Number of unusable train and dev rows that may be left out; with more, the stage fails. Each is listed "
        "in data/rejects/rows.jsonl with its reason. Test rows are never left out."
    )


class Checkpoint(Section):
    """A model to start from."""

    checkpoint: NonEmpty = Field(
        description="Folder of the model to fine-tune, or its name on the hub, which needs a revision."
    )
    revision: str | None = Field(
        description="Commit of the model on the hub; empty for a folder. A commit never changes, a branch name does."
    )


class EncoderDecoder(Checkpoint):
    """The encoder-decoder of the family `kobart`."""

    decoder_layers: Count | None = Field(
        description="Decoder layers that training keeps, evenly spaced; empty keeps all. A student with half of them writes "
        "faster on a CPU (Shleifer and Rush 2020, arXiv:2010.13002)."
    )


class QuantizedCheckpoint(Checkpoint):
    """The decoder-only model of the family `qlora`, and how it is loaded."""

    quantization: Literal["nf4", "int8", "none"] = Field(
        description="Storage of the frozen linear layers in memory. `nf4` needs 4 bits per weight (QLoRA, arXiv:2305.14314), "
        "`int8` 8 bits, `none` keeps the training precision."
    )
    double_quantization: bool = Field(
        description="Quantize the scales of nf4 too. It saves about 0.4 bits per weight (QLoRA, section 3)."
    )
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = Field(
        description="Attention kernel. `auto` chooses FlashAttention 2 if the package is installed and the GPU and precision "
        "support it, or else `sdpa`."
    )
    padding_free: Literal["auto", "always", "never"] = Field(
        description="Put the examples of a batch into one row without padding. `auto` does it with FlashAttention. `always` "
        "does not work with `attention: eager`."
    )
    offload_folder: str | None = Field(
        description="Folder for layers that do not fit into GPU memory; empty for no offloading. Layers go to RAM and then to "
        "this folder. It is slow, and works for prediction only, not for training."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.padding_free == "always" and self.attention == "eager":
            raise ValueError("padding_free: always needs model.qlora.attention: auto, sdpa or flash_attention_2")
        return self


class Model(Section):
    """The model; an experiment uses one family."""

    family: FamilyName = Field(
        description="Kind of model. `kobart` is any encoder-decoder, trained completely. `qlora` is any decoder-only model, "
        "loaded in 4 bits and trained by LoRA. `endpoint` is a model behind an OpenAI-compatible API, which is not trained. "
        "`ensemble` is several finished experiments together (`yoyak ensemble`)."
    )
    kobart: EncoderDecoder
    qlora: QuantizedCheckpoint
    endpoint: Endpoint
    ensemble: Ensemble

    @property
    def chosen(self) -> Checkpoint:
        """The section of the chosen family. Those of `endpoint` and `ensemble` have no checkpoint."""
        section: Checkpoint = getattr(self, self.family)
        return section

    @property
    def name(self) -> str:
        """The checkpoint of the chosen family, the name of the model on the server, or the folder of the ensemble."""
        if self.family == "ensemble":
            return "models/ensemble"
        return self.endpoint.model if self.family == "endpoint" else self.chosen.checkpoint

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.family == "ensemble" and (problem := self.ensemble.why_not()):
            raise ValueError(f"ensemble.{problem}")
        return self


class Tokenizer(Section):
    """Tokenization; all lengths are in tokens."""

    max_input_length: Annotated[int, Field(ge=8)] = Field(
        description="Longest input of the model, in tokens. For `qlora` the prompt counts too. `truncation` says what a longer "
        "dialogue loses."
    )
    max_target_length: Annotated[int, Field(ge=4)] = Field(
        description="Longest summary in training, in tokens. The end of a longer one is dropped."
    )
    truncation: Literal["middle", "start", "end"] = Field(
        description="Where a dialogue that is too long loses whole turns. `middle` and `start` keep its last turn, `end` keeps "
        "its first. A turn is cut only if it does not fit even alone."
    )
    special_tokens: list[Tag] = Field(
        description="Tags that are one token each. A tag that the tokenizer does not have is added."
    )
    new_tokens: CountOrZero = Field(
        description="Most frequent words of train that become one token each; 0 adds none. Only words that the tokenizer "
        "splits are taken: first morphemes of words (by Mecab) with two or more syllables. Their embeddings start as the mean "
        "of those of their pieces (Koto et al. 2021, arXiv:2109.04607)."
    )


class Prompt(Section):
    """The prompt of a decoder-only model; the families `qlora` and `endpoint` read it."""

    style: Literal["structured", "plain", "instruction"] = Field(
        description="Form of the prompt. `structured` has the parts [Conversation] and [Question]; `plain` has one sentence "
        "before the dialogue; both use the chat template. `instruction` is for base models without a chat template."
    )
    system: str | None = Field(description="System message; empty for none. The style `instruction` has none.")
    topic: Literal["auto", "always", "never"] = Field(
        description="Name the topic of the dialogue in the `structured` question. `auto` does it if every test row has a topic."
    )
    examples: CountOrZero = Field(
        description="Number of train dialogues with their summaries that the prompt shows before the dialogue. Examples that "
        "do not fit into tokenizer.max_input_length are left out whole. `qlora` must be trained with the same number."
    )
    example_choice: Literal["similar", "fixed"] = Field(
        description="Which train dialogues are examples. `similar` takes for each dialogue those with the most similar "
        "morphemes (BM25), never the dialogue itself. `fixed` takes the same ones for all dialogues."
    )
    mask: bool = Field(
        description="Replace personal data in what is sent to an API by placeholders, and put it back into the answers. It "
        "finds phone numbers, e-mail addresses, resident registration numbers, and numbers of cards and accounts. Read "
        "by `endpoint`, and by augmentation with language models."
    )


class Lora(Section):
    """LoRA, with the names of peft's LoraConfig; only the family `qlora` reads it."""

    r: Count = Field(description="Rank of the two added matrices. A higher rank has more weights to train.")
    lora_alpha: Count = Field(description="Scale of the added matrices: they are multiplied by lora_alpha / r.")
    lora_dropout: ShareBelowOne = Field(
        description="Dropout before the added matrices. 0.05 is usual; on a CPU it takes a third of the training time."
    )


class Hardware(Section):
    """Hardware settings that change the bytes of a result."""

    cpu_threads: Count | None = Field(
        description="CPU threads of training and prediction; empty for one per core. The order of sums depends on the number, "
        "so another number changes the last digits of a result. Processes that work together share them."
    )
    portable: bool = Field(
        description="Give the same bytes on every x86-64 processor with AVX2. Libraries then take slower kernels that all of "
        "them have, and no GPU is used. It needs a number of threads, float32 and the optimizer adamw_torch_fused or sgd."
    )
    processes: Count = Field(
        description="Processes that train and predict together, each with its own GPU or its share of the CPU threads. When "
        "they train, they share the rows of a batch, so training means the same, and the last digits of a result differ. When "
        "they predict, each writes whole batches. The family `endpoint` and the backend `vllm` use one process."
    )

    hosts: Count = Field(
        description="Hosts that train one model together, each with its processes. The same command runs on each, with "
        "YOYAK_RENDEZVOUS=HOST:PORT and YOYAK_HOST_RANK in its environment. Every host gets the trained model."
    )

    @property
    def all_processes(self) -> int:
        """Processes that train together, on all hosts."""
        return self.hosts * self.processes

    @property
    def threads_of_process(self) -> int | None:
        """CPU threads of each process that trains or predicts; None: torch's own choice."""
        if self.processes == 1:
            return self.cpu_threads
        return max(1, (self.cpu_threads or usable_cores()) // self.processes)


class SearchStatus(Section):
    """State of a search; `yoyak search` writes it. Do not edit it."""

    pruned: str | None = Field(
        description="Why the search ended this trial early; empty if it did not. With a reason, the stages do nothing."
    )


class Params(Section):
    """All sections of params.yaml."""

    data: Data
    preprocess: Preprocess
    model: Model
    tokenizer: Tokenizer
    prompt: Prompt
    augment: Augment
    pretrain: Pretrain
    training: Training
    lora: Lora
    generation: Generation
    hardware: Hardware
    score: Score
    search: SearchStatus

    @model_validator(mode="after")
    def _check_portable(self) -> Self:
        if not self.hardware.portable:
            return self
        if self.hardware.cpu_threads is None:
            raise ValueError("hardware.portable: needs a number in hardware.cpu_threads, because sums depend on it")
        for name, section in (("training", self.training), ("pretrain", self.pretrain)):
            if section.precision not in ("auto", "float32"):
                raise ValueError(f"hardware.portable: needs {name}.precision: auto or float32")
            if section.optim not in PORTABLE_OPTIMIZERS:
                raise ValueError(f"hardware.portable: needs {name}.optim: {' or '.join(PORTABLE_OPTIMIZERS)}")
        return self

    @model_validator(mode="after")
    def _check_consensus(self) -> Self:
        method = [self.model.ensemble.method] if self.model.family == "ensemble" else []
        for writer in (self.model.family, self.generation.backend, *method):
            if problem := self.generation.consensus.why_not_by(writer):
                raise ValueError(f"generation.consensus.{problem}")
        return self

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        for name, section in (("training", self.training), ("pretrain", self.pretrain)):
            rows, batches = section.per_device_train_batch_size, section.gradient_accumulation_steps
            try:
                divide_batch(2 if self.training.debug and name == "training" else rows, batches, self.hardware.all_processes)
            except ValueError as error:
                if name == "training" or self.pretrain.is_on:
                    raise ValueError(f"{name}: {error}") from None
        return self

    def only(self, *sections: str) -> Self:
        """A view that has just these sections; reading another one is an AttributeError.

        A stage takes it for the sections that dvc.yaml lists among its `params:`, so that it cannot depend on others.
        """
        return self.model_construct(**{name: getattr(self, name) for name in sections})

    def after_pretraining(self) -> Self:
        """These params for training and prediction: with the stage pretrain on, models/pretrained is the checkpoint.

        Sections: model and pretrain. Without the stage, these params themselves.
        """
        chosen = self._pretrained_checkpoint()
        if chosen is None:
            return self
        base = chosen.model_copy(update={"checkpoint": PRETRAINED, "revision": None})
        return self.model_copy(update={"model": self.model.model_copy(update={self.model.family: base})})

    def pretraining_report(self) -> dict[str, Any]:
        """What metrics/predict.json says about the base of the model, beside the checkpoint; empty without pre-training.

        Sections: model and pretrain, as params.yaml has them.
        """
        chosen = self._pretrained_checkpoint()
        if chosen is None:
            return {}
        how = self.pretrain.model_dump(include={"num_train_epochs", "texts"})
        return {"pretrained": {"from": chosen.checkpoint, "revision": chosen.revision, **how}}

    def _pretrained_checkpoint(self) -> Checkpoint | None:
        """The section of the model that the stage pretrain reads, or None if it does nothing."""
        chosen = getattr(self.model, self.model.family, None)  # a family without a checkpoint needs no section
        return chosen if self.pretrain.is_on and isinstance(chosen, Checkpoint) else None
