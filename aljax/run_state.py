"""What a training run carries from one update to the next: as trees, or packed into few arrays.

On an accelerator every array costs launches at every update: one to work out a weight matrix's step of Adam, one to
write a point of each curve. Packed, all weights are one vector and all curves one table.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from aljax.architecture import Variables
from aljax.baselines import Running
from aljax.optimiser import AdamState


class Curve(NamedTuple):
    """The run seen from each update's batch, one entry an update."""

    cost: jax.Array
    """Mean total cost. ``[updates]``"""
    success: jax.Array
    """Share of episodes that succeeded. ``[updates]``"""
    components: jax.Array
    """Mean of each unweighted component. ``[updates, 5]``"""
    entropy: jax.Array
    """Mean entropy of the policy over the steps played, nats. ``[updates]``"""
    gradient_norm: jax.Array
    """Length of the gradient before clipping. ``[updates]``"""


class TrainState(NamedTuple):
    """Everything that a run carries from one update to the next."""

    key: jax.Array
    variables: Variables
    optimiser: AdamState
    critic: Variables
    critic_optimiser: AdamState
    running: Running
    curve: Curve


class PackedState(NamedTuple):
    """`TrainState` in few arrays. N weights are the policy's, then the critic's."""

    key: jax.Array
    weights: jax.Array
    """``[N]``"""
    mean: jax.Array
    """Adam's, of all weights. ``[N]``"""
    square: jax.Array
    """Likewise. ``[N]``"""
    further: jax.Array
    """`Running`, one number after the other, and how many steps Adam took. ``[T + 3]``"""
    curve: jax.Array
    """`Curve`, a row an update. ``[updates, 9]``"""


def packed(state: TrainState) -> tuple[PackedState, Callable[[PackedState], TrainState]]:
    """Packs a state.

    Args:
      state: as trees.

    Returns:
      The packed state, and what makes trees of it, or of a later one, again.
    """
    weights, weights_apart = ravel_pytree((state.variables, state.critic))
    optimisers = state.optimiser, state.critic_optimiser
    mean, square = (ravel_pytree([getattr(one, name) for one in optimisers])[0] for name in ("mean", "square"))

    def apart(packed: PackedState) -> TrainState:
        variables, critic = weights_apart(packed.weights)
        (mean, critic_mean), (square, critic_square) = map(weights_apart, (packed.mean, packed.square))
        running, steps = further_apart(packed.further)
        critic_steps = steps if jax.tree.leaves(critic) else state.critic_optimiser.steps
        return TrainState(
            packed.key,
            variables,
            AdamState(steps, mean, square),
            critic,
            AdamState(critic_steps, critic_mean, critic_square),
            running,
            _curve(packed.curve),
        )

    further = further_of(state.running, state.optimiser.steps)
    return PackedState(state.key, weights, mean, square, further, row_of(state.curve)), apart


def further_of(running: Running, steps: jax.Array) -> jax.Array:
    """What a packed state has beside weights and curves.

    Args:
      running: averages over past updates.
      steps: how many Adam took; exact up to 2**24. Integer scalar

    Returns:
      ``[T + 3]``
    """
    return jnp.concatenate([running.mean, jnp.stack([running.square, running.weight, steps.astype(jnp.float32)])])


def further_apart(further: jax.Array) -> tuple[Running, jax.Array]:
    """The reverse of `further_of`.

    Args:
      further: ``[T + 3]``

    Returns:
      Averages over past updates, and the steps that Adam took.
    """
    return Running(further[:-3], further[-3], further[-2]), further[-1].astype(jnp.int32)


def row_of(curve: Curve) -> jax.Array:
    """Curves as a table, or one update's point as a row of it.

    Args:
      curve: entries with any leading axes.

    Returns:
      ``[..., 9]``
    """
    return jnp.concatenate([entry[..., None] if entry is not curve.components else entry for entry in curve], -1)


def _curve(table: jax.Array) -> Curve:
    """The reverse of `row_of`."""
    return Curve(table[..., 0], table[..., 1], table[..., 2:-2], table[..., -2], table[..., -1])
