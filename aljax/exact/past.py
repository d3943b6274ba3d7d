"""What of the past matters beside how often everything has happened: the axis L of the exact solution.

Four things do. Where a row's failure depends on how its own latest call went, its *level*: statuses that fail equally
often share one. Where calls get longer or dearer with every step and a budget or a limit is kept of it, the *time
sums*: of the steps at which rows were played that grow alike. Where there are rules, how they *stand*
(`aljax.exact.standings`). And for whom it is told (`aljax.exact.bounds`), which
rows are *down*. An entry of L is a number in mixed radix, with a digit for each; entry 0 is where an episode begins.
"""

import dataclasses
import functools
import math

import numpy as np

from aljax.exact.standings import Standings, standings
from aljax.rules.data import Structure

Levels = tuple[int, int, int]
"""By status (`aljax.env.NOT_CALLED`, `WORKED`, `FAILED`)."""


@dataclasses.dataclass(frozen=True)
class Past:
    """The digits of the axis L, from the slowest to the fastest."""

    levels: tuple[tuple[int, Levels], ...] = ()
    """Rows of the table with a digit for their level, and the level of each status."""
    growing: tuple[tuple[int, ...], ...] = ()
    """Rows of the table by how they grow, where that matters; each group but the last has a digit for its time sum."""
    most: int = 0
    """The largest time sum, H (H − 1) / 2."""
    structure: Structure | None = None
    """Of the rules, which have one digit together; None: there are none, and no digit."""
    unreliable: tuple[int, ...] = ()
    """Rows of the table that can be down; together they have one digit, whose bits tell which are, the first lowest."""

    @property
    def sums(self) -> int:
        """How many time sums are kept: that of the last group is what all steps leave over."""
        return max(0, len(self.growing) - 1)

    @property
    def downs(self) -> int:
        """How many values the digit of rows that are down takes, U."""
        return 2 ** len(self.unreliable)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each digit takes."""
        levels = [max(by_status) + 1 for _, by_status in self.levels]
        standing = () if self.standings is None else (self.standings.states.shape[1],)
        return (*levels, *[self.most + 1] * self.sums, *standing, self.downs)

    @property
    def standings(self) -> Standings | None:
        """How the rules can stand, where there are any."""
        return None if self.structure is None else standings(self.structure)

    @property
    def overrun(self) -> bool:
        """A hard cooldown in seconds may be broken, for want of another row."""
        return self.standings is not None and self.standings.overrun

    @property
    def size(self) -> int:
        """How many entries there are, L."""
        return math.prod(self.sizes)

    @functools.cached_property
    def digits(self) -> np.ndarray:
        """Each digit of each entry. Integer ``[digits, L]``"""
        return np.stack(np.unravel_index(np.arange(self.size), self.sizes))

    def level(self, row: int) -> tuple[np.ndarray, tuple[int, ...]]:
        """The level of a row, and by level a status that is of it.

        Args:
          row: of the table.

        Returns:
          Integer ``[L]``, and statuses.
        """
        for place, (other, by_status) in enumerate(self.levels):
            if other == row:
                return self.digits[place], tuple(by_status.index(level) for level in range(max(by_status) + 1))
        return np.zeros(self.size, int), (0,)

    def time_sums(self) -> np.ndarray:
        """The time sums that are kept. Integer ``[sums, L]``"""
        return self.digits[len(self.levels) : len(self.levels) + self.sums]

    def rule_states(self) -> np.ndarray:
        """Where the rules stand. Integer ``[R, L]``"""
        assert self.standings is not None
        return self.standings.states[:, self.digits[-2]]

    def down(self, row: int) -> np.ndarray | None:
        """Where a row is down; None: it never is.

        Args:
          row: of the table.

        Returns:
          Boolean ``[L]`` or None.
        """
        if row not in self.unreliable:
            return None
        return (self.digits[-1] >> self.unreliable.index(row)) & 1 == 1

    def after(self, row: int, failed: bool) -> tuple[np.ndarray, int]:
        """Where a call leads: at time t from entry l to entry ``to[l] + stride t``, what is down left as it is.

        Args:
          row: of the table.
          failed: whether the call fails.

        Returns:
          The entries, integer ``[L]``, and the stride.
        """
        digits, stride = self.digits.copy(), 0
        for place, (other, by_status) in enumerate(self.levels):
            if other == row:
                digits[place] = by_status[2 if failed else 1]
        for place, group in enumerate(self.growing[:-1], len(self.levels)):
            if row in group:
                stride = math.prod(self.sizes[place + 1 :])
        if self.standings is not None:
            digits[-2] = self.standings.after[row, int(failed)][digits[-2]]
        return np.asarray(np.ravel_multi_index(tuple(digits), self.sizes)), stride
