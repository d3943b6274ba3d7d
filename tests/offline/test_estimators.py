"""Estimators from logs: against the peer libraries' numbers, and against loops that follow the definitions."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from aljax.offline import estimators

PEERS = json.loads((Path(__file__).parent / "peer_estimates.json").read_text())


def chosen(table, action):
    return np.take_along_axis(table, action[..., None], -1)[..., 0]


@pytest.fixture(scope="module")
def data():
    """The peers' data set, and the weights on it."""
    given = {name: np.array(value) for name, value in PEERS["inputs"].items()}
    action, logger = given["action"], given["logger"]
    each = chosen(given["behaviour"], np.repeat(action[..., None], given["behaviour"].shape[2], 2))
    own = np.take_along_axis(each, logger[:, None, None], 2)[..., 0]
    found = {
        "reward": given["reward"],
        "q": chosen(given["q"], action),
        "v": (given["q"] * given["target"]).sum(-1),
        "target": chosen(given["target"], action),
        "each": each,
        "own": own,
        "logger": logger,
        "alive": np.ones(action.shape, bool),
    }
    return found | {"w": estimators.own_weights(found["target"], own, found["alive"])}


def first_step(data):
    return {name: value[:, :1] if np.ndim(value) > 1 else value for name, value in data.items()}


def test_sequential_estimators_agree_with_scope_rl(data):
    w, r, q, v = data["w"], data["reward"], data["q"], data["v"]
    ours = {
        "DirectMethod": estimators.direct(v[:, 0]),
        "PerDecisionImportanceSampling": estimators.per_decision(w, r),
        "SelfNormalizedPDIS": estimators.self_normalised(w, r),
        "DoublyRobust": estimators.doubly_robust(w, r, q, v),
        "SelfNormalizedDR": estimators.weighted_doubly_robust(w, r, q, v),
    }
    for name, terms in ours.items():
        assert terms.estimate == pytest.approx(PEERS["outputs"]["scope_rl"][name]["value"], rel=1e-8), name


def test_single_step_estimators_agree_with_obp(data):
    one = first_step(data)
    w, r, q, v = (one[name] for name in ("w", "reward", "q", "v"))
    balanced = estimators.balanced_weights(one["target"], one["each"], one["logger"], one["alive"])
    ours = {
        "InverseProbabilityWeighting": estimators.per_decision(w, r),
        "SelfNormalizedInverseProbabilityWeighting": estimators.self_normalised(w, r),
        "DoublyRobust": estimators.doubly_robust(w, r, q, v),
        "SelfNormalizedDoublyRobust": estimators.weighted_doubly_robust(w, r, q, v),
        "MultiLoggersBalancedInverseProbabilityWeighting": estimators.per_decision(balanced, r),
        "MultiLoggersBalancedDoublyRobust": estimators.doubly_robust(balanced, r, q, v),
    }
    for name, terms in ours.items():
        assert terms.estimate == pytest.approx(PEERS["outputs"]["obp"][name]["value"], rel=1e-6), name


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_estimators_follow_their_definitions_on_episodes_of_any_length(seed, episodes, steps, loggers):
    rng = np.random.default_rng(seed)
    length = rng.integers(1, steps + 1, episodes)
    alive = np.arange(steps) < length[:, None]
    target, each = rng.uniform(0, 1, (episodes, steps)), rng.uniform(0.2, 1, (episodes, steps, loggers))
    logger = rng.integers(0, loggers, episodes)
    cost, q, v = (np.where(alive, rng.normal(size=(episodes, steps)), 0.0) for _ in range(3))
    own = np.take_along_axis(each, logger[:, None, None], 2)[..., 0]
    w = estimators.own_weights(target, own, alive)
    mixed = estimators.balanced_weights(target, each, logger, alive)

    share = [np.mean(logger == k) for k in range(loggers)]
    for n, t in itertools.product(range(episodes), range(steps)):
        upto = range(min(t + 1, length[n]))
        assert w[n, t] == pytest.approx(np.prod([target[n, s] / own[n, s] for s in upto]))
        mixture = sum(share[k] * np.prod([each[n, s, k] for s in upto]) for k in range(loggers))
        assert mixed[n, t] == pytest.approx(np.prod([target[n, s] for s in upto]) / mixture)

    before = np.column_stack([np.ones(episodes), w[:, :-1]])
    per_decision = np.mean([sum(w[n, t] * cost[n, t] for t in range(length[n])) for n in range(episodes)])
    assert estimators.per_decision(w, cost).estimate == pytest.approx(per_decision)
    weighted = sum((w[:, t] * cost[:, t]).mean() / w[:, t].mean() for t in range(steps))
    assert estimators.self_normalised(w, cost).estimate == pytest.approx(weighted)
    robust = np.mean((w * (cost - q) + before * v).sum(1))
    assert estimators.doubly_robust(w, cost, q, v).estimate == pytest.approx(robust)
    both = sum(
        (w[:, t] * (cost - q)[:, t]).mean() / w[:, t].mean() + (before[:, t] * v[:, t]).mean() / before[:, t].mean()
        for t in range(steps)
    )
    assert estimators.weighted_doubly_robust(w, cost, q, v).estimate == pytest.approx(both)


