"""The environment: what specification section 2 says, and that `aljax.env` equals the oracle, everywhere."""

import functools
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
from strategies import SHAPES, STEPS, Play, env_params, env_state, simple_environment

# Derandomized: a failure is then a change of the code and never of the draw.
everywhere = settings(deadline=None, max_examples=100, derandomize=True)


def dotted(path: Any) -> str:
    """A leaf's path as the fields' names."""
    return ".".join(entry.name for entry in path)


LEAVES = tuple(f"actions.{name}" for name in oracle.TABLE_FIELDS) + oracle.PARAM_FIELDS


def body(params, state, luck):
    action, u, eps = luck
    state, costs = env.transition(state, action, (u, eps), params)
    return state, (state, costs, env.observe(state, params))


def play(state, actions, u, eps, params):
    """The library's `oracle.play`: states, costs and observations after each step, stacked in front."""
    return jax.lax.scan(functools.partial(body, params), state, (actions, u, eps))[1]


jitted_play = jax.jit(play)
vmapped_play = jax.jit(jax.vmap(play, in_axes=(0, 0, 0, 0, None), out_axes=-1))
transition = jax.jit(env.transition)
observe = jax.jit(env.observe)
reset = jax.jit(env.reset)
step = jax.jit(env.step)
resets = jax.jit(jax.vmap(env.reset, in_axes=(0, None)))
steps = jax.jit(jax.vmap(env.step, in_axes=(0, None, None, None)))


def arrays(case: Play) -> tuple[Any, ...]:
    """A plain play, or a stack of plays, as the arguments of `play`."""
    luck = (jnp.asarray(case.u, jnp.float32), jnp.asarray(case.eps, jnp.float32))
    return (env_state(case.state), jnp.asarray(case.actions), *luck, env_params(case.params))


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


def after(plain, z=(4.0, 4.0), action=0, u=0.5, eps=(0.0, 0.0), **state):
    """Plays one action in a simple environment: the state after (with NumPy fields) and the five costs."""
    before = oracle.start(z) | state
    xi = (jnp.float32(u), jnp.asarray(eps, jnp.float32))
    moved, costs = transition(env_state(before), action, xi, env_params(plain))
    fields = {name: np.asarray(getattr(moved, name)) for name in oracle.STATE_FIELDS}
    return types.SimpleNamespace(**fields), np.asarray(costs)


# The oracle, everywhere


@everywhere
@given(strategies.grids())
def test_any_play_in_any_environment_equals_the_oracle(case):
    """States and counted costs bit for bit; what is divided or a square root to 2e-6 relative (float32)."""
    states, costs, observations = jitted_play(*arrays(case))
    expected_states, expected_costs, expected_observations = oracle.play(*case[1:], case.params)
    for name in oracle.STATE_FIELDS:
        expected = np.array([state[name] for state in expected_states])
        np.testing.assert_array_equal(np.asarray(getattr(states, name)), expected, err_msg=name)
    exact = [oracle.LATENCY, oracle.MONEY, oracle.FAILURE]
    np.testing.assert_array_equal(costs[:, exact], expected_costs[:, exact])
    np.testing.assert_array_equal(costs == 0, expected_costs == 0)
    np.testing.assert_allclose(costs, expected_costs, rtol=2e-6, atol=0)
    np.testing.assert_allclose(observations, expected_observations, rtol=2e-6, atol=0)


def test_the_oracle_reads_the_librarys_own_values():
    plain = strategies.random_environment(np.random.default_rng(0), 3, 2)
    state = oracle.start([1.5, -2.0], [0.5, 0.0]) | {"time": 2, "last_failed": 1, "latency": 0.75}
    jax.tree.map(np.testing.assert_array_equal, oracle.params_dict(env_params(plain)), plain)
    jax.tree.map(np.testing.assert_array_equal, oracle.state_dict(env_state(state)), state)


@functools.cache
def bulk(A: int, d: int) -> list[tuple[Play, Any]]:
    """200 random environments with a random play in each, and the oracle's account of it."""
    rng = np.random.default_rng(10 * A + d)
    plays = [strategies.random_play(rng, strategies.random_environment(rng, A, d)) for _ in range(200)]
    return [(play, oracle.play(*play[1:], play.params)) for play in plays]


def firm(case: Play, expected: list[oracle.State]) -> np.ndarray:
    """Which steps come before any that is so near a jump of f that rounding may decide it. ``[STEPS]``"""
    margins = [
        oracle.margin(before, case.actions[t], case.u[t], state, case.params)
        for t, (before, state) in enumerate(zip([case.state, *expected], expected, strict=False))
    ]
    return np.cumsum(np.array(margins) < 1e-4) == 0


