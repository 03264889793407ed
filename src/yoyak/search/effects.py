"""Params that have no effect together with the values of other params.

A trial does not vary such a param: it would run the same experiment once more under other names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from yoyak.config.params import leaf_keys
from yoyak.search import family_rules
from yoyak.search.base_params import get_value
from yoyak.search.plan import PRESET, SearchPlan


@dataclass(frozen=True)
class Condition:
    """A param that another one must have a certain value for.

    Attributes:
        name: the other param.
        holds: whether its value lets the param have an effect.
        text: the condition in words.
    """

    name: str
    holds: Callable[[Any], bool]
    text: str


BEAM_SEARCH = Condition("generation.num_beams", lambda beams: beams > 1, "generation.num_beams of 2 or more")
SAMPLING = Condition("generation.do_sample", bool, "generation.do_sample: true")
WINDOWS = Condition("generation.long_dialogues", lambda value: value == "windows", "generation.long_dialogues: windows")
CONDITIONS = {
    "generation.length_penalty": BEAM_SEARCH,
    "generation.early_stopping": BEAM_SEARCH,
    "generation.temperature": SAMPLING,
    "generation.top_p": SAMPLING,
    "generation.top_k": SAMPLING,
    "generation.window_overlap": WINDOWS,
    "generation.window_merge": WINDOWS,
    "training.generation_num_beams": Condition("training.predict_with_generate", bool, "training.predict_with_generate: true"),
}


def has_effect(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a param has an effect, given nested values of all params."""
    if not family_rules.reads_param(get_value(values, "model.family"), name):
        return False
    condition = condition_of(name)
    return condition is None or condition.holds(get_value(values, condition.name))


def condition_of(name: str) -> Condition | None:
    """The condition of a param; None if it always has an effect. Settings of an augmentation method need its rate."""
    parts = name.split(".")
    rate = f"augment.{parts[1]}.rate" if parts[0] == "augment" and len(parts) > 2 else ""
    if rate in leaf_keys() and name != rate:
        return Condition(rate, lambda value: value > 0, f"{rate} above 0")
    return CONDITIONS.get(name)


def in_order(plan: SearchPlan) -> list[str]:
    """The parameters of a plan in the order in which values are chosen: those that decide about others come first."""

    def rank(name: str) -> int:
        return 0 if name in (PRESET, "model.family") else 1 if condition_of(name) is None else 2

    return sorted(plan.parameters, key=rank)
