"""Anybody's agent meets the starts and the luck of the table: the same figures as the same policy in JAX."""

import jax
import numpy as np
import pytest

import aljax
from aljax.adapters import evaluate
from aljax.comparison import compare
from aljax.errors import UserError
from aljax.options import Protocol

from counting import compilations
from tiny import tiny_scenario

PROTOCOL = Protocol(seeds=2, evaluation_episodes=50)


@pytest.fixture(scope="module")
def scenario():
    return aljax.load_scenario("escalation")


@pytest.fixture(scope="module")
def best(scenario):
    return aljax.find_optimal(scenario, PROTOCOL)[0]


@pytest.fixture(scope="module")
def table(scenario, best):
    return compare(scenario, PROTOCOL, optimal=best).evaluations


def of(policy, scenario):
    """The same policy as a function on the host."""
    choose = jax.jit(jax.vmap(lambda seen, legal: policy.logits(scenario.params, seen, legal, ()).argmax(0)))
    return lambda observations, action_masks: choose(observations, action_masks.astype(bool))


def test_an_agent_on_the_host_gets_the_row_of_the_table_that_the_same_policy_gets(scenario, table):
    policy = aljax.heuristics(scenario)["cost_aware"]
    found, row = evaluate(of(policy, scenario), "escalation", protocol=PROTOCOL), table["cost_aware"]
    np.testing.assert_array_equal(found.outcome.steps, row.outcome.steps)
    np.testing.assert_array_equal(found.outcome.success, row.outcome.success)
    np.testing.assert_allclose(found.outcome.costs, row.outcome.costs, rtol=1e-5)
    np.testing.assert_allclose(found.outcome.total, row.outcome.total, rtol=1e-5)
    np.testing.assert_allclose(found.plays, row.plays, atol=1e-6)
    assert aljax.summarise(found).cost.mean == pytest.approx(aljax.summarise(row).cost.mean, rel=1e-5)


def test_a_policy_in_jax_gets_its_row_too_and_a_gap(scenario, table, best):
    reference = evaluate(best, scenario, protocol=PROTOCOL)
    again = np.isclose(reference.outcome.total, table["optimal"].outcome.total, rtol=1e-5)
    assert again.mean() > 0.95  # what is equally good to the last bit is decided by the program
    found = evaluate(aljax.heuristics(scenario)["latency"], scenario, protocol=PROTOCOL)
    gap = aljax.summarise(found, reference).gap
    assert gap is not None and gap.low > 0


def test_environments_that_differ_in_numbers_alone_are_compiled_once(scenario):
    policy = aljax.heuristics(scenario)["cost_aware"]

    def cost(money):
        found = evaluate(policy, "escalation", {"weights.money": money}, protocol=PROTOCOL)
        return float(np.sum(found.outcome.total))

    first = cost(1.0)
    with compilations() as compiled:
        assert cost(2.0) > first
    assert compiled == []


def test_overrides_change_the_environment():
    def stop(observations):
        return np.zeros(len(observations), int)

    few = Protocol(seeds=1, evaluation_episodes=3)
    assert (evaluate(stop, "paper", {"horizon": 4}, protocol=few).outcome.steps <= 4).all()


def test_an_agent_with_memory_is_told_where_episodes_begin():
    told = []

    def predict(observations, episode_start):
        told.append(episode_start)
        return np.zeros(len(observations), int)

    scenario = tiny_scenario()
    evaluate(predict, scenario, protocol=Protocol(seeds=2, evaluation_episodes=3))
    assert len(told) == scenario.horizon and told[0].shape == (6,)
    assert told[0].all() and not np.any(told[1:])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda seen: np.full(len(seen), 3), "action 3: expected a row of the action table, 0 to 2"),
        (lambda seen: np.full(len(seen), -1), "action -1: expected a row"),
        (lambda seen: np.zeros(len(seen)), r"actions: expected integers of shape \(6,\), got float64"),
        (
            lambda seen: np.zeros((len(seen), 1), int),
            r"actions: expected integers of shape \(6,\), got int64 of shape \(6, 1\)",
        ),
    ],
)
def test_what_is_no_action_is_refused_in_a_line(answer, said):
    with pytest.raises(UserError, match=said):
        evaluate(answer, tiny_scenario(), protocol=Protocol(seeds=2, evaluation_episodes=3))


def test_changes_to_a_scenario_that_is_loaded_are_refused():
    with pytest.raises(UserError, match="overrides change a scenario that is loaded"):
        evaluate(len, tiny_scenario(), {"horizon": 3})
