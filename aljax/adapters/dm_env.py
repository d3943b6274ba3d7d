"""dm_env's environment, for Acme and what else speaks its language:

    environment = Environment("paper", seed=0)

Each is a single environment.
"""

from pathlib import Path
from typing import Any

import numpy as np

from aljax.adapters.core import Simulator
from aljax.host.modules import framework
from aljax.overrides import Given
from aljax.scenario import Scenario

_dm_env: Any = framework("dm_env", "dm_env")
_specs: Any = framework("dm_env.specs", "dm_env")


class Environment(_dm_env.Environment):
    """One environment; rewards are −Σ λ_k C_k, and the last step's discount is 0: every end is the problem's own."""

    def __init__(self, scenario: str | Path | Scenario = "paper", overrides: Given = (), *, seed: int | None = None):
        """Loads the scenario.

        Args:
          scenario: one, or its name, or the path of its file.
          overrides: changes to one that is loaded, see `aljax.load_scenario`.
          seed: begins its stream of chance; None: one that was never there before.

        Raises:
          UserError: a scenario or a seed that cannot be, or a process that was forked after JAX was used.
        """
        self._simulator, self._seed = Simulator(scenario, overrides, 1), seed
        self.scenario = self._simulator.scenario
        self.params = self.scenario.params
        self._mask = np.zeros(self._simulator.actions, bool)

    def reset(self) -> Any:
        """Starts an episode: the seed's first, or the next.

        Returns:
          Its first ``TimeStep``, whose observation is float32 ``[O]``.

        Raises:
          UserError: no seed.
        """
        shown = self._simulator.start([self._seed]).shown
        self._seed, self._mask = None, shown.action_mask[0].astype(bool)
        return _dm_env.restart(shown.observation[0])

    def step(self, action: Any) -> Any:
        """Plays a row of the action table, or, where no episode is under way, starts the next.

        Args:
          action: the row, from 0 to A − 1.

        Returns:
          A ``TimeStep``; reward and discount are Python's floats.

        Raises:
          UserError: no such row.
        """
        if not self._simulator.begun or self._simulator.ended[0]:
            return self.reset()
        answer = self._simulator.step(np.asarray(action)[None])
        self._mask = answer.shown.action_mask[0].astype(bool)
        made = _dm_env.termination if answer.shown.terminated[0] else _dm_env.transition
        return made(reward=float(answer.reward[0]), observation=answer.shown.observation[0])

    def action_masks(self) -> np.ndarray:
        """Which rows may be chosen now.

        Returns:
          Boolean ``[A]``.
        """
        return self._mask.copy()

    def observation_spec(self) -> Any:
        """What is observed.

        Returns:
          An ``Array`` of float32 ``[O]``.
        """
        return _specs.Array((self._simulator.observations,), np.float32, name="observation")

    def action_spec(self) -> Any:
        """The rows of the action table.

        Returns:
          A ``DiscreteArray`` of A values.
        """
        return _specs.DiscreteArray(self._simulator.actions, name="action")
