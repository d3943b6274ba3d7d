"""What environments compile to: once for all numbers, nothing for what is not used, and no call of the host."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import env

import oracle
import strategies
from plays import (
    LEAVES,
    dotted,
    reset,
    stack,
)
from strategies import UNITS, env_params, env_state, simple_environment

# Compilation


def lively() -> oracle.Params:
    """An environment that uses every field, and in which every number shows in a play of the three rows."""
    return simple_environment(
        latency=[1.0, 0.5, 0.7],
        money=[0.3, 0.2, 0.1],
        failure=0.9,
        after_ok=[0.7, 0.8, 0.6],
        after_failed=[0.5, 0.4, 0.45],
        failure_latency=[1.5, 0.75, 0.6],
        failure_money=[0.1, 0.15, 0.05],
        latency_growth=[0.01, 0.02, 0.03],
        money_growth=[0.02, 0.01, 0.03],
        latency_spread=[0.25, 0.5, 0.75],
        timeout=[1.25, 1.0, 1.5],
        mean_uptime=[4.0, 6.0, 5.0],
        mean_downtime=[1.0, 2.0, 1.5],
        rate_limit=[0.5, 0.75, 0.9],
        rate_burst=[3.0, 2.0, 4.0],
        max_calls=[8.0, 9.0, 10.0],
        requires=[[False, False], [False, True], [False, False]],
        gain=0.9,
        shift=-2.0,
        noise=[0.5, 0.25, 0.125],
        drift=0.3,
        start_points=[[0.0, 1.0], [2.0, 0.5], [1.0, 3.0]],
        start_weights=[1.0, 2.0, 1.0],
        misread=0.5,
        blind=[True, False],
        tolerance=[4.5, 2.5],
        tolerance_low=[0.25, 0.5],
        latency_budget=12.0,
        money_budget=3.0,
        latency_limit=20.0,
        money_limit=6.0,
        auto_end=False,
        horizon=30,
    )


def changed(params: env.EnvParams, leaf: str, by: int) -> env.EnvParams:
    """The same environment with one leaf changed: numbers made less by a share of their own, 1 fewer, or flipped."""

    def change(path, value):
        if dotted(path) != leaf:
            return value
        if value.dtype == bool:
            return value ^ bool(by % 2)
        if value.dtype == jnp.int32:
            return value - by
        shares = 1 + by * (1 + jnp.arange(value.size, dtype=value.dtype).reshape(value.shape))
        return value / shares

    return jax.tree_util.tree_map_with_path(change, params)


def everything(key, params):
    """A reset and, from there, 40 steps of each row in turn, on past the end: all that is returned."""
    keys = jax.random.split(key, 41)
    observation, state = env.reset(keys[0], params)

    def one(state, key_action):
        observation, state, costs, done = env.step(key_action[0], state, key_action[1], params)
        return state, (observation, state, costs, done)

    return observation, state, jax.lax.scan(one, state, (keys[1:], jnp.arange(40) // 4 % 3))[1]


def test_the_leaves_of_the_parameters_are_exactly_the_specified_arrays():
    paths, _ = jax.tree_util.tree_flatten_with_path(env_params(lively()))
    assert sorted(dotted(path) for path, _ in paths) == sorted(LEAVES)
    assert all(isinstance(leaf, jax.Array) for _, leaf in paths)


@functools.cache
def counted():
    """`everything`, jitted, and the list that grows by one whenever it is traced."""
    traces = []

    def traced(key, params):
        traces.append(params)
        return everything(key, params)

    return jax.jit(traced), traces


@pytest.mark.parametrize("leaf", LEAVES)
def test_changing_a_number_compiles_nothing_anew_and_shows(leaf):
    function, traces = counted()
    before = function(jax.random.key(2), env_params(lively()))
    assert len(traces) == 1
    after = function(jax.random.key(2), changed(env_params(lively()), leaf, by=1))
    assert len(traces) == 1
    shows = any(not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True))
    assert shows == (leaf != "weights")  # they price the costs, and change none of them


def test_playing_on_from_a_played_state_compiles_nothing_anew():
    """A state out of `reset`, out of `step` and made by hand is one type to the compiler."""
    params = env_params(lively())
    traces = []

    @jax.jit
    def traced(key, state, action, params):
        traces.append(state)
        return env.step(key, state, action, params)

    _, state = reset(jax.random.key(0), params)
    for t in range(3):
        _, state, _, _ = traced(jax.random.key(t), state, jnp.int32(t), params)
    begun = oracle.start([3.0, 3.0], params=lively())
    traced(jax.random.key(9), env_state(begun, lively()), jnp.int32(0), params)
    assert len(traces) == 1


@functools.cache
def every_leaf_changed():
    """`everything` on environments that differ in one leaf each, twice over, vmapped in a single call."""
    several = [changed(env_params(lively()), leaf, by) for leaf in LEAVES for by in (1, 2)]
    return several, jax.jit(jax.vmap(everything, in_axes=(None, 0)))(jax.random.key(2), stack(several))


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_number_vmapped_gives_what_each_of_its_values_gives_alone(leaf):
    several, together = every_leaf_changed()
    function, _ = counted()
    for i in (2 * LEAVES.index(leaf), 2 * LEAVES.index(leaf) + 1):
        alone = function(jax.random.key(2), several[i])
        for actual, expected in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(actual[i], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_number_can_be_vmapped_while_the_others_are_not(leaf):
    params = env_params(lively())
    axes = jax.tree_util.tree_map_with_path(lambda path, _: 0 if dotted(path) == leaf else None, params)
    several_params = jax.tree_util.tree_map_with_path(
        lambda path, value: jnp.stack([value] * 3) if dotted(path) == leaf else value, params
    )
    several = jax.vmap(everything, in_axes=(None, axes))
    shapes = jax.eval_shape(several, jax.random.key(0), several_params)
    assert all(shape.shape[0] == 3 for shape in jax.tree.leaves(shapes))


# What is not used


def equations(jaxpr) -> int:
    """How many equations a jaxpr has, with those of the jaxprs inside it."""
    return sum(1 + sum(map(equations, inside(equation))) for equation in jaxpr.eqns)


def inside(equation) -> list[Any]:
    """The jaxprs inside an equation."""
    values = jax.tree.leaves(equation.params, is_leaf=lambda value: hasattr(value, "jaxpr"))
    return [inner for inner in (getattr(value, "jaxpr", value) for value in values) if hasattr(inner, "eqns")]


def programs(units) -> dict[str, Any]:
    """The jaxprs of all that is done with an environment that has these units."""
    plain = strategies.random_environment(np.random.default_rng(0), 3, 2, units)
    state, params, key = env_state(oracle.start([3.0, 3.0], params=plain), plain), env_params(plain), jax.random.key(0)
    made = {
        "draw_luck": jax.make_jaxpr(env.draw_luck)(key, params),
        "reset": jax.make_jaxpr(env.reset)(key, params),
        "step": jax.make_jaxpr(env.step)(key, state, jnp.int32(0), params),
    }
    return {name: jaxpr.jaxpr for name, jaxpr in made.items()}


def test_an_environment_without_optional_fields_has_no_arrays_for_them_and_draws_nothing():
    params = env_params(simple_environment())
    assert env.present(params) == ()
    assert len(jax.tree.leaves(params)) == len(oracle.TABLE_FIELDS) + len(oracle.PARAM_FIELDS)
    _, state = jax.eval_shape(env.reset, jax.random.key(0), params)
    assert len(jax.tree.leaves(state)) == len(oracle.STATE_FIELDS)
    assert [part is None for part in jax.eval_shape(env.draw_luck, jax.random.key(0), params)] == [
        False,
        False,
        True,
        True,
    ]
    full = env_params(lively())
    assert set(env.present(full)) == {name for unit in UNITS.values() for name in unit}


@pytest.mark.parametrize("unit", UNITS)
def test_what_an_optional_field_does_is_compiled_only_where_the_field_is(unit):
    """So a scenario without it has none of it in any program."""
    without, beside = programs(strategies.NOTHING), programs((unit,))
    in_start, drawn = {"points", "outages"}, {"outages", "latency_spread"}
    assert equations(beside["step"]) > equations(without["step"]) or unit in {"points", "blind"}
    if unit in in_start | {"blind"}:
        assert equations(beside["reset"]) > equations(without["reset"])
    assert (equations(beside["draw_luck"]) > equations(without["draw_luck"])) == (unit in drawn)
    every = programs(strategies.EVERYTHING)
    rest = programs(tuple(other for other in strategies.EVERYTHING if other != unit))
    assert sum(map(equations, rest.values())) < sum(map(equations, every.values()))


# The host


def primitives(jaxpr) -> set[str]:
    """Names of all primitives of a jaxpr and of the jaxprs inside it."""
    names = set()
    for equation in jaxpr.eqns:
        names.add(equation.primitive.name)
        names |= {name for inner in inside(equation) for name in primitives(inner)}
    return names


def calls_the_host(function, *arguments) -> set[str]:
    """The primitives of `function` that leave the device."""
    names = primitives(jax.make_jaxpr(function)(*arguments).jaxpr)
    leaving = ("callback", "debug", "infeed", "outfeed")
    return {name for name in names if any(word in name for word in leaving)}


def test_nothing_calls_back_to_the_host():
    params = env_params(lively())
    key, state = jax.random.key(0), env_state(oracle.start([3.0, 3.0], params=lively()), lively())
    assert not calls_the_host(env.reset, key, params)
    assert not calls_the_host(env.step, key, state, jnp.int32(0), params)
    assert not calls_the_host(everything, key, params)


def test_the_search_for_callbacks_would_find_one():
    @jax.jit
    def talkative(x):
        return jax.lax.scan(lambda c, _: (jax.debug.print("{}", c) or c, None), x, length=2)[0]

    assert calls_the_host(talkative, 1.0)
