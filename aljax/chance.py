"""All that is random in a batch of episodes, drawn at once from one key.

The generator is Threefry-2x32-20 (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3"), which
`jax.random` uses too. It stands here written out because JAX's own form is a loop on CPUs, and takes one number from
each block instead of two; drawn that way, stepping takes twice as long (docs/explanation/performance.md).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.custom_batching
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.env import EnvParams
from aljax.keys import one_key
from aljax.target import Target, here


class Chance(NamedTuple):
    """All that is random in B episodes of T steps, whatever is played."""

    start: env.Start
    """Of every episode: ``[d, B]``, ``[B]`` and ``[A, B]``. The misreading is 0 where nothing can be misread."""
    luck: env.Luck
    """ξ of every step: u and n ``[T, B]``, ε ``[T, d, B]``, v ``[T, A, B]``; ε is 0 where no row of the table has
    noise, n and v None where no row has a spread, an uptime."""
    choice: jax.Array
    """Uniform, for policies that draw their action. ``[T, B]``"""


def draw_chance(
    key: jax.Array, params: EnvParams, *, episodes: int, steps: int, target: Target | None = None
) -> Chance:
    """Draws everything for a rollout.

    A step's numbers do not depend on how many steps follow it. Normal numbers that an environment would multiply by 0
    are not drawn (unless environments with and without noise are vmapped together, or the target always draws).

    Args:
      key: a PRNG key.
      params: the environment.
      episodes: B.
      steps: T.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      The chance of B episodes.
    """
    words, table, target = _words(key), params.actions, target or here()
    drawn = _always if target.draws_always else _if_needed
    d, rows = env.num_coordinates(params), env.num_actions(params)
    outages, spread = table.mean_uptime is not None, table.latency_spread is not None
    u, choice = _uniforms(words, 0, (steps, episodes))
    start, _ = _uniforms(words, 1, (d, episodes))
    points = params.start_points is not None
    further = _several(words, 3, (steps,), spread + rows * outages, (episodes,), target) if spread or outages else u
    first = _several(words, 4, (), points + rows * outages, (episodes,), target) if points or outages else start

    def epsilon(words: jax.Array) -> jax.Array:
        return standard_normal(_several(words, 2, (steps,), d, (episodes,), target))

    def misreading(words: jax.Array) -> jax.Array:
        return standard_normal(_uniforms(words, 1, (d, episodes))[1])

    return Chance(
        start=env.Start(
            start,
            drawn(jnp.any(params.misread > 0.0), misreading, words),
            point=first[0] if points else None,
            down=first[-rows:] if outages else None,
        ),
        luck=env.Luck(
            u,
            drawn(jnp.any(table.noise > 0.0), epsilon, words),
            n=standard_normal(further[:, 0]) if spread else None,
            v=further[:, -rows:] if outages else None,
        ),
        choice=choice,
    )


def _several(
    words: jax.Array, stream: int, before: tuple[int, ...], count: int, after: tuple[int, ...], target: Target
) -> jax.Array:
    """Uniform numbers of a stream, two from each block. ``[*before, count, *after]``"""
    blocks, axis = (*before, -(-count // 2), *after), len(before)
    if not target.draws_apart:
        pairs = jnp.stack(_uniforms(words, stream, blocks), axis=axis + 1)
        return jax.lax.slice_in_dim(pairs.reshape(*before, -1, *after), 0, count, axis=axis)
    places = [jax.lax.broadcasted_iota(jnp.uint32, (*before, count, *after), number) for number in range(len(blocks))]
    second, places[axis] = places[axis] % 2 == 1, places[axis] // 2
    counter = places[0]
    for size, place in zip(blocks[1:], places[1:], strict=True):
        counter = counter * np.uint32(size) + place
    return jnp.where(second, *numbers(words, stream, counter)[::-1])


def _always(needed: jax.Array, draw: Callable[[jax.Array], jax.Array], words: jax.Array) -> jax.Array:
    """`draw` of key words, needed or not."""
    del needed
    return draw(words)


def _if_needed(needed: jax.Array, draw: Callable[[jax.Array], jax.Array], words: jax.Array) -> jax.Array:
    """`draw` of key words, or zeros.

    Vmapped over environments of which some need the numbers, all get them, drawn once where they share the key:
    left to itself, JAX would draw them for each.
    """

    @jax.custom_batching.custom_vmap
    def drawn(needed: jax.Array, words: jax.Array) -> jax.Array:
        shape = jax.eval_shape(draw, words)
        return jax.lax.cond(needed, draw, lambda _: jnp.zeros(shape.shape, shape.dtype), words)

    @drawn.def_vmap
    def drawn_for_many(size: int, batched: list[bool], needed: jax.Array, words: jax.Array) -> tuple[jax.Array, bool]:
        del size
        differ, keys_differ = batched
        if not differ:
            return _if_needed(needed, jax.vmap(draw), words), True
        numbers = jax.vmap(draw)(words) if keys_differ else draw(words)[None]
        return jnp.where(needed.reshape((-1,) + (1,) * (numbers.ndim - 1)), numbers, 0.0), True

    return drawn(needed, words)


def uniform(key: jax.Array, shape: tuple[int, ...], low: float, high: float) -> jax.Array:
    """Uniform numbers on [low, high), one to a block: for few numbers, where compiling takes longer than drawing.

    Args:
      key: a PRNG key.
      shape: of the numbers.
      low: the least.
      high: above the largest.

    Returns:
      float32, of that shape.
    """
    return low + (high - low) * uniform_pairs(key, shape)[0]


def uniform_pairs(key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Two arrays of independent numbers on [0, 1).

    Args:
      key: a PRNG key.
      shape: of each array.

    Returns:
      float32, both of that shape.
    """
    return _uniforms(_words(key), 0, shape)


