"""Random environments, states and plays, as the plain dicts of `oracle`, and as the library's own values.

Two families. `grids` are for hypothesis: every number is a multiple of 1/8 and every gain 0, ±1/2 or ±1, so
that for the eight steps that an episode can last each sum and product is exact in float32. Only divisions and
square roots round there, hence single precision takes every decision (u < p, |z| > tolerance, g = 0) exactly
as double precision does, ties included. `random_environment` and `random_play` draw ordinary numbers from a
NumPy generator, in bulk; `exact_plays` round those to where nothing at all rounds but the square root.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aljax.env import ActionTable, EnvParams, EnvState

import oracle

SHAPES = ((1, 1), (3, 2), (6, 4), (8, 5))
"""Rows and coordinates, (A, d): few, because every shape is compiled, with the ends of both ranges."""

MAX_HORIZON = 8
STEPS = MAX_HORIZON + 3
"""A play's length: every episode is played on past its end."""


class Play(NamedTuple):
    """An environment, the state that it is entered in, and what is played there on which luck."""

    params: oracle.Params
    state: oracle.State
    actions: np.ndarray
    """``[STEPS]``"""
    u: np.ndarray
    """``[STEPS]``"""
    eps: np.ndarray
    """``[STEPS, d]``"""


def env_params(plain: oracle.Params) -> EnvParams:
    """The library's `EnvParams` of a plain dict: float32, int32 and bool arrays."""
    table = plain["actions"]
    numbers = {name: jnp.asarray(table[name], jnp.float32) for name in oracle.TABLE_NUMBERS}
    flags = {name: jnp.asarray(table[name], jnp.bool_) for name in oracle.TABLE_FLAGS}
    rest = {name: jnp.asarray(plain[name], jnp.float32) for name in oracle.PARAM_FIELDS}
    rest["horizon"] = jnp.asarray(plain["horizon"], jnp.int32)
    return EnvParams(actions=ActionTable(**numbers, **flags), **rest)


def env_state(plain: oracle.State) -> EnvState:
    """The library's `EnvState` of a plain dict."""
    dtypes = dict.fromkeys(oracle.STATE_FIELDS, jnp.float32)
    dtypes |= {"time": jnp.int32, "last_failed": jnp.int32, "done": jnp.bool_}
    return EnvState(**{name: jnp.asarray(plain[name], dtype) for name, dtype in dtypes.items()})


def simple_environment(A: int = 3, d: int = 2, **changes: Any) -> oracle.Params:
    """A tame environment to change one thing in: rows that never fail and do nothing, no end but H = 5.

    `changes` replace fields, the table's or the environment's, and broadcast to their shapes.
    """
    plain: oracle.Params = {
        "actions": {
            "latency": np.ones(A),
            "money": np.ones(A),
            "failure": np.zeros(A),
            "retry_failure": np.zeros(A),
            "gain": np.ones((A, d)),
            "shift": np.zeros((A, d)),
            "noise": np.zeros(A),
            "ends": np.zeros(A, bool),
            "resolves": np.zeros(A, bool),
            "reveals": np.zeros(A, bool),
            "allowed": np.ones(A, bool),
        },
        "drift": np.zeros(d),
        "start_low": np.full(d, 2.0),
        "start_high": np.full(d, 3.0),
        "misread": np.zeros(d),
        "tolerance": np.ones(d),
        "latency_budget": np.array(np.inf),
        "money_budget": np.array(np.inf),
        "horizon": 5,
        "weights": np.ones(5),
        "z_scale": np.ones(d),
        "latency_scale": np.array(1.0),
        "money_scale": np.array(1.0),
    }
    for name, value in changes.items():
        fields = plain["actions"] if name in plain["actions"] else plain
        if name not in fields:
            raise KeyError(name)
        old = np.asarray(fields[name])
        new = np.broadcast_to(value, old.shape).astype(old.dtype)
        fields[name] = int(new) if name == "horizon" else new
    return plain


# Hypothesis: numbers on the grid.


