"""The structure of an exact solution as a value: its rows, its events, its axes, and what memory it takes."""

import dataclasses

import jax
import jax.numpy as jnp

from aljax.env import EnvParams
from aljax.exact import lattice
from aljax.exact.past import Past
from aljax.target import Target

MEMORY_LIMIT = 2**30
"""Bytes that a solution may take unless the caller says otherwise."""
_SMALL_LAYER = 256
"""Layers of up to so many points are padded to one size: compiling them apart costs more than it saves."""
_WIDTH, _RELAXED_WIDTH = 64, 8
"""Starts solved at once on a CPU: with more, layers drop out of its caches."""

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
    apart: tuple[bool, ...]
    """Rows whose successes are counted alone, which tells "not called" from "worked" unless they failed. ``[R]``"""
    limited: tuple[bool, ...]
    """Rows that may run out of calls: their events are of classes of their own. ``[R]``"""
    needs: tuple[bool, ...]
    """Rows that need coordinates within tolerance. ``[R]``"""
    metered: tuple[bool, ...]
    """Rows with a token bucket, which only bounds take. ``[R]``"""
    classes: tuple[Event, ...]
    """One event of each class; the last class is the one that is not counted. ``[n + 1]``"""
    past: Past
    """The axis L."""
    latency: bool
    """The latency can exceed its budget or reach its limit, or its total is asked for."""
    money: bool
    """The money can exceed its budget or reach its limit, or its total is asked for."""
    failures: bool
    """How many calls fail is asked for."""
    divergence: bool
    """The divergence's total is asked for."""
    blind: tuple[bool, ...]
    """Coordinates whose start is not seen: costs are averaged over where an episode may have begun. ``[d]``"""
    looks: int | None
    """Where something is blind: starts that can be told apart, at most; each is solved once. None: nothing is"""
    members: int
    """Environments solved together (see `aljax.exact.structure.make_plan`)."""
    memory_limit: int
    """Bytes that a solution may take."""
    relaxed: bool
    """For `aljax.exact.bounds` instead of `aljax.exact.recursion`."""
    target: Target
    """What it is solved on."""

    @property
    def kept(self) -> tuple[bool, bool, bool, bool]:
        """Whether the latency, the money, the failures and the divergence so far are known in every state."""
        return self.latency, self.money, self.failures, self.divergence

    @property
    def counts(self) -> int:
        """The counts of a state, n."""
        return len(self.classes) - 1

    @property
    def coordinates(self) -> int:
        """How many the task has, d."""
        return len(self.blind)

    @property
    def averages(self) -> bool:
        """An episode may have begun in any of several points."""
        return any(self.blind) and not self.relaxed

    @property
    def states(self) -> int:
        """States of the largest layer, the one at the horizon: L C(H + n, n)."""
        return self.past.size * self.points(self.horizon)

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
        each = 5 * self.counts + 2 * len(self.rows) + 16 + 4 * (self.past.size - 1)
        return self.members * 4 * self.points(self.horizon) * each + 4096

    @property
    def working_bytes(self) -> int:
        """Predicted bytes for each start that is being solved: six components here and next, choices, successors."""
        here, after = self.points(self.horizon - 1), self.points(self.horizon)
        if self.relaxed:  # values alone; a box in every state; noise
            floats = self.past.size * 2 * (after + here) + len(self.rows) * here
            noise = len(self.classes) * self.horizon * self.coordinates
            floats += 2 * self.coordinates * (self.decisions + 6 * after) + 2 * noise
            return 4 * self.members * floats
        floats = self.past.size * (7 * after + 9 * here) + len(self.rows) * here
        return 4 * self.members * floats + 2 * self.table_bytes

    @property
    def table_bytes(self) -> int:
        """Bytes of one start's policy table."""
        return self.members * self.past.size * self.decisions

    @property
    def width(self) -> int:
        """Starts solved at once: as many as the memory holds, up to what caches like. 0: not even one fits."""
        most = _RELAXED_WIDTH if self.relaxed else _WIDTH
        return max(0, min(self.target.starts * most, (self.memory_limit - self.fixed_bytes) // self.working_bytes))

    def predicted_bytes(self, starts: int, tables: bool = False) -> int:
        """Bytes that solving so many starts takes; `tables`: all their policy tables, held twice while joined."""
        width = max(1, min(self.width, starts))
        kept = 2 * self.table_bytes * -(-starts // width) * width if tables else 0
        return self.fixed_bytes + width * self.working_bytes + kept + 64 * self.members * starts


def adds(params: EnvParams, plan: Plan, event: Event) -> jax.Array:
    """What an event adds to the task, and to what is kept of the costs, in `Plan.kept`'s order. ``[d]`` to ``[d + 4]``

    What calls grow by is not in it: that depends on when they are made (`aljax.exact.past.Past.growing`).

    Args:
      params: the environment.
      plan: the solution's structure.
      event: the row, and whether it succeeds.

    Returns:
      A vector of d to d + 4 numbers.
    """
    row, succeeds = event
    shift = params.actions.shift
    kept = [spent(params, row, succeeds)[k] for k, on in enumerate((plan.latency, plan.money)) if on]
    if plan.failures:
        kept.append(jnp.asarray(not succeeds, shift.dtype))
    if plan.divergence:
        plain = succeeds or plan.ends[plan.rows.index(row)]
        kept.append(jnp.linalg.norm(params.drift if plain else shift[row] - params.drift))
    return jnp.concatenate([shift[row] * succeeds, jnp.array(kept, shift.dtype)])


def spent(params: EnvParams, row: int, succeeds: bool) -> tuple[jax.Array, jax.Array]:
    """Seconds and dollars of an event at the start of an episode, where seconds are not spread.

    Args:
      params: the environment.
      row: of the table.
      succeeds: whether the call does.

    Returns:
      Seconds and dollars, scalars.
    """
    table = params.actions
    latency, money = table.latency[row], table.money[row]
    if not succeeds and table.failure_latency is not None:
        latency = table.failure_latency[row]
    if not succeeds and table.failure_money is not None:
        money = table.failure_money[row]
    if table.timeout is not None:
        latency = jnp.minimum(latency, table.timeout[row])
    return latency, money
