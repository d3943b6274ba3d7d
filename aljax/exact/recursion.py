"""The exact optimum, by backward induction over how often everything has happened, for each start.

With V_t(x) the least expected cost from state x before step t (`aljax.exact.structure` says what the states are),
and W_t(x) that cost on arriving there,

    V_t(x) = min_a E[c(x, a)] + p_a(x) W_{t+1}(x after a failed) + (1 − p_a(x)) W_{t+1}(x after a succeeded)
    W_t(x) = 0 if g(x) = 0;  λ_violation g(x) if t = H;  V_t(x) else

where a row that ends the episode is charged its violation at once. The paper's Theorem 3.1 says that an optimal
policy exists; this finds it. A second pass over the choices gives its five components and its success.

What is a violation is decided by `aljax.env.over`, as in the simulator: its slack is wider than the rounding of sums,
so that the solver, which multiplies, and the simulator, which adds up, agree on bounds that are exactly met.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax.env import EnvParams, always_legal
from aljax.errors import UserError
from aljax.exact import lattice, layer
from aljax.exact.layer import DIVERGENCE, FAILURE, LATENCY, MONEY, SUCCESS, VIOLATION, Reached
from aljax.exact.structure import Plan, Segment, fits


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Solution:
    """What the optimal policy comes to from each of B starts; NaN where the environment is not the plan's."""

    value: jax.Array
    """Least expected total cost. ``[B]``"""
    components: jax.Array
    """Its five unweighted components, in the order of `aljax.env.COMPONENTS`. ``[5, B]``"""
    success: jax.Array
    """Probability of success. ``[B]``"""


def solve(params: EnvParams, start: jax.Array, plan: Plan) -> Solution:
    """Solves an environment from each start, `plan.width` of them at once.

    May be traced: jitted with a plan closed over, and vmapped over `params` with a plan made for all of them.

    Args:
      params: the environment.
      start: task vectors. ``[d, B]``
      plan: from `aljax.exact.structure.make_plan`.

    Returns:
      The solution.
    """
    value, parts = _in_chunks(_evaluate, params, start, plan)
    ok = fits(params, plan)
    value, parts = jnp.where(ok, value, jnp.nan), jnp.where(ok, parts, jnp.nan)
    return Solution(value, parts[:SUCCESS], parts[SUCCESS])


def choices(params: EnvParams, start: jax.Array, plan: Plan) -> jax.Array:
    """The optimal choices in all states, from each start.

    Args:
      params: as for `solve`.
      start: as for `solve`. ``[d, B]``
      plan: as for `solve`.

    Returns:
      Positions in `Plan.rows`, or their number R where the episode is over: the layers of decision times one after
      the other, each padded as `Plan.segments` says. int8 ``[M, L, B]``

    Raises:
      UserError: it does not fit in the plan's memory.
    """
    needed = plan.predicted_bytes(start.shape[1], tables=True)
    if needed > plan.memory_limit:
        raise UserError(
            f"the exact policy's tables for {start.shape[1]:,} starts need {needed / 2**30:.2g} GiB; "
            f"the limit is {plan.memory_limit / 2**30:.2g} GiB"
        )
    return _in_chunks(_tabulate, params, start, plan)


