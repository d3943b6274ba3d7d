"""The optimum of a scenario under a protocol: exact, or bracketed."""

import functools

import jax
import numpy as np
import pytest

from aljax.comparison import compare
from aljax.evaluate import evaluate
from aljax.exact.bracket import bracket, exact, find_optimal, starts
from aljax.exact.structure import make_plan
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import heuristics
from aljax.rollout import rollout
from aljax.seeds import EVALUATION, SELECTION, seed_keys
from aljax.training import train_seeds

from tiny import tiny_scenario

PROTOCOL = Protocol(seeds=3, evaluation_episodes=400)
CONFIG = TrainConfig(episodes=12_000, batch=20, hidden=(8,))
WIDE = ("start_low=0.5", "start_high=4.0", "weights.violation=8", "tolerance=0.75")
NOISY = (*WIDE, "actions.noise.weak=0.5", "actions.gain.strong=0.5", "misread=1.0")


@pytest.fixture(scope="module")
def compared():
    scenario = tiny_scenario(*WIDE)
    trained = train_seeds(scenario, CONFIG, Hyperparameters(), PROTOCOL)
    return compare(scenario, PROTOCOL, trained.policy, find_optimal(scenario, PROTOCOL)[0])


def test_starts_are_those_of_the_evaluations_episodes():
    scenario = tiny_scenario(*WIDE)
    found = starts(scenario, PROTOCOL)
    key = seed_keys(PROTOCOL, EVALUATION)[1]
    played = rollout(key, heuristics(scenario)["random"], scenario.params, episodes=400, steps=3)
    np.testing.assert_allclose(found[1], played.observation[0, :1] * scenario.params.z_scale, rtol=1e-6)


def test_the_optimums_rollouts_come_to_its_exact_expectations(compared):
    scenario = tiny_scenario(*WIDE)
    seen = []
    expected = exact(scenario, PROTOCOL, make_plan(scenario.params), lambda: seen.append(None)).outcome
    assert len(seen) == PROTOCOL.seeds
    rolled = compared.evaluations["optimal"].outcome
    assert expected.costs.shape == rolled.costs.shape == (3, 5, 400)
    difference = np.asarray(rolled.total, np.float64) - np.asarray(expected.total)
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(difference.size)
    assert np.asarray(expected.success).mean() == pytest.approx(rolled.success.mean(), abs=0.06)
    total = np.einsum("k,skb->sb", np.asarray(scenario.params.weights), np.asarray(expected.costs))
    np.testing.assert_allclose(expected.total, total, rtol=1e-5)


def test_every_other_policy_has_a_gap_and_none_is_below_by_more_than_chance(compared):
    assert list(compared.summaries) == ["learned", "optimal", "latency", "cost_aware", "random"]
    assert compared.summaries["optimal"].gap is None
    for name in ("learned", "latency", "cost_aware", "random"):
        gap = compared.summaries[name].gap
        direct = compared.summaries[name].cost.mean / compared.summaries["optimal"].cost.mean - 1
        assert gap.estimate == pytest.approx(100 * direct, rel=1e-6)
        assert gap.low <= gap.estimate <= gap.high and gap.high > 0
    assert compared.summaries["learned"].gap.estimate < compared.summaries["random"].gap.estimate / 2
    assert compared.summaries["random"].to_json()["gap_percent"]["estimate"] > 5


def test_without_an_optimum_the_reason_is_told():
    scenario = tiny_scenario(*NOISY)
    optimal, reason = find_optimal(scenario, PROTOCOL)
    assert optimal is None and reason == "tiny: the exact solver needs a task that is not misread; error is, by 1"
    many = Protocol(evaluation_episodes=10**7)
    assert find_optimal(tiny_scenario(), many)[1].startswith("tiny: the exact policy's tables for 50,000,000 episodes")
    summary = compare(scenario, Protocol(seeds=2, evaluation_episodes=20)).summaries["random"]
    assert summary.gap is None and "gap_percent" not in summary.to_json()


def test_a_bracket_holds_the_exact_value_where_both_exist():
    scenario = tiny_scenario(*WIDE)
    seen = []
    found = bracket(scenario, PROTOCOL, make_plan(scenario.params, relaxed=True), on_progress=seen.append)
    value = np.asarray(exact(scenario, PROTOCOL, make_plan(scenario.params)).outcome.total, np.float64).mean()
    assert found.lower.estimate == pytest.approx(value, rel=1e-5)  # nothing is relaxed here
    assert found.upper.estimate > value and found.gap.estimate > 0
    assert found.policy in heuristics(scenario)
    assert seen[-1] == 1200


def test_a_bracket_takes_the_best_policy_chosen_on_episodes_of_their_own():
    scenario = tiny_scenario(*NOISY)
    plan = make_plan(scenario.params, relaxed=True)
    trained = train_seeds(scenario, CONFIG, Hyperparameters(), PROTOCOL)
    with_learned = bracket(scenario, PROTOCOL, plan, trained.policy)
    without = bracket(scenario, PROTOCOL, plan)
    assert with_learned.policy.startswith("learned, seed ") and without.policy in heuristics(scenario)
    assert with_learned.upper.estimate < without.upper.estimate
    assert with_learned.lower == without.lower
    assert with_learned.lower.estimate < with_learned.upper.estimate
    assert set(with_learned.to_json()) == {"lower", "upper", "gap_percent", "upper_policy"}


def test_having_chosen_the_upper_bounds_policy_does_not_flatter_it():
    """Where the episodes of the evaluation would choose another policy, they are not asked."""
    scenario = tiny_scenario(*NOISY)
    policies = heuristics(scenario)
    play = jax.jit(functools.partial(evaluate, trained=frozenset(), episodes=5, steps=scenario.horizon))

    def best(protocol, stream):
        found = play(seed_keys(protocol, stream), policies, scenario.params)
        return min(found, key=lambda name: float(found[name].outcome.total.mean()))

    protocols = (Protocol(seeds=1, evaluation_episodes=5, seed=seed) for seed in range(50))
    protocol = next(each for each in protocols if best(each, SELECTION) != best(each, EVALUATION))
    found = bracket(scenario, protocol, make_plan(scenario.params, relaxed=True))
    assert found.policy == best(protocol, SELECTION)
