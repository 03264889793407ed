"""The examples of params in the documents are valid."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from yoyak.config.presets import write_overlay

PAGES = ("docs/how-to/augment-with-models.md", "docs/how-to/augment-with-models.ko.md")


def examples(page: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)


def test_both_languages_have_the_same_examples() -> None:
    english, korean = ([YAML(typ="safe", pure=True).load(text) for text in examples(page)] for page in PAGES)
    assert english == korean and len(english) == 3


@pytest.mark.parametrize("text", examples(PAGES[0]))
def test_an_example_can_be_written_into_params_yaml(tmp_path: Path, text: str) -> None:
    params = tmp_path / "params.yaml"
    params.write_bytes((ROOT / "params.yaml").read_bytes())
    assert write_overlay(YAML(typ="safe", pure=True).load(text), params=params, source="the example")
