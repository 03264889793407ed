"""The section `training.objective` of params.yaml: what training minimizes."""

from typing import Literal

from pydantic import Field

from yoyak.config.fields import Count, NotNegative, Positive, Section, Share, ShareBelowOne

ObjectiveName = Literal["cross_entropy", "r_drop", "r3f", "self_critical", "minimum_risk"]


class Objective(Section):
    """What training minimizes. Each key says which objective reads it; `tag_weight` and `unlikelihood` work with all."""

    name: ObjectiveName = Field(
        description="What training minimizes. `cross_entropy` is the usual loss. `r_drop` and `r3f` read each batch twice and "
        "add the difference of the two predictions. `self_critical` and `minimum_risk` write summaries during training and "
        "raise the probability of those with a higher ROUGE; they take much more time."
    )
    r_drop_alpha: NotNegative = Field(
        description="Weight of the difference (`r_drop`). Wu et al. 2021 (arXiv:2106.14448) take 0.7 for summaries and 5 for "
        "translation."
    )
    r3f_lambda: NotNegative = Field(
        description="Weight of the difference (`r3f`). 1 is the default of fairseq, by the authors of Aghajanyan et al. 2020 "
        "(arXiv:2008.03156)."
    )
    r3f_epsilon: Positive = Field(
        description="Largest noise that is added to each number of an input embedding (`r3f`). fairseq's default is 1e-5."
    )
    reward_weight: Share = Field(
        description="Share of the reward in the loss; the rest is cross-entropy (`self_critical`, `minimum_risk`). Paulus et "
        "al. 2018 (arXiv:1705.04304) take 0.9984."
    )
    reward_start: ShareBelowOne = Field(
        description="Share of the steps with cross-entropy alone, before rewards begin (`self_critical`, `minimum_risk`). "
        "A model that cannot write yet learns nothing from rewards."
    )
    reward_samples: Count = Field(
        description="Summaries that are drawn for each row (`self_critical`, `minimum_risk`). `minimum_risk` needs 2 or more."
    )
    tag_weight: Positive = Field(
        description="Weight of a speaker tag in the loss, relative to another token. Tags must be kept as `#Person1#`."
    )
    unlikelihood: NotNegative = Field(
        description="Weight of the unlikelihood of words that the summary already has, against repetition. Welleck et al. "
        "2019 (arXiv:1908.04319) take 1; 0 switches it off."
    )

    @property
    def is_plain(self) -> bool:
        """Whether the loss is cross-entropy with the same weight for all tokens."""
        return self.name == "cross_entropy" and self.tag_weight == 1 and not self.unlikelihood

    @property
    def uses_rewards(self) -> bool:
        return self.name in ("self_critical", "minimum_risk")
