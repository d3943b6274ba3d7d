"""Estimators of what a policy would have cost, from episodes that other policies logged.

Each is a sum over episodes of a few terms, and a function of those sums; so the value, its bootstrap resamples and its
jackknife are products of counts with one matrix. All in NumPy, float64.

Notation: ``w_t`` is the cumulative importance ratio Π_{s ≤ t} π(a_s | o_s) / μ(a_s | o_s), staying as it is after an
episode's end; ``w_{−1} = 1``; c the cost of a step, 0 after the end; Q̂ and V̂ a model's, 0 after the end.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from aljax.statistics import LEVEL, Interval


@dataclasses.dataclass(frozen=True)
class Terms:
    """An estimator on one data set."""

    values: np.ndarray
    """What each episode adds. ``[N, F]``"""
    combine: Callable[[np.ndarray], np.ndarray]
    """From means ``[..., F]`` to estimates ``[...]``."""

    @property
    def estimate(self) -> float:
        """The value."""
        return float(self.combine(self.values.mean(0)))


def own_weights(target: Any, behaviour: Any, alive: Any) -> np.ndarray:
    """Cumulative ratios against the logger that acted.

    Args:
      target: probability of the logged action under the policy in question. ``[N, T]``
      behaviour: under its logger. ``[N, T]``
      alive: which steps were played. Boolean ``[N, T]``

    Returns:
      w. ``[N, T]``
    """
    alive = np.asarray(alive)
    target, behaviour = (np.where(alive, np.asarray(x, np.float64), 1.0) for x in (target, behaviour))
    return np.cumprod(target / behaviour, axis=1)


def balanced_weights(target: Any, probability: Any, logger: Any, alive: Any) -> np.ndarray:
    """Cumulative ratios against the mixture of all loggers, each by its share of the episodes.

    An episode that the logger that happened to act rarely plays, but another often, has no large weight: of all ways to
    weigh pooled logs the least variable one (Agarwal et al., 2017, "Effective evaluation using logged bandit feedback
    from multiple loggers").

    Args:
      target: probability of the logged action under the policy in question. ``[N, T]``
      probability: under each logger. ``[N, T, L]``
      logger: which acted. Integer ``[N]``
      alive: which steps were played. Boolean ``[N, T]``

    Returns:
      w. ``[N, T]``
    """
    alive, probability = np.asarray(alive), np.asarray(probability, np.float64)
    share = np.bincount(logger, minlength=probability.shape[2]) / len(probability)
    target = np.where(alive, np.asarray(target, np.float64), 1.0)
    used = share > 0
    each = np.where(alive[..., None], probability[..., used], 1.0)
    return np.cumprod(target, axis=1) / (np.cumprod(each, axis=1) @ share[used])


def direct(influence: Any) -> Terms:
    """The direct method: mean of the model's V̂ at the start, in which `aljax.offline.model.fit` gives each a say.

    Args:
      influence: the value of the start, as each episode says it. ``[N]``

    Returns:
      The estimator on this data set.
    """
    return Terms(np.asarray(influence, np.float64)[:, None], lambda means: means[..., 0])


def per_decision(weights: np.ndarray, costs: Any) -> Terms:
    """Per-decision importance sampling (Precup et al., 2000): mean of Σ_t w_t c_t. Unbiased where μ covers π.

    Args:
      weights: w. ``[N, T]``
      costs: 0 after the end. ``[N, T]``

    Returns:
      The estimator on this data set.
    """
    return Terms((weights * costs).sum(1, keepdims=True), lambda means: means[..., 0])


def self_normalised(weights: np.ndarray, costs: Any) -> Terms:
    """Σ_t of the mean of w_t c_t over the mean of w_t: biased by O(1/N), less variable than `per_decision`.

    Args:
      weights: w. ``[N, T]``
      costs: 0 after the end. ``[N, T]``

    Returns:
      The estimator on this data set.
    """
    steps = weights.shape[1]
    return Terms(np.concatenate([weights * costs, weights], axis=1), lambda means: _ratios(means, steps))


def doubly_robust(weights: np.ndarray, costs: Any, q: Any, v: Any) -> Terms:
    """Mean of Σ_t w_t (c_t − Q̂_t) + w_{t−1} V̂_t (Jiang and Li, 2016): right if either the weights or the model are.

    Args:
      weights: w. ``[N, T]``
      costs: 0 after the end. ``[N, T]``
      q: the model's Q̂ of what was played. ``[N, T]``
      v: its V̂ under the policy in question. ``[N, T]``

    Returns:
      The estimator on this data set.
    """
    values = weights * (costs - np.asarray(q)) + _before(weights) * v
    return Terms(values.sum(1, keepdims=True), lambda means: means[..., 0])


def weighted_doubly_robust(weights: np.ndarray, costs: Any, q: Any, v: Any) -> Terms:
    """`doubly_robust` with each w_t over its mean (Thomas and Brunskill, 2016).

    Args:
      weights: w. ``[N, T]``
      costs: 0 after the end. ``[N, T]``
      q: the model's Q̂ of what was played. ``[N, T]``
      v: its V̂ under the policy in question. ``[N, T]``

    Returns:
      The estimator on this data set.
    """
    steps = weights.shape[1]
    before = _before(weights)
    values = np.concatenate([weights * (costs - np.asarray(q)), weights, before * v, before], axis=1)

    def combine(means: np.ndarray) -> np.ndarray:
        return _ratios(means[..., : 2 * steps], steps) + _ratios(means[..., 2 * steps :], steps)

    return Terms(values, combine)


def with_fitted_weights(terms: Terms, scores: Any) -> Terms:
    """The same estimate, with what fitting the weights' probabilities changes in its scatter.

    Fitted probabilities follow what happened to be logged, and so take out of the estimate what they explain of it:
    intervals that ignore this are too wide (Hirano, Imbens and Ridder, 2003). To first order what goes is the
    regression of each episode's influence on its part in the gradient of the fit's likelihood.

    Args:
      terms: of the estimator.
      scores: gradient of each episode's log-likelihood. ``[N, D]``

    Returns:
      Terms with one more column, of mean 0.
    """
    values, scores = terms.values, np.asarray(scores, np.float64)
    others = (values.sum(0) - values) / (len(values) - 1)
    influence = (len(values) - 1) * (terms.estimate - terms.combine(others))
    scores = scores - scores.mean(0)
    explained = scores @ np.linalg.lstsq(scores, influence)[0]
    columns = np.concatenate([values, -explained[:, None]], axis=1)
    return Terms(columns, lambda means: terms.combine(means[..., :-1]) + means[..., -1])


def _before(weights: np.ndarray) -> np.ndarray:
    """w_{t−1}."""
    return np.concatenate([np.ones_like(weights[:, :1]), weights[:, :-1]], axis=1)


def _ratios(means: np.ndarray, steps: int) -> np.ndarray:
    """Σ_t of the first `steps` means over the next."""
    above, below = means[..., :steps], means[..., steps:]
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0).sum(-1)


def effective_size(weights: Any) -> float:
    """How many unweighted episodes would tell as much: (Σ w)² / Σ w² (Kish, 1965); 0 where all weights are.

    Args:
      weights: not below 0. ``[N]``

    Returns:
      From 0, where all weights are 0, to N.
    """
    weights = np.asarray(weights, np.float64)
    square = float((weights**2).sum())
    return float(weights.sum()) ** 2 / square if square > 0 else 0.0


def by_task(values: Any, task: Any) -> np.ndarray:
    """Sums of rows ``[N, F]`` by task ``[K, F]``, tasks without episodes left out.

    Args:
      values: a row an episode. ``[N, F]``
      task: of each. ``[N]``

    Returns:
      A row a task, in their order. ``[K, F]``
    """
    values = np.asarray(values, np.float64)
    _, number = np.unique(task, return_inverse=True)
    order = np.argsort(number, kind="stable")
    first = np.flatnonzero(np.diff(number[order], prepend=-1))
    return np.add.reduceat(values[order], first, axis=0)


_CHUNK = 4_000_000  # counts at a time


def bootstrap_by_task(terms: Terms, task: Any, *, resamples: int = 1_000, seed: int = 0) -> Interval:
    """An estimate with its 95 % interval from resampling whole tasks: episodes of one task are not independent.

    Bias-corrected and accelerated percentiles (Efron, 1987), as weights are skewed.

    Args:
      terms: of the estimator.
      task: of each episode. Integer ``[N]``
      resamples: of the bootstrap.
      seed: of the resampling; the same one resamples the same tasks.

    Returns:
      The interval; NaN ends with fewer than 2 tasks.
    """
    sums = by_task(np.concatenate([terms.values, np.ones((len(terms.values), 1))], axis=1), task)
    tasks = len(sums)
    estimate = terms.estimate
    if tasks < 2:
        return Interval(estimate, np.nan, np.nan)

    def combined(sums: np.ndarray) -> np.ndarray:
        return terms.combine(sums[..., :-1] / sums[..., -1:])

    rng = np.random.default_rng(seed)
    found = []
    each = max(1, _CHUNK // tasks)
    for first in range(0, resamples, each):
        count = min(each, resamples - first)
        drawn = rng.integers(0, tasks, (count, tasks), dtype=np.int32)
        drawn += np.arange(count, dtype=np.int32)[:, None] * np.int32(tasks)
        counts = np.bincount(drawn.ravel(), minlength=count * tasks).reshape(count, tasks)
        found.append(combined(counts.astype(np.float64) @ sums))
    return _corrected(estimate, np.concatenate(found), combined(sums.sum(0) - sums))


def _corrected(estimate: float, resampled: np.ndarray, jackknife: np.ndarray) -> Interval:
    """Percentiles of resampled estimates, corrected for bias and for how the spread changes with the value."""
    from scipy.special import ndtr, ndtri

    if np.ptp(resampled) == 0:
        return Interval(estimate, estimate, estimate)
    below = np.mean(resampled < estimate) + 0.5 * np.mean(resampled == estimate)
    bias = ndtri(np.clip(below, 0.5 / len(resampled), 1 - 0.5 / len(resampled)))
    distance = jackknife.mean() - jackknife
    spread = float((distance**2).sum())
    acceleration = float((distance**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    ends = bias + np.array([-1, 1]) * ndtri(0.5 + LEVEL / 2)
    shares = ndtr(bias + ends / np.maximum(1 - acceleration * ends, 1e-3))
    low, high = np.quantile(resampled, shares)
    return Interval(estimate, float(low), float(high))
