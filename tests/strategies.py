"""Random environments, states and plays, as the plain dicts of `oracle`, and as the library's own values.

Two families. `grids` are for hypothesis: every number is a multiple of 1/8 and every gain 0, ±1/2 or ±1, so
that for the eight steps that an episode can last each sum and product is exact in float32. Only divisions,
square roots and exponentials round there, hence single precision takes every decision (u < p, |z| > tolerance, g = 0)
exactly as double precision does, ties included. `random_environment` and `random_play` draw ordinary numbers from a
NumPy generator, in bulk; `exact_plays` round those to where nothing at all rounds but the square root.

An environment uses any of `UNITS`, the optional fields that come together. Which of them it has is part of its
structure, and each structure is compiled; so few are, and the rows and the environments of one structure differ in
whether a field does anything.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aljax.env import ActionTable, EnvParams, EnvState, Luck

import oracle

SHAPES = ((1, 1), (3, 2), (6, 4), (8, 5))
"""Rows and coordinates, (A, d): few, because every shape is compiled, with the ends of both ranges."""

UNITS = {
    name: {"outages": ("mean_uptime", "mean_downtime"), "bucket": ("rate_limit", "rate_burst"),
           "points": ("start_points", "start_weights")}.get(name, (name,))
    for name in (
        "after_ok", "after_failed", "failure_latency", "failure_money", "latency_growth", "money_growth",
        "latency_spread", "timeout", "outages", "bucket", "max_calls", "requires", "points", "blind", "tolerance_low",
        "latency_limit", "money_limit",
    )
}  # fmt: skip
"""Optional fields, those that come together under one name."""

EVERYTHING, NOTHING = tuple(UNITS), ()
VARIANTS = (
    (1, 1, EVERYTHING),
    (3, 2, EVERYTHING),
    (3, 2, NOTHING),
    (3, 2, EVERYTHING[::2]),
    (6, 4, EVERYTHING[1::2]),
    (8, 5, NOTHING),
)
"""Structures that are compiled: rows, coordinates, and the units that there are."""

POINTS = 3
"""Starting points of an environment that has such."""

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
    n: np.ndarray
    """``[STEPS]``"""
    v: np.ndarray
    """``[STEPS, A]``"""

    def told(self) -> tuple[list[oracle.State], np.ndarray, np.ndarray]:
        """The oracle's account: states, costs and observations after each step."""
        return oracle.play(self.state, self.actions, self.u, self.eps, self.params, self.n, self.v)

    def at(self, t: int) -> dict[str, Any]:
        """The luck of one step as the oracle's `step` and `margin` take it, besides u and eps."""
        return {"params": self.params, "n": float(self.n[t]), "v": self.v[t]}


def _cast(name: str, value: Any) -> Any:
    """As an array of the type that the library has for the field of that name."""
    whole = ("horizon", "time", "status", "calls")
    flags = ("ends", "resolves", "reveals", "allowed", "requires", "blind", "auto_end", "down", "done")
    return jnp.asarray(value, jnp.int32 if name in whole else jnp.bool_ if name in flags else jnp.float32)


def env_params(plain: oracle.Params) -> EnvParams:
    """The library's `EnvParams` of a plain dict: float32, int32 and bool arrays, None where the dict has nothing."""

    def made(fields: oracle.Params, needed: Collection[str], optional: Collection[str]) -> dict[str, Any]:
        there = [*needed, *(name for name in optional if fields.get(name) is not None)]
        return {name: _cast(name, fields[name]) for name in there}

    table = ActionTable(**made(plain["actions"], oracle.TABLE_FIELDS, oracle.TABLE_OPTIONAL))
    return EnvParams(actions=table, **made(plain, oracle.PARAM_FIELDS, oracle.PARAM_OPTIONAL))


def env_state(plain: oracle.State, params: oracle.Params | None = None) -> EnvState:
    """The library's `EnvState` of a plain dict, in that environment, or in one that uses no optional field."""
    names = oracle.STATE_FIELDS if params is None else (*oracle.STATE_FIELDS, *oracle.used(params))
    return EnvState(**{name: _cast(name, plain[name]) for name in names})


