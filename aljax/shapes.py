"""Shapes and types of what public functions are given, checked by chex while a program is traced.

An array of another shape than is meant would often broadcast and give numbers that are wrong without a word. Nothing of
these checks is in the compiled program.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from aljax.errors import UserError
from aljax.fields import fields_of
from aljax.params import COMPONENTS, EnvParams

_WORDS: Mapping[type, str] = {bool: "booleans", int: "integers", float: "real numbers"}


def check_array(name: str, value: Any, shape: Sequence[int], kind: type, axes: str = "") -> None:
    """Refuses an array of another shape or type.

    Args:
      name: what it is, for the message.
      value: the array, or its like: traced, NumPy's, a Python number.
      shape: what its shape must be.
      kind: bool, int or float.
      axes: what the axes are, for the message, such as ``[A, d]``.

    Raises:
      UserError: one line naming what, what was expected, and what it is.
    """
    import chex  # where a program is traced: one that was kept needs neither it nor the time to load it

    try:
        chex.assert_shape(value, tuple(shape))
        chex.assert_type(value, kind)
    except AssertionError:
        meant = f"{tuple(shape)}" + (f" {axes}" if axes else "")
        found = np.result_type(value) if not hasattr(value, "dtype") else value.dtype
        raise UserError(
            f"{name}: expected {_WORDS[kind]} of shape {meant}, got {found} of shape {np.shape(value)}"
        ) from None


def check_params(params: EnvParams) -> None:
    """Refuses an environment whose arrays do not go together. Under ``jax.vmap`` their own axes count.

    Args:
      params: the environment.

    Raises:
      UserError: one line naming the first field that is not as declared (`aljax.params`).
    """
    rows, coordinates = np.shape(params.actions.latency), np.shape(params.drift)
    sizes = {"A": rows[-1] if rows else 0, "d": coordinates[-1] if coordinates else 0, "k": len(COMPONENTS)}
    if params.start_points is not None:
        sizes["N"] = np.shape(params.start_points)[0]
    parts: list[tuple[Any, str]] = [(params.actions, "actions."), (params, "")]
    if params.rules is not None:
        structure = params.rules.structure
        sizes |= {"R": len(structure.each), "K": len(structure.timed)}
        parts.append((params.rules, "rules."))
    for part, prefix in parts:
        for name, field in fields_of(type(part)).items():
            value = getattr(part, name)
            if value is None and field.optional:
                continue
            kind = {np.dtype(bool): bool, np.dtype(np.int32): int}.get(np.dtype(field.dtype), float)
            shape, axes = [sizes[axis] for axis in field.axes], f"[{', '.join(field.axes)}]" if field.axes else ""
            check_array(f"params.{prefix}{name}", value, shape, kind, axes)


def check_weights(name: str, variables: Any, like: Any) -> None:
    """Refuses weights of another network.

    Args:
      name: what they are, for the message.
      variables: the weights.
      like: weights, or their shapes, of the network meant.

    Raises:
      UserError: one line.
    """
    import chex

    try:
        chex.assert_trees_all_equal_shapes_and_dtypes(jax.tree.map(_shape_of, variables), jax.tree.map(_shape_of, like))
    except (AssertionError, ValueError):
        wanted, found = (_shapes(tree) for tree in (like, variables))
        raise UserError(f"{name}: expected weights of shapes {wanted}, got {found}") from None


def _shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype)


def _shapes(tree: Any) -> str:
    return ", ".join(str(np.shape(leaf)) for leaf in jax.tree.leaves(tree)) or "none"
