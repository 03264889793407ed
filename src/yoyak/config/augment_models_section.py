"""Methods of section augment that use a model, and their models."""

from typing import Literal

from pydantic import Field

from yoyak.config.fields import Count, NonEmpty, NotNegative, PositiveShare, Section, Share

Part = Literal["dialogue", "summary", "both"]


class Paraphrase(Section):
    """Say the same in other words; `augment.writer` does it."""

    rate: NotNegative = Field(
        description="New rows for each train row, each in other words. 0 switches the method off, 0.5 takes half of the rows."
    )
    of: Part = Field(description="What is rewritten. The other part stays as it is.")


class BackTranslation(Section):
    """Translate into another language and back."""

    rate: NotNegative = Field(
        description="New rows for each train row. 0 switches the method off, 0.5 takes half of the rows. With "
        "`by: translator` it must not exceed the number of pivots, because a translator always gives a text the "
        "same translation."
    )
    of: Part = Field(description="What is translated. The other part stays as it is.")
    by: Literal["translator", "writer"] = Field(
        description="Model that translates. `translator` is `augment.translator`, which gets sentences; `writer` is the "
        "language model `augment.writer`."
    )
    pivots: list[NonEmpty] = Field(
        min_length=1,
        description="Languages to translate into, each new row by another one. The codes are those of the translator: eng_Latn "
        "for NLLB, en for M2M100, en_XX for mBART-50.",
    )


class Synthesize(Section):
    """New dialogues with summaries, written by `augment.writer` after examples from train."""

    rate: NotNegative = Field(
        description="New rows for each train row. 0 switches the method off, 0.5 gives half as many rows."
    )
    examples: Count = Field(description="Train dialogues with their summaries that the prompt shows.")


class PseudoLabel(Section):
    """Summaries for dialogues without one, by a model that was trained before."""

    rate: NotNegative = Field(
        description="New rows for each train row, up to the number of dialogues. 0 switches the method off. The "
        "dialogues are drawn at random."
    )
    dialogues: NonEmpty = Field(
        description="CSV or JSON-lines file with `fname` and `dialogue`, or a folder of such files. Dialogues that dev, "
        "test or train have too, or almost, are left out and counted."
    )
    model: NonEmpty = Field(
        description="Folder of a trained model: a package (`yoyak package`), or a copy of models/kobart. An output of this "
        "pipeline is refused, because training would depend on its own result. `augment.relabel` uses it too."
    )


class Relabel(Section):
    """New summaries for the dialogues of train, by the model of `augment.pseudo_label` (sequence-level distillation)."""

    rate: Share = Field(
        description="Share of the train rows that get a summary by the model; 0 switches the method off. Kim and Rush 2016, "
        "arXiv:1606.07947, take all."
    )
    originals: Literal["keep", "replace"] = Field(
        description="What becomes of these rows with their own summaries. `keep` trains on both. `replace` trains only on the "
        "new one; a row whose new summary a filter rejects stays as it is."
    )


class Translator(Section):
    """The encoder-decoder of back_translation: NLLB, M2M100, mBART-50, Marian (Opus-MT)."""

    checkpoint: str | None = Field(
        description="Folder of the model that translates Korean, or its name on the hub, which needs a revision."
    )
    revision: str | None = Field(description="Commit of the model on the hub; empty for a folder.")
    back_checkpoint: str | None = Field(
        description="Model that translates back into Korean; empty for the same one. Marian has one model for each direction."
    )
    back_revision: str | None = Field(description="Commit of that model on the hub; empty for a folder.")
    korean: NonEmpty = Field(description="Code of Korean. It is kor_Hang for NLLB, ko for M2M100, ko_KR for mBART-50.")
    num_beams: Count = Field(description="Number of beams of beam search; 1 is greedy decoding.")
    batch_size: Count = Field(description="Sentences that are translated at the same time.")


class Writer(Section):
    """The language model that paraphrases, translates and writes dialogues."""

    source: Literal["local", "endpoint"] = Field(
        description="Where the model runs. `local` is the checkpoint below; `endpoint` is the server and model of "
        "`model.endpoint`, with its budget."
    )
    checkpoint: str | None = Field(
        description="Folder of a chat model, or its name on the hub, which needs a revision. Only `local` reads it. "
        "It is a decoder-only model whose tokenizer has a chat template."
    )
    revision: str | None = Field(description="Commit of the model on the hub; empty for a folder.")
    quantization: Literal["nf4", "int8", "none"] = Field(
        description="Storage of the linear layers in memory. It is as in `model.qlora.quantization`; only `local` reads it."
    )
    max_new_tokens: Count = Field(description="Longest answer, in tokens. A longer one is rejected as unfinished_answer.")
    temperature: NotNegative = Field(
        description="Divisor of the logits when sampling; 0 always takes the most probable token. Then every answer to a "
        "question is the same."
    )
    top_p: PositiveShare = Field(
        description="Sample only from the most probable tokens with this total probability; 1 keeps all."
    )
    batch_size: Count = Field(description="Questions that a local model answers at the same time.")
