"""What the exact solver's states are, whether it applies at all, and whether it fits in memory.

Where every row only adds (gain 1, no noise, no misreading), the task vector is its start plus what was added
since, so it matters how *often* each thing happened and never in which order. What can happen in a step, that a
row succeeds or that it fails, is an *event*; events that add the same to the task, and to latency and money where
those are budgeted or limited, are of one *class*, but for rows that may run out of calls, whose events are counted
apart. After t steps the counts of all classes sum to t, so that the counts of all but one say everything: a point of
`aljax.exact.lattice`. What else matters of the past joins on an axis of its own (`aljax.exact.past`).

A *relaxed* plan (`aljax.exact.bounds`) also takes rows that multiply, are noisy, can be down or run out of tokens, and
tasks that are misread: there the counts do not say where the task stands, only in which box, nor what was spent.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence

import numpy as np

from aljax import env
from aljax.env import EnvParams
from aljax.errors import UserError
from aljax.exact import facts
from aljax.exact.facts import there
from aljax.exact.past import Levels, Past
from aljax.exact.plan import MEMORY_LIMIT, Event, Plan
from aljax.exact.standings import MOST, standings
from aljax.scenario import Scenario
from aljax.target import Target, here

_MOST_ROWS = 126
"""Choices are kept as int8, and one number stands for an episode that is over."""
_KEPT = "under a latency_budget or latency_limit"
"""Why seconds so far matter, unless they are asked for."""


def make_plan(
    params: EnvParams,
    *,
    horizon: int | None = None,
    memory_limit: int = MEMORY_LIMIT,
    scenario: Scenario | None = None,
    relaxed: bool = False,
    keeps: Collection[str] = (),
    target: Target | None = None,
) -> Plan:
    """Finds the structure of the exact solution of an environment, and whether there is one.

    Args:
      params: the environment, concrete. Leaves may have leading axes, as for `jax.vmap`: the plan then serves all
        members, and has room for solving one batch of starts in all of them together.
      horizon: H, at least the environment's own; by default that.
      memory_limit: bytes.
      scenario: where its names come from, for messages.
      relaxed: plan a lower bound (`aljax.exact.bounds`), which needs no more than that the states fit in memory.
      keeps: components whose total so far is to be known in every state, for `aljax.exact.charge`; of an exact plan.
      target: what it is to be solved on; None: this process's default backend.

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
    legal = np.broadcast_to(np.asarray(env.always_legal(params)).reshape(-1, len(names)), (members, len(names)))
    rows = tuple(int(row) for row in np.flatnonzero(legal.any(0)))
    steps, single = np.full(members, horizon, np.float32), _single(p)
    clocks = [
        not relaxed and (column in keeps or bool(facts.matters(single, column, steps, legal).any()))
        for column in ("latency", "money")
    ]
    further = "failure" in keeps, "divergence" in keeps
    task = "bound" if relaxed else "exact solver"
    reason = _unknown(params) or _disagreement(p, rows, names, coordinates)
    if reason is None and not relaxed:
        why = "for how late an episode is" if "latency" in keeps else _KEPT
        reason = _hidden(p, rows, names, coordinates)
        reason = reason or _uncounted(p, rows, names, coordinates, horizon, clocks[0], why)
        reason = reason or (_unfollowed(p, rows, names) if further[1] else None)
    if not 1 <= len(rows) <= _MOST_ROWS:
        reason = reason or f"needs from 1 to {_MOST_ROWS} rows that are allowed; there are {len(rows)}"
    reason = reason or _ruled(params, scenario, relaxed)
    if horizon < longest:
        reason = f"was asked for horizon {horizon}, but an episode lasts up to {longest} steps"
    if reason is not None:
        raise UserError(f"{where}: the {task} {reason}")

    ends = {row: bool(p["ends"][0, row]) for row in rows}
    fails, down, buckets = (
        [bool(of_row.any()) for of_row in np.asarray(found(single)).T]
        for found in (facts.fails, facts.unreliable, facts.metered)
    )
    counted = () if params.rules is None else dict(params.rules.structure.counted)
    limited = {row: row in counted or bool((p["max_calls"] < horizon)[:, row].any()) for row in rows}
    key = _adds(p, clocks, further, [row for row in rows if limited[row]], relaxed)
    events = [(row, True) for row in rows if not ends[row]] + [(row, False) for row in rows if fails[row]]
    # The commonest class goes last: it is the one not counted, and leads from a point to that same point.
    sizes = Counter(map(key, events))
    order = [found for found, _ in reversed(sizes.most_common())]
    representative = {key(event): event for event in reversed(events)}
    levels = {row: _levels(p, row, fails[row]) for row in rows}
    apart = {row: max(levels[row]) == 2 and sizes[key((row, True))] == 1 for row in rows}
    levels = {row: (0, 0, 1) if apart[row] else found for row, found in levels.items() if max(found)}
    plan = Plan(
        horizon=horizon,
        rows=rows,
        ends=tuple(ends.values()),
        resolves=tuple(bool(p["resolves"][0, row]) for row in rows),
        success=tuple(None if ends[row] else order.index(key((row, True))) for row in rows),
        failure=tuple(order.index(key((row, False))) if fails[row] else None for row in rows),
        apart=tuple(apart.values()),
        limited=tuple(limited.values()),
        needs=tuple(bool(p["requires"][:, row].any()) for row in rows),
        metered=tuple(buckets[row] for row in rows),
        # Where all rows surely end the episode there is no event, but one class all the same.
        classes=tuple(representative[found] for found in order) or ((rows[0], False),),
        past=Past(
            levels=tuple(levels.items()),
            growing=_growing(p, clocks, list(dict.fromkeys(row for row, _ in events))),
            most=horizon * (horizon - 1) // 2,
            structure=None if params.rules is None else params.rules.structure,
            unreliable=tuple(row for row in rows if down[row]),
        ),
        latency=clocks[0],
        money=clocks[1],
        failures=further[0],
        divergence=further[1],
        blind=tuple(bool(x) for x in p["blind"][0]),
        looks=_looks(p),
        members=members,
        memory_limit=memory_limit,
        relaxed=relaxed,
        target=target or here(),
    )
    if plan.width < 1 or max(plan.states, plan.decisions) >= 2**31:  # states are numbered in int32
        together = f", {members} environments together" if members > 1 else ""
        needed, limit = (_short(size / 2**30) for size in (plan.predicted_bytes(1), memory_limit))
        raise UserError(
            f"{where}: the {task} would need {_short(plan.states)} states (horizon {horizon}, {plan.counts} "
            f"counts, {plan.past.size} kinds of past{together}), {needed} GiB a start; the limit is {limit} GiB"
        )
    return plan


