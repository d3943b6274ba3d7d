"""Evaluation: paired, and summed up as the tables say."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from aljax import UserError
from aljax.comparison import compare
from aljax.env import COMPONENTS
from aljax.evaluate import Spread, check_finite, summarise
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.seeds import seed_keys
from aljax.training import train_seeds

from tiny import tiny_scenario

PROTOCOL = Protocol(seeds=3, evaluation_episodes=200)
CONFIG = TrainConfig(episodes=400, batch=20, hidden=(8,))


@pytest.fixture(scope="module")
def trained():
    return train_seeds(tiny_scenario(), CONFIG, Hyperparameters(), PROTOCOL)


@pytest.fixture(scope="module")
def compared(trained):
    return compare(tiny_scenario(), PROTOCOL, trained.policy)


def test_every_policy_is_evaluated_learned_first(compared):
    assert list(compared.summaries) == ["learned", "latency", "cost_aware", "random"]
    for evaluation in compared.evaluations.values():
        assert evaluation.outcome.costs.shape == (3, 5, 200)
        assert evaluation.plays.shape == (3, 3, 3)


def test_a_summary_is_the_mean_and_population_deviation_over_seeds(compared):
    outcome = compared.evaluations["random"].outcome
    summary = summarise(compared.evaluations["random"])
    totals = [np.mean(outcome.total[seed], dtype=np.float64) for seed in range(3)]
    assert summary.cost == Spread(pytest.approx(np.mean(totals)), pytest.approx(np.std(totals)))
    for k, name in enumerate(COMPONENTS):
        assert summary.components[name].mean == pytest.approx(outcome.costs[:, k].mean(), rel=1e-5)
    assert json.loads(json.dumps(summary.to_json()))["cost"]["mean"] == summary.cost.mean


def test_the_total_is_the_weighted_sum_of_the_components(compared):
    weights = np.asarray(tiny_scenario().params.weights)
    for summary in compared.summaries.values():
        total = sum(weight * summary.components[name].mean for weight, name in zip(weights, COMPONENTS, strict=True))
        assert summary.cost.mean == pytest.approx(total, rel=1e-5)


def test_the_learned_policy_beats_both_heuristics_on_the_same_luck(compared):
    cost = {name: np.asarray(evaluation.outcome.total) for name, evaluation in compared.evaluations.items()}
    assert (cost["learned"].mean(1) <= cost["latency"].mean(1)).all()
    assert (cost["learned"].mean(1) < cost["random"].mean(1)).all()


def test_the_same_options_give_the_same_figures_and_another_seed_others(compared, trained):
    again = compare(tiny_scenario(), PROTOCOL, trained.policy)
    assert again.summaries == compared.summaries
    other = compare(tiny_scenario(), dataclasses.replace(PROTOCOL, seed=1), trained.policy)
    assert other.summaries["random"] != compared.summaries["random"]


def test_a_seed_is_the_same_however_many_there_are():
    few, many = (jax.random.key_data(seed_keys(Protocol(seeds=n), 0)) for n in (2, 5))
    np.testing.assert_array_equal(few, many[:2])
    assert not np.array_equal(many, jax.random.key_data(seed_keys(Protocol(seeds=5), 1)))


def test_costs_that_are_not_finite_are_refused_by_name(compared):
    scenario = tiny_scenario()
    money = scenario.params.actions.money.at[:].set(3e38)
    params = dataclasses.replace(scenario.params, actions=dataclasses.replace(scenario.params.actions, money=money))
    with pytest.raises(UserError, match=r"^costs of policy latency: money not finite in 600 of 600 "):
        compare(dataclasses.replace(scenario, params=params), PROTOCOL)
    found = compared.evaluations["random"]
    outcome = dataclasses.replace(found.outcome, total=np.where(np.arange(200) < 5, np.inf, found.outcome.total))
    with pytest.raises(UserError, match=r"^costs: their weighted sum not finite in 15 of 600 episodes: "):
        check_finite(dataclasses.replace(found, outcome=outcome), "costs")
