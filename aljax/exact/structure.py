"""What the exact solver's states are, whether it applies at all, and whether it fits in memory.

Where every row only adds (gain 1, no noise, no misreading), the task vector is its start plus what was added
since, so it matters how *often* each thing happened and never in which order. What can happen in a step, that a
row succeeds or that it fails, is an *event*; events that add the same to the task, and to latency and money where
those are budgeted, are of one *class*. After t steps the counts of all classes sum to t, so that the counts of all
but one say everything: a point of `aljax.exact.lattice`. When failures are sticky, the sticky row that failed last
joins.

A *relaxed* plan (`aljax.exact.bounds`) also takes rows that multiply, are noisy, or read a misread task: there the
counts do not say where the task stands, only in which box; what was spent then lies above a least amount.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.env import ActionTable, EnvParams, exceeds
from aljax.errors import UserError
from aljax.exact import lattice
from aljax.fields import Declared, fields_of
from aljax.scenario import Scenario

MEMORY_LIMIT = 2**30
"""Bytes that a solution may take unless the caller says otherwise."""
_MOST_ROWS = 126
"""Choices are kept as int8, and one number stands for an episode that is over."""
_SMALL_LAYER = 256
"""Layers of up to so many points are padded to one size: compiling them apart costs more than it saves."""
_WIDTH, _RELAXED_WIDTH = 64, 8
"""Starts solved at once on a CPU: with more, layers drop out of its caches. Other devices take 16 times that."""

VALUES_ONLY = frozenset({
    "drift", "start_low", "start_high", "tolerance", "weights", "z_scale", "latency_scale", "money_scale",
})  # fmt: skip
"""Fields that the solution takes as they come: no plan depends on them."""
KNOWN = VALUES_ONLY | {
    "latency", "money", "failure", "retry_failure", "gain", "shift", "noise", "ends", "resolves", "reveals", "allowed",
    "misread", "latency_budget", "money_budget", "horizon",
}  # fmt: skip
"""Fields that the solver reckons with. An environment with others is refused, unless they are at their defaults."""

Event = tuple[int, bool]
"""A row of the table, and whether it succeeds."""


@dataclasses.dataclass(frozen=True)
class Segment:
    """Successive times whose layers are padded to the size of the largest, and share one compiled loop."""

    first: int
    """The first time."""
    times: int
    """How many."""
    size: int
    """Points of the padded layer."""
    offset: int
    """Where the first time's layer begins in a policy table, which holds all layers one after the other."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """The structure of an exact solution: all that is static in it. Equal plans share one compilation."""

    horizon: int
    """Decisions are taken at times 0 … H − 1."""
    rows: tuple[int, ...]
    """R rows of the table that may be chosen."""
    ends: tuple[bool, ...]
    """Which of them end the episode. ``[R]``"""
    resolves: tuple[bool, ...]
    """Which of them leave nothing wrong. ``[R]``"""
    success: tuple[int | None, ...]
    """The class of each row's success; None where it ends the episode. ``[R]``"""
    failure: tuple[int | None, ...]
    """The class of each row's failure; None where it never fails. ``[R]``"""
    classes: tuple[Event, ...]
    """One event of each class; the last class is the one that is not counted. ``[n + 1]``"""
    sticky: tuple[int, ...]
    """Rows whose failures are sticky. Entry l + 1 of the axis L means that ``sticky[l]`` failed last, 0 none."""
    latency: bool
    """The latency can exceed its budget."""
    money: bool
    """The money can exceed its budget."""
    members: int
    """Environments solved together (see `make_plan`)."""
    memory_limit: int
    """Bytes that a solution may take."""
    coordinates: int
    """d."""
    relaxed: bool
    """For `aljax.exact.bounds` instead of `aljax.exact.recursion`."""

    @property
    def counts(self) -> int:
        """The counts of a state, n."""
        return len(self.classes) - 1

    @property
    def last(self) -> int:
        """The values that the row that failed last can take, L."""
        return len(self.sticky) + 1

    @property
    def states(self) -> int:
        """States of the largest layer, the one at the horizon: L C(H + n, n)."""
        return self.last * self.points(self.horizon)

    def points(self, time: int) -> int:
        """Points of the layer at a time."""
        return lattice.size(self.counts, time)

    def segments(self) -> tuple[Segment, ...]:
        """All decision times, forwards. Layers of one segment differ in size by at most two, or are small."""
        found, offset, first = [], 0, 0
        while first < self.horizon:
            limit = max(2 * self.points(first), _SMALL_LAYER)
            after = first + 1
            while after < self.horizon and self.points(after) <= limit:
                after += 1
            found.append(Segment(first, after - first, self.points(after - 1), offset))
            offset += (after - first) * self.points(after - 1)
            first = after
        return tuple(found)

    @property
    def decisions(self) -> int:
        """Points of all decision layers, padding included: the length M of a policy table."""
        last = self.segments()[-1]
        return last.offset + last.times * last.size

    @property
    def fixed_bytes(self) -> int:
        """Predicted bytes that all starts share: points, their successors, what was added up to them."""
        return self.members * 4 * self.points(self.horizon) * (5 * self.counts + 2 * len(self.rows) + 16) + 4096

    @property
    def working_bytes(self) -> int:
        """Predicted bytes for each start that is being solved: six components here and next, choices, successors."""
        here, after = self.points(self.horizon - 1), self.points(self.horizon)
        floats = self.last * (7 * after + 9 * here) + len(self.rows) * here
        if self.relaxed:  # a box in every state; noise
            noise = len(self.classes) * self.horizon * self.coordinates
            floats += 2 * self.coordinates * (self.decisions + 6 * after) + 2 * noise
            return 4 * self.members * floats
        return 4 * self.members * floats + 2 * self.table_bytes

    @property
    def table_bytes(self) -> int:
        """Bytes of one start's policy table."""
        return self.members * self.last * self.decisions

    @property
    def width(self) -> int:
        """Starts solved at once: as many as the memory holds, up to what caches like. 0: not even one fits."""
        most = _RELAXED_WIDTH if self.relaxed else _WIDTH
        if jax.default_backend() != "cpu":
            most *= 16
        return max(0, min(most, (self.memory_limit - self.fixed_bytes) // self.working_bytes))

    def predicted_bytes(self, starts: int, tables: bool = False) -> int:
        """Bytes that solving so many starts takes; `tables`: all their policy tables, held twice while joined."""
        width = max(1, min(self.width, starts))
        kept = 2 * self.table_bytes * -(-starts // width) * width if tables else 0
        return self.fixed_bytes + width * self.working_bytes + kept + 64 * self.members * starts


def make_plan(
    params: EnvParams,
    *,
    horizon: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    scenario: Scenario | None = None,
    relaxed: bool = False,
) -> Plan:
    """Finds the structure of the exact solution of an environment, and whether there is one.

    Args:
      params: the environment, concrete. Leaves may have leading axes, as for `jax.vmap`: the plan then serves all
        members, and has room for solving one batch of starts in all of them together.
      horizon: H, at least the environment's own; by default that.
      memory_limit: bytes.
      scenario: where its names come from, for messages.
      relaxed: plan a lower bound (`aljax.exact.bounds`), which needs no more than that the states fit in memory.

    Returns:
      The plan.

    Raises:
      UserError: the solver cannot solve it, by structure or by size; one line that says why.
    """
    p, members = _members(params)
    where = scenario.name if scenario else "this environment"
    names = scenario.action_names if scenario else [str(row) for row in range(p["allowed"].shape[1])]
    coordinates = scenario.coordinate_names if scenario else [str(i) for i in range(p["drift"].shape[1])]
    longest = int(p["horizon"].max())
    horizon = horizon or longest
    legal = np.asarray(env.always_legal(params)).reshape(-1, len(names))
    rows = tuple(int(row) for row in np.flatnonzero(legal.any(0)))
    task = "bound" if relaxed else "exact solver"
    reason = _obstacle(p, rows, names, coordinates, relaxed)
    if env.legal_varies(params):
        reason = "needs rows that are legal whatever happened before, or never"
    if horizon < longest:
        reason = f"was asked for horizon {horizon}, but an episode lasts up to {longest} steps"
    if reason is not None:
        raise UserError(f"{where}: the {task} {reason}")

    latency, money = (
        bool(_exceedable(horizon, p[column][:, rows].max(1), p[f"{column}_budget"]).any())
        for column in ("latency", "money")
    )

    def adds(event: Event) -> bytes:
        """What an event does to task, latency and money, in every member."""
        row, succeeds = event
        parts = [p["shift"][:, row] * succeeds + 0.0]  # + 0.0: no −0.0
        if relaxed:  # what was spent is bounded, not counted
            parts += [p["gain"][:, row] if succeeds else np.ones_like(parts[0]), p["noise"][:, row] * succeeds]
            return b"".join(part.tobytes() for part in parts)
        parts += [p["latency"][:, row]] * latency + [p["money"][:, row]] * money
        return b"".join(part.tobytes() for part in parts)

    ends = {row: bool(p["ends"][0, row]) for row in rows}
    fails = {row: bool((p["failure"] + p["retry_failure"])[:, row].any()) for row in rows}
    events = [(row, True) for row in rows if not ends[row]] + [(row, False) for row in rows if fails[row]]
    # The commonest class goes last: it is the one not counted, and leads from a point to that same point.
    order = [key for key, _ in reversed(Counter(map(adds, events)).most_common())]
    representative = {adds(event): event for event in reversed(events)}
    plan = Plan(
        horizon=horizon,
        rows=rows,
        ends=tuple(ends.values()),
        resolves=tuple(bool(p["resolves"][0, row]) for row in rows),
        success=tuple(None if ends[row] else order.index(adds((row, True))) for row in rows),
        failure=tuple(order.index(adds((row, False))) if fails[row] else None for row in rows),
        # Where all rows surely end the episode there is no event, but one class all the same.
        classes=tuple(representative[key] for key in order) or ((rows[0], False),),
        sticky=tuple(row for row in rows if (p["retry_failure"] != p["failure"])[:, row].any()),
        latency=latency,
        money=money,
        members=members,
        memory_limit=memory_limit,
        coordinates=len(coordinates),
        relaxed=relaxed,
    )
    if plan.width < 1 or max(plan.states, plan.decisions) >= 2**31:  # states are numbered in int32
        together = f", {members} environments together" if members > 1 else ""
        needed, limit = (_short(size / 2**30) for size in (plan.predicted_bytes(1), memory_limit))
        raise UserError(
            f"{where}: the {task} would need {_short(plan.states)} states (horizon {horizon}, {plan.counts} "
            f"counts, {plan.last} kinds of last failure{together}), {needed} GiB a start; the limit is {limit} GiB"
        )
    return plan


def plan_key(params: EnvParams) -> bytes:
    """What `make_plan` looks at in one environment: where it is equal, so is the plan, or why there is none.

    Of probabilities a plan asks which are 0 and which are equal, of what calls take only what a budget is kept of.

    Args:
      params: the environment, its leaves arrays of NumPy's or of values that are known.

    Returns:
      Bytes to compare.
    """
    there = {name: np.asarray(values) for name, _, values in _there(params) if name not in VALUES_ONLY}
    failure, retry_failure = there.pop("failure"), there.pop("retry_failure")
    parts = [failure + retry_failure > 0, failure != retry_failure]
    for column in ("latency", "money"):
        if there[f"{column}_budget"] == np.inf:
            del there[column]
    return b"".join([part.tobytes() for part in parts] + [name.encode() + x.tobytes() for name, x in there.items()])


def fits(params: EnvParams, plan: Plan) -> jax.Array:
    """Whether a plan is right for this one environment, which may be traced. Boolean scalar

    Args:
      params: the environment.
      plan: of an environment that may be another.

    Returns:
      Boolean scalar.
    """
    table, rows = params.actions, np.array(plan.rows)
    only_adds = jnp.all(table.gain[rows] == 1, axis=1) & (table.noise[rows] == 0)
    steady = table.retry_failure[rows] == table.failure[rows]
    surely = table.failure[rows] + table.retry_failure[rows] == 0
    alike = []
    for row, *kinds in zip(plan.rows, plan.success, plan.failure, strict=True):
        pairs = [((row, i == 0), plan.classes[kind]) for i, kind in enumerate(kinds) if kind is not None]
        same = [jnp.array_equal(adds(params, plan, a), adds(params, plan, b)) for a, b in pairs]
        alike.append(jnp.all(jnp.array(same)))
    flags = (table.ends[rows] == np.array(plan.ends)) & (table.resolves[rows] == np.array(plan.resolves))
    tamed = (only_adds | np.array(plan.ends)) & (steady | np.isin(rows, plan.sticky))
    each = flags & tamed & (surely | np.array([kind is not None for kind in plan.failure])) & jnp.array(alike)
    legal = env.always_legal(params)
    allowed = legal[rows]
    latency, money = (jnp.max(jnp.where(allowed, x[rows], 0)) for x in (table.latency, table.money))
    others = [jnp.all(x == field.neutral) for name, field, x in _there(params) if name not in KNOWN]
    return (
        jnp.all(each | ~allowed)
        & jnp.all(jnp.array(others, bool))
        & ~jnp.any(jnp.delete(legal, rows))
        & jnp.all(params.misread == 0)
        & (params.horizon <= plan.horizon)
        & (plan.latency | ~_exceedable(params.horizon, latency, params.latency_budget))
        & (plan.money | ~_exceedable(params.horizon, money, params.money_budget))
    )


def _exceedable(horizon: Any, most: Any, budget: Any) -> jax.Array:
    """Whether H steps of at most so much can be over the budget, with the rounding of a float32 sum of H numbers."""
    return exceeds(horizon * most * (1.0 + horizon * 2.0**-24), budget)


def adds(params: EnvParams, plan: Plan, event: Event) -> jax.Array:
    """What an event adds to the task, and where budgeted to latency, then money. ``[d]`` to ``[d + 2]``

    Args:
      params: the environment.
      plan: the solution's structure.
      event: the row, and whether it succeeds.

    Returns:
      A vector of d to d + 2 numbers.
    """
    row, succeeds = event
    table = params.actions
    spent = [column[row] for column, on in ((table.latency, plan.latency), (table.money, plan.money)) if on]
    return jnp.concatenate([table.shift[row] * succeeds, jnp.array(spent, table.shift.dtype)])


def _obstacle(
    p: dict[str, np.ndarray], rows: Sequence[int], names: Sequence[str], coordinates: Sequence[str], relaxed: bool
) -> str | None:
    """What in an environment's structure the solver cannot deal with, or None."""
    for name, field in {**fields_of(ActionTable), **fields_of(EnvParams)}.items():
        if name in p and name not in KNOWN and (field.neutral is None or (p[name] != field.neutral).any()):
            return f"does not reckon with {name}"
    for i, coordinate in enumerate(coordinates):
        if p["misread"][:, i].any() and not relaxed:
            return f"needs a task that is not misread; {coordinate} is, by {p['misread'][:, i].max():g}"
    for row in rows:
        for flag in ("ends", "resolves"):
            if p[flag][:, row].any() != p[flag][:, row].all():
                return f"needs environments that agree on which rows have {flag}; on {names[row]} they differ"
        if p["resolves"][0, row] and not p["ends"][0, row]:
            return f"needs rows that resolve to end the episode too; row {names[row]} does not"
        if p["ends"][0, row] or relaxed:
            continue  # its gain and noise never show
        for i, coordinate in enumerate(coordinates):
            odd = p["gain"][:, row, i][p["gain"][:, row, i] != 1]
            if odd.size:
                return f"needs gain 1 everywhere; row {names[row]} has gain {odd[0]:g} on {coordinate}"
        if p["noise"][:, row].any():
            return f"needs rows without noise; row {names[row]} has noise {p['noise'][:, row].max():g}"
    if not 1 <= len(rows) <= _MOST_ROWS:
        return f"needs from 1 to {_MOST_ROWS} rows that are allowed; there are {len(rows)}"
    return None


def _there(params: EnvParams) -> Iterator[tuple[str, Declared, Any]]:
    """Every field that an environment has: its name, its declaration, its array."""
    for part in (params.actions, params):
        for name, field in fields_of(type(part)).items():
            if getattr(part, name) is not None:
                yield name, field, getattr(part, name)


def _members(params: EnvParams) -> tuple[dict[str, np.ndarray], int]:
    """All leaves by name, float64 with one leading axis for the members, and how many members there are."""
    leaves = {}
    for name, field, values in _there(params):
        array = np.asarray(values, np.float64)
        leaves[name] = array.reshape(-1, *array.shape[array.ndim - len(field.axes) :])
    members = max(map(len, leaves.values()))
    return {name: np.broadcast_to(x, (members, *x.shape[1:])) for name, x in leaves.items()}, members


def _short(value: float) -> str:
    return f"{value:,.0f}" if 10 <= value < 1e6 else f"{value:.2g}".replace("e+0", "e").replace("e+", "e")
