"""The environment: what specification section 2 says, and that `aljax.env` equals the oracle, everywhere."""

import functools
import itertools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from aljax import env
from aljax.errors import UserError

import oracle
import strategies
from strategies import SHAPES, STEPS, UNITS, VARIANTS, Play, env_luck, env_params, env_state, simple_environment

# Derandomized: a failure is then a change of the code and never of the draw.
everywhere = settings(deadline=None, max_examples=100, derandomize=True)


def dotted(path: Any) -> str:
    """A leaf's path as the fields' names."""
    return ".".join(entry.name for entry in path)


LEAVES = (
    *(f"actions.{name}" for name in (*oracle.TABLE_FIELDS, *oracle.TABLE_OPTIONAL)),
    *(*oracle.PARAM_FIELDS, *oracle.PARAM_OPTIONAL),
)


def body(params, state, chosen):
    state, costs = env.transition(state, *chosen, params)
    legal = env.legal(state, params)
    legal = jnp.broadcast_to(legal, (len(legal), *state.time.shape))
    return state, (state, costs, env.observe(state, params), legal)


def play(state, actions, luck, params):
    """The library's `oracle.play`: states, costs, observations and legal rows after each step, stacked in front."""
    return jax.lax.scan(functools.partial(body, params), state, (actions, luck))[1]


jitted_play = jax.jit(play)
vmapped_play = jax.jit(jax.vmap(play, in_axes=(0, 0, 0, None), out_axes=-1))
transition = jax.jit(env.transition)
observe = jax.jit(env.observe)
reset = jax.jit(env.reset)
step = jax.jit(env.step)
resets = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))
steps = jax.jit(jax.vmap(env.step, in_axes=(0, None, None, None)))


def arrays(case: Play) -> tuple[Any, ...]:
    """A plain play, or a stack of plays, as the arguments of `play`."""
    return env_state(case.state, case.params), jnp.asarray(case.actions), env_luck(case), env_params(case.params)


def stack(trees: list[Any], axis: int = 0) -> Any:
    """Stacked by NumPy: for hundreds of small arrays, much faster than on the device."""
    return jax.tree.map(lambda *leaves: np.stack(leaves, axis), *trees)


def assert_same_bits(one: Any, other: Any) -> None:
    one, other = jax.tree.leaves(one), jax.tree.leaves(other)
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype and a.shape == b.shape
        if not np.array_equal(a, b):
            worst = np.max(np.abs(a.astype(np.float64) - b.astype(np.float64)))
            raise AssertionError(f"{np.sum(a != b)} of {a.size} entries differ, by at most {worst}")


def after(plain, z=(4.0, 4.0), action=0, u=0.5, eps=(0.0, 0.0), n=0.0, v=None, **state):
    """Plays one action in a simple environment: the state after (with NumPy fields) and the five costs."""
    before = oracle.start(z, params=plain) | state
    A = oracle.rows(plain)
    luck = Play(plain, before, action, u, np.asarray(eps), n, np.full(A, 0.5) if v is None else np.asarray(v))
    moved, costs = env.transition(env_state(before, plain), action, env_luck(luck), env_params(plain))
    fields = {name: np.asarray(getattr(moved, name)) for name in (*oracle.STATE_FIELDS, *oracle.used(plain))}
    return types.SimpleNamespace(**fields), np.asarray(costs)


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


# The end


@settings(everywhere, max_examples=30)
@given(strategies.grids())
def test_a_finished_episode_stays_as_it_is_and_costs_nothing_whatever_is_played(case):
    before, *luck = arrays(case._replace(state=case.state | {"done": True}))
    states, costs, *_ = jitted_play(before, *luck)
    assert_same_bits(states, stack([before] * STEPS))
    assert not np.any(costs)


def test_an_episode_that_starts_in_tolerance_still_has_one_step():
    plain = simple_environment(start_low=0.0, start_high=0.5, tolerance=1.0)
    _, state = reset(jax.random.key(0), env_params(plain))
    assert not state.done
    moved, costs = transition(state, 0, (jnp.float32(0.5), jnp.zeros(2)), env_params(plain))
    assert moved.done and moved.time == 1
    assert costs[oracle.LATENCY] == 1 and costs[oracle.VIOLATION] == 0


def test_it_ends_in_the_step_that_brings_every_coordinate_into_tolerance_and_its_edge_is_within():
    plain = simple_environment(shift=-1.0, tolerance=[1.0, 2.0])
    state, _ = after(plain, z=(2.5, 2.0))
    assert not state.done
    state, costs = after(plain, z=(2.0, -1.0))
    assert state.done and costs[oracle.VIOLATION] == 0


def test_it_ends_at_the_horizon_and_not_before():
    plain = simple_environment(horizon=5)
    assert not after(plain, time=3)[0].done
    assert after(plain, time=4)[0].done


