"""Seeds: a key for each, and the one engine that runs them all side by side, in pieces, on all devices."""

import functools
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from aljax.host.programs import Program
from aljax.options import Protocol
from aljax.target import Target, target_of

TRAINING, EVALUATION, SELECTION, RELAXATION, COLLECTION, LEARNING, ENVIRONMENTS = range(7)
"""Streams of keys, each independent of the others."""

State = TypeVar("State")


def seed_keys(protocol: Protocol, stream: int) -> jax.Array:
    """A key a seed, ``[S]``, of one stream; a seed's key does not depend on how many there are.

    Args:
      protocol: how many seeds, from which number.
      stream: what the keys draw: `TRAINING`, `EVALUATION`, ...

    Returns:
      PRNG keys ``[S]``.
    """
    return keys_of(protocol.seed, stream, seed_numbers(protocol))


def seed_numbers(protocol: Protocol) -> np.ndarray:
    """The numbers of a protocol's seeds.

    Args:
      protocol: how many seeds, from which number.

    Returns:
      Integers ``[S]``.
    """
    return np.arange(protocol.first_seed, protocol.first_seed + protocol.seeds, dtype=np.int32)


@jax.jit  # one small program instead of seven
def keys_of(seed: int | jax.Array, stream: int | jax.Array, numbers: np.ndarray | jax.Array) -> jax.Array:
    """See `seed_keys`.

    Args:
      seed: of the protocol.
      stream: what the keys draw.
      numbers: of seeds, as `seed_numbers` gives them. Integer ``[S]``

    Returns:
      PRNG keys ``[S]``, on the devices where the numbers are.
    """
    root = jax.random.fold_in(jax.random.key(seed), stream)
    return jax.vmap(functools.partial(jax.random.fold_in, root))(numbers)


def run_in_pieces(
    start: Callable[[], State],
    piece: Callable[[State, np.int32, np.int32], State],
    updates: int,
    pieces: int,
    on_progress: Callable[[int, State], None] | None = None,
) -> tuple[State, Mapping[str, float]]:
    """Runs compiled updates a piece at a time, so that the host can show how far they are, and stop between them.

    Nothing calls back from inside the compiled programs.

    Args:
      start: gives the state before the first update.
      piece: runs the updates from one number up to another, and may take the state's memory for its result.
      updates: how many in all.
      pieces: into how many they are cut, at most.
      on_progress: told the updates done and the state after each piece.

    Returns:
      The state after the last update, complete, and seconds: ``compile`` (both programs, and the start), ``train``.
    """
    begun = time.perf_counter()
    state = piece(start(), np.int32(0), np.int32(0))  # no update: compiles
    compiled_in = time.perf_counter() - begun
    begun = time.perf_counter()
    for low, high in itertools.pairwise(np.unique(np.linspace(0, updates, min(pieces, updates) + 1).astype(np.int32))):
        state = piece(state, low, high)
        if on_progress is not None:
            on_progress(int(high), state)
    state = jax.block_until_ready(state)
    return state, {"compile": compiled_in, "train": time.perf_counter() - begun}


def places(seeds: int, devices: int) -> np.ndarray:
    """Which seed each place on the devices takes, as many on each: the last again where places are left.

    Args:
      seeds: S, how many.
      devices: over how many they are spread.

    Returns:
      Numbers of seeds; as many as the next multiple of `devices`. Integer ``[P]``
    """
    return np.minimum(np.arange(-(-seeds // devices) * devices), seeds - 1)


def mesh_of(devices: int) -> Mesh:
    """So many of this process's devices, in a row.

    Args:
      devices: how many, at most as many as there are.

    Returns:
      A mesh of one axis, ``seeds``.
    """
    found = jax.local_devices()[:devices]
    return jax.make_mesh((devices,), ("seeds",), devices=found, axis_types=(jax.sharding.AxisType.Auto,))


def target_on(mesh: Mesh) -> Target:
    """What programs for these devices are compiled for.

    Args:
      mesh: the devices.

    Returns:
      The target.
    """
    return target_of(mesh.devices.flat[0].platform)


def over_seeds(mesh: Mesh) -> NamedSharding:
    """How an array with a leading axis of seeds lies on devices.

    Args:
      mesh: the devices, of `mesh_of`.

    Returns:
      The sharding.
    """
    return NamedSharding(mesh, P("seeds"))


def spread(
    function: Callable[..., Any], mesh: Mesh, shared: int, key: object, *, donate: bool = False, once: bool = False
) -> Program:
    """`function` of one seed and `shared` further arguments, for all seeds of a leading axis, spread over devices.

    A device takes its seeds one after the other or side by side, as its target likes it.

    Args:
      function: of one seed and what is shared.
      mesh: the devices.
      shared: how many arguments all seeds share.
      key: tells the function from others; see `Program`.
      donate: give the first argument's memory to the results.
      once: see `aljax.target.Target.compiler_options`.

    Returns:
      The program: its first argument and its results have a leading axis of seeds, a multiple of the
      devices.
    """
    target = target_on(mesh)

    def local(seeds: Any, *given: Any) -> Any:
        if target.seeds_in_turn:
            return jax.lax.map(lambda seed: function(seed, *given), seeds)
        return jax.vmap(lambda seed: function(seed, *given))(seeds)

    specs = (P("seeds"), *(P() for _ in range(shared)))
    # Seeds have nothing to say to each other, so there is nothing to check about what varies over the mesh.
    spread = jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=P("seeds"), check_vma=False)
    shardings = [NamedSharding(mesh, spec) for spec in specs]
    options = target.compiler_options(once=once)
    return Program(spread, (key, target), shardings=shardings, donate=donate, compiler_options=options)


def not_finite(tree: Any) -> list[int]:
    """Which seeds of a tree's leading axis have a number in it that is infinite or none: their training diverged.

    Args:
      tree: of arrays ``[S, ...]``.

    Returns:
      Their numbers, from 0.
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    finite = np.all([np.isfinite(leaf).reshape(leaf.shape[0], -1).all(1) for leaf in leaves], axis=0)
    return [int(seed) for seed in np.flatnonzero(~finite)]


def fetch(tree: Any, seeds: int) -> Any:
    """The first so many seeds as NumPy arrays.

    Args:
      tree: of arrays with a leading axis of at least so many seeds.
      seeds: S, how many to keep.

    Returns:
      The same tree, arrays ``[S, ...]`` on the host.
    """
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:seeds], tree)
