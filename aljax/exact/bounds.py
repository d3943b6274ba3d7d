"""A lower bound on what any policy can cost, where the exact solver does not apply: an information relaxation.

Whoever decides knows more here than any policy could, and so does at least as well (Brown, Smith and Sun, 2010):

1. The misreading is known from the start.
2. The noise of the whole episode is known from the start. Noise is attached to how often an event has happened
   rather than to when: the k-th success of a row meets its k-th draw. All draws being independent of what came
   before, every policy costs on average what it costs otherwise.
3. Where rows multiply, it matters in which order things happened. A state is how often everything has happened; the
   task is somewhere in the *box* of all task vectors that some order leads to, coordinate by coordinate, and
   whoever decides may choose a new point of it for every cost. So with what was spent, above its least amount.

Whether an action fails stays unknown until it is played. With the states of `aljax.exact.structure`, the
recursion of `aljax.exact.recursion` over them, every cost at its least over the box, gives a bound for each start
and each draw of noise; its mean over both bounds the expected cost of every policy. The divergence of a success, of
which foreknowledge of the noise would take advantage, is charged at its expectation instead, which for policies
without it is the same.

Without misreading, noise, gain and binding budgets nothing is relaxed, and the bound is the exact value.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax.env import EnvParams, always_legal, over
from aljax.exact import lattice, layer
from aljax.exact.layer import DIVERGENCE, FAILURE, LATENCY, MONEY, VIOLATION
from aljax.exact.structure import Plan, Segment
from aljax.keys import one_key


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


class _Tables(NamedTuple):
    """What all starts share. Kinds are the classes of `Plan`."""

    tails: jax.Array
    """All points, see `aljax.exact.lattice`. ``[n, N_H]``"""
    before: jax.Array
    """The number of each point before the last event of each kind. ``[n + 1, N_H]``"""
    after: jax.Array
    """The number of each point after one more event of each kind. ``[n + 1, N_{H−1}]``"""


def lower_bounds(
    key: jax.Array,
    params: EnvParams,
    start: Any,
    plan: Plan,
    on_progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """A draw of the lower bound for each start; the mean over starts drawn as episodes start bounds J(π) from below.

    Args:
      key: for the noise, of which each start meets a draw of its own.
      params: the environment, concrete and one.
      start: task vectors. ``[d, B]``
      plan: from `aljax.exact.structure.make_plan` with ``relaxed=True``.
      on_progress: called from the host with the number of starts done.

    Returns:
      The bounds, float64. ``[B]``
    """
    if not plan.relaxed:
        raise ValueError("lower_bounds needs a plan made with relaxed=True")
    key, start = one_key(key), np.asarray(start, np.float32)
    starts = start.shape[1]
    width = min(plan.width, starts)
    expected = jnp.asarray(_expected_divergence(params, plan), jnp.float32)
    tables, found = _tables(plan), []
    for number in range(-(-starts // width)):
        chunk = start[:, number * width : (number + 1) * width]
        padded = jnp.asarray(np.pad(chunk, ((0, 0), (0, width - chunk.shape[1])), mode="edge"))
        bound = _bound(jax.random.fold_in(key, number), params, plan, tables, expected, padded)
        found.append(np.asarray(bound, np.float64)[: chunk.shape[1]])
        if on_progress is not None:
            on_progress(min(starts, (number + 1) * width))
    return np.concatenate(found)


@functools.partial(jax.jit, static_argnames="plan")
def _tables(plan: Plan) -> _Tables:
    """See `_Tables`."""
    kinds = range(plan.counts + 1)
    tails = lattice.points(plan.counts, plan.horizon)
    here = tails[:, : plan.points(plan.horizon - 1)]
    before = [lattice.number(lattice.retreat(tails, kind), plan.horizon) for kind in kinds]
    after = [lattice.number(lattice.advance(here, kind), plan.horizon) for kind in kinds]
    return _Tables(tails, jnp.stack(before), jnp.stack(after))


@functools.partial(jax.jit, static_argnames="plan")
def _bound(
    key: jax.Array, params: EnvParams, plan: Plan, tables: _Tables, expected: jax.Array, start: jax.Array
) -> jax.Array:
    """The bound ``[W]`` from the starts ``[d, W]``: boxes forwards, values backwards."""
    shape = (plan.counts + 1, plan.horizon, *start.shape)
    noise = jax.random.normal(key, (math.prod(shape),)).reshape(shape)
    start = start.astype(noise.dtype)
    segments = [*plan.segments(), Segment(plan.horizon, 1, plan.points(plan.horizon), plan.decisions)]
    boxes, box = [], Box(start[None], start[None], jnp.zeros((1, 1)), jnp.zeros((1, 1)))
    for segment in segments:
        box, inside = _boxes(params, plan, tables, box, noise, segment)
        boxes.append(inside)

    def step_back(size: int, value: jax.Array, at: tuple[jax.Array, Box]) -> tuple[jax.Array, None]:
        time, box = at
        excess = least_violation(params, box)
        best = _best(params, plan, box, tables.after[:, :size], expected, value)
        ended = ((excess == 0) | (time >= params.horizon)) & (time > 0)
        # Padding points may lead beyond this layer; what is left there never reaches a point that counts.
        return value.at[:size].set(jnp.where(ended, params.weights[VIOLATION] * excess, best)), None

    value = jnp.repeat(params.weights[VIOLATION] * least_violation(params, box), plan.last, axis=1)
    for segment, inside in reversed(list(zip(segments[:-1], boxes[:-1], strict=True))):
        times = jnp.arange(segment.first, segment.first + segment.times, dtype=jnp.int32)
        value, _ = jax.lax.scan(functools.partial(step_back, segment.size), value, (times, inside), reverse=True)
        value = value[: plan.points(segment.first)]
    return value[0, 0]


def _boxes(
    params: EnvParams, plan: Plan, tables: _Tables, box: Box, noise: jax.Array, segment: Segment
) -> tuple[Box, Box]:
    """The boxes of a segment's times, and all of them stacked ``[times, N, ...]``, from the box of the time before.

    A box is the hull over what happened last. The first of all, at time 0, is given.
    """
    table, size = params.actions, segment.size
    rows, succeeds = np.array([row for row, _ in plan.classes]), np.array([worked for _, worked in plan.classes])
    gain = jnp.where(succeeds[:, None], table.gain[rows], 1.0)
    shift = jnp.where(succeeds[:, None], table.shift[rows], 0.0) + params.drift
    spread = jnp.where(succeeds, table.noise[rows], 0.0)
    members = [_rows_of(plan, kind) for kind in range(len(rows))]
    latency = jnp.stack([jnp.min(table.latency[member]) for member in members])
    money = jnp.stack([jnp.min(table.money[member]) for member in members])

    def step(box: Box, time: jax.Array) -> tuple[Box, Box]:
        often = lattice.happened(tables.tails[:, :size], time)

        def widen(hull: Box, kind: Any) -> tuple[Box, None]:
            count, at, gain, shift, spread, latency, money, noise = kind
            came = count > 0
            draw = noise.at[jnp.maximum(0, count - 1)].get(mode="clip")
            added = shift[:, None] + spread * draw
            ends = gain[:, None] * box.low.at[at].get(mode="clip"), gain[:, None] * box.high.at[at].get(mode="clip")
            spent = box.latency.at[at].get(mode="clip") + latency, box.money.at[at].get(mode="clip") + money
            wide, flat = came[:, None, None], came[:, None]
            return Box(
                jnp.where(wide, jnp.minimum(hull.low, jnp.minimum(*ends) + added), hull.low),
                jnp.where(wide, jnp.maximum(hull.high, jnp.maximum(*ends) + added), hull.high),
                jnp.where(flat, jnp.minimum(hull.latency, spent[0]), hull.latency),
                jnp.where(flat, jnp.minimum(hull.money, spent[1]), hull.money),
            ), None

        least = jnp.full((size, 1), jnp.inf)
        nowhere = jnp.full((size, *noise.shape[2:]), jnp.inf)
        kinds = (often, tables.before[:, :size], gain, shift, spread, latency, money, noise)
        hull, _ = jax.lax.scan(widen, Box(nowhere, -nowhere, least, least), kinds)
        hull = jax.tree.map(lambda old, new: jnp.where(time == 0, old, new), box, hull)
        return hull, hull

    # Padding is never looked at by a point that counts.
    box = jax.tree.map(lambda x: jnp.pad(x, ((0, size - len(x)),) + ((0, 0),) * (x.ndim - 1), mode="edge"), box)
    times = jnp.arange(segment.first, segment.first + segment.times, dtype=jnp.int32)
    return jax.lax.scan(step, box, times)


def _rows_of(plan: Plan, kind: int) -> np.ndarray:
    """The rows with an event of a class."""
    pairs = zip(plan.rows, plan.success, plan.failure, strict=True)
    return np.array([row for row, *kinds in pairs if kind in kinds] or plan.rows)


def _best(
    params: EnvParams, plan: Plan, box: Box, after: jax.Array, expected: jax.Array, value: jax.Array
) -> jax.Array:
    """The least bound over rows ``[N, L, W]`` in the states of a layer, from those on arriving in the next."""
    table, weights, legal = params.actions, params.weights, always_legal(params)
    best = jnp.full((after.shape[1], plan.last, value.shape[-1]), jnp.inf)

    def lead(kind: int, entry: int) -> jax.Array:
        return value[:, entry].at[after[kind]].get(mode="promise_in_bounds")[:, None]

    for i, p in enumerate(layer.failures(params, plan)):
        row, success, failure = plan.rows[i], plan.success[i], plan.failure[i]
        onward = weights[VIOLATION] * _closing(params, plan, i, box) if success is None else lead(success, 0)
        if failure is not None:
            onward = p * lead(failure, layer.entry(plan, i)) + (1 - p) * onward
        now = weights[LATENCY] * table.latency[row] + weights[MONEY] * table.money[row] + weights[FAILURE] * p
        off = p * _least_surprise(params, plan, i, box) + (1 - p) * expected[i]
        best = jnp.minimum(best, jnp.where(legal[row], now + weights[DIVERGENCE] * off + onward, jnp.inf))
    return best


def least_violation(params: EnvParams, box: Box) -> jax.Array:
    """The least g over the boxes of a layer. ``[N, 1, W]``

    Args:
      params: the environment.
      box: where the states of the layer may stand.

    Returns:
      In the units of `aljax.env.violation`. ``[N, 1, W]``
    """
    size = _least_size(box.low, box.high)
    beyond = [over(size[:, i], params.tolerance[i]) for i in range(size.shape[1])]
    over_latency = over(box.latency, params.latency_budget) / params.latency_budget
    over_money = over(box.money, params.money_budget) / params.money_budget
    return (sum(beyond) + over_latency + over_money)[:, None]


def _closing(params: EnvParams, plan: Plan, i: int, box: Box) -> jax.Array:
    """The least violation with which the i-th row, if it succeeds, ends the episode. ``[N, 1, W]``"""
    row = plan.rows[i]
    spent = box.latency + params.actions.latency[row], box.money + params.actions.money[row]
    low, high = jax.tree.map(jnp.zeros_like, (box.low, box.high)) if plan.resolves[i] else (box.low, box.high)
    return least_violation(params, Box(low, high, *spent))


def _least_surprise(params: EnvParams, plan: Plan, i: int, box: Box) -> jax.Array:
    """The least ‖ẑ' − z'‖ over the boxes when the i-th row fails. Scalar or ``[N, 1, W]``"""
    row, drift = plan.rows[i], params.drift
    if plan.ends[i] and not plan.resolves[i]:
        return jnp.linalg.norm(drift)
    if plan.resolves[i]:  # planned 0, realized z + drift
        gain, shift = jnp.ones_like(drift), drift
    else:
        gain, shift = params.actions.gain[row] - 1, params.actions.shift[row] - drift
    ends = gain[:, None] * box.low, gain[:, None] * box.high
    size = _least_size(jnp.minimum(*ends) + shift[:, None], jnp.maximum(*ends) + shift[:, None])
    return jnp.sqrt(sum(size[:, k] ** 2 for k in range(len(drift))))[:, None]


def _least_size(low: jax.Array, high: jax.Array) -> jax.Array:
    """The least ``|x|`` over intervals."""
    return jnp.maximum(0.0, jnp.maximum(low, -high))


def _expected_divergence(params: EnvParams, plan: Plan) -> Sequence[float]:
    """E‖noise ε + drift‖ of each row's success: the mean of a noncentral chi distribution. ``[R]``"""
    from scipy import special  # where it is used: it takes long to load

    drift, d = float(np.linalg.norm(np.asarray(params.drift, np.float64))), plan.coordinates
    found = []
    for i, row in enumerate(plan.rows):
        noise = float(params.actions.noise[row])
        if plan.ends[i]:
            found.append(0.0)
        elif noise <= 1e-3 * drift or noise == 0:
            found.append(drift)  # by Jensen's inequality never too much
        else:
            root = math.sqrt(2) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))
            found.append(noise * root * float(special.hyp1f1(-0.5, d / 2, -((drift / noise) ** 2) / 2)))
    return found
