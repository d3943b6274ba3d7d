"""Baselines: what is subtracted from costs to go, none of which depends on the action that it judges."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from aljax.options import Baseline


class Running(NamedTuple):
    """Exponential averages over past updates of the cost to go at each step, and of its spread."""

    mean: jax.Array
    """``[T]``"""
    square: jax.Array
    """Mean squared distance from the mean, over all steps. Scalar"""
    weight: jax.Array
    """What the averages' weights sum to, for taking out the start at 0. Scalar"""


def baselined(
    kind: Baseline,
    togo: jax.Array,
    alive: jax.Array,
    running: Running,
    values: jax.Array | None = None,
) -> jax.Array:
    """Costs to go less a baseline, 0 at steps not alive.

    All but ``batch`` leave the gradient's expectation as it is: what they subtract from an episode does not
    depend on that episode's action. ``batch`` shortens it by 1/n where n episodes are alive.

    Args:
      kind: which baseline.
      togo: G. ``[T, B]``
      alive: which steps were played. Boolean ``[T, B]``
      running: averages over past updates.
      values: the critic's estimates of G, ``[T, B]``, for ``critic``.

    Returns:
      The advantages (costs: positive is worse than expected). ``[T, B]``
    """
    count = alive.sum(1, keepdims=True)
    total = jnp.where(alive, togo, 0.0).sum(1, keepdims=True)
    if kind == "none":
        baseline = jnp.zeros_like(togo)
    elif kind == "running":
        baseline = (running.mean / jnp.maximum(running.weight, 1e-8))[:, None]
    elif kind == "batch":
        baseline = total / jnp.maximum(count, 1)
    elif kind == "leave_one_out":
        baseline = jnp.where(count > 1, (total - togo) / jnp.maximum(count - 1, 1), 0.0)
    elif kind == "critic" and values is not None:
        baseline = values
    else:
        raise ValueError(f"unknown baseline {kind!r}")
    return jnp.where(alive, togo - baseline, 0.0)


def run_on(running: Running, togo: jax.Array, alive: jax.Array, decay: float | jax.Array) -> Running:
    """Takes a batch into the running averages.

    Args:
      running: the averages so far.
      togo: the batch's costs to go. ``[T, B]``
      alive: which steps were played. Boolean ``[T, B]``
      decay: how much of the averages stays.

    Returns:
      The averages.
    """
    mean = jnp.where(alive, togo, 0.0).sum(1) / jnp.maximum(alive.sum(1), 1)
    square = jnp.where(alive, (togo - mean[:, None]) ** 2, 0.0).sum() / jnp.maximum(alive.sum(), 1)
    new = Running(mean, square, jnp.ones(()))
    return jax.tree.map(lambda old, fresh: decay * old + (1.0 - decay) * fresh, running, new)


def critic_frame(running: Running) -> tuple[jax.Array, jax.Array]:
    """The frame in which the critic works, from past updates only.

    Args:
      running: averages over past updates.

    Returns:
      Offset ``[T, 1]`` and scale.
    """
    weight = jnp.maximum(running.weight, 1e-8)
    return (running.mean / weight)[:, None], jnp.sqrt(running.square / weight) + 1e-3
