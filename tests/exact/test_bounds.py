"""The information relaxation: below every policy, equal to the exact value where it relaxes nothing."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import load_scenario
from aljax.chance import draw_chance
from aljax.env import num_actions
from aljax.errors import UserError
from aljax.exact import bounds, outages
from aljax.exact.bounds import lower_bounds
from aljax.exact.recursion import solve
from aljax.exact.structure import make_plan
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import CostAware, Learned, Random
from aljax.rollout import outcome, rollout
from aljax.train import policy_architecture, train

import expectimax
from enumeration import A, D, best, family, single, starts, with_fields
from strategies import env_params, simple_environment

KEY = jax.random.key(0)


learn = jax.jit(train, static_argnames=("config", "steps"))


@functools.partial(jax.jit, static_argnames=("episodes", "steps"))
def play(key, policy, params, episodes, steps):
    """Each episode's total cost."""
    return outcome(rollout(key, policy, params, episodes=episodes, steps=steps), params).total


def relaxed(plain):
    params = env_params(plain)
    return params, make_plan(params, relaxed=True)


def test_where_nothing_is_relaxed_it_is_the_exact_value():
    """Statuses, ending rows and masks, without budgets."""
    plain, z = family("statuses")[3], starts(7, 20)
    params, plan = relaxed(with_fields(plain, latency_budget=np.inf, money_budget=np.inf))
    exact = solve(params, jnp.asarray(z, jnp.float32), make_plan(params)).value
    np.testing.assert_allclose(lower_bounds(KEY, params, z, plan), exact, rtol=1e-5, atol=1e-5)


def test_budgets_are_bounded_from_below():
    """The least spent in a state, not what was spent: never above the exact value, and not far below."""
    plain, z = family("statuses")[3], starts(7, 20)
    params, plan = relaxed(with_fields(plain, latency_budget=3.0, money_budget=2.0))
    exact = np.asarray(solve(params, jnp.asarray(z, jnp.float32), make_plan(params)).value, np.float64)
    below = lower_bounds(KEY, params, z, plan)
    assert (below <= exact * (1 + 1e-6)).all()
    assert below.mean() > 0.7 * exact.mean()


def multiplying(drift):
    """Four rows of which two multiply, one with a negative gain; sticky failures; a way out."""
    return simple_environment(
        4,
        2,
        gain=[[0.5, 1.0], [1.0, -0.5], [1.0, 1.0], [1.0, 1.0]],
        shift=[[0.0, 0.0], [0.0, 0.0], [-1.0, -0.5], [0.0, 0.0]],
        failure=[0.25, 0.125, 0.25, 0.0],
        after_failed=[0.5, 0.125, 0.75, 0.0],
        latency=[0.5, 0.25, 0.75, 0.25],
        money=[0.25, 0.5, 0.125, 12.0],
        ends=[False, False, False, True],
        resolves=[False, False, False, True],
        drift=drift,
        horizon=4,
        weights=[0.3, 0.4, 3.0, 0.5, 0.25],
    )


@pytest.mark.parametrize("drift", [0.0, 0.25])
def test_where_rows_multiply_it_is_below_the_enumerated_optimum_and_near(drift):
    """Every start at or below; on average within a few percent. Not equal, or the order would not have mattered."""
    plain, z = multiplying(drift), 1.5 * starts(5, 12)
    params, plan = relaxed(plain)
    exact = np.array([best(z[:, b], plain)[0] for b in range(z.shape[1])])
    below = lower_bounds(KEY, params, z, plan)
    assert (below <= exact + 1e-5 * np.maximum(1, exact)).all()
    assert 0.9 < below.mean() / exact.mean() < 1 - 1e-6


def test_where_only_gains_act_their_order_does_not_matter():
    plain, z = multiplying(0.0), starts(5, 12)
    plain["actions"]["shift"][:] = 0.0
    params, plan = relaxed(plain)
    exact = [best(z[:, b], plain)[0] for b in range(z.shape[1])]
    np.testing.assert_allclose(lower_bounds(KEY, params, z, plan), exact, rtol=1e-5)


