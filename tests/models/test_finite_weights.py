"""A weight that is NaN or infinite is found when a model is loaded, and named."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.models.test_encoder_decoder import change_weights, load
from yoyak.models.finite_weights import check_finite
from yoyak.system.errors import YoyakError

NAME = "model.encoder.layers.0.fc1.weight"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_checkpoint_with_such_a_weight_is_not_loaded(tiny: Path, value: float) -> None:
    def spoil(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights[NAME][1, 2] = value
        return weights

    load(tiny)
    change_weights(tiny, spoil)
    with pytest.raises(YoyakError, match=rf"1 of the 128 values of the weight {NAME} are NaN or infinite\. The model cannot"):
        load(tiny)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_finite_weights_of_any_type_pass(dtype: torch.dtype) -> None:
    largest = torch.finfo(dtype).max
    weights = [("a", torch.full((3, 3), largest, dtype=dtype)), ("empty", torch.zeros(0)), ("ids", torch.tensor([1, 2]))]
    check_finite("model", [*weights, ("not loaded", torch.empty(2, device="meta"))])
    with pytest.raises(YoyakError, match="model: 1 of the 2 values of the weight b are NaN or infinite; 1 other weights"):
        check_finite("model", [*weights, ("b", torch.tensor([1, torch.inf], dtype=dtype)), ("c", torch.tensor(torch.nan))])


@pytest.mark.parametrize(
    "spoilt",
    [
        {"quant_state": SimpleNamespace(absmax=torch.tensor([torch.nan]))},
        {"quant_state": SimpleNamespace(absmax=torch.tensor([1]), offset=torch.tensor(torch.nan), state2=None)},
        {"quant_state": SimpleNamespace(absmax=torch.tensor([1]), state2=SimpleNamespace(absmax=torch.tensor([torch.inf])))},
        {"SCB": torch.tensor([torch.inf])},
    ],
    ids=["4 bits", "offset", "doubly", "8 bits"],
)
def test_the_scales_of_quantized_weights_are_checked(spoilt: dict[str, Any]) -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.uint8), requires_grad=False)
    check_finite("model", [("w", weight)])
    for name, value in spoilt.items():
        setattr(weight, name, value)
    with pytest.raises(YoyakError, match="some of the 4 values of the weight w are NaN"):
        check_finite("model", [("w", weight)])
