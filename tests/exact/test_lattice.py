"""Points of a simplex and their numbers."""

import math

import numpy as np
import pytest

from aljax.exact import lattice


@pytest.mark.parametrize("counts, time", [(0, 5), (1, 6), (3, 5), (6, 4)])
def test_points_are_all_there_once_in_the_order_of_their_sums(counts, time):
    tails = lattice.points(counts, time)
    number = lattice.number(tails, time)
    assert tails.shape == (counts, math.comb(time + counts, counts))
    np.testing.assert_array_equal(number, np.arange(tails.shape[1]))
    often = np.asarray(lattice.happened(tails, time))
    assert (often >= 0).all() and (often.sum(0) == time).all()
    assert len({tuple(column) for column in often.T}) == often.shape[1]
    for t in range(time + 1):
        assert (often[-1, : lattice.size(counts, t)] >= time - t).all()
    for kind in range(counts + 1):
        after = lattice.happened(lattice.advance(tails, kind), time + 1)
        np.testing.assert_array_equal(
            after - often, np.broadcast_to(np.arange(counts + 1)[:, None] == kind, often.shape)
        )
