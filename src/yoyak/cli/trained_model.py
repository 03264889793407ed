"""Where commands find the trained model, what predict decided for it, and its scores."""

from pathlib import Path

from yoyak.system.errors import YoyakError

MODELS = Path("models")
PREDICT_REPORT = Path("metrics/predict.json")
SCORES = Path("metrics/scores.json")


def check_model(folder: Path) -> None:
    """Refuse a folder without a model before anything slow is imported. The family then looks into the folder."""
    notes = {"not-chosen.txt", "pruned.txt", "SHA256SUMS", ".gitignore"}
    if not folder.is_dir() or all(path.name in notes for path in folder.iterdir()):
        raise YoyakError(
            f"{folder}: no trained model here; run `dvc repro` (model.family in params.yaml chooses which model it trains)"
        )
