"""Pictures of a sweep, drawn with matplotlib (the extra ``plot``)."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aljax.plots import draw_all, label, pyplot, save
from aljax.sweeps.report import (
    MAXIMISE,
    OBJECTIVES,
    by_importance,
    fronts,
    number,
    objectives,
    over_weights,
    scenarios,
)  # fmt: skip
from aljax.sweeps.results import Results, column
from aljax.sweeps.space import Axis

# Okabe and Ito's colours, which the colour-blind tell apart.
_BLUE, _ORANGE, _VERMILLION, _GREY = "#0072B2", "#E69F00", "#D55E00", "0.45"
_MAP = "viridis"
_MOST_BINS = 12
_MOST_PANELS = 12  # axes of a picture; of more, those that explain most
_MOST_SCENARIOS = 6  # with rows of their own; of more, the first
_MOST_POINTS = 5_000  # drawn in a panel; of more, some are drawn by lot
_MOST_JOINED = 400  # configurations whose optimum is drawn; of more, some on the front
_FAR = 3  # spreads between the 10 % and the 90 % quantile: what lies farther out is cut off
_LOST = 0.3  # of a picture's width: what is crowded into less is enlarged
_PLANES = ((0, 2, 1), (1, 2, 0), (0, 1, 2))  # of `OBJECTIVES`: across, up, and as colour
_UNITS = {"latency": "latency, s", "money": "money, $", "success": "success"}


@dataclasses.dataclass(frozen=True)
class _Scale:
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
        return len(self.edges) - 1

    @property
    def centres(self) -> np.ndarray:
        """Of the bins."""
        if self.log:
            return np.sqrt(self.edges[:-1] * self.edges[1:])
        return (self.edges[:-1] + self.edges[1:]) / 2

    def set(self, axes: Any, side: str) -> None:
        """Sets up one side, ``x`` or ``y``, of matplotlib's axes."""
        if self.log:
            getattr(axes, f"set_{side}scale")("log")
            _plain_log(getattr(axes, f"{side}axis"), self.edges)
        if self.labels:
            shown = range(0, self.bins, -(-self.bins // (2 * _MOST_BINS)))
            getattr(axes, f"set_{side}ticks")(list(shown), [label(self.labels[i], 18) for i in shown])


def _scale(results: Results, key: str, bins: int) -> _Scale:
    """Categories where an axis has few values, else at most so many bins of equal width."""
    axis = next(axis for axis in results.spec.axes if axis.key == key)
    values = results.values(key)
    numbers = values.dtype.kind in "iuf"
    distinct = np.unique(values)
    if not numbers or (len(distinct) <= _MOST_BINS and (axis.choices or axis.integer)) or len(distinct) == 1:
        if not numbers:
            distinct = distinct[np.argsort([_order(axis, value) for value in distinct], kind="stable")]
        place = {value: i for i, value in enumerate(distinct.tolist())}
        position = np.array([place[value] for value in values.tolist()])
        labels = tuple(number(value) for value in distinct)
        return _Scale(position, position, np.arange(len(distinct) + 1) - 0.5, labels)
    low, high = float(distinct[0]), float(distinct[-1])
    if not axis.choices:
        low, high = min(low, axis.low), max(high, axis.high)
    log = axis.log and low > 0
    edges = (np.geomspace if log else np.linspace)(low, high, max(1, min(bins, _MOST_BINS)) + 1)
    inside = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return _Scale(values.astype(float), inside, edges, log=log)


def _order(axis: Axis, value: Any) -> int:
    """Where a text or truth stands among an axis's choices."""
    choices = column(axis.choices).tolist()
    return choices.index(value) if value in choices else len(choices)


def against_axes(path: Path, results: Results) -> None:
    """Cost against each axis, the most important first: a point a configuration, and the median along the axis.

    Args:
      path: the PNG file.
      results: of a sweep.
    """
    plt = pyplot()
    cost, optimal = _means(results, "cost"), _means(results, "optimal_cost")
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
    best = _best(cost)
    top = _top(cost)
    shown = _some(len(cost), best)
    for axis, key in zip(axes.flat, keys, strict=False):
        scale = _scale(results, key, int(np.sqrt(len(cost))))
        _points(axis, scale, cost, top, shown)
        _medians(axis, scale, cost, _ORANGE, "-", "median along the axis")
        if np.isfinite(optimal).any():
            _optimum_level(axis, scale, optimal)
        if best is not None:
            told = f"best: configuration {best}, cost {number(cost[best])}"
            place = _jittered(scale)[best]
            axis.plot(place, cost[best], "*", color=_VERMILLION, ms=13, mec="black", mew=0.8, zorder=5, label=told)
        share = importance[key]
        axis.set_title("" if np.isnan(share) else f"explains {100 * share:.0f} % of the variance", fontsize=9)
        axis.set_xlabel(label(key))
        scale.set(axis, "x")
        if len("".join(scale.labels)) > 40:
            axis.tick_params(axis="x", labelrotation=30)
    _set_cost(axes[0, 0], cost, optimal, top)
    cut = int((cost > top).sum())
    for axis in axes[:, 0]:
        axis.set_ylabel("mean cost" + _currency(results) + (f"\n({cut} above the top: ▲)" if cut else ""))
    for axis in list(axes.flat)[len(keys) :]:
        axis.set_axis_off()
    handles = dict(zip(*axes.flat[0].get_legend_handles_labels()[::-1], strict=True))
    figure.legend(handles.values(), handles, ncols=4, fontsize=8, loc="outside lower center", frameon=False)
    every = len(results.spec.axes)
    which = "each axis" if len(keys) == every else f"the {len(keys)} of {every} axes that explain most"
    figure.suptitle(_title(results, f"cost against {which}"))
    save(figure, path, plt)


def two_most_important(results: Results) -> tuple[str, str]:
    """The axes that explain most of the cost; of at least two."""
    first, second, *_ = by_importance(results.importance())
    return first, second


def heat_map(path: Path, results: Results, first: str, second: str) -> None:
    """Mean cost over two axes, whatever the others are; where no configuration lies, nothing.

    Args:
      path: the PNG file.
      results: of a sweep.
      first: the key of the axis to the right.
      second: the key of the axis upwards.
    """
    plt = pyplot()
    cost = _means(results, "cost")
    bins = max(2, int(np.sqrt(len(cost) / 2)))
    across, up = _scale(results, first, bins), _scale(results, second, bins)
    cells = _cell_means(cost, up, across)
    figure, axis = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
    known = cells[np.isfinite(cells)]
    norm = _norm(plt, known)
    drawn = axis.pcolormesh(
        across.edges, up.edges, np.ma.masked_invalid(cells), cmap=_MAP, norm=norm, edgecolors="white", linewidth=0.5
    )
    beyond = "max" if (known > norm.vmax).any() else "neither"
    bar = figure.colorbar(drawn, ax=axis, label="mean cost" + _currency(results), extend=beyond)
    if isinstance(norm, plt.matplotlib.colors.LogNorm):
        _plain_log(bar.ax.yaxis, np.array([norm.vmin, norm.vmax]))
    across.set(axis, "x")
    up.set(axis, "y")
    best = _best(cost)
    if max(across.bins, up.bins) <= 10:
        _write_cells(axis, across, up, cells, drawn, best)
    if best is not None:
        place = (across.position[best], up.position[best])
        told = f"best: configuration {best}, cost {number(cost[best])}"
        axis.plot(*place, "*", color=_VERMILLION, ms=13, mec="white", mew=0.8, label=told, clip_on=False)
        figure.legend(fontsize=8, loc="outside lower center", frameon=False)
    if len("".join(across.labels)) > 60:
        axis.tick_params(axis="x", labelrotation=30)
    axis.set(xlabel=label(first), ylabel=label(second))
    blank = "" if np.isfinite(cells).all() else "; blank: none there"
    axis.set_title(_title(results, "mean cost over two axes") + blank, fontsize=9)
    save(figure, path, plt)


def learning_curves(path: Path, results: Results) -> None:
    """Cost against training episodes: how it spreads over all runs, and the best and the worst configuration's mean.

    Args:
      path: the PNG file.
      results: of a sweep. Runs that diverged are left out.
    """
    plt = pyplot()
    episodes, curves = _on_one_grid(results)
    curves = curves[~results.table["diverged"].astype(bool)]
    figure, axis = plt.subplots(figsize=(6.8, 4.2), layout="constrained")
    level = _known_level(_means(results, "optimal_cost"))
    if len(curves):
        low, lower, middle, upper, high = _quantiles(curves, (0.1, 0.25, 0.5, 0.75, 0.9))
        axis.fill_between(episodes, low, high, color=_BLUE, alpha=0.18, linewidth=0, label="10 to 90 % of the runs")
        axis.fill_between(episodes, lower, upper, color=_BLUE, alpha=0.35, linewidth=0, label="25 to 75 %")
        axis.plot(episodes, middle, color=_BLUE, linewidth=1.6, label="median")
        drawn = [low, high] + ([] if level is None else [np.array([level])])
        for name, index, colour, style in _extremes(results):
            rows = slice(index * results.spec.protocol.seeds, (index + 1) * results.spec.protocol.seeds)
            mean = _on_one_grid(results, rows)[1].mean(0)
            axis.plot(episodes, mean, style, color=colour, linewidth=1.6, label=f"{name}: configuration {index}")
            drawn.append(mean)
        values = np.concatenate(drawn)
        if _wide(values[np.isfinite(values)], 30):
            axis.set_yscale("log")
            _plain_log(axis.yaxis, values[np.isfinite(values)])
    if level is not None:
        axis.axhline(level, linestyle=":", linewidth=1.4, color="black", label="exact optimum, evaluated")
    axis.set(xlabel="training episodes", ylabel="cost while training" + _currency(results))
    axis.set_xlim(0, np.nanmax(episodes, initial=1))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if axis.get_legend_handles_labels()[0]:
        figure.legend(ncols=3, fontsize=8, loc="outside lower center", frameon=False)
    axis.set_title(_title(results, "learning curves"), fontsize=9)
    save(figure, path, plt)


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
    figure.suptitle(_title(results, "latency, money and success" + (" over λ" if over_weights(results) else "") + some))
    save(figure, path, plt)


def draw(folder: Path, results: Results) -> list[str]:
    """Draws what applies to a sweep.

    Args:
      folder: where to put the files.
      results: of a sweep.

    Returns:
      A complaint a picture that could not be drawn; there is none to draw where all configurations diverged.
    """
    if _best(_means(results, "cost")) is None:
        return []
    drawings: dict[Path, Callable[[Path], None]] = {
        folder / "axes.png": lambda path: against_axes(path, results),
        folder / "learning_curves.png": lambda path: learning_curves(path, results),
    }
    if len(results.spec.axes) > 1:
        drawings[folder / "heat_map.png"] = lambda path: heat_map(path, results, *two_most_important(results))
    if over_weights(results):
        drawings[folder / "pareto.png"] = lambda path: pareto(path, results)
    return draw_all(drawings)


def _means(results: Results, column: str) -> np.ndarray:
    """Of each configuration over its seeds; NaN where one is."""
    return results.by_configuration(column).mean(1)


def _best(cost: np.ndarray) -> int | None:
    """The configuration of least cost; none where all diverged."""
    return int(np.nanargmin(cost)) if np.isfinite(cost).any() else None


def _title(results: Results, about: str) -> str:
    """What is seen, of what."""
    seeds, diverged = results.spec.protocol.seeds, len(results.diverged)
    where = "all scenarios" if any(axis.key == "scenario" for axis in results.spec.axes) else results.spec.scenario
    configurations = len(results.table["row"]) // seeds
    runs = f"{configurations:,} configuration{'s' * (configurations > 1)} × {seeds} seed{'s' * (seeds > 1)}"
    return f"{label(Path(where).stem)}: {about}, {runs}" + (f" ({diverged:,} runs diverged)" if diverged else "")


def _currency(results: Results) -> str:
    """Said where costs are weighed differently from configuration to configuration."""
    return ", each at its own λ" if over_weights(results) else ""


def _some(count: int, always: int | None = None) -> np.ndarray:
    """Which points to draw: all, or as many as a panel bears, always the same."""
    if count <= _MOST_POINTS:
        return np.arange(count)
    shown = np.random.default_rng(0).choice(count, _MOST_POINTS, replace=False)
    return shown if always is None else np.union1d(shown, always)


def _drawn(count: int) -> str:
    """Said where not all points are."""
    return "" if count <= _MOST_POINTS else f" ({_MOST_POINTS:,} are drawn)"


def _top(cost: np.ndarray) -> float:
    """Where to cut a linear axis off: far above nearly all of them; infinite where all belong to the picture."""
    finite = cost[np.isfinite(cost)]
    if len(finite) < 10 or _wide(np.quantile(finite, (0.1, 0.9))):
        return np.inf
    low, high = np.quantile(finite, (0.1, 0.9))
    far = high + _FAR * (high - low)
    if high == low or finite.max() <= far:
        return np.inf
    last = float(finite[finite <= far].max())
    return last + 0.15 * (last - float(finite.min()))


def _wide(values: np.ndarray, ratio: float = 10) -> bool:
    """Better seen in the logarithm."""
    return len(values) > 0 and values.min() > 0 and values.max() > ratio * values.min()


def _jittered(scale: _Scale) -> np.ndarray:
    """Positions; within a category spread out, each configuration always at the same place."""
    if not scale.labels:
        return scale.position
    golden = (0.5 + 0.6180339887 * np.arange(len(scale.position))) % 1  # fills evenly, whatever the count
    return scale.position + 0.5 * (golden - 0.5)


def _set_cost(axis: Any, cost: np.ndarray, optimal: np.ndarray, top: float) -> None:
    """Sets up the vertical axis: up to the top where there is one, in the logarithm where costs span much."""
    finite = cost[np.isfinite(cost)]
    if top < np.inf:
        low = min(finite.min(), np.nanmin(optimal, initial=np.inf))
        axis.set_ylim(low - 0.05 * (top - low), top + 0.05 * (top - low))
    elif _wide(finite):
        axis.set_yscale("log")
        _plain_log(axis.yaxis, finite)


def _points(axis: Any, scale: _Scale, cost: np.ndarray, top: float, shown: np.ndarray) -> None:
    """A point a configuration; those above the top as triangles on it."""
    told = "a configuration" + _drawn(len(cost))
    place, cost = _jittered(scale)[shown], cost[shown]
    size, opacity = (16, 0.55) if len(shown) <= 300 else (7, 0.25)
    inside = cost <= top  # a NaN is not
    axis.scatter(place[inside], cost[inside], s=size, color=_BLUE, alpha=opacity, linewidth=0, label=told)
    above = cost > top
    if above.any():
        axis.scatter(place[above], np.full(above.sum(), top), s=22, color=_BLUE, marker="^", alpha=0.7, linewidth=0)


def _medians(axis: Any, scale: _Scale, cost: np.ndarray, colour: str, style: str, label: str) -> None:
    """The median in each bin: a line along numbers, a short level for each of categories."""
    finite = np.isfinite(cost)
    if scale.labels:
        found = [(i, np.median(cost[finite & (scale.bin == i)])) for i in np.unique(scale.bin[finite])]
        for i, middle in found:
            axis.plot([i - 0.32, i + 0.32], [middle, middle], style, color=colour, linewidth=2.2, label=label, zorder=4)
        return
    order = np.flatnonzero(finite)[np.argsort(scale.position[finite], kind="stable")]
    groups = np.array_split(order, int(np.clip(len(order) / 8, 1, _MOST_BINS)))
    groups = [group for group in groups if len(group)]
    place = [np.median(scale.position[group]) for group in groups]
    middle = [np.median(cost[group]) for group in groups]
    axis.plot(place, middle, style, color=colour, linewidth=2.2, label=label, zorder=4)


def _known_level(optimal: np.ndarray) -> float | None:
    """The optimum's cost where it is known and the same for all configurations."""
    finite = optimal[np.isfinite(optimal)]
    return float(finite[0]) if len(finite) and np.allclose(finite, finite[0], rtol=1e-6) else None


def _optimum_level(axis: Any, scale: _Scale, optimal: np.ndarray) -> None:
    """The optimum's cost: one level, or where it varies its median along the axis."""
    level = _known_level(optimal)
    if level is None:
        _medians(axis, scale, optimal, "black", ":", "median exact optimum")
    else:
        axis.axhline(level, linestyle=":", linewidth=1.6, color="black", label="exact optimum", zorder=3)


def _cell_means(cost: np.ndarray, up: _Scale, across: _Scale) -> np.ndarray:
    """Mean cost of the finite configurations in each cell, NaN in empty ones. ``[bins up, bins across]``"""
    finite = np.isfinite(cost)
    cell = (up.bin * across.bins + across.bin)[finite]
    counts = np.bincount(cell, minlength=up.bins * across.bins)
    sums = np.bincount(cell, cost[finite], minlength=up.bins * across.bins)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means.reshape(up.bins, across.bins)


def _norm(plt: Any, values: np.ndarray) -> Any:
    """Colours for finite values: even in the logarithm where these span much, and not spent on what lies far out."""
    if not len(values):
        return plt.Normalize(0, 1)
    low, high = values.min(), min(values.max(), _top(values))
    kind = plt.matplotlib.colors.LogNorm if _wide(values[values <= high], 4) else plt.Normalize
    return kind(low, high if high > low else low + 1)


def _write_cells(axis: Any, across: _Scale, up: _Scale, cells: np.ndarray, drawn: Any, best: int | None) -> None:
    """Each cell's number, in a colour that is seen on it, and out of the best configuration's way."""
    for (i, j), value in np.ndenumerate(cells):
        if np.isfinite(value):
            red, green, blue, _ = drawn.cmap(drawn.norm(value))
            look = {"color": "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white", "fontsize": 7}
            shift = 0
            if best is not None and (up.bin[best], across.bin[best]) == (i, j):
                shift = min(13, 90 / up.bins) * (1 if up.position[best] < up.centres[i] else -1)
            place = (across.centres[j], up.centres[i])
            axis.annotate(
                f"{value:.3g}", place, (0, shift), textcoords="offset points", ha="center", va="center", **look
            )


def _on_one_grid(results: Results, rows: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Training cost of runs of different length at the same numbers of episodes.

    Args:
      results: of a sweep.
      rows: which runs; the grid is the same whichever.

    Returns:
      Episodes, ``[P]``, and the cost, ``[R, P]``; NaN where a run has ended or not begun.
    """
    every = results.curves["episodes"]
    schedules, which = np.unique(np.nan_to_num(every, nan=-1.0), axis=0, return_inverse=True)
    which = which.reshape(-1)
    if len(schedules) == 1:
        return every[0], results.curves["cost"][rows]
    grid = np.linspace(np.nanmin(every), np.nanmax(every), every.shape[1])
    cost = results.curves["cost"][rows]
    found = np.full((len(cost), len(grid)), np.nan)
    for index, schedule in enumerate(schedules):
        known = schedule >= 0
        for row in np.flatnonzero(which[rows] == index):
            if known.any():
                found[row] = np.interp(grid, schedule[known], cost[row, known], left=np.nan, right=np.nan)
    return grid, found


def _quantiles(curves: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Of each point over the runs that have it; NaN where none has."""
    found = np.full((len(shares), curves.shape[1]), np.nan)
    for point, values in enumerate(curves.T):
        finite = values[np.isfinite(values)]
        if len(finite):
            found[:, point] = np.quantile(finite, shares)
    return found


def _extremes(results: Results) -> Iterator[tuple[str, int, str, str]]:
    """The best and the worst configuration that did not diverge."""
    cost = _means(results, "cost")
    if np.isfinite(cost).any():
        yield "best", int(np.nanargmin(cost)), _ORANGE, "-"
    if np.isfinite(cost).sum() > 1:
        yield "worst", int(np.nanargmax(cost)), _VERMILLION, "--"


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
    axis.plot(best[shown, across], best[shown, up], "D", ms=6.8, mfc="none", mec=_GREY, mew=0.8, zorder=2)
    shades = limits[colour] if limits is not None else _span(points[known, colour])
    look = {"cmap": _MAP, "vmin": shades[0], "vmax": shades[1]}
    faint, strong = np.flatnonzero(known & ~front), known & front
    faint = faint[_some(len(faint))]
    axis.scatter(*points[faint][:, order[:2]].T, c=points[faint, colour], s=16, alpha=0.6, lw=0, zorder=3, **look)
    drawn = axis.scatter(
        *points[strong][:, order[:2]].T, c=points[strong, colour], s=28, edgecolors="black", lw=0.8, zorder=4, **look
    )
    figure.colorbar(drawn, ax=axis, label=_UNITS[OBJECTIVES[colour]], aspect=30, pad=0.02)
    axis.set(xlabel=_UNITS[OBJECTIVES[across]], ylabel=_UNITS[OBJECTIVES[up]])
    axis.set_title("↖ better" if MAXIMISE[up] else "↙ better", fontsize=8, loc="right", color=_GREY)
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
    line, grey = plt.Line2D, {"color": "none", "markerfacecolor": plt.get_cmap(_MAP)(0.5)}
    known = int(np.isfinite(points).all(1).sum())
    handles = [line([], [], marker="o", markersize=7, markeredgecolor="black", **grey)]
    places = len(np.unique(points[front], axis=0))
    at = f", at {places:,} points" if places < front.sum() else ""
    what = "Pareto front: no other is as good in all three and better in one"
    labels = [f"{what} ({front.sum():,} of {known:,}{at})"]
    if known > front.sum():
        handles.append(line([], [], marker="o", markersize=4, alpha=0.6, markeredgewidth=0, **grey))
        labels.append("another configuration, mean over seeds" + _drawn(known - front.sum()))
    joined = _joined(points, best, front)
    if joined.any():
        handles.append(
            line([], [], color="0.6", linewidth=0.8, marker="D", markerfacecolor="none", markeredgecolor=_GREY)
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


def _plain_log(side: Any, values: np.ndarray) -> None:
    """Labels such as 0.02 and 300 on a logarithmic axis, the closer the fewer powers of ten it spans."""
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