@pytest.mark.parametrize(("A", "d"), SHAPES)
def test_hundreds_of_environments_in_one_call_equal_the_oracle(A, d):
    """Every leaf of EnvParams stacked and vmapped; to 2e-5, left off where rounding may turn a decision."""
    results = jax.jit(jax.vmap(play))(*arrays(stack([case for case, _ in bulk(A, d)])))
    states, costs, observations = jax.tree.map(np.asarray, results)
    mask = np.array([firm(case, expected[0]) for case, expected in bulk(A, d)])
    assert mask.mean() > 0.98

    def close(actual, expected, what):
        np.testing.assert_allclose(actual[mask], np.array(expected)[mask], rtol=2e-5, atol=2e-5, err_msg=what)

    for name in oracle.STATE_FIELDS:
        expected = [[state[name] for state in expected[0]] for _, expected in bulk(A, d)]
        close(getattr(states, name), expected, name)
    close(costs, [expected[1] for _, expected in bulk(A, d)], "costs")
    close(observations, [expected[2] for _, expected in bulk(A, d)], "observations")


def test_those_random_plays_reach_every_clause_of_the_specification():
    seen: dict[str, int] = {}
    for case, (states, costs, _) in (entry for shape in SHAPES for entry in bulk(*shape)):
        before = case.state
        for t, state in enumerate(states):
            action = oracle.nearest_row(case.actions[t], case.params)
            row = {name: column[action] for name, column in case.params["actions"].items()}
            failed, finished = costs[t][oracle.FAILURE] == 1, state["done"] and not before["done"]
            g = oracle.constraint(state, case.params)
            retried = before["last_failed"] == action
            live = not before["done"]
            happened = {
                "played past the end": not live,
                "a row is played that there is not": live and case.actions[t] != action,
                "fails": live and failed and row["allowed"],
                "a retry fails": live and failed and retried and row["allowed"],
                "a retry works": live and not failed and retried,
                "a disallowed row is played": live and not row["allowed"],
                "noise": live and not failed and row["noise"] > 0 and not row["ends"],
                "reveals": live and not failed and row["reveals"],
                "fails to reveal": live and failed and row["reveals"],
                "ends and resolves": finished and not failed and row["ends"] and row["resolves"],
                "ends with the rest unpaid": finished and not failed and row["ends"] and g > 0,
                "fails to end": live and failed and row["ends"],
                "resolves without ending": live and not failed and row["resolves"] and not row["ends"],
                "ends in tolerance": finished and g == 0 and not row["ends"],
                "ends at the horizon": finished and g > 0 and state["time"] == case.params["horizon"],
                "ends over a budget, in tolerance": finished
                and g > 0
                and bool(np.all(np.abs(state["z"]) <= case.params["tolerance"])),
            }
            for name, value in happened.items():
                seen[name] = seen.get(name, 0) + bool(value)
            before = state
    assert min(seen.values()) >= 20, seen


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
    plain = simple_environment(A=A, failure=0.5, latency=np.arange(A), shift=-np.arange(A)[:, None] / 8)
    outside, nearest = np.array([-(2**31), -1, A, 99, 2**31 - 1]), np.array([0, 0, A - 1, A - 1, A - 1])
    before, xi, params = env_state(oracle.start([4.0, 4.0])), (jnp.float32(u), jnp.zeros(2)), env_params(plain)
    alone = jax.vmap(env.transition, in_axes=(None, 0, None, None))
    assert_same_bits(jax.jit(alone)(before, outside, xi, params), jax.jit(alone)(before, nearest, xi, params))

    many = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[..., None], (*leaf.shape, 5)), (before, xi))
    trailing = jax.jit(env.transition)
    found = trailing(many[0], jnp.asarray(outside), many[1], params)
    assert_same_bits(found, trailing(many[0], jnp.asarray(nearest), many[1], params))
    np.testing.assert_array_equal(found[0].last_failed, nearest if u == 0.0 else -1)
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


@pytest.mark.parametrize(("A", "d", "batch"), [*((A, d, 37) for A, d in SHAPES), (3, 2, 1)])
def test_vmapped_and_stacked_on_the_trailing_axis_equal_alone_bit_for_bit(A, d, batch):
    """On numbers whose arithmetic is exact: what rounds, a compiler may order and contract by the shape."""
    alone, vmapped, trailing = three_ways(strategies.exact_plays(np.random.default_rng(A + d), A, d, batch))
    assert_same_bits(vmapped, alone)
    assert_same_bits(trailing, alone)


