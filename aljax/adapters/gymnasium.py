"""Gymnasium's environments: `Env`, one environment, and `VectorEnv`, many of them in one compiled step.

    env = gymnasium.make("aljax.adapters.gymnasium:aljax/paper-v0")

Importing this module registers every scenario that ships with aljax under ``aljax/NAME-v0``, for ``make`` and
``make_vec``. The horizon and the limits *terminate* an episode, as parts of the problem: nothing is truncated here.
"""

from pathlib import Path
from typing import Any

import numpy as np

from aljax.adapters.core import Answer, Simulator
from aljax.env import places
from aljax.host.modules import framework
from aljax.overrides import Given
from aljax.scenario import Scenario, scenario_names

_gymnasium: Any = framework("gymnasium", "gymnasium")
if not hasattr(_gymnasium.vector, "AutoresetMode"):
    raise ImportError(f"needs gymnasium 1.1 or newer, got {_gymnasium.__version__}: pip install 'aljax[gymnasium]'")


class Env(_gymnasium.Env):
    """One environment; an episode is one task.

    Observations are `aljax.env.observe`'s, rewards −Σ λ_k C_k. At every reset and step ``info`` has the same keys, with
    copies of their own: ``action_mask`` (int8 ``[A]``, rows that may be chosen now), ``costs`` and ``episode_costs``
    (float32 ``[5]``: unweighted, of the step and of the episode so far) and ``is_success`` (a 0-d Boolean array).
    """

    metadata = {"render_modes": []}

    def __init__(
        self, scenario: str | Path | Scenario = "paper", overrides: Given = (), *, render_mode: str | None = None
    ):
        """Loads the scenario.

        Args:
          scenario: one, or its name, or the path of its file.
          overrides: changes to one that is loaded, see `aljax.load_scenario`.
          render_mode: None: there is nothing to look at.

        Raises:
          UserError: a scenario that cannot be, or a process that was forked after JAX was used.
        """
        self._simulator = Simulator(scenario, overrides, 1)
        self.scenario = self._simulator.scenario
        self.params = self.scenario.params
        self.render_mode = render_mode
        self.observation_space, self.action_space = _spaces(self.scenario)
        self._mask = np.zeros(self._simulator.actions, np.int8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Starts an episode.

        Args:
          seed: begins the environment's stream of chance anew; None: the next episode of the stream that it has.
          options: none are known.

        Returns:
          The observation ``[O]`` and the info.
        """
        del options
        super().reset(seed=seed)
        answer = self._simulator.start([seed])
        return answer.shown.observation[0], self._info(answer)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Plays a row of the action table. An episode that has ended stays as it is, at no cost.

        Args:
          action: the row, from 0 to A − 1.

        Returns:
          The observation ``[O]``, the reward, whether the episode has ended, False, and the info.

        Raises:
          ResetNeeded: before the first reset.
          UserError: no such row.
        """
        if not self._simulator.begun:
            raise _gymnasium.error.ResetNeeded("call reset before step: no episode has begun")
        answer = self._simulator.step(np.asarray(action)[None])
        return (
            answer.shown.observation[0],
            float(answer.reward[0]),
            bool(answer.shown.terminated[0]),
            False,
            self._info(answer),
        )

    def action_masks(self) -> np.ndarray:
        """Which rows may be chosen now, as sb3-contrib asks for it.

        Returns:
          Boolean ``[A]``.
        """
        return self._mask.astype(bool)

    def _info(self, answer: Answer) -> dict[str, np.ndarray]:
        shown = answer.shown
        self._mask = shown.action_mask[0].copy()
        return {
            "action_mask": shown.action_mask[0],
            "costs": answer.costs[0],
            "episode_costs": answer.episode_costs[0],
            "is_success": np.array(shown.is_success[0]),
        }


def _spaces(scenario: Scenario) -> tuple[Any, Any]:
    """What is observed, any finite numbers where they have no bounds of their own, and the rows of the table."""
    largest = np.finfo(np.float32).max
    parts = places(scenario.params)
    low = np.full(list(parts.values())[-1].stop, -largest, np.float32)
    high = np.full_like(low, largest)
    for name, place in parts.items():
        if name in _SHARES:
            low[place], high[place] = 0.0, 1.0
    spaces = _gymnasium.spaces
    return spaces.Box(low, high, dtype=np.float32), spaces.Discrete(len(scenario.action_names))


_SHARES = ("out", "time", "failed", "worked", "tokens")
"""Parts of an observation that lie between 0 and 1."""


def _register() -> None:
    for name in scenario_names():
        _gymnasium.register(f"aljax/{name}-v0", entry_point=f"{__name__}:Env", kwargs={"scenario": name})


_register()
