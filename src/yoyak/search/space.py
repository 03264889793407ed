"""What a search may try: searches/*.yaml as frozen, typed plans, checked against params.yaml before the first trial."""

import copy
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from yoyak.config import presets
from yoyak.config.params import leaf_keys, parse_params
from yoyak.config.sections import Count, Float, Params, Section, number_from_text
from yoyak.config.validation import nearest_key_hint, validate
from yoyak.config.yaml_files import read_yaml
from yoyak.system.errors import YoyakError

if TYPE_CHECKING:
    import optuna

Number = Annotated[int | float | None, BeforeValidator(number_from_text)]
PRESET = "preset"  # a parameter of this name chooses among presets
# Choosing these would choose how, or on what, a trial is scored; or what the search itself writes.
NOT_SEARCHED = ("data.", "hardware.", "score.", "search.")
INERT = {"kobart": ("lora.", "prompt.", "model.qlora."), "qlora": ("model.kobart.",)}
# Keys of metrics/scores.json; more is better.
ROUGE = [f"{kind}{name}" for kind in ("", "content.") for name in ("rouge1", "rouge2", "rougeL", "rouge_sum", "rouge_mean")]
OBJECTIVES = {**dict.fromkeys(ROUGE, True), "seconds_per_dialogue": False, "model_megabytes": False}  # whether more is better


class Parameter(Section):
    """A range (of whole numbers if low and high are) or a list of choices. `when`: only if other params have these values."""

    low: Number = None
    high: Number = None
    step: Number = None
    log: bool = False
    choices: list[bool | int | float | str | None] | None = None
    when: dict[str, bool | int | float | str | None] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.choices is not None:
            if not self.choices or self.low is not None or self.high is not None or self.step is not None or self.log:
                raise ValueError("choices: at least one, and neither low, high, step nor log beside them")
            return self
        if self.low is None or self.high is None:
            raise ValueError("low: a parameter has low and high, or choices")
        if self.low > self.high:
            raise ValueError(f"low: {self.low} is more than high ({self.high})")
        if self.log and (self.step is not None or self.low <= 0):
            raise ValueError("log: needs low above 0 and no step")
        if self.step is not None and self.step <= 0:
            raise ValueError("step: must be above 0")
        return self

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int) and isinstance(self.step, int | None)

    def extremes(self) -> list[Any]:
        """The values that are checked before the first trial."""
        return self.choices if self.choices is not None else [self.low, self.high]

    def values(self) -> list[Any]:
        """All values, for a grid. ValueError for a range that has no step."""
        if self.choices is not None:
            return self.choices
        assert self.low is not None and self.high is not None
        step = self.step or (1 if self.whole and not self.log else None)
        if step is None:
            raise ValueError("a grid needs choices or a step")
        return [tidy(self.low + at * step) for at in range(int((self.high - self.low) / step + 1e-9) + 1)]

    def around(self, centre: Any, share: float) -> "Parameter":
        """The part of the range around `centre` that is `share` of it wide (on a log scale where the range has one)."""
        if self.choices is not None or share >= 1 or not isinstance(centre, int | float):
            return self
        assert self.low is not None and self.high is not None
        centre = min(max(centre, self.low), self.high)  # params.yaml's may be elsewhere, also where no logarithm is
        to, back = (math.log, math.exp) if self.log else (float, float)
        half = (to(self.high) - to(self.low)) * share / 2
        low, high = max(self.low, back(to(centre) - half)), min(self.high, back(to(centre) + half))
        if step := self.step or (1 if self.whole else None):
            low = self.low + math.ceil((low - self.low) / step - 1e-9) * step
            high = self.low + math.floor((high - self.low) / step + 1e-9) * step
        if low > high:
            low = high = centre
        low, high = (round(low), round(high)) if self.whole else (tidy(low), tidy(high))
        return self.model_copy(update={"low": low, "high": high})


class Sampler(Section):
    """Defaults: the documents of features.md, S5; n_startup_trials and n_ei_candidates are Optuna's names."""

    name: Literal["tpe", "gp", "random", "grid"] = "tpe"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 42
    n_startup_trials: Count = 10
    n_ei_candidates: Count = 24


