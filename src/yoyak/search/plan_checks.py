"""Checks of a search plan against params.yaml, before the first trial."""

from collections.abc import Iterator, Mapping
from typing import Any

from yoyak.config.params import leaf_keys
from yoyak.config.sections import Params
from yoyak.config.validation import nearest_key_hint
from yoyak.search import family_rules
from yoyak.search.base_params import BaseParams, get_value
from yoyak.search.constraints import invalid_params
from yoyak.search.effects import condition_of
from yoyak.search.plan import PRESET, SearchPlan
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import counted

# Trials are comparable only if these params are equal in all of them. `search` params are written by the search itself.
NOT_SEARCHABLE = ("data.", "hardware.", "score.", "search.")
LENGTHS = ("tokenizer.max_input_length", "tokenizer.max_target_length", "generation.max_new_tokens")


def check_plan(plan: SearchPlan, base: BaseParams, *, source: str) -> None:
    """Check that every parameter exists, that it has an effect, and that params.yaml accepts its values.

    Raises:
        YoyakError: listing every parameter and value that is not valid. `source` names the search file.
    """
    faults = [*_unknown_names(plan), *_unsearchable_parameters(plan)]
    if not faults and (fault := _fault_of({}, base)):
        faults.append(fault)
    if not faults and base.params_of(base.fixed).hardware.hosts > 1:
        faults.append(
            "hardware.hosts: a search trains each trial on one host; set it to 1 (several hosts share a study if each runs the "
            "search with the same OPTUNA_STORAGE)"
        )
    if not faults:
        faults += [*_invalid_values(plan, base), *_parameters_without_effect(plan, base)]
    if faults:
        raise YoyakError("\n  ".join([f"{source}: {counted(len(faults), 'fault')}", *faults]))


def check_longest_lengths(plan: SearchPlan, base: BaseParams) -> None:
    """Check that the longest lengths of the search fit the positions of the model.

    Nothing is checked if the search varies no length, or if it also chooses the model.

    Raises:
        YoyakError: naming the param and the number of positions.
    """
    searched = {name: parameter for name, parameter in plan.parameters.items() if name in LENGTHS}
    if not searched or {"model.family", PRESET} & set(plan.parameters):
        return
    longest = {name: max(parameter.boundary_values()) for name, parameter in searched.items()}
    family_rules.check_model_lengths(base.params_of({**base.fixed, **longest}))


def _fault_of(point: Mapping[str, Any], base: BaseParams) -> str | None:
    """Why params.yaml does not accept a point; None if it does."""
    try:
        return invalid_params(base.changes_of(point), base)
    except YoyakError as error:  # The preset does not exist.
        return str(error)


def _unknown_names(plan: SearchPlan) -> Iterator[str]:
    outside_parameters = [*plan.set, *(name for forbidden in plan.constraints.forbid for name in forbidden)]
    outside_parameters += [name for parameter in plan.parameters.values() for name in parameter.when]
    for name in dict.fromkeys([*outside_parameters, *plan.parameters]):
        if name == PRESET and name in outside_parameters:
            yield f"{name}: only `parameters` can contain it; in a condition, use a param that the preset sets (model.family)"
        elif name not in leaf_keys() and name != PRESET:
            yield f"{name}: params.yaml has no such key{nearest_key_hint(name, Params)}"


def _unsearchable_parameters(plan: SearchPlan) -> Iterator[str]:
    for name, parameter in plan.parameters.items():
        # Cross-validation (`yoyak folds`) is a grid over the folds alone.
        is_cross_validation = plan.is_grid and set(plan.parameters) == {"data.fold"}
        if name.startswith(NOT_SEARCHABLE) and not is_cross_validation:
            sections = ", ".join(prefix.rstrip(".") for prefix in NOT_SEARCHABLE)
            yield f"{name}: cannot be searched; params of {sections} must be equal in all trials"
        if plan.is_grid:
            try:
                parameter.grid_values()
            except ValueError as error:
                yield f"{name}: {error}"


def _invalid_values(plan: SearchPlan, base: BaseParams) -> Iterator[str]:
    """Faults of single values. A value is accepted if it is valid together with some value of another parameter."""
    boundaries = {name: parameter.boundary_values() for name, parameter in plan.parameters.items()}
    for name, values in boundaries.items():
        others = [(other, boundary) for other in boundaries if other != name for boundary in boundaries[other]]
        for value in values:
            fault = _fault_of({name: value}, base)
            if fault and all(_fault_of({name: value, other: boundary}, base) for other, boundary in others):
                yield f"{name}: {value}: {fault}" if name == PRESET else fault


def _parameters_without_effect(plan: SearchPlan, base: BaseParams) -> Iterator[str]:
    if PRESET in plan.parameters or "model.family" in plan.parameters:
        return
    family = get_value(base.with_fixed(), "model.family")
    for name, parameter in plan.parameters.items():
        if not family_rules.reads_param(family, name) and not parameter.when:
            yield f"{name}: has no effect on the {family} family; remove it, or add a condition: `when: {{model.family: ...}}`"
        condition = condition_of(name)
        is_fixed = condition and condition.name not in plan.parameters
        if condition and is_fixed and not condition.holds(get_value(base.with_fixed(), condition.name)):
            yield f"{name}: has an effect only with {condition.text}; set or search {condition.name}, or remove it"
