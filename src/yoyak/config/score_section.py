"""Section score of params.yaml: how the dev predictions are scored, and by which further metrics."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from yoyak.config.endpoint_section import Endpoint
from yoyak.config.fields import Count, CountOrZero, NotNegative, Positive, PositiveShare, Section, Seed

BaselineName = Literal["medoid", "constant", "lead1", "lead2", "lead3"]


class Gates(Section):
    """Conditions that a run must meet. The stage gate judges them after the scores are kept; empty switches one off."""

    better_than: BaselineName | None = Field(
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


class BertScore(Section):
    """BERTScore of a summary and its references (arXiv:1904.09675); without a checkpoint it is not computed."""

    checkpoint: str | None = Field(
        description="Folder of the model, or its name on the hub, which needs a revision; empty for no BERTScore."
    )
    revision: str | None = Field(description="Commit of the model on the hub; empty for a folder.")
    layer: Count | None = Field(
        description="Hidden layer whose vectors are compared, counted from 1; empty for the last one. The paper finds the best "
        "layer of each model by its agreement with people; for bert-base-multilingual-cased it is 9."
    )
    idf: bool = Field(
        description="Give rare tokens more weight, by their document frequency in the references. The values then depend on "
        "the dev split."
    )


class Embedding(Section):
    """Cosine of the vectors of a summary and its references; without a checkpoint it is not computed."""

    checkpoint: str | None = Field(
        description="Folder of a model of sentence vectors, or its name on the hub with a revision; empty for none."
    )
    revision: str | None = Field(description="Commit of the model on the hub; empty for a folder.")
    pooling: Literal["mean", "cls"] = Field(
        description="How the vectors of tokens become one. `mean` is their mean, `cls` the vector of the first token. The "
        "card of the model says which one it was trained with."
    )


class Judge(Endpoint):
    """A language model behind an OpenAI-compatible API that grades summaries from 1 to 5; with 0 votes nothing is asked."""

    param: ClassVar[str] = "score.judge"
    set_elsewhere: ClassVar[dict[str, str]] = {
        "model": "score.judge.model",
        "messages": "the rubric",
        "max_tokens": "score.judge.max_new_tokens",
        "max_completion_tokens": "score.judge.max_new_tokens",
        "temperature": "score.judge.temperature",
        "seed": "score.judge.seed",
    }

    votes: CountOrZero = Field(
        description="Answers for each summary, whose grades are averaged; 0 switches the judge off. More than one needs a "
        "temperature above 0, or all are the same."
    )
    rows: Count | None = Field(description="Number of dev dialogues that are graded, drawn by the seed; empty for all of them.")
    baselines: list[BaselineName] = Field(
        description="Baselines that are graded too, each for as many calls as the model's summaries."
    )
    mask: bool = Field(description="Replace personal data in what is sent by placeholders, as `prompt.mask` does for predict.")
    temperature: NotNegative = Field(description="Divisor of the logits when the judge answers; 0 is greedy decoding.")
    max_new_tokens: Count = Field(description="Longest answer, in tokens. A model that reasons first needs 2,000 or more.")
    seed: Seed = Field(description="Seed of the drawn rows and of the votes.")

    @model_validator(mode="after")
    def _check_judge(self) -> Self:
        if self.votes > 1 and not self.temperature:
            raise ValueError(f"votes: {self.votes} votes at temperature 0 are the same; set 1 vote or a higher temperature")
        if len(set(self.baselines)) < len(self.baselines):
            raise ValueError("baselines: name each one once")
        return self


class Score(Section):
    """Scoring of the dev predictions."""

    references: Literal["mean", "max"] = Field(
        description="Combination of the scores of several reference summaries. With one reference it has no effect."
    )
    bootstrap_samples: Annotated[int, Field(ge=100, le=100_000)] = Field(
        description="Resamples for the 95 % intervals and the paired tests. 1,000 follows Koehn 2004."
    )
    seed: Seed = Field(description="Seed of the resamples.")
    bert_score: BertScore
    embedding: Embedding
    judge: Judge
    gates: Gates
