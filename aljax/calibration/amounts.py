"""Seconds and dollars of calls: means and spreads, rows with few calls drawn to all of them.

Means are taken as they are, and their logarithms are drawn to the pooled one by how sure each is (normal–normal
empirical Bayes). The spread is that of the logarithms (what a call takes is log-normal in the environment), or where
many calls take next to nothing, as several in one turn of the model do, that of the log-normal law with their
coefficient of variation; its square is drawn to the pooled one, which counts as `PRIOR_CALLS` calls. Calls that
nobody saw end enter as such: the rest of each is reckoned from the row's law until both agree (Tobin's model by
expectation and maximisation).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.special import log_ndtr

from aljax.calibration.estimates import Estimate

PRIOR_CALLS = 8.0
"""What the pooled spread counts for, in calls."""
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
    free = np.maximum(counts - 1, 0)
    typical = float((free * own).sum() / free.sum()) if free.sum() else 0.0
    variances = (free * own + PRIOR_CALLS * typical) / (free + PRIOR_CALLS)
    logs = np.array([math.log(law.mean) if law.mean > 0 else math.nan for law in laws])
    # The mean of a log-normal law varies by exp(σ²) − 1 of its square; its logarithm by about so much over the calls.
    doubts = np.expm1(np.minimum(variances, 20.0)) / np.maximum(counts, 1)
    centre, between = _normal_prior(logs, doubts, math.log(average) if average > 0 else 0.0)
    means, spreads = [], []
    for row, law in enumerate(laws):
        if average == 0 or (law.count and law.mean == 0):
            means.append(Estimate(0.0, 0.0, 0.0, law.mean, law.count, f"logged: {law.count} calls of 0 {unit}"))
            spreads.append(Estimate(0.0, count=law.count, source="logged"))
            continue
        trust = between / (between + doubts[row]) if law.count else 0.0
        value = trust * logs[row] + (1 - trust) * centre if law.count else centre
        error = math.sqrt(trust * doubts[row] if law.count else between)
        if law.count:
            more = f", {len(open_[row])} of them not seen to end" if len(open_[row]) else ""
            told = f"shrunk: mean of {law.count} calls{more} {law.mean:.4g} {unit}, to {math.exp(centre):.4g} {unit}"
        else:
            told = f"assumed: never seen, {math.exp(centre):.4g} {unit} as all rows"
        ends = math.exp(value - _Z * error), math.exp(value + _Z * error)
        means.append(Estimate(math.exp(value), *ends, law.mean if law.count else math.nan, law.count, told))
        sigma, doubt = math.sqrt(variances[row]), 1 / math.sqrt(2 * (free[row] + PRIOR_CALLS))
        ends = sigma * math.exp(-_Z * doubt), sigma * math.exp(_Z * doubt)
        told = f"shrunk: {math.sqrt(law.variance):.3f} of {law.count} calls, to {math.sqrt(typical):.3f}"
        raw = math.sqrt(law.variance) if law.count > 1 else math.nan
        spreads.append(Estimate(sigma, *ends, raw, law.count, told))
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


def _normal_prior(values: np.ndarray, variances: np.ndarray, otherwise: float) -> tuple[float, float]:
    """Mean and variance of a normal law of which each value is drawn with an error, by maximum marginal likelihood."""
    there = np.isfinite(values) & (variances >= 0)
    if there.sum() < 2:
        return (float(values[there][0]) if there.any() else otherwise), 1.0
    values, variances = values[there], variances[there]
    best = (-math.inf, otherwise, 1.0)
    for between in np.geomspace(1e-4, 10.0, 81):
        weights = 1 / (between + variances)
        centre = float((weights * values).sum() / weights.sum())
        score = float((np.log(weights) - weights * (values - centre) ** 2).sum())
        best = max(best, (score, centre, float(between)))
    return best[1:]
