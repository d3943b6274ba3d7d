"""What a call comes to in expectation: heuristics and the exact solver reckon with it, the simulator draws it.

With L the mean seconds and σ the spread, a call takes X = L exp(σ n − σ²/2), n standard normal; what would take longer
than the time-out T takes T, and has failed. With Φ the normal distribution function and k = (ln(T / L) + σ²/2) / σ,

    P(X > T) = Φ(−k)        E[min(X, T)] = L Φ(k − σ) + T Φ(−k)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr

from aljax.constraint import exceeds
from aljax.layout import lift
from aljax.params import ActionTable


class Call(NamedTuple):
    """Expectations of calls; their shapes broadcast to that of the probabilities given."""

    failure: jax.Array
    """Probability that it fails, time-outs included."""
    latency: jax.Array
    """Expected seconds."""
    money: jax.Array
    """Expected dollars."""


def expected_call(table: ActionTable, time: jax.Array | int, failure: jax.Array) -> Call:
    """What calls come to, given how likely they fail before any time-out.

    Args:
      table: of columns ``[A]``, or of one row's entries, scalars; they meet the first axes of `failure`.
      time: steps played before in the episode, a scalar or of the trailing axes of `failure`.
      failure: probability of failing for any reason but a time-out. ``[A, ...]``, or of any shape for one row

    Returns:
      Probability of failing in the end, expected seconds and dollars; columns that are absent cost nothing.
    """
    ndim = failure.ndim
    late, latency = until_timeout(table, mean_seconds(table, time, False, ndim))
    fails = failure if late is None else failure + (1 - failure) * late
    if table.failure_latency is not None:
        failed = until_timeout(table, mean_seconds(table, time, True, ndim))[1]
        latency = failure * failed + (1 - failure) * latency
    money = _column(table.money, ndim)
    if table.failure_money is not None:
        money = fails * _column(table.failure_money, ndim) + (1 - fails) * money
    if table.money_growth is not None:
        money = money + _column(table.money_growth, ndim) * time
    return Call(fails, latency, money)


def mean_seconds(table: ActionTable, time: jax.Array | int, failed: bool, ndim: int) -> jax.Array:
    """The mean seconds L of calls that fail, or of calls that work, before any time-out.

    Args:
      table: as for `expected_call`.
      time: as for `expected_call`.
      failed: which of the two.
      ndim: how many axes to give them.

    Returns:
      Seconds, of `ndim` axes.
    """
    own = table.failure_latency if failed else None
    mean = _column(table.latency if own is None else own, ndim)
    return mean if table.latency_growth is None else mean + _column(table.latency_growth, ndim) * time


def until_timeout(table: ActionTable, mean: jax.Array) -> tuple[jax.Array | None, jax.Array]:
    """How many calls time out whose seconds are spread about a mean, and what all of them take.

    Args:
      table: as for `expected_call`.
      mean: as `mean_seconds` gives it.

    Returns:
      P(X > T), None where the table has no time-outs; and E[min(X, T)], seconds.
    """
    if table.timeout is None:
        return None, mean
    timeout = _column(table.timeout, mean.ndim)
    late, latency = exceeds(mean, timeout).astype(mean.dtype), jnp.minimum(mean, timeout)
    if table.latency_spread is None:
        return late, latency
    spread = _column(table.latency_spread, mean.ndim)
    spreads = (spread > 0) & (mean > 0) & jnp.isfinite(timeout)
    sigma, center, end = (jnp.where(spreads, x, 1.0) for x in (spread, mean, timeout))
    k = jnp.log(end / center) / sigma + sigma / 2
    beyond = ndtr(-k)
    within = center * ndtr(k - sigma) + end * beyond
    return jnp.where(spreads, beyond, late), jnp.where(spreads, within, latency)


def _column(values: jax.Array, ndim: int) -> jax.Array:
    """Entries of a column with as many axes as what they meet."""
    return lift(values, ndim - values.ndim)
