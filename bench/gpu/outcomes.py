"""What a check hands back, and how it says that it cannot run or that something is wrong."""

from collections.abc import Mapping
from typing import Any

Figures = dict[str, Any]  # what a check measured, for gpu.json


class CannotRunError(Exception):
    """This machine lacks what the check needs; the message says what."""


class WrongResultError(Exception):
    """A result is outside its tolerance. `figures` are those measured up to there."""

    def __init__(self, message: str, figures: Figures) -> None:
        super().__init__(message)
        self.figures = figures


def require_at_most(figures: Figures, limits: Mapping[str, float]) -> Figures:
    """Return `figures`, after each that has a limit was compared with it.

    Raises:
        WrongResultError: if a figure is above its limit, or is not a number.
    """
    wrong = [
        f"{name} is {figures[name]:.3g}, at most {limit:g} is expected"
        for name, limit in limits.items()
        if not figures[name] <= limit
    ]
    if wrong:
        raise WrongResultError("; ".join(wrong), figures)
    return figures


def require(condition: bool, message: str, figures: Figures) -> Figures:
    if not condition:
        raise WrongResultError(message, figures)
    return figures
