"""The section `model.ensemble` of params.yaml."""

import re
from typing import Literal

from pydantic import Field

from yoyak.config.fields import CountOrZero, NotNegative, Section

Method = Literal["consensus", "average_weights", "average_probabilities"]


class Ensemble(Section):
    """Finished experiments that work together as one, for the family `ensemble`. `yoyak ensemble` writes it."""

    method: Method = Field(
        description="How the members become one. `consensus` takes of their summaries of a dialogue the one that agrees most "
        "with the others; they can be of any family. `average_weights` is one model with the mean of their weights, which must "
        "have the same shapes. `average_probabilities` runs encoder-decoders with the same tokenizer together and averages the "
        "probabilities of each next token."
    )
    members: list[str] = Field(
        description="Commits of the experiments, 40 digits each. The order decides between equals: put the best one first."
    )
    utility: Literal["rouge", "chrf"] = Field(
        description="Measure of the agreement of two summaries (consensus). `rouge` is the mean F1 of ROUGE-1, -2 and -L on "
        "morphemes; `chrf` compares characters and needs `pip install 'yoyak[chrf]'`."
    )
    facts: NotNegative = Field(
        description="Points that a summary loses for each name, number or tag that its dialogue does not state. For "
        "`consensus`. With 0 only the agreement counts, which is from 0 to 100."
    )
    selection: Literal["all", "greedy"] = Field(
        description="Which members are used. `greedy` decides by rouge_sum on dev: consensus starts with all and leaves out "
        "one after another, the other methods start with the best and take in one after another (greedy soup, Wortsman et al. "
        "2022, arXiv:2203.05482)."
    )
    keep_if: Literal["higher", "better"] = Field(
        description="What a step of the greedy selection needs. `higher` is a higher mean, `better` is that the paired test "
        "shows it."
    )
    halvings: CountOrZero = Field(
        description="Random halvings of dev that measure the optimism of a choice; 0 measures nothing. One half chooses, and "
        "both are scored."
    )

    def why_not(self) -> str | None:
        """What is wrong with the members, beginning with the key, or None."""
        if len(self.members) < 2:
            return f"members: an ensemble needs at least 2 experiments, not {len(self.members)}; `yoyak ensemble` writes them"
        for member in self.members:
            if not re.fullmatch("[0-9a-f]{40}", member):
                return (
                    f"members: {member!r} is not the hash of a commit, 40 digits; a name can mean another experiment tomorrow; "
                    "`yoyak ensemble NAME EXPERIMENT EXPERIMENT` finds the hashes"
                )
        if len(set(self.members)) < len(self.members):
            return "members: an experiment stands there twice; name each one once"
        if self.method == "consensus" and self.utility == "rouge" and len(self.members) == 2 and not self.facts:
            return (
                "members: two summaries always agree equally with each other, so that the first member would write all; add a "
                "third experiment, or set model.ensemble.facts"
            )
        return None
