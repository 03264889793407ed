"""The examples of few-shot prompts for a family that has prompts."""

from collections.abc import Callable, Iterable, Mapping

from yoyak.config.sections import Params
from yoyak.data.examples import ExampleChooser
from yoyak.models.families.base import Family


def example_chooser(
    family: Family, params: Params, read_train: Callable[[], Iterable[Mapping[str, str]]]
) -> ExampleChooser | None:
    """What chooses the examples for prompts; None if params want none, or the family has no prompts.

    Args:
        family: of the model.
        params: section prompt.
        read_train: returns the processed rows of train. It is called only if there are examples.

    Raises:
        YoyakError: if there are too few rows, or Mecab cannot be loaded.
    """
    if not params.prompt.examples or "prompt." in family.unread_params:
        return None
    tokenize = None
    if params.prompt.example_choice == "similar":
        from yoyak.evaluation.morphemes import Morphemes

        tokenize = Morphemes().tokenize
    return ExampleChooser(list(read_train()), params.prompt, tokenize)
