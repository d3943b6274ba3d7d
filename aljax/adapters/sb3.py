"""Stable-Baselines3's vectorised environments, in one compiled step.

    model = PPO("MlpPolicy", VecEnv("paper", 8))

The same bits as its ``DummyVecEnv`` of as many `aljax.adapters.gymnasium.Env`.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aljax.adapters.core import Simulator
from aljax.adapters.gymnasium import info_of, spaces
from aljax.adapters.stepping import Answer
from aljax.host.modules import framework
from aljax.overrides import Given
from aljax.scenario import Scenario

_base: Any = framework("stable_baselines3.common.vec_env.base_vec_env", "sb3")


class VecEnv(_base.VecEnv):
    """Many environments for Stable-Baselines3 and sb3-contrib.

    An episode that ends is followed by the next in the same step. Then its last info has ``terminal_observation``, and
    what the next episode begins with is in `reset_infos`. Infos are `aljax.adapters.gymnasium.Env`'s, and
    ``TimeLimit.truncated``, which is never true: the horizon is part of the problem. Masks of sb3-contrib's
    MaskablePPO come by ``env_method("action_masks")``.
    """

    def __init__(self, scenario: str | Path | Scenario = "paper", num_envs: int = 8, overrides: Given = ()):
        """Loads the scenario.

        Args:
          scenario: one, or its name, or the path of its file.
          num_envs: how many environments.
          overrides: changes to a scenario that is loaded, see `aljax.load_scenario`.

        Raises:
          UserError: a scenario that cannot be, or a process that was forked after JAX was used.
        """
        self._simulator = Simulator(scenario, overrides, num_envs)
        self.scenario = self._simulator.scenario
        self.params = self.scenario.params
        self._masks = np.zeros((num_envs, self._simulator.actions), bool)
        self._actions: Any = None
        # What an environment is asked for by name, of one environment each.
        self._attributes: dict[str, Callable[[int], Any]] = {
            "action_masks": lambda index: lambda: self._masks[index].copy(),
            "params": lambda index: self.params,
            "render_mode": lambda index: None,
            "scenario": lambda index: self.scenario,
            "spec": lambda index: None,
        }
        super().__init__(num_envs, *spaces(self.scenario))

    def reset(self) -> np.ndarray:
        """Starts episodes, with the seeds that `seed` gave since the latest reset.

        Returns:
          Observations float32 ``[N, O]``.
        """
        answer = self._simulator.start(self._seeds)
        self._reset_seeds()
        self._reset_options()
        return self._begun(answer, range(self.num_envs))

    def step_async(self, actions: np.ndarray) -> None:
        """Takes the actions of the step.

        Args:
          actions: rows of the action table. Integer ``[N]``
        """
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Plays the step.

        Returns:
          Observations ``[N, O]``, rewards ``[N]``, which episodes have ended ``[N]``, and an info each.

        Raises:
          UserError: no rows of the table.
        """
        step, answer = self._simulator.step_and_start(self._actions)
        infos = [info_of(step, index) | {"TimeLimit.truncated": False} for index in range(self.num_envs)]
        ended = np.flatnonzero(step.shown.terminated).tolist()
        for index in ended:
            infos[index]["terminal_observation"] = step.shown.observation[index].copy()
        return self._begun(answer, ended), step.reward, step.shown.terminated, infos

    def _begun(self, answer: Answer, started: Iterable[int]) -> np.ndarray:
        """Keeps what environments begin with, some of which have just started."""
        for index in started:
            self.reset_infos[index] = info_of(answer, index)
        self._masks = answer.shown.action_mask.astype(bool)
        return answer.shown.observation

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of environments.

        Args:
          attr_name: ``scenario``, ``params``, ``render_mode``, ``spec``, or ``action_masks``, which is a method.
          indices: of which environments; None: all.

        Returns:
          A value each.

        Raises:
          AttributeError: they have no such attribute.
        """
        if attr_name not in self._attributes:
            raise AttributeError(f"aljax's environments have no attribute {attr_name!r}")
        return [self._attributes[attr_name](index) for index in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """There is nothing to set.

        Args:
          attr_name: its name.
          value: unused.
          indices: unused.

        Raises:
          AttributeError: always.
        """
        del value, indices
        raise AttributeError(f"aljax's environments have no attribute {attr_name!r} to set")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Calls a method of environments.

        Args:
          method_name: ``action_masks``.
          *method_args: for the method.
          indices: of which environments; None: all.
          **method_kwargs: for the method.

        Returns:
          A result each; of ``action_masks``, which rows may be chosen now. Boolean ``[A]``

        Raises:
          AttributeError: they have no such method.
        """
        return [method(*method_args, **method_kwargs) for method in self.get_attr(method_name, indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Environments are never wrapped one by one.

        Args:
          wrapper_class: unused.
          indices: of which environments; None: all.

        Returns:
          False for each.
        """
        del wrapper_class
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[None]:
        """There is nothing to look at.

        Returns:
          None for each environment.
        """
        return [None] * self.num_envs
