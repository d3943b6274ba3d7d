"""The exact solver against enumeration in float64, against rollouts, and against every other policy."""

import functools
import itertools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aljax import load_scenario
from aljax.exact.fitting import fits
from aljax.exact.recursion import solve
from aljax.exact.structure import make_plan

import expectimax
from enumeration import (
    FAMILIES,
    MEMBERS,
    D,
    belief_of,
    best,
    blind_points,
    family,
    members,
    solved,
    stacked,
    starts,
    with_fields,
)
from strategies import env_params


def play_out(params: expectimax.Params, z: np.ndarray, choose: Callable[[tuple], int]) -> np.ndarray:
    """Expected costs and success ``[6]`` under `choose(history)`, by recursion over everything that can happen."""

    def value(belief: expectimax.Belief, history: tuple) -> np.ndarray:
        action = choose(history)

        def onward(later: expectimax.Belief) -> np.ndarray:
            return value(later, (*history, (action, later[0][1].status[action] == 2)))

        return expectimax.played(params, belief, action, onward)

    return value(expectimax.begin(params, z), ())


# Exactness


@pytest.mark.parametrize("name", FAMILIES)
def test_value_components_and_success_equal_enumeration(name):
    """To 1e-5 of the value (at least 1): every column that the solver reckons with, horizons 1 to 4."""
    plains, _, plan, z, solution, _ = solved(name)
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


@pytest.mark.parametrize("name", ["statuses", "growing", "limited", "timed"])
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_value_equals_enumeration_where_bounds_are_exactly_met(name, data):
    """Numbers on a grid: budgets, limits, tolerances and time-outs are often met exactly, and choices equally good."""
    plain = data.draw(members(name))
    z = np.array(data.draw(st.lists(st.integers(-32, 32).map(lambda k: k / 8), min_size=D, max_size=D)))
    _, _, plan, _, _, program = solved(name)
    assert fits(env_params(plain), plan)
    value = program(stacked([plain] * MEMBERS), jnp.asarray(np.stack([z] * 3, axis=1), jnp.float32)).value
    np.testing.assert_allclose(value, np.full((MEMBERS, 3), best(z, plain)[0]), rtol=1e-5, atol=1e-5)


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
    program = solved("statuses")[-1]
    value = program(stacked([plain] * MEMBERS), jnp.asarray(np.stack([z] * 3, axis=1), jnp.float32)).value
    np.testing.assert_allclose(value, np.full((MEMBERS, 3), least), rtol=1e-5)


def test_no_policy_played_out_exactly_does_better():
    """Random rules of the history."""
    plains, _, _, z, solution, _ = solved("statuses")
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


# Plans


def test_vmapped_over_environments_equals_alone():
    """Alone each environment has its own, mostly smaller, structure."""
    plains, _, together, z, solution, _ = solved("statuses")
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
