"""Small environments of a known structure, and their exact optimum by enumeration in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax.env import EnvParams

import oracle
from strategies import env_params, simple_environment

A, D, H, MEMBERS = 4, 2, 4, 8

FAMILIES = {
    # One structure each, and so one compilation; numbers, masks, budgets and horizons vary within.
    "everything": {"ends": [0, 0, 1, 1], "resolves": [0, 0, 1, 0], "sticky": True, "budgets": True, "masks": True},
    "pooled": {"ends": [0, 0, 0, 1], "resolves": [0, 0, 0, 1], "sticky": True, "budgets": True, "alike": True},
    "free": {"ends": [0, 0, 0, 1], "resolves": [0, 0, 0, 0], "sticky": False, "budgets": False, "masks": True},
}


def single(values: Any) -> np.ndarray:
    return np.asarray(np.asarray(values, np.float32), np.float64)


def family(name: str) -> list[oracle.Params]:
    """Random environments of one structure, some of everything; every number float32-representable."""
    kind, rng = FAMILIES[name], np.random.default_rng(sorted(FAMILIES).index(name))
    ends = np.array(kind["ends"], bool)
    found = []
    for member in range(MEMBERS):
        failure = single(rng.uniform(0, 0.6, A) * (rng.random(A) < 0.8))
        allowed = rng.random(A) < (0.7 if kind.get("masks") else 1.0)
        allowed[rng.integers(A)] = True
        changes: dict[str, Any] = {
            "latency": single(rng.uniform(0.2, 3, A)),
            "money": single(rng.uniform(0.1, 2, A)),
            "failure": failure,
            "retry_failure": single(rng.uniform(0, 1, A)) if kind["sticky"] else failure,
            # Ending rows' gain and noise never show.
            "gain": np.where(ends[:, None], 0.5, 1.0),
            "noise": np.where(ends, 0.5, 0.0),
            "shift": single(rng.normal(0, 2, (A, D))),
            "ends": ends,
            "resolves": np.array(kind["resolves"], bool),
            "allowed": allowed,
            "drift": single(rng.normal(0, 0.5, D)),
            "start_low": np.full(D, -4.0),
            "start_high": np.full(D, 4.0),
            "tolerance": single(rng.uniform(0.5, 2.5, D)),
            "horizon": 1 + member % H,
            "weights": single(rng.uniform(0.1, 1, 5) * [1, 1, 4, 1, 1]),
            "latency_scale": 5.0,
            "money_scale": 5.0,
            "z_scale": single(rng.uniform(1, 4, D)),
        }
        if kind["budgets"]:
            changes["latency_budget"] = single(rng.choice([np.inf, rng.uniform(1, 5)]))
            changes["money_budget"] = single(rng.choice([np.inf, rng.uniform(1, 4)]))
        if kind.get("alike"):  # rows 0 and 2 do the same at the same price, and differ in their chance of failing
            changes["money"] = np.full(A, 0.5)
            changes["latency"] = np.array([1.0, 2.0, 1.0, 0.75])
            changes["shift"][2] = changes["shift"][0]
        found.append(simple_environment(A, D, **changes))
    return found


def stacked(plains: list[oracle.Params]) -> EnvParams:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(env_params, plains))


def starts(seed: int, count: int) -> np.ndarray:
    return single(np.random.default_rng(seed).uniform(-4, 4, (D, count)))


def outcomes(state: oracle.State, action: int, params: oracle.Params):
    """(probability, state, costs) of failure and of success, each forced."""
    p = oracle.failure_probability(state, action, params)
    for chance, u in ((p, -1.0), (1 - p, 2.0)):
        if chance > 0:
            yield chance, *oracle.step(state, action, u, np.zeros(len(state["z"])), params)


def ended(state: oracle.State, params: oracle.Params) -> float:
    return float(oracle.constraint(state, params) == 0)


def best(state: oracle.State, params: oracle.Params) -> tuple[float, np.ndarray]:
    """The least expected cost over all policies, with components and success: expectimax, without memory."""
    weights = np.append(params["weights"], 0.0)
    options = []
    for action in np.flatnonzero(params["actions"]["allowed"]):
        total = np.zeros(6)
        for chance, moved, costs in outcomes(state, action, params):
            onward = best(moved, params)[1] if not moved["done"] else np.array([0.0] * 5 + [ended(moved, params)])
            total += chance * (np.append(costs, 0.0) + onward)
        options.append((float(weights @ total), total))
    return min(options, key=lambda option: option[0])
