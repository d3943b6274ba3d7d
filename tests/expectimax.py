"""The least expected cost by brute force: every action, every outcome, every belief; NumPy float64, plain loops.

Written from the specification alone. It imports nothing from `aljax` and nothing from JAX. Parameters are a dict with
the fields of `EnvParams`, whose ``"actions"`` is a dict with the columns of `ActionTable`; what is not in them is
absent. Rules are `verdicts.Verdicts`, which judge all that an episode has done. An agent's knowledge is a *belief*:
states that may be, each with its probability, alike in all that is seen.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import numpy as np

from verdicts import Verdicts

Params = dict[str, Any]


class State(NamedTuple):
    """One episode."""

    z: tuple[float, ...]
    misread: tuple[float, ...]
    latency: float
    money: float
    time: int
    status: tuple[int, ...]
    calls: tuple[int, ...]
    down: tuple[bool, ...]
    tokens: tuple[float, ...]
    steps: tuple[tuple[int, bool, float], ...] = ()
    """All that was done, where there are rules: rows, whether they worked, seconds."""


class Outcome(NamedTuple):
    """What may come of a call."""

    chance: float
    state: State
    costs: np.ndarray
    failed: bool
    done: bool
    success: bool


Belief = list[tuple[float, State]]


def column(params: Params, name: str, default: Any) -> np.ndarray:
    """A column of the table, or what it is where it is absent."""
    found = params["actions"].get(name)
    rows = len(params["actions"]["latency"])
    return np.asarray(found, float) if found is not None else np.broadcast_to(np.asarray(default, float), rows)


def scalar(params: Params, name: str, default: float) -> float:
    found = params.get(name)
    return default if found is None else float(found)


def beyond(x: float, c: float) -> bool:
    """x exceeds c, past the slack that sums of decimal fractions need."""
    return x > c + 1e-5 * max(1.0, abs(c))


def excess(x: float, c: float) -> float:
    return x - c if beyond(x, c) else 0.0


def out_of_tolerance(params: Params, z: tuple[float, ...]) -> list[float]:
    """By how much each coordinate is."""
    high = params["tolerance"]
    low = params["tolerance_low"] if params.get("tolerance_low") is not None else high
    return [max(excess(x, high[i]), excess(-x, low[i])) for i, x in enumerate(z)]


def violation(params: Params, z: tuple[float, ...], latency: float, money: float) -> float:
    found = sum(out_of_tolerance(params, z))
    for spent, name in ((latency, "latency_budget"), (money, "money_budget")):
        if math.isfinite(params[name]):
            found += excess(spent, float(params[name])) / float(params[name])
    return found


def unreliable(params: Params) -> list[int]:
    """Rows that can be down."""
    up, down = column(params, "mean_uptime", math.inf), column(params, "mean_downtime", 0.0)
    return [row for row in range(len(up)) if math.isfinite(up[row]) and down[row] > 0]


def begin(params: Params, z: Any, misread: Any = None) -> Belief:
    """An episode that starts at z: what may be down is not known, but how often it is."""
    rows = len(params["actions"]["latency"])
    up, down = column(params, "mean_uptime", math.inf), column(params, "mean_downtime", 0.0)
    burst = tuple(column(params, "rate_burst", 1.0))
    here = tuple(float(x) for x in z)
    seen = (0.0,) * len(here) if misread is None else tuple(float(x) for x in misread)
    found: Belief = [(1.0, State(here, seen, 0.0, 0.0, 0, (0,) * rows, (0,) * rows, (False,) * rows, burst))]
    for row in unreliable(params):
        share = (1 / up[row]) / (1 / up[row] + 1 / down[row])
        found = [
            (weight * chance, state._replace(down=(*state.down[:row], is_down, *state.down[row + 1 :])))
            for weight, state in found
            for chance, is_down in ((share, True), (1 - share, False))
        ]
    return found


def legal(params: Params, state: State) -> list[int]:
    most, rules = column(params, "max_calls", math.inf), rules_of(params)
    if rules is not None:
        return rules.legal(state.steps)
    return [int(row) for row in np.flatnonzero(params["actions"]["allowed"]) if state.calls[row] < most[row]]


def rules_of(params: Params) -> Verdicts | None:
    """The rules, where there are any."""
    return params.get("rules")


def durations(mean: float, spread: float, timeout: float) -> list[tuple[float, float, bool]]:
    """(probability, seconds, timed out): of what is spread, the calls in time as one of their mean, and the others."""
    if spread == 0 or mean == 0:
        return [(1.0, min(mean, timeout), mean > timeout)]
    if math.isinf(timeout):
        return [(1.0, mean, False)]
    k = (math.log(timeout / mean) + spread**2 / 2) / spread
    late = 0.5 * math.erfc(k / math.sqrt(2))
    within = mean * 0.5 * math.erfc(-(k - spread) / math.sqrt(2))
    return [(1 - late, within / max(1 - late, 1e-300), False), (late, timeout, True)]


def outcomes(params: Params, state: State, action: int) -> Iterator[Outcome]:
    """All that may come of playing a legal row."""
    table, d = params["actions"], len(state.z)
    chances = (table["failure"], column(params, "after_ok", table["failure"]), column(params, "after_failed", 0.0))
    if table.get("after_failed") is None:
        chances = (*chances[:2], table["failure"])
    p = float(chances[state.status[action]][action])
    needed = table["requires"][action] if table.get("requires") is not None else [False] * d
    if any(needed[i] and x > 0 for i, x in enumerate(out_of_tolerance(params, state.z))):
        p = 1.0
    limited = math.isfinite(column(params, "rate_limit", math.inf)[action])
    if state.down[action] or (limited and state.tokens[action] < 1):
        p = 1.0

    for chance, failed_at_first in ((p, True), (1 - p, False)):
        name = "failure_latency" if failed_at_first and table.get("failure_latency") is not None else "latency"
        mean = float(table[name][action]) + column(params, "latency_growth", 0.0)[action] * state.time
        spread, timeout = column(params, "latency_spread", 0.0)[action], column(params, "timeout", math.inf)[action]
        for share, seconds, late in durations(mean, spread, timeout):
            if chance * share <= 0:
                continue
            failed = failed_at_first or late
            name = "failure_money" if failed and table.get("failure_money") is not None else "money"
            dollars = float(table[name][action]) + column(params, "money_growth", 0.0)[action] * state.time
            yield from _after(params, state, action, chance * share, failed, seconds, dollars)


def _after(
    params: Params, state: State, action: int, chance: float, failed: bool, seconds: float, dollars: float
) -> Iterator[Outcome]:
    """The same once it is known whether it failed and what it took: the task, the clocks, what goes down."""
    table, d, drift = params["actions"], len(state.z), params["drift"]
    rows = range(len(table["latency"]))
    resolves, ends = bool(table["resolves"][action]), bool(table["ends"][action])
    moved = [float(table["gain"][action][i]) * state.z[i] + float(table["shift"][action][i]) for i in range(d)]
    planned = [0.0] * d if resolves else list(state.z) if ends else moved
    if failed:
        z = [state.z[i] + float(drift[i]) for i in range(d)]
    elif ends:
        z = [0.0] * d if resolves else list(state.z)
    else:
        z = [moved[i] + float(drift[i]) for i in range(d)]
    misread = (0.0,) * d if table["reveals"][action] and not failed else state.misread

    latency, money, time = state.latency + seconds, state.money + dollars, state.time + 1
    flow, burst = column(params, "rate_limit", math.inf), column(params, "rate_burst", 1.0)
    tokens = list(state.tokens)
    if tokens[action] >= 1:
        tokens[action] -= 1
    tokens = [float(min(burst[i], tokens[i] + flow[i] * seconds) if math.isfinite(flow[i]) else burst[i]) for i in rows]

    rules, steps = rules_of(params), state.steps
    g = violation(params, tuple(z), latency, money)
    if rules is not None:
        steps = (*steps, (action, not failed, seconds))
        g += rules.owed(steps)
    auto_end = True if params.get("auto_end") is None else bool(params["auto_end"])
    done = (auto_end and g == 0) or (ends and not failed) or time >= int(params["horizon"])
    for spent, limit in ((latency, "latency_limit"), (money, "money_limit")):
        done = done or not beyond(scalar(params, limit, math.inf), spent)
    charged = g if rules is None else g + rules.paid(steps)
    costs = np.array([seconds, dollars, charged if done else 0.0, float(failed), math.dist(planned, z)])

    up, down = column(params, "mean_uptime", math.inf), column(params, "mean_downtime", 0.0)
    found = [(chance, state.down)]
    for row in unreliable(params):
        a, b = 1 / up[row], 1 / down[row]
        split = []
        for weight, was in found:
            risk = a / (a + b) + (was[row] - a / (a + b)) * math.exp(-(a + b) * seconds)
            for part, is_down in ((risk, True), (1 - risk, False)):
                split.append((weight * part, (*was[:row], is_down, *was[row + 1 :])))
        found = split
    status = (*state.status[:action], 2 if failed else 1, *state.status[action + 1 :])
    calls = (*state.calls[:action], state.calls[action] + 1, *state.calls[action + 1 :])
    for weight, is_down in found:
        if weight > 0:
            after = State(tuple(z), misread, latency, money, time, status, calls, is_down, tuple(tokens), steps)
            yield Outcome(weight, after, costs, failed, done, done and g == 0)


def seen(state: State) -> Hashable:
    """What an agent sees of a state."""
    shown = np.array(state.z) + np.array(state.misread)
    clocks = round(state.latency, 9), round(state.money, 9), tuple(round(x, 9) for x in state.tokens)
    return tuple(np.round(shown, 9)), clocks, state.status, state.calls, state.steps


def told(state: State) -> Hashable:
    """The same, and which rows are down."""
    return seen(state), state.down


def best(
    params: Params, belief: Belief, sees: Callable[[State], Hashable] = seen, memo: dict | None = None
) -> tuple[float, np.ndarray]:
    """The least expected cost over all policies; its five components and the probability of success ``[6]``."""
    memo = {} if memo is None else memo
    key = tuple(sorted((round(weight, 12), state) for weight, state in belief))
    if key not in memo:
        options = []
        for action in legal(params, belief[0][1]):
            total = played(params, belief, action, lambda later: best(params, later, sees, memo)[1], sees)
            options.append((float(np.asarray(params["weights"]) @ total[:5]), total))
        memo[key] = min(options, key=lambda option: option[0])
    return memo[key]


def played(
    params: Params,
    belief: Belief,
    action: int,
    onward: Callable[[Belief], np.ndarray],
    sees: Callable[[State], Hashable] = seen,
) -> np.ndarray:
    """Components and success ``[6]`` of one action, and `onward` of each belief that it may leave."""
    total, groups = np.zeros(6), {}
    for weight, state in belief:
        for found in outcomes(params, state, action):
            total[:5] += weight * found.chance * found.costs
            if found.done:
                total[5] += weight * found.chance * found.success
            else:
                together = groups.setdefault((found.failed, sees(found.state)), [])
                together.append((weight * found.chance, found.state))
    for together in groups.values():
        mass = sum(weight for weight, _ in together)
        total += mass * onward([(weight / mass, state) for weight, state in together])
    return total


def charged(params: Params, belief: Belief, charge: Callable[[np.ndarray], float]) -> float:
    """The least expected charge on an episode's components ``[5]``, over all policies that remember all they saw."""

    def least(belief: list[tuple[float, State, np.ndarray]]) -> float:
        values = []
        for action in legal(params, belief[0][1]):
            total, groups = 0.0, {}
            for weight, state, spent in belief:
                for found in outcomes(params, state, action):
                    costs = spent + found.costs
                    if found.done:
                        total += weight * found.chance * charge(costs)
                    else:
                        together = groups.setdefault((found.failed, seen(found.state)), [])
                        together.append((weight * found.chance, found.state, costs))
            values.append(total + sum(map(least, groups.values())))
        return min(values)

    return least([(weight, state, np.zeros(5)) for weight, state in belief])


def laws(params: Params, state: State | None, spent: tuple[float, ...] = (0.0,) * 5) -> list[tuple]:
    """Of every policy that may remember all: the probability and the components of each outcome, once each."""
    if state is None:
        return [((1.0, spent),)]
    found = []
    for action in legal(params, state):
        after = []
        for outcome in outcomes(params, state, action):
            costs = tuple(np.round(np.asarray(spent) + outcome.costs, 12).tolist())
            onward = laws(params, None if outcome.done else outcome.state, costs)
            after.append([tuple((outcome.chance * p, c) for p, c in law) for law in onward])
        found += [sum(choice, ()) for choice in itertools.product(*after)]
    return list(dict.fromkeys(found))


def tail_mean(law, alpha: float) -> float:
    """The mean of the worst share of a law of pairs, a probability and a cost: taken from the worst outcome on."""
    left, total = alpha, 0.0
    for chance, cost in sorted(law, key=lambda each: -each[1]):
        taken = min(left, chance)
        left, total = left - taken, total + taken * cost
    return total / alpha
