"""The typed sections of params.yaml. Section `training` has a module of its own.

Each field has a description: what it does, its unit, and the source of its default. The reference in the documents is generated
from these descriptions (`yoyak.config.reference`).
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from yoyak.config.augment_section import Augment
from yoyak.config.data_section import Data
from yoyak.config.endpoint_section import Endpoint
from yoyak.config.fields import (
    Count,
    CountOrZero,
    Float,
    LogitDivisor,
    NonEmpty,
    Positive,
    PositiveShare,
    Section,
    Seed,
    ShareBelowOne,
)
from yoyak.config.training_section import Training

FamilyName = Literal["kobart", "qlora", "endpoint"]
BackendName = Literal["auto", "ctranslate2-int8", "ctranslate2", "endpoint", "transformers"]
Script = Literal["latin", "han", "kana", "other"]
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
    """The encoder-decoder of the family `kobart`."""

    checkpoint: NonEmpty = Field(
        description="Folder of the model to fine-tune, or its name on the hub, which needs a revision."
    )
    revision: str | None = Field(
        description="Commit of the model on the hub; empty for a folder. A commit never changes, a branch name does."
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
        "loaded in 4 bits and trained by LoRA. `endpoint` is a model behind an OpenAI-compatible API, which is not trained."
    )
    kobart: Checkpoint
    qlora: QuantizedCheckpoint
    endpoint: Endpoint

    @property
    def chosen(self) -> Checkpoint:
        """The section of the chosen family. That of `endpoint` has no checkpoint."""
        section: Checkpoint = getattr(self, self.family)
        return section

    @property
    def name(self) -> str:
        """The checkpoint of the chosen family, or the name of the model on the server."""
        return self.endpoint.model if self.family == "endpoint" else self.chosen.checkpoint


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
        "finds phone numbers, e-mail addresses, resident registration numbers, and numbers of cards and accounts. Only "
        "`endpoint` reads it."
    )


class Lora(Section):
    """LoRA, with the names of peft's LoraConfig; only the family `qlora` reads it."""

    r: Count = Field(description="Rank of the two added matrices. A higher rank has more weights to train.")
    lora_alpha: Count = Field(description="Scale of the added matrices: they are multiplied by lora_alpha / r.")
    lora_dropout: ShareBelowOne = Field(
        description="Dropout before the added matrices. 0.05 is usual; on a CPU it takes a third of the training time."
    )


