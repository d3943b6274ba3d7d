"""Failure rates with their doubt: a beta-binomial a column, and what lasts of a failure, or of a success.

A tool fails in some tasks more than in others, so calls of one task tell less than as many of different ones: within
task j, p_ij is Beta with mean p_i and a standard deviation of σ p_i (1 − p_i), so that tasks are as far apart in logits
wherever p_i lies; all tools share σ, and the p_i of a column are Beta too. All is found by maximum marginal likelihood
(see `aljax.calibration.shrinking`).

That a call fails again whose latest one failed says first of all that its task is hard. The first calls of all runs of
a task tell how hard: given them p_ij is Beta again, with what failed and what worked added to its parameters. What
lasts of a failure is the difference δ in logit(failure) = logit(p_ij) + δ, shrunk over tools by a normal prior;
after_failed is what that makes of all tasks on average, and after_ok likewise.
"""

import dataclasses
import math

import numpy as np
from scipy.special import betaincinv, betaln, expit, logit

from aljax.calibration.counts import COLUMNS, Failures
from aljax.calibration.estimates import Estimate
from aljax.calibration.shrinking import TAIL, Posterior, shrink

SPREADS = (0.0, 0.3, 0.6, 1.0, 1.7, 3.0)
"""σ of a tool's rates over tasks; 0: it fails alike in all."""
_ALIKE = 0.5  # the chance of that before any data
_P = expit(np.linspace(-12.0, 8.0, 321))
_MEANS = expit(np.arange(-6.5, 3.1, 0.25))
_STRENGTHS = 2.0 ** np.arange(-1.0, 9.0)
_DELTA = np.linspace(-8.0, 8.0, 129)
_LASTING = [(mean, spread) for mean in np.arange(-5.0, 5.1, 0.25) for spread in (0.1, 0.3, 0.6, 1.0, 1.5)]
_DRAWS, _EACH = 20, 60
_SHARES = (np.arange(11) + 0.5) / 11


@dataclasses.dataclass(frozen=True)
class Column:
    """The rates of one column."""

    estimates: tuple[Estimate, ...]
    """One a row."""
    posterior: Posterior
    """Of the rates over all tasks, and of `SPREADS`."""
    spread: float
    """The likeliest σ."""


@dataclasses.dataclass(frozen=True)
class Failing:
    """What the table's failure columns are."""

    columns: dict[str, Column]
    """By the names of `COLUMNS`, as they are counted, whatever the task."""
    lasting: dict[str, tuple[Estimate, ...]]
    """Within tasks, by the names of those that follow a call: what the scenario takes. One a row"""
    within: bool
    """Hard tasks can be told from failures that last: some tool was called in several runs of a task."""


def fit_failures(counts: Failures, seed: int = 0) -> Failing:
    """Fits the three columns to rows that are alike enough to tell of each other.

    Args:
      counts: of calls.
      seed: of draws.

    Returns:
      What was found.
    """
    columns = {}
    for number, name in enumerate(COLUMNS):
        columns[name] = _column(counts.failed[number], counts.calls[number], name)
    first, rng = columns["failure"], np.random.default_rng(seed)
    within = bool((counts.calls[0] > 1).any())
    lasting = {
        name: _lasting(counts, number, first, columns[name], rng) if within else columns[name].estimates
        for number, name in enumerate(COLUMNS)
        if number
    }
    return Failing(columns, lasting, within)


def concentration(rates: np.ndarray, spread: np.ndarray | float) -> np.ndarray:
    """κ of the Beta laws of rates over tasks.

    Args:
      rates: their means.
      spread: σ, above 0.

    Returns:
      Concentrations, of the shape that both broadcast to.
    """
    return np.maximum(1 / (spread**2 * rates * (1 - rates)) - 1, 0.05)


def _column(failed: np.ndarray, calls: np.ndarray, name: str) -> Column:
    """The rates of rows ``[R, J]``."""
    pairs, place = np.unique(np.stack([failed.ravel(), calls.ravel()]), axis=1, return_inverse=True)
    rows = np.repeat(np.arange(len(failed)), failed.shape[1])
    often = np.zeros((len(failed), pairs.shape[1]))
    np.add.at(often, (rows, place.ravel()), 1.0)
    likelihoods = np.stack([often @ _likelihood(pairs[0], pairs[1], spread) for spread in SPREADS])
    forms = np.array([_ALIKE if spread == 0 else (1 - _ALIKE) / (len(SPREADS) - 1) for spread in SPREADS])
    posterior = shrink(_P, likelihoods, _priors(), forms)
    form, prior = divmod(posterior.prior, len(_priors()))
    mean, strength = np.repeat(_MEANS, len(_STRENGTHS))[prior], np.tile(_STRENGTHS, len(_MEANS))[prior]
    low, high = posterior.quantile(TAIL), posterior.quantile(1 - TAIL)
    told = f"beta-binomial, pooled mean {mean:.3f} worth {strength:.3g} calls"
    found = []
    for row, (bad, all_) in enumerate(zip(failed.sum(1), calls.sum(1), strict=True)):
        raw = float(bad / all_) if all_ else math.nan
        source = f"shrunk: {bad} of {all_} calls failed, {told}" if all_ else f"assumed: never seen; {told}"
        found.append(Estimate(float(posterior.means[row]), float(low[row]), float(high[row]), raw, int(all_), source))
    return Column(tuple(found), posterior, SPREADS[form])


