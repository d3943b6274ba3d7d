"""A sweep's results: one table with a row a run, learning curves, and what they say about the axes."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aljax.env import COMPONENTS
from aljax.errors import UserError, one_line, plain, plain_path
from aljax.host import files
from aljax.statistics import Interval, explained_variance, mean_interval
from aljax.sweeps.plan import CURVE_POINTS, curve_points
from aljax.sweeps.space import Spec, Value
from aljax.sweeps.store import CURVES, TABLE, Store
from aljax.sweeps.work import Work
from aljax.train import Curve

FIGURES = ("cost", "success", *COMPONENTS)
"""What is measured of a run; with ``optimal_`` before it, of the exact optimum on the same starts and luck."""


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
        """Rows whose weights are not finite."""
        return np.flatnonzero(self.table["diverged"])

    def by_configuration(self, column: str) -> np.ndarray:
        """A column as ``[configurations, S]``."""
        return self.table[column].reshape(-1, self.spec.protocol.seeds)

    def values(self, key: str) -> np.ndarray:
        """An axis's value for each configuration."""
        return self.table[key][:: self.spec.protocol.seeds]

    def best(self, count: int = 5) -> list["Ranked"]:
        """The configurations of least mean cost over seeds; those with a diverged run come last."""
        cost = self.by_configuration("cost")
        order = np.argsort(np.where(np.isfinite(cost).all(1), cost.mean(1), np.inf), kind="stable")[:count]
        return [self.ranked(int(index)) for index in order]

    def ranked(self, index: int) -> "Ranked":
        """One configuration's figures."""
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


