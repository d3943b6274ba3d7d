"""Counts a function's floating-point operations, from what JAX traces of it: no compiler is asked.

A product of matrices counts two a multiply-add, everything else one a number that comes out; loops as often as they go
round, or once where that is not known; of a condition's branches the dearest.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

_FREE = frozenset(
    {
        "broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims", "slice", "dynamic_slice", "concatenate",
        "dynamic_update_slice", "gather", "pad", "rev", "copy", "convert_element_type", "bitcast_convert_type",
        "stop_gradient", "select_n", "iota", "swap", "get", "masked_swap", "load", "optimization_barrier",
    }
)  # fmt: skip
"""Operations that move numbers and compute none."""


def flops(function: Callable[..., Any], *args: Any) -> float:
    """Floating-point operations of a call.

    Args:
      function: pure.
      *args: trees of arrays, or of `jax.ShapeDtypeStruct` in their place.

    Returns:
      How many.
    """
    return _of(jax.make_jaxpr(function)(*args).jaxpr)


def _of(jaxpr: Any) -> float:
    return sum(map(_one, jaxpr.eqns))


def _one(equation: Any) -> float:
    name, given = equation.primitive.name, equation.params
    if name == "cond":
        return max(_of(branch.jaxpr) for branch in given["branches"])
    inner = sum(map(_of, _inner(given)))
    if inner or name in ("scan", "while", "pallas_call"):
        if name == "pallas_call":
            return inner * math.prod(given["grid_mapping"].grid)
        return inner * given["length"] if name == "scan" else inner
    if name == "dot_general":
        (contracted, _), _ = given["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return 2.0 * equation.outvars[0].aval.size * math.prod(left[axis] for axis in contracted)
    out = equation.outvars[0].aval if equation.outvars else None
    if name in _FREE or not jnp.issubdtype(getattr(out, "dtype", jnp.int32), jnp.floating):
        return 0.0
    # What sums takes in more than comes out.
    return float(max(out.size, equation.invars[0].aval.size if name.startswith(("reduce_", "cum")) else 0))


def _inner(given: dict[str, Any]) -> list[Any]:
    """The traced parts that an operation holds."""
    found = []
    for value in jax.tree.leaves(list(given.values()), is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")):
        jaxpr = getattr(value, "jaxpr", value)
        if hasattr(jaxpr, "eqns"):
            found.append(jaxpr)
    return found