class Generation(Section):
    """Decoding, with the names and meanings of transformers' GenerationConfig.

    `blocked_scripts`, `seed` and all keys after it are additions of yoyak.
    """

    max_new_tokens: Count = Field(description="Longest summary, in tokens.")
    min_new_tokens: CountOrZero = Field(description="Shortest summary, in tokens. It must not exceed `max_new_tokens`.")
    num_beams: Count = Field(description="Number of beams of beam search; 1 is greedy decoding.")
    do_sample: bool = Field(description="Draw tokens at random instead of taking the most probable ones.")
    temperature: LogitDivisor = Field(
        description="Divisor of the logits when sampling. Below 1, probable tokens become more probable."
    )
    top_p: PositiveShare = Field(
        description="Sample only from the most probable tokens with this total probability; 1 keeps all."
    )
    top_k: CountOrZero = Field(
        description="Sample only from this number of most probable tokens; 0 keeps all. 50 is transformers' default."
    )
    repetition_penalty: LogitDivisor = Field(
        description="Divisor of the logits of tokens that already occurred; 1 switches it off. For `qlora` the tokens of the "
        "prompt count too."
    )
    length_penalty: Float = Field(
        description="Exponent of the length in a beam's score; a higher value favors longer summaries. It works with two or "
        "more beams."
    )
    no_repeat_ngram_size: CountOrZero = Field(
        description="Size of token sequences that must not occur twice; 0 switches it off. For `qlora` the prompt counts too: "
        "3 forbids three tokens in a row from the dialogue."
    )
    early_stopping: Literal[True, False, "never"] = Field(
        description="When beam search ends. `true` ends it as soon as `num_beams` summaries are finished; `false` estimates "
        "whether a better one is still possible; `never` goes on until none is possible."
    )
    blocked_scripts: list[Script] = Field(
        description="Scripts whose letters are never written. Tags and words from the dialogue are excepted. `other` is every "
        "script but these three and Hangul."
    )
    seed: Seed = Field(description="Seed for do_sample.")
    batch_size: Count = Field(
        description="Dialogues that are summarized at the same time. It changes speed and memory, and the summaries only by "
        "rounding."
    )
    backend: BackendName = Field(
        description="Library that writes the summaries. `auto` chooses CTranslate2 on a CPU, in int8 unless the dev score "
        "falls, and transformers on a GPU or where CTranslate2 cannot run the model."
    )
    postprocess: Literal["never", "auto", "always"] = Field(
        description="Repair the ends of summaries that were cut off. `auto` does it if that raises the dev score."
    )

    long_dialogues: Literal["truncate", "windows"] = Field(
        description="What happens to a dialogue that is longer than tokenizer.max_input_length. `truncate` leaves out turns "
        "(`tokenizer.truncation`). `windows` reads it whole: it writes a summary of each part, and from these one summary. "
        "Training always truncates."
    )
    window_overlap: CountOrZero = Field(
        description="Turns that two neighbouring windows share. They tell the second one what is spoken about. Only "
        "`long_dialogues: windows` reads it."
    )
    window_merge: Literal["turns", "summaries", "join"] = Field(
        description="How the summaries of windows become one. `turns` summarizes the turns that they speak of, as many as fit. "
        "`summaries` summarizes the summaries, written as a dialogue. `join` puts them one after another. Only "
        "`long_dialogues: windows` reads it."
    )

    restore_speakers: bool = Field(
        description="Write the original names of the speakers into submission.csv. They take the place of #Person1#. It needs "
        "data that `yoyak import` made. dev.csv and test.csv keep the tags."
    )

    @classmethod
    def plain(cls, *, max_new_tokens: int, num_beams: int, seed: int = 0, batch_size: int = 32) -> Self:
        """Plain beam search, for where the section of params.yaml must not have an effect, or is not known."""
        return cls(
            max_new_tokens=max_new_tokens,
            min_new_tokens=0,
            num_beams=num_beams,
            do_sample=False,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            repetition_penalty=1.0,
            length_penalty=1.0,
            no_repeat_ngram_size=0,
            early_stopping=True,
            blocked_scripts=[],
            seed=seed,
            batch_size=batch_size,
            backend="auto",
            postprocess="never",
            long_dialogues="truncate",
            window_overlap=2,
            window_merge="turns",
            restore_speakers=False,
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(
                f"min_new_tokens: {self.min_new_tokens} is more than generation.max_new_tokens ({self.max_new_tokens})"
            )
        return self


class Hardware(Section):
    """Hardware settings that change the bytes of a result."""

    cpu_threads: Count | None = Field(
        description="CPU threads of training and prediction; empty for one per core. The order of sums depends on the number, "
        "so another number changes the last digits of a result."
    )


class Gates(Section):
    """Conditions that a run must meet. The stage gate judges them after the scores are kept; empty switches one off."""

    better_than: Literal["medoid", "constant", "lead1", "lead2", "lead3"] | None = Field(
        description="Baseline that the model must beat in rouge_sum by the paired bootstrap; empty for none."
    )
    foreign_share: PositiveShare | None = Field(
        description="Share of foreign letters that the summaries of dev and test must stay below; empty for no limit."
    )
    grad_norm: Positive | None = Field(
        description="Norm that the gradient must stay below after the first tenth of the training; empty for no limit."
    )
    dev_loss_falls: bool = Field(description="Whether the loss on dev must fall after each epoch.")

    @property
    def any_set(self) -> bool:
        return (
            self.better_than is not None or self.foreign_share is not None or self.grad_norm is not None or self.dev_loss_falls
        )


class Score(Section):
    """Scoring of the dev predictions."""

    references: Literal["mean", "max"] = Field(
        description="Combination of the scores of several reference summaries. With one reference it has no effect."
    )
    bootstrap_samples: Annotated[int, Field(ge=100, le=100_000)] = Field(
        description="Resamples for the 95 % intervals and the paired tests. 1,000 follows Koehn 2004."
    )
    seed: Seed = Field(description="Seed of the resamples.")
    gates: Gates


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
    training: Training
    lora: Lora
    generation: Generation
    hardware: Hardware
    score: Score
    search: SearchStatus

    def only(self, *sections: str) -> Self:
        """A view that has just these sections; reading another one is an AttributeError.

        A stage takes it for the sections that dvc.yaml lists among its `params:`, so that it cannot depend on others.
        """
        return self.model_construct(**{name: getattr(self, name) for name in sections})
