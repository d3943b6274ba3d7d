"""The same work on one device, or a share of it on each of several."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

AXIS = "devices"


def spread(function: Callable[..., Any], devices: int, *shared: Any, seed: int = 0) -> tuple[Callable[..., Any], Any]:
    """A jitted function and its arguments: `function` of one key, on each of `devices` with a key of its own.

    The devices send each other nothing. On one device it is plain ``jax.jit``.

    Args:
      function: of a PRNG key and of what is shared, to a tree of arrays: one device's share of the work.
      devices: how many.
      shared: further arguments, the same on every device.
      seed: of the keys.

    Returns:
      The function, and what to call it with. Outputs have a leading axis of devices if there are several.
    """
    if devices == 1:
        return jax.jit(function), (jax.random.key(seed), *shared)
    mesh = jax.make_mesh((devices,), (AXIS,), devices=jax.devices()[:devices], axis_types=(jax.sharding.AxisType.Auto,))

    def local(data: jax.Array, *shared: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[None], function(jax.random.wrap_key_data(data[0]), *shared))

    rows, same = PartitionSpec(AXIS), PartitionSpec()
    keys = np.asarray(jax.random.key_data(jax.random.split(jax.random.key(seed), devices)))
    specs = (rows, *(same for _ in shared))
    placed = jax.device_put(keys, NamedSharding(mesh, rows)), *jax.device_put(shared, NamedSharding(mesh, same))
    return jax.jit(jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=rows, check_vma=False)), placed


def rows(function: Callable[..., Any], devices: int, first: Any, shared: int) -> tuple[Callable[..., Any], Any]:
    """`function` jitted, the leading axis of its first argument shared out over devices; and that argument placed.

    Args:
      function: of a tree with a leading axis and `shared` further arguments; its outputs have that axis too.
      devices: how many; 1 is plain ``jax.jit``.
      first: the tree.
      shared: how many arguments follow that are the same on every device.
    """
    if devices == 1:
        return jax.jit(function), first
    mesh = jax.make_mesh((devices,), (AXIS,), devices=jax.devices()[:devices], axis_types=(jax.sharding.AxisType.Auto,))
    split = PartitionSpec(AXIS)
    specs = (split, *(PartitionSpec() for _ in range(shared)))
    placed = jax.device_put(first, NamedSharding(mesh, split))
    return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)), placed


def counts(wanted: int) -> list[int]:
    """Numbers of devices to measure on: one, and as many as are wanted and there."""
    there = min(wanted, len(jax.devices()))
    return [1] if there == 1 else [1, there]
