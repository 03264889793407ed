"""The mean of the weights of several models, file by file."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from yoyak.system.checksums import CHECKSUMS_FILE, sha256
from yoyak.system.errors import YoyakError

WEIGHTS = "*.safetensors"


def average_folders(folders: Sequence[Path], target: Path) -> None:
    """Write the first model with the mean of the weights of all into an empty folder.

    Sums are in 64 bits. The mean has the number format of the first model.

    Args:
        folders: models that `check_same_shapes` accepts. The mean of one is that one.
        target: an empty folder.
    """
    for path in sorted(folders[0].iterdir()):
        if not path.match(WEIGHTS) and path.name != CHECKSUMS_FILE:
            shutil.copyfile(path, target / path.name)
    for path in sorted(folders[0].glob(WEIGHTS)):
        with safe_open(path, framework="pt") as first:
            metadata = first.metadata()
            means: dict[str, Any] = {name: first.get_tensor(name) for name in first.keys()}  # noqa: SIM118
        if len(folders) > 1:
            sums = {name: value.double() for name, value in means.items()}
            for folder in folders[1:]:
                with safe_open(folder / path.name, framework="pt") as other:
                    for name in sums:
                        sums[name] += other.get_tensor(name).double()
            means = {name: (total / len(folders)).to(means[name].dtype) for name, total in sums.items()}
        save_file(means, target / path.name, metadata=metadata)


def check_same_shapes(folder: Path, first: Path, name: str, first_name: str) -> None:
    """Check that two models have the same weights in the same shapes, in the same files.

    Raises:
        YoyakError: naming the first weight that differs.
    """
    mine, theirs = (_shapes(one) for one in (folder, first))
    for key in sorted({*mine, *theirs}):
        if mine.get(key) != theirs.get(key):
            raise YoyakError(
                f"member {name}: the weight {key} has the shape {_shown(mine.get(key))}, in {first_name} "
                f"{_shown(theirs.get(key))}; weights can be averaged only of models of one shape: use model.ensemble.method: "
                "average_probabilities or consensus"
            )


def check_same_tokenizer(folder: Path, first: Path, name: str, first_name: str) -> None:
    """Check that two models have the same tokenizer.

    Raises:
        YoyakError: if a file of it differs.
    """
    mine, theirs = (_tokenizer_files(one) for one in (folder, first))
    if mine != theirs:
        differing = sorted(key for key in {*mine, *theirs} if mine.get(key) != theirs.get(key))
        raise YoyakError(
            f"member {name}: its tokenizer is not that of {first_name} ({', '.join(differing)} differs); models with different "
            "tokenizers can only work together by model.ensemble.method: consensus"
        )


def _tokenizer_files(folder: Path) -> dict[str, str]:
    """The hash of each file of the tokenizer, without its settings for transformers."""
    beginnings = ("tokenizer", "vocab", "merges", "spiece", "sentencepiece", "special_tokens", "added_tokens")
    skipped = "tokenizer_config.json"  # has the version and the path
    files = (path for path in folder.iterdir() if path.name.startswith(beginnings) and path.name != skipped)
    return {path.name: sha256(path) for path in files}


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    found = {}
    for path in sorted(folder.glob(WEIGHTS)):
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118
                found[f"{path.name}: {key}"] = tuple(file.get_slice(key).get_shape())
    return found


def _shown(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else " x ".join(map(str, shape))
