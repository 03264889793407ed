"""The content of a search file as frozen, typed sections: which params vary, how they are sampled, and when the search ends."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from yoyak.config.fields import Count, Float, Section, number_from_text
from yoyak.search.objectives import HIGHER_IS_BETTER

OptionalNumber = Annotated[int | float | None, BeforeValidator(number_from_text)]
PRESET = "preset"  # A parameter of this name chooses among the presets.


class Parameter(Section):
    """The values that a search tries for one param: a range (`low` to `high`) or a list of `choices`.

    A range whose low, high and step are integers gives integers. `when` names other params and their values: the search
    varies this param only in trials in which all of them have these values.
    """

    low: OptionalNumber = None
    high: OptionalNumber = None
    step: OptionalNumber = None
    log: bool = False
    choices: list[bool | int | float | str | None] | None = None
    when: dict[str, bool | int | float | str | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.choices is not None:
            if not self.choices or self.low is not None or self.high is not None or self.step is not None or self.log:
                raise ValueError("choices: give at least one value, and do not combine choices with low, high, step or log")
            return self
        if self.low is None or self.high is None:
            raise ValueError("low: a parameter needs either low and high, or choices")
        if self.low > self.high:
            raise ValueError(f"low: {self.low} is greater than high ({self.high})")
        if self.log and (self.step is not None or self.low <= 0):
            raise ValueError("log: a log scale needs low above 0 and no step")
        if self.step is not None and self.step <= 0:
            raise ValueError("step: must be greater than 0")
        return self

    @property
    def is_integer(self) -> bool:
        """Whether the range contains integers only."""
        return isinstance(self.low, int) and isinstance(self.high, int) and isinstance(self.step, int | None)

    def boundary_values(self) -> list[Any]:
        """The values that are checked before the first trial: all choices, or both ends of the range."""
        return self.choices if self.choices is not None else [self.low, self.high]

    def grid_values(self) -> list[Any]:
        """All values of the parameter in a grid search.

        Raises:
            ValueError: if a range of floats has no step.
        """
        if self.choices is not None:
            return self.choices
        assert self.low is not None and self.high is not None
        step = self.step or (1 if self.is_integer and not self.log else None)
        if step is None:
            raise ValueError("a grid search needs choices, or a range with a step")
        count = int((self.high - self.low) / step + 1e-9) + 1
        return [remove_float_error(self.low + index * step) for index in range(count)]

    def narrowed(self, *, center: Any, share: float) -> "Parameter":
        """A part of the range around `center`.

        Args:
            center: A value of the param. If it lies outside the range, the nearer end of the range is the center.
            share: Width of the result as a share of the whole range, on a log scale if the range has one.

        Returns:
            The narrowed range, cut at the ends of the range and aligned to its steps. Choices are returned unchanged.
        """
        if self.choices is not None or share >= 1 or not isinstance(center, int | float):
            return self
        assert self.low is not None and self.high is not None
        center = min(max(center, self.low), self.high)
        to_scale, from_scale = (math.log, math.exp) if self.log else (float, float)
        half = (to_scale(self.high) - to_scale(self.low)) * share / 2
        low = max(self.low, from_scale(to_scale(center) - half))
        high = min(self.high, from_scale(to_scale(center) + half))
        if step := self.step or (1 if self.is_integer else None):
            low = self.low + math.ceil((low - self.low) / step - 1e-9) * step
            high = self.low + math.floor((high - self.low) / step + 1e-9) * step
        if low > high:
            low = high = center
        low, high = (round(low), round(high)) if self.is_integer else (remove_float_error(low), remove_float_error(high))
        return self.model_copy(update={"low": low, "high": high})


class Sampler(Section):
    """How the next params are chosen. `n_startup_trials` and `n_ei_candidates` are arguments of Optuna's samplers.

    `freeze_thaw` also chooses how long each trial trains (`yoyak.search.freeze_thaw`). It reads n_startup_trials too.
    """

    name: Literal["tpe", "gp", "random", "grid", "freeze_thaw"] = "tpe"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 42
    n_startup_trials: Count = 10
    n_ei_candidates: Count = 24


class Pruner(Section):
    """Which of Optuna's pruners stops bad trials early, and its arguments.

    The median pruner reads n_startup_trials, n_warmup_steps and interval_steps. The hyperband pruner reads min_resource and
    reduction_factor. A step is one evaluation on the dev split, which happens once per epoch.
    """

    name: Literal["median", "hyperband", "none"] = "none"
    n_startup_trials: Annotated[int, Field(ge=0)] = 5
    n_warmup_steps: Annotated[int, Field(ge=0)] = 3
    interval_steps: Count = 1
    min_resource: Count = 1
    reduction_factor: Annotated[int, Field(ge=2)] = 3

    def settings(self) -> dict[str, Any]:
        """The name of the pruner and the arguments that this pruner reads, as `yoyak.training.search_reporting` takes them."""
        arguments = {
            "median": {"n_startup_trials", "n_warmup_steps", "interval_steps"},
            "hyperband": {"min_resource", "reduction_factor"},
        }
        return self.model_dump(include={"name", *arguments.get(self.name, set())})


class Bound(Section):
    """An open interval of values."""

    above: OptionalNumber = None
    below: OptionalNumber = None

    def contains(self, value: Any) -> bool:
        return (self.above is None or value > self.above) and (self.below is None or value < self.below)


class Constraints(Section):
    """Conditions on the params of a trial. A trial that violates one is pruned before it trains.

    `memory_gib` limits the estimated peak memory in GiB (`yoyak doctor` prints the same estimate). Each item of `forbid`
    excludes the trials in which all of its params lie within their bounds.
    """

    memory_gib: Annotated[Float, Field(gt=0)] | None = None
    forbid: list[dict[str, Bound]] = Field(default_factory=list)


class Adaptive(Section):
    """Ranges that follow the progress of the search.

    After every `every` finished trials: if the best value improved by less than the share `threshold`, the ranges become
    `factor` times as wide, around the best trial. Otherwise they become wider again by the same factor.
    """

    every: Count = 10
    threshold: Annotated[Float, Field(gt=0)] = 0.01
    factor: Annotated[Float, Field(gt=0, lt=1)] = 0.5


class Budget(Section):
    """When a search ends. `hours` counts from the start of the command; trials that run at the end are finished.

    `epochs` is the number of epochs that the trials of a freeze-thaw search train, all of them together.
    """

    trials: Count | None = None
    epochs: Count | None = None
    hours: Annotated[Float, Field(gt=0)] | None = None


class SearchPlan(Section):
    """A search file, or one stage of it. `around` narrows each range to this share around the starting params.

    The names of the fields are the keys of search files. Studies in a database hold them too, so they cannot be renamed.
    """

    about: str | None = None
    spaces: list[str] = Field(default_factory=list)
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    set: dict[str, Any] = Field(default_factory=dict)
    sampler: Sampler = Sampler()
    pruner: Pruner = Pruner()
    objectives: list[str] = Field(default_factory=lambda: ["rouge_sum"], min_length=1)
    seeds: Count = 1
    constraints: Constraints = Constraints()
    budget: Budget = Budget()
    jobs: Count = 1
    storage: str | None = None
    adaptive: Adaptive | None = None
    around: Annotated[Float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self.objectives:
            if name not in HIGHER_IS_BETTER:
                raise ValueError(f"objectives: unknown objective {name}; valid objectives: {', '.join(HIGHER_IS_BETTER)}")
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError("objectives: an objective is listed twice")
        if self.has_several_objectives and (self.adaptive or self.pruner.name != "none"):
            raise ValueError("objectives: a search with several objectives supports neither a pruner nor adaptive ranges")
        if self.pruner.name != "none" and not HIGHER_IS_BETTER[self.objectives[0]]:
            raise ValueError(
                f"pruner: training reports no {self.objectives[0]}, so no trial can be pruned by it; set pruner.name: none"
            )
        if self.sampler.name == "grid" and (self.adaptive or self.around):
            raise ValueError("sampler: the points of a grid are fixed, so a grid supports neither adaptive nor around")
        if self.is_freeze_thaw and self.budget.epochs is None:
            raise ValueError("budget.epochs: missing; sampler freeze_thaw needs the number of epochs of all trials together")
        if not self.is_freeze_thaw and self.budget.epochs is not None:
            raise ValueError("budget.epochs: only sampler freeze_thaw reads it; set budget.trials")
        if self.sampler.name not in ("grid", "freeze_thaw") and self.budget.trials is None:
            raise ValueError("budget.trials: missing; only a grid search ends without it")
        if not self.parameters and not self.spaces:
            raise ValueError("parameters: the search varies no param; set parameters or spaces")
        return self

    @property
    def is_grid(self) -> bool:
        return self.sampler.name == "grid"

    @property
    def is_freeze_thaw(self) -> bool:
        return self.sampler.name == "freeze_thaw"

    @property
    def has_several_objectives(self) -> bool:
        return len(self.objectives) > 1

    @property
    def varies_training(self) -> bool:
        """Whether trials can differ in what they train; if not, all trials use the same model."""
        return any(not name.startswith("generation.") for name in self.parameters)

    @property
    def can_prune(self) -> bool:
        """Whether training runs report to the study, which can stop or pause them."""
        return (self.pruner.name != "none" or self.is_freeze_thaw) and self.varies_training


def remove_float_error(value: Any) -> Any:
    """A float without the rounding error that adding steps causes: 0.15000000000000002 becomes 0.15."""
    return float(f"{value:.12g}") if isinstance(value, float) else value
