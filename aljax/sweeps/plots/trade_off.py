"""Mean cost against what it is traded for: CVaR, or a component that promises bound."""

from pathlib import Path

from aljax.drawing import pyplot, save
from aljax.sweeps.pareto import against_cost, trade_off
from aljax.sweeps.plots.frame import GREY, some, title
from aljax.sweeps.results import Results


def trade_offs(path: Path, results: Results) -> None:
    """A panel for each column that the mean cost is traded for, and the front that no configuration beats.

    Args:
      path: the PNG file.
      results: of a sweep with such columns.
    """
    plt, columns = pyplot(), against_cost(results)
    figure, axes = plt.subplots(
        1, len(columns), figsize=(4.6 * len(columns) + 0.8, 3.9), squeeze=False, layout="constrained"
    )
    for axis, column in zip(axes[0], columns, strict=True):
        points, front = trade_off(results, column)
        shown = points[some(len(points))]
        axis.plot(shown[:, 1], shown[:, 0], "o", color=GREY, ms=4, alpha=0.6, mew=0, label="a configuration")
        on = points[front][points[front][:, 1].argsort()]
        axis.step(on[:, 1], on[:, 0], where="post", color="C0", lw=1, marker="o", ms=5, label="Pareto front")
        axis.set(xlabel=column, ylabel="mean cost")
        axis.set_title("↙ better", fontsize=8, loc="right", color=GREY)
    axes[0, 0].legend(fontsize=8, frameon=False)
    figure.suptitle(title(results, f"mean cost against {', '.join(columns)}"))
    save(figure, path, plt)
