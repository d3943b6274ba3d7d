"""Mean cost over two axes of a sweep."""

from pathlib import Path
from typing import Any

import numpy as np

from aljax.drawing import label, pyplot, save
from aljax.sweeps.plots.frame import MAP, VERMILLION, best_of, currency, means, plain_log, title, top_of, wide
from aljax.sweeps.plots.scale import Scale, scale_of
from aljax.sweeps.report import by_importance, number
from aljax.sweeps.results import Results


def two_most_important(results: Results) -> tuple[str, str]:
    """The keys of the two axes, of at least two, that explain most of the cost, the first most.

    Args:
      results: of a sweep.

    Returns:
      Two keys.
    """
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
    cost = means(results, "cost")
    bins = max(2, int(np.sqrt(len(cost) / 2)))
    across, up = scale_of(results, first, bins), scale_of(results, second, bins)
    cells = _cell_means(cost, up, across)
    figure, axis = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
    known = cells[np.isfinite(cells)]
    norm = _norm(plt, known)
    drawn = axis.pcolormesh(
        across.edges, up.edges, np.ma.masked_invalid(cells), cmap=MAP, norm=norm, edgecolors="white", linewidth=0.5
    )
    beyond = "max" if (known > norm.vmax).any() else "neither"
    bar = figure.colorbar(drawn, ax=axis, label="mean cost" + currency(results), extend=beyond)
    if isinstance(norm, plt.matplotlib.colors.LogNorm):
        plain_log(bar.ax.yaxis, np.array([norm.vmin, norm.vmax]))
    across.set(axis, "x")
    up.set(axis, "y")
    best = best_of(cost)
    if max(across.bins, up.bins) <= 10:
        _write_cells(axis, across, up, cells, drawn, best)
    if best is not None:
        place = (across.position[best], up.position[best])
        told = f"best: configuration {best}, cost {number(cost[best])}"
        axis.plot(*place, "*", color=VERMILLION, ms=13, mec="white", mew=0.8, label=told, clip_on=False)
        figure.legend(fontsize=8, loc="outside lower center", frameon=False)
    if len("".join(across.labels)) > 60:
        axis.tick_params(axis="x", labelrotation=30)
    axis.set(xlabel=label(first), ylabel=label(second))
    blank = "" if np.isfinite(cells).all() else "; blank: none there"
    axis.set_title(title(results, "mean cost over two axes") + blank, fontsize=9)
    save(figure, path, plt)


def _cell_means(cost: np.ndarray, up: Scale, across: Scale) -> np.ndarray:
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
    low, high = values.min(), min(values.max(), top_of(values))
    kind = plt.matplotlib.colors.LogNorm if wide(values[values <= high], 4) else plt.Normalize
    return kind(low, high if high > low else low + 1)


def _write_cells(axis: Any, across: Scale, up: Scale, cells: np.ndarray, drawn: Any, best: int | None) -> None:
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
