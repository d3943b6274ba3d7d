"""One row of a sweep trained again, alone, with its policy."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aljax.errors import UserError, one_line, plain, plain_path
from aljax.learner import Watch, refuse_failed
from aljax.options import Protocol
from aljax.policy import learned_of
from aljax.sweeps.gathered import played_arrays
from aljax.sweeps.identity import about, recorded_lanes
from aljax.sweeps.programs import Shape, make_mesh, numpy_row, training_program
from aljax.sweeps.reader import restored_spec
from aljax.sweeps.resolve import Job, Resolver
from aljax.sweeps.results import Results, column, row_figures
from aljax.sweeps.space import Spec, Value
from aljax.sweeps.store import Store
from aljax.sweeps.tables import read_results
from aljax.sweeps.work import Work
from aljax.train import Curve
from aljax.training import Trained


@dataclasses.dataclass(frozen=True)
class Row:
    """One run of a sweep."""

    folder: Path
    number: int
    spec: Spec
    lanes: int
    point: tuple[Value, ...]
    job: Job

    @property
    def protocol(self) -> Protocol:
        """This row's seed alone."""
        seed = self.spec.protocol.first_seed + self.number % self.spec.protocol.seeds
        return dataclasses.replace(self.spec.protocol, seeds=1, first_seed=seed)


def read_row(folder: str | Path, number: int) -> Row:
    """A row of a sweep folder, finished or not.

    Args:
      folder: of the sweep.
      number: of the row, from 0.

    Returns:
      What was, or will be, trained there.

    Raises:
      UserError: no such row, or no sweep folder of these versions.
    """
    folder = Path(folder)
    held = about(folder)["sweep"]
    try:
        spec = restored_spec(held, str(folder))
        if not isinstance(held["scenarios"], dict) or not all(isinstance(x, str) for x in held["scenarios"].values()):
            raise TypeError("scenarios: expected the text of each")
        resolver = Resolver(spec, held["scenarios"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{plain_path(folder)}: not a sweep folder of this version: {plain(one_line(error), 200)}"
        ) from None
    # What was begun where numbers come out otherwise cannot be repeated exactly.
    lanes = recorded_lanes(folder, spec, held["scenarios"])
    assert lanes is not None
    if Store(folder).complete:  # before the work, not when the row is compared
        Store(folder).verify()
    seeds = spec.protocol.seeds
    if spec.adaptive:
        points = _points(read_results(folder, spec)) if Store(folder).complete else []
        if not points:
            raise UserError(f"{plain_path(folder)}: the search is not complete: its rows are not numbered yet")
    else:
        points = spec.points()
    if not 0 <= number < len(points) * seeds:
        raise UserError(f"--row: {folder} has rows 0 to {len(points) * seeds - 1}, got {number}")
    point = points[number // seeds]
    return Row(folder, number, spec, lanes, point, resolver.job(point))


def _points(found: Results) -> list[tuple[Value, ...]]:
    """The points of a finished search, from its table."""
    columns = []
    for axis in found.spec.axes:
        values = found.values(axis.key)
        if axis.choices:
            shown = column(axis.choices).tolist()
            columns.append([axis.choices[shown.index(value)] for value in values.tolist()])
        else:
            columns.append(values.tolist())
    return list(zip(*columns, strict=True))


def train_row(row: Row) -> tuple[Trained, dict[str, float]]:
    """Trains a row again: the sweep's program, all of its lanes filled with this row.

    Args:
      row: from `read_row`.

    Returns:
      The policy and its curve, leading axis 1, and the evaluation's figures as the sweep's table has them.
    """
    work = Work(dataclasses.replace(row.spec, protocol=row.protocol, optimum=False))
    work.add_job(row.point, row.job)
    given = work.training([0])
    shape = Shape.of(row.job.scenario, row.job.config)
    mesh = make_mesh(1)
    program = training_program(shape, mesh, row.lanes, row.protocol.evaluation_episodes, numpy_row(given, 0))
    begun = time.perf_counter()
    result = program.fetch(program(given, np.int32(shape.config.updates)), 1)
    seconds = {"compile": program.seconds, "train": time.perf_counter() - begun}
    policy = learned_of(shape.config, row.job.scenario.params, result.variables)
    policy = jax.tree.map(jax.numpy.asarray, policy)
    figures = {name: float(values[0]) for name, values in played_arrays(result.played).items()}
    return Trained(policy, Curve(*result.curve), seconds), figures


class RowLearner:
    """A row of a sweep as an `aljax.learner.Learner`: what it learns is the row's policy, bit for bit."""

    def __init__(self, row: Row) -> None:
        self.scenario, self.config, self.hyperparameters = row.job.scenario, row.job.config, row.job.hyperparameters
        self.row, self.protocol = row, row.protocol
        self.figures: dict[str, float] = {}
        """The evaluation as the sweep's table has it, once it has learned."""

    @property
    def episodes(self) -> int:
        """Played by its seed."""
        return self.config.updates * self.config.batch

    def learn(self, watch: Watch) -> Trained:
        """Trains the row again; nothing is told meanwhile."""
        del watch
        trained, self.figures = train_row(self.row)
        refuse_failed(trained)
        return trained

    def to_json(self) -> None:
        """Trained online from scratch."""


def recorded(row: Row) -> dict[str, Any] | None:
    """The row's figures in the sweep's table.

    Args:
      row: from `read_row`.

    Returns:
      A number by the names in `row_figures`; None where the sweep is not complete.

    Raises:
      UserError: the table is damaged.
    """
    if not Store(row.folder).complete:
        return None
    table = read_results(row.folder, row.spec).table
    return {name: float(table[name][row.number]) for name in row_figures(row.spec)}
