"""What the pictures of a sweep share: colours, titles, limits, how much of what is many is drawn."""

from pathlib import Path
from typing import Any

import numpy as np

from aljax.drawing import label
from aljax.sweeps.pareto import over_weights
from aljax.sweeps.results import Results

# Okabe and Ito's colours, which the colour-blind tell apart.
BLUE, ORANGE, VERMILLION, GREY = "#0072B2", "#E69F00", "#D55E00", "0.45"
MAP = "viridis"
"""Matplotlib's colour map for numbers."""
MOST_POINTS = 5_000
"""Points that are drawn in a panel; of more, some are drawn by lot."""
_FAR = 3
"""Spreads between the 10 % and the 90 % quantile: what lies farther out is cut off."""


def means(results: Results, column: str) -> np.ndarray:
    """A column's mean over the seeds of each configuration; NaN where one of them is. ``[C]``

    Args:
      results: of a sweep.
      column: of the table.

    Returns:
      float64 ``[C]``
    """
    return results.by_configuration(column).mean(1)


def best_of(cost: np.ndarray) -> int | None:
    """The configuration of least cost, ``[C]``; None where all diverged.

    Args:
      cost: mean of each configuration; NaN where one of its runs diverged. ``[C]``

    Returns:
      Its number.
    """
    return int(np.nanargmin(cost)) if np.isfinite(cost).any() else None


def title(results: Results, about: str) -> str:
    """A picture's title: what is seen, of what.

    Args:
      results: of the sweep.
      about: what is seen.

    Returns:
      Text for matplotlib.
    """
    seeds, diverged = results.spec.protocol.seeds, len(results.diverged)
    where = "all scenarios" if any(axis.key == "scenario" for axis in results.spec.axes) else results.spec.scenario
    configurations = len(results.table["row"]) // seeds
    runs = f"{configurations:,} configuration{'s' * (configurations > 1)} × {seeds} seed{'s' * (seeds > 1)}"
    return f"{label(Path(where).stem)}: {about}, {runs}" + (f" ({diverged:,} runs diverged)" if diverged else "")


def currency(results: Results) -> str:
    """Said where costs are weighed differently from configuration to configuration.

    Args:
      results: of a sweep.

    Returns:
      A remark for an axis; empty where all are weighed alike.
    """
    return ", each at its own λ" if over_weights(results) else ""


def some(count: int, always: int | None = None) -> np.ndarray:
    """Which points to draw: all, or as many as a panel bears, always the same.

    Args:
      count: how many there are.
      always: one that is drawn in any case.

    Returns:
      Indices, ``[at most count + 1]``
    """
    if count <= MOST_POINTS:
        return np.arange(count)
    shown = np.random.default_rng(0).choice(count, MOST_POINTS, replace=False)
    return shown if always is None else np.union1d(shown, always)


def drawn_of(count: int) -> str:
    """Said where not all points are.

    Args:
      count: how many there are.

    Returns:
      A remark; empty where all are drawn.
    """
    return "" if count <= MOST_POINTS else f" ({MOST_POINTS:,} are drawn)"


def known_level(optimal: np.ndarray) -> float | None:
    """The optimum's cost, of costs ``[C]``, where it is known and the same for all configurations; else None.

    Args:
      optimal: mean cost of the optimum in each configuration; NaN: not known. ``[C]``

    Returns:
      That cost.
    """
    finite = optimal[np.isfinite(optimal)]
    return float(finite[0]) if len(finite) and np.allclose(finite, finite[0], rtol=1e-6) else None


def top_of(cost: np.ndarray) -> float:
    """Where to cut a linear axis of costs ``[C]`` off: far above nearly all; infinite where all belong to it.

    Args:
      cost: to be drawn. ``[C]``

    Returns:
      The axis's end.
    """
    finite = cost[np.isfinite(cost)]
    if len(finite) < 10 or wide(np.quantile(finite, (0.1, 0.9))):
        return np.inf
    low, high = np.quantile(finite, (0.1, 0.9))
    far = high + _FAR * (high - low)
    if high == low or finite.max() <= far:
        return np.inf
    last = float(finite[finite <= far].max())
    return last + 0.15 * (last - float(finite.min()))


def wide(values: np.ndarray, ratio: float = 10) -> bool:
    """Positive values whose largest is so many times the smallest: better seen in the logarithm.

    Args:
      values: to be drawn.
      ratio: from which on.

    Returns:
      Whether they are.
    """
    return len(values) > 0 and values.min() > 0 and values.max() > ratio * values.min()


def plain_log(side: Any, values: np.ndarray) -> None:
    """Labels such as 0.02 and 300 on a logarithmic axis, the closer the fewer powers of ten it spans.

    Args:
      side: matplotlib's axis.
      values: that are drawn along it.
    """
    import matplotlib.ticker as ticker

    decades = np.log10(np.max(values) / np.min(values)) if len(values) else 1.0
    subs = (
        (1.0,)
        if decades > 3
        else (1.0, 3.0)
        if decades > 1.5
        else (1.0, 2.0, 3.0, 5.0)
        if decades < 1
        else (1.0, 2.0, 5.0)
    )
    close = decades < 0.7  # there may be none of 1, 2 and 5 in it
    side.set_major_locator(ticker.MaxNLocator(5) if close else ticker.LogLocator(subs=subs, numticks=20))
    side.set_major_formatter(lambda value, _: f"{value:g}")
    side.set_minor_formatter(ticker.NullFormatter())
