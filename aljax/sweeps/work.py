"""A sweep's work, resolved: rows of the table, what each is given, and how they are dealt out to programs."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from aljax import env
from aljax.env import EnvParams
from aljax.exact.bracket import find_optimal
from aljax.exact.fitting import plan_key
from aljax.learning import risk
from aljax.options import TrainConfig
from aljax.scenario import Scenario
from aljax.seeds import EVALUATION, TRAINING, seed_keys
from aljax.sweeps import programs
from aljax.sweeps.programs import Shape, SolveInput, Solving, TrainInput
from aljax.sweeps.resolve import Job, Resolver
from aljax.sweeps.space import Spec, Value


@dataclasses.dataclass(frozen=True)
class Environment:
    """One environment, which several configurations may share."""

    scenario: Scenario
    params: EnvParams
    """NumPy arrays."""
    solving: Solving | None
    """The structure of its exact optimum; None: there is none."""
    reason: str
    """Why there is none."""


class Work:
    """Configurations and seeds as numbered rows: row r is configuration r // S, seed r % S.

    Likewise, pair p is environment p // S, seed p % S: what an exact optimum is computed for.
    """

    def __init__(self, spec: Spec, resolver: Resolver | None = None):
        self.spec, self.seeds = spec, spec.protocol.seeds
        self.resolver = resolver or Resolver(spec)
        self.points: list[tuple[Value, ...]] = []
        self.jobs: list[Job] = []
        self.environments: list[Environment] = []
        self.environment_of: list[int] = []
        self.shapes: list[Shape] = []
        self.shape_of: list[int] = []
        self._found: dict[Any, int] = {}
        self._solvings: dict[Any, tuple[Solving | None, str]] = {}
        self._shapes: dict[Shape, int] = {}
        self._keys = {
            stream: np.asarray(jax.random.key_data(seed_keys(spec.protocol, stream)))
            for stream in (TRAINING, EVALUATION)
        }

    def add(self, points: Sequence[tuple[Value, ...]]) -> None:
        """Adds configurations.

        Raises:
          UserError: a value that the scenario refuses, or an option out of range.
        """
        for point, job in zip(points, self.resolver.jobs(points), strict=True):
            self.add_job(point, job)

    def add_job(self, point: tuple[Value, ...], job: Job) -> None:
        """Adds a configuration that is resolved already."""
        environment = self._environment(job.scenario)
        shape = Shape.of(job.scenario, job.config)
        if shape not in self._shapes:
            self._shapes[shape] = len(self.shapes)
            self.shapes.append(shape)
        self.points.append(tuple(point))
        self.jobs.append(job)
        self.environment_of.append(environment)
        self.shape_of.append(self._shapes[shape])

    def _environment(self, scenario: Scenario) -> int:
        if id(scenario) not in self._found:  # the resolver keeps scenarios, so that equal ones are one
            solving, reason = None, "not asked for"
            if self.spec.optimum:
                solving, reason = self._solving(scenario)
            self._found[id(scenario)] = len(self.environments)
            params = jax.tree.map(np.asarray, scenario.params)
            self.environments.append(Environment(scenario, params, solving, reason))
        return self._found[id(scenario)]

    def _solving(self, scenario: Scenario) -> tuple[Solving | None, str]:
        """The structure of a scenario's optimum, or why there is none: found once for all that have the same."""
        key = (scenario.name, scenario.action_names, scenario.coordinate_names, plan_key(scenario.params))
        if key not in self._solvings:
            optimal, reason = find_optimal(scenario, dataclasses.replace(self.spec.protocol, seeds=1))
            fields = env.present(scenario.params)
            solving = None if optimal is None else Solving(optimal.plan, scenario.horizon, fields)
            self._solvings[key] = solving, reason
        return self._solvings[key]

    @property
    def rows(self) -> int:
        """Rows so far."""
        return len(self.jobs) * self.seeds

    @property
    def pairs(self) -> int:
        """Environments times seeds."""
        return len(self.environments) * self.seeds

    def rows_of(self, shape: int) -> np.ndarray:
        """The rows of a shape, ascending."""
        configurations = np.flatnonzero(np.array(self.shape_of, int) == shape)
        return (configurations[:, None] * self.seeds + np.arange(self.seeds)).ravel()

    @property
    def solvings(self) -> list[Solving]:
        """The structures of exact optima, in the order in which they are met."""
        return list(dict.fromkeys(e.solving for e in self.environments if e.solving is not None))

    def pairs_of(self, solving: Solving) -> np.ndarray:
        """The pairs of a structure, ascending."""
        environments = np.array([i for i, e in enumerate(self.environments) if e.solving == solving], int)
        return (environments[:, None] * self.seeds + np.arange(self.seeds)).ravel()

    def training(self, rows: Sequence[int] | np.ndarray) -> TrainInput:
        """What rows are given."""
        rows = np.asarray(rows)
        jobs = [self.jobs[row // self.seeds] for row in rows]
        params = [self.environments[self.environment_of[row // self.seeds]].params for row in rows]
        seeds = rows % self.seeds
        numbers = [risk.apart(job.config, job.hyperparameters)[1] for job in jobs]
        alpha = np.array([job.hyperparameters.alpha for job in jobs], np.float32) if self.spec.asks_tail else None
        keys = self._keys[TRAINING][seeds], self._keys[EVALUATION][seeds]
        return programs.train_inputs(params, numbers, *keys, alpha)

    def solving(self, pairs: Sequence[int] | np.ndarray) -> SolveInput:
        """What pairs are given."""
        pairs = np.asarray(pairs)
        params = [self.environments[pair // self.seeds].params for pair in pairs]
        return SolveInput(self._keys[EVALUATION][pairs % self.seeds], programs.stack(params))

    def config_of(self, row: int) -> TrainConfig:
        """The static configuration of a row."""
        return self.jobs[row // self.seeds].config


def batches(items: np.ndarray, done: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """What is not done yet, `size` at a time.

    Args:
      items: numbers of rows or pairs.
      done: whether each of all is done.
      size: at a time.

    Yields:
      Numbers, `size` of them but for the last time.
    """
    left = items[~done[items]]
    for start in range(0, len(left), size):
        yield left[start : start + size]
