"""Cost against each axis of a sweep."""

from pathlib import Path
from typing import Any

import numpy as np

from aljax.drawing import label, pyplot, save
from aljax.sweeps.plots.frame import (
    BLUE,
    ORANGE,
    VERMILLION,
    best_of,
    currency,
    drawn_of,
    known_level,
    means,
    plain_log,
    some,
    title,
    top_of,
    wide,
)  # fmt: skip
from aljax.sweeps.plots.scale import MOST_BINS, Scale, jittered, scale_of
from aljax.sweeps.report import by_importance, number
from aljax.sweeps.results import Results

_MOST_PANELS = 12
"""Axes of a picture; of more, those that explain most."""


def against_axes(path: Path, results: Results) -> None:
    """Cost against each axis, the most important first: a point a configuration, and the median along the axis.

    Args:
      path: the PNG file.
      results: of a sweep.
    """
    plt = pyplot()
    cost, optimal = means(results, "cost"), means(results, "optimal_cost")
    importance = results.importance()
    keys = by_importance(importance)[:_MOST_PANELS]
    columns = min(len(keys), 2 if len(keys) == 4 else 3)
    rows = -(-len(keys) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(max(3.4 * columns, 5) + 0.4, 2.6 * rows + 0.9),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    best = best_of(cost)
    top = top_of(cost)
    shown = some(len(cost), best)
    for axis, key in zip(axes.flat, keys, strict=False):
        scale = scale_of(results, key, int(np.sqrt(len(cost))))
        _points(axis, scale, cost, top, shown)
        _medians(axis, scale, cost, ORANGE, "-", "median along the axis")
        if np.isfinite(optimal).any():
            _optimum_level(axis, scale, optimal)
        if best is not None:
            told = f"best: configuration {best}, cost {number(cost[best])}"
            place = jittered(scale)[best]
            axis.plot(place, cost[best], "*", color=VERMILLION, ms=13, mec="black", mew=0.8, zorder=5, label=told)
        share = importance[key]
        axis.set_title("" if np.isnan(share) else f"explains {100 * share:.0f} % of the variance", fontsize=9)
        axis.set_xlabel(label(key))
        scale.set(axis, "x")
        if len("".join(scale.labels)) > 40:
            axis.tick_params(axis="x", labelrotation=30)
    _set_cost(axes[0, 0], cost, optimal, top)
    cut = int((cost > top).sum())
    for axis in axes[:, 0]:
        axis.set_ylabel("mean cost" + currency(results) + (f"\n({cut} above the top: ▲)" if cut else ""))
    for axis in list(axes.flat)[len(keys) :]:
        axis.set_axis_off()
    handles = dict(zip(*axes.flat[0].get_legend_handles_labels()[::-1], strict=True))
    figure.legend(handles.values(), handles, ncols=4, fontsize=8, loc="outside lower center", frameon=False)
    every = len(results.spec.axes)
    which = "each axis" if len(keys) == every else f"the {len(keys)} of {every} axes that explain most"
    figure.suptitle(title(results, f"cost against {which}"))
    save(figure, path, plt)


def _set_cost(axis: Any, cost: np.ndarray, optimal: np.ndarray, top: float) -> None:
    """Sets up the vertical axis: up to the top where there is one, in the logarithm where costs span much."""
    finite = cost[np.isfinite(cost)]
    if top < np.inf:
        low = min(finite.min(), np.nanmin(optimal, initial=np.inf))
        axis.set_ylim(low - 0.05 * (top - low), top + 0.05 * (top - low))
    elif wide(finite):
        axis.set_yscale("log")
        plain_log(axis.yaxis, finite)


def _points(axis: Any, scale: Scale, cost: np.ndarray, top: float, shown: np.ndarray) -> None:
    """A point a configuration; those above the top as triangles on it."""
    told = "a configuration" + drawn_of(len(cost))
    place, cost = jittered(scale)[shown], cost[shown]
    size, opacity = (16, 0.55) if len(shown) <= 300 else (7, 0.25)
    inside = cost <= top  # a NaN is not
    axis.scatter(place[inside], cost[inside], s=size, color=BLUE, alpha=opacity, linewidth=0, label=told)
    above = cost > top
    if above.any():
        axis.scatter(place[above], np.full(above.sum(), top), s=22, color=BLUE, marker="^", alpha=0.7, linewidth=0)


def _medians(axis: Any, scale: Scale, cost: np.ndarray, colour: str, style: str, label: str) -> None:
    """The median in each bin: a line along numbers, a short level for each of categories."""
    finite = np.isfinite(cost)
    if scale.labels:
        found = [(i, np.median(cost[finite & (scale.bin == i)])) for i in np.unique(scale.bin[finite])]
        for i, middle in found:
            axis.plot([i - 0.32, i + 0.32], [middle, middle], style, color=colour, linewidth=2.2, label=label, zorder=4)
        return
    order = np.flatnonzero(finite)[np.argsort(scale.position[finite], kind="stable")]
    groups = np.array_split(order, int(np.clip(len(order) / 8, 1, MOST_BINS)))
    groups = [group for group in groups if len(group)]
    place = [np.median(scale.position[group]) for group in groups]
    middle = [np.median(cost[group]) for group in groups]
    axis.plot(place, middle, style, color=colour, linewidth=2.2, label=label, zorder=4)


def _optimum_level(axis: Any, scale: Scale, optimal: np.ndarray) -> None:
    """The optimum's cost: one level, or where it varies its median along the axis."""
    level = known_level(optimal)
    if level is None:
        _medians(axis, scale, optimal, "black", ":", "median exact optimum")
    else:
        axis.axhline(level, linestyle=":", linewidth=1.6, color="black", label="exact optimum", zorder=3)
