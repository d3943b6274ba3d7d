"""What all adapters share on the host: N environments of a scenario, whose arrays are fresh at every answer.

All of it runs on the host's own processor, where actions come from and observations go.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aljax import env
from aljax.adapters.fork import refuse_after_fork
from aljax.adapters.stepping import Answer, none_yet, pack, programs
from aljax.env import num_actions
from aljax.errors import UserError, listed, short
from aljax.overrides import Given
from aljax.scenario import Scenario, load_scenario
from aljax.target import target_of

_LANES = 16
"""Programs work on multiples of so many environments: fewer are compiled to other instructions, and other last bits."""


class Simulator:
    """N environments of one scenario. Environment i has its own stream of chance, whatever N is.

    A scenario's numbers are traced: another of the same form compiles nothing.
    """

    def __init__(self, scenario: str | Path | Scenario, overrides: Given, size: int):
        refuse_after_fork()
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise UserError(f"environments: expected a whole number from 1, got {short(size)}")
        self.scenario, self.size, device = scenario_of(scenario, overrides), int(size), processor()
        params = jax.device_get(self.scenario.params)
        self.actions, self.observations = num_actions(params), env.observation_size(params)
        self._width = -(-self.size // _LANES) * _LANES
        form, numbers = pack(params, target_of(device.platform))
        self._programs = programs(form)
        self._numbers = jax.device_put(numbers, device)
        self._episodes = jax.device_put(none_yet(params, self._width), device)
        none = np.zeros(self._width, bool), np.zeros((2, self._width), np.uint32)
        self._none_seeded = jax.device_put(none, device)
        self._begun = np.zeros(self.size, bool)
        self._answer: Answer | None = None

    @property
    def begun(self) -> bool:
        """Every environment was started."""
        return bool(self._begun.all())

    @property
    def ended(self) -> np.ndarray:
        """Which episodes have ended. Boolean ``[N]``"""
        return np.zeros(self.size, bool) if self._answer is None else self._answer.shown.terminated

    def start(self, seeds: Sequence[int | None], chosen: np.ndarray | None = None) -> Answer:
        """Starts episodes.

        Args:
          seeds: of each environment, which begin its stream anew; None: the next episode of the stream that it has.
          chosen: which environments start an episode; None: all. Boolean ``[N]``

        Returns:
          What they answer; others show what they showed before.

        Raises:
          UserError: no seed.
        """
        refuse_after_fork()
        chosen = np.ones(self.size, bool) if chosen is None else chosen
        seeded, key = np.zeros(self._width, bool), np.zeros((2, self._width), np.uint32)
        for i in np.flatnonzero(chosen).tolist():
            if seeds[i] is not None or not self._begun[i]:
                key[:, i], seeded[i] = key_of(seeds[i]), True
        self._begun |= chosen
        return self._started(chosen, seeded, key)

    def step(self, actions: Any) -> Answer:
        """Plays a step in every environment; episodes that have ended stay as they are, at no cost.

        Args:
          actions: a row of the action table for each. Integer ``[N]``

        Returns:
          What they answer.

        Raises:
          UserError: no rows of the table.
        """
        self._play(actions)
        return self._copied()

    def step_or_start(self, actions: Any) -> Answer:
        """Plays a step in every environment, or starts the next episode where one has ended before.

        Args:
          actions: as for `step`.

        Returns:
          What they answer.

        Raises:
          UserError: no rows of the table.
        """
        before = self.ended
        self._play(actions)
        return self._started(before) if before.any() else self._copied()

    def step_and_start(self, actions: Any) -> tuple[Answer, Answer]:
        """Plays a step in every environment, and starts the next episode where it ended one.

        Args:
          actions: as for `step`.

        Returns:
          What they answer to the step, and what once those that ended are started: the same object if none is.

        Raises:
          UserError: no rows of the table.
        """
        answer = self.step(actions)
        return answer, self._started(self.ended) if self.ended.any() else answer

    def _play(self, actions: Any) -> None:
        refuse_after_fork()
        given = self._padded(checked_actions(actions, self.size, self.scenario))
        self._episodes, answer = self._programs.step(self._numbers, self._episodes, given)
        self._answer = self._own(answer)

    def _started(self, chosen: np.ndarray, seeded: Any = None, key: Any = None) -> Answer:
        """Starts episodes; what other environments answered stands."""
        given = (self._padded(chosen), *(self._none_seeded if key is None else (seeded, key)))
        self._episodes, answer = self._programs.start(self._numbers, self._episodes, *given)
        begun, before = self._own(answer), self._answer

        def joined(new: np.ndarray, old: np.ndarray) -> np.ndarray:
            return np.where(chosen.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        self._answer = begun if before is None else jax.tree.map(joined, begun, before)
        return self._copied()

    def _own(self, answer: Answer) -> Answer:
        """The part of the lanes that are environments, nothing being copied."""
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: self.size], answer)

    def _copied(self) -> Answer:
        """The latest answer in arrays that nothing else holds."""
        return jax.tree.map(np.array, self._answer)

    def _padded(self, values: np.ndarray) -> np.ndarray:
        """Values for all lanes, 0 where there is no environment."""
        return values if self.size == self._width else np.pad(values, (0, self._width - self.size))


def scenario_of(scenario: str | Path | Scenario, overrides: Given = ()) -> Scenario:
    """The scenario that is meant.

    Args:
      scenario: one, or its name, or the path of its file.
      overrides: changes to one that is loaded, see `aljax.load_scenario`.

    Returns:
      The scenario.

    Raises:
      UserError: it cannot be, or changes to one that is loaded already.
    """
    if not isinstance(scenario, Scenario):
        return load_scenario(scenario, overrides)
    if overrides:
        raise UserError("overrides change a scenario that is loaded: give its name or path, not a Scenario")
    return scenario


def key_of(seed: int | None) -> np.ndarray:
    """The key that a seed begins.

    Args:
      seed: a whole number from 0, of any size; None: one that was never there before.

    Returns:
      Two words. uint32 ``[2]``

    Raises:
      UserError: it is no such number.
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
        raise UserError(f"seed: expected a whole number from 0, got {short(seed)}")
    return np.random.SeedSequence(seed).generate_state(2)


def checked_actions(actions: Any, size: int, scenario: Scenario) -> np.ndarray:
    """Actions as the environment takes them.

    Args:
      actions: whatever an agent gave for rows of the action table, one for each of N environments.
      size: N.
      scenario: where.

    Returns:
      int32 ``[N]``

    Raises:
      UserError: they are no such rows.
    """
    found = np.asarray(actions)
    if found.dtype.kind not in "iu" or found.shape != (size,):
        raise UserError(f"actions: expected integers of shape ({size},), got {found.dtype} of shape {found.shape}")
    rows = len(scenario.action_names)
    if found.min() < 0 or found.max() >= rows:
        wrong = found[(found < 0) | (found >= rows)][0]
        names = listed(scenario.action_names)
        raise UserError(f"action {wrong}: expected a row of the action table, 0 to {rows - 1} ({names})")
    return found.astype(np.int32)


def processor() -> Any:
    """Where adapters compute: on the host's own processor.

    Returns:
      The device; where JAX was told to know of no processor, its default one.
    """
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[0]
