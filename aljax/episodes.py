"""What is kept of episodes, and one step of a policy in the environment: what every way of playing episodes shares."""

import dataclasses
import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from aljax import env
from aljax.env import EnvParams, EnvState
from aljax.layout import FEW
from aljax.policy import Policy
from aljax.rules import playing
from aljax.target import Target

_FAILURE = env.COMPONENTS.index("failure")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Trajectory:
    """What happened in B episodes of at most T steps. Steps after an episode's end are not alive and cost 0."""

    observation: jax.Array
    """What the policy saw before each step (`aljax.policy.Policy.sees`): the environment's observation, and behind it
    what a policy with memory makes of earlier ones. ``[T, I, B]``"""
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
    legal: jax.Array | None = None
    """Which rows could be chosen at each step; None: the same ones always. Boolean ``[T, A, B]``"""


class Left(NamedTuple):
    """What a step leaves behind: the fields of `Trajectory`, of one step."""

    observation: jax.Array
    """What the policy saw. ``[I]``"""
    action: jax.Array
    """The row that it played. Integer scalar"""
    costs: tuple[jax.Array, ...]
    """The five unweighted costs. Scalars"""
    alive: jax.Array
    """The episode had not ended. Boolean scalar"""
    legal: jax.Array | None
    """Which rows could be chosen; None: the same ones always. Boolean ``[A]``"""


def play_step(
    policy: Policy,
    params: EnvParams,
    carry: tuple[jax.Array, EnvState, Any],
    luck: env.Luck,
    choice: jax.Array,
    target: Target,
) -> tuple[tuple[jax.Array, EnvState, Any], Left]:
    """A policy's choice and the environment's answer.

    Args:
      policy: what chooses.
      params: the environment.
      carry: the observation ``[O]``, the state, and what the policy remembers.
      luck: ξ of the step.
      choice: uniform on [0, 1), for policies that draw their action. Scalar
      target: what it is compiled for.

    Returns:
      What `carry` is next, and what the step leaves behind.
    """
    observation, state, memory = carry
    legal, shown = env.legal(state, params), policy.sees(params, observation, memory)
    action = sample(policy.logits(params, observation, legal, memory), choice)
    moved, costs = env.transition_apart(state, action, luck, params, target)
    seen = policy.observe(params, moved)
    memory = policy.remember(params, memory, action, costs[_FAILURE] > 0, seen)
    return (seen, moved, memory), Left(shown, action, costs, ~state.done, legal if env.legal_varies(params) else None)


def sample(logits: jax.Array, uniform: jax.Array) -> jax.Array:
    """Draws a row by the inverse distribution function, never one whose logit is −inf.

    Args:
      logits: unnormalised log-probabilities ``[A]``.
      uniform: a number on [0, 1).

    Returns:
      The row, an integer scalar.
    """
    if logits.shape[0] > FEW:
        weights = jnp.exp(logits - jnp.max(logits, axis=0))
        cumulated = jnp.cumsum(weights, axis=0)
        return jnp.sum(cumulated <= uniform * cumulated[-1], axis=0)
    # The same written out row by row, for which CPUs have vector instructions.
    highest = functools.reduce(jnp.maximum, logits)
    sums = list(itertools.accumulate(jnp.exp(row - highest) for row in logits))
    target = uniform * sums[-1]
    return functools.reduce(jnp.add, [(below <= target).astype(jnp.int32) for below in sums])


def succeeded(state: EnvState, params: EnvParams) -> jax.Array:
    """The episode has ended and violates nothing; soft rules do not count. Boolean scalar

    Args:
      state: of one episode.
      params: the environment.

    Returns:
      Boolean scalar.
    """
    excess = env.violation(state.z, state.latency, state.money, params)
    if params.rules is not None:
        excess = excess + playing.owed(params.rules, state.kept)
    return state.done & (excess == 0.0)