@pytest.mark.parametrize(("A", "d"), SHAPES)
def test_vmapped_and_stacked_on_the_trailing_axis_equal_alone_to_rounding(A, d):
    """On ordinary numbers, over a whole play: to 1e-5."""
    rng = np.random.default_rng(A + d)
    plain = strategies.random_environment(rng, A, d) | {"horizon": strategies.MAX_HORIZON}
    alone, *batches = three_ways([strategies.random_play(rng, plain) for _ in range(37)])
    for batch in batches:
        for actual, expected in zip(jax.tree.leaves(batch), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch", [(), (6,), (2, 3)])
def test_reset_and_step_stack_a_batch_on_the_trailing_axes_and_keep_every_type(batch):
    """Types too, strength included: a state can be carried through a loop from the first step on."""
    key, params = jax.random.key(0), env_params(simple_environment(A=3, d=2))
    observation, state = jax.eval_shape(functools.partial(env.reset, batch=batch), key, params)
    actions = jax.ShapeDtypeStruct(batch, jnp.int32)
    next_observation, next_state, costs, done = jax.eval_shape(env.step, key, state, actions, params)

    def types(tree):
        return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)

    f32, i32 = jnp.dtype("float32"), jnp.dtype("int32")
    assert types(observation) == types(next_observation) == ((2 * 2 + 3 + 3, *batch), f32, False)
    assert types(costs) == ((5, *batch), f32, False)
    assert types(state) == types(next_state)
    vector, scalar = ((2, *batch), f32, False), (batch, f32, False)
    count, flag = (batch, i32, False), (batch, jnp.dtype("bool"), False)
    assert types(state) == env.EnvState(vector, vector, scalar, scalar, count, count, flag)
    assert types(done) == flag


# The end


@settings(everywhere, max_examples=30)
@given(strategies.grids())
def test_a_finished_episode_stays_as_it_is_and_costs_nothing_whatever_is_played(case):
    before, *luck = arrays(case._replace(state=case.state | {"done": True}))
    states, costs, _ = jitted_play(before, *luck)
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
    luck = jnp.full(6, 0.5), jnp.zeros((6, 2))
    states, costs, _ = jitted_play(
        env_state(oracle.start([4.0, -4.0])), jnp.zeros(6, jnp.int32), *luck, env_params(plain)
    )
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


# What a row does


def test_a_success_gains_shifts_and_drifts_and_the_planner_misses_the_drift():
    plain = simple_environment(gain=[0.5, 1.0], shift=[0.0, -1.0], drift=[0.75, 1.0])
    state, costs = after(plain, z=(4.0, 4.0))
    np.testing.assert_array_equal(state.z, [2.75, 4.0])
    assert costs[oracle.DIVERGENCE] == pytest.approx(1.25)
    assert costs[oracle.FAILURE] == 0 and state.last_failed == -1


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
    assert (state.latency, state.money, state.time, state.last_failed) == (1.5, 2.25, 3, 1)


def test_it_fails_when_u_is_under_the_probability_and_not_when_it_equals_it():
    plain = simple_environment(failure=0.5)
    assert after(plain, u=0.4375)[1][oracle.FAILURE] == 1
    assert after(plain, u=0.5)[1][oracle.FAILURE] == 0


def test_failures_stick_to_the_row_that_failed_in_the_step_before():
    plain = simple_environment(failure=[0.25, 0.25, 0.25], retry_failure=[0.75, 0.75, 0.75])

    def fails(action, last_failed):
        state, costs = after(plain, action=action, u=0.5, last_failed=last_failed)
        assert state.last_failed == (action if costs[oracle.FAILURE] else -1)
        return bool(costs[oracle.FAILURE])

    assert fails(action=0, last_failed=0) and fails(action=2, last_failed=2)
    assert not fails(action=0, last_failed=-1)
    assert not fails(action=0, last_failed=1) and not fails(action=1, last_failed=0)


def test_a_disallowed_row_that_is_played_all_the_same_fails_for_certain_and_costs_as_usual():
    plain = simple_environment(
        failure=0.0,
        retry_failure=0.0,
        allowed=[True, False, True],
        ends=[False, True, False],
        reveals=[False, True, False],
        drift=1.0,
    )
    for last_failed in (-1, 1):
        state, costs = after(plain, action=1, u=1 - 2**-24, last_failed=last_failed, misread=[1.0, 1.0])
        np.testing.assert_array_equal(state.z, [5.0, 5.0])
        np.testing.assert_array_equal(state.misread, [1.0, 1.0])
        assert not state.done and state.last_failed == 1
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


