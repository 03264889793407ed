"""The examples of few-shot prompts for a family that has prompts."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from yoyak.config.sections import Params
from yoyak.data.examples import ExampleChooser
from yoyak.models.families.base import Family
from yoyak.system.text_files import read_jsonl


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

        tokenize = Morphemes().surfaces
    return ExampleChooser(list(read_train()), params.prompt, tokenize)


def prepare_examples(chooser: ExampleChooser, files: Mapping[str, Path], added: Path) -> None:
    """Choose the examples for all rows of the splits now, so that several processes can encode them.

    Args:
        chooser: of `example_chooser`.
        files: the processed rows of each split.
        added: the rows that the stage augment adds to train; an empty file if there are none.
    """
    if added.stat().st_size:
        dialogues = {row["fname"]: row["dialogue"] for row in read_jsonl(files["train"])}
        for row in read_jsonl(added):
            for source in (row["source"], *row.get("further_sources", [])):
                if source in dialogues:
                    chooser.add_copy(row["dialogue"], source=dialogues[source])
        chooser.prepare(row["dialogue"] for row in read_jsonl(added))
    chooser.prepare(row["dialogue"] for path in files.values() for row in read_jsonl(path))
