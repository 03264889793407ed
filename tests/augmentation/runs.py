"""An augmentation of a few rows in memory, as the stage runs it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.augmentation.model_helpers import TRAIN
from tests.conftest import ROOT
from yoyak.augmentation.base import Row
from yoyak.augmentation.evaluation_rows import EvaluationRows
from yoyak.augmentation.filters import Filters
from yoyak.augmentation.lookup import chosen_methods
from yoyak.augmentation.run import Augmentation
from yoyak.augmentation.workspace import Workspace
from yoyak.config.params import load_params

ELSEWHERE = [{"dialogue": "#Person1#: 바다에 고래가 있대요.\n#Person2#: 정말 신기하네요."}]  # a dev split without similar rows


def workspace(*changes: str) -> Workspace:
    """A workspace with params.yaml, changed as with `-S`. It keeps nothing."""
    params = load_params(ROOT / "params.yaml", changes=changes)
    return Workspace(params.augment.seed, params, Path("nowhere"))


def augmentation(*changes: str, evaluation: Sequence[Row] = ELSEWHERE) -> Augmentation:
    """What the stage builds."""
    place = workspace(*changes)
    return Augmentation.build(chosen_methods(place.params)[0], place, evaluation)


def made(*changes: str, train: Sequence[Row] = TRAIN) -> list[dict[str, Any]]:
    """The rows that are kept."""
    return list(augmentation(*changes).rows(train))


def filters(*changes: str, evaluation: Sequence[Row] = ELSEWHERE) -> Filters:
    place = workspace(*(f"augment.filters.{change}" for change in changes))
    return Filters(place.params.augment.filters, EvaluationRows(row["dialogue"] for row in evaluation), place.morphemes)
