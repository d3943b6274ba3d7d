"""A program of one episode, for a block of episodes, number by number.

Compilers of kernels know arrays whose sizes are powers of two, and little of gathering, joining and slicing. The step
of an episode is made of short axes of any size: coordinates, rows, columns. So it is traced for one episode, and each
array of that program becomes a NumPy array of the same shape whose *elements* are what the compiler is given: a block's
values of that one number, or a scalar where all episodes share it. Joining, slicing and transposing then happen while
the kernel is made and are not in it; gathering becomes a chain of selections; and there is one environment.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Elements = np.ndarray
"""Of one array: objects, each a scalar or a block's values of that number."""

_ELEMENTWISE = frozenset(
    {"abs", "add", "and", "ceil", "clamp", "convert_element_type", "copy", "div", "eq", "exp", "expm1", "floor",
     "ge", "gt", "integer_pow", "le", "log", "log1p", "lt", "max", "min", "mul", "ne", "neg", "or", "pow",
     "sign", "sqrt", "square", "sub", "tanh", "xor"}
)  # fmt: skip
_MOVING = frozenset(
    {"broadcast_in_dim", "concatenate", "iota", "reshape", "rev", "slice", "squeeze", "transpose"}
)  # fmt: skip
_APART = "unstack"
"""The one operation of several results; older versions of JAX slice instead."""
_NESTED = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"}


class Program:
    """A function of one episode, traced, of which only what its results need is left."""

    def __init__(self, function: Callable[..., Any], *like: Any) -> None:
        """Traces `function` for arguments of the shapes and types of `like`."""
        closed, self.shapes = jax.make_jaxpr(function, return_shape=True)(*like)
        self._jaxpr: Any = closed.jaxpr
        self._consts = [_constant(value) for value in closed.consts]
        self._equations, needed = _needed(self._jaxpr)
        self._uses = [variable in needed for variable in self._jaxpr.invars]

    def refused(self) -> set[str]:
        """Names of the operations that cannot be done number by number; none: the program can be run."""
        return _refused(self._equations)

    def size(self) -> int:
        """Numbers that are worked out: operations that are written out, those that only move numbers left out."""
        return _size(self._equations)

    def run(self, *given: Any) -> Any:
        """The results, a tree of `Elements`, of arguments that are trees of them, or of functions that load them."""
        leaves = jax.tree.leaves(given)
        values = [
            (leaf() if callable(leaf) else leaf) if used else None
            for leaf, used in zip(leaves, self._uses, strict=True)
        ]
        return jax.tree.structure(self.shapes).unflatten(_run(self._jaxpr, self._equations, self._consts, values))


def _constant(value: Any, dtype: Any = None) -> Elements:
    found = np.asarray(value, dtype)
    return elements(list(found.reshape(-1)), found.shape)


def elements(values: Sequence[Any], shape: tuple[int, ...]) -> Elements:
    """Numbers as the elements of an array.

    Args:
      values: scalars or blocks' values, in C order.
      shape: of the array.

    Returns:
      The elements.
    """
    found = np.empty(len(values), object)
    for place, value in enumerate(values):
        found[place] = value
    return found.reshape(shape)


def _parts(values: Elements, axis: int) -> list[Elements]:
    """The arrays that lie along an axis."""
    first = np.moveaxis(values, axis, 0)
    return [first[place : place + 1].reshape(first.shape[1:]) for place in range(len(first))]


def _needed(jaxpr: Any) -> tuple[list[Any], set[Any]]:
    """The equations that a jaxpr's results need, and the variables in them."""
    needed = {variable for variable in jaxpr.outvars if not hasattr(variable, "val")}
    kept = []
    for equation in reversed(jaxpr.eqns):
        if needed.intersection(equation.outvars):
            kept.append(equation)
            needed.update(variable for variable in equation.invars if not hasattr(variable, "val"))
    return kept[::-1], needed


def _nested(equation: Any) -> Any:
    """The jaxpr that an equation calls, or None."""
    name = equation.primitive.name
    return equation.params[_NESTED[name]] if name in _NESTED else None


