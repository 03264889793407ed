"""Checkpoints in folders and on hubs: where they are, their config, and whether their files are complete.

Weights are loaded by encoder_decoder.py and causal_lm.py, so that a stage that only tokenizes imports no model code.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak.models.hub import can_be_hub_name, check_hub, pin_advice
from yoyak.system.checksums import CHECKSUMS_FILE, sha256
from yoyak.system.errors import YoyakError
from yoyak.system.integrity import verify_checksums

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def from_pretrained_arguments(checkpoint: str, revision: str | None) -> dict[str, Any]:
    """The arguments that every `from_pretrained` call gets: no remote code, and a hub name only with a pinned revision.

    Raises:
        YoyakError: if `checkpoint` is not a folder and has no pinned revision, or is a folder without a config.json (or the
            adapter_config.json of an adapter).
    """
    if Path(checkpoint).is_dir():
        if not any((Path(checkpoint) / name).is_file() for name in ("config.json", "adapter_config.json")):
            raise YoyakError(f"{checkpoint}: this folder has no config.json, so it holds no checkpoint")
        return {"pretrained_model_name_or_path": checkpoint, "trust_remote_code": False}
    if not can_be_hub_name(checkpoint):
        raise YoyakError(f"model checkpoint {checkpoint!r}: there is no such folder, and it is no name on the hub (OWNER/NAME)")
    if revision in (None, "main", "master", "HEAD"):
        raise YoyakError(
            f"model checkpoint {checkpoint!r}: there is no such folder. To load it from a hub, set `revision`: "
            + pin_advice(checkpoint)
        )
    return {"pretrained_model_name_or_path": checkpoint, "revision": revision, "trust_remote_code": False}


def verify_checkpoint(checkpoint: str, *, weights: bool = True) -> None:
    """Compare the files of a checkpoint folder with its SHA256SUMS. A folder without that file, or a hub name, passes.

    Args:
        checkpoint: a folder, or a name on a hub.
        weights: whether to read the weights too. They are large, and code that loads only the tokenizer does not need it.

    Raises:
        YoyakError: naming the first file that is missing or differs.
    """
    if (Path(checkpoint) / CHECKSUMS_FILE).is_file():
        verify_checksums(Path(checkpoint), presence_only=() if weights else (".safetensors", ".bin"))


def fingerprint(checkpoint: str) -> dict[str, str]:
    """SHA-256 of the config and of each weight file of a checkpoint folder, by file name.

    Empty for a name on a hub: its pinned revision already identifies it.
    """
    folder = Path(checkpoint)
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if path.suffix in {".safetensors", ".bin"} or path.name == "config.json")
    return {path.name: sha256(path) for path in files}


def load_config(arguments: dict[str, Any]) -> "PreTrainedConfig":
    """config.json of a checkpoint; `arguments` come from `from_pretrained_arguments`. YoyakError if it cannot be loaded."""
    check_hub(arguments["pretrained_model_name_or_path"], arguments.get("revision"))
    from transformers import AutoConfig  # imported here, so that a missing revision is found before this slow import

    try:
        return AutoConfig.from_pretrained(**arguments)
    except Exception as error:  # a damaged file raises exceptions of any class
        name = arguments["pretrained_model_name_or_path"]
        raise YoyakError(f"{name}: its config.json cannot be loaded: {one_line(error)}") from error


def check_token_limits(checkpoint: str, revision: str | None, limits: Mapping[str, int]) -> int | None:
    """Check that a checkpoint has a position for every token.

    Args:
        checkpoint: a folder, or a name on a hub.
        revision: the commit or tag on the hub.
        limits: the numbers of tokens that must fit, by the params that set them (`Family.token_limits`).

    Returns:
        The number of positions, or None if the checkpoint states none.

    Raises:
        YoyakError: naming the param, if the model has fewer positions.
    """
    return check_positions(load_config(from_pretrained_arguments(checkpoint, revision)), checkpoint, limits)


def check_positions(config: "PreTrainedConfig", checkpoint: str, limits: Mapping[str, int]) -> int | None:
    """The same as `check_token_limits`, for a config that is already loaded."""
    positions: int | None = getattr(config, "max_position_embeddings", None)
    for name, limit in limits.items():
        if positions is not None and limit > positions:
            raise YoyakError(f"{name}: {limit} is more than the {positions} positions of {checkpoint}")
    return positions


def largest_length(name: str, value: int, limits: Mapping[str, int], positions: int | None) -> int | None:
    """The largest value of a param that the positions of a model allow, or None if any value is possible.

    Args:
        name: the param without its section, such as "max_input_length".
        value: its value now.
        limits: of `Family.token_limits`.
        positions: of the model (`check_token_limits`).
    """
    used = [tokens for param, tokens in limits.items() if name in param]
    return value + positions - max(used) if positions is not None and used else None


def one_line(error: BaseException) -> str:
    """The message of another library's exception, on one line and not longer than 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__