def test_the_violation_is_charged_once_in_the_state_in_which_the_episode_ends():
    plain = simple_environment(drift=[0.25, -0.5], horizon=3, tolerance=[1.0, 2.0])
    luck, actions = env.Luck(jnp.full(6, 0.5), jnp.zeros((6, 2))), jnp.zeros(6, jnp.int32)
    states, costs, *_ = jitted_play(env_state(oracle.start([4.0, -4.0])), actions, luck, env_params(plain))
    np.testing.assert_array_equal(states.done, [False, False, True, True, True, True])
    expected = (4.75 - 1.0) + (5.5 - 2.0)
    np.testing.assert_array_equal(costs[:, oracle.VIOLATION], [0, 0, expected, 0, 0, 0])
    np.testing.assert_array_equal(costs[:, oracle.LATENCY], [1, 1, 1, 0, 0, 0])


def test_an_overrun_budget_is_a_violation_by_its_share_and_keeps_the_episode_open():
    plain = simple_environment(latency=2.0, money=0.5, latency_budget=4.0, money_budget=1.0)
    within = {"z": (0.0, 0.0)}
    state, costs = after(plain, latency=2.0, money=0.5, **within)
    assert state.done and costs[oracle.VIOLATION] == 0  # just used up is not overrun
    state, costs = after(plain, latency=3.0, money=0.0, **within)
    assert not state.done and costs[oracle.VIOLATION] == 0
    state, costs = after(plain, latency=3.0, money=1.0, time=4, **within)
    assert state.done and costs[oracle.VIOLATION] == pytest.approx(0.25 + 0.5)
    state, _ = after(simple_environment(latency=2.0, money=0.5), latency=1e6, money=1e6, **within)
    assert state.done  # no budget, no violation


def test_without_auto_end_the_episode_goes_on_in_tolerance_until_a_row_ends_it_or_time_runs_out():
    plain = simple_environment(shift=-1.0, auto_end=False, ends=[False, True, False])
    state, costs = after(plain, z=(1.0, 1.0))
    assert not state.done and costs[oracle.VIOLATION] == 0
    state, costs = after(plain, z=(0.0, 0.0), action=1)
    assert state.done and costs[oracle.VIOLATION] == 0
    state, costs = after(plain, z=(3.0, 0.0), action=1)
    assert state.done and costs[oracle.VIOLATION] == 2  # that it is done, the agent only thought
    assert after(plain, z=(1.0, 1.0), time=4)[0].done


@pytest.mark.parametrize("name", ["latency", "money"])
def test_an_episode_ends_when_seconds_or_dollars_reach_their_limit(name):
    plain = simple_environment(**{f"{name}_limit": 4.0})
    for spent, done in ((2.5, False), (3.0, True), (7.0, True)):
        state, costs = after(plain, z=(3.0, 0.0), **{name: spent})
        assert state.done == done and costs[oracle.VIOLATION] == (2 if done else 0)
    state, costs = after(plain, z=(0.0, 0.0), **{name: 3.0})
    assert state.done and costs[oracle.VIOLATION] == 0  # in tolerance: a success
    assert not after(simple_environment(**{f"{name}_limit": np.inf}), **{name: 1e6})[0].done


@pytest.mark.parametrize("name", ["latency", "money"])
def test_sums_of_decimal_fractions_reach_a_limit_that_they_exactly_meet(name):
    for tenths in range(1, 100):
        for calls in (7, 13):
            plain = simple_environment(**{name: tenths / 10, f"{name}_limit": round(tenths * calls / 10, 1)})
            spent = np.float32(0)
            for _ in range(calls - 2):
                spent += np.float32(tenths / 10)
            state, _ = after(plain, **{name: spent})
            assert not state.done
            assert after(plain, **{name: getattr(state, name)})[0].done


@pytest.mark.parametrize(("too_low", "violation"), [(np.inf, 0.0), (0.5, 1.5)])
def test_too_much_done_is_fine_or_a_violation_by_what_the_lower_tolerance_says(too_low, violation):
    plain = simple_environment(shift=[-4.0, 0.0], tolerance=1.0, tolerance_low=[too_low, 1.0], horizon=1)
    _, costs = after(plain, z=(2.0, 0.5))
    assert costs[oracle.VIOLATION] == violation
    _, costs = after(plain, z=(7.0, 0.5))
    assert costs[oracle.VIOLATION] == 2  # too little done never is


# What a row does


def test_a_success_gains_shifts_and_drifts_and_the_planner_misses_the_drift():
    plain = simple_environment(gain=[0.5, 1.0], shift=[0.0, -1.0], drift=[0.75, 1.0])
    state, costs = after(plain, z=(4.0, 4.0))
    np.testing.assert_array_equal(state.z, [2.75, 4.0])
    assert costs[oracle.DIVERGENCE] == pytest.approx(1.25)
    assert costs[oracle.FAILURE] == 0


def test_noise_is_the_rows_own_one_draw_a_coordinate_and_the_planner_misses_it():
    plain = simple_environment(noise=[0.0, 0.5, 2.0])
    for action, noise in enumerate((0.0, 0.5, 2.0)):
        state, costs = after(plain, action=action, eps=(1.5, -2.0))
        np.testing.assert_array_equal(state.z, [4 + 1.5 * noise, 4 - 2.0 * noise])
        assert costs[oracle.DIVERGENCE] == pytest.approx(2.5 * noise)


