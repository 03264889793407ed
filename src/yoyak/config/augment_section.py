"""Section augment of params.yaml: which methods make further train rows, and which of these rows are kept."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from yoyak.config.augment_models_section import (
    BackTranslation,
    Paraphrase,
    PseudoLabel,
    Relabel,
    Synthesize,
    Translator,
    Writer,
)
from yoyak.config.fields import FROM_TEXT, NotNegative, PositiveShare, Section, Seed, Share

Rate = NotNegative
RateOfFour = Annotated[float, Field(ge=0, le=4), FROM_TEXT]


class SpeakerSwap(Section):
    """Exchange the speakers in the dialogue and in its summary."""

    rate: Share = Field(
        description="Share of the train rows that give a new row; 0 switches the method off. In the new row #Person2# speaks "
        "where #Person1# spoke, and the reverse; with more speakers all get another tag at random."
    )


class Noise(Section):
    """Punctuation, spacing and typing errors in the dialogue. The summary stays as it is."""

    rate: Rate = Field(
        description="New rows for each train row; 0 switches the method off. 0.5 takes half of the rows; with 2 each row "
        "gives two new ones with different noise."
    )
    punctuation: Share = Field(
        description="Punctuation marks that are inserted between words, for each word. The method is AEDA (arXiv:2108.13230)."
    )
    deletion: Share = Field(description="Share of the words that are deleted. The method is EDA (arXiv:1901.11196).")
    swap: Share = Field(description="Share of the words that change places with the next word.")
    spacing: Share = Field(description="Share of the words that lose the space behind them or get one inside.")
    typo: Share = Field(
        description="Share of the words with a typing error. One letter becomes a neighbor on the Korean keyboard "
        "(dubeolsik), is doubled or is left out."
    )


class TurnDropout(Section):
    """Leave out turns that share no content word with the summary."""

    rate: Rate = Field(description="New rows for each train row; 0 switches the method off. 0.5 takes half of the rows.")
    share: PositiveShare = Field(
        description="Share of the turns without a content word of the summary that is left out. At least two turns stay."
    )


class Templates(Section):
    """Ask for the same summary with other instructions; only decoder-only models (`qlora`) have instructions."""

    rate: RateOfFour = Field(
        description="New rows for each train row; 0 switches the method off. Each has another instruction; 4 uses each row "
        "with all five instructions."
    )


class Filters(Section):
    """Which of the new rows are kept. Each method says in the reference which filters apply to it."""

    rouge_min: Share = Field(
        description="Smallest morpheme ROUGE between a rewritten text and its source. It is the mean of the F1 of ROUGE-1, "
        "-2 and -L, from 0 to 1. Below it the content may have changed."
    )
    rouge_max: Share = Field(
        description="Largest morpheme ROUGE between a rewritten text and its source. Above it nothing is new."
    )
    length_min: Share = Field(
        description="Smallest ratio of the lengths of a rewritten text and its source. It is the number of characters of the "
        "shorter one divided by that of the longer one."
    )
    length_max: Share = Field(description="Largest ratio of these lengths; 1 also keeps texts of equal length.")
    language: Share = Field(description="Smallest share of Hangul among the letters of a new text; 0 accepts every language.")
    near_duplicate: Annotated[float, Field(ge=0.5, le=1), FROM_TEXT] = Field(
        description="Similarity to a dialogue of dev or test from which a new row is rejected. It is the Jaccard index of "
        "the character 3-grams. Equal dialogues are always rejected."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("rouge", "length"):
            low, high = getattr(self, f"{name}_min"), getattr(self, f"{name}_max")
            if low > high:
                raise ValueError(f"{name}_min: {low} is more than augment.filters.{name}_max ({high})")
        return self


class Augment(Section):
    """Further train rows, made from those of train by methods that can be combined."""

    seed: Seed = Field(description="Seed of all methods: which rows they take, and what they do to them.")
    speaker_swap: SpeakerSwap
    noise: Noise
    turn_dropout: TurnDropout
    templates: Templates
    paraphrase: Paraphrase
    back_translation: BackTranslation
    synthesize: Synthesize
    pseudo_label: PseudoLabel
    relabel: Relabel
    translator: Translator
    writer: Writer
    filters: Filters

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.back_translation.by == "translator" and self.back_translation.rate > len(self.back_translation.pivots):
            raise ValueError(
                f"back_translation.rate: {self.back_translation.rate:g} is more than the number of pivots, and a translator "
                "translates a text always in the same way; name more pivots"
            )
        if self.paraphrase.rate > 1 and not self.writer.temperature:
            raise ValueError("paraphrase.rate: more than 1 needs augment.writer.temperature above 0, or all copies are equal")
        return self
