"""The environment: what specification section 2 says, and that `aljax.env` equals the oracle, everywhere."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from aljax import env
from aljax.errors import UserError

import oracle
import strategies
from plays import (
    arrays,
    assert_same_bits,
    everywhere,
    jitted_play,
    play,
    stack,
    vmapped_play,
)
from strategies import VARIANTS, Play, env_params, env_state, simple_environment

# The oracle, everywhere


def compare(found, case: Play, expected, close):
    """Has every field of states, costs, observations and legal rows compared; optional fields are there or are not."""
    states, costs, observations, legal = found
    expected_states, expected_costs, expected_observations = expected
    there = oracle.used(case.params)
    for name in (*oracle.STATE_FIELDS, *oracle.STATE_OPTIONAL):
        if name in oracle.STATE_OPTIONAL and name not in there:
            assert getattr(states, name) is None, name
            continue
        close(np.asarray(getattr(states, name)), [state[name] for state in expected_states], name)
    close(np.asarray(legal), [oracle.legal(state, case.params) for state in expected_states], "legal")
    close(np.asarray(costs), expected_costs, "costs")
    close(np.asarray(observations), expected_observations, "observations")


@everywhere
@given(strategies.grids())
def test_any_play_in_any_environment_equals_the_oracle(case):
    """States and counted costs bit for bit; what is divided or a square root to 2e-6 relative (float32)."""

    def close(actual, expected, what):
        expected = np.array(expected)
        if what == "observations":
            np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=0)
        elif what == "costs":
            exact = [oracle.LATENCY, oracle.MONEY, oracle.FAILURE]
            np.testing.assert_array_equal(actual[:, exact], expected[:, exact])
            np.testing.assert_array_equal(actual == 0, expected == 0)
            np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=0)
        else:
            np.testing.assert_array_equal(actual, expected, err_msg=what)

    compare(jitted_play(*arrays(case)), case, case.told(), close)


def test_the_oracle_reads_the_librarys_own_values():
    for units in (strategies.EVERYTHING, strategies.NOTHING):
        plain = strategies.random_environment(np.random.default_rng(0), 3, 2, units)
        state = oracle.start([1.5, -2.0], [0.5, 0.0], plain) | {"time": 2, "latency": 0.75}
        state |= {"status": np.array([0, 1, 2]), "calls": np.array([0, 2, 1])} if units else {}
        read = oracle.params_dict(env_params(plain))
        jax.tree.map(np.testing.assert_array_equal, strategies.only(read, units), plain)
        jax.tree.map(np.testing.assert_array_equal, oracle.state_dict(env_state(state, plain), plain), state)


@functools.cache
def bulk(A: int, d: int, units: tuple[str, ...], count: int = 200) -> list[tuple[Play, Any]]:
    """Random environments with a random play in each, and the oracle's account of it."""
    rng = np.random.default_rng(10 * A + d)
    plays = [strategies.random_play(rng, strategies.random_environment(rng, A, d, units)) for _ in range(count)]
    return [(play, play.told()) for play in plays]


def firm(case: Play, expected: list[oracle.State]) -> np.ndarray:
    """Which steps come before any that is so near a jump of f that rounding may decide it. ``[STEPS]``"""
    margins = [
        oracle.margin(before, case.actions[t], case.u[t], state, **case.at(t))
        for t, (before, state) in enumerate(zip([case.state, *expected], expected, strict=False))
    ]
    return np.cumsum(np.array(margins) < 1e-4) == 0


def compare_many(found, cases):
    """Compares a stack of plays with the oracle's accounts, to 2e-5, but where rounding may turn a decision.

    Returns the share of the steps that were compared.
    """
    mask = np.array([firm(case, told[0]) for case, told in cases])
    for index, (case, (states, costs, observations)) in enumerate(cases):
        one = jax.tree.map(lambda leaf, index=index: leaf[index], found)
        keep = mask[index]

        def close(actual, expected, what, keep=keep):
            np.testing.assert_allclose(actual[keep], np.array(expected)[keep], rtol=2e-5, atol=2e-5, err_msg=what)

        compare(one, case, (states, costs, observations), close)
    return mask.mean()


@pytest.mark.parametrize(("A", "d", "units"), VARIANTS)
def test_hundreds_of_environments_in_one_call_equal_the_oracle(A, d, units):
    """Every leaf of EnvParams stacked and vmapped: with a field's effect and without, in one program."""
    cases = bulk(A, d, units)
    found = jax.jit(jax.vmap(play))(*arrays(stack([case for case, _ in cases])))
    assert compare_many(jax.tree.map(np.asarray, found), cases) > 0.97