def test_a_failure_drifts_pays_in_full_and_diverges_by_the_whole_plan():
    effect = {"shift": [-3.0, 0.0], "noise": 1.0}
    plain = simple_environment(failure=1.0, latency=0.5, money=0.25, drift=[0.0, 4.0], **effect)
    state, costs = after(plain, action=1, eps=(9.0, 9.0), latency=1.0, money=2.0, time=2)
    np.testing.assert_array_equal(state.z, [4.0, 8.0])
    np.testing.assert_array_equal(costs, [0.5, 0.25, 0.0, 1.0, 5.0])
    assert (state.latency, state.money, state.time) == (1.5, 2.25, 3)


def test_it_fails_when_u_is_under_the_probability_and_not_when_it_equals_it():
    plain = simple_environment(failure=0.5)
    assert after(plain, u=0.4375)[1][oracle.FAILURE] == 1
    assert after(plain, u=0.5)[1][oracle.FAILURE] == 0


def test_how_its_own_latest_call_went_decides_how_likely_a_row_fails():
    plain = simple_environment(failure=0.25, after_ok=0.125, after_failed=0.75)

    def fails(status, u, action=1):
        state, costs = after(plain, action=action, u=u, status=status)
        expected = np.array(status)
        expected[action] = oracle.FAILED if costs[oracle.FAILURE] else oracle.WORKED
        np.testing.assert_array_equal(state.status, expected)
        return bool(costs[oracle.FAILURE])

    for others in (oracle.NOT_CALLED, oracle.WORKED, oracle.FAILED):
        assert fails([others, oracle.FAILED, others], 0.625) and not fails([others, oracle.FAILED, others], 0.75)
        assert fails([others, oracle.WORKED, others], 0.0) and not fails([others, oracle.WORKED, others], 0.125)
        assert fails([others, oracle.NOT_CALLED, others], 0.1875) and not fails(
            [others, oracle.NOT_CALLED, others], 0.25
        )


def test_a_status_lasts_until_the_rows_next_call_whatever_is_played_in_between():
    plain = simple_environment(failure=0.5, after_failed=0.5, horizon=9)
    state = oracle.start([4.0, 4.0], params=plain)
    statuses = []
    for action, u in ((0, 0.0), (1, 0.75), (1, 0.75), (2, 0.0), (1, 0.0), (0, 0.75)):
        state = vars(after(plain, action=action, u=u, **state)[0])
        statuses.append(list(state["status"]))
    assert statuses == [[2, 0, 0], [2, 1, 0], [2, 1, 0], [2, 1, 2], [2, 2, 2], [1, 2, 2]]


@pytest.mark.parametrize(("there", "missing"), [("after_ok", oracle.FAILED), ("after_failed", oracle.WORKED)])
def test_a_status_of_which_no_column_says_anything_leaves_the_probability_as_it_is(there, missing):
    plain = simple_environment(failure=0.5, **{there: 0.0})
    for status in (missing, oracle.NOT_CALLED):
        assert after(plain, u=0.375, status=[status] * 3)[1][oracle.FAILURE] == 1
        assert after(plain, u=0.5, status=[status] * 3)[1][oracle.FAILURE] == 0


def test_a_failed_call_takes_and_costs_what_failed_calls_do():
    plain = simple_environment(latency=1.0, money=2.0, failure_latency=8.0, failure_money=0.25, failure=0.5)
    state, costs = after(plain, u=0.0, latency=0.5, money=0.5)
    assert (state.latency, state.money, costs[oracle.LATENCY], costs[oracle.MONEY]) == (8.5, 0.75, 8.0, 0.25)
    state, costs = after(plain, u=0.5, latency=0.5, money=0.5)
    assert (state.latency, state.money, costs[oracle.LATENCY], costs[oracle.MONEY]) == (1.5, 2.5, 1.0, 2.0)
    for column, other in (("latency", oracle.MONEY), ("money", oracle.LATENCY)):
        _, costs = after(simple_environment(failure=1.0, **{f"failure_{column}": 8.0}))
        assert costs[other] == 1 and costs[1 - other] == 8


def test_calls_take_and_cost_more_for_every_step_played_before_failed_or_not():
    plain = simple_environment(latency_growth=0.5, money_growth=0.25, failure=0.5, failure_latency=3.0)
    for time in (0, 1, 3):
        for u, latency in ((0.5, 1.0), (0.0, 3.0)):
            _, costs = after(plain, time=time, u=u)
            assert costs[oracle.LATENCY] == latency + 0.5 * time and costs[oracle.MONEY] == 1 + 0.25 * time


def test_seconds_are_spread_as_a_lognormal_whose_mean_stays_the_latency():
    plain = simple_environment(latency=2.0, latency_spread=[0.0, 0.5, 1.0], latency_growth=1.0)
    for action, sigma in enumerate((0.0, 0.5, 1.0)):
        for n in (-1.0, 0.0, 2.0):
            _, costs = after(plain, action=action, n=n, time=1)
            assert costs[oracle.LATENCY] == pytest.approx(3 * np.exp(sigma * n - sigma**2 / 2), rel=1e-6)
    state = env_state(oracle.start([9.0, 9.0], params=plain), plain)
    seconds = np.asarray(steps(jax.random.split(jax.random.key(1), 4096), state, 1, env_params(plain))[2][:, 0])
    deviation = 2 * np.sqrt(np.exp(0.25) - 1)
    assert seconds.mean() == pytest.approx(2, abs=5 * deviation / 64) and seconds.std() == pytest.approx(
        deviation, rel=0.15
    )
    assert np.log(seconds / 2).std() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(2 * 4096))


