"""A linear model of costs to go, for evaluating a policy: fitted Q evaluation by least squares.

``Q(o, a) = φ(o) · θ_a``. As many regressions as an episode has steps, each on the targets that the one before gives
(Le et al., 2019), so no network has to be trained, and how the estimate answers to each episode's weight has a closed
form: the direct method gets an honest interval without fitting it anew for every resample. Values that a regression
hands to the next stay within what any logged episode came to, as extrapolating regressions of regressions may diverge.
NumPy, float64.
"""

import dataclasses
import itertools
from collections.abc import Callable
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
        """Q̂ of all actions ``[N, T, A]`` and V̂ under the policy ``[N, T]``."""
        q = np.clip(np.asarray(phi) @ self.theta.T, self.low, self.high)
        return q, (q * np.asarray(target)).sum(-1)


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
    here, after = np.nonzero(alive), (alive[:, 1:]).nonzero()
    x = phi[here]
    played, cost = action[here], costs[here]
    follows = np.zeros((episodes, steps), bool)
    follows[:, :-1] = alive[:, 1:]
    goes_on = follows[here]
    next_phi, next_target = phi[:, 1:][after], target[:, 1:][after]
    order = np.argsort(played, kind="stable")
    ends = np.searchsorted(played[order], np.arange(actions + 1))
    sorted_x = x[order]
    blocks = [slice(low, high) for low, high in itertools.pairwise(ends)]  # an action's steps, side by side
    grams = [sorted_x[rows].T @ sorted_x[rows] for rows in blocks]
    ridge = RIDGE * np.mean(x**2) * max(len(x) / actions, 1.0)
    solvers = [_solver(gram + ridge * np.eye(size)) for gram in grams]

    def regress(aims: np.ndarray) -> np.ndarray:
        """``[M]`` to ``[A, F]``."""
        given = aims[order]
        return np.stack([solve(sorted_x[rows].T @ given[rows]) for solve, rows in zip(solvers, blocks, strict=True)])

    def chosen(theta: np.ndarray) -> np.ndarray:
        """φ(o) · θ_a of what was played. ``[M]``"""
        found = np.empty(len(x))
        found[order] = np.concatenate([sorted_x[rows] @ theta[a] for a, rows in enumerate(blocks)])
        return found

    togo = np.cumsum(costs[:, ::-1], axis=1)[:, ::-1][here]
    low, high = float(togo.min()), float(togo.max())
    theta, residuals, free = np.zeros((actions, size)), [], []
    for _ in range(steps):
        aims = cost.copy()
        ahead = ((next_phi @ theta.T) * next_target).sum(1)
        aims[goes_on] += np.clip(ahead, low, high)
        free.append((ahead > low) & (ahead < high))
        # Coefficients that few steps tell shrink to the mean of all, not to a cost of 0. The first feature is constant.
        middle = aims.mean()
        theta = regress(aims - middle)
        theta[:, 0] += middle
        residuals.append(aims - chosen(theta))

    start = np.clip((phi[:, 0] @ theta.T * target[:, 0]).sum(1), low, high)
    # Backwards: what a change of each regression's coefficients does to the value.
    adjoint = np.einsum("na,nf->af", target[:, 0], phi[:, 0]) / episodes
    say = np.zeros(len(x))
    for residual, answers in zip(reversed(residuals), reversed(free), strict=True):
        through = np.stack([solve(row) for solve, row in zip(solvers, adjoint, strict=True)])
        pull = chosen(through)
        say += pull * residual
        adjoint = (next_target * (pull[goes_on] * answers)[:, None]).T @ next_phi
    influence = start + episodes * np.bincount(here[0], say, minlength=episodes)
    return Fitted(theta, low, high, influence)


def _solver(matrix: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    from scipy.linalg import cho_factor, cho_solve

    factor = cho_factor(matrix)
    return lambda right: cho_solve(factor, right, check_finite=False)
