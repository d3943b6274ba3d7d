"""optax's Adam, loaded where a program is traced: one that was kept needs neither it nor the time to load it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from aljax.networks.architecture import Variables
from aljax.options import Hyperparameters, Schedule


class AdamState(NamedTuple):
    """`optax.ScaleByAdamState`: what Adam remembers of past gradients."""

    steps: jax.Array
    """How many were taken. Integer scalar"""
    mean: Variables
    """The exponential average of the gradients."""
    square: Variables
    """That of their squares."""


def adam_init(weights: Variables) -> AdamState:
    """The state before the first step.

    Args:
      weights: to be optimised.

    Returns:
      The state.
    """
    import optax

    begun: Any = optax.scale_by_adam().init(weights)
    return AdamState(*begun)


def adam_step(gradient: Variables, state: AdamState) -> tuple[Variables, AdamState]:
    """The direction of one step, with optax's usual decays (Kingma and Ba, 2015, algorithm 1).

    Args:
      gradient: of the loss.
      state: before.

    Returns:
      What is to be subtracted, times the step size, from the weights; and the state after.
    """
    import optax

    direction, found = optax.scale_by_adam().update(gradient, optax.ScaleByAdamState(*state))
    after: Any = found
    return direction, AdamState(*after)


def falling(kind: Schedule, remaining: jax.Array, hyper: Hyperparameters) -> jax.Array:
    """The step size as a share of the first.

    Args:
      kind: how it falls.
      remaining: of the run, from 1 to 0. Scalar
      hyper: the run's numbers, of which `learning_rate_end` is the last share.

    Returns:
      The share. Scalar
    """
    if kind == "constant":
        return jnp.ones(())
    fall = remaining if kind == "linear" else 0.5 * (1.0 - jnp.cos(jnp.pi * remaining))
    return hyper.learning_rate_end + (1.0 - hyper.learning_rate_end) * fall