def test_a_call_that_would_take_longer_than_its_time_out_fails_then_and_costs_what_failed_calls_do():
    plain = simple_environment(
        latency=[1.0, 3.0, 2.0], timeout=2.0, money=1.0, failure_money=0.25, shift=-1.0, drift=0.5
    )
    for action, seconds, money, failed, z in ((0, 1, 1, 0, 3.5), (1, 2, 0.25, 1, 4.5), (2, 2, 1, 0, 3.5)):
        state, costs = after(plain, action=action)
        np.testing.assert_array_equal(costs[[oracle.LATENCY, oracle.MONEY, oracle.FAILURE]], [seconds, money, failed])
        assert state.latency == seconds and state.z[0] == z
    # A failed call of 30 s is cut off too, and a long conversation or a bad draw makes a good one late.
    assert after(simple_environment(failure=1.0, failure_latency=30.0, timeout=2.0))[1][oracle.LATENCY] == 2
    assert after(simple_environment(latency_growth=1.0, timeout=2.0), time=2)[1][oracle.FAILURE] == 1
    spread = simple_environment(latency_spread=1.0, timeout=2.0)
    assert [after(spread, n=n)[1][oracle.FAILURE] for n in (1.0, 1.5)] == [0, 1]


def test_a_time_out_that_decimal_fractions_exactly_meet_is_kept():
    for tenths in range(1, 100):
        plain = simple_environment(latency=0.1, latency_growth=0.1, timeout=tenths / 10, horizon=999)
        assert [after(plain, time=tenths - 1 + more)[1][oracle.FAILURE] for more in (0, 1)] == [0, 1]


def test_whatever_is_down_fails_for_certain_and_only_that():
    plain = simple_environment(mean_uptime=5.0, mean_downtime=5.0, failure=0.0)
    for action in range(3):
        _, costs = after(plain, action=action, u=1 - 2**-24, down=[False, True, False])
        assert costs[oracle.FAILURE] == (action == 1)


def test_what_is_behind_every_row_moves_by_the_seconds_taken_whichever_is_played():
    """The two-state chain: from up and from down, played row or not, by the seconds of the step and no others."""
    up, down, seconds = 3.0, 1.5, 0.75
    plain = simple_environment(mean_uptime=up, mean_downtime=down, latency=[9.0, 4.0, 9.0], failure=1.0,
                               failure_latency=[9.0, seconds, 9.0])  # fmt: skip
    share, forgets = down / (up + down), np.exp(-(1 / up + 1 / down) * seconds)
    for was in (False, True):
        expected = share + (was - share) * forgets
        before = {"down": [was] * 3, "action": 1}
        assert after(plain, v=[expected - 1e-4] * 3, **before)[0].down.all()
        assert not after(plain, v=[expected + 1e-4] * 3, **before)[0].down.any()
    state = oracle.start([9.0, 9.0], params=plain) | {"down": np.array([False, True, False])}
    moved = steps(jax.random.split(jax.random.key(2), 4096), env_state(state, plain), 1, env_params(plain))[1].down
    expected = share + (np.array([0, 1, 0]) - share) * forgets
    np.testing.assert_allclose(moved.mean(0), expected, atol=5 * 0.5 / 64)
    np.testing.assert_allclose(np.corrcoef(moved, rowvar=False), np.eye(3), atol=5 / 64)


def test_a_chain_starts_in_its_stationary_law_and_stays_in_it():
    changes = {"mean_uptime": [3.0, 1.0, np.inf], "mean_downtime": [1.0, 4.0, 2.0], "latency": 0.7}
    states, share, rate = drawn(**changes), np.array([0.25, 0.8, 0.0]), np.array([1 / 3 + 1, 1 + 1 / 4, 1 / 2])
    np.testing.assert_allclose(states.down.mean(0), share, atol=5 * 0.5 / 64)
    v = np.random.default_rng(0).random((4096, 3))
    luck = env.Luck(jnp.zeros(4096), jnp.zeros((4096, 2)), None, jnp.asarray(v, jnp.float32))
    params = env_params(simple_environment(**SEEN_AT_A_START | changes))
    moved, _ = jax.vmap(env.transition, in_axes=(0, None, 0, None))(states, jnp.int32(0), luck, params)
    np.testing.assert_allclose(moved.down.mean(0), share, atol=5 * 0.5 / 64)
    turned = np.mean(np.asarray(moved.down) != np.asarray(states.down), axis=0)
    np.testing.assert_allclose(turned, 2 * share * (1 - share) * (1 - np.exp(-rate * 0.7)), atol=5 * 0.5 / 64)


