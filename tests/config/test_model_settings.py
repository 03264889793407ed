"""yoyak.json: what a model's folder says about its input."""

import json
from pathlib import Path
from typing import Any

import pytest

from yoyak.config.model_settings import SETTINGS_FILE, UNREAD_PROMPT, ModelSettings
from yoyak.config.params import parse_params
from yoyak.system.errors import YoyakError


@pytest.fixture
def settings(values: dict[str, Any]) -> ModelSettings:
    params = parse_params(values, source="test")
    return ModelSettings.model_validate(
        {
            "format": 1,
            "family": "kobart",
            "preprocess": params.preprocess,
            "tokenizer": params.tokenizer,
            "prompt": None,
            "names_topic": None,
            "clean_up": [["ㅋ+", "웃음"]],
            "input": {"before": "", "after": "</s>"},
        }
    )


def test_what_is_written_is_read_again(settings: ModelSettings, tmp_path: Path) -> None:
    settings.write(tmp_path)
    assert ModelSettings.read(tmp_path) == settings
    assert "generation" not in json.loads((tmp_path / SETTINGS_FILE).read_text(encoding="utf-8"))
    assert ModelSettings.read(tmp_path / "other") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, r"yoyak\.json: its format is 2, but this version of yoyak reads format 1"),
        ({"family": "gpt"}, r"yoyak\.json: 1 error\n  family: "),
        ({"input": {"before": ""}}, r"input\.after: "),
    ],
)
def test_a_file_of_another_version_or_a_damaged_one_is_named(
    settings: ModelSettings, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    settings.write(tmp_path)
    path = tmp_path / SETTINGS_FILE
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(YoyakError, match=message):
        ModelSettings.read(tmp_path)


def test_a_package_without_the_newest_keys_is_read(settings: ModelSettings, values: dict[str, Any], tmp_path: Path) -> None:
    """An older yoyak did not know them, and wrote as if they were off."""
    generation = {key: value for key, value in values["generation"].items() if key not in ("consensus", "long_dialogues")}
    (tmp_path / SETTINGS_FILE).write_text(json.dumps(settings.model_dump(mode="json") | {"generation": generation}))
    read = ModelSettings.read(tmp_path)
    assert read is not None and read.generation is not None
    assert (read.generation.consensus.candidates, read.generation.long_dialogues) == (1, "truncate")
    assert read.generation.num_beams == values["generation"]["num_beams"]
    older = values["generation"] | {"consensus": {"candidates": 1, "source": "samples", "utility": "rouge", "facts": 0}}
    (tmp_path / SETTINGS_FILE).write_text(json.dumps(settings.model_dump(mode="json") | {"generation": older}))
    read = ModelSettings.read(tmp_path)
    assert read is not None and read.generation is not None
    assert (read.generation.consensus.weights, read.generation.consensus.instructions) == ("auto", [])


def test_params_of_a_model_take_beams_and_length_from_its_generation_config(settings: ModelSettings, tmp_path: Path) -> None:
    params = settings.params(tmp_path)
    assert (params.generation.max_new_tokens, params.generation.num_beams) == (settings.tokenizer.max_target_length, 1)
    (tmp_path / "generation_config.json").write_text('{"max_new_tokens": 33, "num_beams": 5}', encoding="utf-8")
    params = settings.params(tmp_path)
    assert (params.generation.max_new_tokens, params.generation.num_beams) == (33, 5)
    assert params.prompt == UNREAD_PROMPT
    assert params.hardware.cpu_threads is None


def test_params_of_a_package_are_its_own(settings: ModelSettings, values: dict[str, Any], tmp_path: Path) -> None:
    generation = parse_params(values, source="test").generation
    packed = settings.model_copy(update={"generation": generation, "backend": "transformers", "postprocess": True})
    packed.write(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"max_new_tokens": 33, "num_beams": 5}', encoding="utf-8")
    read = ModelSettings.read(tmp_path)
    assert read is not None and read.params(tmp_path).generation == generation
    assert (read.backend, read.postprocess) == ("transformers", True)
