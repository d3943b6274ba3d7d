"""Latency, money and success of a sweep's configurations, and the front that nothing beats."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aljax.drawing import label, pyplot, save
from aljax.sweeps.pareto import MAXIMISE, OBJECTIVES, fronts, objectives, over_weights, scenarios
from aljax.sweeps.plots.frame import GREY, MAP, drawn_of, some, title
from aljax.sweeps.results import Results

_MOST_SCENARIOS = 6
"""Scenarios with rows of their own; of more, the first."""
_MOST_JOINED = 400
"""Configurations whose optimum is drawn; of more, some on the front."""
_LOST = 0.3
"""Of a picture's width: what is crowded into less is enlarged."""
_PLANES = ((0, 2, 1), (1, 2, 0), (0, 1, 2))
"""Of `OBJECTIVES`: across, up, and as colour."""
_UNITS = {"latency": "latency, s", "money": "money, $", "success": "success"}


def pareto(path: Path, results: Results) -> None:
    """Latency, money and success of each configuration, two against each other, and the front that nothing beats.

    The configurations on the front are those that no other one equals in all three and beats in one. Where scenarios
    vary each has its own rows and its own front. Where few points lie far from all others a second row is enlarged.

    Args:
      path: the PNG file.
      results: of a sweep; meant for one over λ.
    """
    plt = pyplot()
    points, best, front = objectives(results), objectives(results, "optimal_"), fronts(results)
    rows = list(_pareto_rows(results, points, best))
    figure, axes = plt.subplots(
        len(rows), 3, figsize=(11.5, 3.3 * len(rows) + 0.9), squeeze=False, layout="constrained"
    )
    figure.get_layout_engine().set(wspace=0.05, hspace=0.05)
    for row, (members, name, limits) in zip(axes, rows, strict=True):
        for axis, order in zip(row, _PLANES, strict=True):
            _plane(figure, axis, (points[members], best[members], front[members]), order, limits)
        row[0].set_title(name, fontsize=9, loc="left")
    _pareto_legend(figure, plt, points, best, front)
    many = len(set(scenarios(results).tolist()))
    some = f", {_MOST_SCENARIOS} of {many} scenarios" if many > _MOST_SCENARIOS else ""
    figure.suptitle(title(results, "latency, money and success" + (" over λ" if over_weights(results) else "") + some))
    save(figure, path, plt)


def _pareto_rows(
    results: Results, points: np.ndarray, best: np.ndarray
) -> Iterator[tuple[np.ndarray, str, np.ndarray | None]]:
    """A row of panels: which configurations, what to call them, and limits where it is enlarged. ``[3, 2]``"""
    names = scenarios(results)
    for name in list(dict.fromkeys(names.tolist()))[:_MOST_SCENARIOS]:
        members = names == name
        called = "" if (names == name).all() else label(Path(name).stem)
        yield members, called, None
        limits = _crowd(points[members], best[members])
        if limits is not None:
            known = points[members][np.isfinite(points[members]).all(1)]
            outside = int((~_within(known, limits)).sum())
            yield members, f"{called} enlarged ({outside:,} lie outside)".strip(), limits


def _crowd(points: np.ndarray, best: np.ndarray) -> np.ndarray | None:
    """Limits around the optima and the densest three quarters, ``[3, 2]``; None where a picture of all shows them."""
    points, best = (values[np.isfinite(values).all(1)] for values in (points, best))
    if len(points) < 8:
        return None
    points = np.sort(points, axis=0)
    many = int(np.ceil(0.75 * len(points)))
    begin = (points[many - 1 :] - points[: len(points) - many + 1]).argmin(0)
    each = np.arange(points.shape[1])
    crowd = np.concatenate([best, [points[begin, each], points[begin + many - 1, each]]])
    low, high = crowd.min(0), crowd.max(0)
    every = np.concatenate([crowd, points])
    first, last = every.min(0), every.max(0)
    if (high - low > _LOST * (last - first)).sum() > 1:
        return None
    margin = np.maximum(0.25 * (high - low), 0.02 * (last - first))
    return np.stack([np.maximum(low - margin, first), np.minimum(high + margin, last)], axis=1)


