"""What a policy would have cost, on logs of a process whose truth is known exactly."""

import dataclasses

import numpy as np
import pytest

from aljax.errors import UserError
from aljax.offline import model
from aljax.offline.behaviour import cross_fitted, fit_behaviour, folds_of, probabilities
from aljax.offline.estimate import EstimateSettings, Question, estimate

STEPS, STATES, ACTIONS = 3, 3, 2
RNG = np.random.default_rng(7)
MOVES = RNG.dirichlet(np.ones(STATES), (STATES, ACTIONS))
COST = RNG.uniform(0, 2, (STATES, ACTIONS))
ENDS = 0.2
LOGGERS = np.array([[[0.7, 0.3], [0.4, 0.6], [0.5, 0.5]], [[0.3, 0.7], [0.6, 0.4], [0.8, 0.2]]])
TARGET = np.array([[0.8, 0.2], [0.75, 0.25], [0.3, 0.7]])


def truth(policy, left=STEPS):
    """The exact cost from each state."""
    if left == 0:
        return np.zeros(STATES)
    ahead = (1 - ENDS) * MOVES @ truth(policy, left - 1)
    return (policy * (COST + ahead)).sum(1)


def question(seed=0, episodes=2_000, known=True, loggers=(0, 1), ways=LOGGERS):
    """Logs of that process, and what is asked of them."""
    rng = np.random.default_rng(seed)
    logger = np.array(loggers)[rng.integers(0, len(loggers), episodes)]
    state = np.arange(episodes) % STATES
    seen, action = np.zeros((episodes, STEPS), int), np.zeros((episodes, STEPS), int)
    alive, cost = np.zeros((episodes, STEPS), bool), np.zeros((episodes, STEPS))
    going = np.ones(episodes, bool)
    for t in range(STEPS):
        seen[:, t], alive[:, t] = state, going
        action[:, t] = rng.random(episodes) > ways[logger, state, 0]
        cost[:, t] = np.where(going, COST[state, action[:, t]] + rng.normal(0, 0.1, episodes), 0.0)
        state = (rng.random(episodes)[:, None] > MOVES[state, action[:, t]].cumsum(1)).sum(1).clip(max=STATES - 1)
        going = going & (rng.random(episodes) > ENDS)
    left = np.arange(STEPS)
    phi = np.concatenate([np.ones((episodes, STEPS, 1)), np.eye(STATES)[seen][..., 1:]], -1)
    states_in_time = np.eye(STATES * STEPS)[seen * STEPS + left]
    each = np.take_along_axis(ways[:, seen], action[None, ..., None], 3)[..., 0]
    probability = np.moveaxis(each, 0, 2) if known else np.full((episodes, STEPS, 2), np.nan)
    return Question({"cost": cost}, action, alive, TARGET[seen], phi, probability, logger, np.arange(episodes),
                    np.concatenate([np.ones((episodes, STEPS, 1)), states_in_time], -1))  # fmt: skip


EXACT = truth(TARGET).mean()
EXPERIMENTAL = EstimateSettings(experimental=True)
BALANCED = {"balanced_per_decision", "balanced_self_normalised", "balanced_weighted_doubly_robust"}


@pytest.mark.parametrize("known", [True, False])
def test_every_estimator_finds_the_truth_that_is_not_what_was_logged(known):
    answer = estimate(question(known=known), EXPERIMENTAL)
    assert abs(answer.logged["cost"].estimate - EXACT) > 0.05
    assert set(answer.estimates["cost"]) == {"direct", *BALANCED}
    for name, found in answer.estimates["cost"].items():
        assert found.interval.low - 0.03 < EXACT < found.interval.high + 0.03, name
        assert found.interval.high - found.interval.low < 0.3, name
    assert answer.fitted == (() if known else (0, 1))
    assert any("fitted" in warning for warning in answer.warnings) is not known


