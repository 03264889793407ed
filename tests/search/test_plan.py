"""Parameters and plans as typed sections."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak.search.base_params import BaseParams
from yoyak.search.plan import Parameter, SearchPlan

ROOT = Path(__file__).parents[2]
PRESETS = ROOT / "presets"
RATE, BEAMS, SAMPLE = "training.learning_rate", "generation.num_beams", "generation.do_sample"


def plan_of(parameters: dict[str, Any], **more: Any) -> SearchPlan:
    return SearchPlan.model_validate({"parameters": parameters, "budget": {"trials": 5}, **more})


def base_of(values: dict[str, Any], fixed: dict[str, Any] | None = None) -> BaseParams:
    return BaseParams(values, fixed or {}, PRESETS)


@given(
    low=st.integers(0, 50),
    more=st.integers(0, 50),
    step=st.integers(1, 7),
    share=st.floats(0.02, 0.99),
    at=st.floats(0, 1),
)
def test_a_narrowed_range_keeps_its_limits_and_steps(low: int, more: int, step: int, share: float, at: float) -> None:
    parameter = Parameter(low=low, high=low + more, step=step)
    centre = low + round(at * (more // step)) * step
    near = parameter.narrowed(center=centre, share=share)
    assert near.low is not None and near.high is not None
    assert low <= near.low <= centre <= near.high <= low + more
    assert (near.low - low) % step == 0 and (near.high - low) % step == 0
    assert isinstance(near.low, int) and near.is_integer
    assert near.high - near.low <= share * more + 1e-9 or near.low == near.high


def test_a_log_range_narrows_on_its_scale() -> None:
    near = Parameter(low=1e-6, high=1e-2, log=True).narrowed(center=1e-4, share=0.5)
    assert near.low == pytest.approx(1e-5) and near.high == pytest.approx(1e-3)
    at_the_edge = Parameter(low=1e-6, high=1e-2, log=True).narrowed(center=1e-6, share=0.5)
    assert at_the_edge.low == 1e-6 and at_the_edge.high == pytest.approx(1e-5)
    choices = Parameter(choices=[1, 2])
    assert choices.narrowed(center=1, share=0.1) is choices


@pytest.mark.parametrize("centre", [1e-3, 0.0, -1.0])
def test_a_range_without_its_center_narrows_at_its_nearer_end(centre: float) -> None:
    """params.yaml's own rate is above the range, and 0 has no logarithm."""
    parameter = Parameter(low=1e-5, high=1e-4, log=True)
    near = parameter.narrowed(center=centre, share=0.5)
    expected = [10**-4.25, 1e-4] if centre > 1e-4 else [1e-5, 10**-4.75]
    assert [near.low, near.high] == pytest.approx(expected)


def test_only_params_of_generation_leave_the_training_as_it_is() -> None:
    assert not plan_of({BEAMS: {"low": 1, "high": 2}}).varies_training
    assert plan_of({BEAMS: {"low": 1, "high": 2}, RATE: {"low": 0.1, "high": 1}}).varies_training
    assert plan_of({"preset": {"choices": ["kobart-tiny"]}}).varies_training
