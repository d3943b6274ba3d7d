"""Draws the pictures that apply to a sweep, with matplotlib (the extra ``plot``)."""

from collections.abc import Callable
from pathlib import Path

from aljax.drawing import draw_all
from aljax.sweeps.pareto import against_cost, over_weights
from aljax.sweeps.plots.axes import against_axes
from aljax.sweeps.plots.curves import learning_curves
from aljax.sweeps.plots.frame import best_of, means
from aljax.sweeps.plots.heat_map import heat_map, two_most_important
from aljax.sweeps.plots.pareto import pareto
from aljax.sweeps.plots.trade_off import trade_offs
from aljax.sweeps.results import Results


def draw(folder: Path, results: Results) -> list[str]:
    """Draws what applies to a sweep.

    Args:
      folder: where to put the files.
      results: of a sweep.

    Returns:
      A complaint a picture that could not be drawn; there is none to draw where all configurations diverged.
    """
    if best_of(means(results, "cost")) is None:
        return []
    drawings: dict[Path, Callable[[Path], None]] = {
        folder / "axes.png": lambda path: against_axes(path, results),
        folder / "learning_curves.png": lambda path: learning_curves(path, results),
    }
    if len(results.spec.axes) > 1:
        drawings[folder / "heat_map.png"] = lambda path: heat_map(path, results, *two_most_important(results))
    if over_weights(results):
        drawings[folder / "pareto.png"] = lambda path: pareto(path, results)
    if against_cost(results):
        drawings[folder / "trade_offs.png"] = lambda path: trade_offs(path, results)
    return draw_all(drawings)
