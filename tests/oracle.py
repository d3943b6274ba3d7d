"""The environment a second time: one episode, one step, NumPy float64, plain loops and ifs.

Written from the specification alone, sentence by sentence and with no regard for speed, so that it can judge
`aljax.env`. It imports nothing from `aljax` and nothing from JAX.

A state is a dict with the fields of `EnvState`; parameters are a dict with the fields of `EnvParams`, whose
``"actions"`` is a dict with the fields of `ActionTable`. `params_dict` and `state_dict` make them from
anything that has attributes of those names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

State = dict[str, Any]
Params = dict[str, Any]

TABLE_NUMBERS = ("latency", "money", "failure", "retry_failure", "gain", "shift", "noise")
TABLE_FLAGS = ("ends", "resolves", "reveals", "allowed")
TABLE_FIELDS = TABLE_NUMBERS + TABLE_FLAGS
PARAM_FIELDS = (
    "drift",
    "start_low",
    "start_high",
    "misread",
    "tolerance",
    "latency_budget",
    "money_budget",
    "horizon",
    "weights",
    "z_scale",
    "latency_scale",
    "money_scale",
)
STATE_FIELDS = ("z", "misread", "latency", "money", "time", "last_failed", "done")

LATENCY, MONEY, VIOLATION, FAILURE, DIVERGENCE = range(5)


def params_dict(params: Any) -> Params:
    """`EnvParams` (or anything with its attributes) as a dict of float64, int and bool arrays."""
    actions = {name: np.array(getattr(params.actions, name), np.float64) for name in TABLE_NUMBERS}
    actions |= {name: np.array(getattr(params.actions, name), np.bool_) for name in TABLE_FLAGS}
    out: Params = {name: np.array(getattr(params, name), np.float64) for name in PARAM_FIELDS}
    out["horizon"] = int(params.horizon)
    out["actions"] = actions
    return out


def state_dict(state: Any) -> State:
    """`EnvState` of one episode (or anything with its attributes) as a dict."""
    return {
        "z": np.array(state.z, np.float64),
        "misread": np.array(state.misread, np.float64),
        "latency": float(state.latency),
        "money": float(state.money),
        "time": int(state.time),
        "last_failed": int(state.last_failed),
        "done": bool(state.done),
    }


def start(z: Sequence[float] | np.ndarray, misread: Sequence[float] | np.ndarray | None = None) -> State:
    """The state in which an episode begins at `z`, misread by `misread` (default: not at all)."""
    z = np.array(z, np.float64)
    return {
        "z": z,
        "misread": np.zeros_like(z) if misread is None else np.array(misread, np.float64),
        "latency": 0.0,
        "money": 0.0,
        "time": 0,
        "last_failed": -1,
        "done": False,
    }


def limit(c: float) -> float:
    """How large something may be that the bound c holds."""
    return float(c) + 1e-5 * max(1.0, abs(float(c)))


def over(x: float, c: float) -> float:
    """By how much x exceeds the bound c, past the slack that sums of decimal fractions need."""
    return float(x) - float(c) if x > limit(c) else 0.0


def constraint(state: State, params: Params) -> float:
    """g(S): how far the task is out of tolerance, plus by how much each budget is overrun."""
    g = 0.0
    for z_i, tolerance_i in zip(state["z"], params["tolerance"], strict=True):
        g += over(abs(z_i), tolerance_i)
    for spent, budget in ((state["latency"], params["latency_budget"]), (state["money"], params["money_budget"])):
        g += over(spent, budget) / float(budget)
    return g


def nearest_row(action: int, params: Params) -> int:
    """The row that an action outside 0 … A−1 is treated as."""
    return min(max(int(action), 0), len(params["actions"]["latency"]) - 1)


def failure_probability(state: State, action: int, params: Params) -> float:
    """p of spec 2.1, with 1 for a row that is not allowed."""
    row = params["actions"]
    if not row["allowed"][action]:
        return 1.0
    if state["last_failed"] == action:
        return float(row["retry_failure"][action])
    return float(row["failure"][action])


def step(
    state: State, action: int, u: float, eps: Sequence[float] | np.ndarray, params: Params
) -> tuple[State, np.ndarray]:
    """f(S, A, (u, eps)): the state after, and the five costs (spec 2.1 to 2.6)."""
    costs = np.zeros(5)
    if state["done"]:
        return dict(state), costs

    action = nearest_row(action, params)
    row = {name: column[action] for name, column in params["actions"].items()}
    z, drift = state["z"], params["drift"]
    d = len(z)

    failed = True if not row["allowed"] else u < failure_probability(state, action, params)

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
        "latency": state["latency"] + float(row["latency"]),
        "money": state["money"] + float(row["money"]),
        "time": state["time"] + 1,
        "last_failed": action if failed else -1,
        "done": False,
    }

    g = constraint(after, params)
    if g == 0.0:
        after["done"] = True
    if row["ends"] and not failed:
        after["done"] = True
    if after["time"] == params["horizon"]:
        after["done"] = True

    costs[LATENCY] = row["latency"]
    costs[MONEY] = row["money"]
    if after["done"]:
        costs[VIOLATION] = g
    if failed:
        costs[FAILURE] = 1.0
    costs[DIVERGENCE] = math.sqrt(sum((planned[i] - realized[i]) ** 2 for i in range(d)))
    return after, costs


def observe(state: State, params: Params) -> np.ndarray:
    """The observation in the specification's order, ``[d + 1 + 1 + d + 1 + A]``."""
    seen = [float(z_i + m_i) for z_i, m_i in zip(state["z"], state["misread"], strict=True)]
    out: list[float] = []
    for seen_i, scale_i in zip(seen, params["z_scale"], strict=True):
        out.append(seen_i / scale_i)
    out.append(state["latency"] / params["latency_scale"])
    out.append(state["money"] / params["money_scale"])
    for seen_i, tolerance_i in zip(seen, params["tolerance"], strict=True):
        out.append(1.0 if over(abs(seen_i), tolerance_i) > 0 else 0.0)
    out.append(state["time"] / params["horizon"])
    for row in range(len(params["actions"]["latency"])):
        out.append(1.0 if state["last_failed"] == row else 0.0)
    return np.array(out, np.float64)


