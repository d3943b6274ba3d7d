"""How what is behind unreliable rows goes down and up while a call lasts, for who is told which rows are down.

Each of them is a two-state Markov chain in seconds: with a and b one over the mean times up and down, the probability
of being down after s seconds is a / (a + b) + (1[down] − a / (a + b)) exp(−(a + b) s). Which are down together is one
number, whose bits tell (`aljax.exact.past.Past.unreliable`).
"""

import jax
import jax.numpy as jnp
import numpy as np

from aljax.calls import mean_seconds, until_timeout
from aljax.env import ActionTable, EnvParams, downtime_share, outage_rate
from aljax.exact.layer import row_of
from aljax.exact.plan import Plan

_NODES, _FARTHEST = 48, 7.0
"""Of the quadrature over the spread of seconds, and at how many standard deviations it ends."""


def at_start(params: EnvParams, plan: Plan) -> jax.Array:
    """How likely rows are down together when an episode begins.

    Args:
      params: the environment.
      plan: relaxed.

    Returns:
      Probabilities. ``[U]``
    """
    down, bits = jnp.ones(plan.past.downs), _bits(plan)
    for place, row in enumerate(plan.past.unreliable):
        share = downtime_share(params.actions)[row]
        down = down * jnp.stack([1 - share, share])[bits[:, place]]
    return down


def after_call(params: EnvParams, plan: Plan, row: int, time: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What is down after a call, by what was down before it.

    Args:
      params: the environment.
      plan: relaxed.
      row: of the table, that is called.
      time: steps played before.

    Returns:
      Probabilities of moving, by the entry before and after, where the call worked, where it failed before any
      time-out, and where it timed out. ``[U, U]`` each
    """
    one = row_of(params.actions, row)
    timeout = jnp.inf if one.timeout is None else one.timeout
    found = []
    for failed in (False, True):
        mean = mean_seconds(one, time, failed, 0)
        seconds, shares = _in_time(one, mean, timeout)
        moves = jnp.tensordot(shares, _moves(params, plan, seconds), 1, precision="highest")
        late, _ = until_timeout(one, mean)
        found.append((moves, 0.0 if late is None else late))
    out = _moves(params, plan, jnp.where(jnp.isfinite(timeout), timeout, 0.0)[None])[0]
    (worked, _), (failed, late) = found
    return worked, late * out + (1 - late) * failed, out


def _in_time(one: ActionTable, mean: jax.Array, timeout: jax.Array | float) -> tuple[jax.Array, jax.Array]:
    """Seconds of calls that do not time out, and their shares, which sum to 1: one of each, or a quadrature's."""
    if one.latency_spread is None:
        return mean[None], jnp.ones(1)
    places, weights = map(jnp.asarray, np.polynomial.legendre.leggauss(_NODES))
    spread = one.latency_spread
    sigma, center = jnp.where(spread > 0, spread, 1.0), jnp.where(mean > 0, mean, 1.0)
    end = jnp.clip(jnp.log(timeout / center) / sigma + sigma / 2, 0.1 - _FARTHEST, _FARTHEST)
    n = -_FARTHEST + (end + _FARTHEST) * (places + 1) / 2
    shares = weights * jnp.exp(-(n**2) / 2)
    return mean * jnp.exp(spread * (n - spread / 2)), shares / jnp.sum(shares)


def _moves(params: EnvParams, plan: Plan, seconds: jax.Array) -> jax.Array:
    """Probabilities of moving within so many seconds. ``[K, U, U]`` of ``[K]``"""
    table, bits = params.actions, _bits(plan)
    found = jnp.ones((len(seconds), plan.past.downs, plan.past.downs))
    for place, row in enumerate(plan.past.unreliable):
        share = downtime_share(table)[row]
        forgotten = -jnp.expm1(-outage_rate(table)[row] * seconds)
        down = jnp.stack([share * forgotten, 1 - (1 - share) * forgotten])  # by whether it was down
        chain = jnp.stack([1 - down, down], 1)  # [before, after, K]
        here = bits[:, place]
        found = found * jnp.moveaxis(chain[here[:, None], here[None]], -1, 0)
    return found


def _bits(plan: Plan) -> np.ndarray:
    """Which rows are down in each entry. Integer ``[U, rows]``"""
    return (np.arange(plan.past.downs)[:, None] >> np.arange(len(plan.past.unreliable))) & 1