def _grid(low: float, high: float) -> st.SearchStrategy[float]:
    """Multiples of 1/8 in [low, high]."""
    return st.integers(round(low * 8), round(high * 8)).map(lambda k: k / 8)


def _array(shape: tuple[int, ...], elements: st.SearchStrategy) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float64, shape, elements=elements, fill=st.nothing())


def _flags(A: int, *values: bool) -> st.SearchStrategy[np.ndarray]:
    """One flag a row, each drawn from `values`."""
    return hnp.arrays(np.bool_, (A,), elements=st.sampled_from(values), fill=st.nothing())


_GAINS = st.sampled_from([1.0, 1.0, 0.5, 0.0, -0.5, -1.0])
_BUDGETS = st.one_of(st.just(np.inf), _grid(0.125, 8), _grid(8, 32))
_SCALES = _grid(0.125, 4)


@st.composite
def grids(draw: st.DrawFn, shape: tuple[int, int] | None = None) -> Play:
    """Environments, entered in any state that is not past its horizon, with a play of `STEPS` steps.

    Flags come in all combinations; disallowed rows, and rows that there are not, are played like any other.
    """
    A, d = draw(st.sampled_from(SHAPES)) if shape is None else shape
    probabilities = _array((A,), st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0]))
    horizon = draw(st.sampled_from(range(MAX_HORIZON, 0, -1)))
    start_low = draw(_array((d,), _grid(-4, 4)))
    params: oracle.Params = {
        "actions": {
            "latency": draw(_array((A,), _grid(0, 4))),
            "money": draw(_array((A,), _grid(0, 4))),
            "failure": draw(probabilities),
            "retry_failure": draw(probabilities),
            "gain": draw(_array((A, d), _GAINS)),
            "shift": draw(_array((A, d), _grid(-3, 3))),
            "noise": draw(_array((A,), st.one_of(st.just(0.0), _grid(0, 1)))),
            # Few rows end and few are barred, so that episodes last long enough to see the rest.
            "ends": draw(_flags(A, False, False, False, True)),
            "resolves": draw(_flags(A, False, True)),
            "reveals": draw(_flags(A, True, False)),
            "allowed": draw(_flags(A, True, True, True, True, False)),
        },
        "drift": draw(_array((d,), _grid(-1, 1))),
        "start_low": start_low,
        "start_high": start_low + draw(_array((d,), _grid(0, 2))),
        "misread": draw(_array((d,), _grid(0, 2))),
        "tolerance": draw(_array((d,), _grid(0, 4))),
        "latency_budget": np.array(draw(_BUDGETS)),
        "money_budget": np.array(draw(_BUDGETS)),
        "horizon": horizon,
        "weights": draw(_array((5,), _grid(0, 2))),
        "z_scale": draw(_array((d,), _SCALES)),
        "latency_scale": np.array(draw(_SCALES)),
        "money_scale": np.array(draw(_SCALES)),
    }
    state: oracle.State = {
        "z": draw(_array((d,), _grid(-4, 4))),
        "misread": draw(_array((d,), _grid(-2, 2))),
        "latency": draw(_grid(0, 4)),
        "money": draw(_grid(0, 4)),
        "time": draw(st.one_of(st.just(0), st.integers(0, horizon - 1))),
        "last_failed": draw(st.integers(-1, A - 1)),
        "done": draw(st.sampled_from([False] * 9 + [True])),
    }
    return Play(
        params,
        state,
        draw(hnp.arrays(np.int32, (STEPS,), elements=st.integers(-2, A + 1), fill=st.nothing())),
        draw(_array((STEPS,), _grid(0, 0.875).map(lambda u: 0.875 - u))),  # plain examples succeed
        draw(_array((STEPS, d), _grid(-2, 2))),
    )


# NumPy: ordinary numbers, in bulk.


def _single(values: Any) -> np.ndarray:
    """Rounded to single precision, so that both sides start from the same number."""
    return np.asarray(np.asarray(values, np.float32), np.float64)


