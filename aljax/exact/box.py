"""Where the states of a relaxed layer can stand: the box of all task vectors, and of all that may have been spent.

Where rows multiply, or their seconds are spread, the counts of a state do not say where it stands. What they say is
between which least and greatest values, coordinate by coordinate; costs are then taken at their least.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax.calls import mean_seconds
from aljax.constraint import beyond, out_of_tolerance, over, reaches
from aljax.env import EnvParams
from aljax.exact import lattice
from aljax.exact.layer import coordinate, row_of
from aljax.exact.plan import Plan, Segment


class Box(NamedTuple):
    """Where the states of one layer can stand."""

    low: jax.Array
    """Least task vector, coordinate by coordinate. ``[N, d, W]``"""
    high: jax.Array
    """Greatest, likewise. ``[N, d, W]``"""
    latency: jax.Array
    """Least seconds taken. ``[N, 1]``"""
    money: jax.Array
    """Least dollars spent. ``[N, 1]``"""
    most_latency: jax.Array
    """Most seconds, inf where there is no such thing. ``[N, 1]``"""
    most_money: jax.Array
    """Most dollars. ``[N, 1]``"""


class Tables(NamedTuple):
    """What all starts share. Kinds are the classes of `Plan`."""

    tails: jax.Array
    """All points, see `aljax.exact.lattice`. ``[n, N_H]``"""
    before: jax.Array
    """The number of each point before the last event of each kind. ``[n + 1, N_H]``"""
    after: jax.Array
    """The number of each point after one more event of each kind. ``[N_{H−1}, n + 1]``"""


def first_box(start: jax.Array) -> Box:
    """The box at time 0.

    Args:
      start: task vectors. ``[d, W]``

    Returns:
      The starts alone.
    """
    none = jnp.zeros((1, 1))
    return Box(start[None], start[None], none, none, none, none)


def boxes(
    params: EnvParams, plan: Plan, tables: Tables, box: Box, noise: jax.Array, segment: Segment
) -> tuple[Box, Box]:
    """The boxes of a segment's times, from the box of the time before.

    A box is the hull over what happened last. The first of all, at time 0, is given.

    Args:
      params: the environment.
      plan: relaxed.
      tables: that all starts share.
      box: of the time before the segment.
      noise: of the k-th event of each class. ``[n + 1, H, d, W]``
      segment: the times.

    Returns:
      The last box, and all of them stacked ``[times, N, ...]``.
    """
    table, size = params.actions, segment.size
    rows, succeeds = np.array([row for row, _ in plan.classes]), np.array([worked for _, worked in plan.classes])
    gain = jnp.where(succeeds[:, None], table.gain[rows], 1.0)
    shift = jnp.where(succeeds[:, None], table.shift[rows], 0.0) + params.drift
    spread = jnp.where(succeeds, table.noise[rows], 0.0)

    def step(box: Box, time: jax.Array) -> tuple[Box, Box]:
        often = lattice.happened(tables.tails[:, :size], time)
        spent = [_spent(params, plan, kind, time - 1) for kind in range(len(rows))]

        def widen(hull: Box, kind: Any) -> tuple[Box, None]:
            count, at, gain, shift, spread, spent, noise = kind
            came = count > 0
            draw = noise.at[jnp.maximum(0, count - 1)].get(mode="clip")
            was = jax.tree.map(lambda x: x.at[at].get(mode="clip"), box)
            added = shift[:, None] + spread * draw
            ends = gain[:, None] * was.low, gain[:, None] * was.high
            wide, flat = came[:, None, None], came[:, None]
            return Box(
                jnp.where(wide, jnp.minimum(hull.low, jnp.minimum(*ends) + added), hull.low),
                jnp.where(wide, jnp.maximum(hull.high, jnp.maximum(*ends) + added), hull.high),
                jnp.where(flat, jnp.minimum(hull.latency, was.latency + spent[0]), hull.latency),
                jnp.where(flat, jnp.minimum(hull.money, was.money + spent[1]), hull.money),
                jnp.where(flat, jnp.maximum(hull.most_latency, was.most_latency + spent[2]), hull.most_latency),
                jnp.where(flat, jnp.maximum(hull.most_money, was.most_money + spent[3]), hull.most_money),
            ), None

        none = jnp.zeros((size, 1))
        least, nowhere = jnp.full((size, 1), jnp.inf), jnp.full((size, *noise.shape[2:]), jnp.inf)
        kinds = (often, tables.before[:, :size], gain, shift, spread, jnp.stack(spent), noise)
        hull, _ = jax.lax.scan(widen, Box(nowhere, -nowhere, least, least, none, none), kinds)
        hull = jax.tree.map(lambda old, new: jnp.where(time == 0, old, new), box, hull)
        return hull, hull

    # Padding is never looked at by a point that counts.
    box = jax.tree.map(lambda x: jnp.pad(x, ((0, size - len(x)),) + ((0, 0),) * (x.ndim - 1), mode="edge"), box)
    times = jnp.arange(segment.first, segment.first + segment.times, dtype=jnp.int32)
    return jax.lax.scan(step, box, times)


def _spent(params: EnvParams, plan: Plan, kind: int, time: jax.Array) -> jax.Array:
    """Least seconds and dollars of an event of a class at a time, and the most. ``[4]``"""
    pairs = zip(plan.rows, plan.success, plan.failure, strict=True)
    events = [(row, failed) for row, *kinds in pairs for failed, own in enumerate(kinds) if own == kind]
    found = [prices(params, row, bool(failed), time) for row, failed in events or [(plan.rows[0], 1)]]
    least, most = jnp.stack([x[:2] for x in found]), jnp.stack([x[2:] for x in found])
    return jnp.concatenate([jnp.min(least, 0), jnp.max(most, 0)])


def prices(params: EnvParams, row: int, failed: bool, time: jax.Array) -> jax.Array:
    """What a call may come to.

    Args:
      params: the environment.
      row: of the table.
      failed: whether it fails.
      time: steps played before.

    Returns:
      The least seconds and dollars, and the most. ``[4]``
    """
    one = row_of(params.actions, row)
    money = one.failure_money if failed and one.failure_money is not None else one.money
    if one.money_growth is not None:
        money = money + one.money_growth * time
    least = most = mean_seconds(one, time, failed, 0)
    slowest = mean_seconds(one, time, False, 0)  # of what may time out
    if one.latency_spread is not None:
        spreads = one.latency_spread > 0
        slowest = jnp.where(spreads & (slowest > 0), jnp.inf, slowest)
        least, most = jnp.where(spreads, 0.0, least), jnp.where(spreads & (most > 0), jnp.inf, most)
    if one.timeout is not None:
        least, most = jnp.minimum(least, one.timeout), jnp.minimum(most, one.timeout)
        most = jnp.where(failed & (slowest > one.timeout), one.timeout, most)
    return jnp.stack([least, money, most, money])


def least_violation(params: EnvParams, box: Box) -> jax.Array:
    """The least g over the boxes of a layer. ``[N, 1, W]``

    Args:
      params: the environment.
      box: where the states of the layer may stand.

    Returns:
      In the units of `aljax.env.violation`. ``[N, 1, W]``
    """
    nearest = jnp.clip(0.0, box.low, box.high)
    out = [beyond(nearest[:, k][None], coordinate(params, k))[0] for k in range(nearest.shape[1])]
    over_latency = over(box.latency, params.latency_budget) / params.latency_budget
    over_money = over(box.money, params.money_budget) / params.money_budget
    return (sum(out[1:], out[0]) + over_latency + over_money)[:, None]


def greatest_violation(params: EnvParams, box: Box) -> jax.Array:
    """The greatest g over the boxes of a layer. ``[N, 1, W]``

    Args:
      params: the environment.
      box: where the states of the layer may stand.

    Returns:
      In the units of `aljax.env.violation`. ``[N, 1, W]``
    """
    ends = [(box.low[:, k][None], box.high[:, k][None]) for k in range(box.low.shape[1])]
    out = [jnp.maximum(*(beyond(x, coordinate(params, k))[0] for x in pair)) for k, pair in enumerate(ends)]
    over_latency = over(box.most_latency, params.latency_budget) / params.latency_budget
    over_money = over(box.most_money, params.money_budget) / params.money_budget
    return (sum(out[1:], out[0]) + over_latency + over_money)[:, None]


def unmet(params: EnvParams, row: int, box: Box) -> tuple[jax.Array, jax.Array]:
    """Whether what a row requires is out of tolerance.

    Args:
      params: the environment.
      row: of the table.
      box: where the states of the layer may stand.

    Returns:
      Whether it surely is, and whether it may be. Boolean ``[N, 1, W]`` each
    """
    assert params.actions.requires is not None
    low, high = (jnp.moveaxis(x, 1, 0) for x in (box.low, box.high))
    needed = params.actions.requires[row][:, None, None]
    surely = out_of_tolerance(jnp.clip(0.0, low, high), params)
    maybe = out_of_tolerance(low, params) | out_of_tolerance(high, params)
    return jnp.any(needed & surely, 0)[:, None], jnp.any(needed & maybe, 0)[:, None]


def stopped(params: EnvParams, box: Box) -> tuple[jax.Array, jax.Array]:
    """Whether a limit has ended the episode.

    Args:
      params: the environment.
      box: where the states of the layer may stand.

    Returns:
      Whether one surely has, and whether one may have. Boolean ``[N, 1, 1]`` each
    """
    surely = maybe = jnp.zeros_like(box.latency, bool)
    for limit, least, most in (
        (params.latency_limit, box.latency, box.most_latency),
        (params.money_limit, box.money, box.most_money),
    ):
        if limit is not None:
            surely |= reaches(least, limit)
            maybe |= jnp.isfinite(limit) & reaches(most, limit)
    return surely[:, :, None], maybe[:, :, None]
