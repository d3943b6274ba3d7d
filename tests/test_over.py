"""Bounds by tolerance: what meets a bound exactly is within it, in the simulator, the exact solver and NumPy alike."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aljax import env
from aljax.comparison import compare
from aljax.exact.bounds import lower_bounds
from aljax.exact.bracket import find_optimal
from aljax.exact.fitting import fits
from aljax.exact.recursion import solve
from aljax.exact.structure import make_plan
from aljax.options import Protocol
from aljax.policy import Random
from aljax.rollout import outcome, rollout
from aljax.scenario import parse_scenario

import oracle
from strategies import env_params, simple_environment

CALLS = [(tenths / 10, n) for tenths in range(1, 100) for n in range(2, 21)]
"""n calls of c, for c = 0.1 … 9.9 and n = 2 … 20: in binary, few of the sums are the decimal number."""
STEPS = 20


# The function


@pytest.mark.parametrize(
    ("x", "c", "expected"),
    [
        (0.0, 0.0, 0.0),
        (1e-5, 0.0, 0.0),
        (2e-5, 0.0, 2e-5),
        (0.7 + 9e-6, 0.7, 0.0),
        (0.7 + 2e-5, 0.7, 2e-5),
        (100.0009, 100.0, 0.0),
        (100.0011, 100.0, 0.0011),
        (5.0, 2.0, 3.0),
        (1.0, 2.0, 0.0),
        (1e30, np.inf, 0.0),
        (np.inf, np.inf, 0.0),
        (np.inf, 1.0, np.inf),
        (0.0, 1e38, 0.0),
        (2e38, 1e38, 1e38),
    ],
)
def test_over_is_the_excess_past_a_slack_and_never_nan(x, c, expected):
    for function in (env.over, jax.jit(env.over), jax.vmap(env.over)):
        given_x, given_c = (jnp.full(3, value) if function.__name__ == "over" else value for value in (x, c))
        np.testing.assert_allclose(function(given_x, given_c), expected, rtol=1e-3, atol=1e-6)
    assert bool(env.exceeds(x, c)) == (expected > 0)


_size = st.floats(0, 1e6, width=32)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(c=st.one_of(st.just(0.0), _size), share=st.floats(-1, 1), far=st.booleans())
def test_over_is_the_plain_excess_but_for_the_slack(c, share, far):
    x = np.float32(max(0.0, c + share * (max(1.0, c) if far else 3e-5 * max(1.0, c))))
    c = np.float32(c)
    found, excess, slack = float(env.over(x, c)), float(x) - float(c), 1e-5 * max(1.0, float(c))
    if excess > slack * 1.02:  # rounding moves the limit by an ulp of c
        assert found == pytest.approx(excess, rel=1e-6, abs=0) and found == float(np.float32(x - c))
    elif excess < slack * 0.98:
        assert found == 0.0
    assert found in (0.0, float(np.float32(x - c)))


def test_whatever_is_over_stays_over_when_more_is_spent():
    """Lower bounds rest on it."""
    for c in (0.0, 0.3, 7.0, 1e4):
        x = np.linspace(0, 3 * max(c, 1), 10_001, dtype=np.float32)
        assert (np.diff(np.asarray(env.over(x, np.float32(c)))) >= 0).all()


# All exact budgets and tolerances


def member(bound, c, n, missed):
    """n calls of one row of c in exactly n c, or, where `missed`, in a little less; the episode ends with the n-th."""
    decimal = round(c * n, 1) * (1 - 2e-4 * missed)
    changes = {"horizon": n, "start_low": float(n), "start_high": float(n), "shift": -1.0, "tolerance": 0.5}
    changes |= {"latency": 1.0, "money": 1.0}
    if bound == "tolerance":
        start = round(c * n + 0.3, 1)
        changes |= {"start_low": start, "start_high": start, "shift": -c, "tolerance": 0.3 * (1 - 2e-4 * missed)}
    else:
        changes |= {bound: c, f"{bound}_budget": decimal}
    return simple_environment(1, 1, **changes)


@pytest.fixture(scope="module")
def cases():
    """Everything exact, and everything missed by a little: names, plain environments, and all of them stacked."""
    small = [(c, n) for c, n in CALLS if c < 1]  # a task of hundreds is itself rounded by more than the slack
    named = [
        (bound, c, n, missed)
        for bound, calls in (("latency", CALLS), ("money", CALLS), ("tolerance", small))
        for c, n in calls
        for missed in (False, True)
    ]
    plains = [member(*name) for name in named]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *plains)
    return named, plains, env_params(stacked)


def test_rollout_solver_and_numpy_agree_on_every_exact_bound_and_on_every_missed_one(cases):
    """1,881 budgets of seconds, as many of dollars, and tolerances: met exactly, success; missed, the violation."""
    named, plains, params = cases
    missed = np.array([name[3] for name in named])
    assert np.sum(~missed) == 2 * 1881 + 171

    def roll(params):
        return outcome(rollout(jax.random.key(0), Random(), params, episodes=1, steps=STEPS), params)

    rolled = jax.jit(jax.vmap(roll))(params)
    plan = make_plan(params)
    assert (plan.latency, plan.money) == (True, True)  # the missed ones make it count
    solved = jax.jit(jax.vmap(functools.partial(solve, plan=plan)))(params, params.start_low[:, :, None])

    expected = np.zeros((len(named), 2))
    for i, ((_, _, n, _), plain) in enumerate(zip(named, plains, strict=True)):
        state = oracle.start(plain["start_low"])
        for _ in range(n):
            assert not state["done"]
            state, costs = oracle.step(state, 0, 0.5, np.zeros(1), plain)
        expected[i] = oracle.constraint(state, plain) == 0, costs[oracle.VIOLATION]

    np.testing.assert_array_equal(expected[:, 0], ~missed)
    np.testing.assert_array_equal(rolled.steps[:, 0], [name[2] for name in named])
    for found in (rolled, solved):
        np.testing.assert_array_equal(found.success[:, 0], ~missed)
    for violation in (rolled.costs[:, 2, 0], solved.components[:, 2, 0]):
        np.testing.assert_array_equal(violation > 0, missed)
        np.testing.assert_allclose(violation, expected[:, 1], rtol=0.1, atol=0)  # two parts in 10,000 of a float32 sum


def test_a_budget_that_all_steps_together_only_meet_need_not_be_counted(cases):
    named, plains, _ = cases
    for name, plain in itertools.islice(zip(named, plains, strict=True), 0, None, 97):
        bound, _, _, missed = name
        params = env_params(plain)
        plan = make_plan(params)
        assert getattr(plan, bound, missed) == missed
        assert bool(fits(params, plan))
        if bound != "tolerance":
            more = dataclasses.replace(params, **{f"{bound}_budget": getattr(params, f"{bound}_budget") * 0.999})
            assert bool(fits(more, plan)) == missed


@pytest.mark.parametrize("steps", [20, 100, 160])
def test_sums_of_up_to_160_equal_numbers_stay_inside_the_slack(steps):
    """As docs/reference/scenario_files.md says; for more, rounding may add up to more than the slack."""
    c = np.arange(1, 1000, dtype=np.float64) / 100
    total = np.zeros(len(c), np.float32)
    for _ in range(steps):
        total += c.astype(np.float32)
    assert not np.asarray(env.exceeds(total, np.float32(np.round(c * steps, 2)))).any()


# Where it was seen

TABLE = """
[weights]
latency = 1.0
money = 1.0
violation = 100.0
failure = 1.0
divergence = 0.0

