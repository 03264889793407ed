"""What `dvc exp run -S` does to params.yaml, by the functions that DVC itself calls: the forms that the documents name."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from dvc.exceptions import InvalidArgumentError
from dvc.utils.hydra import apply_overrides

from tests.conftest import ROOT
from yoyak.config.params import leaf_keys, load_params
from yoyak.config.yaml_files import read_yaml
from yoyak.search.base_params import flatten
from yoyak.system.errors import YoyakError

Values = dict[str, Any]


def flat(path: Path) -> Values:
    values = read_yaml(path)
    assert isinstance(values, dict)
    return flatten(values)


BEFORE = flat(ROOT / "params.yaml")


@pytest.fixture
def params(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


def set_values(params: Path, *overrides: str) -> Values:
    """The params after each override, one after the other, as in several commands."""
    for override in overrides:
        apply_overrides(params, [override])
    return flat(params)


@pytest.mark.parametrize("name", [name for name in leaf_keys() if isinstance(BEFORE[name], list)])
def test_a_list_can_be_replaced_again_and_again(params: Path, name: str) -> None:
    """ruamel keeps a comment behind the key of a list and can write it into the next key, so such comments stand above."""
    for number, changes in enumerate([("[]",), ("[a,b]", "[]"), ("[]", "['#가#',b]")]):
        path = Path(shutil.copy(params, params.with_name(f"{number}.yaml")))
        last = {"[]": [], "[a,b]": ["a", "b"], "['#가#',b]": ["#가#", "b"]}[changes[-1]]
        assert set_values(path, *(f"{name}={change}" for change in changes)) == BEFORE | {name: last}
        assert path.read_text(encoding="utf-8").count(" # ") == params.read_text(encoding="utf-8").count(" # ")


@pytest.mark.parametrize("name", [name for name in leaf_keys() if isinstance(BEFORE[name], dict)])
def test_a_key_of_a_mapping_can_be_added_and_removed(params: Path, name: str) -> None:
    """With the comment behind the key, removing the last one wrote a file that is not YAML."""
    assert set_values(params, f"+{name}.a=1") == BEFORE | {name: {"a": 1}}
    assert set_values(params, f"++{name}.a=2", f"+{name}.b=3") == BEFORE | {name: {"a": 2, "b": 3}}
    assert set_values(params, f"~{name}.a", f"~{name}.b") == BEFORE
    assert set_values(params, f"+{name}.c=4") == BEFORE | {name: {"c": 4}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'한국어로'", "한국어로"),
        ("'#Person1#은, 짧게'", "#Person1#은, 짧게"),
        ("'a=b {c} [d] (e): #f 100%'", "a=b {c} [d] (e): #f 100%"),
        ("'say \"hi\"'", 'say "hi"'),
        ('"it\'s"', "it's"),
        (r"'it\'s'", "it's"),
        ("'first\nsecond'", "first\nsecond"),
        (r"'no\newline'", r"no\newline"),
        (r"'\${topic}'", "${topic}"),
        ("'null'", "null"),
        ("null", None),
        ("", ""),
    ],
)
def test_a_quoted_text_arrives_as_it_is(params: Path, text: str, value: str | None) -> None:
    assert set_values(params, f"prompt.system={text}") == BEFORE | {"prompt.system": value}


@pytest.mark.parametrize("text", ["한국어로", "a, b", "a=b", "#Person1#은"])
def test_an_unquoted_text_is_refused_and_params_yaml_stays(params: Path, text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        apply_overrides(params, [f"prompt.system={text}"])
    assert params.read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_an_unknown_key_is_refused_also_with_the_plus_that_hydra_advises(params: Path) -> None:
    with pytest.raises(InvalidArgumentError):
        apply_overrides(params, ["training.learnin_rate=1e-4"])
    apply_overrides(params, ["+training.learnin_rate=1e-4", "+generation.beams=2"])
    with pytest.raises(YoyakError) as caught:
        load_params(params)
    assert "training.learnin_rate: unknown key (did you mean training.learning_rate?)" in str(caught.value)
    assert "generation.beams: unknown key (did you mean generation.num_beams?)" in str(caught.value)
