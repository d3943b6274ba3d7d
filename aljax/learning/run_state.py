"""What a training run carries from one update to the next: as trees, or packed into few arrays.

On an accelerator every array costs launches at every update: one to work out a weight matrix's step of Adam, one to
write a point of each curve. Packed, all weights are one vector and all curves one table.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from aljax.learning.baselines import Running
from aljax.learning.optimiser import AdamState
from aljax.learning.risk import Risk
from aljax.networks.architecture import Variables
from aljax.options import TrainConfig
from aljax.params import COMPONENTS


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
    multipliers: jax.Array | None = None
    """Of the K constraints, after the update; None where nothing is promised. ``[updates, K]``"""
    promised: jax.Array | None = None
    """What they bound, the average of past batches that multipliers go by; None likewise. ``[updates, K]``"""


CURVES = tuple(name for name in Curve._fields if name not in Curve._field_defaults)
"""What every run has a curve of; constraints have the others."""


def no_curve(config: TrainConfig) -> Curve:
    """The curves of a run before its first update.

    Args:
      config: shape of the run.

    Returns:
      Zeros.
    """
    updates, count = config.updates, len(config.constraints)
    found = {name: jnp.zeros((updates, len(COMPONENTS)) if name == "components" else updates) for name in CURVES}
    return Curve(**found, **{name: jnp.zeros((updates, count)) for name in Curve._field_defaults if count})


class Replay(NamedTuple):
    """What is kept of the latest K batches, a batch after the other in a ring (`aljax.learning.replay`)."""

    rows: jax.Array
    """That were played. Integer ``[K, T, B]``"""
    scores: jax.Array
    """Their log-probabilities then. ``[K, T, B]``"""


class TrainState(NamedTuple):
    """Everything that a run carries from one update to the next."""

    key: jax.Array
    variables: Variables
    optimiser: AdamState
    critic: Variables
    critic_optimiser: AdamState
    running: Running
    curve: Curve
    risk: Risk | None = None
    """None where the objective is the mean and nothing is promised."""
    replay: Replay | None = None
    """None where nothing is replayed; what is replayed is never packed."""


class PackedState(NamedTuple):
    """`TrainState` in few arrays, of M = N + T + R + 3 numbers: N weights, the policy's and then the critic's; behind
    them `Running`, the R numbers of `Risk`, and how many steps Adam took, exact up to 2**24.
    """

    key: jax.Array
    numbers: jax.Array
    """``[M]``"""
    mean: jax.Array
    """Adam's, of the weights; 0 behind. ``[M]``"""
    square: jax.Array
    """Likewise. ``[M]``"""
    curve: jax.Array
    """`Curve`, a row an update. ``[updates, 9 + 2 K]``"""


def packed(state: TrainState) -> tuple[PackedState, Callable[[PackedState], TrainState]]:
    """Packs a state.

    Args:
      state: as trees.

    Returns:
      The packed state, and what makes trees of it, or of a later one, again.
    """
    further = state.running, state.risk, state.optimiser.steps.astype(jnp.float32)
    nothing = jax.tree.map(jnp.zeros_like, further)
    optimisers = state.optimiser, state.critic_optimiser
    numbers, numbers_apart = ravel_pytree((state.variables, state.critic, *further))
    mean, square = (
        ravel_pytree((*(getattr(one, name) for one in optimisers), *nothing))[0] for name in ("mean", "square")
    )

    def apart(packed: PackedState) -> TrainState:
        variables, critic, running, risk, steps = numbers_apart(packed.numbers)
        (mean, critic_mean, *_), (square, critic_square, *_) = map(numbers_apart, (packed.mean, packed.square))
        steps = steps.astype(jnp.int32)
        critic_steps = steps if jax.tree.leaves(critic) else state.critic_optimiser.steps
        optimiser, critic_optimiser = (
            AdamState(steps, mean, square),
            AdamState(critic_steps, critic_mean, critic_square),
        )
        curve = _curve(packed.curve)
        return TrainState(packed.key, variables, optimiser, critic, critic_optimiser, running, curve, risk)

    return PackedState(state.key, numbers, mean, square, row_of(state.curve)), apart


def row_of(curve: Curve) -> jax.Array:
    """Curves as a table, or one update's point as a row of it.

    Args:
      curve: entries with any leading axes.

    Returns:
      ``[..., 9 + 2 K]``
    """
    found = {name: entry for name, entry in curve._asdict().items() if entry is not None}
    several = ("components", *Curve._field_defaults)
    return jnp.concatenate([found[name] if name in several else found[name][..., None] for name in found], -1)


def _curve(table: jax.Array) -> Curve:
    """The reverse of `row_of`."""
    last = 2 + len(COMPONENTS)
    promises = table[..., last + 2 :]
    count = promises.shape[-1] // 2
    found = Curve(table[..., 0], table[..., 1], table[..., 2:last], table[..., last], table[..., last + 1])
    return found._replace(multipliers=promises[..., :count], promised=promises[..., count:]) if count else found
