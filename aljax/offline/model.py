"""A linear model of costs to go, for evaluating a policy: fitted Q evaluation by least squares.

``Q(o, a) = φ(o) · θ_a``. As many regressions as an episode has steps, each on the targets that the one before gives
(Le et al., 2019), so no network has to be trained, and how the estimate answers to each episode's weight has a closed
form: the direct method gets an interval without fitting it anew for every resample. Values that a regression
hands to the next stay within what any logged episode came to, as extrapolating regressions of regressions may diverge.
NumPy, float64.
"""

import dataclasses
import itertools
from typing import Any

import numpy as np

RIDGE = 1e-3
"""Of the regressions, as a share of the features' mean square."""


@dataclasses.dataclass(frozen=True)
class Features:
    """φ: a constant, the observation, and random soft thresholds of it, all on the scale of the data they came from.

    With `steps`, also the constant and the observation once more for each step by itself: costs that are charged at the
    end, such as the violation, depend on the time that is left in no smooth way.
    """

    mean: np.ndarray
    scale: np.ndarray
    directions: np.ndarray
    """``[O, K]``"""
    offsets: np.ndarray
    """``[K]``"""

    def __call__(self, observation: Any, *, steps: bool = False) -> np.ndarray:
        """``[N, T, O]`` to ``[N, T, 1 + O + K]``, with `steps` to ``[N, T, (1 + O) (1 + T) + K]``."""
        scaled = (np.asarray(observation, np.float64) - self.mean) / self.scale
        linear = np.concatenate([np.ones((*scaled.shape[:-1], 1)), scaled], axis=-1)
        parts = [linear, np.tanh(scaled @ self.directions + self.offsets)]
        if steps:
            episodes, count, _ = linear.shape
            parts.append((np.eye(count)[:, :, None] * linear[:, :, None]).reshape(episodes, count, -1))
        return np.concatenate(parts, axis=-1)


def features_of(observation: Any, alive: Any, *, thresholds: int = 64, seed: int = 0) -> Features:
    """Features for data like these; the same seed gives the same thresholds.

    Args:
      observation: ``[N, T, O]``.
      alive: Boolean ``[N, T]``.
      thresholds: K.
      seed: of their directions.

    Returns:
      φ.
    """
    seen = np.asarray(observation, np.float64)[np.asarray(alive)]
    spread = seen.std(0)
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(seen.shape[1], thresholds)) * (1.5 / np.sqrt(seen.shape[1]))
    return Features(seen.mean(0), np.where(spread > 1e-6, spread, 1.0), directions, rng.uniform(-1.5, 1.5, thresholds))


