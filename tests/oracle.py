"""The environment a second time: one episode, one step, NumPy float64, plain loops and ifs.

Written from the specification alone, sentence by sentence and with no regard for speed, so that it can judge
`aljax.env`. It imports nothing from `aljax` and nothing from JAX.

A state is a dict with the fields of `EnvState`; parameters are a dict with the fields of `EnvParams`, whose
``"actions"`` is a dict with the fields of `ActionTable`. A field that a scenario doesn't use is None or missing, and
then means its default. A state always has every field, used or not: `used` says which of them `EnvState` should have.
`params_dict` and `state_dict` make the dicts from anything that has attributes of those names.

Where the specification leaves something open, it is read here as follows.

- More than `timeout`, and less than one token, are so past the slack of `over`: sums of decimal fractions meet both.
  For the same reason latency or money reaches its limit when the limit is not over it, and what is left of a bucket of
  which such a token was taken is 0.
- What is down comes from a number v by v < probability, at the start as after a step.
- A mean uptime of inf is up for good; a mean downtime of inf (with a finite uptime), or a mean uptime of 0, down for
  good; with inf or 0 for both means, it is up. A mean downtime of 0 is over at once, after a step of 0 seconds too.
- A bucket without a rate is full, after a step of 0 seconds too.
- A call that may not be made is a call: it has a status, counts, takes a token, and costs what a failed one does.
- A blind coordinate has no other misreading than being blind, whatever `misread` says of it.
- Weights of the starting points are relative to their sum.
- Which rows are legal doesn't depend on whether the episode has ended.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

State = dict[str, Any]
Params = dict[str, Any]

TABLE_NUMBERS = ("latency", "money", "failure", "gain", "shift", "noise")
TABLE_FLAGS = ("ends", "resolves", "reveals", "allowed")
TABLE_OPTIONAL = (
    "after_ok",
    "after_failed",
    "failure_latency",
    "failure_money",
    "latency_growth",
    "money_growth",
    "latency_spread",
    "timeout",
    "mean_uptime",
    "mean_downtime",
    "rate_limit",
    "rate_burst",
    "max_calls",
    "requires",
)
TABLE_FIELDS = TABLE_NUMBERS + TABLE_FLAGS
PARAM_FIELDS = (
    "drift",
    "start_low",
    "start_high",
    "misread",
    "tolerance",
    "latency_budget",
    "money_budget",
    "auto_end",
    "horizon",
    "weights",
    "z_scale",
    "latency_scale",
    "money_scale",
)
PARAM_OPTIONAL = ("start_points", "start_weights", "blind", "tolerance_low", "latency_limit", "money_limit")
STATE_FIELDS = ("z", "misread", "latency", "money", "time", "done")
STATE_OPTIONAL = ("status", "down", "calls", "tokens")

LATENCY, MONEY, VIOLATION, FAILURE, DIVERGENCE = range(5)
NOT_CALLED, WORKED, FAILED = range(3)

_BOOLEAN = ("ends", "resolves", "reveals", "allowed", "requires", "blind", "auto_end", "done", "down")
_WHOLE = ("horizon", "time", "status", "calls")


def _plain(name: str, value: Any) -> Any:
    """A value in the type that the field of that name has here."""
    dtype = np.bool_ if name in _BOOLEAN else np.int64 if name in _WHOLE else np.float64
    array = np.array(value, dtype)
    return int(array) if name == "horizon" else array


def params_dict(params: Any) -> Params:
    """`EnvParams` (or anything with its attributes) as a dict of float64, int and bool arrays, and None."""

    def read(thing: Any, needed: Sequence[str], optional: Sequence[str]) -> dict[str, Any]:
        out = {name: _plain(name, getattr(thing, name)) for name in needed}
        for name in optional:
            value = getattr(thing, name)
            out[name] = None if value is None else _plain(name, value)
        return out

    out = read(params, PARAM_FIELDS, PARAM_OPTIONAL)
    out["actions"] = read(params.actions, TABLE_FIELDS, TABLE_OPTIONAL)
    return out


def state_dict(state: Any, params: Params) -> State:
    """`EnvState` of one episode (or anything with its attributes) as a dict, with what it lacks as at a start."""
    out = start(np.array(state.z, np.float64), np.array(state.misread, np.float64), params)
    for name in ("latency", "money"):
        out[name] = float(getattr(state, name))
    out["time"], out["done"] = int(state.time), bool(state.done)
    for name in STATE_OPTIONAL:
        if getattr(state, name) is not None:
            out[name] = _plain(name, getattr(state, name))
    return out


# What a field means


def rows(params: Params) -> int:
    """A, the number of rows."""
    return len(params["actions"]["latency"])


def entry(params: Params, name: str, action: int) -> Any:
    """What the table says of that row, or the default of a column that it does not have."""
    table = params["actions"]
    if table.get(name) is not None:
        return table[name][action]
    if name in ("after_ok", "after_failed"):
        return table["failure"][action]
    if name == "failure_latency":
        return table["latency"][action]
    if name == "failure_money":
        return table["money"][action]
    if name == "requires":
        return [False] * len(params["tolerance"])
    return {
        "latency_growth": 0.0,
        "money_growth": 0.0,
        "latency_spread": 0.0,
        "timeout": math.inf,
        "mean_uptime": math.inf,
        "mean_downtime": 0.0,
        "rate_limit": math.inf,
        "rate_burst": 1.0,
        "max_calls": math.inf,
    }[name]


def has(params: Params, *names: str) -> bool:
    """Whether the scenario uses any of these fields, of the table or of the environment."""
    return any(params.get(name) is not None or params["actions"].get(name) is not None for name in names)


def used(params: Params) -> tuple[str, ...]:
    """The optional fields that `EnvState` has in this environment."""
    out = []
    if has(params, "after_ok", "after_failed", "mean_uptime"):
        out.append("status")
    if has(params, "mean_uptime"):
        out.append("down")
    if has(params, "max_calls"):
        out.append("calls")
    if has(params, "rate_limit"):
        out.append("tokens")
    return tuple(out)


# Bounds


def limit(c: float) -> float:
    """How large something may be that the bound c holds."""
    return float(c) + 1e-5 * max(1.0, abs(float(c)))


def over(x: float, c: float) -> float:
    """By how much x exceeds the bound c, past the slack that sums of decimal fractions need."""
    return float(x) - float(c) if x > limit(c) else 0.0


def tolerance_low(params: Params, i: int) -> float:
    """How far coordinate i may lie below 0."""
    low = params.get("tolerance_low")
    return float(params["tolerance"][i] if low is None else low[i])


def excess(z_i: float, params: Params, i: int) -> float:
    """How far coordinate i is out of tolerance."""
    return max(over(z_i, params["tolerance"][i]), over(-z_i, tolerance_low(params, i)))


def constraint(state: State, params: Params) -> float:
    """g(S): how far the task is out of tolerance, plus by how much each budget is overrun."""
    g = 0.0
    for i, z_i in enumerate(state["z"]):
        g += excess(float(z_i), params, i)
    for spent, budget in ((state["latency"], params["latency_budget"]), (state["money"], params["money_budget"])):
        g += over(spent, budget) / float(budget)
    return g


def reached(spent: float, bound: float) -> bool:
    """Whether as much is spent as a limit allows."""
    return over(bound, spent) == 0.0


# The start


def share_down(params: Params, action: int) -> float:
    """The probability that what is behind the row is down, in the chain's stationary law: a / (a + b)."""
    up, down = float(entry(params, "mean_uptime", action)), float(entry(params, "mean_downtime", action))
    if up == math.inf or down == 0.0:
        return 0.0
    if down == math.inf:
        return 1.0
    return down / (up + down)