def test_with_one_row_to_play_it_is_that_rows_expected_cost():
    """Nothing to choose, so foreknowledge of the noise gains nothing: the mean is the policy's own cost."""
    plain = simple_environment(
        1, 2, gain=[[0.5, -1.0]], shift=[[-0.5, 0.5]], noise=0.75, failure=0.25, after_failed=0.5, horizon=3,
        drift=[0.25, 0.0], misread=1.0, tolerance=0.0, weights=[0.5, 0.5, 2.0, 1.0, 1.0],
    )  # fmt: skip
    params, plan = relaxed(plain)
    episodes = 8000
    z = np.repeat(np.array([[2.0], [1.0]]), episodes, axis=1)
    fixed = env_params(with_fields(plain, start_low=z[:, 0], start_high=z[:, 0]))
    cost = np.asarray(play(KEY, Random(), fixed, episodes, 3), np.float64)
    below = lower_bounds(KEY, params, z, plan)
    error = math.hypot(cost.std(), below.std()) / math.sqrt(episodes)
    # Tolerance 0: no state has violation 0, so no choice of a point in a box ends an episode; but the least
    # violation of a box counts, hence not above.
    assert -0.1 * cost.mean() < below.mean() - cost.mean() < 4 * error
    one_step = fixed.__class__(**(vars(fixed) | {"horizon": jnp.int32(1)}))
    once = make_plan(one_step, relaxed=True)
    cost = np.asarray(play(KEY, Random(), one_step, episodes, 1), np.float64)
    below = lower_bounds(KEY, one_step, z, once)
    error = math.hypot(cost.std(), below.std()) / math.sqrt(episodes)
    assert abs(below.mean() - cost.mean()) < 4 * error


@pytest.mark.parametrize("seed", [1, 2, 8])
def test_no_policy_costs_less_in_random_environments_with_everything(seed):
    """Noise, misreading, gains of either sign, bounds, statuses, outages, buckets: heuristics and a trained policy."""
    rng = np.random.default_rng(seed)
    ends, low = rng.random(A) < 0.15, rng.uniform(-4, 4, D)
    plain = simple_environment(
        A, D, horizon=4, latency=rng.uniform(0, 3, A), money=rng.uniform(0, 2, A), failure=rng.uniform(0, 0.6, A),
        after_failed=rng.uniform(0, 1, A), gain=rng.uniform(-1.2, 1.2, (A, D)), shift=rng.normal(0, 2, (A, D)),
        noise=rng.uniform(0, 1, A) * (rng.random(A) < 0.5), ends=ends, resolves=ends & (rng.random(A) < 0.3),
        reveals=rng.random(A) < 0.3, drift=rng.normal(0, 0.5, D), start_low=low,
        start_high=low + rng.uniform(0.1, 3, D), misread=rng.uniform(0, 2, D), tolerance=rng.uniform(0.2, 2, D),
        latency_budget=rng.choice([np.inf, rng.uniform(0.5, 6)]),
        money_budget=rng.choice([np.inf, rng.uniform(0.5, 4)]),
        weights=rng.uniform(0, 2, 5), latency_scale=5.0, money_scale=5.0, mean_uptime=[5.0, np.inf, np.inf, 9.0],
        mean_downtime=[3.0, 1.0, 1.0, 2.0], latency_spread=[0.5, 0.25, 0.0, 1.0], timeout=[2.0, np.inf, 4.0, 9.0],
        rate_limit=[np.inf, 0.25, np.inf, np.inf], rate_burst=1.0, latency_limit=6.0,
    )  # fmt: skip
    params, plan = relaxed(plain)
    episodes, config = 4000, TrainConfig(episodes=6000, hidden=(16,))
    weights, _ = learn(KEY, Hyperparameters(), params, config=config, steps=4)
    policies = {
        "random": Random(),
        "cost_aware": CostAware(jnp.ones(num_actions(params), bool)),
        "learned": Learned(weights, policy_architecture(config, params)),
    }
    key = jax.random.key(seed)
    chance = draw_chance(key, params, episodes=episodes, steps=4)
    z = params.start_low[:, None] + (params.start_high - params.start_low)[:, None] * chance.start.task
    below = lower_bounds(KEY, params, z, plan)
    gaps = {}
    for name, policy in policies.items():
        excess = np.asarray(play(key, policy, params, episodes=episodes, steps=4), np.float64) - below
        gaps[name] = excess.mean()
        assert excess.mean() > -4 * excess.std() / math.sqrt(episodes), name
    assert gaps["learned"] < gaps["random"]
    assert below.mean() > 0


