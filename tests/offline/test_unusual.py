"""Wrong units are seen; heavy tails are not taken for them."""

import numpy as np
import pytest

from aljax.offline.data import Episodes
from aljax.offline.unusual import far_off


def warned(latency, **more):
    """The warnings about episodes of one step with these latencies, in rows 1, 3, 5, ..."""
    n = len(latency)
    costs = np.zeros((n, 1, 5), np.float32)
    costs[:, 0, 0], costs[:, 0, 2] = latency, more.get("violation", 0)
    observation = np.asarray(more.get("observation", np.zeros(n)), np.float32).reshape(n, 1, 1)
    flat = np.zeros(n, np.int32)
    alive = np.ones((n, 1), bool)
    episodes = Episodes(observation, flat[:, None], costs, alive, np.ones((n, 1, 1)), flat, flat, flat > 0)
    rows = 1 + 2 * np.arange(n)
    return list(far_off(episodes, rows[:, None], rows + 1))


def test_nanoseconds_among_seconds_are_seen_with_their_row():
    latency = np.random.default_rng(0).lognormal(np.log(2), 0.5, 3_496)
    latency[1_000] = 2.5e9
    (text,) = warned(latency)
    assert text.startswith("row 2001: latency_s 2.5e+09, but 99 of 100 are at most ")
    latency[2_000:2_010] = 2.5e9  # each carries less than a tenth
    (text,) = warned(latency)
    assert text.startswith("row 2001 and 10 more: latency_s")


def test_every_column_is_looked_at():
    rng = np.random.default_rng(0)
    usual = rng.uniform(1, 2, 100)
    odd = np.where(np.arange(100) == 7, 1e6, usual)
    assert [x.partition(":")[0] for x in warned(odd)] == ["row 15"]
    (violation,) = warned(usual, violation=odd)
    assert violation.startswith("row 16: violation")
    (seen,) = warned(usual, observation=-odd)
    assert seen.startswith("row 15: observation[0] -1e+06")


@pytest.mark.parametrize("size", [30, 100, 1_000, 30_000])
def test_heavy_tails_are_honest(size):
    rng = np.random.default_rng(size)
    for _ in range(200):
        assert not warned(rng.lognormal(0, 2, size))
        assert not warned(1 + rng.pareto(2.5, size))
    rare = np.zeros(size)
    rare[3] = 40.0  # one episode in which anything went wrong
    assert not warned(np.ones(size), violation=rare)
