"""Failure rates are found with their doubt, and what lasts of a failure is told from tasks that are hard."""

import math

import numpy as np
import pytest

from aljax.calibration.counts import Failures, count_failures
from aljax.calibration.failing import fit_failures
from aljax.calibration.runs import runs_of

from agents import episode

ROWS = 8


def simulated(rng, rates, *, lasts=None, tasks=20, runs=5, spread=0.0):
    """Counts of rows whose first calls fail at these rates; a failed one is tried again twice.

    `lasts`: the probability of failing again; None: as hard as the task. `spread`: of tasks, in logits.
    """
    failed, calls = np.zeros((2, 3, len(rates), tasks), np.int64)
    for row, rate in enumerate(rates):
        for task in range(tasks):
            own = 1 / (1 + np.exp(-(np.log(rate / (1 - rate)) + spread * rng.standard_normal())))
            for _ in range(runs):
                bad = rng.random() < own
                calls[0, row, task] += 1
                failed[0, row, task] += bad
                for _ in range(2 * bad):
                    again = rng.random() < (own if lasts is None else lasts)
                    calls[2, row, task] += 1
                    failed[2, row, task] += again
    return Failures(failed, calls)


def test_calls_are_counted_by_what_the_rows_latest_call_did():
    steps = [{}, {"name": "b", "ok": False}, {"ok": False}, {"ok": False}, {"name": "b"}, {"ok": None}]
    counts = count_failures(list(runs_of([episode("a", steps, "t")])), ["look", "b"])
    np.testing.assert_array_equal(counts.calls[..., 0], [[1, 1], [1, 0], [1, 1]])
    np.testing.assert_array_equal(counts.failed[..., 0], [[0, 1], [1, 0], [1, 0]])
    np.testing.assert_allclose(counts.rates, [[0, 1], [1, np.nan], [1, 0]])


def test_intervals_contain_the_truth_as_often_as_they_say():
    rng, inside, beyond = np.random.default_rng(0), [], []
    for _ in range(40):
        rates = rng.beta(2, 12, ROWS)
        found = fit_failures(simulated(rng, rates, lasts=0.5, runs=2)).columns["failure"].estimates
        inside += [x.low <= rate <= x.high for x, rate in zip(found, rates, strict=True)]
        beyond += [(x.value - rate) ** 2 - (x.raw - rate) ** 2 for x, rate in zip(found, rates, strict=True)]
    assert 0.9 <= np.mean(inside) <= 0.98
    assert np.mean(beyond) < 0  # shrunk rates are nearer to the truth than raw ones


def test_where_tasks_differ_intervals_are_as_wide_as_few_tasks_ask():
    rng, inside = np.random.default_rng(1), []
    for _ in range(10):
        found = fit_failures(simulated(rng, [0.2] * ROWS, tasks=12, runs=20, spread=2.0)).columns["failure"].estimates
        mean = 0.2831  # of the logistic of a normal number of mean logit(0.2) and deviation 2
        inside += [x.low <= mean <= x.high for x in found]
    assert 0.88 <= np.mean(inside) <= 1


def test_hard_tasks_that_fail_again_are_not_failures_that_last():
    rng = np.random.default_rng(2)
    found = fit_failures(simulated(rng, [0.15] * ROWS, tasks=40, runs=8, spread=2.0))
    first, naive, within = (
        np.mean([x.value for x in column])
        for column in (
            found.columns["failure"].estimates,
            found.columns["after_failed"].estimates,
            found.lasting["after_failed"],
        )
    )
    assert found.within and naive > 1.5 * first
    assert within == pytest.approx(first, rel=0.35)
    assert "within tasks" in found.lasting["after_failed"][0].source


def test_failures_that_last_are_found_where_tasks_are_alike():
    rng = np.random.default_rng(3)
    found = fit_failures(simulated(rng, [0.1] * ROWS, lasts=0.6, tasks=60))
    assert np.mean([x.value for x in found.lasting["after_failed"]]) == pytest.approx(0.6, abs=0.08)
    assert all(x.low <= 0.6 <= x.high for x in found.lasting["after_failed"])


def test_tasks_without_a_second_run_cannot_be_told_apart():
    found = fit_failures(simulated(np.random.default_rng(4), [0.3] * 3, lasts=0.5, runs=1))
    assert not found.within
    naive = found.columns["after_failed"].estimates
    assert [x.value for x in found.lasting["after_failed"]] == pytest.approx([x.value for x in naive], abs=0.1)


def test_one_call_says_little_and_none_says_what_the_others_do():
    failed, calls = np.zeros((2, 3, 6, 10), np.int64)
    calls[0, :4] = 10
    failed[0, :4, ::2] = 2
    calls[0, 4, 0] = failed[0, 4, 0] = 1
    found = fit_failures(Failures(failed, calls)).columns["failure"].estimates
    assert found[4].raw == 1 and found[4].value < 0.3 and found[4].high - found[4].low > 0.1
    assert math.isnan(found[5].raw) and found[5].value == pytest.approx(0.1, abs=0.05)
    assert found[5].source.startswith("assumed: never seen")


@pytest.mark.parametrize("bad", [0, 1])
def test_all_or_none_may_fail(bad):
    calls = np.full((3, 3, 5), 4)
    found = fit_failures(Failures(bad * calls, calls))
    for column in found.columns.values():
        for x in column.estimates:
            assert abs(x.value - bad) < 0.1 and 0 <= x.low <= x.value <= x.high <= 1
