"""Learning curves of a sweep's runs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aljax.drawing import pyplot, save
from aljax.sweeps.plots.frame import BLUE, ORANGE, VERMILLION, currency, known_level, means, plain_log, title, wide
from aljax.sweeps.results import Results


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
    level = known_level(means(results, "optimal_cost"))
    if len(curves):
        low, lower, middle, upper, high = _quantiles(curves, (0.1, 0.25, 0.5, 0.75, 0.9))
        axis.fill_between(episodes, low, high, color=BLUE, alpha=0.18, linewidth=0, label="10 to 90 % of the runs")
        axis.fill_between(episodes, lower, upper, color=BLUE, alpha=0.35, linewidth=0, label="25 to 75 %")
        axis.plot(episodes, middle, color=BLUE, linewidth=1.6, label="median")
        drawn = [low, high] + ([] if level is None else [np.array([level])])
        for name, index, colour, style in _extremes(results):
            rows = slice(index * results.spec.protocol.seeds, (index + 1) * results.spec.protocol.seeds)
            mean = _on_one_grid(results, rows)[1].mean(0)
            axis.plot(episodes, mean, style, color=colour, linewidth=1.6, label=f"{name}: configuration {index}")
            drawn.append(mean)
        values = np.concatenate(drawn)
        if wide(values[np.isfinite(values)], 30):
            axis.set_yscale("log")
            plain_log(axis.yaxis, values[np.isfinite(values)])
    if level is not None:
        axis.axhline(level, linestyle=":", linewidth=1.4, color="black", label="exact optimum, evaluated")
    axis.set(xlabel="training episodes", ylabel="cost while training" + currency(results))
    axis.set_xlim(0, np.nanmax(episodes, initial=1))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if axis.get_legend_handles_labels()[0]:
        figure.legend(ncols=3, fontsize=8, loc="outside lower center", frameon=False)
    axis.set_title(title(results, "learning curves"), fontsize=9)
    save(figure, path, plt)


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
    cost = means(results, "cost")
    if np.isfinite(cost).any():
        yield "best", int(np.nanargmin(cost)), ORANGE, "-"
    if np.isfinite(cost).sum() > 1:
        yield "worst", int(np.nanargmax(cost)), VERMILLION, "--"
