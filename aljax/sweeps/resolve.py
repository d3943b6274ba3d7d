"""From a point of a sweep to what is trained there: the scenario, and the options."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from aljax.checks import check
from aljax.errors import UserError, listed, plain
from aljax.host import toml
from aljax.options import Hyperparameters, TrainConfig
from aljax.scenario import Scenario, parse_scenario, read_scenario
from aljax.sweeps.space import CONFIG_FIELDS, NUMBER_FIELDS, Spec, Value


@dataclasses.dataclass(frozen=True)
class Job:
    """One configuration, resolved: what the runs of all its seeds share."""

    scenario: Scenario
    config: TrainConfig
    hyperparameters: Hyperparameters


class Resolver:
    """Turns points into jobs. Scenarios are read once; equal changes to one are applied once."""

    def __init__(self, spec: Spec, texts: Mapping[str, str] | None = None):
        self.spec, self.keys = spec, [axis.key for axis in spec.axes]
        self._sources = {name: (Path(name).stem, name, text) for name, text in (texts or {}).items()}
        self._scenarios: dict[tuple[str, tuple[str, ...]], Scenario] = {}

    def job(self, point: Sequence[Value]) -> Job:
        """The configuration at a point.

        Raises:
          UserError: a value out of range, or what it makes of the scenario.
        """
        values = dict(self.spec.fixed) | dict(zip(self.keys, point, strict=True))
        name = str(values.pop("scenario", self.spec.scenario))
        config = TrainConfig(**{key: _frozen(values.pop(key)) for key in CONFIG_FIELDS if key in values})
        numbers = Hyperparameters(**{key: float(values.pop(key)) for key in NUMBER_FIELDS if key in values})
        overrides = tuple(f"{key}={toml.dump(value)}" for key, value in values.items())
        try:
            check(config, numbers, self.spec.protocol)
            scenario = self._scenario(name, overrides)
            check(config, numbers, self.spec.protocol, scenario)
            return Job(scenario, config, numbers)
        except UserError as error:
            shown = (f"{key} = {plain(toml.dump(value))}" for key, value in zip(self.keys, point, strict=True))
            raise UserError(f"{self.spec.where}: at {listed(shown, 160) or 'the only point'}: {error}") from None

    def _scenario(self, name: str, overrides: tuple[str, ...]) -> Scenario:
        found = self._scenarios.get((name, overrides))
        if found is None:
            if name not in self._sources:
                self._sources[name] = read_scenario(name)
            stem, where, text = self._sources[name]
            found = parse_scenario(text, name=stem, where=where, overrides=overrides)
            self._scenarios[name, overrides] = found
        return found


def _frozen(value: Value) -> Value:
    return tuple(value) if isinstance(value, list) else value