def some_of_the_fields() -> list[tuple[str, ...]]:
    """Each unit alone, all units but each, and random ones."""
    rng, every = np.random.default_rng(1), strategies.EVERYTHING
    alone = [(unit,) for unit in every]
    without = [tuple(other for other in every if other != unit) for unit in every]
    return alone + without + [tuple(unit for unit in every if rng.random() < 0.5) for _ in range(6)]


def test_whichever_optional_fields_an_environment_has_it_equals_the_oracle():
    """Not compiled: each of these structures would be compiled for itself."""
    rng = np.random.default_rng(2)
    transition, observe, legal = jax.vmap(env.transition), jax.vmap(env.observe), jax.vmap(env.legal)
    compared = []
    for units in some_of_the_fields():
        plays = [strategies.random_play(rng, strategies.random_environment(rng, 3, 2, units)) for _ in range(12)]
        state, actions, luck, params = arrays(stack(plays))
        found = []
        for t in range(3):
            state, costs = transition(state, actions[:, t], jax.tree.map(lambda leaf, t=t: leaf[:, t], luck), params)
            found.append((state, costs, observe(state, params), legal(state, params)))
        told = [play.told() for play in plays]
        cases = [(play, tuple(part[:3] for part in account)) for play, account in zip(plays, told, strict=True)]
        compared.append(compare_many(stack(found, 1), cases))
    assert np.mean(compared) > 0.97


@pytest.mark.parametrize("units", [strategies.EVERYTHING, strategies.NOTHING], ids=["everything", "nothing"])
def test_hundreds_of_starts_in_one_call_equal_the_oracle(units):
    """Points, blindness and outages with effect and without, in one program."""
    rng = np.random.default_rng(3)
    plains = [strategies.random_environment(rng, 3, 2, units) for _ in range(200)]
    draws = [strategies.random_draw(rng, plain) for plain in plains]
    drawn = [jnp.asarray(part, jnp.float32) for part in stack(draws)]
    start = env.Start(*drawn) if units else env.Start(*drawn[:2])
    found = jax.vmap(env.begin)(start, env_params(stack(plains)))
    for i, (plain, draw) in enumerate(zip(plains, draws, strict=True)):
        expected = draw.told(plain)
        for name in (*oracle.STATE_FIELDS, *oracle.used(plain)):
            actual = np.asarray(getattr(found, name))[i]
            np.testing.assert_allclose(actual, expected[name], rtol=2e-5, atol=2e-5, err_msg=name)
    assert np.any(found.down) if units else found.down is None