[actions.call]
latency = 0.1
money = 0.1
shift = {shift}

[actions.other]
latency = 0.1
money = 0.2
shift = {shift}
"""
SEVEN_CALLS = """
title = "Seven calls of 0.1 s in a budget of 0.7 s"
coordinates = ["work"]
horizon = 10
start_low = 7.0
start_high = 7.0
tolerance = 0.5
latency_budget = 0.7
""" + TABLE.format(shift=-1.0)
SIX_CALLS = """
title = "Six calls of 0.1 dollars in a budget of 0.3 dollars"
coordinates = ["work"]
horizon = 10
start_low = 6.0
start_high = 6.0
tolerance = 0.5
money_budget = 0.3
""" + TABLE.format(shift=-1.0)
THREE_STEPS = """
title = "Three steps of 0.2 bring 0.9 to 0.3, the tolerance"
coordinates = ["left"]
horizon = 3
start_low = 0.9
start_high = 0.9
tolerance = 0.3
""" + TABLE.format(shift=-0.2)


@pytest.mark.parametrize(
    ("text", "steps", "success"),
    [(SEVEN_CALLS, 7, True), (SIX_CALLS, 10, False), (THREE_STEPS, 3, True)],
    ids=["seconds", "dollars", "tolerance"],
)
def test_rollouts_the_optimum_the_bound_and_numpy_judge_a_scenario_alike(text, steps, success):
    scenario, protocol = (
        parse_scenario(text, name="exact", where="exact.toml"),
        Protocol(seeds=2, evaluation_episodes=3),
    )
    params, plain = scenario.params, oracle.params_dict(scenario.params)
    states, costs, _ = oracle.play(oracle.start(plain["start_low"]), [0] * 10, [0.5] * 10, np.zeros((10, 1)), plain)
    total = float(plain["weights"] @ costs.sum(0))
    assert (states[-1]["time"], oracle.constraint(states[-1], plain) == 0) == (steps, success)

    optimal, reason = find_optimal(scenario, protocol)
    assert optimal is not None, reason
    rolled = compare(scenario, protocol, optimal=optimal).evaluations
    for name in ("optimal", "cost_aware"):  # both play the first row throughout
        np.testing.assert_array_equal(rolled[name].outcome.success, success)
        np.testing.assert_array_equal(rolled[name].outcome.steps, steps)
        np.testing.assert_allclose(rolled[name].outcome.total, total, rtol=1e-6)
    start = params.start_low[:, None]
    solution = solve(params, start, optimal.plan)
    assert float(solution.success[0]) == success
    np.testing.assert_allclose(solution.value, total, rtol=1e-6)
    bound = lower_bounds(jax.random.key(0), params, start, make_plan(params, relaxed=True))
    np.testing.assert_allclose(bound, total, rtol=1e-6)


def test_the_observation_calls_out_of_tolerance_what_the_violation_does():
    plain = simple_environment(1, 4, tolerance=0.3)
    z = np.array([0.9 - 0.2 - 0.2 - 0.2, 0.3 + 9e-6, 0.3 + 1.1e-5, -0.4])
    state = oracle.start(z)
    library = env.EnvState(**{name: jnp.asarray(value, jnp.float32) for name, value in state.items()})
    seen = np.asarray(env.observe(library, env_params(plain)))
    np.testing.assert_array_equal(seen[6:10], [0, 0, 1, 1])
    np.testing.assert_array_equal(oracle.observe(state, plain)[6:10], [0, 0, 1, 1])
    excess = env.violation(library.z, library.latency, library.money, env_params(plain))
    np.testing.assert_allclose(excess, 0.1 + 1.1e-5, rtol=1e-3)