@functools.partial(jax.jit, static_argnames=("task", "plan"))
def _in_chunks(task: Callable[..., Any], params: EnvParams, start: jax.Array, plan: Plan) -> Any:
    """Does something for `plan.width` starts at a time; its results have the starts last."""
    d, starts = start.shape
    width = min(plan.width, starts)
    chunks = -(-starts // width)
    padded = jnp.pad(start, ((0, 0), (0, chunks * width - starts)), mode="edge")
    tails = lattice.points(plan.counts, plan.horizon)
    here = tails[:, : plan.points(plan.horizon - 1)]
    kinds = range(plan.counts + 1)
    after = jnp.stack([lattice.number(lattice.advance(here, kind), plan.horizon) for kind in kinds], 1)
    each = functools.partial(task, params, plan, tails, after)

    def joined(values: jax.Array) -> jax.Array:
        """``[chunks, ..., width]`` to ``[..., B]``."""
        values = jnp.moveaxis(values, 0, -2)
        return values.reshape(*values.shape[:-2], -1)[..., :starts]

    return jax.tree.map(joined, jax.lax.map(each, jnp.moveaxis(padded.reshape(d, chunks, width), 1, 0)))


def _evaluate(
    params: EnvParams, plan: Plan, tails: jax.Array, after: jax.Array, start: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Value ``[W]``, components and success ``[6, W]`` of the starts ``[d, W]``.

    `tails` are the points ``[n, N_H]``, `after` the number of each after one more event of each class
    ``[N_{H−1}, n + 1]``.
    """
    value, decided = _decide(params, plan, tails, after, start)
    return value, _follow(params, plan, tails, after, start, decided)


def _tabulate(params: EnvParams, plan: Plan, tails: jax.Array, after: jax.Array, start: jax.Array) -> jax.Array:
    """The policy table ``[M, L, W]`` of the starts ``[d, W]``."""
    decided = _decide(params, plan, tails, after, start)[1]
    return jnp.concatenate([choice.reshape(-1, *choice.shape[2:]) for choice in decided])


def _decide(
    params: EnvParams, plan: Plan, tails: jax.Array, after: jax.Array, start: jax.Array
) -> tuple[jax.Array, list[jax.Array]]:
    """The recursion: value ``[W]`` and, for each segment, the choices ``[times, N, L, W]`` of its layers."""

    def step_back(size: int, value: jax.Array, time: jax.Array) -> tuple[jax.Array, jax.Array]:
        reached = layer.reach(params, plan, tails[:, :size], start, time)
        best, choice = _best(params, plan, reached, after[:size], value)
        excess = layer.violation(params, reached)
        over = _is_over(params, time, excess)
        best = jnp.where(over, params.weights[VIOLATION] * excess, best)
        # Padding points may lead beyond this layer; what is left there never reaches a point that counts.
        return value.at[:size].set(best), jnp.where(over, len(plan.rows), choice).astype(jnp.int8)

    excess = layer.violation(params, layer.reach(params, plan, tails, start, jnp.int32(plan.horizon)))
    value = jnp.repeat(params.weights[VIOLATION] * excess, plan.last, axis=1)
    decided = []
    for segment in reversed(plan.segments()):
        value, choice = jax.lax.scan(functools.partial(step_back, segment.size), value, _times(segment), reverse=True)
        value = value[: plan.points(segment.first)]
        decided.insert(0, choice)
    return value[0, 0], decided


def _follow(
    params: EnvParams, plan: Plan, tails: jax.Array, after: jax.Array, start: jax.Array, decided: list[jax.Array]
) -> jax.Array:
    """The five components and the success ``[6, W]`` of choices that have been made."""

    def step_back(size: int, parts: list[jax.Array], played: Any) -> tuple[list[jax.Array], None]:
        time, choice = played
        reached = layer.reach(params, plan, tails[:, :size], start, time)
        onward = _parts(params, plan, reached, after[:size], choice, parts)
        closing = _closing_parts(layer.violation(params, reached))
        over = choice == len(plan.rows)
        settled = [jnp.where(over, *pair) for pair in zip(closing, onward, strict=True)]
        return [old.at[:size].set(new) for old, new in zip(parts, settled, strict=True)], None

    excess = layer.violation(params, layer.reach(params, plan, tails, start, jnp.int32(plan.horizon)))
    shape = (len(excess), plan.last, excess.shape[2])
    parts = [jnp.broadcast_to(part, shape) for part in _closing_parts(excess)]
    for segment, choice in reversed(list(zip(plan.segments(), decided, strict=True))):
        back = functools.partial(step_back, segment.size)
        parts, _ = jax.lax.scan(back, parts, (_times(segment), choice), reverse=True)
        parts = [part[: plan.points(segment.first)] for part in parts]
    return jnp.stack([part[0, 0] for part in parts])


def _times(segment: Segment) -> jax.Array:
    return jnp.arange(segment.first, segment.first + segment.times, dtype=jnp.int32)


def _is_over(params: EnvParams, time: jax.Array, excess: jax.Array) -> jax.Array:
    """On arrival the episode is over. Nothing is tested at time 0."""
    return ((excess == 0) | (time >= params.horizon)) & (time > 0)


def _closing_parts(excess: jax.Array) -> list[jax.Array]:
    """Components and success of ending with violations ``[N, 1, W]``, which are charged here."""
    none = jnp.zeros_like(excess)
    return [none, none, excess, none, none, (excess == 0).astype(excess.dtype)]


def _best(
    params: EnvParams, plan: Plan, reached: Reached, after: jax.Array, value: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """V of a layer and its optimal choices ``[N, L, W]`` from the W of the next."""
    table, weights, legal = params.actions, params.weights, always_legal(params)

    def lead(kind: int, entry: int) -> jax.Array:
        """W after an event, the same whatever failed before. ``[N, 1, W]``"""
        if kind == plan.counts:  # not counted: it leads to the point itself
            return value[: len(after), entry, None]
        return value[:, entry].at[after[:, kind]].get(mode="promise_in_bounds")[:, None]

    best = jnp.full((len(after), plan.last, value.shape[-1]), jnp.inf)
    choice = jnp.zeros(best.shape, jnp.int32)
    for i, p in enumerate(layer.failures(params, plan)):
        row, success, failure = plan.rows[i], plan.success[i], plan.failure[i]
        onward = weights[VIOLATION] * layer.closing(params, plan, i, reached) if success is None else lead(success, 0)
        if failure is not None:
            onward = p * lead(failure, layer.entry(plan, i)) + (1 - p) * onward
        now = weights[LATENCY] * table.latency[row] + weights[MONEY] * table.money[row] + weights[FAILURE] * p
        now = now + weights[DIVERGENCE] * layer.divergence(params, plan, i, p, reached)
        total = jnp.where(legal[row], now + onward, jnp.inf)
        choice = jnp.where(total < best, i, choice)
        best = jnp.minimum(best, total)
    return best, choice


def _parts(
    params: EnvParams, plan: Plan, reached: Reached, after: jax.Array, choice: jax.Array, parts: list[jax.Array]
) -> list[jax.Array]:
    """Components and success of a layer, six times ``[N, L, W]``, from those on arriving in the next."""
    rows, failures = np.array(plan.rows), layer.failures(params, plan)

    def chosen(values: Sequence[jax.Array] | jax.Array) -> jax.Array:
        """Of one value a row the chosen row's. (Looking it up by index takes longer than these few selections.)"""
        picked = jnp.broadcast_to(values[0], choice.shape)
        for i in range(1, len(rows)):
            picked = jnp.where(choice == i, values[i], picked)
        return picked

    def look_up(part: jax.Array, kinds: Sequence[int | None], entries: Sequence[int]) -> jax.Array:
        """What the chosen row's event leads to in the next layer, its ``[N', L]`` laid flat."""
        if plan.last == 1 and {*kinds} <= {plan.counts, None}:
            return part[: len(after)]
        lead = zip(kinds, entries, strict=True)
        index = chosen([after[:, kind or 0, None, None] * plan.last + entry for kind, entry in lead])
        flat, at = part.reshape(-1, part.shape[-1]), index.reshape(-1, index.shape[-1])
        return jnp.take_along_axis(flat, at, 0, mode="promise_in_bounds").reshape(choice.shape)

    p = chosen(failures)
    now = {
        LATENCY: chosen(params.actions.latency[rows]),
        MONEY: chosen(params.actions.money[rows]),
        FAILURE: p,
        DIVERGENCE: chosen([layer.divergence(params, plan, i, q, reached) for i, q in enumerate(failures)]),
    }
    entries = [layer.entry(plan, i) for i in range(len(rows))]
    found = []
    for k, part in enumerate(parts):
        worked, failed = look_up(part, plan.success, [0] * len(rows)), look_up(part, plan.failure, entries)
        for i in np.flatnonzero(plan.ends):
            worked = jnp.where(choice == i, _closing_parts(layer.closing(params, plan, int(i), reached))[k], worked)
        found.append(now.get(k, 0.0) + p * failed + (1 - p) * worked)
    return found