def test_those_random_plays_reach_every_clause_of_the_specification():
    seen: dict[str, int] = {}
    for case, (states, costs, _) in (entry for variant in VARIANTS for entry in bulk(*variant)):
        before, params = case.state, case.params
        for t, state in enumerate(states):
            action = oracle.nearest_row(case.actions[t], params)
            row = {name: column[action] for name, column in params["actions"].items()}
            failed, finished = costs[t][oracle.FAILURE] == 1, state["done"] and not before["done"]
            g, d = oracle.constraint(state, params), len(state["z"])
            live, legal = not before["done"], oracle.legal(before, params)[action]
            status = int(oracle.state_of(before, "status", action))
            out = [oracle.excess(before["z"][i], params, i) > 0 for i in range(d)]
            read = [oracle.excess(before["z"][i] + before["misread"][i], params, i) > 0 for i in range(d)]
            needed = np.array(oracle.entry(params, "requires", action), bool)
            fails = oracle.fails(before, action, case.u[t], params)
            wanted = oracle.wanted_seconds(before, action, fails, case.n[t], params)
            late = wanted > oracle.entry(params, "timeout", action)
            chosen = live and legal and case.u[t] >= oracle.failure_probability(before, action, params)
            limits = [
                oracle.has(params, f"{name}_limit") and state[name] > params[f"{name}_limit"]
                for name in ("latency", "money")
            ]
            happened = {
                "played past the end": not live,
                "a row is played that there is not": live and case.actions[t] != action,
                "fails at its first call": live and failed and legal and status == oracle.NOT_CALLED,
                "fails after a failure of its own": live and failed and legal and status == oracle.FAILED,
                "works after a failure of its own": live and not failed and status == oracle.FAILED,
                "fails after it worked": live and failed and legal and status == oracle.WORKED,
                "works after it worked": live and not failed and status == oracle.WORKED,
                "a disallowed row is played": live and not row["allowed"],
                "a row without calls left is played": live and row["allowed"] and not legal,
                "is down": chosen and bool(oracle.state_of(before, "down", action)),
                "finds no token": chosen and not oracle.has_token(before, action),
                "what it requires is not there": chosen and bool(np.any(needed & out)),
                "what it requires is there, but reads as if not": not fails and live and bool(np.any(needed & read)),
                "times out": chosen and failed and late,
                "fails and times out": live and late and not chosen,
                "noise": live and not failed and row["noise"] > 0 and not row["ends"],
                "reveals": live and not failed and row["reveals"],
                "fails to reveal": live and failed and row["reveals"],
                "ends and resolves": finished and not failed and row["ends"] and row["resolves"],
                "ends with the rest unpaid": finished and not failed and row["ends"] and g > 0,
                "fails to end": live and failed and row["ends"],
                "resolves without ending": live and not failed and row["resolves"] and not row["ends"],
                "ends in tolerance": finished and g == 0 and not row["ends"],
                "goes on in tolerance": live and not finished and g == 0,
                "ends at the horizon": finished and g > 0 and state["time"] == params["horizon"],
                "ends at the limit of latency": finished and limits[0] and state["time"] < params["horizon"],
                "ends at the limit of money": finished and limits[1] and state["time"] < params["horizon"],
                "ends over a budget, in tolerance": finished
                and g > 0
                and all(oracle.excess(state["z"][i], params, i) == 0 for i in range(d)),
                "too much is done, which is fine": live
                and any(state["z"][i] < -params["tolerance"][i] for i in range(d))
                and all(oracle.excess(state["z"][i], params, i) == 0 for i in range(d)),
            }
            if oracle.has(params, "mean_uptime"):
                happened["goes down"] = live and bool(np.any(~before["down"] & state["down"]))
                happened["comes up"] = live and bool(np.any(before["down"] & ~state["down"]))
            for name, value in happened.items():
                seen[name] = seen.get(name, 0) + bool(value)
            before = state
    assert min(seen.values()) >= 15, seen


@pytest.mark.parametrize("u", [0.0, 0.75], ids=["fails", "works"])
def test_every_combination_of_the_four_flags_equals_the_oracle(u):
    combinations = np.array([[row >> bit & 1 for bit in range(4)] for row in range(16)], bool)
    flags = dict(zip(oracle.TABLE_FLAGS, combinations.T, strict=True))
    drift = [0.5, -0.25]
    plain = simple_environment(A=16, failure=0.5, gain=0.5, shift=[-1, 3], noise=0.25, drift=drift, **flags)
    before = oracle.start([2.0, -3.0], [1.0, -1.0]) | {"time": 2, "latency": 1.5}
    eps = jnp.array([1.0, -2.0])
    every_row = jax.jit(jax.vmap(env.transition, in_axes=(None, 0, None, None)))
    states, costs = every_row(env_state(before), jnp.arange(16), (jnp.float32(u), eps), env_params(plain))
    for row in range(16):
        expected, expected_costs = oracle.step(before, row, u, np.asarray(eps), plain)
        for name in oracle.STATE_FIELDS:
            np.testing.assert_array_equal(getattr(states, name)[row], expected[name], err_msg=f"{row} {name}")
        np.testing.assert_allclose(costs[row], expected_costs, rtol=2e-6, err_msg=str(row))


@pytest.mark.parametrize("A", [3, 20], ids=["few rows", "many rows"])
@pytest.mark.parametrize("u", [0.0, 0.75], ids=["fails", "works"])
def test_an_action_outside_the_table_is_the_nearest_row_alone_and_batched_alike(A, u):
    numbers = {"latency": np.arange(A), "shift": -np.arange(A)[:, None] / 8}
    plain = simple_environment(A=A, failure=0.5, after_failed=0.5, **numbers)
    outside, nearest = np.array([-(2**31), -1, A, 99, 2**31 - 1]), np.array([0, 0, A - 1, A - 1, A - 1])
    before, xi = env_state(oracle.start([4.0, 4.0], params=plain), plain), (jnp.float32(u), jnp.zeros(2))
    params = env_params(plain)
    alone = jax.vmap(env.transition, in_axes=(None, 0, None, None))
    assert_same_bits(jax.jit(alone)(before, outside, xi, params), jax.jit(alone)(before, nearest, xi, params))

    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[..., None], (*leaf.shape, 5)), (before, xi))
    trailing = jax.jit(env.transition)
    found = trailing(many[0], jnp.asarray(outside), many[1], params)
    assert_same_bits(found, trailing(many[0], jnp.asarray(nearest), many[1], params))
    status = np.where(nearest == np.arange(A)[:, None], oracle.FAILED if u == 0.0 else oracle.WORKED, 0)
    np.testing.assert_array_equal(found[0].status, status)
    np.testing.assert_array_equal(found[1][0], nearest)  # each row takes as many seconds as its number


