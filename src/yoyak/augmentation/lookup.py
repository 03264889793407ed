"""The methods that params.yaml switches on."""

from importlib import import_module

from yoyak.augmentation.base import Method
from yoyak.augmentation.methods import METHODS
from yoyak.augmentation.workspace import Workspace
from yoyak.config.sections import Params


def chosen_methods(params: Params) -> tuple[list[str], list[str]]:
    """The methods whose rows can be trained on, without importing any.

    Args:
        params: sections augment and model.

    Returns:
        The names of the methods whose rate is above 0, in the order of METHODS; and a note for each that is left out.
    """
    family = params.model.family
    names = [name for name in METHODS if getattr(params.augment, name).rate > 0]
    if not names:
        return [], ["nothing to do, the rate of each method is 0 (-S augment.noise.rate=1 switches one on)"]

    from yoyak.models.families.lookup import family_named  # imports transformers

    if not family_named(family).is_trained:
        return [], [f"nothing to do, the family {family} is not trained"]
    unread = {f"augment.{name}.": name for name in names if f"augment.{name}." in family_named(family).unread_params}
    notes = [f"{name}: nothing to do, it has no effect on the family {family}" for name in unread.values()]
    return [name for name in names if name not in unread.values()], notes


def build_methods(names: list[str], workspace: Workspace) -> list[Method]:
    """An instance of each of these methods. Its settings are those of the params in the workspace."""
    return [method_class(name)(getattr(workspace.params.augment, name), workspace) for name in names]


def method_class(name: str) -> type[Method]:
    """The class of the method that `augment.NAME` means."""
    method: type[Method] = import_module(f"yoyak.augmentation.methods.{name}").METHOD
    return method
