"""From points of a sweep to what is trained there: the scenarios, and the options."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aljax import env
from aljax.checks import check
from aljax.errors import UserError, listed, plain
from aljax.host import toml
from aljax.options import Hyperparameters, TrainConfig
from aljax.overrides import Override
from aljax.scenario import Scenario, Source, read_scenario
from aljax.sweeps.space import CONFIG_FIELDS, NUMBER_FIELDS, Spec, Value


@dataclasses.dataclass(frozen=True)
class Job:
    """One configuration, resolved: what the runs of all its seeds share."""

    scenario: Scenario
    config: TrainConfig
    hyperparameters: Hyperparameters


class Resolver:
    """Turns points into jobs. Files are read once; what is equal in several points is made and checked once."""

    def __init__(self, spec: Spec, texts: Mapping[str, str] | None = None):
        self.spec, self.keys = spec, [axis.key for axis in spec.axes]
        self._sources = {name: Source(Path(name).stem, name, text) for name, text in (texts or {}).items()}
        keys = [*spec.fixed, *self.keys]
        self._config = [(i, key) for i, key in enumerate(keys) if key in CONFIG_FIELDS]
        self._numbers = [(i, key) for i, key in enumerate(keys) if key in NUMBER_FIELDS]
        options = (*CONFIG_FIELDS, *NUMBER_FIELDS, "scenario")
        self._changes = [(i, key) for i, key in enumerate(keys) if key not in options]
        self._name = keys.index("scenario") if "scenario" in keys else None
        self._scenarios: dict[tuple[str, str], Scenario] = {}
        self._options: dict[str, tuple[TrainConfig, Hyperparameters]] = {}
        self._passed: set[Any] = set()

    def job(self, point: Sequence[Value]) -> Job:
        """The configuration at a point. See `jobs`."""
        return self.jobs([point])[0]

    def jobs(self, points: Sequence[Sequence[Value]]) -> list[Job]:
        """The configurations at some points.

        Args:
          points: values of the axes, in their order.

        Returns:
          A job a point.

        Raises:
          UserError: a value out of range, or what it makes of the scenario; of the first point that has one.
        """
        found = [(*self.spec.fixed.values(), *point) for point in points]
        self._read_together(found)
        return [self._job(point, values) for point, values in zip(points, found, strict=True)]

    def _job(self, point: Sequence[Value], values: Sequence[Value]) -> Job:
        written = repr([values[i] for i, _ in (*self._config, *self._numbers)])
        if written not in self._options:
            config = TrainConfig(**{key: _frozen(values[i]) for i, key in self._config})
            self._options[written] = config, Hyperparameters(**{key: float(values[i]) for i, key in self._numbers})
        config, numbers = self._options[written]
        try:
            self._check(written, config, numbers)
            scenario = self._scenario(values)
            self._check(written, config, numbers, scenario)
            return Job(scenario, config, numbers)
        except UserError as error:
            shown = (f"{key} = {plain(toml.dump(value))}" for key, value in zip(self.keys, point, strict=True))
            raise UserError(f"{self.spec.where}: at {listed(shown, 160) or 'the only point'}: {error}") from None

    def _check(
        self, written: str, config: TrainConfig, numbers: Hyperparameters, scenario: Scenario | None = None
    ) -> None:
        """Options are checked once for scenarios of each size."""
        size = scenario and (scenario.horizon, env.num_actions(scenario.params), env.num_coordinates(scenario.params))
        if config.environments != "point":
            raise UserError(
                "environments: the runs of a sweep play in the environment of their numbers: expected point"
            )
        if (written, size) not in self._passed:
            check(config, numbers, self.spec.protocol, scenario)
            self._passed.add((written, size))

    def _place(self, values: Sequence[Value]) -> tuple[str, str]:
        """Where a point's scenario is kept: its name, and what is changed in it."""
        name = self.spec.scenario if self._name is None else str(values[self._name])
        return name, repr([values[i] for i, _ in self._changes])

    def _source(self, name: str) -> Source:
        if name not in self._sources:
            self._sources[name] = read_scenario(name)
        return self._sources[name]

    def _scenario(self, values: Sequence[Value]) -> Scenario:
        place = self._place(values)
        if place not in self._scenarios:
            changes = [Override(key, values[i]) for i, key in self._changes]
            self._scenarios[place] = self._source(place[0]).scenario(changes)
        return self._scenarios[place]

    def _read_together(self, found: Sequence[Sequence[Value]]) -> None:
        """Reads the scenarios of points at once. One that cannot be is left out: reading it alone says why."""
        new: dict[str, dict[tuple[str, str], list[Value]]] = {}
        for values in found:
            place = self._place(values)
            if place not in self._scenarios:
                new.setdefault(place[0], {}).setdefault(place, [values[i] for i, _ in self._changes])
        for name, rows in new.items():
            try:
                source = self._source(name)
            except UserError:
                continue
            made = source.scenarios([key for _, key in self._changes], list(rows.values()))
            self._scenarios |= {place: each for place, each in zip(rows, made, strict=True) if each is not None}


def _frozen(value: Value) -> Value:
    return tuple(value) if isinstance(value, list) else value