def env_luck(case: Play) -> Luck:
    """The library's luck of all steps of a play, or of a stack of plays, without what its environment does not draw."""
    n = _cast("n", case.n) if oracle.has(case.params, "latency_spread") else None
    v = _cast("v", case.v) if oracle.has(case.params, "mean_uptime") else None
    return Luck(_cast("u", case.u), _cast("eps", case.eps), n, v)


def only(plain: oracle.Params, units: Collection[str]) -> oracle.Params:
    """The environment with none of the optional fields but these."""
    names = {name for unit in units for name in UNITS[unit]}
    kept = {name: value for name, value in plain.items() if name not in oracle.PARAM_OPTIONAL or name in names}
    table = plain["actions"]
    kept["actions"] = {name: table[name] for name in table if name not in oracle.TABLE_OPTIONAL or name in names}
    return kept


def simple_environment(A: int = 3, d: int = 2, **changes: Any) -> oracle.Params:
    """A tame environment to change one thing in: rows that never fail and do nothing, no end but H = 5.

    `changes` replace fields, the table's or the environment's, and broadcast to their shapes. An optional field is
    there if it is among them, or another of its unit.
    """
    plain: oracle.Params = {
        "actions": {
            "latency": np.ones(A),
            "money": np.ones(A),
            "failure": np.zeros(A),
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
        "auto_end": np.array(True),
        "horizon": 5,
        "weights": np.ones(5),
        "z_scale": np.ones(d),
        "latency_scale": np.array(1.0),
        "money_scale": np.array(1.0),
    }
    count = len(changes["start_points"]) if "start_points" in changes else 1
    columns = dict.fromkeys(oracle.TABLE_OPTIONAL, np.zeros(A)) | {"requires": np.zeros((A, d), bool)}
    columns |= {"mean_uptime": np.full(A, np.inf), "rate_limit": np.full(A, np.inf), "rate_burst": np.ones(A)}
    fields = {"start_points": np.zeros((count, d)), "start_weights": np.ones(count), "blind": np.zeros(d, bool)}
    fields |= {"tolerance_low": np.zeros(d), "latency_limit": np.array(0.0), "money_limit": np.array(0.0)}
    for unit in UNITS.values():
        if not changes.keys().isdisjoint(unit):
            plain["actions"] |= {name: columns[name] for name in unit if name in columns}
            plain |= {name: fields[name] for name in unit if name in fields}
    for name, value in changes.items():
        part = plain["actions"] if name in plain["actions"] else plain
        if name not in part:
            raise KeyError(name)
        old = np.asarray(part[name])
        new = np.broadcast_to(value, old.shape).astype(old.dtype)
        part[name] = int(new) if name == "horizon" else new
    return plain


# Hypothesis: numbers on the grid.


def _grid(low: float, high: float) -> st.SearchStrategy[float]:
    """Multiples of 1/8 in [low, high]."""
    return st.integers(round(low * 8), round(high * 8)).map(lambda k: k / 8)


def _array(shape: tuple[int, ...], elements: st.SearchStrategy) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float64, shape, elements=elements, fill=st.nothing())


def _flags(shape: int | tuple[int, ...], *values: bool) -> st.SearchStrategy[np.ndarray]:
    """Flags, each drawn from `values`."""
    return hnp.arrays(np.bool_, shape, elements=st.sampled_from(values), fill=st.nothing())


def _some(usual: float, *others: float) -> st.SearchStrategy[float]:
    """A value that does nothing, half of the time, or one of others."""
    return st.sampled_from([usual] * len(others) + list(others))


_GAINS = st.sampled_from([1.0, 1.0, 0.5, 0.0, -0.5, -1.0])
_BUDGETS = st.one_of(st.just(np.inf), _grid(0.125, 8), _grid(8, 32))
_BOUNDS = ("latency_budget", "money_budget", "latency_limit", "money_limit")
_SCALES = _grid(0.125, 4)
_OUTAGES = ((np.inf, 0.0), (np.inf, 0.0), (np.inf, 2.0), (4.0, 0.0), (1.0, 0.5), (0.5, 1.0), (2.0, 8.0))
"""Mean times up and down whose share of time down, 0, 1/3, 2/3 or 4/5, is no number that `v` can be."""


