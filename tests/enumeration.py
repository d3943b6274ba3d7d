"""Small environments of a known structure, as plain dicts and as the library's, and their optimum by enumeration.

Every number is one that single precision holds.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aljax.env import ActionTable, EnvParams
from aljax.exact.recursion import solve
from aljax.exact.structure import make_plan
from aljax.fields import fields_of

import expectimax
from expectimax import Params
from strategies import env_params, simple_environment

A, D, H, MEMBERS = 4, 2, 4, 8

FAMILIES: dict[str, dict[str, Any]] = {
    # One structure each, and so one compilation; numbers, masks, budgets and horizons vary within.
    "statuses": {
        "ends": [0, 0, 1, 1], "resolves": [0, 0, 1, 0], "masks": True,
        "columns": ("after_ok", "after_failed", "failure_latency", "failure_money", "latency_budget", "money_budget"),
    },
    "pooled": {
        "ends": [0, 0, 0, 1], "resolves": [0, 0, 0, 1], "alike": True,
        "columns": ("after_failed", "latency_budget", "money_budget"),
    },
    "free": {"ends": [0, 0, 0, 1], "resolves": [0, 0, 0, 0], "masks": True, "columns": ("auto_end",)},
    "growing": {
        "ends": [0, 0, 0, 1], "resolves": [0, 0, 0, 0],
        "columns": ("latency_growth", "money_growth", "latency_budget", "money_limit", "failure_latency", "after_ok"),
    },
    "limited": {
        "ends": [0, 0, 0, 1], "resolves": [0, 0, 0, 1],
        "columns": ("max_calls", "requires", "tolerance_low", "latency_limit", "auto_end", "after_failed", "timeout"),
    },
    "timed": {
        "ends": [0, 0, 0, 1], "resolves": [0, 0, 0, 0],
        "columns": ("timeout", "latency_spread", "latency_growth", "money_budget", "failure_money", "after_failed"),
    },
}  # fmt: skip


def single(values: Any) -> np.ndarray:
    return np.asarray(np.asarray(values, np.float32), np.float64)


def with_fields(plain: Params, **changes: Any) -> Params:
    """The same with other fields, as they are given."""
    table = {name: np.asarray(x) for name, x in changes.items() if name in fields_of(ActionTable)}
    rest = {name: np.asarray(x) for name, x in changes.items() if name not in table}
    return plain | rest | {"actions": plain["actions"] | table}


def stacked(plains: list[Params]) -> EnvParams:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(env_params, plains))


def random_columns(rng: np.random.Generator, names: tuple[str, ...]) -> dict[str, Any]:
    """Numbers for optional fields, and budgets, of environments of four rows."""
    growth = np.array([0.0, 0.5, 0.5, 0.25])  # two grow alike
    made = {
        "after_ok": rng.uniform(0, 0.5, A),
        "after_failed": rng.uniform(0, 1, A),
        "failure_latency": rng.uniform(0, 5, A),
        "failure_money": rng.uniform(0, 3, A),
        "latency_growth": growth * rng.uniform(0.5, 2),
        "money_growth": growth * rng.uniform(0.5, 2),
        "latency_spread": rng.uniform(0, 1, A) * (rng.random(A) < 0.7),
        "timeout": np.where(rng.random(A) < 0.7, rng.uniform(0.5, 4, A), np.inf),
        "max_calls": np.array([2.0, np.inf, 1.0, np.inf]),
        "requires": rng.random((A, D)) < 0.3,
        "tolerance_low": np.where(rng.random(D) < 0.7, rng.uniform(0.5, 4, D), np.inf),
        "latency_limit": rng.uniform(2, 6),
        "money_limit": rng.uniform(2, 5),
        "latency_budget": rng.choice([np.inf, rng.uniform(1, 5)]),
        "money_budget": rng.choice([np.inf, rng.uniform(1, 4)]),
        "auto_end": rng.random() < 0.5,
    }
    found = {name: np.asarray(made[name]) for name in names}
    return {name: x if x.dtype == bool else single(x) for name, x in found.items()}


def family(name: str) -> list[Params]:
    """Random environments of one structure, some of everything."""
    kind, rng = FAMILIES[name], np.random.default_rng(sorted(FAMILIES).index(name))
    ends = np.array(kind["ends"], bool)
    found = []
    for member in range(MEMBERS):
        allowed = rng.random(A) < (0.7 if kind.get("masks") else 1.0)
        allowed[rng.integers(A)] = True
        changes: dict[str, Any] = {
            "latency": single(rng.uniform(0.2, 3, A)),
            "money": single(rng.uniform(0.1, 2, A)),
            "failure": single(rng.uniform(0, 0.6, A) * (rng.random(A) < 0.8)),
            # Ending rows' gain and noise never show.
            "gain": np.where(ends[:, None], 0.5, 1.0),
            "noise": np.where(ends, 0.5, 0.0),
            "shift": single(rng.normal(0, 2, (A, D))),
            "ends": ends,
            "resolves": np.array(kind["resolves"], bool),
            "allowed": allowed,
            "drift": single(rng.normal(0, 0.5, D)),
            "start_low": -4.0,
            "start_high": 4.0,
            "tolerance": single(rng.uniform(0.5, 2.5, D)),
            "horizon": 1 + member % H,
            "weights": single(rng.uniform(0.1, 1, 5) * [1, 1, 4, 1, 1]),
            "z_scale": single(rng.uniform(1, 4, D)),
        }
        changes |= random_columns(rng, kind["columns"])
        if kind.get("alike"):  # rows 0 and 2 do the same at the same price, and differ in their chance of failing
            changes["money"] = np.full(A, 0.5)
            changes["latency"] = np.array([1.0, 2.0, 1.0, 0.75])
            changes["shift"][2] = changes["shift"][0]
        found.append(simple_environment(A, D, **changes))
    return found


def blind_points(**changes: Any) -> expectimax.Params:
    """Three of four points look alike: what is blind are the second coordinate and, in its middle, nothing else."""
    return simple_environment(
        A, D,
        latency=[0.5, 1.0, 0.25, 0.25], money=[0.25, 0.125, 0.5, 3.0], failure=[0.25, 0.5, 0.125, 0.25],
        after_failed=[0.5, 0.5, 0.75, 0.25], max_calls=[2.0, np.inf, np.inf, np.inf],
        shift=[[-1.0, 0.0], [0.0, -1.0], [0.0, -2.0], [0.0, 0.0]], ends=[False, False, False, True],
        resolves=[False, False, False, True], drift=[0.125, 0.25], start_low=0.5, start_high=0.5,
        start_points=[[1.0, 0.0], [1.0, 1.5], [1.0, 3.0], [2.0, 4.0]], start_weights=[1.0, 2.0, 1.0, 0.5],
        blind=[False, True], auto_end=False, tolerance=0.75, tolerance_low=[np.inf, 0.5], latency_limit=3.5,
        weights=[0.25, 0.5, 1.0, 0.5, 0.25], horizon=4, **changes,
    )  # fmt: skip


def belief_of(plain: Params, z: np.ndarray) -> expectimax.Belief:
    """The points that look like a start, by their weights."""
    points, shares = plain["start_low"] + plain["start_points"], plain["start_weights"]
    mean = shares @ points / shares.sum()
    alike = [n for n, point in enumerate(points) if shares[n] > 0 and (point == z)[~plain["blind"]].all()]
    found: expectimax.Belief = []
    for n in alike:
        for chance, state in expectimax.begin(plain, points[n], np.where(plain["blind"], mean - points[n], 0.0)):
            found.append((chance * shares[n] / shares[alike].sum(), state))
    return found


def starts(seed: int, count: int) -> np.ndarray:
    return single(np.random.default_rng(seed).uniform(-4, 4, (D, count)))


def best(z: np.ndarray, params: Params) -> tuple[float, np.ndarray]:
    """The least expected cost from a start over all policies, with components and success ``[6]``."""
    return expectimax.best(params, expectimax.begin(params, z))


@functools.cache
def solved(name: str):
    """Family, its environments together, plan, starts, solution and program: each family is compiled once."""
    plains, z = family(name), starts(7, 3)
    params = stacked(plains)
    plan = make_plan(params)
    program = jax.jit(jax.vmap(functools.partial(solve, plan=plan), (0, None)))
    return plains, params, plan, z, program(params, jnp.asarray(z, jnp.float32)), program


# Hypothesis: numbers on a grid, so that what is exactly met is met often.


def _grid(low: float, high: float) -> st.SearchStrategy[float]:
    """Multiples of 1/8 in [low, high]."""
    return st.integers(round(low * 8), round(high * 8)).map(lambda k: k / 8)


@st.composite
def members(draw: st.DrawFn, name: str) -> Params:
    """Environments of the structure of a family, of other numbers."""
    probability = st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0])
    bound = st.one_of(st.just(np.inf), _grid(1, 5))
    per_row = {
        "latency": _grid(0, 3),
        "money": _grid(0, 2),
        "failure": probability,
        "after_ok": probability,
        "after_failed": probability,
        "failure_latency": _grid(0, 5),
        "failure_money": _grid(0, 3),
        "latency_spread": st.one_of(st.just(0.0), _grid(0.125, 1)),
        "timeout": st.one_of(st.just(np.inf), _grid(0.5, 4)),
    }
    scalars = dict.fromkeys(("latency_budget", "money_budget", "latency_limit", "money_limit"), bound)
    scalars |= {"auto_end": st.booleans()}
    per_coordinate = {"drift": _grid(-1, 1), "tolerance": _grid(0, 3), "tolerance_low": _grid(0, 4)}
    usual = family(name)[0]
    changes = {}
    drawn = ("latency", "money", "failure", "drift", "tolerance", *FAMILIES[name]["columns"])
    for shape, fields in ((A, per_row), (D, per_coordinate), ((), scalars)):
        for field, numbers in fields.items():
            if field in drawn:
                dtype = bool if field == "auto_end" else np.float64
                changes[field] = draw(hnp.arrays(dtype, shape, elements=numbers, fill=st.nothing()))
    changes["shift"] = draw(hnp.arrays(np.float64, (A, D), elements=_grid(-3, 3), fill=st.nothing()))
    changes["weights"] = draw(hnp.arrays(np.float64, 5, elements=_grid(0, 2), fill=st.nothing()))
    changes["horizon"] = draw(st.integers(1, H))
    if "requires" in usual["actions"]:
        changes["requires"] = draw(hnp.arrays(bool, (A, D), elements=st.booleans(), fill=st.nothing()))
    return with_fields(usual, **changes)
