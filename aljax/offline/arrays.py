"""One logged episode under a scenario: checked, and as arrays of its steps."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from aljax import env, limits
from aljax.errors import listed, short
from aljax.logs.agent_log import CERTAIN, LEAST
from aljax.logs.episode import LoggedEpisode
from aljax.logs.fields import a_cost, expected, is_cost, is_number, shown
from aljax.scenario import Scenario

_VIOLATION = env.COMPONENTS.index("violation")
_MET = 1e-5
"""A violation so small was rounded, and stands for 0."""


@dataclasses.dataclass(frozen=True)
class EpisodeArrays:
    """What is kept of an episode of t steps."""

    observation: np.ndarray
    """``[t, O]``"""
    action: list[int]
    """``[t]``"""
    costs: np.ndarray
    """The five unweighted ones. ``[t, 5]``"""
    known: dict[str, np.ndarray]
    """Loggers' probabilities of what was played, by name, NaN where unknown. ``[t]`` each"""
    success: bool
    rows: Sequence[int]
    """Numbers of the steps' rows in the file, from 1, and last that of the end."""


class Converter:
    """Checks episodes against a scenario and turns them into arrays."""

    def __init__(self, scenario: Scenario):
        """For logs of this scenario."""
        self.scenario = scenario
        self.actions = {name: row for row, name in enumerate(scenario.action_names)}
        self.ends = np.asarray(scenario.params.actions.ends)
        self.weights = np.asarray(scenario.params.weights, np.float64)
        self.size = env.observation_size(scenario.params)
        rules = scenario.params.rules
        soft = [] if rules is None else [i for i, rule in enumerate(rules.structure.each) if not rule.hard]
        self.paid = float(np.asarray(rules.weight, np.float64)[soft].sum()) if rules is not None else 0.0
        """What soft rules can cost at most in an episode that is a success."""

    def arrays(self, episode: LoggedEpisode) -> EpisodeArrays:
        """An episode's arrays, checked.

        Args:
          episode: as it stood in the file.

        Returns:
          Its arrays.

        Raises:
          UserError: one line with file and row: no steps or too many, an action that the scenario does not have, an
            observation of another length, a cost that is missing, below 0 or too large for single precision, what the
            scenario rules out.
        """
        scenario, steps = self.scenario, episode.steps
        if not steps:
            raise episode.refuse(-1, f"episode {short(episode.name)} ends without a step")
        if len(steps) > scenario.horizon:
            what = f"goes on after {scenario.horizon} steps, {scenario.name}'s horizon"
            raise episode.refuse(scenario.horizon, f"episode {short(episode.name)} {what}")
        observation = np.empty((len(steps), self.size), np.float32)
        action: list[int] = []
        known: dict[str, np.ndarray] = {}
        costs = np.zeros((len(steps), len(env.COMPONENTS)), np.float32)
        for t, row in enumerate(steps):
            action.append(self._action(episode, t))
            for field in ("latency_s", "cost_usd", "divergence"):
                if not is_cost(row.get(field)):
                    raise episode.refuse(t, expected(row, field, a_cost(row.get(field))))
            observation[t] = self._observation(episode, t)
            for name, value in self._probabilities(episode, t).items():
                known.setdefault(name, np.full(len(steps), np.nan, np.float32))[t] = value
            costs[t] = row["latency_s"], row["cost_usd"], self._paid(episode, t), not row["ok"], row["divergence"]
        violation, success = episode.end.get("violation"), episode.require_success()
        if violation is None or not is_cost(violation):
            raise episode.refuse(-1, expected(episode.end, "violation", a_cost(violation)))
        if success and violation > self.paid + _MET:
            most = f"at most {self.paid:g}, for soft rules" if self.paid else "0"
            raise episode.refuse(-1, f"success: true, but a violation of {violation:g}, expected {most}")
        before = float(costs[:-1, _VIOLATION].sum())
        if before > violation + _MET:
            raise episode.refuse(-1, f"a violation of {violation:g}, but {before:g} in the steps before the last")
        costs[-1, _VIOLATION] = max(violation - before, 0.0)
        total = float(costs.sum(0, dtype=np.float64) @ self.weights)
        if total > limits.DEAREST:
            what = f"episode {short(episode.name)} costs {total:.3g} in all, expected at most {limits.DEAREST:g}"
            raise episode.refuse(-1, what)
        return EpisodeArrays(observation, action, costs, known, success, episode.rows)

    def _paid(self, episode: LoggedEpisode, t: int) -> float:
        """What soft rules cost in a step; in the last one, the end says it."""
        paid = episode.steps[t].get("violation", 0.0)
        if not is_cost(paid):
            raise episode.refuse(t, expected(episode.steps[t], "violation", a_cost(paid)))
        return paid

    def _action(self, episode: LoggedEpisode, t: int) -> int:
        """The row of a step's action."""
        scenario, row = self.scenario, episode.steps[t]
        action = self.actions.get(row["name"])
        if action is None:
            what = (
                f"action {short(row['name'])} is unknown to scenario {scenario.name}, which has {listed(self.actions)}"
            )
            raise episode.refuse(t, what)
        kind = scenario.kinds[action]
        if row["kind"] != kind:
            what = f"{row['name']} is of kind {short(row['kind'])}, but {kind!r} in scenario {scenario.name}"
            raise episode.refuse(t, what)
        if not isinstance(row.get("ok"), bool):
            raise episode.refuse(t, expected(row, "ok", "true or false"))
        if row["ok"] and self.ends[action] and t + 1 < len(episode.steps):
            what = f"goes on after {row['name']} worked, which ends it in scenario {scenario.name}"
            raise episode.refuse(t + 1, f"episode {short(episode.name)} {what}")
        return action

    def _observation(self, episode: LoggedEpisode, t: int) -> list[float]:
        """A step's observation, all of it finite numbers."""
        values = episode.steps[t].get("observation")
        if not isinstance(values, list) or len(values) != self.size:
            given = f"{len(values)}" if isinstance(values, list) else "none"
            what = f"observation: expected {self.size} numbers (scenario {self.scenario.name}), got {given}"
            raise episode.refuse(t, what)
        if not (
            set(map(type, values)) <= {int, float} and min(values) >= -limits.DEAREST and max(values) <= limits.DEAREST
        ):
            place = next(i for i, x in enumerate(values) if not (is_number(x) and abs(x) <= limits.DEAREST))
            most = f" of at most {limits.DEAREST:g}" if is_number(values[place]) else ""
            what = f"observation: expected {self.size} numbers{most} (scenario {self.scenario.name})"
            raise episode.refuse(t, f"{what}, but observation[{place}] is {shown(values[place])}")
        return values

    def _probabilities(self, episode: LoggedEpisode, t: int) -> dict[str, float]:
        """What a step says about the loggers' probabilities, by name."""
        row = episode.steps[t]
        own, given = row.get("probability"), row.get("probabilities")
        if given is None:
            return {} if own is None else {episode.logger: min(own, 1.0)}
        if not isinstance(given, dict):
            raise episode.refuse(t, expected(row, "probabilities", "an object, a logger's name to a number"))
        if given and episode.logger not in given and self.actions.keys() >= given.keys():
            what = f"probabilities: expected names of loggers, got the action {short(next(iter(given)))}"
            raise episode.refuse(t, what)
        found = {name: value for name, value in given.items() if value is not None}
        for name, value in found.items():
            if not (is_number(value) and 0 <= value <= CERTAIN):
                what = f"probabilities of {short(name)}: expected a number from 0 to 1, got {short(value)}"
                raise episode.refuse(t, what)
        acted = found.get(episode.logger)
        if acted is not None and acted < LEAST:
            what = f"probabilities of {short(episode.logger)}, which acted: expected a number above 0"
            raise episode.refuse(t, f"{what}, at least {LEAST:.2g}, got {short(acted)}")
        if own is not None and acted is not None and not math.isclose(own, acted, rel_tol=1e-5):
            what = (
                f"probability {short(own)}, but {short(acted)} in probabilities of {short(episode.logger)}, who acted"
            )
            raise episode.refuse(t, what)
        found = found if own is None else {**found, episode.logger: own}
        return {name: min(value, 1.0) for name, value in found.items()}
