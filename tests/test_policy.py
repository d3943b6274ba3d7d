"""Policies: what each chooses, and that a masked row is never chosen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import env
from aljax.episodes import sample
from aljax.networks.architecture import MLP
from aljax.policy import CostAware, Latency, Learned, Random, expected_immediate_cost, heuristics
from aljax.scenario import load_scenario

from tiny import tiny_scenario

ALL_ROWS = jnp.ones(3, bool)


def fresh(params, **changes):
    middle = jnp.full(env.num_coordinates(params), 0.5)
    return dataclasses.replace(env.begin(env.Start(middle, jnp.zeros_like(middle)), params), **changes)


def status_of(row, status=env.FAILED):
    """Statuses of the three rows where one alone was called."""
    return jnp.zeros(3, jnp.int32).at[row].set(status)


def choice(policy, params, **changes):
    return int(jnp.argmax(logits_in(policy, fresh(params, **changes), params)))


def logits_in(policy, state, params):
    """Of a policy that begins here."""
    observation = env.observe(state, params)
    return policy.logits(params, observation, env.legal(state, params), policy.begin(params, observation))


def test_latency_plays_the_quickest_allowed_tool_and_no_row_of_another_kind():
    policy = heuristics(tiny_scenario())["latency"]
    assert choice(policy, tiny_scenario().params) == 0  # stop is quicker, but no tool
    assert choice(policy, tiny_scenario("actions.allowed.weak=false").params) == 1
    assert choice(policy, tiny_scenario("actions.latency.strong=0.25").params) == 1
    assert choice(policy, tiny_scenario("actions.latency.strong=1.0").params) == 0  # equal: the first


def test_latency_stays_with_its_tool_after_a_failure():
    params = tiny_scenario().params
    assert choice(heuristics(tiny_scenario())["latency"], params, status=status_of(0)) == 0


def test_without_an_allowed_tool_heuristics_choose_among_all_allowed_rows():
    params = tiny_scenario("actions.allowed.weak=false", "actions.allowed.strong=false").params
    assert {name: choice(policy, params) for name, policy in heuristics(tiny_scenario()).items()} == {
        "latency": 2, "cost_aware": 2, "random": 2,
    }  # fmt: skip


def test_the_immediate_cost_is_the_mean_of_the_transition_over_failure():
    """Each row by hand from the transition itself: p C(failed) + (1 − p) C(worked), the violation left out."""
    params = tiny_scenario("actions.shift.weak.error=-0.5", "horizon=9").params
    for status in (env.NOT_CALLED, env.WORKED, env.FAILED):
        state = fresh(params, status=status_of(1, status))
        found = expected_immediate_cost(params, env.observe(state, params))
        weights = params.weights.at[2].set(0)
        for row in range(3):
            again = row == 1 and status == env.FAILED
            failure = float((params.actions.after_failed if again else params.actions.failure)[row])
            zero = jnp.zeros(1)
            costs = [env.transition(state, jnp.int32(row), (u, zero), params)[1] for u in (-1.0, 1.0)]
            np.testing.assert_allclose(
                found[row], failure * (weights @ costs[0]) + (1 - failure) * (weights @ costs[1]), rtol=1e-5
            )


def test_cost_aware_plays_the_row_of_least_immediate_cost_and_counts_stickiness():
    params = tiny_scenario(
        "actions.after_failed.weak=1.0", "actions.latency.strong=1.5", "actions.money.strong=0.25"
    ).params
    policy = heuristics(tiny_scenario())["cost_aware"]
    assert choice(policy, params) == 0
    assert choice(policy, params, status=status_of(0)) == 1
    assert choice(CostAware(ALL_ROWS), params) == 2  # stopping costs least of all rows


@pytest.mark.parametrize("name", ["latency", "cost_aware"])
def test_on_the_paper_scenario_each_heuristic_stays_with_one_cheap_tool(name):
    scenario = load_scenario("paper")
    row = choice(heuristics(scenario)[name], scenario.params)
    np.testing.assert_allclose(scenario.params.actions.latency[row], 0.5, rtol=1e-6)
    np.testing.assert_allclose(scenario.params.actions.money[row], 0.1, rtol=1e-6)
    assert row == {"latency": 0, "cost_aware": 1}[name]


def test_random_is_uniform_over_allowed_rows():
    params = tiny_scenario("actions.allowed.strong=false").params
    logits = logits_in(Random(), fresh(params), params)
    np.testing.assert_allclose(jax.nn.softmax(logits), [0.5, 0, 0.5])


def learned(params, greedy):
    architecture = MLP(env.num_actions(params), (8,))
    variables = architecture.init(jax.random.key(0), env.observation_size(params))
    return Learned(jax.tree.map(lambda leaf: leaf + 0.5, variables), architecture, greedy)


def test_a_learned_policy_samples_its_softmax_and_plays_its_mode_when_greedy():
    params = tiny_scenario("actions.allowed.strong=false").params
    soft = logits_in(learned(params, greedy=False), fresh(params), params)
    hard = logits_in(learned(params, greedy=True), fresh(params), params)
    assert np.isneginf(soft[1]) and np.isfinite(soft[jnp.array([0, 2])]).all()
    np.testing.assert_array_equal(jax.nn.softmax(hard), np.eye(3)[int(jnp.argmax(soft))])


def test_policies_take_trailing_batches():
    params = tiny_scenario().params
    _, batch = env.reset(jax.random.key(0), params, (5,))
    for policy in (Latency(ALL_ROWS), CostAware(ALL_ROWS), Random(), learned(params, True), learned(params, False)):
        together = logits_in(policy, batch, params)
        assert together.shape == (3, 5)
        for i in range(5):
            alone = jax.tree.map(lambda leaf, i=i: leaf[..., i], batch)
            np.testing.assert_allclose(together[:, i], logits_in(policy, alone, params), rtol=1e-5)


def test_equal_networks_share_one_compilation():
    params = tiny_scenario().params
    traces = []

    @jax.jit
    def run(policy):
        traces.append(policy.name)
        return logits_in(policy, fresh(params), params)

    for _ in range(2):
        run(learned(params, True))
    assert MLP(3, (8,)) == MLP(3, (8,))
    assert len(traces) == 1


def test_sampling_follows_the_probabilities_and_never_plays_a_masked_row():
    probabilities = jnp.array([0.0, 0.5, 0.0, 0.125, 0.375, 0.0])
    grid = (jnp.arange(4096) / 4096)[None]
    rows = sample(jnp.broadcast_to(jnp.log(probabilities)[:, None], (6, 4096)), grid[0])
    np.testing.assert_allclose(np.bincount(rows, minlength=6) / 4096, probabilities, atol=1 / 2048)


@pytest.mark.parametrize("u", [0.0, 1 - 2**-23, 1 - 2**-24])
def test_sampling_at_the_ends_of_the_unit_interval_stays_inside_the_mask(u):
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(9, 2000)), jnp.float32).at[jnp.array([0, 8])].set(-jnp.inf)
    rows = sample(logits, jnp.full(2000, u, jnp.float32))
    assert rows.min() >= 1 and rows.max() <= 7