@pytest.mark.parametrize(("uptime", "downtime"), [(np.inf, 0.0), (np.inf, 5.0), (2.0, 0.0)])
@pytest.mark.parametrize("seconds", [0.0, 1.0, 1e6])
def test_rows_that_are_never_down_stay_up_and_no_number_becomes_nan(uptime, downtime, seconds):
    plain = simple_environment(mean_uptime=uptime, mean_downtime=downtime, latency=seconds)
    start = env.Start(jnp.zeros(2), jnp.zeros(2), None, jnp.zeros(3))
    assert not env.begin(start, env_params(plain)).down.any()
    state, costs = after(plain, v=[0.0] * 3)
    assert not state.down.any() and np.isfinite(costs).all()


def test_buckets_start_full_and_fill_by_the_seconds_of_every_step_up_to_their_burst():
    plain = simple_environment(rate_limit=[0.25, 0.5, np.inf], rate_burst=[3.0, 2.0, 1.0], latency=[1.0, 2.0, 1.0])
    full = env.begin(env.Start(jnp.zeros(2), jnp.zeros(2)), env_params(plain)).tokens
    np.testing.assert_array_equal(full, [3, 2, 1])
    np.testing.assert_array_equal(after(plain)[0].tokens, [2.25, 2.0, 1.0])  # the call took a token before it filled
    np.testing.assert_array_equal(after(plain, action=1, tokens=[1.0, 1.5, 1.0])[0].tokens, [1.5, 1.5, 1.0])
    np.testing.assert_array_equal(after(plain, action=1, tokens=[2.75, 1.5, 1.0])[0].tokens, [3.0, 1.5, 1.0])


def test_a_call_that_finds_less_than_a_token_fails_and_takes_none():
    plain = simple_environment(rate_limit=0.25, rate_burst=2.0, failure_latency=2.0)
    state, costs = after(plain, tokens=[0.875, 2.0, 2.0], u=1 - 2**-24)
    assert costs[oracle.FAILURE] == 1 and costs[oracle.LATENCY] == 2
    np.testing.assert_array_equal(state.tokens, [1.375, 2.0, 2.0])
    state, costs = after(plain, tokens=[1.0, 2.0, 2.0])
    assert costs[oracle.FAILURE] == 0 and state.tokens[0] == 0.25
    failed = simple_environment(rate_limit=0.25, rate_burst=2.0, failure=1.0)
    assert after(failed, tokens=[1.5] * 3)[0].tokens[0] == 0.75  # failing for another reason, it takes one


def test_a_token_that_decimal_fractions_add_up_to_is_there():
    """Ten seconds at a tenth of a token, seven at a seventh: 0.99999994 in single precision is 1."""
    for rate, steps_between in ((0.1, 10), (1 / 7, 7), (0.3, 4)):
        plain = simple_environment(rate_limit=rate, horizon=99)
        state = oracle.start([9.0, 9.0], params=plain) | {"tokens": np.array([0.0, 1.0, 1.0])}
        for _ in range(steps_between):
            state = vars(after(plain, action=1, **state)[0])
        state, costs = after(plain, action=0, **state)
        assert costs[oracle.FAILURE] == 0 and 0 <= state.tokens[0] <= 1


@pytest.mark.parametrize("seconds", [0.0, 1.0, 1e6])
def test_rows_without_a_bucket_never_want_for_tokens_and_no_number_becomes_nan(seconds):
    plain = simple_environment(rate_limit=np.inf, rate_burst=[1.0, 2.0, 1.0], latency=seconds, horizon=9)
    state = oracle.start([9.0, 9.0], params=plain)
    for _ in range(3):
        moved, costs = after(plain, **state)
        state = vars(moved)
        assert costs[oracle.FAILURE] == 0 and np.isfinite(moved.tokens).all() and np.isfinite(costs).all()


def test_a_row_is_legal_until_its_calls_are_used_up_and_a_call_all_the_same_fails_and_counts():
    plain = simple_environment(max_calls=[2.0, np.inf, 1.0], horizon=9, ends=[True, False, False])
    state = oracle.start([4.0, 4.0], params=plain)

    def legal(calls):
        return list(np.asarray(env.legal(env_state(state | {"calls": np.array(calls)}, plain), env_params(plain))))

    assert legal([0, 0, 0]) == legal([1, 99, 0]) == [True, True, True]
    assert legal([2, 0, 1]) == [False, True, False]
    moved, costs = after(plain, action=0, u=1 - 2**-24, calls=[2, 0, 0])
    assert costs[oracle.FAILURE] == 1 and not moved.done
    np.testing.assert_array_equal(moved.calls, [3, 0, 0])
    assert after(plain, action=0, calls=[1, 0, 0])[0].done
    np.testing.assert_array_equal(after(plain, action=1, calls=[2, 5, 1])[0].calls, [2, 6, 1])


def test_what_a_call_requires_must_truly_be_within_tolerance_not_as_read():
    needs = [[True, False], [False, False], [True, True]]
    plain = simple_environment(requires=needs, tolerance=[1.0, 0.5], tolerance_low=[1.0, np.inf])

    def fails(action, z, misread=(0.0, 0.0)):
        return bool(after(plain, action=action, z=z, misread=np.array(misread), u=1 - 2**-24)[1][oracle.FAILURE])

    assert [fails(action, (2.0, 0.0)) for action in range(3)] == [True, False, True]
    assert [fails(action, (1.0, 3.0)) for action in range(3)] == [False, False, True]
    assert [fails(action, (-1.5, 0.0)) for action in range(3)] == [True, False, True]
    assert not fails(2, (1.0, -9.0))  # too much done of what can't be too much
    assert fails(0, (2.0, 0.0), misread=(-2.0, 0.0)) and not fails(0, (0.0, 0.0), misread=(2.0, 0.0))


