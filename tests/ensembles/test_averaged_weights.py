"""The mean of weights, file by file, and models whose weights cannot be averaged."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from yoyak.ensembles.averaged_weights import average_folders, check_same_shapes, check_same_tokenizer
from yoyak.system.errors import YoyakError


@pytest.fixture
def two(tiny: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A model, and the same with other weights."""
    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    weights = load_file(other / "model.safetensors")
    save_file({name: value * 3 + 1 for name, value in weights.items()}, other / "model.safetensors", metadata={"format": "pt"})
    return tiny, other


def test_the_result_is_the_mean_of_each_weight(two: tuple[Path, Path], tmp_path: Path) -> None:
    target = tmp_path / "mean"
    target.mkdir()
    average_folders(two, target)
    first, mean = load_file(two[0] / "model.safetensors"), load_file(target / "model.safetensors")
    assert mean.keys() == first.keys()
    for name, value in mean.items():
        assert torch.allclose(value, first[name] * 2 + 0.5, atol=1e-6) and value.dtype == first[name].dtype
    assert (target / "config.json").read_bytes() == (two[0] / "config.json").read_bytes()


def test_the_mean_of_one_is_that_one(tiny: Path, tmp_path: Path) -> None:
    target = tmp_path / "mean"
    target.mkdir()
    average_folders([tiny], target)
    first, mean = load_file(tiny / "model.safetensors"), load_file(target / "model.safetensors")
    assert all(torch.equal(value, first[name]) for name, value in mean.items())


def test_other_shapes_are_refused(two: tuple[Path, Path]) -> None:
    check_same_shapes(two[1], two[0], "b", "a")
    weights = load_file(two[1] / "model.safetensors")
    weights["model.encoder.layers.0.fc1.bias"] = torch.zeros(3)
    save_file(weights, two[1] / "model.safetensors")
    with pytest.raises(YoyakError, match=r"member b: the weight .*fc1.bias has the shape 3, in a \d+; .*average_probabilities"):
        check_same_shapes(two[1], two[0], "b", "a")


def test_another_tokenizer_is_refused(two: tuple[Path, Path]) -> None:
    check_same_tokenizer(two[1], two[0], "b", "a")
    path = two[1] / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"vocab"', '"vocab" ', 1), encoding="utf-8")
    with pytest.raises(YoyakError, match=r"member b: its tokenizer is not that of a \(tokenizer.json differs\)"):
        check_same_tokenizer(two[1], two[0], "b", "a")
