"""What clients send to /v1/summaries and what they get, with all limits. The description of the API comes from here."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from yoyak.evaluation.facts import Facts
from yoyak.inference.shared_model import Written

MOST_BEAMS, MOST_NEW_TOKENS, MOST_DIALOGUES, MOST_CHARACTERS, LONGEST_TOPIC = 8, 512, 64, 20_000, 200
EXAMPLE = "#Person1#: 점심 먹었어?\n#Person2#: 아직. 같이 먹을래?"

Dialogue = Annotated[
    str,
    Field(min_length=1, max_length=MOST_CHARACTERS, description='One turn on each line, such as "#Person1#: 안녕하세요."'),
]


class _Input(BaseModel):
    """A part of a request: unknown fields are errors, and values are not converted to another type."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class GenerationChanges(_Input):
    """Settings of generation that differ from the server's, with the names and meanings of params.yaml."""

    num_beams: Annotated[int, Field(ge=1, le=MOST_BEAMS)] | None = Field(
        default=None, description="Number of beams; 1 is greedy."
    )
    max_new_tokens: Annotated[int, Field(ge=1, le=MOST_NEW_TOKENS)] | None = Field(
        default=None, description="Longest summary, in tokens. The positions of the model limit it too."
    )
    min_new_tokens: Annotated[int, Field(ge=0, le=MOST_NEW_TOKENS)] | None = Field(
        default=None, description="Shortest summary, in tokens."
    )
    length_penalty: Annotated[float, Field(ge=-8, le=8)] | None = Field(
        default=None, description="Exponent of the length in a beam's score; a higher value favors longer summaries."
    )
    no_repeat_ngram_size: Annotated[int, Field(ge=0, le=20)] | None = Field(
        default=None, description="Size of token sequences that must not occur twice; 0 switches it off."
    )
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] | None = Field(
        default=None, description="Divisor of the logits of tokens that already occurred; 1 switches it off."
    )
    early_stopping: Literal[True, False, "never"] | None = Field(default=None, description="When beam search ends.")
    do_sample: bool | None = Field(
        default=None,
        description="Draw tokens at random. A request that samples is never batched with others, so its seed decides.",
    )
    temperature: Annotated[float, Field(ge=0.01, le=10)] | None = Field(
        default=None, description="Divisor of the logits. Only for samples."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(default=None, description="Only for samples; 1 keeps all tokens.")
    top_k: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        default=None, description="Only for samples; 0 keeps all tokens."
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = Field(default=None, description="Seed for samples.")
    postprocess: Literal["never", "auto", "always"] | None = Field(
        default=None, description="Repair the ends of cut-off summaries."
    )
    long_dialogues: Literal["truncate", "windows"] | None = Field(
        default=None, description="What happens to a dialogue that is longer than the model reads."
    )

    def values(self) -> dict[str, Any]:
        """The values that were sent."""
        return self.model_dump(exclude_none=True)


class SummariesRequest(_Input):
    """One or many dialogues to summarize."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"dialogues": [EXAMPLE]}]})

    dialogues: list[Dialogue] = Field(min_length=1, max_length=MOST_DIALOGUES, description="The dialogues.")
    topics: list[Annotated[str, Field(max_length=LONGEST_TOPIC)]] | None = Field(
        default=None, max_length=MOST_DIALOGUES, description="The topic of each dialogue, for models whose prompt names it."
    )
    generation: GenerationChanges = GenerationChanges()
    facts: bool = Field(default=True, description="Whether to look for names, numbers and tags that the dialogue lacks.")

    @model_validator(mode="after")
    def _check(self) -> "SummariesRequest":
        if self.topics is not None and len(self.topics) != len(self.dialogues):
            raise ValueError(f"topics: {len(self.topics)} topics for {len(self.dialogues)} dialogues")
        return self


class UnsupportedFacts(BaseModel):
    """What the summary states and the dialogue does not. The rules are a heuristic."""

    names: list[str]
    numbers: list[str] = Field(description='With their unit: "3시", "2만원" is "20000원".')
    tags: list[str]

    @classmethod
    def of(cls, facts: Facts) -> "UnsupportedFacts":
        numbers = sorted(f"{number.value:.15g}{number.unit}" for number in facts.numbers)
        return cls(names=sorted(facts.names), numbers=numbers, tags=sorted(facts.tags))


class Tokens(BaseModel):
    """Counts of the model's tokens."""

    dialogue: int = Field(description="Of the whole dialogue, with the prompt of the model.")
    input: int = Field(description="That the model read.")
    output: int = Field(description="Of the summary.")


class Summary(BaseModel):
    """The summary of one dialogue."""

    summary: str
    cut_off: bool = Field(description="The model stopped at max_new_tokens.")
    tokens: Tokens
    turns: int = Field(description="Of the whole dialogue.")
    turns_left_out: int = Field(description="Because the dialogue is too long for the model.")
    turn_cut: bool = Field(description="A part of one turn was left out.")
    windows: int = Field(description="In which the dialogue was read.")
    notes: list[str] = Field(description="What was left out, or could not be read as it was meant.")
    unsupported_facts: UnsupportedFacts | None

    @classmethod
    def of(cls, written: Written, facts: Facts | None, notes: list[str]) -> "Summary":
        return cls(
            summary=written.summary,
            cut_off=written.cut_off,
            tokens=Tokens(dialogue=written.dialogue_tokens, input=written.input_tokens, output=written.output_tokens),
            turns=written.turns,
            turns_left_out=written.turns_left_out,
            turn_cut=written.turn_cut,
            windows=written.windows,
            notes=[*notes, *written.notes],
            unsupported_facts=None if facts is None else UnsupportedFacts.of(facts),
        )


class Timings(BaseModel):
    """Where the time went, in milliseconds."""

    queued_ms: float = Field(description="In the queue.")
    writing_ms: float = Field(description="For the whole batch.")
    total_ms: float
    batch: int = Field(description="Dialogues that were written together, of other requests too.")


class SummariesResponse(BaseModel):
    """The summaries, in the order of the dialogues."""

    model: str
    summaries: list[Summary]
    timings: Timings
    request_id: str
