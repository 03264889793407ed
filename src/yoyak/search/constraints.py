"""Reasons to reject the params of a trial before anything is trained."""

from collections.abc import Mapping
from typing import Any

from yoyak.config.params import parse_params
from yoyak.search import family_rules
from yoyak.search.base_params import BaseParams, get_value
from yoyak.search.plan import Constraints
from yoyak.system.errors import YoyakError


def invalid_params(changes: Mapping[str, Any], base: BaseParams) -> str | None:
    """Why params.yaml would not be valid with the changes; None if it would be valid."""
    try:
        parse_params(base.with_changes(changes), source="params")
    except YoyakError as error:
        return "; ".join(line.strip() for line in str(error).splitlines()[1:]) or str(error)
    return None


def violated_constraint(changes: Mapping[str, Any], base: BaseParams, constraints: Constraints) -> str | None:
    """Which constraint the params of a trial violate; None if they violate none.

    The memory constraint is tested last, because the estimate reads the config of the checkpoint.
    """
    values = base.with_changes(changes)
    for forbidden in constraints.forbid:
        if all(bound.contains(get_value(values, name)) for name, bound in forbidden.items()):
            return "forbidden combination: " + ", ".join(f"{name}={get_value(values, name)}" for name in forbidden)
    if constraints.memory_gib is not None:
        peak = family_rules.estimated_peak_gib(base.params_of(changes))
        if peak > constraints.memory_gib:
            return f"the estimated peak memory of {peak:.2f} GiB exceeds constraints.memory_gib ({constraints.memory_gib:g})"
    return None
