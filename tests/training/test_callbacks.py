"""A loss that is not a number ends a training at once; float16 may skip single steps."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from yoyak.system.errors import YoyakError
from yoyak.training.callbacks import LossCheck, StopOnInvalidLoss


def check(*, fp16: bool) -> LossCheck:
    arguments: Any = SimpleNamespace(fp16=fp16)
    return LossCheck(arguments)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_the_first_invalid_loss_ends_the_training(loss: float) -> None:
    losses = check(fp16=False)
    losses.check(2.5, step=1)
    with pytest.raises(YoyakError, match=rf"^training: the loss became {loss} in step 2; lower training\.learning_rate$"):
        losses.check(loss, step=2)


def test_float16_may_skip_steps_but_not_ten_in_a_row() -> None:
    losses = check(fp16=True)
    for step in range(9):
        losses.check(math.inf, step=step)
    losses.check(1.0, step=9)
    for step in range(10, 19):
        losses.check(math.inf, step=step)
    with pytest.raises(YoyakError, match=r"in step 19; lower training\.learning_rate, or choose training\.precision: float32"):
        losses.check(math.inf, step=19)


@pytest.mark.parametrize(("key", "name"), [("eval_loss", "dev loss"), ("grad_norm", "norm of the gradient")])
def test_an_invalid_number_in_the_log_ends_the_training(key: str, name: str) -> None:
    arguments: Any = SimpleNamespace(fp16=False)
    state: Any = SimpleNamespace(global_step=7)
    callback, control = StopOnInvalidLoss(), Any
    callback.on_log(arguments, state, control, logs={key: 1.0})
    with pytest.raises(YoyakError, match=f"the {name} became nan after step 7"):
        callback.on_log(arguments, state, control, logs={key: math.nan})


def test_float16_scales_its_gradients_itself() -> None:
    arguments: Any = SimpleNamespace(fp16=True)
    StopOnInvalidLoss().on_log(arguments, Any, Any, logs={"grad_norm": math.inf})
