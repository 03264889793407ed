"""`yoyak doctor --presets`: for each preset, whether it can run here: params, checkpoint, revision and memory."""

from pathlib import Path
from typing import Any

from yoyak.config import presets
from yoyak.config.sections import Params
from yoyak.models import memory_estimate
from yoyak.models.hub import place_of
from yoyak.models.memory_estimate import GIB
from yoyak.system.errors import YoyakError
from yoyak.training.memory_checks import available_memory_bytes

PLACES = {
    "folder": "checkpoint in a folder",
    "cache": "checkpoint in the cache, revision pinned",
    "hub": "checkpoint on the hub (needs a network), revision pinned",
    "no revision": "CANNOT RUN: no revision (`yoyak use` says how to find one)",
}


def preset_table(folder: Path, params: Path, *, gib: float | None) -> list[str]:
    """Lines of a table with all presets: the place of its checkpoint, the peak memory, and what to change if it is too much.

    Args:
        folder: the presets.
        params: params.yaml; a preset changes some of its values.
        gib: memory of the GPU to compare with. None: the memory that is free here.
    """
    free = int(gib * GIB) if gib else available_memory_bytes()
    lines = [f"all presets; estimated peak memory (decoder-only models in bfloat16) compared with {free / GIB:.1f} GiB"]
    for name in presets.preset_names(folder):
        try:
            _, about = presets.read_preset(name, folder)
            changed = presets.params_with_preset(name, folder=folder, params=params)
            if changed.model.family == "endpoint":
                lines.append(f"{name:24} params valid; on a server: {changed.model.name}")
                continue
            chosen = changed.model.chosen
            checkpoint, revision = getattr(chosen, "checkpoint", ""), getattr(chosen, "revision", None)
            place = place_of(checkpoint, revision)
            memory = _memory(changed, about.get("shape"), place, free=free)
            lines.append(f"{name:24} params valid; {PLACES[place]}: {checkpoint}; {memory}")
        except YoyakError as error:
            lines.append(f"{name:24} CANNOT RUN: {error}")
    return lines


def _memory(params: Params, shape: dict[str, Any] | None, place: str, *, free: int) -> str:
    """The estimate and whether it fits, in words. The shape of the model must be known."""
    if shape:
        config = memory_estimate.config_from_shape(shape)
        layers = memory_estimate.layer_sizes(config)
        estimate = memory_estimate.estimate_causal_lm(config, params, precision="bfloat16", sizes=layers)
        advice = memory_estimate.advise(config, params, precision="bfloat16", free=free, sizes=layers)
    elif place in ("folder", "cache"):
        estimate = memory_estimate.estimate_for_params(params)
        advice = None if estimate.peak <= free else "too large"
    else:
        return "memory unknown before the download"
    return (
        f"{estimate.parameters / 1e6:,.0f} M parameters, training {estimate.training / GIB:.1f} GiB, prediction "
        f"{estimate.prediction / GIB:.1f} GiB, peak {estimate.peak / GIB:.1f} GiB: {advice or 'fits'}"
    )