def test_intervals_contain_the_truth_about_as_often_as_they_say():
    sets = 60
    asked = EstimateSettings(resamples=200, experimental=True)
    inside = {name: [] for name in ("direct", *BALANCED)}
    for seed in range(sets):
        contained(inside, estimate(question(seed=seed, episodes=300), asked))
    # Of 60 at 95 %, fewer than 50 happen once in two thousand times.
    for name, found in inside.items():
        assert len(found) >= 55 and sum(found) >= 50, name


def contained(inside, answer):
    """Adds whether the truth is within the interval, where one was given."""
    for name, found in answer.estimates["cost"].items():
        if found.interval is not None:
            inside[name].append(found.interval.low <= EXACT <= found.interval.high)


def test_of_two_loggers_one_of_which_hardly_tries_no_interval_is_confident_and_wrong():
    ways = np.array([[[0.99, 0.01]] * STATES, [[0.5, 0.5]] * STATES])
    inside = {}
    for seed in range(40):
        answer = estimate(question(seed=seed, episodes=300, ways=ways), EstimateSettings(resamples=200))
        for name in answer.estimates["cost"]:
            inside.setdefault(name, [])
        contained(inside, answer)
    assert set(inside) == BALANCED
    for name, found in inside.items():
        assert len(found) >= 30 and np.mean(found) > 0.88, name
    assert set(answer.effective_tasks) == set(answer.mean_weight) == {"balanced"}


def test_the_direct_method_is_experimental_and_left_out_unless_asked_for():
    asked = question(episodes=300, loggers=(0,))
    weighted = {"per_decision", "self_normalised", "weighted_doubly_robust"}
    assert set(estimate(asked).estimates["cost"]) == weighted
    assert set(estimate(asked, EXPERIMENTAL).estimates["cost"]) == {"direct", *weighted}


def test_a_policy_that_was_hardly_logged_is_refused_in_words():
    asked = question()
    certain = np.zeros_like(asked.target)
    certain[..., 1] = 1.0
    second = (np.arange(2_000) < 8)[:, None] & asked.alive  # hardly ever played, and noted so
    chance = np.repeat(np.where(second, 4e-3, 0.996)[..., None], 2, axis=2)
    rare = dataclasses.replace(asked, target=certain, action=second.astype(int), probability=chance)
    answer = estimate(rare, EXPERIMENTAL)
    for name, found in answer.estimates["cost"].items():
        assert found.interval is None, name
    assert "worth" in answer.estimates["cost"]["balanced_per_decision"].refused
    assert "hardly ever logged" in answer.estimates["cost"]["direct"].refused
    never = estimate(dataclasses.replace(rare, action=np.zeros_like(rare.action)))
    assert "no logged episode" in never.estimates["cost"]["balanced_self_normalised"].refused
    assert estimate(asked, EstimateSettings(floor=1e6)).estimates["cost"]["balanced_per_decision"].interval is None


def test_a_log_of_one_thing_only_covers_little_however_even_its_weights():
    asked = question(loggers=(0,))
    sure = dataclasses.replace(asked, probability=np.ones_like(asked.probability), action=np.zeros_like(asked.action))
    half = dataclasses.replace(sure, target=np.full_like(asked.target, 0.5))
    answer = estimate(half)
    assert answer.effective_tasks["own"] > 1_000
    assert "the logs cover" in answer.estimates["cost"]["per_decision"].refused


def test_wrong_probabilities_are_noticed():
    asked = question(loggers=(0,))
    answer = estimate(dataclasses.replace(asked, probability=np.full_like(asked.probability, 0.9)))
    assert "probabilities are wrong" in answer.estimates["cost"]["per_decision"].refused
    assert "probabilities are wrong" in answer.estimates["cost"]["weighted_doubly_robust"].refused
    answer = estimate(dataclasses.replace(asked, probability=1.02 * asked.probability))
    assert all(found.interval is not None for found in answer.estimates["cost"].values())
    assert any("expected 1" in warning for warning in answer.warnings)
    assert not any("expected 1" in warning for warning in estimate(asked).warnings)