@pytest.mark.parametrize(("dtype", "action", "row"), [("uint8", 255, 2), ("int8", -128, 0), ("uint32", 2**32 - 1, 2)])
def test_integers_of_every_type_name_rows(dtype, action, row):
    found = env.played(np.array(action, dtype), env_params(simple_environment(A=3)))
    assert (int(found), found.dtype) == (row, jnp.int32)
    assert int(env.played(np.int8(-1), env_params(simple_environment(A=200)))) == 0  # more rows than the type holds


@pytest.mark.parametrize("action", [1.0, True, np.array([0.5, 1.5])])
def test_an_action_that_is_no_integer_is_refused_in_one_line(action):
    with pytest.raises(UserError, match=r"^action: expected an integer, the number of a row, got (float32|bool)$"):
        env.played(action, env_params(simple_environment()))


# Batches


def three_ways(plays: list[Play]) -> tuple[Any, Any, Any]:
    """Plays in one environment: alone, vmapped, and stacked on the trailing axis; every result batch-last."""
    params = env_params(plays[0].params)
    alone = stack([jitted_play(*arrays(play)[:-1], params) for play in plays], -1)
    vmapped = vmapped_play(*arrays(stack(plays))[:-1], params)
    trailing = jitted_play(*arrays(stack(plays, -1))[:-1], params)
    return alone, vmapped, trailing


@pytest.mark.parametrize(("A", "d", "units"), VARIANTS)
def test_vmapped_and_stacked_on_the_trailing_axis_equal_alone_bit_for_bit(A, d, units):
    """On numbers whose arithmetic is exact: what rounds, a compiler may order and contract by the shape."""
    alone, vmapped, trailing = three_ways(strategies.exact_plays(np.random.default_rng(A + d), A, d, 37, units))
    assert_same_bits(vmapped, alone)
    assert_same_bits(trailing, alone)


@pytest.mark.parametrize(("A", "d", "units"), VARIANTS)
def test_vmapped_and_stacked_on_the_trailing_axis_equal_alone_to_rounding(A, d, units):
    """On ordinary numbers, over a whole play: to 1e-5."""
    rng = np.random.default_rng(A + d)
    plain = strategies.random_environment(rng, A, d, units) | {"horizon": strategies.MAX_HORIZON}
    alone, *batches = three_ways([strategies.random_play(rng, plain) for _ in range(37)])
    for batch in batches:
        for actual, expected in zip(jax.tree.leaves(batch), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("units", [strategies.EVERYTHING, strategies.NOTHING], ids=["everything", "nothing"])
@pytest.mark.parametrize("batch", [(), (6,), (2, 3)])
def test_reset_and_step_stack_a_batch_on_the_trailing_axes_and_keep_every_type(batch, units):
    """Types too, strength included: a state can be carried through a loop from the first step on."""
    plain = strategies.random_environment(np.random.default_rng(0), 3, 2, units)
    key, params = jax.random.key(0), env_params(plain)
    observation, state = jax.eval_shape(functools.partial(env.reset, batch=batch), key, params)
    actions = jax.ShapeDtypeStruct(batch, jnp.int32)
    next_observation, next_state, costs, done = jax.eval_shape(env.step, key, state, actions, params)

    def types(tree):
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)

    f32, i32 = jnp.dtype("float32"), jnp.dtype("int32")
    size = 2 * 2 + 3 + (4 * 3 if units else 0)
    assert types(observation) == types(next_observation) == ((size, *batch), f32, False)
    assert types(costs) == ((5, *batch), f32, False)
    assert types(state) == types(next_state)
    vector, scalar = ((2, *batch), f32, False), (batch, f32, False)
    count, flag = (batch, i32, False), (batch, jnp.dtype("bool"), False)
    history = [((3, *batch), dtype, False) for dtype in (i32, jnp.dtype("bool"), i32, f32)] if units else []
    assert types(state) == env.EnvState(vector, vector, scalar, scalar, count, flag, *history)
    assert types(done) == flag