def test_a_disallowed_row_that_is_played_all_the_same_fails_for_certain_and_costs_as_usual():
    plain = simple_environment(
        failure=0.0,
        after_ok=0.0,
        after_failed=0.0,
        allowed=[True, False, True],
        ends=[False, True, False],
        reveals=[False, True, False],
        drift=1.0,
    )
    for status in (oracle.NOT_CALLED, oracle.WORKED, oracle.FAILED):
        state, costs = after(plain, action=1, u=1 - 2**-24, status=[0, status, 0], misread=np.array([1.0, 1.0]))
        np.testing.assert_array_equal(state.z, [5.0, 5.0])
        np.testing.assert_array_equal(state.misread, [1.0, 1.0])
        assert not state.done
        np.testing.assert_array_equal(state.status, [0, oracle.FAILED, 0])
        np.testing.assert_array_equal(costs[:4], [1, 1, 0, 1])


def test_revealing_clears_the_misreading_if_it_succeeds_and_only_then():
    plain = simple_environment(reveals=[True, False, True], failure=[0.0, 0.0, 1.0])
    misread = {"misread": [1.5, -2.0]}
    np.testing.assert_array_equal(after(plain, action=0, **misread)[0].misread, [0.0, 0.0])
    np.testing.assert_array_equal(after(plain, action=1, **misread)[0].misread, [1.5, -2.0])
    np.testing.assert_array_equal(after(plain, action=2, **misread)[0].misread, [1.5, -2.0])


def test_an_ending_row_leaves_no_drift_behind_as_planned():
    plain = simple_environment(
        ends=[True, True, False], resolves=[True, False, False], gain=0.5, shift=2.0, noise=3.0, drift=1.0
    )
    state, costs = after(plain, action=0, z=(4.0, 5.0), eps=(1.0, 1.0))
    np.testing.assert_array_equal(state.z, [0.0, 0.0])
    assert state.done
    np.testing.assert_array_equal(costs, [1, 1, 0, 0, 0])

    state, costs = after(plain, action=1, z=(4.0, 5.0), eps=(1.0, 1.0))
    np.testing.assert_array_equal(state.z, [4.0, 5.0])
    assert state.done
    np.testing.assert_array_equal(costs, [1, 1, 3 + 4, 0, 0])


def test_an_ending_row_that_fails_drifts_and_ends_nothing():
    plain = simple_environment(ends=True, resolves=[True, False, False], failure=1.0, drift=[3.0, 4.0])
    state, costs = after(plain, action=0, z=(0.0, 2.0))
    np.testing.assert_array_equal(state.z, [3.0, 6.0])
    assert not state.done
    assert costs[oracle.DIVERGENCE] == pytest.approx(np.hypot(3.0, 6.0))  # it meant to resolve
    state, costs = after(plain, action=1, z=(0.0, 2.0))
    assert not state.done
    assert costs[oracle.DIVERGENCE] == pytest.approx(5.0)  # it meant to leave z alone


# What is seen


def test_the_observation_of_an_environment_without_optional_fields_has_five_parts_in_order():
    scales = {"z_scale": [2.0, 4.0], "latency_scale": 10.0, "money_scale": 5.0}
    plain = simple_environment(tolerance=[1.0, 2.0], horizon=8, **scales)
    before = oracle.start([3.0, -3.0], [-2.0, 0.5])
    before |= {"latency": 5.0, "money": 1.0, "time": 2}
    seen = np.asarray(observe(env_state(before), env_params(plain)))
    z, latency, money, outside, time = np.split(seen, np.cumsum([2, 1, 1, 2]))
    np.testing.assert_array_equal(z, [(3 - 2) / 2, (-3 + 0.5) / 4])
    np.testing.assert_allclose([*latency, *money], [0.5, 0.2], rtol=1e-6)
    np.testing.assert_array_equal(outside, [0, 1])  # as read: the first lies on its tolerance, truly outside
    np.testing.assert_array_equal(time, [0.25])


def test_the_observation_reads_too_much_done_as_fine_where_it_is():
    plain = simple_environment(tolerance=1.0, tolerance_low=[np.inf, 0.5])
    for z, outside in ((-9.0, [0, 1]), (2.0, [1, 1]), (-0.5, [0, 0])):
        seen = np.asarray(env.observe(env_state(oracle.start([z, z])), env_params(plain)))
        np.testing.assert_array_equal(seen[4:6], outside)


BLOCKS = {
    "failed": ({"after_failed": 0.5}, [0, 0, 1]),
    "worked": ({"after_ok": 0.5}, [0, 1, 0]),
    "calls": ({"max_calls": [4.0, np.inf, 2.0]}, [0.75, 0, 0.5]),
    "tokens": ({"rate_limit": [0.5, 0.5, np.inf], "rate_burst": [2.0, 1.0, 4.0]}, [0.25, 1, 0]),
}
"""Blocks of the observation beyond the first five, what makes each of them be there, and what one state shows in it."""


