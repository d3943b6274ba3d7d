"""What a step does, by the clauses of specification section 2: when episodes end, what each column of a row does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from aljax import env

import oracle
import strategies
from plays import after, arrays, assert_same_bits, everywhere, jitted_play, reset, stack, steps, transition
from strategies import STEPS, env_params, env_state, simple_environment

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
