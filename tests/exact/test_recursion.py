"""The exact solver against enumeration in float64, against rollouts, and against every other policy."""

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import env, load_scenario
from aljax.architecture import MLP
from aljax.env import EnvParams
from aljax.errors import UserError
from aljax.exact import lattice
from aljax.exact.policy import Optimal, optimal_path
from aljax.exact.recursion import choices, solve
from aljax.exact.structure import Plan, fits, make_plan
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import CostAware, Learned, Random
from aljax.rollout import outcome, rollout
from aljax.train import train

import oracle
from enumeration import FAMILIES, MEMBERS, A, D, H, best, ended, family, outcomes, stacked, starts
from strategies import env_params, simple_environment


def play_out(state: oracle.State, params: oracle.Params, choose: Any) -> np.ndarray:
    """Expected costs and success ``[6]`` under `choose(history)`, by recursion over everything that can happen."""

    def value(state: oracle.State, history: tuple) -> np.ndarray:
        action = choose(history)
        total = np.zeros(6)
        for chance, moved, costs in outcomes(state, action, params):
            onward = np.zeros(6)
            if moved["done"]:
                onward[5] = ended(moved, params)
            else:
                onward = value(moved, (*history, (action, moved["last_failed"] >= 0)))
            total += chance * (np.append(costs, 0.0) + onward)
        return total

    return value(state, ())


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
    """To 1e-5 of the value (at least 1): sticky failures, ends, resolves, masks, budgets, horizons 1 to 4."""
    plains, _, plan, z, solution = solved(name)
    assert bool(plan.sticky) == FAMILIES[name]["sticky"]
    assert plan.latency == plan.money == FAMILIES[name]["budgets"]
    assert len(plan.classes) == {"everything": 6, "pooled": 5, "free": 4}[name]
    succeeded = []
    for member, plain in enumerate(plains):
        for b in range(z.shape[1]):
            value, parts = best(oracle.start(z[:, b]), plain)
            np.testing.assert_allclose(solution.value[member, b], value, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(solution.components[member, :, b], parts[:5], rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(solution.success[member, b], parts[5], atol=1e-5)
            succeeded.append(parts[5])
    assert 0.1 < np.mean(succeeded) < 0.9  # neither always nor never: the states in between are visited


def test_value_equals_the_best_of_all_policies_listed_one_by_one():
    """Every deterministic policy that depends on the history, 3^7 of them, played out."""
    params = family("everything")[2] | {"horizon": 3}
    params["actions"] = params["actions"] | {"allowed": np.array([True, True, True, False])}
    z = starts(3, 1)[:, 0]
    seen = [outcome for t in range(3) for outcome in itertools.product((False, True), repeat=t)]
    least = math.inf
    for rows in itertools.product(range(3), repeat=len(seen)):
        rule = dict(zip(seen, rows, strict=True))
        played = play_out(oracle.start(z), params, lambda history, rule=rule: rule[tuple(f for _, f in history)])
        least = min(least, float(params["weights"] @ played[:5]))
    assert least == pytest.approx(best(oracle.start(z), params)[0], rel=1e-12)
    plan = solved("everything")[2]
    value = solve(env_params(params), jnp.asarray(z[:, None], jnp.float32), plan).value
    np.testing.assert_allclose(value[0], least, rtol=1e-5)


def test_no_policy_played_out_exactly_does_better():
    """Random rules of the history, and rules that follow the optimum most of the time."""
    plains, _, _, z, solution = solved("everything")
    rng = np.random.default_rng(5)
    for member, plain in enumerate(plains):
        allowed = np.flatnonzero(plain["actions"]["allowed"])
        for b, seed in itertools.product(range(z.shape[1]), range(5)):
            rule: dict = {}
            played = play_out(
                oracle.start(z[:, b]),
                plain,
                lambda history, rule=rule, allowed=allowed: rule.setdefault(history, int(rng.choice(allowed))),
            )
            cost = float(plain["weights"] @ played[:5])
            assert cost >= float(solution.value[member, b]) - 1e-5 * max(1, cost), (member, b, seed)


# Plans


def test_vmapped_over_environments_equals_alone():
    """Alone each environment has its own, mostly smaller, structure."""
    plains, _, together, z, solution = solved("everything")
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


def test_a_plan_for_something_else_is_noticed():
    """A structure that the plan has not foreseen gives NaN, also under vmap where nothing can be raised."""
    plain = family("free")[3]
    plain["actions"]["allowed"][:] = True
    plan = make_plan(env_params(plain))
    check = jax.jit(functools.partial(fits, plan=plan))
    assert check(env_params(plain))
    changed = {
        "retry_failure": plain["actions"]["failure"] + 0.25,
        "gain": np.full((A, D), 0.5),
        "noise": np.ones(A),
        "misread": np.ones(D),
        "ends": np.ones(A, bool),
        "resolves": np.ones(A, bool),
        "latency_budget": np.array(1.0),
        "money_budget": np.array(0.1),
        "horizon": 9,
    }
    for field, value in changed.items():
        other = plain | {"actions": dict(plain["actions"])}
        (other["actions"] if field in other["actions"] else other)[field] = value
        assert not check(env_params(other)), field
    same = {"failure": plain["actions"]["failure"] / 2, "retry_failure": plain["actions"]["failure"] / 2}
    harmless = plain | {"actions": plain["actions"] | same, "weights": np.ones(5), "drift": np.ones(D)}
    assert check(env_params(harmless))
    alike = family("pooled")[0]
    plan = make_plan(env_params(alike))
    assert fits(env_params(alike), plan)
    apart = alike["actions"] | {"shift": alike["actions"]["shift"] + np.eye(A, D)}
    assert not fits(env_params(alike | {"actions": apart}), plan)
    # The plan of all environments fits each of them.
    plains, params, together, z, _ = solved("everything")
    assert all(fits(env_params(plain), together) for plain in plains)
    wrong = params.__class__(**(vars(params) | {"misread": jnp.ones((MEMBERS, D))}))
    run = jax.jit(jax.vmap(functools.partial(solve, plan=together), (0, None)))
    assert np.isnan(run(wrong, jnp.asarray(z, jnp.float32)).value).all()


def test_structure_is_as_small_as_it_can_be():
    six = make_plan(
        env_params(simple_environment(6, 4, shift=np.eye(6, 4) + 1, failure=0.1, retry_failure=0.1, horizon=10))
    )
    assert (six.counts, six.last, six.states) == (5, 1, math.comb(15, 5))  # the last two are twins
    assert not (six.latency or six.money or six.sticky)
    # A row without effect, one not allowed and a twin add no count; one that never fails adds no failure.
    tools = simple_environment(5, 1, shift=[[-1.0], [0.0], [-3.0], [-1.0], [-2.0]], failure=[0.5, 0.5, 0.5, 0.5, 0.0])
    tools["actions"]["allowed"][2] = False
    plan = make_plan(env_params(tools))
    assert (plan.rows, plan.counts, plan.failure[-1]) == ((0, 1, 3, 4), 2, None)
    assert plan.success[0] == plan.success[2] != plan.success[1] == plan.failure[0]
    # A budget that cannot be exceeded is none; one that can tells failures apart by their price only.
    assert not make_plan(env_params(tools | {"money_budget": np.array(6.0)})).money
    tools["actions"]["money"] = np.array([1.0, 1.0, 1.0, 2.0, 1.0])
    priced = make_plan(env_params(tools | {"money_budget": np.array(4.0)}))
    assert priced.money and len(priced.classes) == 5  # −1 at 1, −1 at 2, −2 at 1, nothing at 1, nothing at 2


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


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"gain": 0.5}, "needs gain 1 everywhere; row {row} has gain 0.5 on {coordinate}"),
        ({"noise": 0.25}, "needs rows without noise; row {row} has noise 0.25"),
        ({"misread": 2.0}, "needs a task that is not misread; {coordinate} is, by 2"),
        ({"resolves": True}, "needs rows that resolve to end the episode too; row {row} does not"),
    ],
)
def test_refusals_of_structure(changes, reason):
    with pytest.raises(UserError) as refused:
        make_plan(env_params(simple_environment(3, 2, **changes)))
    assert str(refused.value) == "this environment: the exact solver " + reason.format(row="0", coordinate="0")


