"""How the numbers of a step are laid out: the forms that compilers make fast programs of.

The episode axes come last, so that short axes stay outside and CPUs vectorise over episodes.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from aljax.params import ActionTable
from aljax.target import Target

FEW = 16
"""So many rows or coordinates are written out one by one, which CPUs vectorise better; more would compile slowly."""

_OF_ALL_ROWS = ("mean_uptime", "mean_downtime", "rate_limit", "rate_burst", "max_calls")


def lift(values: jax.Array, ndim: int) -> jax.Array:
    """Appends `ndim` axes of length 1, so that a parameter broadcasts over trailing batch axes.

    Args:
      values: the parameter.
      ndim: how many axes.

    Returns:
      ``[..., 1, ...]``.
    """
    return values.reshape(values.shape + (1,) * ndim)


def entry(flags: jax.Array, action: jax.Array) -> jax.Array:
    """The entry at the row played.

    Args:
      flags: Boolean ``[A]``.
      action: the row. Integer scalar

    Returns:
      A Boolean scalar.
    """
    rows = lift(jnp.arange(flags.shape[0], dtype=jnp.int32), action.ndim)
    return jnp.any(flags & (rows == action), axis=0)


def pick(values: jax.Array, action: jax.Array) -> jax.Array:
    """The number at the row played.

    Args:
      values: numbers, one a row. ``[A]``
      action: the row. Integer scalar

    Returns:
      A scalar of the same type.
    """
    rows = lift(jnp.arange(values.shape[0], dtype=jnp.int32), action.ndim)
    return jnp.sum(jnp.where(rows == action, values, 0), axis=0)


def rows_of(table: ActionTable, action: jax.Array, target: Target) -> ActionTable:
    """The chosen row of every column.

    Of few rows all columns at once, as one product with a one-hot matrix: exact, and faster on CPUs than
    gathering. Of many rows that product is the slower way. The columns that say what goes on behind all rows at once,
    whichever is played, are left out.

    Args:
      table: columns ``[A]`` and ``[A, d]``.
      action: the row. Integer scalar
      target: what it is compiled for.

    Returns:
      The columns' entries, scalars and ``[d]``.
    """
    table = dataclasses.replace(table, **dict.fromkeys(_OF_ALL_ROWS))
    if table.timeout is not None:  # a product with 0 must be 0
        table = dataclasses.replace(table, timeout=jnp.minimum(table.timeout, jnp.finfo(table.timeout.dtype).max))
    columns, tree = jax.tree.flatten(table)
    if action.ndim == 0 or table.latency.shape[0] > FEW or not target.product_of_rows:
        return jax.tree.map(lambda column: jnp.take(column.T, action, axis=-1, mode="clip"), table)
    stacked = jnp.concatenate([jnp.atleast_2d(column.T).astype(table.latency.dtype) for column in columns])
    one_hot = (lift(jnp.arange(table.latency.shape[0]), action.ndim) == action).astype(stacked.dtype)
    chosen = iter(jnp.tensordot(stacked, one_hot, 1, precision="highest"))
    return tree.unflatten(
        _typed(jnp.stack([next(chosen) for _ in range(column.shape[1])]) if column.ndim == 2 else next(chosen), column)
        for column in columns
    )


def _typed(chosen: jax.Array, column: jax.Array) -> jax.Array:
    """Real numbers 0 and 1 as Booleans where the column has Booleans."""
    return chosen > 0.5 if column.dtype == bool else chosen


class Kept:
    """How a loop keeps what its steps come to: each array apart, or all of them as one, made and stored in one go."""

    def __init__(self, target: Target) -> None:
        """Of what is compiled for a target."""
        self._packed = target.stores_packed
        self._structure: Any = None
        self._kinds: list[tuple[tuple[int, ...], Any]] = []

    def store(self, carried: Any, left: Any) -> tuple[Any, Any]:
        """Of a step.

        Args:
          carried: what the next step goes on with; a tree of arrays of one trailing axis B, exact in float32.
          left: what is stored, likewise.

        Returns:
          What the next step goes on with, and what the loop is to store.
        """
        if not self._packed:
            return carried, left
        leaves, self._structure = jax.tree.flatten((carried, left))
        self._kinds = [(leaf.shape, leaf.dtype) for leaf in leaves]
        rows = jnp.concatenate([leaf.reshape(-1, leaf.shape[-1]).astype(jnp.float32) for leaf in leaves])
        # Left to itself, the compiler would take it apart again, and work out all earlier steps anew in each store.
        rows = jax.lax.optimization_barrier(rows)
        return self._apart(rows)[0], rows

    def left(self, stored: Any) -> Any:
        """What all steps left, from what the loop stored.

        Args:
          stored: with a leading axis of steps.

        Returns:
          The tree of `store`, with that axis.
        """
        return self._apart(stored)[1] if self._packed else stored

    def _apart(self, rows: jax.Array) -> tuple[Any, Any]:
        """Of ``[..., F, B]``."""
        leaves, at = [], 0
        for shape, dtype in self._kinds:
            size = math.prod(shape[:-1])
            part = rows[..., at : at + size, :].reshape(*rows.shape[:-2], *shape)
            leaves.append(part > 0.5 if jnp.issubdtype(dtype, bool) else part.astype(dtype))
            at += size
        return self._structure.unflatten(leaves)


def total(values: jax.Array) -> jax.Array:
    """The sum over the first axis.

    Args:
      values: ``[n, ...]``.

    Returns:
      ``[...]``.
    """
    return functools.reduce(jnp.add, values) if values.shape[0] <= FEW else jnp.sum(values, axis=0)


def stored(values: jax.Array, one: jax.Array | None) -> jax.Array:
    """The same values, worked out once.

    A step has some ten results that share most of their work. XLA for CPUs makes a loop of its own for each of them and
    repeats the shared work in each, unless it ends in an operation that XLA holds to be expensive, such as a division.
    So divide by a 1 that the compiler cannot see through: exact, and a step takes a third of the time.

    Args:
      values: any array.
      one: 1, made of what the program is given; None: the target needs nothing of the kind.

    Returns:
      The values.
    """
    return values if one is None else values / one
