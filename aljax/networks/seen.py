"""What an agent can work out from its observation: for heuristics, belief filters and logs, which have no state."""

import jax
import jax.numpy as jnp

from aljax.constraint import exceeds, out_of_tolerance
from aljax.layout import lift
from aljax.observation import places
from aljax.params import EnvParams
from aljax.rules import playing


def task_seen(observation: jax.Array, params: EnvParams) -> jax.Array:
    """The task as read.

    Args:
      observation: what is seen, with any trailing axes. ``[O]``
      params: the environment.

    Returns:
      The task vector, misread as it is. ``[d]``
    """
    return observation[places(params)["task"]] * lift(params.z_scale, observation.ndim - 1)


def latency_seen(observation: jax.Array, params: EnvParams) -> jax.Array:
    """Seconds taken so far.

    Args:
      observation: what is seen, with any trailing axes. ``[O]``
      params: the environment.

    Returns:
      Scalar.
    """
    return observation[places(params)["latency"]][0] * params.latency_scale


def time_seen(observation: jax.Array, params: EnvParams) -> jax.Array:
    """Steps played so far.

    Args:
      observation: what is seen, with any trailing axes. ``[O]``
      params: the environment.

    Returns:
      A whole number, as a real one. Scalar
    """
    return jnp.round(observation[places(params)["time"]][0] * params.horizon)


def legal_seen(observation: jax.Array, params: EnvParams) -> jax.Array:
    """`aljax.env.legal` for who has an observation instead of the state.

    Args:
      observation: what was seen, with any trailing axes. ``[O]``
      params: the environment.

    Returns:
      Boolean ``[A]`` with those axes, of length 1 where all are alike.
    """
    allowed = lift(params.actions.allowed, observation.ndim - 1)
    at, calls = places(params), None
    if params.actions.max_calls is not None:
        allowed = allowed & (observation[at["calls"]] < 1.0)
        most = lift(params.actions.max_calls, observation.ndim - 1)
        calls = jnp.where(jnp.isfinite(most), jnp.round(observation[at["calls"]] * most), 0.0).astype(jnp.int32)
    if params.rules is None:
        return allowed
    left = observation[at["cooldowns"]] if "cooldowns" in at else None
    kept = playing.seen(params.rules, observation[at["rules"]], left)
    remaining = params.horizon - time_seen(observation, params).astype(jnp.int32)
    return playing.legal(params.rules, kept, allowed, remaining, calls)


def failure_seen(observation: jax.Array, params: EnvParams) -> jax.Array:
    """The probability that a call of each legal row fails before any time-out, if what is behind it is up.

    By how the row's own latest call went; certain where a coordinate that it requires reads as out of tolerance, or
    where its bucket holds less than one token.

    Args:
      observation: what is seen, with any trailing axes. ``[O]``
      params: the environment.

    Returns:
      Probabilities ``[A]`` with those axes, of length 1 where all are alike.
    """
    table, at, ndim = params.actions, places(params), observation.ndim - 1
    found = lift(table.failure, ndim)
    if table.after_ok is not None:
        found = jnp.where(observation[at["worked"]] > 0.5, lift(table.after_ok, ndim), found)
    if table.after_failed is not None:
        found = jnp.where(observation[at["failed"]] > 0.5, lift(table.after_failed, ndim), found)
    if table.requires is not None:
        out = out_of_tolerance(task_seen(observation, params), params)
        found = jnp.where(jnp.any(lift(table.requires, ndim) & out, axis=1), 1.0, found)
    if table.rate_limit is not None and table.rate_burst is not None:
        limited = lift(jnp.isfinite(table.rate_limit), ndim)
        tokens = observation[at["tokens"]] * lift(table.rate_burst, ndim)
        found = jnp.where(limited & exceeds(1.0, tokens), 1.0, found)
    return found