@dataclasses.dataclass(frozen=True)
class Fitted:
    """Fitted Q evaluation of one policy on one data set."""

    theta: np.ndarray
    """``[A, F]``"""
    low: float
    """The least that any logged episode still came to from some step on; no value is below."""
    high: float
    """The most."""
    influence: np.ndarray
    """The value of the start, as each episode says it: their mean is the estimate, their spread its uncertainty,
    that of the regressions included. ``[N]``"""

    def values(self, phi: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
        """Q̂ of all actions ``[N, T, A]`` and V̂ under the policy ``[N, T]``.

        Args:
          phi: features. ``[N, T, F]``
          target: the policy's probabilities of every action there. ``[N, T, A]``

        Returns:
          Q̂ of all actions ``[N, T, A]`` and V̂ under the policy ``[N, T]``.
        """
        phi, target = np.asarray(phi), np.asarray(target)
        q = np.empty(target.shape)
        for t in range(target.shape[1]):
            used = _used(phi[:, t])
            np.matmul(phi[:, t, used], self.theta[:, used].T, out=q[:, t])
        q = np.clip(q, self.low, self.high, out=q)
        return q, (q * target).sum(-1)


def fit(phi: Any, action: Any, target: Any, costs: Any, alive: Any) -> Fitted:
    """Fitted Q evaluation.

    Args:
      phi: features. ``[N, T, F]``
      action: what was played. Integer ``[N, T]``
      target: the policy's probabilities of every action there. ``[N, T, A]``
      costs: of the steps, 0 after the end. ``[N, T]``
      alive: Boolean ``[N, T]``

    Returns:
      The model, and each episode's say in the value.
    """
    phi, target, costs = (np.asarray(x, np.float64) for x in (phi, target, costs))
    alive, action = np.asarray(alive), np.asarray(action)
    episodes, steps = alive.shape
    actions, size = target.shape[2], phi.shape[2]
    # An action's steps lie side by side.
    n, t = np.nonzero(alive)
    order = np.argsort(action[n, t], kind="stable")
    n, t = n[order], t[order]
    x, cost = phi[n, t], costs[n, t]
    ends = np.searchsorted(action[n, t], np.arange(actions + 1))
    place = np.zeros((episodes, steps), int)
    place[n, t] = np.arange(len(n))
    later = [_Later(phi[:, k], target[:, k], alive[:, k], place[:, k - 1]) for k in range(1, steps)]
    ridge = RIDGE * np.mean(x**2) * max(len(x) / actions, 1.0)
    blocks = [(a, slice(low, high)) for a, (low, high) in enumerate(itertools.pairwise(ends)) if high > low]
    regressions = [(a, rows, _Ridge(x[rows], ridge)) for a, rows in blocks]

    togo = np.cumsum(costs[:, ::-1], axis=1)[:, ::-1][n, t]
    low, high = float(togo.min()), float(togo.max())
    theta, residuals, free = np.zeros((actions, size)), [], []
    for _ in range(steps):
        aims = cost.copy()
        within = []
        for step in later:
            ahead = step.values(theta)
            aims[step.before] += np.clip(ahead, low, high)
            within.append((ahead > low) & (ahead < high))
        free.append(within)
        # Coefficients that few steps tell shrink to the mean of all, not to a cost of 0. The first feature is constant.
        middle = aims.mean()
        theta, residual = np.zeros((actions, size)), np.empty(len(x))
        theta[:, 0] = middle
        for a, rows, regression in regressions:
            theta[a] += regression.coefficients(aims[rows] - middle)
            residual[rows] = aims[rows] - x[rows] @ theta[a]
        residuals.append(residual)

    start = np.clip((phi[:, 0] @ theta.T * target[:, 0]).sum(1), low, high)
    # Backwards: what a change of each regression's coefficients does to the value.
    adjoint = target[:, 0].T @ phi[:, 0] / episodes
    say, pull = np.zeros(len(x)), np.zeros(len(x))
    for residual, within in zip(reversed(residuals), reversed(free), strict=True):
        for a, rows, regression in regressions:
            pull[rows] = regression.pull(adjoint[a])
        say += pull * residual
        adjoint = np.zeros((actions, size))
        for step, answers in zip(later, within, strict=True):
            step.add(adjoint, pull[step.before] * answers)
    influence = start + episodes * np.bincount(n, say, minlength=episodes)
    return Fitted(theta, low, high, influence)


def _used(phi: np.ndarray) -> np.ndarray:
    """Which features are not all 0, as those are that belong to other steps. ``[M, F]`` to indices"""
    return np.flatnonzero((phi != 0).any(0))


class _Later:
    """The logged steps of one number, all but the first: they follow another."""

    def __init__(self, phi: np.ndarray, target: np.ndarray, alive: np.ndarray, before: np.ndarray) -> None:
        self.used = _used(phi)
        self.phi, self.target, self.before = phi[np.ix_(alive, self.used)], target[alive], before[alive]

    def values(self, theta: np.ndarray) -> np.ndarray:
        """Under the policy. ``[A, F]`` to ``[M]``"""
        return ((self.phi @ theta[:, self.used].T) * self.target).sum(1)

    def add(self, adjoint: np.ndarray, weights: np.ndarray) -> None:
        """Adds what the coefficients do to the weighted sum of the values. ``[A, F]``, ``[M]``"""
        adjoint[:, self.used] += (self.target * weights[:, None]).T @ self.phi


class _Ridge:
    """A ridge regression on one action's steps ``[M, F]``, solved in the smaller of both dimensions.

    So its cost is linear in the steps, however many actions share them: of an action with few steps it is a system of
    as many equations as steps (the dual), and nothing of size F × F.
    """

    def __init__(self, x: np.ndarray, ridge: float) -> None:
        from scipy.linalg import cho_factor

        self.x, self.dual = x, len(x) < x.shape[1]
        gram = x @ x.T if self.dual else x.T @ x
        gram.flat[:: len(gram) + 1] += ridge
        self.factor = cho_factor(gram, overwrite_a=True)

    def _solve(self, right: np.ndarray) -> np.ndarray:
        from scipy.linalg import cho_solve

        return cho_solve(self.factor, right, check_finite=False)

    def coefficients(self, aims: np.ndarray) -> np.ndarray:
        """(xᵀx + ridge)⁻¹ xᵀ aims. ``[M]`` to ``[F]``"""
        return self.x.T @ self._solve(aims) if self.dual else self._solve(self.x.T @ aims)

    def pull(self, direction: np.ndarray) -> np.ndarray:
        """How far a change of the right-hand side moves values: x (xᵀx + ridge)⁻¹ direction. ``[F]`` to ``[M]``"""
        return self._solve(self.x @ direction) if self.dual else self.x @ self._solve(direction)
