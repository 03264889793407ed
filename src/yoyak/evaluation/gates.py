"""Gates: conditions that a run must meet (`score.gates`), each with the numbers that it was judged by."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yoyak.config.score_section import Gates

WARM_UP_SHARE = 0.1  # of the steps; gradients are large before the model has adapted
_NOT_TRAINED = "nothing is trained here, so there is nothing to judge"


@dataclass(frozen=True)
class GateResult:
    """What became of one gate.

    Attributes:
        name: its key below `score.gates`.
        passed: whether the run meets it; None if it does not apply to the run.
        why: the numbers.
    """

    name: str
    passed: bool | None
    why: str

    def __str__(self) -> str:
        word = {True: "passed", False: "FAILED", None: "does not apply"}[self.passed]
        return f"{self.name}: {word}: {self.why}"


def check_gates(
    gates: Gates,
    *,
    scores: Mapping[str, Any],
    predicted: Mapping[str, Any],
    gradients: Mapping[int, float] | None,
    dev_losses: Sequence[float] | None,
) -> list[GateResult]:
    """Judge a run by every gate that is set.

    Args:
        gates: section score.gates.
        scores: the content of metrics/scores.json.
        predicted: the content of metrics/predict.json.
        gradients: the norm of the gradient at each logged step; None if nothing was trained.
        dev_losses: the loss on dev after each epoch; None if nothing was trained.
    """
    results = []
    if gates.better_than is not None:
        results.append(_better_than(gates.better_than, scores))
    if gates.foreign_share is not None:
        results.append(_foreign_share(gates.foreign_share, predicted))
    if gates.grad_norm is not None:
        results.append(_grad_norm(gates.grad_norm, gradients))
    if gates.dev_loss_falls:
        results.append(_dev_loss_falls(dev_losses))
    return results


def _better_than(baseline: str, scores: Mapping[str, Any]) -> GateResult:
    """By the paired bootstrap of the stage score: the interval of the difference must lie above 0."""
    ends = scores["difference"][baseline]["all"]
    numbers = f"rouge_sum {scores['rouge_sum']:.2f}, {baseline} {scores['baselines'][baseline]['rouge_sum']:.2f}"
    if ends is None:
        return GateResult("better_than", False, f"{numbers}; too few dev rows ({scores['rows']}) show nothing")
    interval = f"95 % interval of the difference {ends[0]:+.2f} to {ends[1]:+.2f}"
    return GateResult("better_than", bool(scores["beaten"][baseline]["all"]), f"{numbers}, {interval}")


def _foreign_share(limit: float, predicted: Mapping[str, Any]) -> GateResult:
    shares = {split: predicted[split]["foreign_share"] for split in ("dev", "test")}
    numbers = ", ".join(f"{share:.2%} of {split}" for split, share in shares.items())
    return GateResult("foreign_share", max(shares.values()) < limit, f"{numbers}; the limit is {limit:.2%}")


def _grad_norm(limit: float, gradients: Mapping[int, float] | None) -> GateResult:
    if not gradients:
        return GateResult("grad_norm", None, _NOT_TRAINED)
    judged = {step: norm for step, norm in gradients.items() if step > WARM_UP_SHARE * max(gradients)}
    step, norm = max(judged.items(), key=lambda item: item[1])
    return GateResult("grad_norm", norm < limit, f"at most {norm:.2f} (step {step}); the limit is {limit:g}")


def _dev_loss_falls(losses: Sequence[float] | None) -> GateResult:
    if not losses:
        return GateResult("dev_loss_falls", None, _NOT_TRAINED)
    falls = all(after < before for before, after in itertools.pairwise(losses))
    return GateResult("dev_loss_falls", falls, f"after each epoch {', '.join(f'{loss:.3f}' for loss in losses)}")
