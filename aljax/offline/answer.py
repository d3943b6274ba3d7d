"""What logs say about a policy: estimates with their intervals, and what to think of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from aljax.statistics import Interval


@dataclasses.dataclass(frozen=True)
class Estimate:
    """One estimator's answer."""

    interval: Interval | None
    """At the 95 % level; None: refused."""
    refused: str = ""
    """Why."""

    def to_json(self) -> dict[str, Any]:
        """For files.

        Returns:
          A table of plain values; an interval is its ``estimate``, ``low`` and ``high``.
        """
        return {"refused": self.refused} if self.interval is None else dict(self.interval.to_json())


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the logs say about a policy."""

    estimates: Mapping[str, Mapping[str, Estimate]]
    """By outcome, then by estimator."""
    logged: Mapping[str, Interval]
    """What the loggers' own episodes came to on average, by outcome."""
    episodes: int
    tasks: int
    effective_tasks: Mapping[str, float]
    """How many tasks the weights are worth at the step where they are worth least, by kind: ``own``, ``balanced``."""
    mean_weight: Mapping[str, Interval]
    """Of whole episodes; 1 in expectation where the logs cover the policy."""
    unlogged: float
    """Share of the policy's choices, at logged steps, that the logs hardly have there."""
    fitted: tuple[int, ...]
    """Loggers whose probabilities were fitted, for want of logged ones."""
    warnings: tuple[str, ...]
    """In plain words."""

    def to_json(self) -> dict[str, Any]:
        """For files.

        Returns:
          A table of plain values; an interval is its ``estimate``, ``low`` and ``high``.
        """
        return {
            "estimates": {
                outcome: {name: found.to_json() for name, found in by_name.items()}
                for outcome, by_name in self.estimates.items()
            },
            "logged": {name: interval.to_json() for name, interval in self.logged.items()},
            "episodes": self.episodes,
            "tasks": self.tasks,
            "effective_tasks": dict(self.effective_tasks),
            "mean_weight": {name: interval.to_json() for name, interval in self.mean_weight.items()},
            "unlogged": self.unlogged,
            "warnings": list(self.warnings),
        }