def _refused(equations: Iterable[Any]) -> set[str]:
    found = set[str]()
    for equation in equations:
        name, inner = equation.primitive.name, _nested(equation)
        if inner is not None:
            found |= _refused(_needed(inner.jaxpr)[0])
        elif name == "gather":
            found |= set() if _picks(equation) else {name}
        elif name not in _ELEMENTWISE and name not in _RULES and name != _APART:
            found.add(name)
    return found


def _size(equations: Iterable[Any]) -> int:
    found = 0
    for equation in equations:
        inner = _nested(equation)
        if inner is not None:
            found += _size(_needed(inner.jaxpr)[0])
        elif equation.primitive.name not in _MOVING:
            variables = *equation.invars, *equation.outvars
            found += max(math.prod(variable.aval.shape) for variable in variables)
    return found


def _run(jaxpr: Any, equations: Iterable[Any], consts: Sequence[Elements], given: Sequence[Any]) -> list[Elements]:
    """Evaluates a jaxpr, an element at a time."""
    known = dict(zip(jaxpr.constvars, consts, strict=True)) | dict(zip(jaxpr.invars, given, strict=True))

    def value(variable: Any) -> Elements:
        return _constant(variable.val, variable.aval.dtype) if hasattr(variable, "val") else known[variable]

    for equation in equations:
        operands, name, inner = [value(variable) for variable in equation.invars], equation.primitive.name, None
        inner = _nested(equation)
        if inner is not None:
            found = _run(inner.jaxpr, _needed(inner.jaxpr)[0], [_constant(each) for each in inner.consts], operands)
        elif name == _APART:
            found = _parts(operands[0], equation.params["axis"])
        else:
            rule = _RULES.get(name, _elementwise)
            found = [rule(equation, *operands)]
        known.update(zip(equation.outvars, found, strict=True))
    return [value(variable) for variable in jaxpr.outvars]


def alike(*values: Any) -> list[Any]:
    """Scalars and a block's values, all of the one shape that they broadcast to.

    Args:
      values: numbers of one or more types.

    Returns:
      Arrays of one shape.
    """
    shape = max((np.shape(value) for value in values), key=len)
    return [spread(value, shape) for value in values]


def spread(value: Any, shape: tuple[int, ...]) -> Any:
    """One number, or a block's values, as a block's values.

    Args:
      value: the number or the values.
      shape: of a block's values.

    Returns:
      An array of that shape.
    """
    if isinstance(value, np.generic):
        return lax.full(shape, value.item(), value.dtype)
    return value if value.shape == shape else lax.broadcast_in_dim(value, shape, ())


def _each(operation: Callable[..., Any], *operands: Elements) -> Elements:
    """`operation` on the elements of arrays of one shape, or of none."""
    operands = tuple(np.broadcast_arrays(*operands))
    flat = zip(*(operand.reshape(-1) for operand in operands), strict=True)
    return elements([operation(*alike(*each)) for each in flat], operands[0].shape)


def _elementwise(equation: Any, *operands: Elements) -> Elements:
    return _each(functools.partial(equation.primitive.bind, **equation.params), *operands)


def _select_n(equation: Any, which: Elements, *cases: Elements) -> Elements:
    """Of two cases the operation itself; of more a chain of it, as Triton has none."""
    if len(cases) == 2:
        return _elementwise(equation, which, *cases)
    found = cases[0]
    for number, case in enumerate(cases[1:], 1):
        here = _each(lambda place, number=number: lax.eq(*alike(place, np.int32(number))), which)
        found = _each(lax.select_n, here, found, case)
    return found


def _not(equation: Any, values: Elements) -> Elements:
    """By another operation, as Triton's own is refused for numbers known beforehand."""
    del equation
    return _each(lambda value: lax.bitwise_xor(*alike(value, np.array(-1).astype(value.dtype)[()])), values)


def _is_finite(equation: Any, values: Elements) -> Elements:
    del equation
    return _each(lambda value: jnp.abs(value) < jnp.inf, values)


def _iota(equation: Any) -> Elements:
    shape, dimension = equation.params["shape"], equation.params["dimension"]
    along = np.arange(shape[dimension], dtype=equation.params["dtype"])
    return _constant(np.broadcast_to(along.reshape([-1 if at == dimension else 1 for at in range(len(shape))]), shape))


