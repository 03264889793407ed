"""prompt.augmentation is augment.templates.rate today. Files with the old key still work, and say so."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from yoyak.config.model_settings import UNREAD_PROMPT, ModelSettings
from yoyak.config.moved_keys import HINT
from yoyak.config.params import load_params, parse_params
from yoyak.config.presets import write_preset
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import write_json


def old_file(folder: Path, value: str, rate: str = "0") -> Path:
    """A params.yaml with the old key."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    before, section, after = text.partition("\n  templates: #")
    text = before + section + after.replace("rate: 0", f"rate: {rate}", 1)
    path = folder / "params.yaml"
    path.write_text(text.replace("\n  mask:", f"\n  augmentation: {value}\n  mask:"), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("value", "rate", "expected"), [("templates", "0", 4), ("templates", "1", 1), ("none", "0", 0), ("none", "2", 2)]
)
def test_an_old_params_file_works_and_says_what_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: str, rate: str, expected: float
) -> None:
    params = load_params(old_file(tmp_path, value, rate))
    assert params.augment.templates.rate == expected
    assert capsys.readouterr().err == f"{tmp_path / 'params.yaml'}: {HINT}\n"


def test_todays_file_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    load_params(ROOT / "params.yaml")
    assert capsys.readouterr().err == ""


def test_a_change_on_the_command_line() -> None:
    assert load_params(ROOT / "params.yaml", changes=["prompt.augmentation=templates"]).augment.templates.rate == 4


def test_a_wrong_value_is_named_with_the_hint(values: dict[str, Any]) -> None:
    values["prompt"]["augmentation"] = "much"
    with pytest.raises(YoyakError) as error:
        parse_params(values, source="params.yaml")
    assert f"prompt.augmentation: unknown key ({HINT})" in str(error.value)


def test_a_preset_with_the_old_key_is_written_with_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/mine.yaml").write_text("prompt: {style: plain, augmentation: templates}\n", encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    changes = write_preset("mine", folder=tmp_path / "presets", params=path)
    assert changes == ["prompt.style: structured → plain", "augment.templates.rate: 0 → 4"]
    assert "augmentation:" not in path.read_text(encoding="utf-8")


def test_a_model_that_was_trained_before_loads(tmp_path: Path, values: dict[str, Any]) -> None:
    params = parse_params(values, source="test")
    prompt = UNREAD_PROMPT.model_dump() | {"augmentation": "templates"}
    settings = {
        "format": 1,
        "family": "qlora",
        "preprocess": params.preprocess.model_dump(),
        "tokenizer": params.tokenizer.model_dump(),
        "prompt": prompt,
        "names_topic": False,
        "clean_up": None,
        "input": None,
    }
    write_json(tmp_path / "yoyak.json", settings)
    loaded = ModelSettings.read(tmp_path)
    assert loaded and loaded.prompt == UNREAD_PROMPT
