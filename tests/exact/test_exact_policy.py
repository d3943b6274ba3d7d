"""The optimum as a policy: played in the simulator, against rivals, and as a list of actions."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import env, load_scenario
from aljax.env import EnvParams
from aljax.exact.plan import Plan
from aljax.exact.policy import Optimal, optimal_path
from aljax.exact.recursion import solve
from aljax.exact.structure import make_plan
from aljax.networks.architecture import MLP
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import CostAware, Learned, Random
from aljax.rollout import outcome, rollout
from aljax.train import train

import expectimax
from enumeration import MEMBERS, A, H, best, blind_points, family, solved, starts, with_fields
from strategies import env_params, simple_environment


def test_where_a_failed_call_takes_thirty_seconds_the_optimum_falls_back():
    """Two rows do the same, one in a second and unreliably: it is tried once, and after a failure never again."""
    plain = simple_environment(
        2, 1, latency=[1.0, 4.0], failure_latency=[30.0, 4.0], money=[0.1, 0.3], failure=[0.125, 0.0],
        after_failed=[0.5, 0.0], shift=-1.0, start_low=2.0, start_high=2.0, tolerance=0.5, horizon=6,
        weights=[0.02, 1.0, 5.0, 0.0, 0.0],
    )  # fmt: skip
    params = env_params(plain)
    plan = make_plan(params)
    policy = Optimal(plan)
    state = env.reset(jax.random.key(0), params)[1]
    seen = env.observe(state, params)
    memory = policy.begin(params, seen)
    for failed, row in ((True, 0), (False, 1), (False, 1)):
        chosen = int(jnp.argmax(policy.logits(params, seen, env.legal(state, params), memory)))
        assert chosen == row
        memory = policy.remember(params, memory, jnp.int32(chosen), jnp.bool_(failed), seen)
    value, parts = best(np.array([2.0]), plain)
    np.testing.assert_allclose(solve(params, jnp.array([[2.0]]), plan).value[0], value, rtol=1e-5)
    # Were a failed call as short as a good one, it would be retried: that is what the price of falling back hides.
    quick = with_fields(plain, failure_latency=[1.0, 4.0])
    assert make_plan(env_params(quick)) == plan
    memory = policy.begin(env_params(quick), seen)
    memory = policy.remember(env_params(quick), memory, jnp.int32(0), jnp.bool_(True), seen)
    assert int(jnp.argmax(policy.logits(env_params(quick), seen, env.legal(state, params), memory))) == 0
    assert parts[0] > 2


@functools.partial(jax.jit, static_argnames=("episodes", "steps"))
def totals(key: jax.Array, policy: Any, params: EnvParams, episodes: int, steps: int = 10):
    """Each episode's costs and success under a policy, and where it started."""
    played = rollout(key, policy, params, episodes=episodes, steps=steps)
    ran = outcome(played, params)
    start = played.observation[0, : len(params.drift)] * params.z_scale[:, None]
    return ran.total, ran.costs, ran.success, start


def deviation(difference: np.ndarray) -> float:
    """The mean over its standard error, which counts as at least 1e-5 (rounding)."""
    return float(difference.mean() / max(difference.std(ddof=1) / math.sqrt(difference.size), 1e-5))


def test_paper_rollouts_cost_what_the_solver_says():
    """5,000 episodes; mean cost, components and success each within 4 standard errors of the exact ones."""
    scenario, episodes = load_scenario("paper"), 5_000
    plan = make_plan(scenario.params)
    total, costs, success, start = totals(jax.random.key(1), Optimal(plan), scenario.params, episodes)
    exact = solve(scenario.params, start, plan)
    assert abs(deviation(np.asarray(total - exact.value))) < 4
    assert abs(deviation(np.asarray(success - exact.success))) < 4
    for k in (0, 1, 3, 4):
        assert abs(deviation(np.asarray(costs[k] - exact.components[k]))) < 4, k
    np.testing.assert_allclose(
        scenario.params.weights @ exact.components, exact.value, rtol=1e-5
    )  # and the components are the value's


@functools.partial(jax.jit, static_argnames="episodes")
def totals_in_each(key: jax.Array, policies: Any, params: EnvParams, episodes: int):
    """Costs of one policy an environment, and where the episodes started."""
    ran = jax.vmap(lambda policy, params: totals(key, policy, params, episodes, H))(policies, params)
    return ran[0], ran[3]


