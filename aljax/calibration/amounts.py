"""Seconds and dollars of calls: means and spreads, rows with few calls drawn to all of them.

Means are taken as they are, and their logarithms are drawn to the pooled one by how sure each is (a normal law of
rows, seen with errors). The spread is that of the logarithms (what a call takes is log-normal in the environment), or
where many calls take next to nothing, as several in one turn of the model do, that of the log-normal law with their
coefficient of variation; the logarithm of its square is drawn likewise. Calls that nobody saw end enter as such: the
rest of each is reckoned from the row's law until both agree (Tobin's model by expectation and maximisation).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.special import log_ndtr

from aljax.calibration.estimates import Estimate

_SHORTEST = 0.02  # of a row's mean: shorter calls take next to nothing
_FEW = 0.05  # the share of such calls that a log-normal law bears
_Z = 1.959963984540054


@dataclasses.dataclass(frozen=True)
class Amounts:
    """What calls of each row take, or cost."""

    means: tuple[Estimate, ...]
    """One a row."""
    spreads: tuple[Estimate, ...]
    """σ of the logarithm, one a row."""


def fit_amounts(
    values: Sequence[Sequence[float]], censored: Sequence[Sequence[float]] | None = None, unit: str = "s"
) -> Amounts | None:
    """Fits means and spreads of R rows.

    Args:
      values: of the calls of each row.
      censored: what calls came to at least that nobody saw end.
      unit: for sources.

    Returns:
      What was found; None: no row has any.
    """
    seen = [np.asarray(row, np.float64) for row in values]
    open_ = [np.asarray(row, np.float64) for row in (censored or [()] * len(seen))]
    pooled = np.concatenate([*seen, *open_])
    if not len(pooled):
        return None
    average = float(pooled.mean())
    laws = [_law(row, more, average) for row, more in zip(seen, open_, strict=True)]
    counts = np.array([law.count for law in laws])
    own = np.array([law.variance for law in laws])
    lone = np.where((counts > 1) & (own > 0), own, np.nan)
    scatter = 2 / np.maximum(counts - 1, 1)  # of the logarithm of a variance
    squares, unsure, typical = _shrunk(np.log(lone), scatter, 0.0)
    variances = np.exp(squares) if np.isfinite(lone).any() else np.zeros(len(laws))
    logs = np.array([math.log(law.mean) if law.count and law.mean > 0 else math.nan for law in laws])
    # The mean of a log-normal law varies by exp(σ²) − 1 of its square; its logarithm by about so much over the calls.
    doubts = np.expm1(np.minimum(variances, 20.0)) / np.maximum(counts, 1)
    centres, errors, centre = _shrunk(logs, doubts, math.log(average) if average > 0 else 0.0)
    means, spreads = [], []
    for row, law in enumerate(laws):
        if average == 0 or (law.count and law.mean == 0):
            means.append(Estimate(0.0, 0.0, 0.0, law.mean, law.count, f"logged: {law.count} calls of 0 {unit}"))
            spreads.append(Estimate(0.0, count=law.count, source="logged"))
            continue
        value, error = float(centres[row]), float(errors[row])
        if law.count:
            more = f", {len(open_[row])} of them not seen to end" if len(open_[row]) else ""
            told = f"shrunk: mean of {law.count} calls{more} {law.mean:.4g} {unit}, to {math.exp(centre):.4g} {unit}"
        else:
            told = f"assumed: never seen, {math.exp(centre):.4g} {unit} as all rows"
        ends = math.exp(value - _Z * error), math.exp(value + _Z * error)
        means.append(Estimate(math.exp(value), *ends, law.mean if law.count else math.nan, law.count, told))
        sigma, ends = math.sqrt(variances[row]), math.exp(_Z * float(unsure[row]) / 2)
        told = f"shrunk: {math.sqrt(law.variance):.3f} of {law.count} calls, to {math.exp(typical / 2):.3f}"
        raw = math.sqrt(law.variance) if law.count > 1 else math.nan
        spreads.append(Estimate(sigma, sigma / ends, sigma * ends, raw, law.count, told))
    return Amounts(tuple(means), tuple(spreads))


@dataclasses.dataclass(frozen=True)
class _Law:
    """A row's own."""

    mean: float
    variance: float
    """Of the logarithm."""
    count: int


def _law(seen: np.ndarray, open_: np.ndarray, average: float) -> _Law:
    count = len(seen) + len(open_)
    if not count:
        return _Law(average, 0.0, 0)
    every = np.concatenate([seen, open_])
    least = max(float(every.mean()) * _SHORTEST, 1e-12)
    logs, limits = np.log(np.maximum(seen, least)), np.log(np.maximum(open_, least))
    if not len(open_):
        variance = float(logs.var(ddof=1)) if count > 1 else 0.0
        if (seen < least).mean() > _FEW:
            variance = math.log1p(float(seen.var() / max(seen.mean(), 1e-12) ** 2))
        return _Law(float(seen.mean()), variance, count)
    mean, deviation = float(np.concatenate([logs, limits]).mean()), 1.0
    for _ in range(100):  # each open call is replaced by what the law makes of it, and the law by what they all are
        place = (limits - mean) / deviation
        hazard = np.exp(-0.5 * place**2 - 0.5 * math.log(2 * math.pi) - log_ndtr(-place))
        first = mean + deviation * hazard
        rest = deviation**2 * np.maximum(1 + place * hazard - hazard**2, 0.0)
        mean = float((logs.sum() + first.sum()) / count)
        square = ((logs - mean) ** 2).sum() + ((first - mean) ** 2 + rest).sum()
        deviation = max(math.sqrt(float(square) / count), 1e-3)
    return _Law(math.exp(mean + deviation**2 / 2), deviation**2, count)


def _shrunk(values: np.ndarray, variances: np.ndarray, otherwise: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Posterior means and deviations of values that were drawn from a normal law and are seen with errors.

    The law's mean and deviation are averaged over, in proportion to their likelihood, since few values do not tell
    which they are. Values that are not finite were not seen. Last comes the law's mean.
    """
    seen = np.isfinite(values)
    if not seen.any():
        return np.full(len(values), otherwise), np.full(len(values), 1.0), otherwise
    between = np.linspace(0.02, 2.0, 100) ** 2
    weights = 1 / (between[:, None] + variances[seen])  # [G, R]
    centres = weights @ values[seen] / weights.sum(1)
    scores = 0.5 * (np.log(weights) - weights * (values[seen] - centres[:, None]) ** 2).sum(1)
    scores -= 0.5 * np.log(weights.sum(1))  # the mean is not known either
    chance = np.exp(scores - scores.max())
    chance /= chance.sum()
    trust = np.where(seen, between[:, None] / (between[:, None] + variances), 0.0)
    means = trust * np.where(seen, values, 0.0) + (1 - trust) * centres[:, None]
    doubts = (1 - trust) * between[:, None] + (1 - trust) ** 2 / weights.sum(1)[:, None]
    mean = chance @ means
    return mean, np.sqrt(chance @ (doubts + (means - mean) ** 2)), float(chance @ centres)
