"""Which runs a sweep consists of: axes over anything, points on them, seeds.

An axis has the name of what it varies: a field of `TrainConfig` or `Hyperparameters`, ``scenario``, or any key of a
scenario that ``--set`` takes, such as ``weights.latency`` or ``actions.failure.search``. `aljax.sweeps.reader` makes a
sweep of a file, `aljax.sweeps.resolve` a run of a point.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.stats

from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.overrides import field_of
from aljax.scenario import read_scenario

SAMPLED = ("random", "sobol")
ADAPTIVE = ("tpe", "cma-es", "nsga-ii")
METHODS = ("grid", *SAMPLED, *ADAPTIVE)
"""How points are chosen: every combination; drawn; or by a search that looks at the results so far."""
MOST_RUNS = 1_000_000
"""Runs of one sweep at most."""

CONFIG_FIELDS = {field.name: field for field in dataclasses.fields(TrainConfig)}
"""Options that an axis may vary and that compile anew, by name."""
NUMBER_FIELDS = {field.name: field for field in dataclasses.fields(Hyperparameters)}
"""Options that an axis may vary and that a compiled program takes as numbers, by name."""

Value = Any
"""A TOML value: number, text, boolean or list."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """One thing that varies: over a list of values, or over a range."""

    key: str
    """What varies."""
    choices: tuple[Value, ...] = ()
    """The values; none: a range."""
    low: float = 0.0
    """The range's lower end, included."""
    high: float = 0.0
    """Its upper end, included."""
    log: bool = False
    """Even in the logarithm."""
    integer: bool = False
    """Whole numbers only."""
    steps: int = 0
    """How many values a grid takes; 0: it cannot."""

    @property
    def static(self) -> bool:
        """A new value may compile anew: it changes the shape of arrays, or the program."""
        structure = self.key.split(".")[0] == "rules" and field_of(self.key) is None
        return structure or self.key in ("scenario", "horizon", *CONFIG_FIELDS)

    @property
    def of_scenario(self) -> bool:
        """A new value makes another environment."""
        return self.key not in CONFIG_FIELDS and self.key not in NUMBER_FIELDS

    def at(self, u: float) -> Value:
        """The value at a share of the way.

        Args:
          u: the share, in [0, 1): uniform ones give uniform, or log-uniform, values.

        Returns:
          A choice, or a number of the range.
        """
        if self.choices:
            return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]
        low, high = (self.low - 0.5, self.high + 0.5) if self.integer else (self.low, self.high)
        if self.log:
            low = max(low, 0.5) if self.integer else low
            value = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
        else:
            value = low + u * (high - low)
        return self.clipped(value)

    def grid(self) -> tuple[Value, ...]:
        """All values that a grid takes, each once."""
        if self.choices:
            return self.choices
        space = np.geomspace if self.log else np.linspace
        found = [self.clipped(float(value)) for value in space(self.low, self.high, self.steps)]
        return tuple(dict.fromkeys(found))  # whole numbers may coincide

    def clipped(self, value: float) -> float | int:
        """A value as it is used: whole where it has to be, short, and inside the range."""
        value = round(value) if self.integer else float(f"{value:.7g}")  # single precision; short to read
        return min(max(value, self.low), self.high) if self.integer else float(min(max(value, self.low), self.high))

    def to_json(self) -> dict[str, Any]:
        """For the fingerprint."""
        return dataclasses.asdict(self) | {"choices": list(self.choices)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Axis":
        """Reads what `to_json` gave."""
        return dataclasses.replace(cls(**found), choices=tuple(found["choices"]))


@dataclasses.dataclass(frozen=True)
class Spec:
    """A sweep as its file says."""

    axes: tuple[Axis, ...]
    """What varies."""
    scenario: str = "paper"
    """Where, unless it is an axis."""
    fixed: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    """What is set to another value than its default, by key, for all runs."""
    method: str = "grid"
    """One of `METHODS`."""
    configurations: int = 0
    """Points to draw; a grid has its own number."""
    protocol: Protocol = dataclasses.field(default_factory=Protocol)
    """Seeds a configuration, and their evaluation."""
    optimum: bool = True
    """Compute the exact optimum of every environment where there is one."""
    where: str = "sweep"
    """Stands for the file in messages."""

    @property
    def adaptive(self) -> bool:
        """Points are chosen by what earlier ones came to."""
        return self.method in ADAPTIVE

    @property
    def asks_tail(self) -> bool:
        """CVaR at each row's α is a figure of the table: the objective or α is set or varies."""
        return not {"objective", "alpha"}.isdisjoint((*self.fixed, *(axis.key for axis in self.axes)))

    @functools.cached_property
    def count(self) -> int:
        """Configurations."""
        if self.method != "grid":
            return self.configurations
        return math.prod(len(axis.choices) or axis.steps for axis in self.axes)

    @property
    def runs(self) -> int:
        """Rows of the table: configurations times seeds."""
        return self.count * self.protocol.seeds

    def points(self) -> list[tuple[Value, ...]]:
        """The configurations, a value an axis; not for adaptive methods."""
        if self.method == "grid":
            return list(itertools.product(*(axis.grid() for axis in self.axes)))
        if self.method == "sobol":
            engine = scipy.stats.qmc.Sobol(len(self.axes), scramble=True, rng=np.random.default_rng(self.protocol.seed))
            # Whole powers of two are balanced; scipy warns of anything else.
            shares = engine.random_base2(max(0, math.ceil(math.log2(self.count))))[: self.count]
        else:
            shares = np.random.default_rng(self.protocol.seed).random((self.count, len(self.axes)))
        return [tuple(axis.at(float(u)) for axis, u in zip(self.axes, row, strict=True)) for row in shares]

    def fingerprint(self, texts: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What must be equal for results to belong to the same sweep.

        Args:
          texts: the scenarios' files by name, where they are not to be read anew.

        Returns:
          Values for JSON but for infinities; equal for equal sweeps.

        Raises:
          UserError: a scenario cannot be read.
        """
        sources = dict(texts) if texts else {name: read_scenario(name).text for name in self._scenarios()}
        return {
            "axes": [axis.to_json() for axis in self.axes],
            "scenario": self.scenario,
            "scenarios": sources,
            "set": dict(self.fixed),
            "method": self.method,
            "configurations": self.count,
            "protocol": dataclasses.asdict(self.protocol),
            "optimum": self.optimum,
        }

    def _scenarios(self) -> list[str]:
        named = [axis.choices for axis in self.axes if axis.key == "scenario"]
        return [str(name) for name in named[0]] if named else [self.scenario]
