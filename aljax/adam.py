"""Adam (Kingma and Ba, 2015), and the arithmetic of trees of weights: as optax has them, to the last bit.

optax's own takes longer to load than everything else that training needs but JAX.
"""

import functools
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from aljax.host.programs import keepable

Tree = Any
"""A tree of arrays."""

_MEAN, _SQUARE, _LEAST = 0.9, 0.999, 1e-8  # β₁, β₂ and ε of the paper


@keepable
class AdamState(NamedTuple):
    """What Adam remembers of past gradients."""

    steps: jax.Array
    """How many were taken. Integer scalar"""
    mean: Tree
    """m, the exponential average of the gradients, drawn towards 0 at the start."""
    square: Tree
    """v, that of their squares."""


def adam_init(weights: Tree) -> AdamState:
    """The state before the first step.

    Args:
      weights: to be optimised.

    Returns:
      The state.
    """
    return AdamState(
        jnp.zeros([], jnp.int32), jax.tree.map(jnp.zeros_like, weights), jax.tree.map(jnp.zeros_like, weights)
    )


def adam_step(gradient: Tree, state: AdamState) -> tuple[Tree, AdamState]:
    """The direction of one step: m̂ / (√v̂ + ε), of algorithm 1.

    Args:
      gradient: of the loss.
      state: before.

    Returns:
      What is to be subtracted, times the step size, from the weights; and the state after.
    """
    mean = jax.tree.map(lambda g, m: (1 - _MEAN) * g + _MEAN * m, gradient, state.mean)
    square = jax.tree.map(lambda g, v: (1 - _SQUARE) * g**2 + _SQUARE * v, gradient, state.square)
    most = jnp.array(jnp.iinfo(jnp.int32).max, jnp.int32)
    count = jnp.where(state.steps < most, state.steps + jnp.array(1, jnp.int32), most)
    unbiased_mean, unbiased_square = _unbiased(mean, _MEAN, count), _unbiased(square, _SQUARE, count)
    direction = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + _LEAST), unbiased_mean, unbiased_square)
    return direction, AdamState(count, mean, square)


def _unbiased(average: Tree, decay: float, count: jax.Array) -> Tree:
    """An exponential average that began at 0, over the sum of its weights."""
    weight = 1 - decay**count
    return jax.tree.map(lambda leaf: leaf / weight.astype(leaf.dtype), average)


def scaled(factor: float | jax.Array, tree: Tree) -> Tree:
    """A tree times a number.

    Args:
      factor: the number.
      tree: of arrays.

    Returns:
      A tree alike.
    """
    return jax.tree.map(lambda leaf: factor * leaf, tree)


def added(one: Tree, other: Tree, factor: float | jax.Array = 1) -> Tree:
    """A tree plus a number times another.

    Args:
      one: of arrays.
      other: alike.
      factor: the number.

    Returns:
      A tree alike.
    """
    return jax.tree.map(lambda a, b: a + factor * b, one, other)


def norm_of(tree: Tree) -> jax.Array:
    """The Euclidean length of all of a tree's numbers as one vector.

    Args:
      tree: of arrays.

    Returns:
      A scalar.
    """
    return jnp.sqrt(functools.reduce(operator.add, [jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)]))
