"""With which params a trained model is used, from the folder that holds it."""

from dataclasses import dataclass
from pathlib import Path

from yoyak.config.model_settings import SETTINGS_FILE, ModelSettings
from yoyak.config.params import load_params
from yoyak.config.sections import Params
from yoyak.inference.decisions import Decisions
from yoyak.system.errors import YoyakError


@dataclass(frozen=True)
class FolderSettings:
    """How a model in a folder is used.

    Attributes:
        params: sections preprocess, tokenizer, prompt, generation and hardware, at least.
        decisions: what predict decided.
        repository: the nearest folder above that has a params.yaml, or None.
    """

    params: Params
    decisions: Decisions
    repository: Path | None


def repository_of(folder: Path) -> Path | None:
    """The nearest folder above that has a params.yaml."""
    return next((parent for parent in folder.absolute().parents if (parent / "params.yaml").is_file()), None)


def settings_of(folder: Path, params: Params | None, decisions: Decisions | None) -> FolderSettings:
    """The settings of the model in `folder`. Arguments that are given are taken as they are.

    Without them, params.yaml and metrics/predict.json of the repository above are read, the latter only for the output of a
    training stage. A package, and a model outside a repository, use the settings in their own yoyak.json.

    Raises:
        YoyakError: if a file is damaged, params are invalid, or there is neither a yoyak.json nor a params.yaml.
    """
    root = repository_of(folder)
    if params is None:
        own = ModelSettings.read(folder)
        if own is not None and (own.generation is not None or root is None):  # a package, or a copy of a model
            params = own.params(folder)
            decisions = decisions or Decisions(own.backend, own.postprocess, own.names_topic)
        elif root is None:
            raise YoyakError(
                f"{folder}: no {SETTINGS_FILE} in it, and no params.yaml in the folders above it; pass params=load_params(...)"
            )
        else:
            params = load_params(root / "params.yaml")
    if decisions is None:
        decisions = Decisions()
        if root is not None and folder.absolute() == root / "models" / params.model.family:
            decisions = Decisions.read(root / "metrics" / "predict.json")
    return FolderSettings(params, decisions, root)