def start(
    z: Sequence[float] | np.ndarray,
    misread: Sequence[float] | np.ndarray | None = None,
    params: Params | None = None,
) -> State:
    """The state in which an episode begins at `z`, misread by `misread` (default: not at all), with everything up.

    Without `params`, the optional fields are left out: an environment that uses none of them needs no more.
    """
    z = np.array(z, np.float64)
    state: State = {
        "z": z,
        "misread": np.zeros_like(z) if misread is None else np.array(misread, np.float64),
        "latency": 0.0,
        "money": 0.0,
        "time": 0,
        "done": False,
    }
    if params is not None:
        A = rows(params)
        state["status"] = np.full(A, NOT_CALLED)
        state["down"] = np.zeros(A, bool)
        state["calls"] = np.zeros(A, int)
        state["tokens"] = np.array([float(entry(params, "rate_burst", a)) for a in range(A)])
    return state


def expected_start(params: Params) -> np.ndarray:
    """E[z_0]: the middle of the box, plus, where there are points, their mean by weight."""
    mean = (np.array(params["start_low"], np.float64) + np.array(params["start_high"], np.float64)) / 2
    points = params.get("start_points")
    if points is not None:
        shares = point_shares(params)
        for point, share in zip(points, shares, strict=True):
            mean = mean + share * np.array(point, np.float64)
    return mean


