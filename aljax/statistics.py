"""Statistics of evaluations: paired gaps, interquartile means, bootstrap intervals over seeds.

Intervals are at the 95 % level. What repeats itself independently sets their width: the seed where a policy was
trained anew for each, the episode where one policy met them all.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

LEVEL = 0.95
"""Confidence level of every interval."""
_RESAMPLES = 2_000


@dataclasses.dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval; NaN ends where there is but one observation."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.low):
            return f"{self.estimate:.4g}"
        return f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}]"

    def to_json(self) -> dict[str, float | None]:
        """Ends that are not known as null."""
        return {name: None if np.isnan(value) else value for name, value in dataclasses.asdict(self).items()}


def interquartile_mean(values: Any, axis: int = -1) -> np.ndarray:
    """The mean of the middle half: a quarter of the values, rounded down, is cut off at either end.

    Robust to seeds that fail, and less noisy than the median (Agarwal et al., 2021).

    Args:
      values: of any shape.
      axis: along which.

    Returns:
      Means, without that axis.
    """
    values = np.moveaxis(np.asarray(values), axis, -1)
    count = values.shape[-1]
    cut = count // 4
    return np.partition(values, (cut, count - cut - 1), -1)[..., cut : count - cut].mean(-1)


def bootstrap(
    strata: Sequence[Any], statistic: Callable[..., Any] = interquartile_mean, resamples: int = _RESAMPLES
) -> Interval:
    """A statistic of all seeds' figures, and its percentile interval from resampling seeds within each stratum.

    Args:
      strata: for each stratum (a scenario, say) one figure a seed, comparable between strata. K arrays ``[S_k]``
      statistic: of pooled figures, along `axis`.
      resamples: of the bootstrap; the same ones whenever it is called.

    Returns:
      The interval.
    """
    groups = [np.asarray(stratum, np.float64) for stratum in strata]

    def pooled(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        return statistic(np.concatenate(samples, axis=axis), axis=axis)

    estimate = float(pooled(*groups))
    if min(map(len, groups)) < 2:
        return Interval(estimate, np.nan, np.nan)
    rng = np.random.default_rng(0)
    drawn = [group[rng.integers(0, len(group), (resamples, len(group)))] for group in groups]
    found, tail = np.sort(pooled(*drawn)), (1 - LEVEL) / 2
    return Interval(estimate, _quantile(found, tail), _quantile(found, 1 - tail))


def _quantile(ordered: np.ndarray, share: float) -> float:
    """The point below which a share of ordered numbers lies, between the two that are nearest to it."""
    place = share * len(ordered) + (1 - share) - 1  # from 0
    before, between = int(place), place % 1
    after = min(before + 1, len(ordered) - 1)
    return float((1 - between) * ordered[before] + between * ordered[after])


def mean_interval(values: Any, by_seed: bool = False) -> Interval:
    """A mean with Student's interval.

    Args:
      values: figures of episodes, ``[S, B]``.
      by_seed: the seeds are the independent repeats; else all episodes are.

    Returns:
      The interval.
    """
    values = np.asarray(values, np.float64)
    units = values.mean(1) if by_seed else values.ravel()
    return _student(float(values.mean()), units, 1.0)


def paired_difference(values: Any, reference: Any, by_seed: bool = False) -> Interval:
    """Mean difference between two policies that met the same luck, ``[S, B]`` each. See `mean_interval`.

    Args:
      values: of each episode under one policy. ``[S, B]``
      reference: of the same episodes under the other. ``[S, B]``
      by_seed: as for `mean_interval`.

    Returns:
      The interval of values less reference.
    """
    return mean_interval(np.asarray(values, np.float64) - np.asarray(reference, np.float64), by_seed)


def paired_gap(values: Any, reference: Any, by_seed: bool = False) -> Interval:
    """By how many percent one policy's mean exceeds another's on the same starts and luck.

    The ratio's interval follows from that of its linearisation (the delta method).

    Args:
      values: cost of each episode, ``[S, B]``.
      reference: cost of the same episodes under the policy to compare with, ``[S, B]``.
      by_seed: as for `mean_interval`.

    Returns:
      The interval, in percent; all NaN where the reference costs nothing.
    """
    values, reference = (np.asarray(x, np.float64) for x in (values, reference))
    base = float(reference.mean())
    if base == 0:
        return Interval(np.nan, np.nan, np.nan)
    ratio = float(values.mean()) / base
    residual = values - ratio * reference
    units = residual.mean(1) if by_seed else residual.ravel()
    return _student(100 * (ratio - 1), units, 100 / abs(base))


def _student(estimate: float, units: np.ndarray, factor: float) -> Interval:
    """An estimate whose error is `factor` times that of the mean of independent units."""
    if len(units) < 2:
        return Interval(estimate, np.nan, np.nan)
    half = factor * float(_student_quantile(len(units) - 1) * units.std(ddof=1) / np.sqrt(len(units)))
    return Interval(estimate, estimate - half, estimate + half)


def explained_variance(values: Any, outcomes: Any, bins: int = 8) -> float:
    """The share of the outcomes' variance that one variable explains by itself (ε², Kelley 1935).

    Numbers with many values are cut into bins of equal count. The share is corrected for what as many bins would
    explain by chance, and so may come out a little below 0, which is given as 0.

    Args:
      values: of the variable: numbers, truths or text. ``[N]``
      outcomes: ``[N]``; those not finite are left out.
      bins: for numbers with more values than that.

    Returns:
      A share on [0, 1]; NaN with too few outcomes to tell.
    """
    values, outcomes = np.asarray(values), np.asarray(outcomes, np.float64)
    values, outcomes = values[np.isfinite(outcomes)], outcomes[np.isfinite(outcomes)]
    distinct, group = np.unique(values, return_inverse=True)
    if values.dtype.kind in "iuf" and len(distinct) > bins:
        edges = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])
        group = np.unique(np.searchsorted(edges, values, side="right"), return_inverse=True)[1]
    counts = np.bincount(group) if len(group) else np.zeros(0)
    free = len(outcomes) - len(counts)
    if free < 1 or len(outcomes) < 3:
        return np.nan
    means = np.bincount(group, outcomes) / counts
    within = float(((outcomes - means[group]) ** 2).sum())
    total = float(((outcomes - outcomes.mean()) ** 2).sum())
    if total <= 1e-24 * max(1.0, float((outcomes**2).sum())):
        return 0.0
    return float(np.clip(1 - (within / free) / (total / (len(outcomes) - 1)), 0, 1))


def _student_quantile(freedom: int) -> Any:
    """Up to where Student's t lies with the probability that a two-sided interval at `LEVEL` needs."""
    from scipy import special  # where it is used: SciPy takes long to load, its statistics as long as JAX

    return special.stdtrit(freedom, 0.5 + LEVEL / 2)
