"""A sweep's results on disk: the table as Parquet, the curves as NumPy's archive."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aljax.errors import UserError, one_line, plain, plain_path
from aljax.host import files
from aljax.sweeps.gathered import check_array, curve_length
from aljax.sweeps.results import CURVE, FIGURES, Results, column, row_figures
from aljax.sweeps.space import Spec
from aljax.sweeps.store import CURVES, TABLE, Store


def check_parquet() -> Any:
    """The package pyarrow, with its Parquet.

    Returns:
      The module.

    Raises:
      UserError: it is not installed; how to get it.
    """
    try:
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise UserError("results are kept as Parquet, which needs pyarrow: pip install 'aljax[sweep]'") from None
    return pyarrow


def write_results(results: Results, folder: Path) -> None:
    """Writes the table and the curves, each whole or not at all.

    Args:
      results: of a whole sweep.
      folder: of the sweep.

    Raises:
      UserError: they cannot be written, or pyarrow is missing.
    """
    pyarrow = check_parquet()
    columns = {}
    for name, values in results.table.items():
        missing = np.isnan(values) if values.dtype.kind == "f" else None
        columns[name] = pyarrow.array(values.tolist() if values.dtype.kind == "U" else values, mask=missing)
    with files.whole_file(folder / TABLE) as file:
        pyarrow.parquet.write_table(pyarrow.table(columns), file)
    with files.whole_file(folder / CURVES) as file:
        np.savez(file, allow_pickle=False, **dict(results.curves))


def read_results(folder: Path, spec: Spec) -> Results:
    """Reads what `write_results` wrote, once the manifest says that it is complete.

    Args:
      folder: of the sweep.
      spec: the sweep.

    Returns:
      The results.

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
            shape = (spec.runs, curve_length("cost", curves), *((5,) if name == "components" else ()))
            check_array(name, curves, shape, np.dtype(np.float32))
    except Exception as error:  # pyarrow, zipfile and numpy raise a wide variety
        raise UserError(f"{plain_path(path)}: cannot be read: {plain(one_line(error), 200)}") from None
    return Results(spec, table, curves)


def _check_table(table: Mapping[str, np.ndarray], spec: Spec) -> None:
    """Refuses a table that is not a sweep's."""
    rows = (spec.runs,)
    numbers = [*row_figures(spec), *(f"optimal_{name}" for name in FIGURES), "gap_percent"]
    for name in numbers:
        check_array(name, table, rows, np.dtype(np.float64))
    check_array("diverged", table, rows, np.dtype(bool))
    for name in ("row", "configuration", "seed"):
        check_array(name, table, rows, np.dtype(np.int64))
    configuration, seed = np.divmod(np.arange(spec.runs), spec.protocol.seeds)
    for name, expected in {"row": np.arange(spec.runs), "configuration": configuration, "seed": seed}.items():
        if not np.array_equal(table[name], expected):
            raise ValueError(f"{name}: not that of a sweep")
    for name in row_figures(spec):
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
