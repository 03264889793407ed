"""All that a search needs to know about model families. The other modules of this package do not test the family."""

from yoyak.config.sections import Params

# Prefixes of the params that a family does not read.
UNREAD_PARAMS = {"kobart": ("lora.", "prompt.", "model.qlora."), "qlora": ("model.kobart.",)}


def reads_param(family: str, name: str) -> bool:
    """Whether the param has an effect on models of the family."""
    return not name.startswith(UNREAD_PARAMS[family])


def check_model_lengths(params: Params) -> None:
    """Check that the lengths in the params fit the positions of the model.

    Raises:
        YoyakError: naming the param and the number of positions.
    """
    from yoyak.models import checkpoints

    chosen = params.model.chosen
    lengths = checkpoints.lengths_of(params.model.family, params.tokenizer, params.generation)
    checkpoints.check_lengths(chosen.checkpoint, chosen.revision, lengths)


def estimated_peak_gib(params: Params) -> float:
    """The estimated peak memory of training and using the model on this machine, in GiB."""
    from yoyak.models import memory_estimate

    return memory_estimate.peak_of(params) / memory_estimate.GIB


def base_model_bytes(params: Params) -> int:
    """The size of the base model that an adapter needs; 0 for a model that is complete without one."""
    if params.model.family != "qlora":
        return 0
    from yoyak.models import memory_estimate

    return memory_estimate.base_bytes(params)
