"""Whole episodes: a batch of them under one policy, all their chance drawn from one key."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from aljax import env
from aljax.chance import Chance, draw_chance
from aljax.env import EnvParams, EnvState
from aljax.episodes import Trajectory, play_step, succeeded
from aljax.host.modules import make_callable
from aljax.layout import Kept
from aljax.policy import Policy
from aljax.target import Target, here

make_callable(__name__)


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


def rollout(
    key: jax.Array, policy: Policy, params: EnvParams, *, episodes: int, steps: int, target: Target | None = None
) -> Trajectory:
    """Plays a batch of episodes from their starts.

    Starts and luck depend on the key alone, so two policies that are given the same key meet the same starts
    and, step by step, the same ξ.

    Args:
      key: a PRNG key.
      policy: what chooses.
      params: the environment.
      episodes: B, static.
      steps: T, static: at least the largest horizon, or the episodes are cut short.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      The trajectories.
    """
    target = target or here()
    return play(draw_chance(key, params, episodes=episodes, steps=steps, target=target), policy, params, target=target)


def play(chance: Chance, policy: Policy, params: EnvParams, *, target: Target | None = None) -> Trajectory:
    """`rollout` on chance that is drawn already, so that several policies can share the drawing too.

    Args:
      chance: of B episodes of T steps.
      policy: what chooses.
      params: the environment.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      The trajectories.
    """
    target = target or here()
    if target.whole_rollouts:
        from aljax.kernels import play as kernel  # Pallas is loaded where it is of use

        if kernel.covers(chance, policy, params, target):
            return kernel.play(chance, policy, params, target)
    state = env.begin(chance.start, params)
    observation = policy.observe(params, state)
    kept = Kept(target)

    def body(carry: tuple[jax.Array, EnvState, Any], drawn: tuple[env.Luck, jax.Array]) -> tuple[Any, Any]:
        (seen, moved, memory), left = play_step(policy, params, carry, *drawn, target)
        if target.stores_packed:
            left = left._replace(costs=jnp.stack(left.costs))
        (seen, moved), stored = kept.store((seen, moved), left)
        return (seen, moved, memory), stored

    carry, drawn = (observation, state, policy.begin(params, observation)), (chance.luck, chance.choice)
    (_, final, _), stored = jax.lax.scan(body, carry, drawn, unroll=target.unrolled(len(chance.choice)))
    seen, action, costs, alive, legal = kept.left(stored)
    costs = costs if target.stores_packed else jnp.stack(costs, axis=1)
    return Trajectory(seen, action, costs, alive, final, succeeded(final, params), legal)


def legal_steps(trajectory: Trajectory, params: EnvParams) -> jax.Array:
    """Which rows could be chosen at each step. Boolean ``[A, T, B]``, of length 1 where all are alike

    Args:
      trajectory: of B episodes.
      params: the environment.

    Returns:
      Boolean ``[A, T, B]`` or ``[A, 1, 1]``.
    """
    if trajectory.legal is None:
        return env.always_legal(params)[:, None, None]
    return jnp.moveaxis(trajectory.legal, 1, 0)


def in_blocks(play: Callable[[jax.Array], Any], key: jax.Array, blocks: int) -> Any:
    """Plays a large batch a block after the other, so that what a block works on stays in the caches.

    Out of them a training episode takes twice as long on a CPU (docs/explanation/performance.md).

    Args:
      play: of a PRNG key, to a tree of arrays: one block's episodes.
      key: a PRNG key; one block takes it as it is.
      blocks: how many, static.

    Returns:
      The trees, stacked along a leading axis of blocks.
    """
    if blocks == 1:
        return jax.tree.map(lambda leaf: leaf[None], play(key))
    return jax.lax.map(lambda block: play(jax.random.fold_in(key, block)), jnp.arange(blocks))


def blocks_of(episodes: int, most: int) -> int:
    """The least number of equal blocks of at most `most` episodes; 1 where that would make them tiny.

    Args:
      episodes: B.
      most: of a block.

    Returns:
      How many blocks; it divides B.
    """
    found = next(blocks for blocks in range(-(-episodes // most), episodes + 1) if episodes % blocks == 0)
    return found if episodes // found > most // 8 else 1


def outcome(trajectory: Trajectory, params: EnvParams) -> Outcome:
    """Sums trajectories over their steps.

    Args:
      trajectory: of B episodes.
      params: the environment.

    Returns:
      What each episode came to.
    """
    costs = trajectory.costs.sum(0)
    return Outcome(
        costs=costs,
        total=jnp.tensordot(params.weights, costs, 1, precision="highest"),
        success=trajectory.success,
        steps=trajectory.alive.sum(0),
    )
