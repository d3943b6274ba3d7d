"""Which configurations of a sweep nothing beats: the Pareto front of latency, money and success."""

from collections.abc import Sequence

import numpy as np

from aljax.promises import parse_constraint
from aljax.sweeps.results import CVAR, Results

OBJECTIVES = ("latency", "money", "success")
"""What the cost weighs against each other: the first two to be small, the last to be large."""
MAXIMISE = (False, False, True)


def over_weights(results: Results) -> bool:
    """Some λ varies, so that costs are weighed differently from configuration to configuration.

    Args:
      results: of a sweep.

    Returns:
      Whether it does.
    """
    return any(axis.key.partition(".")[0] == "weights" for axis in results.spec.axes)


def scenarios(results: Results) -> np.ndarray:
    """The scenario of each configuration. ``[C]``

    Args:
      results: of a sweep.

    Returns:
      Names. ``[C]``
    """
    if any(axis.key == "scenario" for axis in results.spec.axes):
        return results.values("scenario")
    return np.full(len(results.by_configuration("row")), results.spec.scenario)


def objectives(results: Results, prefix: str = "") -> np.ndarray:
    """`OBJECTIVES` of each configuration, over its seeds; NaN where a run diverged.

    Args:
      results: of a sweep.
      prefix: ``optimal_`` for those of the exact optimum.

    Returns:
      Means over seeds, in seconds, dollars and as a share. ``[C, 3]``
    """
    return np.stack([results.by_configuration(prefix + name).mean(1) for name in OBJECTIVES], axis=1)


def fronts(results: Results) -> np.ndarray:
    """Which configurations are on the Pareto front of `OBJECTIVES`; where scenarios vary, on that of their own.

    Args:
      results: of a sweep.

    Returns:
      The truth for each configuration. ``[C]``
    """
    points, names = objectives(results), scenarios(results)
    front = np.zeros(len(points), bool)
    for name in np.unique(names):
        front[names == name] = pareto_front(points[names == name], MAXIMISE)
    return front


def against_cost(results: Results) -> tuple[str, ...]:
    """What a sweep trades the mean cost for: columns of its table that are to be small as well.

    Args:
      results: of a sweep.

    Returns:
      `CVAR` where tails are asked for, and the components whose means promises along an axis bound.
    """
    texts = [text for axis in results.spec.axes if axis.key == "constraints" for each in axis.choices for text in each]
    means = [each.component for each in map(parse_constraint, texts) if each.threshold is None]
    return (*((CVAR,) if results.spec.asks_tail else ()), *dict.fromkeys(means))


def trade_off(results: Results, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean cost and another column of each configuration, over its seeds, and which no other beats in both.

    Args:
      results: of a sweep.
      column: one of `against_cost`.

    Returns:
      Means ``[C, 2]``, NaN where a run diverged, and the truth for each configuration ``[C]``.
    """
    points = np.stack([results.by_configuration(name).mean(1) for name in ("cost", column)], axis=1)
    return points, pareto_front(points, (False, False))


def pareto_front(objectives: np.ndarray, maximise: Sequence[bool]) -> np.ndarray:
    """Which points no other point dominates: is at least as good in everything, and better in something.

    Args:
      objectives: of each point. ``[N, K]``
      maximise: which of them are to be large; the others are to be small. K truths

    Returns:
      The truth for each point, ``[N]``. Equal points are on the front together; one with a NaN never is.
    """
    costs = np.where(np.asarray(maximise, bool), -1.0, 1.0) * np.asarray(objectives, np.float64)
    front = np.zeros(len(costs), bool)
    left = np.flatnonzero(~np.isnan(costs).any(1))
    # In lexicographic order a point can only be dominated by an earlier one, so that the first one left is never.
    left = left[np.lexsort(costs[left].T[::-1])]
    while len(left):
        first, others = costs[left[0]], costs[left]
        equal = (others == first).all(1)
        front[left[equal]] = True
        left = left[(others < first).any(1)]
    return front
