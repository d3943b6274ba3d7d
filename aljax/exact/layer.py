"""What holds in the states of one layer of the exact solution: where the task stands, what rows cost and risk.

Of the axes, N is the layer's points (`aljax.exact.lattice`), L what else matters of the past (`aljax.exact.past`),
W the starts that are solved together. Rows are meant by their position i in `Plan.rows`, R of them.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from aljax.calls import Call, expected_call
from aljax.constraint import beyond, out_of_tolerance, over, reaches
from aljax.env import WORKED, ActionTable, EnvParams, always_legal
from aljax.exact import lattice, ruling
from aljax.exact.beginning import Start
from aljax.exact.charge import Charge
from aljax.exact.plan import Plan, adds, spent
from aljax.rules.playing import Kept

LATENCY, MONEY, VIOLATION, FAILURE, DIVERGENCE, SUCCESS = range(6)
"""The components' places in `aljax.env.COMPONENTS`, and after them that of success."""

T = TypeVar("T")
Task = tuple[jax.Array, ...]
"""The task vector, d times ``[N, W]``: sums over an axis of d would be several times slower."""


class Reached(NamedTuple):
    """Where the states of one layer stand."""

    start: Start
    """Where they began."""
    time: jax.Array
    """t, steps played. Integer scalar"""
    often: jax.Array
    """How often each class of events has happened. Integer ``[n + 1, N]``"""
    added: Task
    """What was added to the task since the start. d times ``[N, 1]``"""
    latency: jax.Array
    """Seconds taken, 0 where they are not kept. ``[N, L]``, or 1 for L"""
    money: jax.Array
    """Dollars spent, likewise."""
    failure: jax.Array
    """Calls that failed, likewise."""
    divergence: jax.Array
    """The divergence so far, likewise."""
    kept: Kept | None
    """Where the rules stand, where there are any. ``[R, 1, L]``"""
    charge: Charge | None
    """What is charged at the end beside the violation; None: nothing."""


class Ending(NamedTuple):
    """What it would come to if episodes ended; L or W may be 1."""

    violation: jax.Array
    """The expected violation that is charged. ``[N, L, W]``"""
    success: jax.Array
    """The probability of success. ``[N, L, W]``"""
    excess: jax.Array
    """The violation without that of soft rules, which lets nothing end and hinders no success. ``[N, L, W]``"""
    cost: jax.Array
    """What is charged: the violation times its weight, and `Reached.charge`. ``[N, L, W]``"""
    units: tuple[jax.Array, ...]
    """Of `Reached.charge`, expected. J times ``[N, L, W]``"""


def reach(
    params: EnvParams, plan: Plan, tails: jax.Array, start: Start, time: jax.Array, charge: Charge | None = None
) -> Reached:
    """Start, plus how often each class happened times what it adds, plus time times drift.

    Args:
      params: the environment, which may be traced.
      plan: the solution's structure.
      tails: the layer's points. Integer ``[n, N]``
      start: where the episodes began.
      time: t, steps played.
      charge: what is charged at the end beside the violation.

    Returns:
      Where the states of the layer stand.
    """
    often = lattice.happened(tails, time)
    each = jnp.stack([adds(params, plan, event) for event in plan.classes], 1)
    total = jnp.tensordot(each, often.astype(each.dtype), 1, precision="highest")
    d = len(params.drift)
    added, sums = total[:d] + time * params.drift[:, None], iter(total[d:, :, None])
    none, table = jnp.zeros((often.shape[1], 1)), params.actions
    latency, money, failure, divergence = (next(sums) if on else none for on in plan.kept)
    latency = latency + _grown(plan, table.latency_growth, time) if plan.latency else none
    money = money + _grown(plan, table.money_growth, time) if plan.money else none
    task = tuple(added[i, :, None] for i in range(d))
    costs = latency, money, failure, divergence
    return Reached(start, time, often, task, *costs, ruling.standing(params, plan), charge)