def _broadcast_in_dim(equation: Any, values: Elements) -> Elements:
    shape, dimensions = equation.params["shape"], equation.params["broadcast_dimensions"]
    lifted = np.ones(len(shape), int)
    lifted[list(dimensions)] = values.shape
    return np.broadcast_to(values.reshape(lifted), shape)


def _slice(equation: Any, values: Elements) -> Elements:
    starts, limits = equation.params["start_indices"], equation.params["limit_indices"]
    strides = equation.params["strides"] or (1,) * len(starts)
    return values[tuple(slice(*each) for each in zip(starts, limits, strides, strict=True))]


def _folded(operation: Callable[..., Any]) -> Callable[..., Elements]:
    """A reduction over some axes, one element after the other."""

    def fold(equation: Any, values: Elements) -> Elements:
        axes = equation.params["axes"]
        first = np.moveaxis(values, axes, range(len(axes)))
        parts = _parts(first.reshape(-1, *first.shape[len(axes) :]), 0)
        return functools.reduce(functools.partial(_each, operation), parts)

    return fold


def _first_of(better: Callable[..., Any]) -> Callable[..., Elements]:
    """Where along an axis the best element stands, the first of several that are equal."""

    def choose(equation: Any, values: Elements) -> Elements:
        (axis,), dtype = equation.params["axes"], np.dtype(equation.params["index_dtype"])
        parts = _parts(values, axis)
        best, at = parts[0], _each(lambda value: lax.full(value.shape, 0, dtype), parts[0])
        for number, part in enumerate(parts[1:], 1):
            found = _each(better, part, best)
            best = _each(jnp.where, found, part, best)
            at = _each(lambda flag, old, number=number: jnp.where(flag, dtype.type(number), old), found, at)
        return at

    return choose


def _cumsum(equation: Any, values: Elements) -> Elements:
    axis, reverse = equation.params["axis"], equation.params["reverse"]
    parts = _parts(values, axis)
    sums = list(itertools.accumulate(parts[::-1] if reverse else parts, functools.partial(_each, lax.add)))
    return np.moveaxis(np.stack(sums[::-1] if reverse else sums), 0, axis)


def _picks(equation: Any) -> bool:
    """A gather takes one entry along one axis, by one number: what `jnp.take` of a scalar is."""
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    operand, places = (variable.aval.shape for variable in equation.invars)
    along = numbers.start_index_map
    whole = all(size == (1 if at in along else operand[at]) for at, size in enumerate(sizes))
    return places == (1,) and len(along) == 1 and numbers.collapsed_slice_dims == along and whole


def _gather(equation: Any, values: Elements, places: Elements) -> Elements:
    (axis,) = equation.params["dimension_numbers"].start_index_map
    found, *others = _parts(values, axis)
    for number, part in enumerate(others, 1):
        further = _each(lambda place, number=number: lax.ge(*alike(place, np.int32(number))), places.reshape(()))
        found = _each(lax.select_n, further, found, part)
    return found


_RULES: dict[str, Callable[..., Elements]] = {
    "argmax": _first_of(lax.gt),
    "argmin": _first_of(lax.lt),
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": lambda equation, *parts: np.concatenate(parts, equation.params["dimension"]),
    "cumsum": _cumsum,
    "gather": _gather,
    "iota": _iota,
    "not": _not,
    "is_finite": _is_finite,
    "reduce_and": _folded(lax.bitwise_and),
    "reduce_max": _folded(lax.max),
    "reduce_min": _folded(lax.min),
    "reduce_or": _folded(lax.bitwise_or),
    "reduce_sum": _folded(lax.add),
    "select_n": _select_n,
    "reshape": lambda equation, values: values.reshape(equation.params["new_sizes"]),
    "rev": lambda equation, values: np.flip(values, equation.params["dimensions"]),
    "slice": _slice,
    "squeeze": lambda equation, values: np.squeeze(values, equation.params["dimensions"]),
    "transpose": lambda equation, values: values.transpose(equation.params["permutation"]),
}