@st.composite
def grids(draw: st.DrawFn, variant: tuple[int, int, Collection[str]] | None = None) -> Play:
    """Environments, entered in any state that is not past its horizon, with a play of `STEPS` steps.

    Flags come in all combinations; disallowed rows, and rows that there are not, are played like any other. Often a
    budget or a limit is exactly what some step brings the episode to.
    """
    A, d, units = draw(st.sampled_from(VARIANTS)) if variant is None else variant
    probabilities = _array((A,), st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0]))
    horizon = draw(st.sampled_from(range(MAX_HORIZON, 0, -1)))
    start_low = draw(_array((d,), _grid(-4, 4)))
    uptime, downtime = np.array(draw(st.lists(st.sampled_from(_OUTAGES), min_size=A, max_size=A))).T
    burst = draw(_array((A,), st.sampled_from([1.0, 1.5, 2.0, 3.0])))
    rate = draw(_array((A,), _some(np.inf, 0.125, 0.25, 0.5, 1.0)))
    tolerance = draw(_array((d,), _grid(0, 4)))
    params: oracle.Params = {
        "actions": {
            "latency": draw(_array((A,), _grid(0, 4))),
            "money": draw(_array((A,), _grid(0, 4))),
            "failure": draw(probabilities),
            "after_ok": draw(probabilities),
            "after_failed": draw(probabilities),
            "failure_latency": draw(_array((A,), _grid(0, 4))),
            "failure_money": draw(_array((A,), _grid(0, 4))),
            "latency_growth": draw(_array((A,), _some(0.0, 0.125, 0.5))),
            "money_growth": draw(_array((A,), _some(0.0, 0.125, 0.5))),
            "latency_spread": np.zeros(A),  # an exponential rounds
            "timeout": draw(_array((A,), _some(np.inf, 0.5, 2.0, 3.0))),
            "mean_uptime": uptime,
            "mean_downtime": downtime,
            "rate_limit": rate,
            "rate_burst": burst,
            "max_calls": draw(_array((A,), _some(np.inf, 1.0, 2.0, 3.0))),
            "requires": draw(_flags((A, d), False, False, False, True)),
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
        "start_points": np.zeros((POINTS, d)),  # they matter to starts alone
        "start_weights": np.ones(POINTS),
        "misread": draw(_array((d,), _grid(0, 2))),
        "blind": np.zeros(d, bool),
        "tolerance": tolerance,
        "tolerance_low": np.where(draw(_flags(d, True, False)), tolerance, draw(_array((d,), _some(np.inf, 0.0, 1.0)))),
        "latency_budget": np.array(draw(_BUDGETS)),
        "money_budget": np.array(draw(_BUDGETS)),
        "latency_limit": np.array(draw(_BUDGETS)),
        "money_limit": np.array(draw(_BUDGETS)),
        "auto_end": np.array(draw(st.sampled_from([True, True, False]))),
        "horizon": horizon,
        "weights": draw(_array((5,), _grid(0, 2))),
        "z_scale": draw(_array((d,), _SCALES)),
        "latency_scale": np.array(draw(_SCALES)),
        "money_scale": np.array(draw(_SCALES)),
    }
    params = only(params, units)
    fields: oracle.State = {
        "z": draw(_array((d,), _grid(-4, 4))),
        "misread": draw(_array((d,), _grid(-2, 2))),
        "latency": draw(_grid(0, 4)),
        "money": draw(_grid(0, 4)),
        "time": draw(st.one_of(st.just(0), st.integers(0, horizon - 1))),
        "done": draw(st.sampled_from([False] * 9 + [True])),
        "status": draw(hnp.arrays(np.int64, A, elements=st.integers(0, 2), fill=st.nothing())),
        "down": draw(_flags(A, False, True)) & np.isfinite(uptime) & (downtime > 0),
        "calls": draw(hnp.arrays(np.int64, A, elements=st.integers(0, 2), fill=st.nothing())),
        "tokens": np.where(np.isinf(rate), burst, np.minimum(burst, draw(_array((A,), _grid(0, 3))))),
    }
    state = oracle.start(fields["z"], params=params)
    play = Play(
        params,
        state | {name: fields[name] for name in (*oracle.STATE_FIELDS, *oracle.used(params))},
        draw(hnp.arrays(np.int32, (STEPS,), elements=st.integers(-2, A + 1), fill=st.nothing())),
        draw(_array((STEPS,), _grid(0, 0.875).map(lambda u: 0.875 - u))),  # plain examples succeed
        draw(_array((STEPS, d), _grid(-2, 2))),
        draw(_array((STEPS,), _grid(-2, 2))),
        draw(_array((STEPS, A), _grid(0, 0.875).map(lambda v: 0.9375 - v))),  # and stay up
    )
    met = draw(st.sampled_from([name for name in ("horizon", *_BOUNDS) if params.get(name) is not None]))
    if met in _BOUNDS:
        spent = play.told()[0][draw(st.integers(0, 3))][met.partition("_")[0]]
        play = play._replace(params=params | {met: np.array(spent or np.inf)})
    return play


# NumPy: ordinary numbers, in bulk.


def _single(values: Any) -> np.ndarray:
    """Rounded to single precision, so that both sides start from the same number."""
    return np.asarray(np.asarray(values, np.float32), np.float64)


def random_environment(rng: np.random.Generator, A: int, d: int, units: Collection[str] = EVERYTHING) -> oracle.Params:
    """An environment with every feature of these units in use somewhere; every number float32-representable.

    A third of the optional fields do nothing in all rows, and each does nothing in some.
    """
    start_low = rng.uniform(-4, 4, d)

    def some(usual: Any, values: Any) -> np.ndarray:
        if rng.random() < 1 / 3:
            return _single(np.broadcast_to(usual, np.shape(values)))
        return _single(np.where(rng.random(np.shape(values)) < 0.6, values, usual))

    latency, money, failure = (_single(rng.uniform(0, most, A)) for most in (3, 2, 0.6))
    tolerance, uptime = _single(rng.uniform(0.2, 2, d)), some(np.inf, rng.uniform(0.5, 9, A))
    params: oracle.Params = {
        "actions": {
            "latency": latency,
            "money": money,
            "failure": failure,
            "after_ok": some(failure, rng.uniform(0, 1, A)),
            "after_failed": some(failure, rng.uniform(0, 1, A)),
            "failure_latency": some(latency, rng.uniform(0, 4, A)),
            "failure_money": some(money, rng.uniform(0, 3, A)),
            "latency_growth": some(0.0, rng.uniform(0, 0.3, A)),
            "money_growth": some(0.0, rng.uniform(0, 0.2, A)),
            "latency_spread": some(0.0, rng.uniform(0, 1, A)),
            "timeout": some(np.inf, rng.uniform(0.5, 4, A)),
            "mean_uptime": uptime,
            "mean_downtime": some(0.0, rng.uniform(0.5, 9, A)),
            "rate_limit": some(np.inf, rng.uniform(0.1, 1, A)),
            "rate_burst": some(1.0, rng.uniform(1, 3, A)),
            "max_calls": some(np.inf, rng.integers(1, 4, A)),
            "requires": some(False, rng.random((A, d)) < 0.3).astype(bool),
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
        "start_points": _single(rng.normal(0, 2, (POINTS, d))),
        "start_weights": _single(rng.uniform(0.1, 2, POINTS) * (rng.random(POINTS) < 0.7) + [0, 0.5, 0]),
        "misread": _single(rng.uniform(0, 2, d)),
        "blind": some(False, rng.random(d) < 0.6).astype(bool),
        "tolerance": tolerance,
        "tolerance_low": some(tolerance, rng.choice([np.inf, 0.5, 3.0], d)),
        "latency_budget": _single(rng.choice([np.inf, rng.uniform(0.5, 6)])),
        "money_budget": _single(rng.choice([np.inf, rng.uniform(0.5, 4)])),
        "latency_limit": some(np.inf, rng.uniform(3, 20)),
        "money_limit": some(np.inf, rng.uniform(3, 12)),
        "auto_end": np.array(rng.random() < 0.7),
        "horizon": int(rng.integers(1, MAX_HORIZON + 1)),
        "weights": _single(rng.uniform(0, 2, 5)),
        "z_scale": _single(rng.uniform(0.5, 4, d)),
        "latency_scale": _single(rng.uniform(0.5, 9)),
        "money_scale": _single(rng.uniform(0.5, 9)),
    }
    return only(params, units)


class Draw(NamedTuple):
    """The numbers that an episode's start is made of, as `oracle.reset` takes them."""

    uniform: np.ndarray
    normal: np.ndarray
    point: float
    """Uniform on [0, 1)."""
    v: np.ndarray

    def told(self, params: oracle.Params) -> oracle.State:
        """The oracle's start; points share [0, 1) in their order, each by its weight."""
        point = None
        if oracle.has(params, "start_points"):
            point = int(np.sum(np.cumsum(oracle.point_shares(params))[:-1] <= self.point))
        return oracle.reset(params, self.uniform, self.normal, point, self.v)


def random_draw(rng: np.random.Generator, params: oracle.Params) -> Draw:
    """The chance of a start."""
    A, d = params["actions"]["gain"].shape
    return Draw(*map(_single, (rng.random(d), rng.normal(size=d), rng.random(), rng.random(A))))


def random_play(rng: np.random.Generator, params: oracle.Params) -> Play:
    """A start of that environment and a random play there, each action repeated half of the time, some out of range."""
    A, d = params["actions"]["gain"].shape
    actions = rng.integers(-1, A + 1, STEPS)
    for t in range(1, STEPS):
        if rng.random() < 0.5:
            actions[t] = actions[t - 1]
    state = random_draw(rng, params).told(params)
    return Play(
        params,
        state | {name: _single(state[name]) for name in ("z", "misread", "tokens")},
        actions.astype(np.int32),
        _single(np.minimum(rng.random(STEPS), 1 - 2**-24)),
        _single(rng.normal(size=(STEPS, d))),
        _single(rng.normal(size=STEPS)),
        _single(np.minimum(rng.random((STEPS, A)), 1 - 2**-24)),
    )


def exact_plays(
    rng: np.random.Generator, A: int, d: int, count: int, units: Collection[str] = EVERYTHING
) -> list[Play]:
    """Plays in one environment whose every number, squares and quotients too, float32 holds exactly.

    Multiples of 1/8 under 64, gains 0 and ±1, scales and budgets powers of two, no spread. Only the square root rounds,
    and correctly, and what only decides what is down.
    """

    def eighths(values: Any) -> np.ndarray:
        return np.round(np.asarray(values) * 8) / 8

    params = random_environment(rng, A, d)
    table = params["actions"]
    for name in (
        "latency",
        "money",
        "failure",
        "after_ok",
        "after_failed",
        "failure_latency",
        "failure_money",
        "shift",
    ):
        table[name] = eighths(table[name])
    for name in ("latency_growth", "money_growth", "timeout"):
        table[name] = eighths(table[name])
    table["latency_spread"] = np.zeros(A)
    table["rate_limit"] = rng.choice([np.inf, 0.125, 0.5], A)
    table["rate_burst"] = rng.choice([1.0, 2.0], A)
    table["max_calls"] = rng.choice([np.inf, 2.0, 4.0], A)
    table["gain"] = rng.choice([-1.0, 0.0, 1.0, 1.0], (A, d))
    table["noise"] = rng.choice([0.0, 0.5, 1.0], A)
    for name in ("drift", "start_low", "start_high", "misread", "tolerance", "tolerance_low"):
        params[name] = eighths(params[name])
    for name in ("z_scale", "latency_scale", "money_scale", "latency_budget", "money_budget"):
        params[name] = rng.choice([0.5, 1.0, 2.0, 4.0], params[name].shape)
    params["latency_limit"], params["money_limit"] = np.array(np.inf), np.array(16.0)
    params["horizon"] = MAX_HORIZON
    params = only(params, units)
    plays = []
    for _ in range(count):
        play = random_play(rng, params)
        state = play.state | {"z": eighths(play.state["z"]), "misread": eighths(play.state["misread"])}
        plays.append(play._replace(state=state, u=eighths(play.u), eps=np.round(play.eps * 4) / 4))
    return plays
