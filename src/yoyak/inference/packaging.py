"""A trained model as a folder that plain transformers loads, with its decoding, the settings of its input, and a model card."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from yoyak.config.model_settings import SETTINGS_FILE, ModelSettings
from yoyak.config.sections import Params
from yoyak.inference import gguf
from yoyak.inference.backends.transformers import decoding_arguments
from yoyak.inference.decoding import describe_decoding
from yoyak.inference.model_card import gguf_card, model_card
from yoyak.models import adapters
from yoyak.models.families.lookup import family_of_folder
from yoyak.system.checksums import CHECKSUMS_FILE
from yoyak.system.errors import YoyakError
from yoyak.system.integrity import verify_checksums
from yoyak.system.text_files import read_json


def write_package(model: Path, folder: Path, *, params: Params, predict_report: Path, scores: Path) -> None:
    """Write a trained model into an empty folder, in a form that needs neither yoyak nor this repository.

    An adapter is merged into its base first. The same inputs give the same bytes.

    Args:
        model: the output of a training stage.
        folder: an empty folder.
        params: the params that the model was trained and scored with.
        predict_report: metrics/predict.json.
        scores: metrics/scores.json.

    Raises:
        YoyakError: if a file is missing or damaged, or the predictions were made with other decoding settings than params have.
    """
    family = family_of_folder(model)
    if not family.is_trained:
        raise YoyakError(
            f"{model}: a package holds one model, and this ensemble has none or several; make one with --method average_weights"
        )
    verify_checksums(model)
    settings = ModelSettings.read(model)
    if settings is None:
        raise YoyakError(f"{model / SETTINGS_FILE}: no such file; an older version trained this model; run `dvc repro`")
    report, scored = (_read_report(path) for path in (predict_report, scores))
    backend = report["backend"]
    postprocess = bool(report.get("postprocess", {}).get("used"))
    expected = describe_decoding(params.generation, backend=backend)
    if params.model.family not in (family.name, "ensemble") or not report["decoding"].startswith(expected):
        raise YoyakError(
            f"{predict_report}: the predictions were made with other settings than those of params.yaml, so the scores would "
            "not belong to this package; run `dvc repro`, or restore params.yaml"
        )
    if family.trains_adapter and (model / "adapter_config.json").is_file():
        adapters.merge(model, folder)
    else:
        for path in sorted(model.iterdir()):
            if path.name != CHECKSUMS_FILE:
                shutil.copyfile(path, folder / path.name)
    _write_generation_config(folder, decoding_arguments(params.generation))
    # `never` and `always` stay as they are; `auto` becomes what predict decided.
    packed = settings.model_copy(update={"generation": params.generation, "backend": backend, "postprocess": postprocess})
    packed.write(folder)
    card = model_card(packed, params=params, scores=scored, decoder_only=family.trains_adapter, name=folder.name)
    (folder / "README.md").write_text(card, encoding="utf-8")


def write_gguf_package(
    model: Path, folder: Path, *, params: Params, predict_report: Path, scores: Path, converter: Sequence[str], kind: str
) -> None:
    """Write a trained decoder-only model into an empty folder as GGUF, with Ollama's Modelfile and a card.

    Args:
        model, folder, params, predict_report, scores: as for `write_package`.
        converter: of llama.cpp (`gguf.find_converter`).
        kind: of numbers (`gguf.TYPES`).

    Raises:
        YoyakError: as `write_package` does; or if the model is an encoder-decoder, or cannot be converted.
    """
    if (family := family_of_folder(model)).is_trained and not family.trains_adapter:
        raise YoyakError(
            f"{model}: GGUF is for decoder-only models (model.family: qlora), this is an encoder-decoder; package it without "
            "--format gguf"
        )
    with tempfile.TemporaryDirectory(dir=folder, prefix=".transformers.") as temporary:
        whole = Path(temporary) / folder.name  # the converter writes this name into the file
        whole.mkdir()
        write_package(model, whole, params=params, predict_report=predict_report, scores=scores)
        packed = ModelSettings.read(whole)
        assert packed is not None
        text = gguf.modelfile(whole, packed)  # before the conversion, which takes long
        gguf.convert(whole, folder / gguf.MODEL_FILE, converter, kind)
    (folder / gguf.MODELFILE).write_text(text, encoding="utf-8")
    packed.write(folder)
    card = gguf_card(packed, params=params, scores=_read_report(scores), name=folder.name, differs=gguf.what_differs(packed))
    (folder / "README.md").write_text(card, encoding="utf-8")


def _read_report(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise YoyakError(f"{path}: no such file; `dvc repro` writes it")
    report: dict[str, Any] = read_json(path)
    if "pruned" in report:
        raise YoyakError(f"{path}: this trial was ended early ({report['pruned']}), so it has no scores")
    return report


def _write_generation_config(folder: Path, arguments: dict[str, Any]) -> None:
    """Write generation_config.json: the special token ids of the model, and what it knows of section generation."""
    saved = GenerationConfig.from_pretrained(folder).to_dict()
    ids = {key: value for key, value in saved.items() if key.endswith("_token_id") and value is not None}
    GenerationConfig(**arguments, **ids).save_pretrained(folder)
