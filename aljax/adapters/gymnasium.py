"""Gymnasium's environments: `Env`, one environment, and `VectorEnv`, many of them in one compiled step.

    env = gymnasium.make("aljax.adapters.gymnasium:aljax/paper-v0")

Importing this module registers every scenario that ships with aljax under ``aljax/NAME-v0``, for ``make`` and
``make_vec``. The horizon and the limits *terminate* an episode, as parts of the problem: nothing is truncated here.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aljax.adapters.core import Simulator
from aljax.adapters.stepping import Answer
from aljax.env import places
from aljax.errors import UserError, short
from aljax.host.modules import framework
from aljax.overrides import Given
from aljax.scenario import Scenario, scenario_names

_gymnasium: Any = framework("gymnasium", "gymnasium")
_MODES: Any = getattr(_gymnasium.vector, "AutoresetMode", None)
if _MODES is None:
    raise ImportError(f"needs gymnasium 1.1 or newer, got {_gymnasium.__version__}: pip install 'aljax[gymnasium]'")

_SHARES = ("out", "time", "failed", "worked", "tokens")
"""Parts of an observation that lie between 0 and 1."""


class Env(_gymnasium.Env):
    """One environment; an episode is one task.

    Observations are `aljax.env.observe`'s, rewards −Σ λ_k C_k. At every reset and step ``info`` has the same keys, with
    arrays of its own: ``action_mask`` (int8 ``[A]``, rows that may be chosen now), ``costs`` and ``episode_costs``
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
        self.scenario, self.render_mode = self._simulator.scenario, render_mode
        self.params = self.scenario.params
        self.observation_space, self.action_space = spaces(self.scenario)
        self._mask = np.zeros(self._simulator.actions, bool)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts an episode.

        Args:
          seed: begins the environment's stream of chance anew; None: the next episode of the stream that it has.
          options: none are known.

        Returns:
          The observation ``[O]`` and the info.

        Raises:
          UserError: no seed.
        """
        del options
        super().reset(seed=seed)
        return self._seen(self._simulator.start([seed]))

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Plays a row of the action table. An episode that has ended stays as it is, at no cost.

        Args:
          action: the row, from 0 to A − 1.

        Returns:
          The observation ``[O]``, the reward, whether the episode has ended, False, and the info.

        Raises:
          ResetNeeded: no episode has begun.
          UserError: no such row.
        """
        if not self._simulator.begun:
            raise _gymnasium.error.ResetNeeded("call reset before step: no episode has begun")
        answer = self._simulator.step(np.asarray(action)[None])
        observation, info = self._seen(answer)
        return observation, float(answer.reward[0]), bool(answer.shown.terminated[0]), False, info

    def action_masks(self) -> np.ndarray:
        """Which rows may be chosen now, as sb3-contrib asks for it.

        Returns:
          Boolean ``[A]``.
        """
        return self._mask.copy()

    def _seen(self, answer: Answer) -> tuple[np.ndarray, dict[str, Any]]:
        """The observation and the info."""
        self._mask = answer.shown.action_mask[0].astype(bool)
        return answer.shown.observation[0], info_of(answer, 0)