def test_the_observation_has_six_parts_in_order():
    scales = {"z_scale": [2.0, 4.0], "latency_scale": 10.0, "money_scale": 5.0}
    plain = simple_environment(tolerance=[1.0, 2.0], horizon=8, **scales)
    before = oracle.start([3.0, -3.0], [-2.0, 0.5])
    before |= {"latency": 5.0, "money": 1.0, "time": 2, "last_failed": 1}
    seen = np.asarray(observe(env_state(before), env_params(plain)))
    z, latency, money, outside, time, last_failed = np.split(seen, np.cumsum([2, 1, 1, 2, 1]))
    np.testing.assert_array_equal(z, [(3 - 2) / 2, (-3 + 0.5) / 4])
    np.testing.assert_allclose([*latency, *money], [0.5, 0.2], rtol=1e-6)
    np.testing.assert_array_equal(outside, [0, 1])  # as read: the first lies on its tolerance, truly outside
    np.testing.assert_array_equal(time, [0.25])
    np.testing.assert_array_equal(last_failed, [0, 1, 0])


@pytest.mark.parametrize(("A", "d"), SHAPES)
def test_the_observation_has_2d_and_a_and_3_entries(A, d):
    params = env_params(simple_environment(A=A, d=d))
    seen, _ = jax.eval_shape(env.reset, jax.random.key(0), params)
    assert seen.shape == (2 * d + A + 3,)
    assert env.observation_size(params) == 2 * d + A + 3
    assert (env.num_actions(params), env.num_coordinates(params)) == (A, d)


def test_the_one_hot_of_the_row_that_failed_is_all_zero_when_none_did():
    params = env_params(simple_environment(A=3))
    for last_failed, expected in ((-1, [0, 0, 0]), (0, [1, 0, 0]), (2, [0, 0, 1])):
        state = env_state(oracle.start([3.0, 3.0]) | {"last_failed": last_failed})
        np.testing.assert_array_equal(observe(state, params)[-3:], expected)


# Chance


def drawn(count=4096, **changes):
    """`count` resets of a simple environment."""
    params = env_params(simple_environment(**changes))
    keys = jax.random.split(jax.random.key(3), count)
    return resets(keys, params)[1]


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
    np.testing.assert_array_equal(states.last_failed, -1)


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
    """An environment in which every number shows in a play of the three rows."""
    return simple_environment(
        latency=[1.0, 0.5, 0.7],
        money=[0.3, 0.2, 0.1],
        failure=[0.3, 0.2, 0.4],
        retry_failure=[0.5, 0.4, 0.45],
        gain=0.9,
        shift=-0.2,
        noise=[0.5, 0.25, 0.125],
        drift=0.3,
        misread=0.5,
        tolerance=[0.5, 0.7],
        latency_budget=2.0,
        money_budget=0.5,
        horizon=30,
    )


def changed(params: env.EnvParams, leaf: str, by: int) -> env.EnvParams:
    """The same environment with one leaf changed: numbers by half, integers by 1, booleans flipped."""

    def change(path, value):
        if dotted(path) != leaf:
            return value
        if value.dtype == bool:
            return value ^ bool(by % 2)
        return value + by if value.dtype == jnp.int32 else (value * (1 + 0.5 * by)).astype(value.dtype)

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
    traced(jax.random.key(9), env_state(oracle.start([3.0, 3.0])), jnp.int32(0), params)
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


# The host


def primitives(jaxpr) -> set[str]:
    """Names of all primitives of a jaxpr and of the jaxprs inside it."""
    names = set()
    for equation in jaxpr.eqns:
        names.add(equation.primitive.name)
        for value in jax.tree.leaves(equation.params, is_leaf=lambda value: hasattr(value, "jaxpr")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                names |= primitives(inner)
    return names


def calls_the_host(function, *arguments) -> set[str]:
    """The primitives of `function` that leave the device."""
    names = primitives(jax.make_jaxpr(function)(*arguments).jaxpr)
    leaving = ("callback", "debug", "infeed", "outfeed")
    return {name for name in names if any(word in name for word in leaving)}


def test_nothing_calls_back_to_the_host():
    params = env_params(lively())
    key, state = jax.random.key(0), env_state(oracle.start([3.0, 3.0]))
    assert not calls_the_host(env.reset, key, params)
    assert not calls_the_host(env.step, key, state, jnp.int32(0), params)
    assert not calls_the_host(everything, key, params)


def test_the_search_for_callbacks_would_find_one():
    @jax.jit
    def talkative(x):
        return jax.lax.scan(lambda c, _: (jax.debug.print("{}", c) or c, None), x, length=2)[0]

    assert calls_the_host(talkative, 1.0)