@pytest.mark.parametrize("chosen", [
    names for size in range(5) for names in itertools.combinations(BLOCKS, size)
])  # fmt: skip
def test_further_blocks_follow_in_order_where_they_are_there(chosen):
    plain = simple_environment(**{name: value for block in chosen for name, value in BLOCKS[block][0].items()})
    if "worked" in chosen and "failed" not in chosen:
        chosen = ("failed", *chosen)  # statuses are seen as soon as the past matters
    history = {"status": [0, 1, 2], "calls": [3, 7, 1], "tokens": [0.5, 1.0, 4.0]}
    state = env_state(oracle.start([3.0, 3.0], params=plain) | history, plain)
    params = env_params(plain)
    seen = np.asarray(env.observe(state, params))
    np.testing.assert_array_equal(seen[7:], np.concatenate([[], *(BLOCKS[block][1] for block in chosen)]))
    assert tuple(env.places(params)) == ("task", "latency", "money", "out", "time", *chosen)
    assert env.observation_size(params) == len(seen) == 7 + 3 * len(chosen)
    for i, block in enumerate(chosen):
        assert env.places(params)[block] == slice(7 + 3 * i, 10 + 3 * i)


def test_an_outage_shows_statuses_and_not_what_is_down():
    plain = simple_environment(mean_uptime=2.0, mean_downtime=2.0)
    state = oracle.start([3.0, 3.0], params=plain) | {"status": [1, 0, 2]}
    for down in (False, True):
        seen = np.asarray(env.observe(env_state(state | {"down": [down] * 3}, plain), env_params(plain)))
        np.testing.assert_array_equal(seen[7:], [0, 0, 1])


@pytest.mark.parametrize(("A", "d"), SHAPES)
def test_the_observation_has_2d_and_3_entries_and_a_for_each_further_block(A, d):
    for units, blocks in ((strategies.NOTHING, 0), (strategies.EVERYTHING, 4)):
        plain = strategies.random_environment(np.random.default_rng(0), A, d, units)
        params = env_params(plain)
        seen, _ = jax.eval_shape(env.reset, jax.random.key(0), params)
        assert seen.shape == (2 * d + 3 + blocks * A,)
        assert env.observation_size(params) == 2 * d + 3 + blocks * A
        assert (env.num_actions(params), env.num_coordinates(params)) == (A, d)


# Chance


SEEN_AT_A_START = {"start_points": np.zeros((4, 2)), "blind": False, "mean_uptime": np.inf}
"""All that a start may have, without effect."""


def drawn(**changes):
    """4,096 resets of a simple environment, with what it has at its start or, where nothing else is said, without."""
    keys = jax.random.split(jax.random.key(3), 4096)
    return resets(keys, env_params(simple_environment(**SEEN_AT_A_START | changes)))[1]


def test_a_reset_starts_uniform_in_the_box_and_everything_else_at_zero():
    low, high = np.array([-4.0, 1.5], np.float32), np.array([3.0, 1.5], np.float32)
    states = drawn(start_low=low, start_high=high)
    z = np.asarray(states.z)
    assert np.all(z >= low) and np.all(z <= high)
    np.testing.assert_array_equal(z[:, 1], 1.5)  # a box may be flat
    quantiles = np.quantile(z[:, 0], np.linspace(0.1, 0.9, 9))
    np.testing.assert_allclose(quantiles, np.linspace(-3.3, 2.3, 9), atol=5 * 7 * np.sqrt(0.25 / 4096))
    for leaf in (states.misread, states.latency, states.money, states.time, states.done):
        assert not np.any(leaf)


def test_a_start_has_one_of_its_points_added_drawn_by_weight():
    points = [[0.0, 0.0], [10.0, 20.0], [30.0, 40.0], [50.0, 60.0]]
    for weights, shares in (([1, 1, 1, 1], [0.25] * 4), ([3, 0, 6, 3], [0.25, 0, 0.5, 0.25])):
        z = np.asarray(drawn(start_points=points, start_weights=weights, start_low=-1.0, start_high=1.0).z)
        which = np.argmin(np.abs(z[:, None] - np.array(points)).sum(2), axis=1)
        np.testing.assert_allclose(np.bincount(which, minlength=4) / 4096, shares, atol=5 * 0.5 / 64)
        assert not np.any(which == 1) or shares[1]
        box = z - np.array(points)[which]
        assert np.all(np.abs(box) <= 1)
        independent = np.corrcoef(np.column_stack([box, which]), rowvar=False)
        np.testing.assert_allclose(independent, np.eye(3), atol=5 / 64)