def _grown(plan: Plan, growth: jax.Array | None, time: jax.Array) -> jax.Array:
    """What calls have come to beyond their first prices, by the times at which they were made. ``[L]``, or 1 for L"""
    if growth is None or not plan.past.growing:
        return jnp.zeros(1)
    each = jnp.stack([growth[group[0]] for group in plan.past.growing])
    sums = jnp.asarray(plan.past.time_sums(), each.dtype)
    rest = (time * (time - 1) // 2).astype(each.dtype)
    return jnp.tensordot(each[:-1] - each[-1], sums, 1, precision="highest") + each[-1] * rest


def ending(params: EnvParams, reached: Reached) -> Ending:
    """What it would come to if episodes ended where they stand.

    Args:
      params: the environment, which may be traced.
      reached: where they stand.

    Returns:
      The expected violation as `aljax.env.violation`, with what rules are unkept, the probability of success, and what
      is charged.
    """
    overdrawn = over(reached.latency, params.latency_budget) / params.latency_budget
    overdrawn = (overdrawn + over(reached.money, params.money_budget) / params.money_budget)[:, :, None]
    soft = None
    if reached.kept is not None:
        owed, soft = ruling.unkept(params, reached.kept)
        overdrawn = overdrawn + owed

    def found(z: Task) -> tuple[jax.Array, jax.Array, tuple[jax.Array, ...]]:
        out = [beyond(x[None], coordinate(params, i))[0] for i, x in enumerate(z)]
        excess = sum(out[1:], out[0])[:, None] + overdrawn
        success = (excess == 0).astype(excess.dtype)
        if reached.charge is None:
            return excess, success, ()
        violation = excess if soft is None else excess + soft
        totals = [x[:, :, None] for x in (reached.latency, reached.money, reached.failure, reached.divergence)]
        return excess, success, reached.charge.units([*totals[:VIOLATION], violation, *totals[VIOLATION:]])

    excess, success, units = expected(reached, found)
    violation = excess if soft is None else excess + soft
    cost = params.weights[VIOLATION] * violation
    if reached.charge is not None:
        cost = cost + reached.charge.priced(units)
    return Ending(violation, success, excess, cost, units)


def coordinate(params: EnvParams, i: int) -> EnvParams:
    """The environment with the tolerance of one coordinate alone, for `aljax.constraint`.

    Args:
      params: the environment.
      i: which coordinate.

    Returns:
      An environment whose tolerances have one entry.
    """
    low = params.tolerance_low
    return dataclasses.replace(
        params, tolerance=params.tolerance[i : i + 1], tolerance_low=None if low is None else low[i : i + 1]
    )


def expected(reached: Reached, found: Callable[[Task], T]) -> T:
    """The expectation of what depends on where the task stands, over where it may have begun.

    Args:
      reached: where the states stand.
      found: of a task, whose W is 1 for one point of all starts, to arrays that have all axes.

    Returns:
      Of those arrays.
    """
    start, points, weights = reached.start
    if points is None or weights is None:
        return found(tuple(start[i] + x for i, x in enumerate(reached.added)))

    def at(point: jax.Array, share: jax.Array) -> T:
        task = tuple(point[i] + x for i, x in enumerate(reached.added))
        return jax.tree.map(lambda value: share * value, found(task))

    def add(total: T, one: tuple[jax.Array, jax.Array]) -> tuple[T, None]:
        return jax.tree.map(jnp.add, total, at(*one)), None

    return jax.lax.scan(add, at(points[0], weights[0]), (points[1:], weights[1:]))[0]


def is_over(params: EnvParams, plan: Plan, reached: Reached, excess: jax.Array) -> jax.Array:
    """On arrival the episode is over. Nothing is tested at time 0.

    Args:
      params: the environment, which may be traced.
      plan: the solution's structure.
      reached: where the states stand.
      excess: their violation, but for soft rules. ``[N, L, W]``

    Returns:
      Boolean, of axes that broadcast to those.
    """
    found = jnp.broadcast_to(reached.time >= params.horizon, (1, 1, 1))
    if not plan.averages:
        found |= params.auto_end & (excess == 0)
    if plan.latency and params.latency_limit is not None:
        found |= reaches(reached.latency, params.latency_limit)[:, :, None]
    if plan.money and params.money_limit is not None:
        found |= reaches(reached.money, params.money_limit)[:, :, None]
    return found & (reached.time > 0)


def closing(params: EnvParams, plan: Plan, i: int, reached: Reached) -> Ending:
    """What the i-th row, if it succeeds, ends the episode with: as `ending`.

    Args:
      params: the environment, which may be traced.
      plan: the solution's structure.
      i: the row's position in `Plan.rows`.
      reached: where the states stand.

    Returns:
      The expected violation, and the probability of success.
    """
    table, row, latency, money = params.actions, plan.rows[i], reached.latency, reached.money
    seconds, dollars = spent(params, row, True)
    if table.latency_growth is not None:
        seconds = seconds + table.latency_growth[row] * reached.time
    if table.money_growth is not None:
        dollars = dollars + table.money_growth[row] * reached.time
    if plan.latency:
        latency = latency + seconds
    if plan.money:
        money = money + dollars
    kept = None if reached.kept is None else ruling.worked(params, reached.kept, row)
    reached = reached._replace(latency=latency, money=money, kept=kept)
    if plan.resolves[i]:
        zero = Start(jnp.zeros_like(reached.start.seen), None, None)
        reached = reached._replace(start=zero, added=jax.tree.map(jnp.zeros_like, reached.added))
    return ending(params, reached)


def legal(params: EnvParams, plan: Plan, often: jax.Array, time: jax.Array) -> list[jax.Array]:
    """Which rows may be chosen.

    Args:
      params: the environment, which may be traced.
      plan: the solution's structure.
      often: how often each class of events has happened. Integer ``[n + 1, N]``
      time: t, steps played.

    Returns:
      Of each of R rows, Boolean scalar, or ``[N, 1, 1]`` where calls may run out, or ``[N, L, 1]`` where there are
      rules.
    """
    most, kept, calls = params.actions.max_calls, ruling.standing(params, plan), {}
    permitted, found = always_legal(params), []
    for i, row in enumerate(plan.rows):
        legal = permitted[row]
        if plan.limited[i] and most is not None:
            calls[row] = sum(often[kind] for kind in (plan.success[i], plan.failure[i]) if kind is not None)
            legal = legal & (calls[row] < most[row])[:, None, None]
        found.append(legal)
    if kept is None:
        return found
    free = dict(zip(plan.rows, found, strict=True))
    left = ruling.allowed(params, plan, kept, free, calls, time)
    return [left[row][:, :, None] for row in plan.rows]


def chance(params: EnvParams, plan: Plan, i: int, often: jax.Array) -> jax.Array:
    """The i-th row's probability of failing, by what else matters of the past, if it is up and has what it requires.

    Args:
      params: the environment, which may be traced.
      plan: the solution's structure.
      i: the row's position in `Plan.rows`.
      often: how often each class of events has happened. Integer ``[n + 1, N]``

    Returns:
      Before any time-out. ``[L, 1]``, or 1 for L; or ``[N, L, 1]``
    """
    table, row = params.actions, plan.rows[i]
    by_status = [table.failure if x is None else x for x in (table.failure, table.after_ok, table.after_failed)]
    level, statuses = plan.past.level(row)
    found = jnp.stack([by_status[status][row] for status in statuses])[:, None]
    found = found[level] if len(statuses) > 1 else found
    if plan.apart[i]:
        worked = (often[plan.success[i]] > 0)[:, None, None] & (level == 0)[:, None]
        found = jnp.where(worked, by_status[WORKED][row], found)
    return found


def call(params: EnvParams, plan: Plan, i: int, reached: Reached) -> Call:
    """What the i-th row comes to if it is called now.

    Args:
      params: the environment, which may be traced.
      plan: the solution's structure.
      i: the row's position in `Plan.rows`.
      reached: where the states stand.

    Returns:
      Probability of failing, expected seconds and dollars. ``[L, 1]`` or ``[N, L, W]``, any axis may be 1
    """
    table, row, p = params.actions, plan.rows[i], chance(params, plan, i, reached.often)
    if plan.needs[i] and table.requires is not None:
        for k, x in enumerate(reached.added):
            out = out_of_tolerance((reached.start.seen[k] + x)[None], coordinate(params, k))[0]
            p = jnp.where(table.requires[row, k] & out[:, None], 1.0, p)
    return expected_call(row_of(table, row), reached.time, p)


def row_of(table: ActionTable, row: int) -> ActionTable:
    """One row of the table.

    Args:
      table: columns ``[A]`` and ``[A, d]``.
      row: which.

    Returns:
      Its entries, scalars and ``[d]``.
    """
    return jax.tree.map(lambda column: column[row], table)


def divergence(params: EnvParams, plan: Plan, i: int, p: jax.Array, reached: Reached) -> jax.Array:
    """Expected ‖ẑ' − z'‖ of the i-th row, which fails with probability p. ``[L, 1]`` or ``[N, L, W]``

    Args:
      params: the environment, which may be traced.
      plan: the solution's structure.
      i: the row's position in `Plan.rows`.
      p: its probability of failing. ``[L, 1]`` or ``[N, L, W]``
      reached: where the states stand.

    Returns:
      ``[L, 1]`` where it is the same in all states, else ``[N, L, W]``.
    """
    drift = jnp.linalg.norm(params.drift)
    if plan.resolves[i]:
        return p * expected(
            reached, lambda z: jnp.sqrt(sum((x + params.drift[k]) ** 2 for k, x in enumerate(z)))[:, None]
        )
    if plan.ends[i]:
        return p * drift
    return p * jnp.linalg.norm(params.actions.shift[plan.rows[i]] - params.drift) + (1 - p) * drift


def onward(plan: Plan, i: int, failed: bool, after: jax.Array, time: jax.Array) -> jax.Array:
    """Where an event of the i-th row leads in the next layer, its ``[N', L]`` laid flat.

    Args:
      plan: the solution's structure.
      i: the row's position in `Plan.rows`.
      failed: whether it fails.
      after: the number of each point after one more event of each class. Integer ``[N, n + 1]``
      time: t, of this layer.

    Returns:
      Integer ``[N, L]``, within the next layer also where the state is none that comes up.
    """
    kind = (plan.failure if failed else plan.success)[i]
    entries, stride = plan.past.after(plan.rows[i], failed)
    to = jnp.asarray(entries, jnp.int32)
    if stride:
        to = jnp.minimum(to + stride * time, plan.past.size - 1)
    return after[:, kind or 0, None] * plan.past.size + to
