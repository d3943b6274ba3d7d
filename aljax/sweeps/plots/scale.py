"""How the values of an axis lie along a picture: as categories, or as numbers in bins."""

import dataclasses
from typing import Any

import numpy as np

from aljax.drawing import label
from aljax.sweeps.plots.frame import plain_log
from aljax.sweeps.report import number
from aljax.sweeps.results import Results, column
from aljax.sweeps.space import Axis

MOST_BINS = 12
"""Bins, or categories of numbers, along an axis."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """How the values of an axis lie along a picture."""

    position: np.ndarray
    """Of each configuration. ``[C]``"""
    bin: np.ndarray
    """Of each configuration. ``[C]``"""
    edges: np.ndarray
    """Of the bins, in the unit of the positions. ``[bins + 1]``"""
    labels: tuple[str, ...] = ()
    """Of each bin; none: positions are numbers."""
    log: bool = False
    """Even in the logarithm."""

    @property
    def bins(self) -> int:
        """How many there are."""
        return len(self.edges) - 1

    @property
    def centres(self) -> np.ndarray:
        """Of the bins. ``[bins]``"""
        if self.log:
            return np.sqrt(self.edges[:-1] * self.edges[1:])
        return (self.edges[:-1] + self.edges[1:]) / 2

    def set(self, axes: Any, side: str) -> None:
        """Sets up one side of matplotlib's axes.

        Args:
          axes: matplotlib's.
          side: ``x`` or ``y``.
        """
        if self.log:
            getattr(axes, f"set_{side}scale")("log")
            plain_log(getattr(axes, f"{side}axis"), self.edges)
        if self.labels:
            shown = range(0, self.bins, -(-self.bins // (2 * MOST_BINS)))
            getattr(axes, f"set_{side}ticks")(list(shown), [label(self.labels[i], 18) for i in shown])


def scale_of(results: Results, key: str, bins: int) -> Scale:
    """Categories where an axis has few values, else bins of equal width.

    Args:
      results: of a sweep.
      key: the axis's.
      bins: how many at most.

    Returns:
      How its values lie.
    """
    axis = next(axis for axis in results.spec.axes if axis.key == key)
    values = results.values(key)
    numbers = values.dtype.kind in "iuf"
    distinct = np.unique(values)
    if not numbers or (len(distinct) <= MOST_BINS and (axis.choices or axis.integer)) or len(distinct) == 1:
        if not numbers:
            distinct = distinct[np.argsort([_order(axis, value) for value in distinct], kind="stable")]
        place = {value: i for i, value in enumerate(distinct.tolist())}
        position = np.array([place[value] for value in values.tolist()])
        labels = tuple(number(value) for value in distinct)
        return Scale(position, position, np.arange(len(distinct) + 1) - 0.5, labels)
    low, high = float(distinct[0]), float(distinct[-1])
    if not axis.choices:
        low, high = min(low, axis.low), max(high, axis.high)
    log = axis.log and low > 0
    edges = (np.geomspace if log else np.linspace)(low, high, max(1, min(bins, MOST_BINS)) + 1)
    inside = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return Scale(values.astype(float), inside, edges, log=log)


def jittered(scale: Scale) -> np.ndarray:
    """Positions; within a category spread out, each configuration always at the same place. ``[C]``

    Args:
      scale: of an axis.

    Returns:
      Along that axis. ``[C]``
    """
    if not scale.labels:
        return scale.position
    golden = (0.5 + 0.6180339887 * np.arange(len(scale.position))) % 1  # fills evenly, whatever the count
    return scale.position + 0.5 * (golden - 0.5)


def _order(axis: Axis, value: Any) -> int:
    """Where a text or truth stands among an axis's choices."""
    choices = column(axis.choices).tolist()
    return choices.index(value) if value in choices else len(choices)