def _words(key: jax.Array) -> jax.Array:
    """The last two words of a key, which are all of Threefry's. ``[2]``"""
    return jax.random.key_data(one_key(key))[-2:]


def _uniforms(key: jax.Array, stream: int, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Two arrays of independent numbers on [0, 1), of 23 random bits each."""
    return numbers(key, stream, jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape))


def numbers(key: jax.Array, stream: int | jax.Array, counter: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The two independent numbers on [0, 1), of 23 random bits each, of blocks that are told by their counters.

    Args:
      key: two words, with any further axes. uint32 ``[2, ...]``
      stream: which of the key's streams.
      counter: of each block in its stream. uint32

    Returns:
      Two arrays float32, of the arguments' common shape.
    """
    found = threefry(key[0], key[1], counter, jnp.uint32(stream))
    one = np.uint32(0x3F800000)  # the bits of 1.0: with random ones behind, a number on [1, 2)
    first, second = (jax.lax.bitcast_convert_type((bits >> np.uint32(9)) | one, jnp.float32) - 1.0 for bits in found)
    return first, second


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(key0: jax.Array, key1: jax.Array, x0: jax.Array, x1: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32 of 20 rounds: two words of key and two of counter (uint32, broadcast) to two random words.

    Args:
      key0: first word of the key. uint32
      key1: second word. uint32
      x0: first word of the counter. uint32
      x1: second word. uint32

    Returns:
      Two arrays uint32, of the arguments' common shape.
    """
    schedule = (key0, key1, key0 ^ key1 ^ np.uint32(0x1BD11BDA))
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = ((x1 << np.uint32(rotation)) | (x1 >> np.uint32(32 - rotation))) ^ x0
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return x0, x1


def standard_normal(uniform: jax.Array) -> jax.Array:
    """Standard normal numbers from uniform ones, by the inverse distribution function.

    Args:
      uniform: on [0, 1).

    Returns:
      float32, of that shape.
    """
    lowest = np.nextafter(np.float32(-1), np.float32(0))
    return math.sqrt(2) * jax.lax.erf_inv(jnp.maximum(2 * uniform - 1, lowest))