def test_of_a_blind_coordinate_is_seen_what_such_tasks_need_and_what_was_done_until_a_row_reveals():
    points, weights = [[0.0, 0.0], [8.0, 4.0], [0.0, 0.0], [9.0, 9.0]], [1.0, 6.0, 1.0, 0.0]
    states = drawn(start_points=points, start_weights=weights, blind=[True, False], misread=[5.0, 0.0])
    seen = np.asarray(states.z + states.misread)
    np.testing.assert_allclose(seen[:, 0], 2.5 + 6.0, rtol=1e-6)  # of the middle of the box and of the points
    np.testing.assert_array_equal(seen[:, 1], states.z[:, 1])
    assert np.std(states.z[:, 0]) > 3
    plain = simple_environment(blind=[True, False], shift=-1.0, reveals=[False, True, False])
    state = {"z": np.array([2.5, 3.0]), "misread": np.array([6.0, 0.0])}
    state = vars(after(plain, action=0, **state)[0])
    np.testing.assert_array_equal(state["z"] + state["misread"], [7.5, 2.0])
    state = vars(after(plain, action=1, **state)[0])
    np.testing.assert_array_equal(state["z"] + state["misread"], [0.5, 1.0])
    np.testing.assert_array_equal(state["misread"], [0, 0])


def test_a_reset_misreads_each_coordinate_by_its_own_normal_and_independently_of_the_start():
    states = drawn(misread=[0.5, 3.0], start_low=-1.0, start_high=1.0)
    misread = np.asarray(states.misread) / [0.5, 3.0]
    np.testing.assert_allclose(misread.mean(0), 0, atol=5 / np.sqrt(4096))
    np.testing.assert_allclose(misread.std(0), 1, atol=5 / np.sqrt(2 * 4096))
    assert np.mean(np.abs(misread) < 1) == pytest.approx(0.6827, abs=0.03)
    correlations = np.corrcoef(np.hstack([misread, states.z]), rowvar=False)
    np.testing.assert_allclose(correlations, np.eye(4), atol=5 / np.sqrt(4096))


def test_the_same_key_gives_the_same_bits_and_another_key_others():
    params = env_params(simple_environment(noise=1.0, misread=1.0))
    one, other = jax.random.split(jax.random.key(7))
    first, again, elsewhere = reset(one, params), reset(one, params), reset(other, params)
    assert_same_bits(first, again)
    assert np.all(first[1].z != elsewhere[1].z) and np.all(first[1].misread != elsewhere[1].misread)

    state = first[1]
    first, again, elsewhere = (step(key, state, 2, params) for key in (one, one, other))
    assert_same_bits(first, again)
    assert np.all(first[1].z != elsewhere[1].z)


def test_the_same_keys_draw_the_same_vmapped_as_alone():
    params = env_params(simple_environment(failure=0.5, noise=1.0, misread=1.0, start_high=7.3))
    keys = jax.random.split(jax.random.key(8), 5)
    state = env_state(oracle.start([3.0, 4.0]))
    together = resets(keys, params), steps(keys, state, 1, params)
    alone = stack([(reset(key, params), step(key, state, 1, params)) for key in keys])
    for actual, expected in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_a_step_is_a_transition_on_luck_drawn_from_its_key_and_what_is_seen_after():
    params = env_params(simple_environment(failure=0.3, noise=0.5, drift=0.25))
    key = jax.random.key(5)
    state = env_state(oracle.start([3.0, 4.0]))
    seen, moved, costs, done = step(key, state, 1, params)
    expected, expected_costs = transition(state, 1, jax.jit(env.draw_luck)(key, params), params)
    assert_same_bits((moved, costs, done), (expected, expected_costs, expected.done))
    assert_same_bits(seen, observe(expected, params))


def test_a_steps_luck_is_uniform_and_normal_and_independent():
    """Seen through `step` itself: a row of pure noise shows ε in z', a row with failure p shows u < p."""
    count, p = 4096, 0.375
    params = env_params(simple_environment(gain=0.0, noise=1.0, failure=[0.0, p, 0.0], drift=0.0))
    keys = jax.random.split(jax.random.key(9), count)
    state = env_state(oracle.start([9.0, 9.0]))
    eps = np.asarray(steps(keys, state, 0, params)[1].z)
    failed = np.asarray(steps(keys, state, 1, params)[2][:, oracle.FAILURE])
    np.testing.assert_allclose(eps.mean(0), 0, atol=5 / np.sqrt(count))
    np.testing.assert_allclose(eps.std(0), 1, atol=5 / np.sqrt(2 * count))
    assert failed.mean() == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / count))
    correlations = np.corrcoef(np.column_stack([eps, failed]), rowvar=False)
    np.testing.assert_allclose(correlations, np.eye(3), atol=5 / np.sqrt(count))


def test_the_luck_is_the_same_whichever_action_is_taken():
    params = env_params(simple_environment(gain=0.0, noise=[1.0, 1.0, 2.0], failure=[0.0, 0.3, 0.6]))
    keys = jax.random.split(jax.random.key(11), 64)
    state = env_state(oracle.start([9.0, 9.0]))
    _, states, costs, _ = stack([steps(keys, state, action, params) for action in range(3)])
    failed = np.asarray(costs[..., oracle.FAILURE], bool)
    assert np.all(failed[0] <= failed[1]) and np.all(failed[1] <= failed[2])  # u is shared
    assert 0 < failed[1].sum() < failed[2].sum() < 64
    z = np.asarray(states.z)
    works = ~failed[2]
    np.testing.assert_array_equal(z[1, works], z[0, works])  # and so is ε
    np.testing.assert_array_equal(z[2, works], 2 * z[0, works])


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
