"""All that a search needs to know about model families. The other modules of this package do not test the family."""

from yoyak.config.sections import Params
from yoyak.models.families.lookup import family_named


def reads_param(family: str, name: str) -> bool:
    """Whether the param has an effect on models of the family."""
    return not name.startswith(family_named(family).unread_params)


def check_model_lengths(params: Params) -> None:
    """Check that the lengths in the params fit the positions of the model.

    Raises:
        YoyakError: naming the param and the number of positions.
    """
    if not family_named(params.model.family).is_trained:
        return

    from yoyak.models import checkpoints

    chosen = params.model.chosen
    limits = family_named(params.model.family).token_limits(params.tokenizer, params.generation)
    checkpoints.check_token_limits(chosen.checkpoint, chosen.revision, limits)


def estimated_peak_gib(params: Params) -> float:
    """The estimated peak memory of training and using the model on this machine, in GiB."""
    if not family_named(params.model.family).is_trained:
        return 0.0

    from yoyak.models import memory_estimate

    return memory_estimate.estimate_for_params(params).peak / memory_estimate.GIB


def model_places(params: Params) -> dict[str, str]:
    """The folder or hub name of the model, by its param; empty for a model on a server."""
    family = params.model.family
    return {f"model.{family}.checkpoint": params.model.chosen.checkpoint} if family_named(family).is_trained else {}


def base_model_bytes(params: Params) -> int:
    """The size of the base model that an adapter needs; 0 for a model that is complete without one."""
    return family_named(params.model.family).base_model_bytes(params)
