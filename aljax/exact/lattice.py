"""Points of a simplex and their numbers: how often each of several things happened in t steps.

A point is n counts c with c_1 + … + c_n ≤ t. Points are numbered so that those of time t are the first
C(t + n, n), whatever t is: with the tail sums T_j = c_j + … + c_n, which fall with j, the number is
Σ_j C(T_j + n − j, n − j + 1), the combinatorial number system. Layers of different times so share one numbering,
and no table of it is stored: everything here is computed where it is needed, in jitted programs too.
"""

from math import comb

import jax
import jax.numpy as jnp


def size(counts: int, time: int) -> int:
    """How many points there are at a time.

    Args:
      counts: n, how many things are counted.
      time: t, steps.

    Returns:
      N = C(t + n, n).
    """
    return comb(time + counts, counts)


def points(counts: int, time: int) -> jax.Array:
    """The tail sums T of all points of a time, in the order of their numbers. Integer ``[n, N]``

    Args:
      counts: n, how many things are counted.
      time: t, steps.

    Returns:
      Integer ``[n, N]``
    """
    # The barrier keeps the compiler from evaluating all of this itself, slowly, and storing the result.
    rest = jax.lax.optimization_barrier(jnp.arange(size(counts, time), dtype=jnp.int32))
    tails = []
    for j in range(counts):
        below = _terms(counts, j, time)
        tail = jnp.sum(rest >= below[1:, None], axis=0, dtype=jnp.int32)
        rest = rest - below[tail]
        tails.append(tail)
    return jnp.stack(tails) if tails else jnp.zeros((0, 1), jnp.int32)


def number(tails: jax.Array, time: int) -> jax.Array:
    """The number of a point given by its tail sums ``[n, ...]``, of any time up to `time`. Integer ``[...]``

    Args:
      tails: tail sums. Integer ``[n, ...]``
      time: the largest time of the points.

    Returns:
      Integer ``[...]``
    """
    counts = tails.shape[0]
    total = jnp.zeros(tails.shape[1:], jnp.int32)
    for j in range(counts):
        total = total + _terms(counts, j, time).at[tails[j]].get(mode="clip")
    return total


def advance(tails: jax.Array, kind: jax.Array | int) -> jax.Array:
    """Tail sums ``[n, ...]`` after thing number `kind` happened once more; n stands for the one not counted.

    Args:
      tails: tail sums. Integer ``[n, ...]``
      kind: which thing, from 0; may be an array ``[...]``.

    Returns:
      Tail sums. Integer ``[n, ...]``
    """
    counts = tails.shape[0]
    before = jnp.arange(counts).reshape((-1,) + (1,) * (tails.ndim - 1)) <= kind
    return tails + (before & (jnp.asarray(kind) < counts))


def retreat(tails: jax.Array, kind: int) -> jax.Array:
    """Tail sums ``[n, ...]`` before thing number `kind` happened the last time; meaningless where it never did.

    Args:
      tails: tail sums. Integer ``[n, ...]``
      kind: which thing, from 0.

    Returns:
      Tail sums, at least 0. Integer ``[n, ...]``
    """
    before = jnp.arange(tails.shape[0]).reshape((-1,) + (1,) * (tails.ndim - 1)) <= kind
    return jnp.maximum(0, tails - (before & (kind < tails.shape[0])))


def happened(tails: jax.Array, time: jax.Array | int) -> jax.Array:
    """How often each thing happened, the one not counted last, from tail sums. Integer ``[n + 1, ...]``

    Args:
      tails: tail sums. Integer ``[n, ...]``
      time: t, steps: how often anything happened.

    Returns:
      Counts, which sum to t. Integer ``[n + 1, ...]``
    """
    whole = jnp.full((1, *tails.shape[1:]), time, jnp.int32)
    bounded = jnp.concatenate([whole, tails, jnp.zeros_like(whole)])
    each = bounded[:-1] - bounded[1:]
    return jnp.concatenate([each[1:], each[:1]])


def _terms(counts: int, j: int, time: int) -> jax.Array:
    """The j-th term of a number, j from 0, for each tail sum 0 … time. Integer ``[time + 1]``"""
    return jnp.array([comb(tail + counts - 1 - j, counts - j) for tail in range(time + 1)], jnp.int32)
