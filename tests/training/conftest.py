from pathlib import Path
from typing import Any

import pytest

from yoyak.inference import outputs


@pytest.fixture(autouse=True)
def _outside_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVCLive opens the repository that it is started in, which takes time."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, float]]]:
    """Trainers evaluate once instead of training. The list has each of them with the metrics."""
    from yoyak.training.trainer import SummaryTrainer

    evaluations: list[tuple[Any, dict[str, float]]] = []
    monkeypatch.setattr(SummaryTrainer, "train", lambda trainer, **_: evaluations.append((trainer, trainer.evaluate())))
    return evaluations


@pytest.fixture
def generate_calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of each call of generate(), which writes "비가 온다" for every row."""
    from yoyak.training import dev_rouge

    calls: list[dict[str, Any]] = []

    def generate(writer: Any, ids: Any, dialogues: Any, **rest: Any) -> list[Any]:
        calls.append({"writer": writer, "ids": [list(row) for row in ids], "dialogues": list(dialogues), **rest})
        return [outputs.Output("비가 온다", hit_limit=False) for _ in ids]

    monkeypatch.setattr(dev_rouge, "generate", generate)
    return calls