def test_weights_of_the_logger_itself_are_one_and_every_estimator_gives_what_it_logged(data):
    w = estimators.own_weights(data["own"], data["own"], data["alive"])
    assert (w == 1).all()
    logged = data["reward"].sum(1).mean()
    assert estimators.per_decision(w, data["reward"]).estimate == pytest.approx(logged)
    assert estimators.self_normalised(w, data["reward"]).estimate == pytest.approx(logged)


def test_a_bootstrap_resamples_whole_tasks(data):
    task = np.arange(60) // 3
    terms = estimators.weighted_doubly_robust(data["w"], data["reward"], data["q"], data["v"])
    interval = estimators.bootstrap_by_task(terms, task, resamples=400)
    assert interval.low < interval.estimate < interval.high and interval.estimate == terms.estimate
    # The same from scratch: draw tasks, put their episodes together, estimate anew.
    rng, found = np.random.default_rng(1), []
    for _ in range(400):
        rows = (3 * rng.integers(0, 20, 20)[:, None] + np.arange(3)).ravel()
        values = [data[name][rows] for name in ("w", "reward", "q", "v")]
        found.append(estimators.weighted_doubly_robust(*values).estimate)
    spread = np.quantile(found, 0.975) - np.quantile(found, 0.025)
    assert interval.high - interval.low == pytest.approx(spread, rel=0.2)
    # Copies of an episode under its own task tell nothing new.
    twice = estimators.Terms(np.repeat(terms.values, 2, 0), terms.combine)
    copied = estimators.bootstrap_by_task(twice, np.repeat(task, 2), resamples=400)
    np.testing.assert_allclose([copied.low, copied.high], [interval.low, interval.high], rtol=1e-9)
    assert np.isnan(estimators.bootstrap_by_task(terms, np.zeros(60), resamples=50).low)


def test_intervals_are_bias_corrected_and_accelerated_as_scipy_makes_them():
    values = np.random.default_rng(2).lognormal(sigma=1.2, size=40)
    given = {"confidence_level": 0.95, "method": "BCa", "n_resamples": 20_000}
    theirs = scipy.stats.bootstrap((values,), np.mean, **given, rng=np.random.default_rng(0))
    expected = theirs.confidence_interval
    # From the same resamples the same interval.
    leave_one_out = (values.sum() - values) / (len(values) - 1)
    ours = estimators._corrected(float(values.mean()), theirs.bootstrap_distribution, leave_one_out)
    np.testing.assert_allclose([ours.low, ours.high], [expected.low, expected.high], rtol=1e-6)
    # From resamples of its own nearly so; what acceleration does is several times as much.
    whole = estimators.bootstrap_by_task(
        estimators.per_decision(values[:, None], 1.0), np.arange(len(values)), resamples=20_000
    )
    np.testing.assert_allclose([whole.low, whole.high], [expected.low, expected.high], rtol=0.02)
    plain = estimators._corrected(float(values.mean()), theirs.bootstrap_distribution, np.zeros(len(values)))
    assert expected.high > 1.06 * plain.high and expected.low > 1.04 * plain.low


def test_many_tasks_are_resampled_in_pieces_of_bounded_memory(monkeypatch):
    values = np.random.default_rng(0).normal(size=(500, 1))
    terms = estimators.per_decision(values, 1.0)
    whole = estimators.bootstrap_by_task(terms, np.arange(500), resamples=300)
    monkeypatch.setattr(estimators, "_CHUNK", 5_000)
    pieces = estimators.bootstrap_by_task(terms, np.arange(500), resamples=300)
    assert pieces == whole
    assert whole.high - whole.low == pytest.approx(2 * 1.96 * values.std() / 500**0.5, rel=0.2)


def test_effective_size_counts_equal_weights_and_nothing_of_none():
    assert estimators.effective_size([2.0] * 7) == pytest.approx(7)
    assert estimators.effective_size([1.0, 0.0, 0.0]) == 1
    assert estimators.effective_size([0.0, 0.0]) == 0