def hidden(**changes):
    """Two rows that do the same, one cheap and sometimes down for long, one dear and more often down; a way out."""
    return simple_environment(
        3, 1, latency=[0.5, 1.0, 0.25], failure_latency=[2.0, 1.0, 0.25], money=[0.25, 1.0, 3.0],
        failure=[0.125, 0.25, 0.0], after_failed=[0.25, 0.25, 0.0], shift=[[-1.0], [-1.0], [0.0]],
        ends=[False, False, True], resolves=[False, False, True], drift=0.125, tolerance=0.5, horizon=4,
        mean_uptime=[6.0, 3.0, np.inf], mean_downtime=[4.0, 1.0, 0.0], weights=[0.5, 1.0, 4.0, 0.5, 0.25], **changes,
    )  # fmt: skip


HARD = {"latency_growth": [0.25, 0.0, 0.0], "timeout": [1.75, 0.9, np.inf], "money_growth": 0.125}


@pytest.mark.parametrize("changes", [{}, HARD], ids=["outages", "growth and time-outs too"])
def test_where_outages_are_all_that_is_hidden_it_is_the_value_of_who_is_told_them(changes):
    """Equal to expectimax over states that are known, below that over beliefs, which costs more."""
    plain, z = hidden(**changes), single([[0.75, 1.5, 2.5]])
    params, plan = relaxed(plain)
    below = lower_bounds(KEY, params, z, plan)
    begun = [expectimax.begin(plain, z[:, b]) for b in range(3)]
    told = [
        sum(chance * expectimax.best(plain, [(1.0, state)], expectimax.told)[0] for chance, state in belief)
        for belief in begun
    ]
    np.testing.assert_allclose(below, told, rtol=1e-5)
    unknowing = [expectimax.best(plain, belief)[0] for belief in begun]
    assert (below <= np.array(unknowing) + 1e-5).all() and below.sum() < 0.99 * sum(unknowing)


def test_spread_seconds_move_outages_in_expectation():
    """Against the moves of many draws, of calls in time and of calls that fail; probabilities sum to 1."""
    plain = hidden(latency_spread=[0.75, 0.5, 0.0], timeout=[1.5, np.inf, 1.0])
    params, plan = relaxed(plain)
    table, n = plain["actions"], np.random.default_rng(0).normal(size=400_000)
    for row in range(2):
        found = outages.after_call(params, plan, row, jnp.int32(0))
        spread, timeout = table["latency_spread"][row], table["timeout"][row]
        for name, moves in zip(("latency", "failure_latency"), found[:2], strict=True):
            np.testing.assert_allclose(np.sum(moves, 1), 1.0, rtol=1e-5)
            seconds = table[name][row] * np.exp(spread * n - spread**2 / 2)
            seconds = seconds[seconds <= timeout] if name == "latency" else np.minimum(seconds, timeout)
            for place in range(2):
                a, b = 1 / table["mean_uptime"][place], 1 / table["mean_downtime"][place]
                stays = np.exp(-(a + b) * seconds).mean()
                down = (np.arange(4) >> place) & 1
                for before in (0, 3):  # neither, or both
                    expected = a / (a + b) + (before / 3 - a / (a + b)) * stays
                    assert np.sum(np.asarray(moves)[before] * down) == pytest.approx(expected, abs=2e-3)


def test_calls_that_run_out_and_requirements_that_follow_from_counts_are_not_relaxed():
    plain, z = with_fields(family("limited")[3], latency_limit=np.inf), starts(7, 10)
    params, plan = relaxed(plain)
    exact = [best(z[:, b], plain)[0] for b in range(10)]
    np.testing.assert_allclose(lower_bounds(KEY, params, z, plan), exact, rtol=1e-5)


