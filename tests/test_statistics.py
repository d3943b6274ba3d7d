"""Intervals: what they measure, and that they cover what they claim."""

import json

import numpy as np
import pytest
import scipy.stats

from aljax.statistics import (
    Interval,
    bootstrap,
    explained_variance,
    interquartile_mean,
    mean_interval,
    paired_difference,
    paired_gap,
)


def test_the_interquartile_mean_is_that_of_the_middle_half():
    assert interquartile_mean([9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -100.0]) == np.mean([2, 3, 4, 5])
    assert interquartile_mean([1.0, 2.0, 3.0, 4.0, 1e9]) == 3.0
    assert interquartile_mean([5.0]) == 5.0
    np.testing.assert_array_equal(interquartile_mean(np.arange(8.0).reshape(2, 4)), [1.5, 5.5])


def test_the_bootstrap_repeats_itself_and_one_seed_has_no_interval():
    figures = [np.random.default_rng(0).normal(size=20)]
    found = bootstrap(figures)
    assert found == bootstrap(figures) and found.low < found.estimate < found.high
    assert found.estimate == pytest.approx(interquartile_mean(figures[0]))
    alone = bootstrap([[3.0]])
    assert alone.estimate == 3 and np.isnan(alone.low)
    assert json.dumps(alone.to_json()) == '{"estimate": 3.0, "low": null, "high": null}'
    assert str(alone) == "3" and str(Interval(1, 0, 2)) == "1.0000 [0.0000, 2.0000]"
    assert bootstrap([[2.0, 2.0, 2.0]]) == Interval(2.0, 2.0, 2.0)


def test_seeds_are_resampled_within_their_stratum():
    """Two strata far apart, each of equal seeds: pooled resampling would vary, stratified does not."""
    found = bootstrap([[0.0] * 6, [10.0] * 6], np.mean)
    assert (found.low, found.estimate, found.high) == (5.0, 5.0, 5.0)


def test_a_gap_is_in_percent_of_the_reference_and_pairs_episodes():
    reference = np.random.default_rng(0).gamma(2.0, size=(4, 50))
    gap = paired_gap(1.25 * reference, reference)
    assert gap.estimate == pytest.approx(25) and gap.high - gap.low < 1e-9  # the luck is the same, so nothing varies
    same = paired_gap(reference, reference, by_seed=True)
    assert (same.estimate, same.low, same.high) == (0.0, 0.0, 0.0)
    below = paired_gap(reference - 0.5, reference)
    assert below.estimate == pytest.approx(-50 / reference.mean()) and below.high < 0
    assert np.isnan(paired_gap(reference, np.zeros_like(reference)).estimate)
    assert paired_difference(reference + 2, reference).estimate == pytest.approx(2)


def test_what_repeats_itself_sets_the_width():
    """Seeds that differ as wholes: many episodes do not make up for few seeds."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(5, 1)) + 0.1 * rng.normal(size=(5, 400))
    by_episode, by_seed = mean_interval(values), mean_interval(values, by_seed=True)
    assert by_episode.estimate == pytest.approx(by_seed.estimate)
    assert by_seed.high - by_seed.low > 5 * (by_episode.high - by_episode.low)
    assert np.isnan(mean_interval(values[:1], by_seed=True).low)


@pytest.mark.parametrize("by_seed", [False, True])
def test_intervals_of_gaps_cover_the_true_gap_as_often_as_they_say(by_seed):
    """1,000 evaluations of a policy 10 % above the reference; 95 % nominal, within 4 standard errors of it."""
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(1000):
        reference = 4 + rng.gamma(2.0, size=(5, 100))
        effect = 0.3 * rng.normal(size=(5, 1)) if by_seed else 0.0
        values = reference + 0.6 + effect + rng.normal(size=(5, 100))
        gap = paired_gap(values, reference, by_seed)
        covered.append(gap.low <= 10 <= gap.high)
    assert abs(np.mean(covered) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 1000)


def test_bootstrap_intervals_over_twenty_seeds_cover_nearly_as_often_as_they_say():
    """Of the interquartile mean of normal figures; a percentile bootstrap of 20 falls a little short of 95 %."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(300):
        found = bootstrap([rng.normal(size=20)], resamples=500)
        covered.append(found.low <= 0 <= found.high)
    assert 0.86 < np.mean(covered) < 0.99


def test_the_explained_variance_is_that_of_an_analysis_of_variance():
    rng = np.random.default_rng(0)
    names = np.array(["a", "b", "c"])[rng.integers(0, 3, 60)]
    outcomes = rng.normal(size=60) + 2.0 * (names == "b")
    groups = [outcomes[names == name] for name in "abc"]
    f = scipy.stats.f_oneway(*groups).statistic
    k, n = 3, 60
    expected = (k - 1) * (f - 1) / ((k - 1) * f + n - k)  # ε² in terms of F
    assert explained_variance(names, outcomes) == pytest.approx(expected)


def test_what_explains_nothing_explains_nothing_and_what_explains_all_nearly_all():
    rng = np.random.default_rng(1)
    x, noise = rng.random(5_000), rng.random(5_000)
    assert explained_variance(x, noise) < 0.01
    assert explained_variance(x, (x - 0.5) ** 2) > 0.9  # no straight line, and yet
    assert explained_variance(np.repeat([True, False], 10), np.repeat([1.0, 2.0], 10)) == pytest.approx(1)
    assert explained_variance(np.arange(10) // 2, np.ones(10)) == 0


def test_too_few_outcomes_explain_nothing_and_those_that_diverged_are_left_out():
    assert np.isnan(explained_variance([1, 2, 3], [1.0, 2.0, 3.0]))
    assert np.isnan(explained_variance([1, 2], [np.nan, np.nan]))
    values, outcomes = np.repeat([1, 2], 10), np.repeat([1.0, 2.0], 10) + np.tile([0.0, 0.1], 10)
    assert explained_variance(np.append(values, 1), np.append(outcomes, np.nan)) == explained_variance(values, outcomes)
