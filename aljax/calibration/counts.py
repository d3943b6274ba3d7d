"""Failures counted: by row, by task, and by how the row's own latest call in the run had gone."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from aljax.calibration.runs import Run

COLUMNS = ("failure", "after_ok", "after_failed")
"""Of the action table, by what a row's own latest call did: there was none, it worked, it failed."""


@dataclasses.dataclass(frozen=True)
class Failures:
    """Of the calls of R rows in J tasks."""

    failed: np.ndarray
    """By column of `COLUMNS`. ``[3, R, J]``"""
    calls: np.ndarray
    """``[3, R, J]``"""

    @property
    def rates(self) -> np.ndarray:
        """The share that failed, whatever the task; NaN: no calls. ``[3, R]``"""
        calls = self.calls.sum(2)
        return np.divide(self.failed.sum(2), calls, out=np.full(calls.shape, np.nan), where=calls > 0)

    def of(self, rows: slice) -> "Failures":
        """Some of the rows.

        Args:
          rows: which.

        Returns:
          Their counts.
        """
        return Failures(self.failed[:, rows], self.calls[:, rows])


def count_failures(runs: Sequence[Run], rows: Sequence[str]) -> Failures:
    """Counts calls whose outcome is known.

    Args:
      runs: of a log.
      rows: names, in the order of the table.

    Returns:
      The counts, tasks in the order of their names.
    """
    number = {row: i for i, row in enumerate(rows)}
    tasks = {task: j for j, task in enumerate(sorted({run.task for run in runs}))}
    failed, calls = Counter(), Counter()
    for run in runs:
        status: dict[str, int] = {}
        for call in run.calls:
            if call.ok is None or call.row not in number:
                continue
            place = status.get(call.row, 0), number[call.row], tasks[run.task]
            calls[place] += 1
            failed[place] += not call.ok
            status[call.row] = 1 if call.ok else 2
    shape = (len(COLUMNS), len(rows), len(tasks))
    found = np.zeros((2, *shape), np.int64)
    for counts, array in zip((failed, calls), found, strict=True):
        for place, count in counts.items():
            array[place] = count
    return Failures(*found)