@pytest.mark.parametrize("changes", [
    {"latency_limit": 2.0, "money_limit": 2.5},
    {"rate_limit": [0.25, np.inf, np.inf], "rate_burst": 1.0}, {"rate_limit": 0.5, "rate_burst": 2.0},
    {"requires": [[True], [False], [False]], "gain": [[1.0], [0.5], [1.0]], "tolerance_low": np.inf},
    {"latency_limit": 1.5, "auto_end": False, "latency_budget": 1.0},
], ids=["limits", "bucket", "buckets", "requirement", "on its own"])  # fmt: skip
def test_what_does_not_follow_from_counts_is_bounded_from_below(changes):
    """Limits, tokens and requirements are for whoever decides to say; never above the optimum, and not far below."""
    plain, z = hidden(**changes), single([[0.75, 1.5, 2.5]])
    plain = with_fields(plain, mean_uptime=np.full(3, np.inf))
    params, plan = relaxed(plain)
    below = lower_bounds(KEY, params, z, plan)
    exact = np.array([best(z[:, b], plain)[0] for b in range(3)])
    assert (below <= exact * (1 + 1e-6)).all()
    assert below.mean() > 0.6 * exact.mean()


def test_expected_divergence_is_the_mean_length_of_drifted_noise():
    plain = simple_environment(4, 3, noise=[0.0, 0.125, 1.0, 0.001], drift=[0.5, -0.25, 0.0])
    params, plan = relaxed(plain)
    draws = np.random.default_rng(0).normal(size=(3, 400_000))
    for found, noise in zip(bounds._expected_divergence(params, plan), plain["actions"]["noise"], strict=True):
        lengths = np.linalg.norm(noise * draws + plain["drift"][:, None], axis=0)
        assert found == pytest.approx(lengths.mean(), abs=5 * lengths.std() / 600 + 1e-4)


def test_the_same_key_gives_the_same_bounds_and_progress_is_told():
    params, plan = relaxed(multiplying(0.25))
    z = starts(5, 19)
    seen = []
    first = lower_bounds(KEY, params, z, plan, seen.append)
    assert seen == [8, 16, 19]
    np.testing.assert_array_equal(first, lower_bounds(KEY, params, z, plan))
    noisy = multiplying(0.25)
    noisy["actions"]["noise"][:] = 0.5
    params, plan = relaxed(noisy)
    drawn = lower_bounds(KEY, params, np.repeat(z[:, :1], 16, axis=1), plan)
    assert len(set(drawn)) == 16  # each start meets noise of its own
    assert (lower_bounds(jax.random.key(1), params, np.repeat(z[:, :1], 16, axis=1), plan) != drawn).all()


def test_in_double_precision_bounds_are_the_same_to_rounding():
    params, plan = relaxed(multiplying(0.25))
    single = lower_bounds(KEY, params, starts(5, 8), plan)
    with jax.enable_x64(True):
        double = lower_bounds(KEY, params, starts(5, 8), plan)
    np.testing.assert_allclose(double, single, rtol=1e-4)


def test_memory_is_predicted_and_too_much_is_refused():
    scenario = load_scenario("service_desk", ["horizon=6"])
    plan = make_plan(scenario.params, scenario=scenario, relaxed=True)
    z = jnp.zeros((4, plan.width))
    expected = jnp.asarray(bounds._expected_divergence(scenario.params, plan))
    lowered = bounds._bound.lower(KEY, scenario.params, plan, bounds._tables(plan), expected, z)
    memory = lowered.compile().memory_analysis()
    assert memory.temp_size_in_bytes < plan.predicted_bytes(plan.width) < 6 * memory.temp_size_in_bytes
    large = load_scenario("service_desk", ["horizon=60"])
    with pytest.raises(UserError, match=r"^service_desk: the bound would need \S+ states .* the limit is 1 GiB$"):
        make_plan(large.params, scenario=large, relaxed=True)
    with pytest.raises(ValueError, match="relaxed=True"):
        exact = env_params(simple_environment(4, 2))
        lower_bounds(KEY, exact, starts(1, 2), make_plan(exact))


def test_a_negative_gain_turns_the_box_around():
    """z → −z/2 from 3 and −3: both ends come back."""
    plain = simple_environment(1, D, gain=-0.5, horizon=2, tolerance=0.25)
    params, plan = relaxed(plain)
    z = np.array([[3.0, -3.0, 2.0], [0.0, 1.0, -4.0]])
    exact = [best(z[:, b], plain)[0] for b in range(3)]
    np.testing.assert_allclose(lower_bounds(KEY, params, z, plan), exact, rtol=1e-6)