class Gathered:
    """Results as they come in, an array a figure."""

    def __init__(self, work: Work):
        self.work, self.points = work, curve_points(work)
        self.row_done = np.zeros(work.rows, bool)
        self.pair_done = np.zeros(work.pairs, bool)
        rows, pairs = work.rows, work.pairs
        self.rows = _figures(rows) | {"finite": np.zeros(rows, bool)}
        self.pairs = _figures(pairs)
        shapes = {name: ((rows, self.points, 5) if name == "components" else (rows, self.points)) for name in CURVE}
        self.curves = {name: np.full(shape, np.nan, np.float32) for name, shape in shapes.items()}

    def put_rows(self, items: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes finished runs in, as `training_arrays` gives them.

        Raises:
          ValueError: they are not of this sweep.
        """
        many = _checked(items, len(self.row_done))
        for name, values in self.rows.items():
            _check(name, arrays, (many,), values.dtype)
        for name, values in self.curves.items():
            points = _points(f"curve_{name}", arrays, self.points)
            _check(f"curve_{name}", arrays, (many, points, *values.shape[2:]), values.dtype)
        for name, values in self.rows.items():
            values[items] = arrays[name]
        for name, values in self.curves.items():
            given = arrays[f"curve_{name}"]
            values[items, : given.shape[1]] = given
        self.row_done[items] = True

    def put_pairs(self, items: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes finished optima in.

        Raises:
          ValueError: they are not of this sweep.
        """
        many = _checked(items, len(self.pair_done))
        for name, values in self.pairs.items():
            _check(name, arrays, (many,), values.dtype)
        for name, values in self.pairs.items():
            values[items] = arrays[name]
        self.pair_done[items] = True

    def put_results(self, found: Results) -> None:
        """Takes in what is complete."""
        pair = self.pair
        for name in FIGURES:
            self.rows[name][:] = found.table[name]
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
        """The table and the curves."""
        work, seeds = self.work, self.work.seeds
        configuration, seed = np.divmod(np.arange(work.rows), seeds)
        table: dict[str, np.ndarray] = {"row": np.arange(work.rows), "configuration": configuration, "seed": seed}
        for position, axis in enumerate(work.spec.axes):
            table[axis.key] = column([point[position] for point in work.points])[configuration]
        finite = self.rows["finite"] & np.isfinite(self.rows["cost"])
        table |= {name: np.where(finite, self.rows[name], np.nan) for name in FIGURES}
        table["diverged"] = ~finite
        table |= {f"optimal_{name}": self.pairs[name][self.pair] for name in FIGURES}
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = 100 * (table["cost"] / table["optimal_cost"] - 1)
        table["gap_percent"] = np.where(np.isfinite(gap), gap, np.nan)
        return Results(work.spec, table, self.curves)


CURVE = (*Curve._fields, "episodes")


def _checked(items: np.ndarray, most: int) -> int:
    """How many items are given; each is one of so many, and there once."""
    if items.ndim != 1 or items.dtype.kind not in "iu" or not len(items):
        raise ValueError("items are not whole numbers")
    if items.min() < 0 or items.max() >= most or len(np.unique(items)) < len(items):
        raise ValueError(f"items are not some of 0 to {most - 1}")
    return len(items)


def _points(name: str, arrays: Mapping[str, np.ndarray], most: int = CURVE_POINTS) -> int:
    """The points that a curve has."""
    if name not in arrays or arrays[name].ndim < 2 or not 0 < arrays[name].shape[1] <= most:
        raise ValueError(f"{name}: no curves of at most {most} points")
    return arrays[name].shape[1]


def _check(name: str, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuses an array that is missing, or another than was written."""
    found = arrays.get(name)
    if found is None:
        raise ValueError(f"{name} is missing")
    if found.shape != shape or found.dtype != dtype:
        raise ValueError(f"{name}: {found.dtype} {list(found.shape)}, expected {dtype} {list(shape)}")


def _figures(count: int) -> dict[str, np.ndarray]:
    return {name: np.full(count, np.nan) for name in FIGURES}


def played_arrays(played: Any) -> dict[str, np.ndarray]:
    """What is kept of evaluations: an array a figure."""
    found = {"cost": played.cost, "success": played.success}
    found |= {name: played.components[:, k] for k, name in enumerate(COMPONENTS)}
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def training_arrays(result: Any, batch: int, points: int) -> dict[str, np.ndarray]:
    """What is kept of training runs: their evaluations, and curves of at most so many points."""
    found = played_arrays(result.played) | {"finite": np.asarray(result.finite)}
    updates = result.curve.cost.shape[1]
    edges = np.linspace(0, updates, min(points, updates) + 1).astype(int)
    for name in Curve._fields:
        values = np.asarray(getattr(result.curve, name), np.float64)
        sums = np.add.reduceat(values, edges[:-1], axis=1)
        counts = np.diff(edges).reshape(1, -1, *[1] * (values.ndim - 2))
        found[f"curve_{name}"] = (sums / counts).astype(np.float32)
    found["curve_episodes"] = np.broadcast_to(np.float32(edges[1:] * batch), found["curve_cost"].shape)
    return found


def column(values: Sequence[Value]) -> np.ndarray:
    """An axis's values as an array: numbers or truths where all are, else text."""
    if all(isinstance(value, bool) for value in values):
        return np.array(values, bool)
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return np.array(values)
    return np.array([value if isinstance(value, str) else json.dumps(value) for value in values])


def check_parquet() -> Any:
    """The Parquet of pyarrow, or a plain word about how to get it."""
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise UserError("results are kept as Parquet, which needs pyarrow: pip install 'aljax[sweep]'") from None
    return pyarrow


def write(results: Results, folder: Path) -> None:
    """Writes the table and the curves, each whole or not at all."""
    pyarrow = check_parquet()
    columns = {}
    for name, values in results.table.items():
        missing = np.isnan(values) if values.dtype.kind == "f" else None
        columns[name] = pyarrow.array(values.tolist() if values.dtype.kind == "U" else values, mask=missing)
    with files.whole_file(folder / TABLE) as file:
        pyarrow.parquet.write_table(pyarrow.table(columns), file)
    with files.whole_file(folder / CURVES) as file:
        np.savez(file, allow_pickle=False, **dict(results.curves))


def read(folder: Path, spec: Spec) -> Results:
    """Reads what `write` wrote, once the manifest says that it is complete.

    Raises:
      UserError: a file that is missing or damaged.
    """
    pyarrow = check_parquet()
    Store(folder).verify()
    path = folder / TABLE
    try:
        found = pyarrow.parquet.read_table(path)
        table = {}
        for name in found.column_names:
            values = found.column(name)
            text = pyarrow.types.is_string(values.type)
            table[name] = np.array(values.to_pylist()) if text else values.to_numpy()
        _check_table(table, spec)
        path = folder / CURVES
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            curves = {name: arrays[name] for name in arrays.files}
        for name in CURVE:
            shape = (spec.runs, _points("cost", curves), *((5,) if name == "components" else ()))
            _check(name, curves, shape, np.dtype(np.float32))
    except Exception as error:  # pyarrow, zipfile and numpy raise a wide variety
        raise UserError(f"{plain_path(path)}: cannot be read: {plain(one_line(error), 200)}") from None
    return Results(spec, table, curves)


def _check_table(table: Mapping[str, np.ndarray], spec: Spec) -> None:
    """Refuses a table that is not a sweep's."""
    rows = (spec.runs,)
    numbers = [*FIGURES, *(f"optimal_{name}" for name in FIGURES), "gap_percent"]
    for name in numbers:
        _check(name, table, rows, np.dtype(np.float64))
    _check("diverged", table, rows, np.dtype(bool))
    for name in ("row", "configuration", "seed"):
        _check(name, table, rows, np.dtype(np.int64))
    configuration, seed = np.divmod(np.arange(spec.runs), spec.protocol.seeds)
    for name, expected in {"row": np.arange(spec.runs), "configuration": configuration, "seed": seed}.items():
        if not np.array_equal(table[name], expected):
            raise ValueError(f"{name}: not that of a sweep")
    for name in FIGURES:
        if not np.isfinite(table[name][~table["diverged"]]).all():
            raise ValueError(f"{name}: not finite in a run that did not diverge")
    points = None if spec.adaptive else spec.points()
    for place, axis in enumerate(spec.axes):
        values = table.get(axis.key)
        if values is None or values.shape != rows:
            raise ValueError(f"{axis.key}: expected a value a row")
        if points is not None:
            right = np.array_equal(values, column([point[place] for point in points])[configuration])
        elif axis.choices:
            right = np.isin(values, column(axis.choices)).all()
        else:
            right = values.dtype.kind in "iuf" and ((values >= axis.low) & (values <= axis.high)).all()
        if not right:
            raise ValueError(f"{axis.key}: not the axis's values")