class Pruner(Section):
    """median reads n_startup_trials, n_warmup_steps and interval_steps; hyperband min_resource and reduction_factor. A step
    is an evaluation on dev, one an epoch."""

    name: Literal["median", "hyperband", "none"] = "none"
    n_startup_trials: Annotated[int, Field(ge=0)] = 5
    n_warmup_steps: Annotated[int, Field(ge=0)] = 3
    interval_steps: Count = 1
    min_resource: Count = 1
    reduction_factor: Annotated[int, Field(ge=2)] = 3

    def arguments(self) -> dict[str, Any]:
        """For search_reporting.make_pruner."""
        reads = {
            "median": {"n_startup_trials", "n_warmup_steps", "interval_steps"},
            "hyperband": {"min_resource", "reduction_factor"},
        }
        return self.model_dump(include={"name", *reads.get(self.name, set())})


class Bound(Section):
    above: Number = None
    below: Number = None

    def holds(self, value: Any) -> bool:
        return (self.above is None or value > self.above) and (self.below is None or value < self.below)


class Constraints(Section):
    """A trial that breaks one is pruned before any training."""

    memory_gib: Annotated[Float, Field(gt=0)] | None = None  # of the estimated peak, as `python -m yoyak doctor` estimates it
    forbid: list[dict[str, Bound]] = Field(default_factory=list)  # each: all of these together


class Adaptive(Section):
    """After each `every` results: if the best rose by less than `threshold` of itself, ranges become `factor` as wide around
    it, else wider again by as much."""

    every: Count = 10
    threshold: Annotated[Float, Field(gt=0)] = 0.01
    factor: Annotated[Float, Field(gt=0, lt=1)] = 0.5


class Budget(Section):
    trials: Count | None = None
    hours: Annotated[Float, Field(gt=0)] | None = None  # of one run of the command; trials that run then are finished


class Plan(Section):
    """A search file, or one stage of it."""

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
    around: Annotated[Float, Field(gt=0, le=1)] | None = None  # ranges around where the search starts, this share as wide

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self.objectives:
            if name not in OBJECTIVES:
                raise ValueError(f"objectives: {name} is none of {', '.join(OBJECTIVES)}")
        if len(set(self.objectives)) < len(self.objectives):
            raise ValueError("objectives: one stands there twice")
        if self.several and (self.adaptive or self.pruner.name != "none"):
            raise ValueError("objectives: with several, Optuna cannot prune and there is no one best to adapt to")
        if self.pruner.name != "none" and not OBJECTIVES[self.objectives[0]]:
            raise ValueError("pruner: training reports ROUGE on dev, which says nothing of this objective; choose none")
        if self.sampler.name == "grid" and (self.adaptive or self.around):
            raise ValueError("sampler: a grid is fixed: neither adaptive nor around")
        if self.sampler.name != "grid" and self.budget.trials is None:
            raise ValueError("budget.trials: missing (a grid alone knows its end)")
        if not self.parameters and not self.spaces:
            raise ValueError("parameters: there is nothing to search")
        return self

    @property
    def several(self) -> bool:
        return len(self.objectives) > 1

    @property
    def trains(self) -> bool:
        """Whether trials can differ in what is trained."""
        return any(not name.startswith("generation.") for name in self.parameters)


class Stage(Section):
    """A stage's name; its other keys are laid over the file's."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


def tidy(value: Any) -> Any:
    """A float without the noise of adding steps: 0.15000000000000002 is 0.15."""
    return float(f"{value:.12g}") if isinstance(value, float) else value


def load(path: Path) -> dict[str, Plan]:
    """The stages of a search file by name, in their order; a file without stages has one, named "".

    Spaces that it names are files of parameters in `spaces` beside it; what the file says itself wins.

    Raises:
        YoyakError: with the file and the key.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise YoyakError(f"{path}: no mapping of {', '.join(Plan.model_fields)}")
    stages = values.pop("stages", None)
    if stages is None:
        return {"": _plan(path, values, str(path))}
    if not isinstance(stages, list) or not stages or not all(isinstance(stage, dict) for stage in stages):
        raise YoyakError(f"{path}: stages: a list of mappings, each with a name")
    plans: dict[str, Plan] = {}
    for at, stage in enumerate(stages):
        name = validate(Stage, {"name": stage.pop("name", None)}, source=f"{path}: stages.{at}").name
        if name in plans:
            raise YoyakError(f"{path}: stages: {name} stands there twice")
        plans[name] = _plan(path, {**values, **stage}, f"{path}: stage {name}")
    return plans