def _likelihood(failed: np.ndarray, calls: np.ndarray, spread: float) -> np.ndarray:
    """The logarithm of that of each pair on the grid, without the binomial coefficient. ``[U, G]``"""
    failed, worked = failed[:, None], (calls - failed)[:, None]
    if spread == 0:
        return failed * np.log(_P) + worked * np.log1p(-_P)
    kappa = concentration(_P, spread)
    return betaln(failed + kappa * _P, worked + kappa * (1 - _P)) - betaln(kappa * _P, kappa * (1 - _P))


def _priors() -> np.ndarray:
    """Beta priors on the grid, which is even in logits: the density is p^a (1 − p)^b. ``[H, G]``"""
    a = np.outer(_MEANS, _STRENGTHS).ravel()[:, None]
    b = np.outer(1 - _MEANS, _STRENGTHS).ravel()[:, None]
    density = a * np.log(_P) + b * np.log1p(-_P)
    density = np.exp(density - density.max(1, keepdims=True))
    return density / density.sum(1, keepdims=True)


def _lasting(
    counts: Failures, number: int, first: Column, naive: Column, rng: np.random.Generator
) -> tuple[Estimate, ...]:
    """A column within tasks, averaged over how alike tasks may be; see the module."""
    bad, all_ = counts.failed[number].sum(1), counts.calls[number].sum(1)
    rates = np.array([estimate.value for estimate in first.estimates])
    plain = np.array([estimate.value for estimate in naive.estimates])
    values, samples = np.zeros(len(rates)), []
    for spread, share in zip(SPREADS, first.posterior.forms, strict=True):
        draws = round(share * _DRAWS)
        if spread == 0:  # how the latest call went says nothing of the task
            values += share * plain
            samples.append(naive.posterior.draws(rng, draws * _EACH))
            continue
        if share > 1e-3:
            lasts = _delta(counts, number, spread, rates).means[:, None]
            values += share * _over_tasks(rates[:, None], spread, lasts)[:, 0]
        for drawn in first.posterior.draws(rng, draws).T:
            lasts = _delta(counts, number, spread, drawn).draws(rng, _EACH)
            samples.append(_over_tasks(drawn[:, None], spread, lasts))
    every = np.concatenate(samples, 1)
    found = []
    for row, counted in enumerate(naive.estimates):
        low, high = map(float, np.quantile(every[row], [TAIL, 1 - TAIL]))
        if counted.count:
            told = f"shrunk, within tasks: {bad[row]} of {all_[row]} calls failed"
            source = f"{told}; whatever the task, the rate is {counted.value:.3f}"
        else:  # nothing but the model speaks: the doubt is as large as without it
            low, high = min(low, counted.low), max(high, counted.high)
            source = "assumed: never seen; what such a call leaves behind on average over all rows"
        found.append(Estimate(float(values[row]), low, high, counted.raw, counted.count, source))
    return tuple(found)


def _over_tasks(rates: np.ndarray, spread: float, delta: np.ndarray) -> np.ndarray:
    """How often calls fail on average over tasks, whose rates are Beta, given what lasts. ``[R, S]``"""
    kappa = concentration(rates, spread)
    own = betaincinv(rates * kappa, (1 - rates) * kappa, _SHARES[:, None, None])
    return expit(logit(np.clip(own, 1e-9, 1 - 1e-9)) + delta).mean(0)


def _delta(counts: Failures, number: int, spread: float, rates: np.ndarray) -> Posterior:
    """What lasts of an earlier call, in logits, where first calls fail at these rates ``[R]``."""
    place = np.nonzero(counts.calls[number])
    mean = rates[place[0]]
    kappa = concentration(mean, spread)
    failed, calls = counts.failed[0][place], counts.calls[0][place]
    own = betaincinv(failed + kappa * mean, calls - failed + kappa * (1 - mean), _SHARES[:, None])  # [S, P]
    chance = logit(np.clip(own, 1e-9, 1 - 1e-9))[..., None] + _DELTA
    bad, all_ = counts.failed[number][place][:, None], counts.calls[number][place][:, None]
    each = bad * chance - all_ * np.logaddexp(0, chance)
    highest = each.max(0)
    likelihoods = np.zeros((len(rates), len(_DELTA)))
    np.add.at(likelihoods, place[0], np.log(np.exp(each - highest).mean(0)) + highest)
    return shrink(_DELTA, likelihoods, _lasts())


def _lasts() -> np.ndarray:
    """Normal priors of what lasts. ``[H, D]``"""
    priors = np.stack([np.exp(-0.5 * ((_DELTA - mean) / spread) ** 2) for mean, spread in _LASTING])
    return priors / priors.sum(1, keepdims=True)