def test_a_model_that_cannot_be_right_is_noticed():
    asked = question(episodes=6_000)
    blind = dataclasses.replace(asked, model_phi=np.ones((*asked.action.shape, 1)))
    assert any("the model is wrong" in warning for warning in estimate(blind, EXPERIMENTAL).warnings)
    assert not any("the model is wrong" in warning for warning in estimate(asked, EXPERIMENTAL).warnings)


@pytest.mark.parametrize("wrong", [0.0, 1.5, -0.1])
def test_a_probability_that_cannot_be_is_refused(wrong):
    asked = question(episodes=50)
    asked.probability[7, 0] = wrong
    with pytest.raises(UserError, match="episode 7, step 0"):
        estimate(asked)
    with pytest.raises(UserError, match="1 tasks: too few"):
        estimate(dataclasses.replace(question(episodes=50), task=np.zeros(50)))


def test_fitted_q_evaluation_is_exact_where_features_tell_all():
    asked = question(episodes=40_000)
    fitted = model.fit(asked.model_phi, asked.action, asked.target, asked.outcomes["cost"], asked.alive)
    assert fitted.influence.mean() == pytest.approx(EXACT, abs=0.02)


def test_an_episodes_say_is_what_the_value_changes_by_when_it_counts_more():
    asked = question(episodes=300)
    given = [asked.model_phi, asked.action, asked.target, asked.outcomes["cost"], asked.alive]
    fitted = model.fit(*given)
    value = fitted.influence.mean()
    for n in (0, 5, 77):
        more = model.fit(*(np.concatenate([x, np.repeat(x[n : n + 1], 2, 0)]) for x in given)).influence.mean()
        expected = (fitted.influence[n] - value) * 2 / 302
        assert more - value == pytest.approx(expected, rel=0.1, abs=2e-5)


def test_values_stay_within_what_was_logged_where_regressions_extrapolate():
    rng = np.random.default_rng(0)
    episodes, steps = 40, 12
    phi = np.concatenate(
        [np.ones((episodes, steps, 1)), rng.normal(size=(episodes, steps, 30)) * 1.3 ** np.arange(steps)[:, None]], -1
    )
    action, alive = rng.integers(0, 2, (episodes, steps)), np.ones((episodes, steps), bool)
    success = np.zeros((episodes, steps))
    success[:, -1] = rng.random(episodes) < 0.5
    target = np.broadcast_to([0.95, 0.05], (episodes, steps, 2))
    q, v = model.fit(phi, action, target, success, alive).values(phi, target)
    assert q.min() >= 0 and q.max() <= 1 and v.min() >= 0 and v.max() <= 1


def test_behaviour_is_fitted_and_never_from_the_own_task():
    asked = question(episodes=20_000, loggers=(0,))
    here = asked.alive
    beta = fit_behaviour(asked.phi[here], asked.action[here], ACTIONS).beta
    cells = np.concatenate([np.ones((STATES, 1)), np.eye(STATES)[:, 1:]], 1)
    np.testing.assert_allclose(probabilities(cells, beta), LOGGERS[0], atol=0.02)

    folds = folds_of(asked.task, 2)
    assert set(folds) == {0, 1} and abs(folds.mean() - 0.5) < 0.01
    small = question(episodes=400)
    folds = folds_of(small.task, 2)
    found = cross_fitted(small.phi, small.action, small.alive, small.logger, folds, ACTIONS, penalty=1.0)
    each = found.probabilities(small.phi, 0)
    np.testing.assert_allclose(each.sum(-1), 1.0)
    np.testing.assert_allclose(found.probabilities(small.phi).sum(-1), 1.0)
    changed = small.action.copy()
    changed[folds == 0] = 0
    again = cross_fitted(small.phi, changed, small.alive, small.logger, folds, ACTIONS, penalty=1.0)
    again = again.probabilities(small.phi, 0)
    np.testing.assert_array_equal(again[folds == 0], each[folds == 0])  # its own fold has no say
    assert np.abs(again[folds == 1] - each[folds == 1]).max() > 0.05
