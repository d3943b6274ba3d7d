"""What a policy would have cost, on logs of a process whose truth is known exactly."""

import dataclasses
import tracemalloc

import numpy as np
import pytest

from aljax.errors import UserError
from aljax.offline import estimators, model
from aljax.offline.behaviour import cross_fitted, fit_behaviour, folds_of, probabilities
from aljax.offline.estimate import estimate
from aljax.offline.estimators import bootstrap_by_task
from aljax.offline.question import Question
from aljax.options import EstimateSettings

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


def refused(answer):
    """Whether nothing was answered."""
    return all(found.interval is None for found in answer.estimates["cost"].values())


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
        size = answer.effective_tasks["balanced"]
        assert any("fewer than 100" in warning for warning in answer.warnings) == (30 <= size < 100) or refused(answer)
    for name, found in inside.items():
        assert np.mean(found) > 0.88 and len(found) >= 30, name
    assert set(inside) == BALANCED
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


def blind_logger(seed=0, episodes=2_000, known=False, penalty=None, features=77):
    """Answer and fits, from a logger that plays four actions evenly whatever it sees; ten steps, much to see."""
    rng = np.random.default_rng(seed)
    steps, actions = 10, 4
    shape = (episodes, steps)
    phi = np.concatenate([np.ones((*shape, 1)), rng.normal(size=(*shape, features))], -1)
    action = rng.integers(0, actions, shape)
    target = np.broadcast_to([0.4, 0.2, 0.2, 0.2], (*shape, actions))
    cost = np.array([1.0, 2.0, 0.5, 1.5])[action] + rng.normal(0, 0.1, shape)
    probability = np.full((*shape, 1), 0.25 if known else np.nan)
    alone = np.zeros(episodes, int)
    asked = Question({"cost": cost}, action, np.ones(shape, bool), target, phi, probability, alone, np.arange(episodes))
    return estimate(asked, EstimateSettings(resamples=200, penalty=penalty))


def test_a_logger_that_does_not_look_at_what_it_sees_is_worth_what_its_known_probabilities_are():
    truth = 10 * (0.4 * 1.0 + 0.2 * (2.0 + 0.5 + 1.5))
    known, fitted = blind_logger(known=True), blind_logger()
    assert known.effective_tasks["own"] > 300
    assert fitted.effective_tasks["own"] == pytest.approx(known.effective_tasks["own"], rel=0.15)
    assert fitted.mean_weight["own"].estimate == pytest.approx(1, abs=0.05)
    for name, found in fitted.estimates["cost"].items():
        other = known.estimates["cost"][name].interval
        assert found.interval.low < truth < found.interval.high, name
        assert found.interval.high - found.interval.low < 1.1 * (other.high - other.low), name
    assert not any("regressions' own error" in warning for warning in fitted.warnings)
    # What a fit that looks at everything makes of the same log; the penalty acts with a single logger too.
    few = {penalty: blind_logger(episodes=300, penalty=penalty).effective_tasks["own"] for penalty in (0.1, 1e7, None)}
    assert few[0.1] < 0.6 * few[None]
    assert few[1e7] == pytest.approx(few[None], rel=1e-3)


def test_intervals_on_fitted_probabilities_contain_the_truth_about_as_often_as_they_say():
    inside = {}
    for seed in range(40):
        answer = estimate(question(seed=seed, episodes=600, known=False, loggers=(0,)), EstimateSettings(resamples=200))
        assert any("regressions' own error" in warning for warning in answer.warnings)
        for name in answer.estimates["cost"]:
            inside.setdefault(name, [])
        contained(inside, answer)
    for name, found in inside.items():
        assert len(found) >= 36 and sum(found) >= 33, name


def test_what_the_fit_of_probabilities_explains_of_an_estimate_is_not_in_its_interval():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4_000, 3))
    noise = rng.normal(size=4_000)
    plain = estimators.Terms((scores @ [2.0, 0.0, 1.0] + noise)[:, None], lambda means: means[..., 0])
    corrected = estimators.with_fitted_weights(plain, scores)
    assert corrected.estimate == pytest.approx(plain.estimate, abs=1e-12)
    interval = bootstrap_by_task(corrected, np.arange(4_000), resamples=400)
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * noise.std() / 4_000**0.5, rel=0.15)