def test_refusals_name_scenario_row_and_size():
    scenario = load_scenario("paper")
    row, coordinate = scenario.action_names[-1], scenario.coordinate_names[0]
    with pytest.raises(UserError) as refused:
        bent = load_scenario("paper", [f"actions.gain.{row}=0.6"])
        make_plan(bent.params, scenario=bent)
    reason = f"the exact solver needs gain 1 everywhere; row {row} has gain 0.6 on {coordinate}"
    assert str(refused.value) == f"paper: {reason}"
    scenario = load_scenario("paper", ["horizon=5000"])
    sizes = r"would need \S+e\d+ states \(horizon 5000, \d counts, 1 kinds of last failure\), \S+ GiB a start"
    with pytest.raises(UserError, match=rf"^paper: the exact solver {sizes}; the limit is 1 GiB$"):
        make_plan(scenario.params, scenario=scenario)
    scenario = load_scenario("paper")
    with pytest.raises(UserError, match=r"^paper: .* states .*; the limit is 9.3e-07 GiB$"):
        make_plan(scenario.params, scenario=scenario, memory_limit=1000)
    with pytest.raises(UserError, match="asked for horizon 3, but an episode lasts up to 10 steps"):
        make_plan(scenario.params, horizon=3)
    differing = stacked([simple_environment(2, 1), simple_environment(2, 1, ends=True)])
    with pytest.raises(UserError, match="agree on which rows have ends; on 0 they differ"):
        make_plan(differing)
    with pytest.raises(UserError, match="there are 0"):
        make_plan(env_params(simple_environment(2, 1, allowed=False)))
    plan = make_plan(scenario.params, memory_limit=2**24)
    with pytest.raises(UserError, match=r"tables for 1,000,000 starts need \d+ GiB; the limit is 0.016 GiB$"):
        choices(scenario.params, jnp.zeros((len(scenario.coordinate_names), 1_000_000)), plan)


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
    plains, params, plan, _, _ = solved("everything")
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


def test_path_lists_the_optimal_actions():
    """What `best` would do as long as all goes well, step by step."""
    plain = family("everything")[3]
    plan: Plan = make_plan(env_params(plain))
    z = starts(11, 1)[:, 0]
    path = optimal_path(env_params(plain), z, plan)
    state, expected = oracle.start(z), []
    while not state["done"]:
        options = {}
        for action in np.flatnonzero(plain["actions"]["allowed"]):
            options[action] = 0.0
            for chance, moved, costs in outcomes(state, action, plain):
                onward = 0.0 if moved["done"] else best(moved, plain)[0]
                options[action] += chance * (float(plain["weights"] @ costs) + onward)
        expected.append(min(options, key=options.get))
        state = oracle.step(state, expected[-1], 2.0, np.zeros(D), plain)[0]
        np.testing.assert_allclose(path.z[len(expected)], state["z"], rtol=1e-5)
    assert path.actions == tuple(expected)
    np.testing.assert_allclose(path.solution.value[0], best(oracle.start(z), plain)[0], rtol=1e-5)