def _members(params: EnvParams) -> tuple[dict[str, np.ndarray], int]:
    """All fields by name, float64 with one leading axis for the members, and how many members there are."""
    leaves = {}
    for name, field, values in there(params):
        array = np.asarray(values, np.float64)
        leaves[name] = array.reshape(-1, *array.shape[array.ndim - len(field.axes) :])
    members = max(map(len, leaves.values()))
    leaves = {name: np.broadcast_to(x, (members, *x.shape[1:])) for name, x in leaves.items()}
    return {name: np.asarray(x, np.float64) for name, x in facts.filled(leaves).items()}, members


def _single(p: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """In single precision, as `aljax.exact.fitting` asks the same of an environment: both are to say the same."""
    return {name: x.astype(np.float32) for name, x in p.items()}


def _adds(
    p: dict[str, np.ndarray], clocks: Sequence[bool], further: tuple[bool, bool], limited: Sequence[int], relaxed: bool
) -> Callable[[Event], bytes]:
    """A function that tells what an event adds to the task and to what is kept, in every member: its class's name."""
    timely = np.minimum(p["latency"], p["timeout"]), np.minimum(p["failure_latency"], p["timeout"])
    prices = (timely, (p["money"], p["failure_money"]))

    def key(event: Event) -> bytes:
        row, succeeds = event
        parts = [p["shift"][:, row] * succeeds + 0.0]  # + 0.0: no −0.0
        if relaxed:
            parts += [p["gain"][:, row] if succeeds else np.ones_like(parts[0]), p["noise"][:, row] * succeeds]
        parts += [price[not succeeds][:, row] for price, on in zip(prices, clocks, strict=True) if on]
        if further[0]:
            parts.append(np.asarray(not succeeds, np.float64))
        if further[1]:
            plain = succeeds or bool(p["ends"][0, row])
            parts.append(np.linalg.norm(p["drift"] if plain else p["shift"][:, row] - p["drift"], axis=1))
        return b"".join(part.tobytes() for part in parts) + (repr(event).encode() if row in limited else b"")

    return key


def _levels(p: dict[str, np.ndarray], row: int, fails: bool) -> Levels:
    """By status how a row fails: statuses that never come up, or fail equally often in every member, share a level."""
    found: list[int] = []
    seen = [found_in[:, row] for found_in in facts.chances(p)]
    reached = (True, not p["ends"][0, row], fails)
    for status, chance in enumerate(seen):
        before = zip(found, seen, reached, strict=False)
        alike = [level for level, other, comes_up in before if comes_up and (other == chance).all()]
        found.append((alike or [max(found, default=-1) + 1])[0] if reached[status] else 0)
    return found[0], found[1], found[2]


def _growing(p: dict[str, np.ndarray], clocks: Sequence[bool], rows: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Rows by how their calls grow in what is kept, the largest group last; none where nothing that is kept grows."""
    groups: dict[bytes, list[int]] = {}
    kept = [p[f"{column}_growth"] for column, on in zip(("latency", "money"), clocks, strict=True) if on]
    if not any(growth[:, list(rows)].any() for growth in kept):
        return ()
    for row in rows:
        groups.setdefault(b"".join(growth[:, row].tobytes() for growth in kept), []).append(row)
    return tuple(sorted(map(tuple, groups.values()), key=len))


def _unknown(params: EnvParams) -> str | None:
    """A field that the solver knows nothing of, in one line, or None."""
    for name, field, values in there(params):
        if name not in facts.KNOWN and (field.neutral is None or (np.asarray(values) != field.neutral).any()):
            return f"does not reckon with {name}"
    return None


def _ruled(params: EnvParams, scenario: Scenario | None, relaxed: bool) -> str | None:
    """What of the rules leaves no room for exact states, in one line, or None."""
    if params.rules is None:
        varies = env.legal_varies(params) and params.actions.max_calls is None
        return "needs rows that are legal by what max_calls and rules say of the past" if varies else None
    structure, seconds = params.rules.structure, params.rules.seconds
    if structure.timed and seconds is not None and not relaxed:
        rule = structure.timed[0]
        name = scenario.rule_names[rule] if scenario else str(rule)
        return f"needs cooldowns in steps; rule {name} has seconds {np.max(np.asarray(seconds)[..., 0]):g}"
    return None if standings(structure) else f"needs rules that can stand in at most {MOST:,} ways together"


def _disagreement(
    p: dict[str, np.ndarray], rows: Sequence[int], names: Sequence[str], coordinates: Sequence[str]
) -> str | None:
    """What members of one plan have to agree on, and what ending rows have to be, in one line, or None."""
    for row in rows:
        for flag in ("ends", "resolves"):
            if p[flag][:, row].any() != p[flag][:, row].all():
                return f"needs environments that agree on which rows have {flag}; on {names[row]} they differ"
        if p["resolves"][0, row] and not p["ends"][0, row]:
            return f"needs rows that resolve to end the episode too; row {names[row]} does not"
    for i, coordinate in enumerate(coordinates):
        if p["blind"][:, i].any() != p["blind"][:, i].all():
            return f"needs environments that agree on which coordinates are blind; on {coordinate} they differ"
    return None


def _hidden(
    p: dict[str, np.ndarray], rows: Sequence[int], names: Sequence[str], coordinates: Sequence[str]
) -> str | None:
    """What is hidden from the agent, or drawn about it, that exact states leave no room for, in one line, or None."""
    blind = np.flatnonzero(p["blind"][0]).tolist()
    for i, coordinate in enumerate(coordinates):
        if p["misread"][:, i].any() and i not in blind:
            return f"needs a task that is not misread; {coordinate} is, by {p['misread'][:, i].max():g}"
    down, buckets = (np.asarray(found(_single(p))) for found in (facts.unreliable, facts.metered))
    for row in rows:
        if down[:, row].any():
            up = p["mean_uptime"][down[:, row], row].min()
            return f"needs rows that are never down; row {names[row]} has mean_uptime {up:g}"
        if buckets[:, row].any():
            rate = p["rate_limit"][:, row].min()
            return f"needs rows without a token bucket; row {names[row]} has rate_limit {rate:g}"
    if not blind:
        return None
    name = coordinates[blind[0]]
    if (p["start_low"] != p["start_high"]).any():
        return f"needs starts that are points alone (start_low = start_high) where a coordinate is blind; {name} is"
    if p["auto_end"].any():
        return f"needs auto_end = false where a coordinate is blind; {name} is"
    for row in rows:
        if p["reveals"][:, row].any() and not p["ends"][0, row]:
            return f"needs rows that reveal nothing where a coordinate is blind; row {names[row]} reveals {name}"
        if p["requires"][:, row][:, blind].any():
            needed = coordinates[next(i for i in blind if p["requires"][:, row, i].any())]
            return f"needs rows that require no blind coordinate; row {names[row]} requires {needed}"
    return None


def _uncounted(
    p: dict[str, np.ndarray],
    rows: Sequence[int],
    names: Sequence[str],
    coordinates: Sequence[str],
    horizon: int,
    latency: bool,
    why: str,
) -> str | None:
    """What depends on more than how often things happened, in one line, or None; `latency`: seconds are kept; why."""
    late = np.asarray(facts.blurred(_single(p), np.full(len(p["horizon"]), horizon, np.float32)))
    for row in rows:
        if latency and p["latency_spread"][:, row].any():
            spread = p["latency_spread"][:, row].max()
            what = f"needs seconds without spread {why}"
            return f"{what}; row {names[row]} has latency_spread {spread:g}"
        if latency and late[:, row].any():
            what = f"needs failed calls of one duration {why}"
            return f"{what}; row {names[row]} has timeout {p['timeout'][:, row].min():g}"
        if p["ends"][0, row]:
            continue  # its gain and noise never show
        for i, coordinate in enumerate(coordinates):
            odd = p["gain"][:, row, i][p["gain"][:, row, i] != 1]
            if odd.size:
                return f"needs gain 1 everywhere; row {names[row]} has gain {odd[0]:g} on {coordinate}"
        if p["noise"][:, row].any():
            return f"needs rows without noise; row {names[row]} has noise {p['noise'][:, row].max():g}"
    return None


def _unfollowed(p: dict[str, np.ndarray], rows: Sequence[int], names: Sequence[str]) -> str | None:
    """A row whose divergence does not follow from whether it fails, in one line, or None."""
    failing = np.asarray(facts.fails(_single(p)))
    for row in rows:
        if p["resolves"][0, row] and failing[:, row].any():
            return f"needs rows that resolve never to fail where the divergence so far matters; row {names[row]} may"
    return None


def _looks(p: dict[str, np.ndarray]) -> int | None:
    """See `Plan.looks`."""
    blind = p["blind"][0].astype(bool)
    if not blind.any():
        return None
    if "start_points" not in p:
        return 1
    return max(int(facts.looks(points, blind)) for points in p["start_points"].astype(np.float32))


def _short(value: float) -> str:
    return f"{value:,.0f}" if 10 <= value < 1e6 else f"{value:.2g}".replace("e+0", "e").replace("e+", "e")
