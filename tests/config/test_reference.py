"""The reference of the params is complete, and the comments of params.yaml are taken from it."""

import re
from pathlib import Path
from typing import get_args

import pytest

from yoyak.config.generation_section import BackendName
from yoyak.config.params import leaf_keys
from yoyak.config.reference import parameter_reference, section_reference
from yoyak.config.sections import FamilyName

ROOT = Path(__file__).parents[2]
ENTRIES = {entry.name: entry for entry in parameter_reference()}


def first_sentence(text: str) -> str:
    return re.split(r"\.(?:\s|$)", text, maxsplit=1)[0].replace("`", "")


def comments() -> dict[str, str]:
    """The comment of each key of params.yaml, by dotted name: behind the key, or above it for a list or a mapping."""
    found: dict[str, str] = {}
    parents: list[str] = []
    above = ""
    for line in (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"( *)([a-z_A-Z0-9]+):(?:.*? # (.*))?", line):
            parents = [*parents[: len(match[1]) // 2], match[2]]
            found[".".join(parents)] = match[3] or above
        above = line.strip().removeprefix("# ")
    return found


def test_every_key_has_an_entry_in_the_order_of_the_file() -> None:
    assert [entry.name for entry in parameter_reference()] == leaf_keys()
    assert list(comments()) == [name for name in comments() if name in ENTRIES or name in section_reference()]
    assert set(comments()) == set(ENTRIES) | set(section_reference())


@pytest.mark.parametrize("name", ENTRIES)
def test_every_key_has_a_description_and_its_values(name: str) -> None:
    entry = ENTRIES[name]
    assert re.match(r"[A-Z].*\.$", entry.description), "full sentences"
    assert entry.values
    assert len(first_sentence(entry.description)) < 100


@pytest.mark.parametrize("name", section_reference())
def test_every_section_has_a_description(name: str) -> None:
    assert re.match(r"[A-Z].*\.$", section_reference()[name])


@pytest.mark.parametrize("name", comments())
def test_a_comment_of_params_yaml_is_the_first_sentence_of_the_description(name: str) -> None:
    """The allowed values follow where they fit on the line."""
    entry = ENTRIES.get(name)
    description = first_sentence(entry.description if entry else section_reference()[name])
    assert comments()[name] in (description, f"{description}: {entry.values}" if entry else "")


def test_the_lines_of_params_yaml_are_not_long() -> None:
    assert max(map(len, (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines())) <= 128


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("data.dir", "text"),
        ("preprocess.noise", "minimal | moderate | aggressive"),
        ("model.family", " | ".join(get_args(FamilyName))),
        ("model.qlora.revision", "text or empty"),
        ("tokenizer.max_input_length", "integer ≥ 8"),
        ("training.learning_rate", "number > 0, ≤ 1"),
        ("training.lr_scheduler_kwargs", "mapping"),
        ("training.seed", "integer ≥ 0, < 4,294,967,296"),
        ("training.debug", "true | false"),
        ("lora.lora_dropout", "number ≥ 0, < 1"),
        ("generation.length_penalty", "number"),
        ("generation.early_stopping", "true | false | never"),
        ("generation.blocked_scripts", "list of latin | han | kana | other"),
        ("generation.backend", " | ".join(get_args(BackendName))),
        ("hardware.cpu_threads", "integer ≥ 1 or empty"),
        ("score.bootstrap_samples", "integer ≥ 100, ≤ 100,000"),
    ],
)
def test_values_are_the_type_its_limits_or_the_choices(name: str, values: str) -> None:
    assert ENTRIES[name].values == values
