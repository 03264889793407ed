"""The examples for rows of train that augmentation added."""

from pathlib import Path

from tests.conftest import DIALOGUES, SUMMARIES, WITHOUT_ADDITIONS
from yoyak.config.sections import Prompt
from yoyak.data.examples import ExampleChooser
from yoyak.models.few_shot import prepare_examples
from yoyak.system.text_files import write_jsonl


def test_an_added_row_does_not_see_its_sources(tmp_path: Path) -> None:
    train = [
        {"fname": f"train_{number}", "dialogue": dialogue, "summary": summary}
        for number, (dialogue, summary) in enumerate(zip(DIALOGUES, SUMMARIES, strict=True))
    ]
    write_jsonl(tmp_path / "train.jsonl", train)
    new = "#Person1#: 버스 놓쳤네.\n#Person2#: 택시를 타고 가자."
    write_jsonl(tmp_path / "added.jsonl", [{"dialogue": new, "source": "train_6", "further_sources": ["train_1", "elsewhere"]}])
    settings = Prompt(style="plain", system=None, topic="never", **(WITHOUT_ADDITIONS | {"examples": 6}))
    chooser = ExampleChooser(train, settings, str.split)
    prepare_examples(chooser, {"train": tmp_path / "train.jsonl"}, tmp_path / "added.jsonl")
    shown = {example.dialogue for example in chooser.choose(new)}
    assert shown == {dialogue for number, dialogue in enumerate(DIALOGUES) if number not in (1, 6)}
