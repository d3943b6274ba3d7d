"""What an agent knows of what is hidden: for each row, the probability that it is up, by the exact filter.

What is behind a row goes down and comes up as a Markov chain in the episode's seconds, which nobody sees. With
a = 1 / mean uptime and b = 1 / mean downtime, a row is down with probability q = a / (a + b) at the start. A call that
worked says that its row was up. One that failed is weighed by Bayes: when down it surely fails, when up as the
environment says, by what the agent sees of it. After a step of s seconds every row is down with probability
q + (P(down) − q) exp(−(a + b) s). Nothing else of an episode depends on the chains, so the filter is exact, as long as
coordinates that calls require are read as they are.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from aljax.calls import mean_seconds, until_timeout
from aljax.constraint import reaches
from aljax.env import downtime_share, outage_rate, played
from aljax.layout import lift
from aljax.networks.seen import failure_seen, latency_seen, legal_seen, time_seen
from aljax.params import ActionTable, EnvParams, num_actions


class Belief(NamedTuple):
    """What is known of the rows before a step."""

    down: jax.Array
    """Probability that each row is down. ``[A]``"""
    observation: jax.Array
    """What is seen there, by which the next call's outcome is weighed. ``[O]``"""

    @property
    def up(self) -> jax.Array:
        """Probability that each row is up. ``[A]``"""
        return 1.0 - self.down


def begin_belief(params: EnvParams, observation: jax.Array) -> Belief:
    """The belief at the start of an episode: the chains' stationary law.

    Args:
      params: the environment.
      observation: the first, with any trailing axes. ``[O]``

    Returns:
      The belief; rows of an environment without uptimes are up for certain.
    """
    batch = observation.shape[1:]
    if params.actions.mean_uptime is None:
        return Belief(jnp.zeros((num_actions(params), *batch)), observation)
    down = lift(downtime_share(params.actions), len(batch))
    return Belief(jnp.broadcast_to(down, (len(down), *batch)), observation)


def update_belief(
    params: EnvParams, belief: Belief, action: jax.Array, failed: jax.Array, observation: jax.Array
) -> Belief:
    """The belief after a step.

    Args:
      params: the environment.
      belief: before it.
      action: the row played. Integer scalar
      failed: whether the call failed. Boolean scalar
      observation: what is seen after it. ``[O]``

    Returns:
      The belief; never NaN, also where something happened that could not.
    """
    table, ndim = params.actions, action.ndim
    if table.mean_uptime is None:
        return Belief(belief.down, observation)
    seconds = _seconds(params, belief.observation, observation)
    if_up, if_down = _failing(params, belief.observation, seconds)
    down, up = belief.down * if_down, belief.up * if_up
    after = jnp.where(failed, jnp.where(down + up > 0.0, down / jnp.maximum(down + up, 1e-30), belief.down), 0.0)
    rows = lift(jnp.arange(num_actions(params), dtype=jnp.int32), ndim)
    known = jnp.where(rows == played(action, params), after, belief.down)
    share = lift(downtime_share(table), ndim)
    rate = lift(outage_rate(table), ndim)
    return Belief(share + (known - share) * jnp.exp(-rate * seconds), observation)


def _seconds(params: EnvParams, before: jax.Array, after: jax.Array) -> jax.Array:
    """Seconds between two observations. Scalar"""
    return jnp.maximum(latency_seen(after, params) - latency_seen(before, params), 0.0)


def _failing(params: EnvParams, observation: jax.Array, seconds: jax.Array) -> tuple[jax.Array, jax.Array]:
    """How likely a call of each row fails in just so many seconds, if it is up and if it is down, but for a factor.

    Seconds say something only if a time-out cut the call: else a call that fails takes what a failed call takes, up or
    down. One that was cut may have been about to work.
    """
    table, ndim = params.actions, seconds.ndim
    failure = jnp.where(legal_seen(observation, params), failure_seen(observation, params), 1.0)
    certain = jnp.ones_like(failure)
    if table.timeout is None:
        return failure, certain
    time = time_seen(observation, params)
    working, failing = (_late(table, mean_seconds(table, time, failed, ndim + 1)) for failed in (False, True))
    cut = reaches(seconds, lift(table.timeout, ndim))
    return jnp.where(cut, failure * failing + (1.0 - failure) * working, failure), jnp.where(cut, failing, certain)


def _late(table: ActionTable, mean: jax.Array) -> jax.Array:
    """The probability that calls of such mean seconds last until their time-out, or longer. ``[A]``"""
    late, _ = until_timeout(table, mean)
    assert late is not None and table.timeout is not None
    timeout = lift(table.timeout, mean.ndim - 1)
    if table.latency_spread is None:
        return reaches(mean, timeout).astype(late.dtype)
    return jnp.where(lift(table.latency_spread, mean.ndim - 1) > 0.0, late, reaches(mean, timeout))
