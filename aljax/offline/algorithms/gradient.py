"""A policy gradient on doubly robust costs to go (Jiang and Li, 2016), kept near the loggers (paper, section 3.4 (b)).

It needs the probabilities with which loggers chose; where they are unknown, those of the network that imitates them.
"""

from typing import Any

import jax
import jax.numpy as jnp

from aljax.offline.algorithms.common import GENTLE, SPREAD_OVER, Batch, Frame, Lesson, Rule
from aljax.offline.algorithms.pessimism import pessimistic


def _loss(lesson: Lesson) -> jax.Array:
    held, batch, hyper = jax.lax.stop_gradient, lesson.batch, lesson.hyper
    q = lesson.output(lesson.nets["q"])
    log_policy = lesson.log_policy(lesson.nets["policy"])
    about = pessimistic(lesson, GENTLE * hyper.pessimism)
    policy = jnp.exp(log_policy)
    now = held(policy)
    aim = lesson.bootstrapped((now * about.costs).sum(0))
    logged = jnp.where(jnp.isnan(batch.probability), lesson.chosen(about.share), batch.probability)
    logged = jnp.maximum(logged, 1e-3)
    advantage = doubly_robust(batch, lesson.frame, about.slow, now, logged, hyper.ratio_limit, lesson.one_hot)
    above = jnp.where(jnp.isfinite(log_policy), log_policy - held(about.log_logger), 0.0)
    divergence = hyper.pessimism * jnp.sqrt(SPREAD_OVER / lesson.steps) * (policy * above).sum(0)
    gradient = lesson.mean((policy * held(advantage)).sum(0) + divergence)
    return lesson.mean((lesson.chosen(q) - aim) ** 2) + about.loss + gradient


def doubly_robust(
    batch: Batch,
    frame: Frame,
    q: jax.Array,
    policy: jax.Array,
    logged: jax.Array,
    limit: float | jax.Array,
    one_hot: jax.Array,
) -> jax.Array:
    """Costs to go of every action less those of the policy, in the frame: the model's, corrected by what was logged.

    The recursion of Jiang and Li (2016), V_t = V̂_t + ρ_t (c_t + V_{t+1} − Q̂_t), with ratios cut at a limit; the
    logged action's estimate is Q̂_t + (c_t + V_{t+1} − Q̂_t) / μ_t, of the others Q̂_t.

    Args:
      batch: the step's draw.
      frame: what costs to go are measured in.
      q: the model's costs to go, in the frame. ``[A, T, B]``
      policy: probabilities of the rows. ``[A, T, B]``
      logged: with which the logger chose what was logged. ``[T, B]``
      limit: ratios are cut there.
      one_hot: the logged action. Boolean ``[A, T, B]``

    Returns:
      ``[A, T, B]``.
    """
    value = (policy * q).sum(0)
    q_chosen = jnp.where(one_hot, q, 0.0).sum(0)
    ratio = jnp.minimum(jnp.where(one_hot, policy, 0.0).sum(0) / logged, limit)
    offset = frame.offset / frame.scale
    ahead = jnp.concatenate([offset[1:], jnp.zeros(1)]) - offset
    next_alive = jnp.concatenate([batch.alive[1:], jnp.zeros_like(batch.alive[:1])])
    costs = batch.costs / frame.scale

    def back(onward: jax.Array, step: Any) -> tuple[jax.Array, jax.Array]:
        cost, value, q_chosen, ratio, follows, ahead, offset = step
        later = jnp.where(follows, onward + ahead, -offset)
        error = cost + later - q_chosen
        return value + ratio * error, error

    given = (costs, value, q_chosen, ratio, next_alive, ahead, offset)
    _, error = jax.lax.scan(back, jnp.zeros_like(value[0]), given, reverse=True)
    inverse = jnp.minimum(1.0 / logged, limit)
    return q + jnp.where(one_hot, inverse * error, 0.0) - value


RULE = Rule({"policy": None, "q": None, "logger": None}, _loss, targets=("q",))
"""See the module."""
