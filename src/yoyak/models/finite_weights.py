"""The check that no weight of a model is NaN or infinite. One such weight makes every output NaN."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from yoyak.system.errors import YoyakError


def check_finite(checkpoint: str, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Check the weights of a model that was just loaded. It reads each weight once.

    Args:
        checkpoint: the model's name, for the message.
        weights: names and tensors, such as `model.named_parameters()`. For quantized weights the scales are checked.

    Raises:
        YoyakError: naming the first weight that is not finite.
    """
    bad = [(name, tensor) for name, tensor in weights if not all(map(_is_finite, _float_tensors(tensor)))]
    if bad:
        name, tensor = bad[0]
        values = int((~torch.isfinite(tensor)).sum()) if tensor.is_floating_point() else "some"  # a quantized weight
        more = f"; {len(bad) - 1} other weights have such values too" if len(bad) > 1 else ""
        raise YoyakError(
            f"{checkpoint}: {values} of the {tensor.numel():,} values of the weight {name} are NaN or infinite{more}. The "
            "model cannot be used: train it again with a lower training.learning_rate, or download it again"
        )


def _float_tensors(weight: Any) -> Iterator[torch.Tensor]:
    """The weight, or the scales of a weight that bitsandbytes quantized (to 4 bits, perhaps doubly, or to 8 bits)."""
    state = getattr(weight, "quant_state", None)
    scales = (getattr(state, "absmax", None), getattr(state, "offset", None), getattr(weight, "SCB", None))
    second = getattr(getattr(state, "state2", None), "absmax", None)
    for tensor in (weight, *scales, second):
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and not tensor.is_meta and tensor.numel():
            yield tensor


def _is_finite(tensor: torch.Tensor) -> bool:
    # The smallest and the largest value are NaN if any value is. `isfinite` on all values takes ten times as long.
    return all(bool(torch.isfinite(value)) for value in torch.aminmax(tensor.detach()))
