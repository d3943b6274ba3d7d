"""Whole episodes: a batch of them under one policy, all their chance drawn from one key."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.env import EnvParams, EnvState
from aljax.policy import Policy


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Trajectory:
    """What happened in B episodes of at most T steps. Steps after an episode's end are not alive and cost 0."""

    observation: jax.Array
    """What the policy saw before each step. ``[T, O, B]``"""
    action: jax.Array
    """The row that it played. Integer ``[T, B]``"""
    costs: jax.Array
    """The five unweighted costs of each step. ``[T, 5, B]``"""
    alive: jax.Array
    """The episode had not ended before the step. Boolean ``[T, B]``"""
    final: EnvState
    """Where the episodes ended, trailing axis B."""
    success: jax.Array
    """Ended with nothing violated. Boolean ``[B]``"""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Outcome:
    """What each of B episodes came to."""

    costs: jax.Array
    """The five unweighted components, summed over the episode. ``[5, B]``"""
    total: jax.Array
    """Σ_k λ_k C_k. ``[B]``"""
    success: jax.Array
    """Ended with nothing violated. Boolean ``[B]``"""
    steps: jax.Array
    """Steps played. Integer ``[B]``"""


def rollout(key: jax.Array, policy: Policy, params: EnvParams, *, episodes: int, steps: int) -> Trajectory:
    """Plays a batch of episodes from their starts.

    Starts and luck depend on the key alone, so two policies that are given the same key meet the same starts
    and, step by step, the same ξ.

    Args:
      key: a PRNG key.
      policy: what chooses.
      params: the environment.
      episodes: B, static.
      steps: T, static: at least the largest horizon, or the episodes are cut short.

    Returns:
      The trajectories.
    """
    chance = draw_chance(key, params, episodes=episodes, steps=steps)
    state = env.begin(chance.start, chance.misread, params)
    observation = env.observe(state, params)

    def body(carry: tuple[jax.Array, EnvState, Any], drawn: tuple[env.Luck, jax.Array]) -> tuple[Any, Any]:
        observation, state, memory = carry
        xi, choice = drawn
        action = sample(policy.logits(params, observation, memory), choice)
        moved, costs = env.transition(state, action, xi, params)
        seen = env.observe(moved, params)
        memory = policy.remember(params, memory, action, seen)
        return (seen, moved, memory), (observation, action, costs, ~state.done)

    carry = (observation, state, policy.begin(params, observation))
    (_, final, _), (seen, action, costs, alive) = jax.lax.scan(body, carry, (chance.luck, chance.choice))
    return Trajectory(seen, action, costs, alive, final, succeeded(final, params))


class Chance(NamedTuple):
    """All that is random in B episodes of T steps, whatever is played."""

    start: jax.Array
    """Uniform. ``[d, B]``"""
    misread: jax.Array
    """Standard normal. ``[d, B]``"""
    luck: env.Luck
    """ξ of every step: u ``[T, B]``, ε ``[T, d, B]``."""
    choice: jax.Array
    """Uniform, for policies that draw their action. ``[T, B]``"""


def draw_chance(key: jax.Array, params: EnvParams, *, episodes: int, steps: int) -> Chance:
    """Draws everything at once, flat: one generator compiles and runs several times faster than one a shape.

    Args:
      key: a PRNG key.
      params: the environment, for d alone.
      episodes: B.
      steps: T.

    Returns:
      The chance of B episodes.
    """
    d = env.num_coordinates(params)
    shapes = [(d, episodes), (d, episodes), (steps, episodes), (steps, episodes), (steps, d, episodes)]
    sizes = [math.prod(shape) for shape in shapes]
    flat = jax.random.uniform(key, (sum(sizes),))
    ends = np.cumsum(sizes)
    start, misread, u, choice, epsilon = (
        flat[end - size : end].reshape(shape) for end, size, shape in zip(ends, sizes, shapes, strict=True)
    )
    return Chance(start, _normal(misread), env.Luck(u, _normal(epsilon)), choice)


def _normal(uniform: jax.Array) -> jax.Array:
    """Standard normal numbers from uniform ones on [0, 1), by the inverse distribution function."""
    lowest = np.nextafter(np.float32(-1), np.float32(0))
    return math.sqrt(2) * jax.lax.erf_inv(jnp.maximum(2 * uniform - 1, lowest))


def sample(logits: jax.Array, uniform: jax.Array) -> jax.Array:
    """Draws a row by the inverse distribution function, never one whose logit is −inf.

    Args:
      logits: unnormalised log-probabilities ``[A]``.
      uniform: a number on [0, 1).

    Returns:
      The row, an integer scalar.
    """
    weights = jnp.exp(logits - jnp.max(logits, axis=0))
    cumulated = jnp.cumsum(weights, axis=0)
    return jnp.sum(cumulated <= uniform * cumulated[-1], axis=0)


def succeeded(state: EnvState, params: EnvParams) -> jax.Array:
    """The episode has ended and violates nothing. Boolean scalar"""
    return state.done & (env.violation(state.z, state.latency, state.money, params) == 0.0)


def outcome(trajectory: Trajectory, params: EnvParams) -> Outcome:
    """Sums trajectories over their steps."""
    costs = trajectory.costs.sum(0)
    return Outcome(
        costs=costs,
        total=jnp.tensordot(params.weights, costs, 1, precision="highest"),
        success=trajectory.success,
        steps=trajectory.alive.sum(0),
    )
