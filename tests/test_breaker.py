"""The circuit breaker: against one written by hand, and the best of its grid."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aljax import env
from aljax.breaker import Breaker, best_breaker, breakers
from aljax.comparison import compare
from aljax.evaluate import evaluate
from aljax.options import Protocol
from aljax.policy import CostAware, expected_immediate_cost
from aljax.report import breaker_table, metric_tables
from aljax.rollout import rollout
from aljax.seeds import SELECTION, seed_keys

from outages import everything
from tiny import tiny_scenario

PROTOCOL = Protocol(seeds=2, evaluation_episodes=50)


class Circuit:
    """One tool's breaker, as textbooks draw it: closed, open, half open."""

    def __init__(self, failures, seconds):
        self.limit, self.seconds = failures, seconds
        self.state, self.count, self.opened = "closed", 0, 0.0

    def lets_through(self, now):
        if self.state == "open" and now >= self.opened + self.seconds:
            self.state = "half open"
        return self.state != "open"

    def saw(self, failed, now):
        if not failed:
            self.state, self.count = "closed", 0
            return
        self.count += 1
        if self.state == "half open" or self.count >= self.limit:
            self.state, self.opened = "open", now


@functools.cache
def world():
    """The scenario, whose every second is a multiple of 1/8, with its jitted functions."""
    scenario = everything()
    table = dataclasses.replace(scenario.params.actions, latency_spread=None)
    params = dataclasses.replace(scenario.params, actions=table, latency_scale=jnp.float32(8.0))
    tools = jnp.asarray(scenario.tools)

    def step(state, action, luck):
        moved, costs = env.transition(state, action, luck, params)
        return moved, costs[3] > 0, env.observe(moved, params), env.legal(moved, params)

    def chosen(breaker, observation, legal, memory):
        return jnp.argmax(breaker.logits(params, observation, legal, memory))

    def remembered(breaker, memory, action, failed, observation):
        return breaker.remember(params, memory, action, failed, observation)

    price = jax.jit(lambda observation: expected_immediate_cost(params, observation))
    return params, tools, jax.jit(step), jax.jit(chosen), jax.jit(remembered), price


def by_hand(circuits, price, tools, legal, now):
    """The cheapest legal tool that its breaker lets through; failing that, the cheapest of all other legal rows."""
    through = np.array([circuit.lets_through(now) for circuit in circuits])
    for rows in (legal & tools & through, legal & ~(tools & ~through), legal & tools, legal):
        if rows.any():
            return int(np.argmin(np.where(rows, price, np.inf)))
    raise AssertionError("no legal row")


@settings(max_examples=60, deadline=None)
@given(
    failures=st.integers(1, 4),
    seconds=st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5, 8.0, np.inf]),
    luck=st.lists(st.tuples(st.floats(0, 0.999), st.tuples(*[st.floats(0, 0.999)] * 4)), min_size=6, max_size=6),
    down=st.tuples(*[st.floats(0, 0.999)] * 4),
)
def test_it_is_the_breaker_that_one_writes_by_hand(failures, seconds, luck, down):
    params, tools, step, chosen, remembered, price = world()
    breaker = Breaker(tools, jnp.int32(failures), jnp.float32(seconds))
    start = env.Start(jnp.array([0.5, 0.5]), jnp.zeros(2), down=jnp.array(down, jnp.float32))
    state = env.begin(start, params)
    observation, legal = env.observe(state, params), env.legal(state, params)
    memory, circuits = breaker.begin(params, observation), [Circuit(failures, seconds) for _ in range(4)]
    for u, v in luck:
        action = chosen(breaker, observation, legal, memory)
        now = float(state.latency)
        assert int(action) == by_hand(circuits, price(observation), np.asarray(tools), np.asarray(legal), now)
        xi = env.Luck(jnp.float32(u), jnp.zeros(2), v=jnp.array(v, jnp.float32))
        state, failed, observation, legal = step(state, action, xi)
        circuits[int(action)].saw(bool(failed), float(state.latency))
        memory = remembered(breaker, memory, action, failed, observation)


@pytest.fixture(scope="module")
def tuned():
    return best_breaker(everything(), PROTOCOL)


def test_the_best_of_the_grid_is_that_of_least_cost_on_episodes_of_their_own(tuned):
    scenario = everything()
    assert (tuned.policy.failures, tuned.policy.seconds) == (tuned.failures[tuned.best], tuned.seconds[tuned.best])
    assert tuned.costs[tuned.best] == tuned.costs.min() < tuned.costs[0]
    keys = seed_keys(PROTOCOL, SELECTION)
    static = {"trained": frozenset(), "episodes": 50, "steps": 6}
    policies = {"best": tuned.policy, "none": CostAware(tuned.policy.tools)}
    found = jax.jit(functools.partial(evaluate, **static))(keys, policies, scenario.params)
    np.testing.assert_allclose(found["best"].outcome.total.mean(), tuned.costs[tuned.best], rtol=1e-5)
    np.testing.assert_allclose(found["none"].outcome.total.mean(), tuned.costs[0], rtol=1e-5)  # open for no time


def test_the_grid_reaches_from_the_quickest_call_to_the_slowest_episode():
    failures, seconds = breakers(everything())
    assert seconds[0] == 0 and set(failures) == {1, 2, 3, 5}
    some = seconds[(failures == 2) & np.isfinite(seconds)]
    np.testing.assert_allclose(some[[0, -1]], [0.5, 12.0], rtol=1e-6)
    np.testing.assert_allclose(np.diff(np.log(some)), np.diff(np.log(some))[0], rtol=1e-4)
    assert np.isinf(seconds[failures == 5][-1])


def test_many_breakers_side_by_side_are_each_alone(tuned):
    params, key = everything().params, jax.random.key(3)
    play = jax.jit(lambda breaker: rollout(key, breaker, params, episodes=20, steps=6).action)
    together = jax.jit(jax.vmap(lambda k, c: play(Breaker(tuned.policy.tools, k, c))))(tuned.failures, tuned.seconds)
    for number in (0, 3, 12):
        alone = play(Breaker(tuned.policy.tools, tuned.failures[number], tuned.seconds[number]))
        np.testing.assert_array_equal(together[number], alone)


def test_it_stands_in_tables_where_something_goes_down_and_nowhere_else(tuned):
    scenario = everything()
    compared = compare(scenario, PROTOCOL)
    assert list(compared.summaries) == ["latency", "cost_aware", "random", "breaker"]
    np.testing.assert_array_equal(compared.breaker.costs, tuned.costs)
    assert len(metric_tables(scenario, compared.summaries, breaker=compared.breaker)) == 3
    elsewhere = compare(tiny_scenario(), PROTOCOL)
    assert "breaker" not in elsewhere.summaries and elsewhere.breaker is None


def test_the_grid_is_shown_with_the_best_marked(tuned):
    table = breaker_table(tuned, plain=True)
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ["1", "2", "3", "5"] and len(cells) == 10
    assert [column.header for column in table.columns][1::8] == ["not at all", "for good"]
    marked = [cell for column in cells for cell in column if "best" in str(cell)]
    assert marked == [f"{tuned.costs.min():.4f} best"]
    said = tuned.to_json()
    assert said["best"] == said["grid"][tuned.best] and said["best"]["cost"] == tuned.costs.min()
