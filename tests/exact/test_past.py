"""What of the past matters beside the counts: digits in mixed radix, and where calls lead."""

import numpy as np

from aljax.env import FAILED, NOT_CALLED, WORKED
from aljax.exact.past import Past

PAST = Past(
    levels=((1, (0, 1, 2)), (4, (0, 0, 1))), growing=((0, 4), (2,), (1, 3)), most=6, unreliable=(0, 4)
)  # H = 4, so that times sum to 6 at most


def test_entries_are_numbers_in_mixed_radix_and_the_first_is_where_an_episode_begins():
    assert PAST.sizes == (3, 2, 7, 7, 4) and PAST.size == 3 * 2 * 7 * 7 * 4
    assert not PAST.digits[:, 0].any()
    np.testing.assert_array_equal(np.ravel_multi_index(tuple(PAST.digits), PAST.sizes), np.arange(PAST.size))
    nothing = Past()
    assert nothing.sizes == (1,) and nothing.size == 1 and nothing.after(3, True) == (0, 0)


def test_a_level_belongs_to_statuses_and_rows_without_one_are_always_at_the_same():
    level, statuses = PAST.level(1)
    assert set(level) == {0, 1, 2} and statuses == (NOT_CALLED, WORKED, FAILED)
    level, statuses = PAST.level(4)
    assert set(level) == {0, 1} and statuses == (NOT_CALLED, FAILED)
    assert not PAST.level(0)[0].any() and PAST.level(0)[1] == (NOT_CALLED,)


def test_rows_that_are_down_are_bits_of_one_digit():
    both = np.stack([PAST.down(0), PAST.down(4)])
    np.testing.assert_array_equal(both @ np.ones(PAST.size) / PAST.size, [0.5, 0.5])
    np.testing.assert_array_equal(both.T @ [1, 2], PAST.digits[-1])
    assert PAST.down(1) is None


def test_a_call_moves_the_digits_that_are_its_own_and_no_other():
    """Row 4 has a level and grows with row 0; row 1 has a level and its time sum is what is left over."""
    for row, failed, place, found in ((4, True, 1, 1), (4, False, 1, 0), (1, False, 0, 1), (1, True, 0, 2)):
        to, stride = PAST.after(row, failed)
        moved = PAST.digits[:, to]
        assert (moved[place] == found).all()
        np.testing.assert_array_equal(np.delete(moved, place, 0), np.delete(PAST.digits, place, 0))
        assert stride == (7 * 4 if row == 4 else 0)
    to, stride = PAST.after(2, True)
    np.testing.assert_array_equal(to, np.arange(PAST.size))
    assert stride == 4
    # At time 3 from nothing: the time sum of the second group is 3.
    np.testing.assert_array_equal(PAST.digits[:, to[0] + stride * 3], [0, 0, 0, 3, 0])
    np.testing.assert_array_equal(PAST.time_sums()[:, to[0] + stride * 3], [0, 3])