class VectorEnv(_gymnasium.vector.VectorEnv):
    """Many environments in one compiled step: the same bits as Gymnasium's ``SyncVectorEnv`` of as many `Env`.

    Environment i is `Env` once it was reset with seed s + i. All modes of ending are there; in ``DISABLED`` episodes
    that have ended are reset by ``options={"reset_mask": mask}``.
    """

    def __init__(
        self,
        scenario: str | Path | Scenario = "paper",
        overrides: Given = (),
        *,
        num_envs: int,
        autoreset_mode: Any = _MODES.NEXT_STEP,
        render_mode: str | None = None,
    ):
        """Loads the scenario.

        Args:
          scenario: one, or its name, or the path of its file.
          overrides: changes to one that is loaded, see `aljax.load_scenario`.
          num_envs: how many environments.
          autoreset_mode: when the next episode starts, a ``gymnasium.vector.AutoresetMode`` or its text.
          render_mode: None: there is nothing to look at.

        Raises:
          UserError: a scenario that cannot be, or a process that was forked after JAX was used.
        """
        self._simulator = Simulator(scenario, overrides, num_envs)
        self.num_envs, self.scenario, self.render_mode = num_envs, self._simulator.scenario, render_mode
        self.params = self.scenario.params
        self.single_observation_space, self.single_action_space = spaces(self.scenario)
        batched = _gymnasium.vector.utils.batch_space
        self.observation_space = batched(self.single_observation_space, num_envs)
        self.action_space = batched(self.single_action_space, num_envs)
        self.autoreset_mode = _MODES(autoreset_mode)
        self.metadata = {**Env.metadata, "autoreset_mode": self.autoreset_mode}

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Starts episodes.

        Args:
          seed: of the first environment, those of the others counting on; or one for each.
          options: ``reset_mask`` (Boolean ``[N]``): which environments to reset; without it all.

        Returns:
          The observations ``[N, O]`` and the infos; with a mask, infos of those that were reset.

        Raises:
          UserError: no seeds, or no mask.
        """
        mask = self._mask((options or {}).get("reset_mask"))
        answer = self._simulator.start(seeds_of(seed, self.num_envs), mask)
        return answer.shown.observation, _infos(answer, mask)

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Plays a row of the action table in each environment.

        Args:
          actions: the rows. Integer ``[N]``

        Returns:
          Observations ``[N, O]``, rewards float64 ``[N]``, which episodes have ended ``[N]``, none truncated, infos.

        Raises:
          ResetNeeded: some environment has no episode under way.
          UserError: no such rows.
        """
        if not self._simulator.begun:
            raise _gymnasium.error.ResetNeeded("call reset before step: no episode has begun")
        final: dict[str, Any] = {}
        if self.autoreset_mode == _MODES.SAME_STEP:
            step, answer = self._simulator.step_and_start(actions)
            if step is not answer:
                final = _final(step)
        elif self.autoreset_mode == _MODES.NEXT_STEP:
            step = answer = self._simulator.step_or_start(actions)
        else:
            if self._simulator.ended.any():
                first = int(np.flatnonzero(self._simulator.ended)[0])
                raise _gymnasium.error.ResetNeeded(f'environment {first} has ended: reset it by options["reset_mask"]')
            step = answer = self._simulator.step(actions)
        infos = final | _infos(answer, np.ones(self.num_envs, bool))
        rewards, truncated = step.reward.astype(np.float64), np.zeros(self.num_envs, bool)
        return answer.shown.observation, rewards, step.shown.terminated, truncated, infos

    def _mask(self, given: Any) -> np.ndarray:
        """Which environments a reset is for."""
        if given is None:
            return np.ones(self.num_envs, bool)
        found = np.asarray(given)
        if found.shape != (self.num_envs,) or found.dtype != np.bool_ or not found.any():
            raise UserError(
                f"reset_mask: expected Booleans of shape ({self.num_envs},), one of them true, got {short(given)}"
            )
        return found


def seeds_of(seed: int | Sequence[int | None] | None, size: int) -> Sequence[int | None]:
    """A seed for each environment.

    Args:
      seed: of the first, those of the others counting on; or one for each; None: they have none.
      size: N.

    Returns:
      N seeds.

    Raises:
      UserError: not as many as environments.
    """
    if seed is None:
        return [None] * size
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + i for i in range(size)]
    if len(seed) != size:
        raise UserError(f"seed: expected one number, or one for each of {size} environments, got {len(seed)}")
    return seed


def spaces(scenario: Scenario) -> tuple[Any, Any]:
    """What is observed, any finite numbers where they have no bounds of their own, and the rows of the table.

    Args:
      scenario: the environment.

    Returns:
      A ``Box`` and a ``Discrete`` space.
    """
    largest, parts = np.finfo(np.float32).max, places(scenario.params)
    low = np.full(max(place.stop for place in parts.values()), -largest, np.float32)
    high = np.full_like(low, largest)
    for name in parts.keys() & set(_SHARES):
        low[parts[name]], high[parts[name]] = 0.0, 1.0
    return _gymnasium.spaces.Box(low, high, dtype=np.float32), _gymnasium.spaces.Discrete(len(scenario.action_names))


def info_of(answer: Answer, index: int) -> dict[str, np.ndarray]:
    """The info of one environment.

    Args:
      answer: of all.
      index: which.

    Returns:
      Arrays by name, as `Env` says.
    """
    return {name: np.array(values[index]) for name, values in answer.infos().items()}


def _infos(answer: Answer, mask: np.ndarray) -> dict[str, Any]:
    """Infos of the environments of a mask, each beside a mask of its own, as Gymnasium has them."""
    found, every = {}, bool(mask.all())
    for name, values in answer.infos().items():
        chosen = mask.reshape(-1, *[1] * (values.ndim - 1))
        found[name] = values if every else np.where(chosen, values, np.zeros((), values.dtype))
        found[f"_{name}"] = mask.copy()
    return found


def _final(answer: Answer) -> dict[str, Any]:
    """What environments showed at the end of episodes after which others have started."""
    ended = answer.shown.terminated
    observations = np.full(len(ended), None, dtype=object)
    for i in np.flatnonzero(ended).tolist():
        observations[i] = answer.shown.observation[i].copy()
    infos = _infos(answer, ended)
    return {"final_obs": observations, "_final_obs": ended.copy(), "final_info": infos, "_final_info": ended.copy()}


for _name in scenario_names():
    _gymnasium.register(
        f"aljax/{_name}-v0",
        entry_point=f"{__name__}:Env",
        vector_entry_point=f"{__name__}:VectorEnv",
        kwargs={"scenario": _name},
    )
