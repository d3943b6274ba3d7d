"""Where the episodes begin that an exact solution is for, and what is known of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax.constraint import SLACK
from aljax.env import EnvParams
from aljax.exact.plan import Plan


class Start(NamedTuple):
    """Where episodes begin."""

    seen: jax.Array
    """The task vector, right where nothing is blind. ``[d, W]``"""
    points: jax.Array | None
    """Where something is blind: the points where an episode may have begun. ``[K, d]``"""
    weights: jax.Array | None
    """With which probability, given what is seen. ``[K, W]``"""


def begin(params: EnvParams, plan: Plan, start: jax.Array) -> Start:
    """What is known of where episodes began.

    Args:
      params: the environment, which may be traced.
      plan: the solution's structure.
      start: task vectors as they are seen, or as they are: what is blind of them is not looked at. ``[d, W]``

    Returns:
      The start; where something is blind, the points that look like it, or the nearest to that.
    """
    if not plan.averages:
        return Start(start, None, None)
    points, weights = _points(params)
    sighted = ~np.array(plan.blind)
    apart = jnp.where(weights[:, None] > 0, _apart(points, plan, start), jnp.inf)
    slack = 10 * SLACK * (1.0 + jnp.max(jnp.abs(start[sighted]), axis=0, initial=0.0))
    shares = jnp.where(apart <= jnp.min(apart, axis=0) + slack, weights[:, None], 0.0)
    return Start(start, points, shares / jnp.sum(shares, axis=0))


def once(params: EnvParams, plan: Plan, start: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    """Starts to solve, so that what looks alike is solved once.

    Args:
      params: the environment, which may be traced.
      plan: the solution's structure.
      start: task vectors of episodes, as for `begin`. ``[d, B]``

    Returns:
      Starts ``[d, K]``, and which of them each episode's looks like, integer ``[B]``; or all of them, and None.
    """
    if plan.looks is None or plan.looks >= start.shape[1]:
        return start, None
    points, _ = _points(params)
    _, first = jnp.unique(points[:, ~np.array(plan.blind)], axis=0, return_index=True, size=plan.looks)
    return points[first].T, jnp.argmin(_apart(points[first], plan, start), axis=0)


def _points(params: EnvParams) -> tuple[jax.Array, jax.Array]:
    """Where episodes may begin, in an environment where something is blind, and with which weights. ``[K, d], [K]``"""
    points, weights = params.start_low[None], jnp.ones(1)
    if params.start_points is not None and params.start_weights is not None:
        points, weights = points + params.start_points, params.start_weights
    return points, weights


def _apart(points: jax.Array, plan: Plan, start: jax.Array) -> jax.Array:
    """How far starts ``[d, B]`` are from points ``[K, d]`` in what is seen of them. ``[K, B]``"""
    sighted = ~np.array(plan.blind)
    return jnp.max(jnp.abs(points[:, sighted, None] - start[sighted]), axis=1, initial=0.0)