def point_shares(params: Params) -> list[float]:
    """How probable each starting point is."""
    weights = params.get("start_weights")
    weights = [1.0] * len(params["start_points"]) if weights is None else [float(w) for w in weights]
    return [weight / sum(weights) for weight in weights]


def reset(
    params: Params,
    uniform: Sequence[float] | np.ndarray,
    normal: Sequence[float] | np.ndarray,
    point: int | None = None,
    v: Sequence[float] | np.ndarray | None = None,
) -> State:
    """The start that these numbers draw.

    Args:
        params: The environment.
        uniform: Numbers in [0, 1) for the box. ``[d]``
        normal: Numbers for the misreading. ``[d]``
        point: Which starting point is drawn, where there are points.
        v: Numbers in [0, 1) for what is down. ``[A]``
    """
    d = len(params["tolerance"])
    z = np.zeros(d)
    for i in range(d):
        low, high = float(params["start_low"][i]), float(params["start_high"][i])
        z[i] = low + uniform[i] * (high - low)
        if params.get("start_points") is not None:
            z[i] += params["start_points"][point][i]
    misread = np.zeros(d)
    for i in range(d):
        misread[i] = params["misread"][i] * normal[i]
        if params.get("blind") is not None and params["blind"][i]:
            misread[i] = expected_start(params)[i] - z[i]
    state = start(z, misread, params)
    for a in range(rows(params)):
        state["down"][a] = share_down(params, a) > 0 and v[a] < share_down(params, a)
    return state


# One step


def nearest_row(action: int, params: Params) -> int:
    """The row that an action outside 0 … A−1 is treated as."""
    return min(max(int(action), 0), rows(params) - 1)


def legal(state: State, params: Params) -> np.ndarray:
    """Which rows may be played: those that are allowed and have a call left. ``[A]``"""
    out = []
    for a in range(rows(params)):
        left = state_of(state, "calls", a) < entry(params, "max_calls", a)
        out.append(bool(params["actions"]["allowed"][a]) and bool(left))
    return np.array(out, bool)


def state_of(state: State, name: str, action: int) -> Any:
    """What the state says of that row, or what it says at the start where the environment uses no such field."""
    if state.get(name) is not None:
        return state[name][action]
    return {"status": NOT_CALLED, "down": False, "calls": 0, "tokens": 1.0}[name]


def failure_probability(state: State, action: int, params: Params) -> float:
    """p of step 2: by how the row's own latest call in this episode went."""
    status = state_of(state, "status", action)
    if status == FAILED:
        return float(entry(params, "after_failed", action))
    if status == WORKED:
        return float(entry(params, "after_ok", action))
    return float(params["actions"]["failure"][action])


def fails(state: State, action: int, u: float, params: Params) -> bool:
    """Whether the call fails, before any time-out: step 2."""
    if u < failure_probability(state, action, params):
        return True
    if not legal(state, params)[action]:
        return True
    if state_of(state, "down", action):
        return True
    for i, required in enumerate(entry(params, "requires", action)):
        if required and excess(float(state["z"][i]), params, i) > 0:
            return True
    return not has_token(state, action)


def has_token(state: State, action: int) -> bool:
    """Whether the row's bucket holds a token."""
    return over(1.0, state_of(state, "tokens", action)) == 0.0


def wanted_seconds(state: State, action: int, failed: bool, n: float, params: Params) -> float:
    """The seconds that the call would take were there no time-out."""
    seconds = float(entry(params, "failure_latency", action)) if failed else float(params["actions"]["latency"][action])
    seconds += float(entry(params, "latency_growth", action)) * state["time"]
    sigma = float(entry(params, "latency_spread", action))
    return seconds * math.exp(sigma * n - sigma**2 / 2)


