"""The picture of an exact optimum over the starts of its episodes."""

import functools
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from aljax.drawing import GRID, colours_of, label, legend_below, named_rows, pyplot, save
from aljax.errors import UserError
from aljax.exact import recursion
from aljax.exact.structure import Plan
from aljax.scenario import Scenario


def optimum(path: Path, scenario: Scenario, plan: Plan, start: Sequence[float]) -> None:
    """The optimal first action and the least expected cost over two coordinates of the start.

    Args:
      path: the PNG file.
      scenario: of at least two coordinates; shown are the two that start widest apart.
      plan: of its exact solution.
      start: the other coordinates' values; marked in the picture. d numbers

    Raises:
      UserError: see `check_optimum`.
    """
    check_optimum(scenario, plan)
    plt = pyplot()
    params, names = scenario.params, scenario.coordinate_names
    low, high = np.asarray(params.start_low), np.asarray(params.start_high)
    if params.start_points is not None:
        low, high = low + np.min(params.start_points, axis=0), high + np.max(params.start_points, axis=0)
    across, up = np.sort(np.argsort(low - high, kind="stable")[:2])
    sides = [np.linspace(low[i], high[i], GRID) for i in (across, up)]
    z = np.repeat(np.array(start, np.float32)[:, None], GRID * GRID, axis=1)
    z[across], z[up] = (side.ravel() for side in np.meshgrid(*sides))
    first = jax.jit(lambda params, z: recursion.choices(params, z, plan)[0, 0])
    row = np.array(plan.rows)[np.asarray(first(params, z))]
    value = np.asarray(jax.jit(functools.partial(recursion.solve, plan=plan))(params, z).value).reshape(GRID, GRID)

    named = named_rows(np.bincount(row, minlength=len(scenario.action_names)), unplayed=False)
    colours = colours_of(plt, named, len(scenario.action_names))
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 4.5), layout="constrained")
    extent = (sides[0][0], sides[0][-1], sides[1][0], sides[1][-1])
    axes[0].imshow(
        colours[row.reshape(GRID, GRID)], origin="lower", extent=extent, aspect="auto", interpolation="nearest"
    )
    legend_below(figure, plt, scenario, named, colours, others=bool(set(row.tolist()) - set(named)))
    axes[0].set_title("optimal first action", fontsize=9)
    drawn = axes[1].contourf(*sides, value, levels=16, cmap="viridis")
    figure.colorbar(drawn, ax=axes[1])
    axes[1].set_title("least expected cost from there", fontsize=9)
    for axis in axes:
        axis.plot(start[across], start[up], "x", color="black")
        axis.set(xlabel=label(names[across]), ylabel=label(names[up]))
    others = [f"{label(name)} {value:.3g}" for i, (name, value) in enumerate(zip(names, start, strict=True))
              if i not in (across, up)]  # fmt: skip
    figure.suptitle(
        f"{label(scenario.name)}: where an episode may start" + (f", {', '.join(others)}" if others else "")
    )
    save(figure, path, plt)


def check_optimum(scenario: Scenario, plan: Plan) -> None:
    """Refuses what `optimum` cannot draw, before the work.

    Args:
      scenario: to be drawn.
      plan: of its exact solution.

    Raises:
      UserError: no matplotlib, a task of one coordinate, or tables that do not fit in memory.
    """
    pyplot()
    if len(scenario.coordinate_names) < 2:
        raise UserError(f"{scenario.name}: a picture of the starts needs two coordinates, the task has one")
    if plan.predicted_bytes(GRID * GRID, tables=True) > plan.memory_limit:
        raise UserError(f"{scenario.name}: the exact policy's tables for a picture do not fit in memory")