def _plane(
    figure: Any,
    axis: Any,
    configurations: tuple[np.ndarray, np.ndarray, np.ndarray],
    order: tuple[int, int, int],
    limits: np.ndarray | None,
) -> None:
    """One panel: two objectives against each other, the third as colour, each joined to its exact optimum."""
    (points, best, front), (across, up, colour) = configurations, order
    known, shown = np.isfinite(points).all(1), _joined(points, best, front)
    joined = shown
    if limits is not None:  # lines from outside would say nothing, and hide what is inside
        known, shown = known & _within(points, limits), shown & _within(best, limits)
        joined = known & shown
    ends = np.stack([points[joined], best[joined]])
    axis.plot(ends[..., across], ends[..., up], color="0.7", linewidth=0.7, zorder=1)
    # Larger than the points and under them: a point that learning brought to its optimum lies inside.
    axis.plot(best[shown, across], best[shown, up], "D", ms=6.8, mfc="none", mec=GREY, mew=0.8, zorder=2)
    shades = limits[colour] if limits is not None else _span(points[known, colour])
    look = {"cmap": MAP, "vmin": shades[0], "vmax": shades[1]}
    faint, strong = np.flatnonzero(known & ~front), known & front
    faint = faint[some(len(faint))]
    axis.scatter(*points[faint][:, order[:2]].T, c=points[faint, colour], s=16, alpha=0.6, lw=0, zorder=3, **look)
    drawn = axis.scatter(
        *points[strong][:, order[:2]].T, c=points[strong, colour], s=28, edgecolors="black", lw=0.8, zorder=4, **look
    )
    figure.colorbar(drawn, ax=axis, label=_UNITS[OBJECTIVES[colour]], aspect=30, pad=0.02)
    axis.set(xlabel=_UNITS[OBJECTIVES[across]], ylabel=_UNITS[OBJECTIVES[up]])
    axis.set_title("↖ better" if MAXIMISE[up] else "↙ better", fontsize=8, loc="right", color=GREY)
    axis.locator_params(axis="x", nbins=5)
    if limits is not None:
        axis.set(xlim=_padded(limits[across]), ylim=_padded(limits[up]))


def _within(points: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Which points lie inside limits. ``[N]``"""
    return np.asarray(((points >= limits[:, 0]) & (points <= limits[:, 1])).all(1))


def _joined(points: np.ndarray, best: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Configurations whose exact optimum is drawn beside them: all, or where they are many some of the front."""
    known = np.asarray(np.isfinite(np.concatenate([points, best], axis=1)).all(1))
    if known.sum() <= _MOST_JOINED:
        return known
    chosen = np.flatnonzero(known & front)
    return np.isin(np.arange(len(known)), chosen[:: max(1, -(-len(chosen) // _MOST_JOINED))])


def _pareto_legend(figure: Any, plt: Any, points: np.ndarray, best: np.ndarray, front: np.ndarray) -> None:
    """What is what."""
    line, grey = plt.Line2D, {"color": "none", "markerfacecolor": plt.get_cmap(MAP)(0.5)}
    known = int(np.isfinite(points).all(1).sum())
    handles = [line([], [], marker="o", markersize=7, markeredgecolor="black", **grey)]
    places = len(np.unique(points[front], axis=0))
    at = f", at {places:,} points" if places < front.sum() else ""
    what = "Pareto front: no other is as good in all three and better in one"
    labels = [f"{what} ({front.sum():,} of {known:,}{at})"]
    if known > front.sum():
        handles.append(line([], [], marker="o", markersize=4, alpha=0.6, markeredgewidth=0, **grey))
        labels.append("another configuration, mean over seeds" + drawn_of(known - front.sum()))
    joined = _joined(points, best, front)
    if joined.any():
        handles.append(
            line([], [], color="0.6", linewidth=0.8, marker="D", markerfacecolor="none", markeredgecolor=GREY)
        )
        of = "its exact optimum, joined" + ("" if len(joined) <= _MOST_JOINED else " (some of the front)")
        labels.append(of)
    figure.legend(handles, labels, ncols=3, fontsize=8, loc="outside lower center", frameon=False)


def _span(values: np.ndarray) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


def _padded(limits: np.ndarray) -> tuple[float, float]:
    """A little air, also around a single value."""
    air = 0.05 * (limits[1] - limits[0]) or 0.05 * max(1.0, abs(limits[0]))
    return float(limits[0] - air), float(limits[1] + air)