def down_after(down: bool, seconds: float, action: int, params: Params) -> float:
    """The probability that what is behind the row is down so many seconds later."""
    up_mean, down_mean = float(entry(params, "mean_uptime", action)), float(entry(params, "mean_downtime", action))
    share = share_down(params, action)
    if up_mean == 0.0 or down_mean == 0.0:
        return share
    a, b = 1.0 / up_mean, 1.0 / down_mean
    return share + ((1.0 if down else 0.0) - share) * math.exp(-(a + b) * seconds)


def step(
    state: State,
    action: int,
    u: float,
    eps: Sequence[float] | np.ndarray,
    params: Params,
    n: float = 0.0,
    v: Sequence[float] | np.ndarray | None = None,
) -> tuple[State, np.ndarray]:
    """f(S, A, (u, eps, n, v)): the state after, and the five costs (steps 1 to 9).

    `n` matters to rows with a spread only, `v` (``[A]``) to those with an uptime only.
    """
    costs = np.zeros(5)
    if state["done"]:
        return dict(state), costs

    action = nearest_row(action, params)
    row = {name: params["actions"][name][action] for name in TABLE_FIELDS}
    z, drift = state["z"], params["drift"]
    d = len(z)

    failed = fails(state, action, u, params)
    seconds = wanted_seconds(state, action, failed, n, params)
    timeout = float(entry(params, "timeout", action))
    failed = failed or over(seconds, timeout) > 0
    seconds = min(seconds, timeout)
    dollars = float(entry(params, "failure_money", action)) if failed else float(row["money"])
    dollars += float(entry(params, "money_growth", action)) * state["time"]

    planned = np.zeros(d)
    for i in range(d):
        if row["resolves"]:
            planned[i] = 0.0
        elif row["ends"]:
            planned[i] = z[i]
        else:
            planned[i] = row["gain"][i] * z[i] + row["shift"][i]

    realized = np.zeros(d)
    for i in range(d):
        if failed:
            realized[i] = z[i] + drift[i]
        elif row["ends"] and row["resolves"]:
            realized[i] = 0.0
        elif row["ends"]:
            realized[i] = z[i]
        else:
            realized[i] = row["gain"][i] * z[i] + row["shift"][i] + row["noise"] * eps[i] + drift[i]

    misread = state["misread"].copy()
    if row["reveals"] and not failed:
        misread = np.zeros(d)

    after: State = {
        "z": realized,
        "misread": misread,
        "latency": state["latency"] + seconds,
        "money": state["money"] + dollars,
        "time": state["time"] + 1,
        "done": False,
    }
    A = rows(params)
    if state.get("status") is not None:
        after["status"] = state["status"].copy()
        after["status"][action] = FAILED if failed else WORKED
    if state.get("calls") is not None:
        after["calls"] = state["calls"].copy()
        after["calls"][action] += 1
    if state.get("tokens") is not None:
        after["tokens"] = state["tokens"].copy()
        if has_token(state, action):
            after["tokens"][action] = max(after["tokens"][action] - 1.0, 0.0)
        for a in range(A):
            rate, burst = float(entry(params, "rate_limit", a)), float(entry(params, "rate_burst", a))
            after["tokens"][a] = burst if rate == math.inf else min(burst, after["tokens"][a] + rate * seconds)
    if state.get("down") is not None:
        after["down"] = state["down"].copy()
        for a in range(A):
            probability = down_after(bool(state["down"][a]), seconds, a, params)
            after["down"][a] = probability > 0 and v[a] < probability

    g = constraint(after, params)
    if g == 0.0 and params["auto_end"]:
        after["done"] = True
    if row["ends"] and not failed:
        after["done"] = True
    if after["time"] == params["horizon"]:
        after["done"] = True
    for name in ("latency", "money"):
        bound = params.get(f"{name}_limit")
        if bound is not None and reached(after[name], float(bound)):
            after["done"] = True

    costs[LATENCY] = seconds
    costs[MONEY] = dollars
    if after["done"]:
        costs[VIOLATION] = g
    if failed:
        costs[FAILURE] = 1.0
    costs[DIVERGENCE] = math.sqrt(sum((planned[i] - realized[i]) ** 2 for i in range(d)))
    return after, costs


