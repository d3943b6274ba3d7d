"""A sweep's results as they come in, and what of a program's output is kept as such."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aljax.env import COMPONENTS
from aljax.learning.run_state import CURVES
from aljax.sweeps.plan import CURVE_POINTS, curve_points
from aljax.sweeps.results import CURVE, CVAR, FIGURES, Results, column, row_figures
from aljax.sweeps.work import Work


class Gathered:
    """Results as they come in, an array a figure."""

    def __init__(self, work: Work):
        self.work, self.points = work, curve_points(work)
        self.row_done = np.zeros(work.rows, bool)
        self.pair_done = np.zeros(work.pairs, bool)
        rows, pairs = work.rows, work.pairs
        self.rows = _figures(rows, row_figures(work.spec)) | {"finite": np.zeros(rows, bool)}
        self.pairs = _figures(pairs, FIGURES)
        shapes = {name: ((rows, self.points, 5) if name == "components" else (rows, self.points)) for name in CURVE}
        self.curves = {name: np.full(shape, np.nan, np.float32) for name, shape in shapes.items()}

    def put_rows(self, items: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes finished runs in, as `training_arrays` gives them.

        Args:
          items: their rows. ``[N]``
          arrays: a figure ``[N]`` or a curve ``[N, P, ...]`` by its name.

        Raises:
          ValueError: they are not of this sweep.
        """
        many = _checked(items, len(self.row_done))
        for name, values in self.rows.items():
            check_array(name, arrays, (many,), values.dtype)
        for name, values in self.curves.items():
            points = curve_length(f"curve_{name}", arrays, self.points)
            check_array(f"curve_{name}", arrays, (many, points, *values.shape[2:]), values.dtype)
        for name, values in self.rows.items():
            values[items] = arrays[name]
        for name, values in self.curves.items():
            given = arrays[f"curve_{name}"]
            values[items, : given.shape[1]] = given
        self.row_done[items] = True

    def put_pairs(self, items: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes finished optima in, as `played_arrays` gives them.

        Args:
          items: their pairs of environment and seed. ``[N]``
          arrays: a figure by its name. ``[N]``

        Raises:
          ValueError: they are not of this sweep.
        """
        many = _checked(items, len(self.pair_done))
        for name, values in self.pairs.items():
            check_array(name, arrays, (many,), values.dtype)
        for name, values in self.pairs.items():
            values[items] = arrays[name]
        self.pair_done[items] = True

    def put_results(self, found: Results) -> None:
        """Takes in the results of the whole sweep."""
        pair = self.pair
        for name in row_figures(self.work.spec):
            self.rows[name][:] = found.table[name]
        for name in FIGURES:
            self.pairs[name][pair] = found.table[f"optimal_{name}"]
        self.rows["finite"][:] = ~found.table["diverged"]
        self.curves = dict(found.curves)
        self.row_done[:] = self.pair_done[:] = True

    @property
    def pair(self) -> np.ndarray:
        """The pair of environment and seed that each row belongs to. ``[R]``"""
        configuration, seed = np.divmod(np.arange(self.work.rows), self.work.seeds)
        return np.array(self.work.environment_of, int)[configuration] * self.work.seeds + seed

    def results(self) -> Results:
        """The table and the curves; NaN where a run diverged, or an optimum is not known."""
        work, seeds = self.work, self.work.seeds
        configuration, seed = np.divmod(np.arange(work.rows), seeds)
        table: dict[str, np.ndarray] = {"row": np.arange(work.rows), "configuration": configuration, "seed": seed}
        for position, axis in enumerate(work.spec.axes):
            table[axis.key] = column([point[position] for point in work.points])[configuration]
        finite = self.rows["finite"] & np.isfinite(self.rows["cost"])
        table |= {name: np.where(finite, self.rows[name], np.nan) for name in row_figures(work.spec)}
        table["diverged"] = ~finite
        table |= {f"optimal_{name}": self.pairs[name][self.pair] for name in FIGURES}
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = 100 * (table["cost"] / table["optimal_cost"] - 1)
        table["gap_percent"] = np.where(np.isfinite(gap), gap, np.nan)
        return Results(work.spec, table, self.curves)


def played_arrays(played: Any) -> dict[str, np.ndarray]:
    """What is kept of evaluations.

    Args:
      played: a `Played` of NumPy arrays, leading axis: runs or pairs. ``[N]``

    Returns:
      An array a figure, by the names in `FIGURES`, and `CVAR` where it was asked for. ``[N]``, double precision
    """
    found = {"cost": played.cost, "success": played.success}
    found |= {name: played.components[:, k] for k, name in enumerate(COMPONENTS)}
    found |= {} if played.tail is None else {CVAR: played.tail}
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def training_arrays(result: Any, batch: int, points: int) -> dict[str, np.ndarray]:
    """What is kept of training runs: their evaluations, and their curves thinned out to means over updates.

    Args:
      result: a `Result` of NumPy arrays, leading axis: runs. ``[N]``
      batch: episodes an update.
      points: of a curve, at most.

    Returns:
      Arrays by name: figures and ``finite`` ``[N]``, curves ``[N, P]`` or ``[N, P, 5]``.
    """
    found = played_arrays(result.played) | {"finite": np.asarray(result.finite)}
    updates = result.curve.cost.shape[1]
    edges = np.linspace(0, updates, min(points, updates) + 1).astype(int)
    for name in CURVES:
        values = np.asarray(getattr(result.curve, name), np.float64)
        sums = np.add.reduceat(values, edges[:-1], axis=1)
        counts = np.diff(edges).reshape(1, -1, *[1] * (values.ndim - 2))
        found[f"curve_{name}"] = (sums / counts).astype(np.float32)
    found["curve_episodes"] = np.broadcast_to(np.float32(edges[1:] * batch), found["curve_cost"].shape)
    return found


def curve_length(name: str, arrays: Mapping[str, np.ndarray], most: int = CURVE_POINTS) -> int:
    """The points that a curve has.

    Args:
      name: of the curve.
      arrays: hold it. ``[N, P, ...]``
      most: points at most.

    Returns:
      P.

    Raises:
      ValueError: there is no such curve, or it has too many points.
    """
    if name not in arrays or arrays[name].ndim < 2 or not 0 < arrays[name].shape[1] <= most:
        raise ValueError(f"{name}: no curves of at most {most} points")
    return arrays[name].shape[1]


def check_array(name: str, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuses an array that is missing, or another than was written.

    Args:
      name: of the array.
      arrays: hold it.
      shape: that it should have.
      dtype: likewise.

    Raises:
      ValueError: it is missing, or has another shape or type.
    """
    found = arrays.get(name)
    if found is None:
        raise ValueError(f"{name} is missing")
    if found.shape != shape or found.dtype != dtype:
        raise ValueError(f"{name}: {found.dtype} {list(found.shape)}, expected {dtype} {list(shape)}")


def _checked(items: np.ndarray, most: int) -> int:
    """How many items are given; each is one of so many, and there once."""
    if items.ndim != 1 or items.dtype.kind not in "iu" or not len(items):
        raise ValueError("items are not whole numbers")
    if items.min() < 0 or items.max() >= most or len(np.unique(items)) < len(items):
        raise ValueError(f"items are not some of 0 to {most - 1}")
    return len(items)


def _figures(count: int, names: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: np.full(count, np.nan) for name in names}
