"""The constraint g: what is out of tolerance or over budget, and the comparisons that all parts share.

Simulator, exact solver, bounds and heuristics compare with tolerances, budgets and limits by these functions alone.
"""

import jax
import jax.numpy as jnp
import numpy as np

from aljax.layout import lift, total
from aljax.params import EnvParams

SLACK = 1e-5
"""How far beyond a bound still counts as on it: this much for bounds up to 1, this share of larger ones; see `over`."""


def over(x: jax.Array, c: jax.Array) -> jax.Array:
    """By how much x exceeds a bound c: x − c where x > c + `SLACK` max(1, ``|c|``), else 0.

    Decimal fractions are not exact in binary, and their sums in single precision less so: seven calls of 0.1 s take
    0.70000005 s. The slack is wider than that (docs/reference/scenario_files.md says up to which horizon), so that a
    bound that is exactly met is met.

    Args:
      x: what is bounded.
      c: the bound, not below 0; inf: none. Broadcasts with `x`.

    Returns:
      The excess, never NaN where `x` is finite.
    """
    return jnp.where(exceeds(x, c), x - c, 0.0)


def exceeds(x: jax.Array | float, c: jax.Array) -> jax.Array:
    """Whether `over` is above 0.

    Args:
      x: what is bounded.
      c: the bound.

    Returns:
      Booleans, of the shape that both broadcast to.
    """
    values = isinstance(x, np.ndarray) and isinstance(c, np.ndarray)
    numbers = np if values else jnp  # NumPy's are compared there: each operation would be a program of JAX's
    return x > c + SLACK * numbers.maximum(1.0, numbers.abs(c))


def reaches(x: jax.Array, c: jax.Array) -> jax.Array:
    """Whether x has come to a limit c, with the slack of `over` on the near side.

    Args:
      x: what is limited, finite.
      c: the limit; inf: none.

    Returns:
      Booleans, of the shape that both broadcast to.
    """
    return ~exceeds(c, x)


def beyond(z: jax.Array, params: EnvParams) -> jax.Array:
    """By how much each coordinate of a task vector is out of tolerance.

    Args:
      z: the task vector, with any trailing axes. ``[d]``
      params: the environment.

    Returns:
      0 where it is within. ``[d]``
    """
    high = lift(params.tolerance, z.ndim - 1)
    if params.tolerance_low is None:
        return over(jnp.abs(z), high)
    return jnp.maximum(over(z, high), over(-z, lift(params.tolerance_low, z.ndim - 1)))


def out_of_tolerance(z: jax.Array, params: EnvParams) -> jax.Array:
    """Which coordinates of a task vector are out of tolerance.

    Args:
      z: the task vector, with any trailing axes. ``[d]``
      params: the environment.

    Returns:
      Boolean ``[d]``.
    """
    high = lift(params.tolerance, z.ndim - 1)
    if params.tolerance_low is None:
        return exceeds(jnp.abs(z), high)
    return exceeds(z, high) | exceeds(-z, lift(params.tolerance_low, z.ndim - 1))


def violation(z: jax.Array, latency: jax.Array, money: jax.Array, params: EnvParams) -> jax.Array:
    """g: by how much a task vector ``[d]`` and what was spent exceed tolerance and budgets.

    Args:
      z: the task vector. ``[d]``
      latency: seconds taken. Scalar
      money: dollars spent. Scalar
      params: the environment.

    Returns:
      A scalar, 0 where all are met.
    """
    return (
        total(beyond(z, params))
        + over(latency, params.latency_budget) / params.latency_budget
        + over(money, params.money_budget) / params.money_budget
    )