def random_environment(rng: np.random.Generator, A: int, d: int) -> oracle.Params:
    """An environment with every feature in use somewhere; every number float32-representable."""
    start_low = rng.uniform(-4, 4, d)
    return {
        "actions": {
            "latency": _single(rng.uniform(0, 3, A)),
            "money": _single(rng.uniform(0, 2, A)),
            "failure": _single(rng.uniform(0, 0.6, A)),
            "retry_failure": _single(rng.uniform(0, 1, A)),
            "gain": _single(rng.uniform(-1.2, 1.2, (A, d))),
            "shift": _single(rng.normal(0, 2, (A, d))),
            "noise": _single(rng.uniform(0, 1, A) * (rng.random(A) < 0.5)),
            "ends": rng.random(A) < 0.15,
            "resolves": rng.random(A) < 0.3,
            "reveals": rng.random(A) < 0.3,
            "allowed": rng.random(A) < 0.85,
        },
        "drift": _single(rng.normal(0, 0.5, d)),
        "start_low": _single(start_low),
        "start_high": _single(start_low + rng.uniform(0.1, 3, d)),
        "misread": _single(rng.uniform(0, 2, d)),
        "tolerance": _single(rng.uniform(0.2, 2, d)),
        "latency_budget": _single(rng.choice([np.inf, rng.uniform(0.5, 6)])),
        "money_budget": _single(rng.choice([np.inf, rng.uniform(0.5, 4)])),
        "horizon": int(rng.integers(1, MAX_HORIZON + 1)),
        "weights": _single(rng.uniform(0, 2, 5)),
        "z_scale": _single(rng.uniform(0.5, 4, d)),
        "latency_scale": _single(rng.uniform(0.5, 9)),
        "money_scale": _single(rng.uniform(0.5, 9)),
    }


def random_play(rng: np.random.Generator, params: oracle.Params) -> Play:
    """A start of that environment and a random play there, each action repeated half of the time, some out of range."""
    A, d = params["actions"]["gain"].shape
    actions = rng.integers(-1, A + 1, STEPS)
    for t in range(1, STEPS):
        if rng.random() < 0.5:
            actions[t] = actions[t - 1]
    z = rng.uniform(params["start_low"], params["start_high"])
    return Play(
        params,
        oracle.start(_single(z), _single(params["misread"] * rng.normal(size=d))),
        actions.astype(np.int32),
        _single(np.minimum(rng.random(STEPS), 1 - 2**-24)),
        _single(rng.normal(size=(STEPS, d))),
    )


def exact_plays(rng: np.random.Generator, A: int, d: int, count: int) -> list[Play]:
    """Plays in one environment whose every number, squares and quotients too, float32 holds exactly.

    Multiples of 1/8 under 64, gains 0 and ±1, scales and budgets powers of two. Only the square root rounds,
    and correctly.
    """

    def eighths(values: Any) -> np.ndarray:
        return np.round(np.asarray(values) * 8) / 8

    params = random_environment(rng, A, d)
    table = params["actions"]
    for name in ("latency", "money", "failure", "retry_failure", "shift"):
        table[name] = eighths(table[name])
    table["gain"] = rng.choice([-1.0, 0.0, 1.0, 1.0], (A, d))
    table["noise"] = rng.choice([0.0, 0.5, 1.0], A)
    for name in ("drift", "start_low", "start_high", "misread", "tolerance"):
        params[name] = eighths(params[name])
    for name in ("z_scale", "latency_scale", "money_scale", "latency_budget", "money_budget"):
        params[name] = rng.choice([0.5, 1.0, 2.0, 4.0], params[name].shape)
    params["horizon"] = MAX_HORIZON
    plays = []
    for _ in range(count):
        play = random_play(rng, params)
        state = play.state | {"z": eighths(play.state["z"]), "misread": eighths(play.state["misread"])}
        plays.append(play._replace(state=state, u=eighths(play.u), eps=np.round(play.eps * 4) / 4))
    return plays
