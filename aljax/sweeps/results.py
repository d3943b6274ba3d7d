"""A sweep's results: one table with a row a run, learning curves, and what they say about the axes."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aljax.env import COMPONENTS
from aljax.learning.run_state import CURVES
from aljax.statistics import Interval, explained_variance, mean_interval
from aljax.sweeps.space import Spec, Value

FIGURES = ("cost", "success", *COMPONENTS)
"""What is measured of a run; with ``optimal_`` before it, of the exact optimum on the same starts and luck."""
CVAR = "cvar"
"""What is measured of a run besides, where `Spec.asks_tail`: of its total cost, at its α."""
CURVE = (*CURVES, "episodes")
"""What a learning curve holds at each of its points."""


def row_figures(spec: Spec) -> tuple[str, ...]:
    """What is measured of a sweep's runs.

    Args:
      spec: the sweep.

    Returns:
      `FIGURES`, and where tails are asked for `CVAR`.
    """
    return (*FIGURES, CVAR) if spec.asks_tail else FIGURES


@dataclasses.dataclass(frozen=True)
class Results:
    """Everything that a sweep found."""

    spec: Spec
    table: Mapping[str, np.ndarray]
    """Columns of equal length, a row a run; see docs/reference/sweep_files.md. NaN: not known, or the run diverged."""
    curves: Mapping[str, np.ndarray]
    """Learning curves, ``[R, P, ...]``; ``episodes``: how many had been played. NaN where a run has fewer points."""

    @property
    def diverged(self) -> np.ndarray:
        """Rows whose weights are not finite. ``[at most R]``"""
        return np.flatnonzero(self.table["diverged"])

    def by_configuration(self, column: str) -> np.ndarray:
        """A column of the table as ``[C, S]``: configurations, seeds."""
        return self.table[column].reshape(-1, self.spec.protocol.seeds)

    def values(self, key: str) -> np.ndarray:
        """An axis's value for each configuration. ``[C]``"""
        return self.table[key][:: self.spec.protocol.seeds]

    def best(self, count: int = 5) -> list["Ranked"]:
        """The `count` configurations of least mean cost over seeds, best first; those with a diverged run come last."""
        cost = self.by_configuration("cost")
        order = np.argsort(np.where(np.isfinite(cost).all(1), cost.mean(1), np.inf), kind="stable")[:count]
        return [self.ranked(int(index)) for index in order]

    def ranked(self, index: int) -> "Ranked":
        """One configuration's figures, by its place in the table."""
        figures = {name: mean_interval(self.by_configuration(name)[index][:, None], True) for name in FIGURES}
        gap = self.by_configuration("gap_percent")[index]
        known = bool(np.isfinite(gap).all())
        return Ranked(
            configuration=index,
            point={axis.key: self.values(axis.key)[index] for axis in self.spec.axes},
            figures=figures,
            gap=mean_interval(gap[:, None], True) if known else None,
        )

    def to_json(self) -> dict[str, Any]:
        """What the terminal's summary shows, for files."""
        return {
            "runs": len(self.table["row"]),
            "diverged": self.diverged.tolist(),
            "best": [ranked.to_json() for ranked in self.best()],
            "importance": {key: None if np.isnan(x) else x for key, x in self.importance().items()},
        }

    def importance(self) -> dict[str, float]:
        """By how much each axis by itself explains the cost of configurations: a share of its variance."""
        cost = self.by_configuration("cost").mean(1)
        return {axis.key: explained_variance(self.values(axis.key), cost) for axis in self.spec.axes}


@dataclasses.dataclass(frozen=True)
class Ranked:
    """One configuration, over its seeds."""

    configuration: int
    point: Mapping[str, Any]
    """Of each axis, as NumPy has it."""
    figures: Mapping[str, Interval]
    """By the names in `FIGURES`."""
    gap: Interval | None
    """To the optimum, percent."""

    def to_json(self) -> dict[str, Any]:
        """For files."""
        found: dict[str, Any] = {
            "configuration": self.configuration,
            "point": {key: _plain_number(value.item()) for key, value in self.point.items()},
        }
        found |= {name: figure.to_json() for name, figure in self.figures.items()}
        return found | ({} if self.gap is None else {"gap_percent": self.gap.to_json()})


def _plain_number(value: Any) -> Any:
    """A value for JSON, which has no infinity: that as text."""
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def column(values: Sequence[Value]) -> np.ndarray:
    """An axis's values as the table holds them.

    Args:
      values: as TOML has them.

    Returns:
      Numbers or truths where all are, else text, lists as JSON. ``[N]``
    """
    if all(isinstance(value, bool) for value in values):
        return np.array(values, bool)
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return np.array(values)
    return np.array([value if isinstance(value, str) else json.dumps(value) for value in values])
