"""`yoyak doctor --presets`: the estimated memory of each preset with a decoder-only model."""

from pathlib import Path

from yoyak.config import presets
from yoyak.models import memory_estimate
from yoyak.models.memory_estimate import GIB
from yoyak.training.memory_checks import available_memory_bytes


def preset_memory_table(folder: Path, params: Path, *, gib: float | None) -> list[str]:
    """Lines of a table: the estimated peak in bfloat16 of each preset, and whether it fits or which params to change.

    Args:
        folder: the presets.
        params: params.yaml; a preset changes some of its values.
        gib: memory of the GPU to compare with. None: the memory that is free here.
    """
    free = int(gib * GIB) if gib else available_memory_bytes()
    lines = [f"estimated peak memory in bfloat16, compared with {free / GIB:.1f} GiB"]
    for name in presets.preset_names(folder):
        _, about = presets.read_preset(name, folder)
        if "shape" not in about:
            continue
        changed = presets.params_with_preset(name, folder=folder, params=params)
        config = memory_estimate.config_from_shape(about["shape"])
        layers = memory_estimate.layer_sizes(config)
        estimate = memory_estimate.estimate_causal_lm(config, changed, precision="bfloat16", sizes=layers)
        advice = memory_estimate.advise(config, changed, precision="bfloat16", free=free, sizes=layers)
        lines.append(
            f"{name:24} {estimate.parameters / 1e9:5.1f} B  training {estimate.training / GIB:5.1f} GiB  prediction "
            f"{estimate.prediction / GIB:5.1f} GiB  peak {estimate.peak / GIB:5.1f} GiB  {advice or 'fits'}"
        )
    return lines