def play(
    state: State,
    actions: Sequence[int] | np.ndarray,
    u: Sequence[float] | np.ndarray,
    eps: np.ndarray,
    params: Params,
) -> tuple[list[State], np.ndarray, np.ndarray]:
    """Plays `actions[T]` on the luck `u[T]`, `eps[T, d]`, on past the end if the episode ends before.

    Returns the T states, the costs ``[T, 5]`` and the observations ``[T, O]``, each after its step.
    """
    states, costs, observations = [], [], []
    for t in range(len(actions)):
        state, cost = step(state, int(actions[t]), float(u[t]), eps[t], params)
        states.append(state)
        costs.append(cost)
        observations.append(observe(state, params))
    return states, np.array(costs), np.array(observations)


def margin(before: State, action: int, u: float, after: State, params: Params) -> float:
    """How far this step was from a jump of f or of the observation; rounding below it changes no decision.

    The jumps lie at u = p, where |z_i| (true or observed) is just over tolerance_i, and a budget just used up.
    """
    if before["done"]:
        return math.inf
    distances = [abs(u - failure_probability(before, nearest_row(action, params), params))]
    for i, tolerance_i in enumerate(params["tolerance"]):
        distances.append(abs(abs(after["z"][i]) - limit(tolerance_i)))
        distances.append(abs(abs(after["z"][i] + after["misread"][i]) - limit(tolerance_i)))
    for spent, budget in ((after["latency"], params["latency_budget"]), (after["money"], params["money_budget"])):
        distances.append(abs(spent / limit(budget) - 1.0))
    return float(min(distances))
