"""Freeze-thaw Bayesian optimization: which training goes on for one more epoch, or which new setting is tried.

Source: Swersky, Snoek, Adams, "Freeze-Thaw Bayesian Optimization" (2014), arXiv:1406.3896. A Gaussian process sees the learning
curves of all trainings so far and predicts the value that each would have at its end. The training with the largest expected
improvement of that value goes on.

Two things are simpler than in the paper. The covariance is a product of a kernel of the params and a kernel of the epoch, plus
a kernel of the params alone, as in Klein et al., "Fast Bayesian Optimization of Machine Learning Hyperparameters on Large
Datasets" (2017), arXiv:1605.07079. Its kernel of the epoch is a squared exponential of the logarithm, not one of exponential
decays. And the choice is by expected improvement alone, not by entropy search.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular  # type: ignore[import-untyped]
from scipy.optimize import minimize  # type: ignore[import-untyped]
from scipy.special import ndtr  # type: ignore[import-untyped]

Array = NDArray[np.float64]

# The final value is measured with other settings (beams) than the values after the epochs. So it counts as a step beyond the
# last epoch, by this factor of the logarithm of the number of epochs.
FINAL_STEP = 1.25
JITTER = 1e-8  # keeps the covariance matrix positive definite
# Normal priors of the logarithms of the hyperparameters: mean and standard deviation. All inputs are in 0 to 1 (FINAL_STEP),
# and the values have mean 0 and standard deviation 1.
LENGTH_SCALE = np.log(0.4), 0.7  # of each param
EPOCH_SCALE = np.log(0.7), 0.5
CURVE_SCALE = 0.0, 1.0  # standard deviation of the part that changes with the epoch
LEVEL_SCALE = 0.0, 1.0  # standard deviation of the part that all epochs of a training share
NOISE = np.log(0.1), 0.7
MAX_ITERATIONS = 15  # of the optimizer of the hyperparameters


@dataclass(frozen=True)
class Curve:
    """What is known about the training of one setting.

    Attributes:
        place: the setting as numbers from 0 to 1.
        values: the values so far, by epoch.
        final: the value of the trial, if it has ended.
    """

    place: tuple[float, ...]
    values: Mapping[int, float]
    final: float | None = None


class CurveModel:
    """A Gaussian process over settings and epochs, whose hyperparameters have the largest posterior density."""

    def __init__(self, curves: Sequence[Curve], epochs: int) -> None:
        """Fit the model.

        Args:
            curves: all curves so far, at least one of which has a value.
            epochs: the epochs of a whole training.
        """
        rows = [(*curve.place, progress(epoch, epochs)) for curve in curves for epoch in curve.values]
        rows += [(*curve.place, FINAL_STEP) for curve in curves if curve.final is not None]
        values = [value for curve in curves for value in curve.values.values()]
        values += [curve.final for curve in curves if curve.final is not None]
        self._inputs, targets = np.array(rows), np.array(values)
        self._mean, self._scale = float(targets.mean()), float(targets.std()) or 1.0
        self._targets = (targets - self._mean) / self._scale
        self._means, self._deviations = self._priors()
        self._logs = self._fit()
        noise = np.exp(2 * self._logs[-1]) + JITTER
        total = CovarianceParts(self._inputs, self._inputs, self._logs).total()
        self._factor = np.linalg.cholesky(total + noise * np.eye(len(self._inputs)))
        self._weights = cho_solve((self._factor, True), self._targets)

    def _priors(self) -> tuple[Array, Array]:
        params = self._inputs.shape[1] - 1
        priors = [LENGTH_SCALE] * params + [EPOCH_SCALE, CURVE_SCALE, LEVEL_SCALE, NOISE]
        return np.array([mean for mean, _ in priors]), np.array([deviation for _, deviation in priors])

    def _fit(self) -> Array:
        bounds = list(zip(self._means - 4 * self._deviations, self._means + 4 * self._deviations, strict=True))
        options = {"maxiter": MAX_ITERATIONS}
        found = minimize(self._loss, self._means, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return np.asarray(found.x)

    def _loss(self, logs: Array) -> tuple[float, Array]:
        """The negative logarithm of the posterior density of the hyperparameters, without its constant, and its gradient."""
        parts = CovarianceParts(self._inputs, self._inputs, logs)
        noise = np.exp(2 * logs[-1])
        identity = np.eye(len(self._inputs))
        factor = np.linalg.cholesky(parts.total() + (noise + JITTER) * identity)
        weights = cho_solve((factor, True), self._targets)
        from_priors = (logs - self._means) / self._deviations
        loss = 0.5 * self._targets @ weights + np.log(np.diag(factor)).sum() + 0.5 * (from_priors**2).sum()
        # Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), equation 5.9
        outer = cho_solve((factor, True), identity) - np.outer(weights, weights)
        slopes = [0.5 * (outer * slope).sum() for slope in parts.derivatives()] + [noise * np.trace(outer)]
        return float(loss), np.array(slopes) + from_priors / self._deviations

    def predict_final(self, places: Sequence[tuple[float, ...]]) -> tuple[Array, Array]:
        """Mean and standard deviation of the final value of each setting."""
        inputs = np.array([(*place, FINAL_STEP) for place in places])
        shared = CovarianceParts(inputs, self._inputs, self._logs).total()
        explained = (solve_triangular(self._factor, shared.T, lower=True) ** 2).sum(axis=0)
        variance = np.exp(2 * self._logs[-3]) + np.exp(2 * self._logs[-2]) - explained
        return self._mean + self._scale * (shared @ self._weights), self._scale * np.sqrt(np.maximum(variance, 1e-10))


def progress(epoch: int, epochs: int) -> float:
    """An epoch on a logarithmic scale: 0 for the first, 1 for the last."""
    return float(np.log(epoch) / np.log(epochs)) if epochs > 1 else 1.0


class CovarianceParts:
    """The covariance of two lists of inputs, in parts."""

    def __init__(self, left: Array, right: Array, logs: Array) -> None:
        """Compute the parts.

        Args:
            left: shape (n, params + 1); the last column is the progress.
            right: shape (m, params + 1).
            logs: logarithms of a length scale for each param, the scale of the progress, the standard deviations of the part
                that changes with the epoch and of the part that does not, and the noise.
        """
        self.scaled = ((left[:, None] - right[None]) / np.exp(logs[: left.shape[1]])) ** 2  # (n, m, params + 1)
        self.distance = np.sqrt(5 * self.scaled[..., :-1].sum(axis=-1))
        self.decay = np.exp(-self.distance)
        self.of_params = (1 + self.distance + self.distance**2 / 3) * self.decay
        self.of_epochs = np.exp(2 * logs[-3] - 0.5 * self.scaled[..., -1])
        self.level = float(np.exp(2 * logs[-2]))

    def total(self) -> Array:
        """Shape (n, m)."""
        return np.asarray(self.of_params * (self.of_epochs + self.level))

    def derivatives(self) -> list[Array]:
        """The derivative of the total by each logarithm but that of the noise."""
        common = 5 / 3 * (1 + self.distance) * self.decay * (self.of_epochs + self.level)
        changing = self.of_params * self.of_epochs
        by_params = [common * self.scaled[..., index] for index in range(self.scaled.shape[-1] - 1)]
        return [*by_params, changing * self.scaled[..., -1], 2 * changing, 2 * self.level * self.of_params]


def expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """By how much a normally distributed value exceeds `best` on average, where values below `best` count as equal to it."""
    ratio = (mean - best) / deviation
    density = np.exp(-0.5 * ratio**2) / np.sqrt(2 * np.pi)
    return np.asarray(deviation * (ratio * ndtr(ratio) + density))


def ranking(curves: Sequence[Curve], new: Sequence[tuple[float, ...]], *, epochs: int, budget: int) -> list[int]:
    """What to train for one epoch, the largest expected improvement of the final value first.

    Only what can still be trained to its end within the budget is considered. As long as no trial has ended, the begun training
    with the largest predicted value comes first, so that there is a final value to improve on.

    Args:
        curves: all trainings so far.
        new: the places of settings that can be started.
        epochs: the epochs of a whole training.
        budget: the epochs that are left for all trainings together.

    Returns:
        Indices: those of `curves` first, then those of `new`, which begin at len(curves).
    """
    places = [*(curve.place for curve in curves), *new]
    missing = [*(None if curve.final is not None else epochs - max(curve.values, default=0) for curve in curves)]
    possible = [index for index, left in enumerate([*missing, *[epochs] * len(new)]) if left is not None and left <= budget]
    if not possible:
        return []
    mean, deviation = CurveModel(curves, epochs).predict_final([places[index] for index in possible])
    finals = [curve.final for curve in curves if curve.final is not None]
    if finals:
        promise = expected_improvement(mean, deviation, max(finals))
    else:
        promise = np.where(np.array(possible) < len(curves), mean, -np.inf)
    return [possible[index] for index in np.argsort(-promise, kind="stable")]
