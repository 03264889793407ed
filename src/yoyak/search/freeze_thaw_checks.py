"""Checks of what a freeze-thaw search does not support, before the first trial."""

import math
from collections.abc import Iterator

from yoyak.search.base_params import BaseParams, get_value
from yoyak.search.plan import PRESET, SearchPlan
from yoyak.search.storage import is_shared
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import counted

# They decide what a curve means, so they must be equal in all trials.
EQUAL_IN_ALL = (
    PRESET,
    "model.family",
    "training.num_train_epochs",
    "training.metric_for_best_model",
    "training.predict_with_generate",
)


def check_freeze_thaw(plan: SearchPlan, base: BaseParams, url: str, *, source: str) -> None:
    """Check a plan whose sampler is freeze_thaw; nothing is checked of others.

    Args:
        plan: the search plan.
        base: the params that all trials start from.
        url: the address of the database.
        source: the name of the search file.

    Raises:
        YoyakError: listing what the sampler does not support.
    """
    faults = list(_faults(plan, base, url)) if plan.is_freeze_thaw else []
    if faults:
        raise YoyakError("\n  ".join([f"{source}: {counted(len(faults), 'fault')}", *faults]))


def training_epochs(base: BaseParams) -> int:
    """The epochs of a whole training; the last one may be a part of an epoch."""
    return math.ceil(float(get_value(base.with_fixed(), "training.num_train_epochs")))


def _faults(plan: SearchPlan, base: BaseParams, url: str) -> Iterator[str]:
    values = base.with_fixed()
    epochs, metric = training_epochs(base), get_value(values, "training.metric_for_best_model")
    if is_shared(url):
        yield "storage: sampler freeze_thaw needs the checkpoints, which are on one machine; use a SQLite file, the default"
    if plan.jobs > 1:
        yield "jobs: sampler freeze_thaw trains one trial at a time; set jobs: 1"
    if plan.seeds > 1:
        yield "seeds: sampler freeze_thaw trains each trial with one seed; set seeds: 1"
    if plan.pruner.name != "none":
        yield "pruner: sampler freeze_thaw pauses trials itself; set pruner.name: none"
    if plan.adaptive:
        yield "adaptive: sampler freeze_thaw does not support it; remove it"
    if plan.objectives != [metric]:
        yield (
            f"objectives: sampler freeze_thaw compares curves of training.metric_for_best_model ({metric}) with the objective, "
            f"so both must be the same ROUGE; found {', '.join(plan.objectives)}"
        )
    for name in EQUAL_IN_ALL:
        if name in plan.parameters:
            yield f"{name}: sampler freeze_thaw needs the same value in all trials; set it, and do not search it"
    if not plan.varies_training:
        yield "parameters: sampler freeze_thaw pauses trainings, and this search trains nothing; use another sampler"
    if epochs < 2:
        yield f"training.num_train_epochs: {epochs} leaves nothing to pause; sampler freeze_thaw needs at least 2"
    if plan.budget.epochs is not None and plan.budget.epochs < epochs:
        yield f"budget.epochs: {plan.budget.epochs} is less than one training (training.num_train_epochs: {epochs})"