def test_two_loggers_are_told_apart_as_far_as_held_out_tasks_can_tell():
    asked = question(episodes=4_000)
    folds = folds_of(asked.task, 5)
    given = (asked.phi, asked.action, asked.alive, asked.logger, folds, ACTIONS)
    found = cross_fitted(*given)
    cells = np.concatenate([np.ones((1, STATES, 1)), np.eye(STATES)[None, :, 1:]], -1)
    for n in (0, 1):
        fits = found.each[n].by_fold.values()
        average = np.mean([probabilities(cells[0], fit.beta) for fit in fits], axis=0)
        np.testing.assert_allclose(average, LOGGERS[n], atol=0.04)
    same = cross_fitted(*given[:3], np.arange(4_000) % 2, folds, ACTIONS)  # who is said to act tells nothing
    assert min(same.each[n].way.penalty for n in (0, 1)) >= 1000
    np.testing.assert_allclose(
        found.probabilities(asked.phi, 0), cross_fitted(*given, only=(0,)).probabilities(asked.phi, 0)
    )


def test_a_fit_that_has_not_converged_is_said_and_names_the_logger():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1_000, STEPS, 12))
    logits = features[..., :2] * np.array([1.0, -1.0])
    action = (logits + rng.gumbel(size=logits.shape)).argmax(-1)

    def told(scale):
        phi = np.concatenate([np.ones((1_000, STEPS, 1)), features * scale], -1)
        asked = question(episodes=1_000, loggers=(1,), known=False)
        asked = dataclasses.replace(asked, phi=phi, action=action, names=("agent a", "agent b"))
        return [x for x in estimate(asked, EstimateSettings(penalty=1e-9)).warnings if "converge" in x]

    assert told(1.0) == []
    (warning,) = told(10 ** np.linspace(-2, 2, 12))  # the same features in other units
    assert "agent b" in warning
    assert fit_behaviour(features[:, 0], action[:, 0], ACTIONS).converged


def many_actions(actions, episodes=30, steps=6, features=400, seed=0):
    """What is asked where few episodes tell of many actions."""
    rng = np.random.default_rng(seed)
    shape = (episodes, steps)
    phi = np.concatenate([np.ones((*shape, 1)), rng.normal(size=(*shape, features - 1))], -1)
    action = rng.integers(0, actions, shape)
    target = rng.dirichlet(np.ones(actions), shape)
    return phi, action, target, rng.normal(size=shape), np.ones(shape, bool)


def peak_of(run):
    """Bytes."""
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_grows_at_most_linearly_with_actions_and_none_is_features_by_features():
    def asked(actions):
        phi, action, target, cost, alive = many_actions(actions)
        probability = np.full((*action.shape, 5), np.nan)
        logger = np.arange(30) % 5
        return Question({"cost": cost}, action, alive, target, phi, probability, logger, np.arange(30))

    peaks = [peak_of(lambda n=n: estimate(asked(n), EstimateSettings(resamples=50))) for n in (100, 200, 400)]
    size = many_actions(400)[0].nbytes + 400 * 400 * 8 + many_actions(400)[2].nbytes  # features, coefficients, target
    assert peaks[2] < 8 * size < 400 * 400**2 * 8 / 20
    assert peaks[2] - peaks[1] < 2.5 * (peaks[1] - peaks[0])


def test_regressions_of_few_steps_are_those_of_many_in_another_dimension():
    phi, action, target, cost, alive = many_actions(5, episodes=40, steps=1, features=60)  # some 8 steps an action
    x, middle = phi[:, 0], cost.mean()
    ridge = model.RIDGE * np.mean(x**2) * len(x) / 5
    theta = []
    for a in range(5):
        rows = x[action[:, 0] == a]
        theta.append(np.linalg.solve(rows.T @ rows + ridge * np.eye(60), rows.T @ (cost[action == a] - middle)))
    expected = np.array(theta)
    expected[:, 0] += middle
    fitted = model.fit(phi, action, target, cost, alive)
    np.testing.assert_allclose(fitted.theta, expected, atol=1e-9)