def _plan(path: Path, values: dict[str, Any], source: str) -> Plan:
    plan = validate(Plan, values, source=source)
    parameters: dict[str, Parameter] = {}
    for name in plan.spaces:
        file = path.parent / "spaces" / f"{name}.yaml"
        if not file.is_file():
            found = ", ".join(sorted(other.stem for other in file.parent.glob("*.yaml")))
            raise YoyakError(f"{source}: spaces: no {file} (there are: {found or 'none'})")
        parameters |= validate(Plan, {"parameters": read_yaml(file), "budget": {"trials": 1}}, source=str(file)).parameters
    return plan.model_copy(update={"parameters": parameters | plan.parameters})


def place(values: dict[str, Any], name: str, value: Any) -> None:
    """Put a value under its dotted name, in place. YoyakError if params.yaml has no such key."""
    if name not in leaf_keys():
        raise YoyakError(f"{name}: params.yaml has no such key{nearest_key_hint(name, Params)}")
    *sections, key = name.split(".")
    for section in sections:
        values = values[section]
    values[key] = value


def look_up(values: Mapping[str, Any], name: str) -> Any:
    for part in name.split("."):
        values = values[part]
    return values


def flat(overlay: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested overlay by dotted names."""
    found: dict[str, Any] = {}
    for key, value in overlay.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) and name not in leaf_keys() else {name: value}
    return found


def nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of `flat`."""
    overlay: dict[str, Any] = {}
    for name, value in changes.items():
        *sections, key = name.split(".")
        inner = overlay
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[key] = value
    return overlay


def settle(chosen: Mapping[str, Any], base: Mapping[str, Any], *, fixed: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What a trial changes in the params `base`, by dotted name: `fixed`, then the chosen preset, then the other choices."""
    changes = dict(fixed)
    if PRESET in chosen:
        overlay, _ = presets.read_preset(chosen[PRESET], folder)
        changes |= flat(overlay)
    changes |= {name: value for name, value in chosen.items() if name != PRESET}
    before = flat(base)
    return {name: value for name, value in sorted(changes.items()) if name not in before or before[name] != value}


def applied(changes: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The values of params.yaml with the changes in them."""
    values = copy.deepcopy(dict(base))
    for name, value in changes.items():
        place(values, name, value)
    return values


def wanted(parameter: Parameter, values: Mapping[str, Any]) -> bool:
    return all(look_up(values, name) == value for name, value in parameter.when.items())


def suggest(
    trial: "optuna.Trial", plan: Plan, base: Mapping[str, Any], *, fixed: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """A value for each parameter whose condition holds, in the file's order."""
    chosen: dict[str, Any] = {}
    for name, parameter in plan.parameters.items():
        if parameter.when and not wanted(parameter, applied(settle(chosen, base, fixed=fixed, folder=folder), base)):
            continue
        low, high, step = parameter.low, parameter.high, parameter.step
        if parameter.choices is not None:
            chosen[name] = trial.suggest_categorical(name, parameter.choices)
        elif parameter.whole:
            chosen[name] = trial.suggest_int(name, int(low or 0), int(high or 0), step=int(step or 1), log=parameter.log)
        else:
            chosen[name] = tidy(trial.suggest_float(name, float(low or 0), float(high or 0), step=step, log=parameter.log))
    return chosen


def grid(plan: Plan, base: Mapping[str, Any], *, fixed: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Every combination of a grid, without what its conditions leave out."""
    points: list[dict[str, Any]] = []
    for combination in itertools.product(*(parameter.values() for parameter in plan.parameters.values())):
        point: dict[str, Any] = {}
        for (name, parameter), value in zip(plan.parameters.items(), combination, strict=True):
            if not parameter.when or wanted(parameter, applied(settle(point, base, fixed=fixed, folder=folder), base)):
                point[name] = value
        if point not in points:
            points.append(point)
    return points


def where_it_stands(plan: Plan, base: Mapping[str, Any], *, fixed: Mapping[str, Any]) -> dict[str, Any] | None:
    """The point of the space where the params stand already; None if they lie outside."""
    values = applied(fixed, base)
    point: dict[str, Any] = {}
    for name, parameter in plan.parameters.items():
        if name == PRESET:
            return None
        value = look_up(values, name)
        if parameter.when and not wanted(parameter, values):
            continue
        if parameter.choices is not None:
            if not any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in parameter.choices):
                return None
        else:
            assert parameter.low is not None and parameter.high is not None
            if not isinstance(value, int | float) or not parameter.low <= value <= parameter.high:
                return None
            step = parameter.step or (1 if parameter.whole else None)
            if step and abs((value - parameter.low) / step - round((value - parameter.low) / step)) > 1e-9:
                return None
        point[name] = value
    return point


def check_plan(plan: Plan, base: Mapping[str, Any], *, fixed: Mapping[str, Any], folder: Path, source: str) -> None:
    """That every parameter exists, has an effect, and that params.yaml takes its values.

    Raises:
        YoyakError: naming each parameter and value that does not.
    """
    faults: list[str] = []
    tried: dict[str, list[Any]] = {name: parameter.extremes() for name, parameter in plan.parameters.items()}

    def fault(chosen: Mapping[str, Any]) -> str | None:
        try:
            return invalid(settle(chosen, base, fixed=fixed, folder=folder), base)
        except YoyakError as error:  # there is no such preset
            return str(error)

    def mended(name: str, value: Any) -> bool:
        """Whether another parameter of the search has a value with which this one is valid."""
        others = ((other, extreme) for other, extremes in tried.items() if other != name for extreme in extremes)
        return any(fault({name: value, other: extreme}) is None for other, extreme in others)

    faults += _unknown(plan)
    for name, parameter in plan.parameters.items():
        if name.startswith(NOT_SEARCHED):
            faults.append(f"{name}: a search must not choose how or on what it is scored")
        if plan.sampler.name == "grid":
            try:
                parameter.values()
            except ValueError as error:
                faults.append(f"{name}: {error}")
    if not faults and (wrong := fault({})):
        faults.append(wrong)
    if not faults:
        for name, extremes in tried.items():
            for value in extremes:
                if (wrong := fault({name: value})) and not mended(name, value):
                    faults.append(f"{name}: {value}: {wrong}" if name == PRESET else wrong)
        faults += _without_effect(plan, base, fixed=fixed)
    if faults:
        raise YoyakError("\n  ".join([f"{source}: {len(faults)} {'fault' if len(faults) == 1 else 'faults'}", *faults]))


def _unknown(plan: Plan) -> Iterator[str]:
    """Names that params.yaml does not have."""
    named = [*plan.set, *(name for forbidden in plan.constraints.forbid for name in forbidden)]
    named += [name for parameter in plan.parameters.values() for name in parameter.when]
    for name in dict.fromkeys([*named, *plan.parameters]):
        if name == PRESET and name in named:
            yield f"{name}: it stands among `parameters` alone; a condition can name what it sets, as model.family"
        elif name not in leaf_keys() and name != PRESET:
            yield f"{name}: params.yaml has no such key{nearest_key_hint(name, Params)}"


def _without_effect(plan: Plan, base: Mapping[str, Any], *, fixed: Mapping[str, Any]) -> Iterator[str]:
    if PRESET in plan.parameters or "model.family" in plan.parameters:
        return
    family = look_up(applied(fixed, base), "model.family")
    for name, parameter in plan.parameters.items():
        if name.startswith(INERT[family]) and not parameter.when:
            yield f"{name}: has no effect on the {family} family; leave it out, or say `when: {{model.family: …}}`"


def invalid(changes: Mapping[str, Any], base: Mapping[str, Any]) -> str | None:
    """Why params.yaml does not take the changes together, if so."""
    try:
        parse_params(applied(changes, base), source="params")
    except YoyakError as error:
        return "; ".join(line.strip() for line in str(error).splitlines()[1:]) or str(error)
    return None


def broken(changes: Mapping[str, Any], base: Mapping[str, Any], constraints: Constraints) -> str | None:
    """Why params.yaml does not take the params of a trial, or which constraint they break, but for the one on memory."""
    if reason := invalid(changes, base):
        return reason
    values = applied(changes, base)
    for forbidden in constraints.forbid:
        if all(bound.holds(look_up(values, name)) for name, bound in forbidden.items()):
            return "forbidden: " + " with ".join(f"{name}={look_up(values, name)}" for name in forbidden)
    return None


def width(results: list[float], adaptive: Adaptive) -> float:
    """How wide the ranges are around the best after these results (more is better), as a share of the file's."""
    share = 1.0
    for end in range(2 * adaptive.every, len(results) + 1, adaptive.every):
        before, after = max(results[: end - adaptive.every]), max(results[:end])
        stuck = after - before < adaptive.threshold * abs(before)
        share = max(share * adaptive.factor, 1 / 64) if stuck else min(1.0, share / adaptive.factor)
    return share
