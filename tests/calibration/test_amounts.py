"""Means and spreads of seconds and dollars, from few calls and from calls that nobody saw end."""

import math

import numpy as np
import pytest

from aljax.calibration.amounts import fit_amounts


def drawn(rng, mean, sigma, calls):
    return mean * np.exp(sigma * rng.standard_normal(calls) - sigma**2 / 2)


def test_intervals_contain_the_truth_as_often_as_they_say():
    rng, means, spreads = np.random.default_rng(0), [], []
    for _ in range(60):
        truth = np.exp(rng.normal(1, 0.5, 6))
        found = fit_amounts([drawn(rng, mean, 0.6, 25) for mean in truth])
        means += [x.low <= mean <= x.high for x, mean in zip(found.means, truth, strict=True)]
        spreads += [x.low <= 0.6 <= x.high for x in found.spreads]
    assert 0.9 <= np.mean(means) <= 0.98 and np.mean(spreads) >= 0.9


def test_rows_with_few_calls_are_drawn_to_the_others():
    rng = np.random.default_rng(1)
    found = fit_amounts([*(drawn(rng, 2.0, 0.5, 200) for _ in range(5)), [9.0], []])
    assert found.means[5].raw == 9 and 2 < found.means[5].value < 6 and "shrunk" in found.means[5].source
    assert math.isnan(found.means[6].raw) and found.means[6].value == pytest.approx(2, rel=0.1)
    assert found.means[6].source.startswith("assumed: never seen")


def test_calls_that_nobody_saw_end_count_for_what_they_took_at_least():
    rng = np.random.default_rng(2)
    taken = drawn(rng, 3.0, 0.7, 4_000)
    seen, cut = taken[taken <= 3.5], np.full((taken > 3.5).sum(), 3.5)
    found = fit_amounts([seen], [cut])
    assert found.means[0].value == pytest.approx(3.0, rel=0.05) and found.spreads[0].value == pytest.approx(
        0.7, rel=0.06
    )
    assert seen.mean() < 2 and "not seen to end" in found.means[0].source


def test_several_calls_in_a_turn_do_not_blow_up_the_spread():
    rng = np.random.default_rng(3)
    values = np.where(rng.random(500) < 0.4, 1e-4, drawn(rng, 1.0, 0.3, 500))
    found = fit_amounts([values])
    spread = found.spreads[0].value
    assert np.sqrt(np.expm1(spread**2)) == pytest.approx(values.std() / values.mean(), rel=0.05)


def test_nothing_is_nothing_and_zero_is_zero():
    assert fit_amounts([[], []]) is None
    found = fit_amounts([[0.0, 0.0], [1.0]])
    assert found.means[0].value == 0 and found.spreads[0].value == 0 and found.means[0].source.startswith("logged")
    assert fit_amounts([[0.0], []]).means[1].value == 0
