"""The exact solver against enumeration in float64, against rollouts, and against every other policy."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aljax import env, load_scenario
from aljax.architecture import MLP
from aljax.env import EnvParams
from aljax.errors import UserError
from aljax.exact import lattice
from aljax.exact.fitting import fits
from aljax.exact.plan import Plan
from aljax.exact.policy import Optimal, optimal_path
from aljax.exact.recursion import solve
from aljax.exact.structure import make_plan
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import CostAware, Learned, Random
from aljax.rollout import outcome, rollout
from aljax.train import train

import expectimax
from enumeration import FAMILIES, MEMBERS, A, D, H, best, family, members, stacked, starts, with_fields
from strategies import env_params, simple_environment


def play_out(params: expectimax.Params, z: np.ndarray, choose: Callable[[tuple], int]) -> np.ndarray:
    """Expected costs and success ``[6]`` under `choose(history)`, by recursion over everything that can happen."""

    def value(belief: expectimax.Belief, history: tuple) -> np.ndarray:
        action = choose(history)

        def onward(later: expectimax.Belief) -> np.ndarray:
            return value(later, (*history, (action, later[0][1].status[action] == 2)))

        return expectimax.played(params, belief, action, onward)

    return value(expectimax.begin(params, z), ())


@functools.cache
def solved(name: str):
    """Family, plan, starts and vmapped solution; shared by tests, for each family compiles once."""
    plains, z = family(name), starts(7, 3)
    params = stacked(plains)
    plan = make_plan(params)
    solution = jax.jit(jax.vmap(functools.partial(solve, plan=plan), (0, None)))(params, jnp.asarray(z, jnp.float32))
    return plains, params, plan, z, solution


# Exactness


@pytest.mark.parametrize("name", FAMILIES)
def test_value_components_and_success_equal_enumeration(name):
    """To 1e-5 of the value (at least 1): every column that the solver reckons with, horizons 1 to 4."""
    plains, _, plan, z, solution = solved(name)
    assert plan.past.sizes == {
        "statuses": (2, 2, 2, 2, 1), "pooled": (2, 2, 2, 2, 1), "free": (1,), "growing": (2, 2, 2, 7, 7, 1),
        "limited": (2, 2, 2, 2, 1), "timed": (2, 2, 2, 2, 1),
    }[name]  # fmt: skip
    columns = FAMILIES[name]["columns"]
    assert plan.latency == bool({"latency_budget", "latency_limit"} & {*columns})
    assert plan.money == bool({"money_budget", "money_limit"} & {*columns})
    succeeded = []
    for member, plain in enumerate(plains):
        for b in range(z.shape[1]):
            value, parts = best(z[:, b], plain)
            np.testing.assert_allclose(solution.value[member, b], value, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(solution.components[member, :, b], parts[:5], rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(solution.success[member, b], parts[5], atol=1e-5)
            succeeded.append(parts[5])
    assert 0.02 < np.mean(succeeded) < 0.95  # neither always nor never: the states in between are visited


@functools.cache
def alone(name: str):
    """One program for environments of a family, alone."""
    plan = make_plan(stacked(family(name)))
    return plan, jax.jit(functools.partial(solve, plan=plan))


@pytest.mark.parametrize("name", ["statuses", "growing", "limited", "timed"])
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_value_equals_enumeration_where_bounds_are_exactly_met(name, data):
    """Numbers on a grid: budgets, limits, tolerances and time-outs are often met exactly, and choices equally good."""
    plain = data.draw(members(name))
    z = np.array(data.draw(st.lists(st.integers(-32, 32).map(lambda k: k / 8), min_size=D, max_size=D)))
    plan, program = alone(name)
    params = env_params(plain)
    try:
        make_plan(params)
    except UserError as refused:
        assert "timeout" in str(refused) or "latency_spread" in str(refused)
        assert not fits(params, plan)
        return
    assert fits(params, plan)
    value = program(params, jnp.asarray(z[:, None], jnp.float32)).value[0]
    np.testing.assert_allclose(value, best(z, plain)[0], rtol=1e-5, atol=1e-5)


def blind_points(**changes: Any) -> expectimax.Params:
    """Three of four points look alike: what is blind are the second coordinate and, in its middle, nothing else."""
    return simple_environment(
        A, D,
        latency=[0.5, 1.0, 0.25, 0.25], money=[0.25, 0.125, 0.5, 3.0], failure=[0.25, 0.5, 0.125, 0.25],
        after_failed=[0.5, 0.5, 0.75, 0.25], max_calls=[2.0, np.inf, np.inf, np.inf],
        shift=[[-1.0, 0.0], [0.0, -1.0], [0.0, -2.0], [0.0, 0.0]], ends=[False, False, False, True],
        resolves=[False, False, False, True], drift=[0.125, 0.25], start_low=0.5, start_high=0.5,
        start_points=[[1.0, 0.0], [1.0, 1.5], [1.0, 3.0], [2.0, 4.0]], start_weights=[1.0, 2.0, 1.0, 0.5],
        blind=[False, True], auto_end=False, tolerance=0.75, tolerance_low=[np.inf, 0.5], latency_limit=3.5,
        weights=[0.25, 0.5, 1.0, 0.5, 0.25], horizon=4, **changes,
    )  # fmt: skip


def belief_of(plain: expectimax.Params, z: np.ndarray) -> expectimax.Belief:
    """The points that look like a start, by their weights."""
    points, shares = plain["start_low"] + plain["start_points"], plain["start_weights"]
    mean = shares @ points / shares.sum()
    alike = [n for n, point in enumerate(points) if shares[n] > 0 and (point == z)[~plain["blind"]].all()]
    found: expectimax.Belief = []
    for n in alike:
        for chance, state in expectimax.begin(plain, points[n], np.where(plain["blind"], mean - points[n], 0.0)):
            found.append((chance * shares[n] / shares[alike].sum(), state))
    return found


def test_where_the_start_is_not_seen_costs_are_averaged_over_the_points_that_look_alike():
    """Against expectimax over beliefs; from what is seen of a start as from the start itself."""
    plain = blind_points()
    params = env_params(plain)
    plan = make_plan(params)
    points = plain["start_low"] + plain["start_points"]
    solution = jax.jit(functools.partial(solve, plan=plan))(params, jnp.asarray(points.T, jnp.float32))
    values = []
    for n, point in enumerate(points):
        value, parts = expectimax.best(plain, belief_of(plain, point))
        np.testing.assert_allclose(solution.value[n], value, rtol=1e-5)
        np.testing.assert_allclose(solution.components[:, n], parts[:5], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(solution.success[n], parts[5], atol=1e-5)
        values.append(value)
    assert values[0] == values[1] == values[2] != values[3]
    seen_all = [best(point, plain)[0] for point in points[:3]]
    assert np.dot([0.25, 0.5, 0.25], seen_all) < values[0] - 0.01  # not to know it costs something


def test_values_are_the_best_of_all_policies_listed_one_by_one():
    """Every deterministic policy that depends on the history, 3^7 of them, played out."""
    plain = with_fields(family("statuses")[2], horizon=3, allowed=[True, True, True, False])
    z = starts(3, 1)[:, 0]
    seen = [outcome for t in range(3) for outcome in itertools.product((False, True), repeat=t)]
    least = math.inf
    for rows in itertools.product(range(3), repeat=len(seen)):
        rule = dict(zip(seen, rows, strict=True))
        played = play_out(plain, z, lambda history, rule=rule: rule[tuple(failed for _, failed in history)])
        least = min(least, float(plain["weights"] @ played[:5]))
    assert least == pytest.approx(best(z, plain)[0], rel=1e-12)
    value = alone("statuses")[1](env_params(plain), jnp.asarray(z[:, None], jnp.float32)).value
    np.testing.assert_allclose(value[0], least, rtol=1e-5)


def test_no_policy_played_out_exactly_does_better():
    """Random rules of the history."""
    plains, _, _, z, solution = solved("statuses")
    rng = np.random.default_rng(5)
    for member, plain in enumerate(plains):
        allowed = np.flatnonzero(plain["actions"]["allowed"])
        for b, _ in itertools.product(range(z.shape[1]), range(5)):
            rule: dict = {}
            played = play_out(
                plain,
                z[:, b],
                lambda history, rule=rule, allowed=allowed: rule.setdefault(history, int(rng.choice(allowed))),
            )
            cost = float(plain["weights"] @ played[:5])
            assert cost >= float(solution.value[member, b]) - 1e-5 * max(1, cost), (member, b)


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


# Plans


def test_vmapped_over_environments_equals_alone():
    """Alone each environment has its own, mostly smaller, structure."""
    plains, _, together, z, solution = solved("statuses")
    start = jnp.asarray(z, jnp.float32)
    sizes = set()
    for member in (1, 3):
        params = env_params(plains[member])
        plan = make_plan(params)
        sizes.add(plan.states)
        alone = solve(params, start, plan)
        np.testing.assert_allclose(alone.value, solution.value[member], rtol=2e-6)
        np.testing.assert_allclose(alone.components, solution.components[member], rtol=1e-5, atol=1e-5)
    assert min(sizes) < max(sizes) <= together.states


def test_chunks_change_nothing_and_memory_is_predicted():
    """The compiler's own account stays under the prediction, which is not wildly above it."""
    scenario = load_scenario("paper", ["horizon=5"])
    d = len(scenario.coordinate_names)
    z = jnp.asarray(np.random.default_rng(0).uniform(2.2, 5.4, (d, 50)), jnp.float32)
    at_once = make_plan(scenario.params)
    limit = at_once.fixed_bytes + 7 * at_once.working_bytes + 64 * 50
    chunked = make_plan(scenario.params, memory_limit=limit)
    assert (at_once.width, chunked.width) == (64, 7)
    solutions, used = [], []
    for plan in (at_once, chunked):
        run = jax.jit(functools.partial(solve, plan=plan)).lower(scenario.params, z).compile()
        solutions.append(run(scenario.params, z))
        memory = run.memory_analysis()
        used.append(memory.temp_size_in_bytes + memory.output_size_in_bytes)
        assert used[-1] <= plan.predicted_bytes(50) <= 4 * used[-1]
        assert plan.predicted_bytes(50) <= plan.memory_limit
    assert used[1] < used[0] / 3
    jax.tree.map(np.testing.assert_array_equal, *solutions)


@pytest.mark.parametrize("counts, time", [(0, 5), (1, 6), (3, 5), (6, 4)])
def test_points_are_all_there_once_in_the_order_of_their_sums(counts, time):
    tails = lattice.points(counts, time)
    number = lattice.number(tails, time)
    assert tails.shape == (counts, math.comb(time + counts, counts))
    np.testing.assert_array_equal(number, np.arange(tails.shape[1]))
    often = np.asarray(lattice.happened(tails, time))
    assert (often >= 0).all() and (often.sum(0) == time).all()
    assert len({tuple(column) for column in often.T}) == often.shape[1]
    for t in range(time + 1):
        assert (often[-1, : lattice.size(counts, t)] >= time - t).all()
    for kind in range(counts + 1):
        after = lattice.happened(lattice.advance(tails, kind), time + 1)
        np.testing.assert_array_equal(
            after - often, np.broadcast_to(np.arange(counts + 1)[:, None] == kind, often.shape)
        )


# The policy


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
    plains, params, plan, _, _ = solved("statuses")
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
