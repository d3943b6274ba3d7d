"""A lower bound on what any policy can cost, where the exact solver does not apply: an information relaxation.

Whoever decides knows more here than any policy could, and so does at least as well (Brown, Smith and Sun, 2010):

1. The misreading is known from the start.
2. The noise of the whole episode is known from the start. Noise is attached to how often an event has happened
   rather than to when: the k-th success of a row meets its k-th draw. All draws being independent of what came
   before, every policy costs on average what it costs otherwise.
3. Which rows are down is known at every step (not when they will be).
4. Where rows multiply, it matters in which order things happened. A state is how often everything has happened; the
   task is somewhere in the *box* of all task vectors that some order leads to, coordinate by coordinate
   (`aljax.exact.box`), and whoever decides may choose a new point of it for every cost. So with what was spent: what a
   limit may have ended, whether a token waits or a requirement is met, where it does not follow, and whether a cooldown
   in seconds is running, is theirs to say; and such a cooldown is never broken.

Whether a call fails by chance stays unknown until it is played. With the states of `aljax.exact.structure`, the
recursion of `aljax.exact.recursion` over them, every cost at its least over the box, gives a bound for each start
and each draw of noise; its mean over both bounds the expected cost of every policy. The divergence of a success, of
which foreknowledge of the noise would take advantage, is charged at its expectation instead, which for policies
without it is the same.

Without misreading, noise, gain, buckets, cooldowns in seconds and binding budgets nothing is relaxed, and the bound is
the exact value: where outages are all that is hidden, that of the best policy that is told them.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax.calls import expected_call
from aljax.env import EnvParams
from aljax.exact import lattice, layer, outages, ruling
from aljax.exact.box import (
    Box,
    Tables,
    boxes,
    first_box,
    greatest_violation,
    least_violation,
    prices,
    stopped,
    unmet,
)
from aljax.exact.layer import DIVERGENCE, FAILURE, LATENCY, MONEY, VIOLATION
from aljax.exact.plan import Plan, Segment
from aljax.keys import one_key
from aljax.rules.playing import Kept


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
def _tables(plan: Plan) -> Tables:
    """See `aljax.exact.box.Tables`."""
    kinds = range(plan.counts + 1)
    tails = lattice.points(plan.counts, plan.horizon)
    here = tails[:, : plan.points(plan.horizon - 1)]
    before = [lattice.number(lattice.retreat(tails, kind), plan.horizon) for kind in kinds]
    after = [lattice.number(lattice.advance(here, kind), plan.horizon) for kind in kinds]
    return Tables(tails, jnp.stack(before), jnp.stack(after, 1))


@functools.partial(jax.jit, static_argnames="plan")
def _bound(
    key: jax.Array, params: EnvParams, plan: Plan, tables: Tables, expected: jax.Array, start: jax.Array
) -> jax.Array:
    """The bound ``[W]`` from the starts ``[d, W]``: boxes forwards, values backwards."""
    shape = (plan.counts + 1, plan.horizon, *start.shape)
    noise = jax.random.normal(key, (math.prod(shape),)).reshape(shape)
    segments = [*plan.segments(), Segment(plan.horizon, 1, plan.points(plan.horizon), plan.decisions)]
    inside, box = [], first_box(start.astype(noise.dtype))
    for segment in segments:
        box, found = boxes(params, plan, tables, box, noise, segment)
        inside.append(found)

    def step_back(size: int, value: jax.Array, at: tuple[jax.Array, Box]) -> tuple[jax.Array, None]:
        time, box = at
        here = _Layer(params, plan, box, tables.after[:size], lattice.happened(tables.tails[:, :size], time), time)
        excess, charged = _unkept(params, ruling.standing(params, plan), least_violation(params, box))
        ending, onward = params.weights[VIOLATION] * charged, _best(here, expected, value)
        surely, maybe = stopped(params, box)
        met = params.auto_end & (excess == 0)
        if params.rules is not None:  # to end is not free of charge where soft rules are unkept
            maybe |= met
            met &= (greatest_violation(params, box) == 0) & (not plan.past.overrun)
        surely |= met | (time >= params.horizon)
        found = jnp.where(surely, ending, jnp.where(maybe, jnp.minimum(ending, onward), onward))
        # Padding points may lead beyond this layer; what is left there never reaches a point that counts.
        return value.at[:size].set(jnp.where(time > 0, found, onward)), None

    _, charged = _unkept(params, ruling.standing(params, plan), least_violation(params, box))
    value = jnp.broadcast_to(params.weights[VIOLATION] * charged, (len(charged), plan.past.size, charged.shape[-1]))
    for segment, found in reversed(list(zip(segments[:-1], inside[:-1], strict=True))):
        times = jnp.arange(segment.first, segment.first + segment.times, dtype=jnp.int32)
        value, _ = jax.lax.scan(functools.partial(step_back, segment.size), value, (times, found), reverse=True)
        value = value[: plan.points(segment.first)]
    return jnp.tensordot(outages.at_start(params, plan), value[0, : plan.past.downs], 1, precision="highest")


class _Layer(NamedTuple):
    """The states of one layer."""

    params: EnvParams
    plan: Plan
    box: Box
    after: jax.Array
    """The number of each point after one more event of each kind. ``[N, n + 1]``"""
    often: jax.Array
    """How often each class of events has happened. Integer ``[n + 1, N]``"""
    time: jax.Array
    """Steps played before."""


def _best(at: _Layer, expected: jax.Array, value: jax.Array) -> jax.Array:
    """The least bound over rows ``[N, L, W]`` in the states of a layer, from those on arriving in the next."""
    best = jnp.full((len(at.after), at.plan.past.size, value.shape[-1]), jnp.inf)
    legal = layer.legal(at.params, at.plan, at.often, at.time)
    for i, row in enumerate(at.plan.rows):
        p, maybe, down = layer.chance(at.params, at.plan, i, at.often), jnp.bool_(False), at.plan.past.down(row)
        if at.plan.metered[i] and at.params.actions.rate_limit is not None:
            maybe |= jnp.isfinite(at.params.actions.rate_limit[row])
        if down is not None:
            p = jnp.where(down[:, None], 1.0, p)
        if at.plan.needs[i]:
            surely, may_be = unmet(at.params, row, at.box)
            p, maybe = jnp.where(surely, 1.0, p), maybe | may_be
        total = _played(at, i, p, expected[i], value)
        if at.plan.needs[i] or at.plan.metered[i]:  # whoever decides may choose that such a call fails
            total = jnp.where(maybe, jnp.minimum(total, _played(at, i, jnp.ones((1, 1)), expected[i], value)), total)
        best = jnp.minimum(best, jnp.where(legal[i], total, jnp.inf))
    return best


def _played(at: _Layer, i: int, failure: jax.Array, expected: jax.Array, value: jax.Array) -> jax.Array:
    """The bound if the i-th row is played, which fails with a probability before any time-out. ``[N, L, W]``"""
    params, plan, row, weights = at.params, at.plan, at.plan.rows[i], at.params.weights
    p, latency, money = expected_call(layer.row_of(params.actions, row), at.time, failure)
    flat = value.reshape(-1, value.shape[-1])
    moves = outages.after_call(params, plan, row, at.time) if plan.past.unreliable else None

    def lead(failed: bool) -> jax.Array:
        return flat.at[layer.onward(plan, i, failed, at.after, at.time)].get(mode="promise_in_bounds")

    def moved(value: jax.Array, by: jax.Array) -> jax.Array:
        """What is down after the call, by what was down before: the last digit of the axis L."""
        apart = value.reshape(len(value), -1, plan.past.downs, value.shape[-1])
        return jnp.einsum("uv,nlvw->nluw", by, apart, precision="highest").reshape(value.shape)

    if plan.success[i] is None:
        onward = weights[VIOLATION] * _closing(at, i)
    else:
        onward = lead(False) if moves is None else moved(lead(False), moves[0])
    if plan.failure[i] is not None:
        failed = lead(True)
        if moves is None:
            onward = p * failed + (1 - p) * onward
        else:
            onward = failure * moved(failed, moves[1]) + (p - failure) * moved(failed, moves[2]) + (1 - p) * onward
    now = weights[LATENCY] * latency + weights[MONEY] * money + weights[FAILURE] * p
    off = p * _least_surprise(params, plan, i, at.box) + (1 - p) * expected
    return now + weights[DIVERGENCE] * off + onward


def _closing(at: _Layer, i: int) -> jax.Array:
    """The least violation with which the i-th row, if it succeeds, ends the episode. ``[N, 1, W]`` or ``[N, L, W]``"""
    box, spent = at.box, prices(at.params, at.plan.rows[i], False, at.time)
    if at.plan.resolves[i]:
        box = box._replace(low=jnp.zeros_like(box.low), high=jnp.zeros_like(box.high))
    kept = ruling.standing(at.params, at.plan)
    kept = None if kept is None else ruling.worked(at.params, kept, at.plan.rows[i])
    box = box._replace(latency=box.latency + spent[0], money=box.money + spent[1])
    return _unkept(at.params, kept, least_violation(at.params, box))[1]


def _unkept(params: EnvParams, kept: Kept | None, excess: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A violation with hard rules that are owed; and with soft ones that are not kept, too, as it is charged."""
    if kept is None:
        return excess, excess
    owed, soft = ruling.unkept(params, kept)
    return excess + owed, excess + owed + soft


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