def test_no_policy_beats_it_on_random_small_scenarios():
    """Heuristics, untrained networks and trained ones, in eight environments: never better beyond chance."""
    plains, params, plan, *_ = solved("statuses")
    episodes, tools = 2048, jnp.ones(A, bool)
    config = TrainConfig(episodes=6000, batch=60, hidden=(16,))
    network = MLP(A, (16,))
    untrained = network.init(jax.random.key(2), env.observation_size(env_params(plains[0])))
    learn = functools.partial(train, config=config, steps=H)
    trained, _ = jax.jit(jax.vmap(learn, (None, None, 0)))(jax.random.key(3), Hyperparameters(), params)

    key = jax.random.key(4)
    optimum, start = totals_in_each(key, Optimal(plan), params, episodes)
    value = np.asarray(jax.jit(jax.vmap(functools.partial(solve, plan=plan)))(params, start).value)
    for member in range(MEMBERS):
        difference = np.asarray(optimum[member], np.float64) - value[member]
        error = difference.std() / np.sqrt(episodes)
        unseen = 3 / episodes * np.ptp(value[member])  # of a failure so rare that none may have happened
        assert abs(difference.mean()) <= 4.5 * error + unseen

    def everywhere(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (MEMBERS, *jnp.shape(leaf))), tree)

    rivals = {
        "cost_aware": everywhere(CostAware(tools)),
        "random": Random(),
        "untrained": everywhere(Learned(untrained, network)),
        "trained": Learned(trained, network),
    }
    gaps = {}
    for name, policies in rivals.items():
        excess = np.asarray(totals_in_each(key, policies, params, episodes)[0]) - value
        gaps[name] = excess.mean()
        for member in range(MEMBERS):
            assert deviation(excess[member]) > -4.5, (name, member)
    assert gaps["trained"] < min(gaps["random"], gaps["untrained"]) / 3, gaps  # the rival is a serious one


@pytest.mark.parametrize("name", ["growing", "limited"])
def test_played_in_the_simulator_the_optimum_costs_what_the_solution_says(name):
    """Growth and limits; calls that run out and requirements: mean cost and success within 4.5 standard errors."""
    plain = with_fields(family(name)[3], allowed=np.ones(A, bool), auto_end=False)
    params, episodes = env_params(plain), 4096
    plan = make_plan(params)
    total, costs, success, start = totals(jax.random.key(6), Optimal(plan), params, episodes, H)
    found = jax.jit(functools.partial(solve, plan=plan))(params, start)
    assert abs(deviation(np.asarray(total - found.value))) < 4.5
    assert abs(deviation(np.asarray(success - found.success))) < 4.5
    for k in (0, 1, 3, 4):
        assert abs(deviation(np.asarray(costs[k] - found.components[k]))) < 4.5, k
    assert np.asarray(total).std() > 0


def test_played_blind_the_optimum_costs_what_the_solution_says():
    """Points of which three look alike; statuses, and a row that may be called twice."""
    params, episodes = env_params(blind_points()), 4096
    plan = make_plan(params)
    total, costs, success, start = totals(jax.random.key(6), Optimal(plan), params, episodes, 4)
    found = jax.jit(functools.partial(solve, plan=plan))(params, start)
    assert len(np.unique(np.asarray(found.value).round(4))) == 2
    assert abs(deviation(np.asarray(total - found.value))) < 4.5
    assert abs(deviation(np.asarray(success - found.success))) < 4.5
    assert abs(deviation(np.asarray(costs[2] - found.components[2]))) < 4.5


def test_path_lists_the_optimal_actions():
    """What `best` would do as long as all goes well, step by step."""
    plain = family("statuses")[3]
    plan: Plan = make_plan(env_params(plain))
    z = starts(11, 1)[:, 0]
    path = optimal_path(env_params(plain), z, plan)
    belief, expected, done = expectimax.begin(plain, z), [], False
    while not done:
        options = {
            action: float(
                plain["weights"] @ expectimax.played(plain, belief, action, lambda b: expectimax.best(plain, b)[1])[:5]
            )
            for action in expectimax.legal(plain, belief[0][1])
        }
        expected.append(min(options, key=options.__getitem__))
        lucky = [x for x in expectimax.outcomes(plain, belief[0][1], expected[-1]) if not x.failed]
        belief, done = [(1.0, lucky[0].state)], lucky[0].done
        np.testing.assert_allclose(path.z[len(expected)], belief[0][1].z, rtol=1e-5)
    assert path.actions == tuple(expected)
    np.testing.assert_allclose(path.solution.value[0], best(z, plain)[0], rtol=1e-5)