def observe(state: State, params: Params) -> np.ndarray:
    """The observation in the specification's order: five parts, then what the environment has beside them."""
    seen = [float(z_i + m_i) for z_i, m_i in zip(state["z"], state["misread"], strict=True)]
    A = rows(params)
    out: list[float] = []
    for seen_i, scale_i in zip(seen, params["z_scale"], strict=True):
        out.append(seen_i / scale_i)
    out.append(state["latency"] / params["latency_scale"])
    out.append(state["money"] / params["money_scale"])
    for i, seen_i in enumerate(seen):
        out.append(1.0 if excess(seen_i, params, i) > 0 else 0.0)
    out.append(state["time"] / params["horizon"])
    if "status" in used(params):
        for a in range(A):
            out.append(1.0 if state["status"][a] == FAILED else 0.0)
        if has(params, "after_ok"):
            for a in range(A):
                out.append(1.0 if state["status"][a] == WORKED else 0.0)
    if "calls" in used(params):
        for a in range(A):
            most = entry(params, "max_calls", a)
            out.append(state["calls"][a] / most if most < math.inf else 0.0)
    if "tokens" in used(params):
        for a in range(A):
            has_bucket = entry(params, "rate_limit", a) < math.inf
            out.append(state["tokens"][a] / entry(params, "rate_burst", a) if has_bucket else 0.0)
    return np.array(out, np.float64)


def play(
    state: State,
    actions: Sequence[int] | np.ndarray,
    u: Sequence[float] | np.ndarray,
    eps: np.ndarray,
    params: Params,
    n: Sequence[float] | np.ndarray | None = None,
    v: np.ndarray | None = None,
) -> tuple[list[State], np.ndarray, np.ndarray]:
    """Plays `actions[T]` on the luck `u[T]`, `eps[T, d]`, `n[T]`, `v[T, A]`, on past an end that comes before.

    Returns the T states, the costs ``[T, 5]`` and the observations ``[T, O]``, each after its step.
    """
    states, costs, observations = [], [], []
    for t in range(len(actions)):
        n_t, v_t = 0.0 if n is None else float(n[t]), None if v is None else v[t]
        state, cost = step(state, int(actions[t]), float(u[t]), eps[t], params, n_t, v_t)
        states.append(state)
        costs.append(cost)
        observations.append(observe(state, params))
    return states, np.array(costs), np.array(observations)


def margin(
    before: State,
    action: int,
    u: float,
    after: State,
    params: Params,
    n: float = 0.0,
    v: Sequence[float] | np.ndarray | None = None,
) -> float:
    """How far this step was from a jump of f or of the observation; rounding below it changes no decision.

    The jumps lie at u = p, where z_i (before, after, or as read) is just out of tolerance, a budget just used up, a
    limit just reached, a time-out just kept, a token just there, and v the probability of being down.
    """
    if before["done"]:
        return math.inf
    action = nearest_row(action, params)
    distances = [abs(u - failure_probability(before, action, params))]

    def to_tolerance(z_i: float, i: int) -> None:
        for side, bound in ((z_i, float(params["tolerance"][i])), (-z_i, tolerance_low(params, i))):
            if bound < math.inf:
                distances.append(abs(side - limit(bound)))

    for i, required in enumerate(entry(params, "requires", action)):
        if required:
            to_tolerance(float(before["z"][i]), i)
    for i in range(len(after["z"])):
        to_tolerance(float(after["z"][i]), i)
        to_tolerance(float(after["z"][i] + after["misread"][i]), i)
    for name in ("latency", "money"):
        distances.append(abs(after[name] / limit(params[f"{name}_budget"]) - 1.0))
        if params.get(f"{name}_limit") is not None:
            distances.append(abs(limit(after[name]) / float(params[f"{name}_limit"]) - 1.0))
    timeout = float(entry(params, "timeout", action))
    if timeout < math.inf:
        failed = fails(before, action, u, params)
        distances.append(abs(wanted_seconds(before, action, failed, n, params) - limit(timeout)))
    tokens = state_of(before, "tokens", action)
    if tokens != entry(params, "rate_burst", action):  # a full bucket is full on any machine
        distances.append(abs(limit(tokens) - 1.0))
    if has(params, "mean_uptime"):
        for a in range(rows(params)):
            seconds = after["latency"] - before["latency"]
            probability = down_after(bool(before["down"][a]), seconds, a, params)
            distances.append(abs(v[a] - probability) if 0 < probability < 1 else math.inf)
    return float(min(distances))
