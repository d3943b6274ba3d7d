"""PRNG keys: a function that takes one is not given several without a word, nor the other way round."""

import jax
import jax.numpy as jnp

from aljax.errors import UserError


def one_key(key: jax.Array) -> jax.Array:
    """A key as it is: a typed one, or the raw words of one.

    Args:
      key: a PRNG key, or what was given for one.

    Returns:
      The key.

    Raises:
      UserError: it is an array of keys, or none at all.
    """
    shape = _shape(key)
    if shape != ():
        raise UserError(f"key: expected one PRNG key, got keys of shape {list(shape)}; jax.vmap takes one at a time")
    return key


def key_a_seed(keys: jax.Array) -> jax.Array:
    """Keys ``[S]`` as they are, typed or raw.

    Args:
      keys: PRNG keys ``[S]``, or what was given for them.

    Returns:
      The keys.

    Raises:
      UserError: they are not keys along one axis.
    """
    shape = _shape(keys)
    if len(shape) != 1:
        raise UserError(f"keys: expected PRNG keys [S], one a seed, got keys of shape {list(shape)}")
    return keys


def _shape(keys: jax.Array) -> tuple[int, ...]:
    """The shape of an array of keys, without the axis of their words if they are raw."""
    dtype = getattr(keys, "dtype", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return keys.shape
    try:
        return jax.eval_shape(jax.random.wrap_key_data, keys).shape
    except (TypeError, ValueError):
        got = type(keys).__name__ if dtype is None else f"an array {dtype} of shape {list(keys.shape)}"
        raise UserError(f"key: expected a PRNG key as jax.random.key makes it, got {got}") from None
