"""The environment as gymnax has environments, for trainers that are written in JAX: gymnax 0.0.9, and 1.0 and above.

    env, params = make("paper")
    observation, state = env.reset(key, params)
    observation, state, reward, terminated, truncated, info = env.step(key, state, action, params)

gymnax's ``step`` gives five values before 1.0 (one ``done``) and six since. rejax 0.1.3, purejaxrl, PureJaxQL and Stoix
unpack five whichever gymnax is installed: ``make(..., five_values=True)`` is for them.

Where gymnax has a registry (since 1.0), importing this module enters each shipped scenario twice: ``paper-aljax``, and
``paper-aljax-5`` for five values. There is no slash in them, by which rejax tells other libraries' environments.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.adapters.core import scenario_of
from aljax.env import COMPONENTS, EnvParams, EnvState
from aljax.episodes import succeeded
from aljax.host.modules import framework
from aljax.overrides import Given
from aljax.scenario import Scenario, scenario_names

_gymnax: Any = framework("gymnax", "gymnax")
_base: Any = framework("gymnax.environments.environment", "gymnax")
_spaces: Any = framework("gymnax.environments.spaces", "gymnax")
_struct: Any = framework("flax.struct", "gymnax")

_SIX = hasattr(_base.Environment, "is_truncated")
"""This gymnax tells an episode that ended from one that was cut short."""


def make(
    scenario: str | Path | Scenario, overrides: Given = (), *, five_values: bool = False
) -> tuple["Environment", "Params"]:
    """A scenario as gymnax's environment and its parameters.

    The reward is −Σ_k λ_k C_k, unscaled. The horizon and the limits end an episode: they are part of the problem. Only
    ``params.replace(max_steps_in_episode=...)`` below the horizon cuts it short.

    Args:
      scenario: a scenario, the name of one that ships with aljax, or the path of a TOML file.
      overrides: changes to one that is loaded; see `aljax.load_scenario`.
      five_values: ``step`` gives observation, state, reward, done and info under gymnax 1.0 and above, too.

    Returns:
      The environment and its parameters, which is what ``gymnax.make`` gives.

    Raises:
      UserError: no such scenario, or a change that cannot be made.
    """
    loaded = scenario_of(scenario, overrides)
    kind = FiveValues if five_values and _SIX else Environment
    environment = kind(loaded.name, Params(max_steps_in_episode=loaded.horizon, numbers=loaded.params))
    return environment, environment.default_params


@_struct.dataclass(kw_only=True)
class Params(_base.EnvParams):
    """What gymnax hands to every function of an environment: a pytree with ``replace``."""

    numbers: EnvParams
    """The scenario's."""
    max_steps_in_episode: int
    """The horizon; fewer steps cut episodes short."""


class Environment(_base.Environment):
    """aljax's environment under gymnax's names. Two of equal default parameters are equal, so compiled once."""

    def __init__(self, name: str, params: Params) -> None:
        """Takes the scenario's name, and the parameters that count where none are given."""
        self._name, self._params = name, params
        leaves, tree = jax.tree.flatten(params)
        arrays = [np.asarray(leaf) for leaf in leaves]
        self._content = (type(self), name, str(tree), tuple((a.dtype.str, a.shape, a.tobytes()) for a in arrays))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Environment) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    @property
    def name(self) -> str:
        """The scenario's name."""
        return self._name

    @property
    def default_params(self) -> Params:
        """The scenario's numbers."""
        return self._params

    @property
    def num_actions(self) -> int:
        """A, the rows of the action table."""
        return env.num_actions(self._params.numbers)

    def reset_env(self, key: jax.Array, params: Params) -> tuple[jax.Array, EnvState]:
        """The first observation ``[O]``, and the state. See `aljax.env.reset`."""
        return env.reset(key, params.numbers)

    def step_env(
        self, key: jax.Array, state: EnvState, action: jax.Array, params: Params
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """Plays one action, without starting a finished episode anew.

        Args:
          key: a PRNG key.
          state: where the episode stands.
          action: the row played. Integer scalar
          params: the parameters.

        Returns:
          The observation ``[O]``, the state, the reward, whether the episode has ended (before gymnax 1.0: or was cut
          short), and scalars: the five unweighted costs of the step by name, and ``success``.
        """
        numbers = params.numbers
        seen, moved, costs, done = env.step(key, state, jnp.asarray(action, jnp.int32), numbers)
        reward = -jnp.tensordot(numbers.weights, costs, 1, precision="highest")
        info = dict(zip(COMPONENTS, costs, strict=True)) | {"success": succeeded(moved, numbers)}
        return seen, moved, reward, done if _SIX else self.is_terminal(moved, params), info

    def get_obs(self, state: EnvState, params: Params | None = None, key: jax.Array | None = None) -> jax.Array:
        """What is seen of a state. ``[O]``"""
        del key
        return env.observe(state, (params or self._params).numbers)

    def is_terminated(self, state: EnvState, params: Params) -> jax.Array:
        """Whether the episode has ended: solved, given up, out of steps or over a limit. Boolean scalar"""
        del params
        return state.done

    def is_truncated(self, state: EnvState, params: Params) -> jax.Array:
        """Whether it is at a limit of steps below the horizon, which ends nothing by itself. Boolean scalar"""
        return (state.time >= params.max_steps_in_episode) & (params.max_steps_in_episode < params.numbers.horizon)

    def is_terminal(self, state: EnvState, params: Params) -> jax.Array:
        """Before gymnax 1.0: whether it ended or was cut short; since then, `is_terminated`. Boolean scalar"""
        return self.is_terminated(state, params) if _SIX else state.done | self.is_truncated(state, params)

    def action_space(self, params: Params | None = None) -> Any:
        """The rows of the action table."""
        return _spaces.Discrete(env.num_actions((params or self._params).numbers))

    def observation_space(self, params: Params | None = None) -> Any:
        """Real numbers ``[O]``."""
        return _spaces.Box(-jnp.inf, jnp.inf, (env.observation_size((params or self._params).numbers),), jnp.float32)

    def state_space(self, params: Params | None = None) -> Any:
        """What a state is made of, by field."""
        _, state = jax.eval_shape(self.reset_env, jax.random.key(0), params or self._params)
        parts = {name: leaf for name, leaf in vars(state).items() if leaf is not None}
        return _spaces.Dict({name: _spaces.Box(*_bounds(leaf), leaf.shape, leaf.dtype) for name, leaf in parts.items()})


class FiveValues(Environment):
    """The same for trainers that unpack five values of a step under gymnax 1.0 and above."""

    @functools.partial(jax.jit, static_argnames=("self",))
    def step(
        self, key: jax.Array, state: EnvState, action: jax.Array, params: Params | None = None
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """Plays one action; a finished episode starts anew.

        Args:
          key: a PRNG key.
          state: where the episode stands.
          action: the row played. Integer scalar
          params: the parameters; None: the scenario's.

        Returns:
          The observation ``[O]`` and the state, of the next episode where one ended; the reward, whether the episode
          ended or was cut short, and the scalars of `Environment.step_env`.
        """
        seen, moved, reward, terminated, truncated, info = super().step(key, state, action, params)
        return seen, moved, reward, terminated | truncated, {name: info[name] for name in (*COMPONENTS, "success")}


def _bounds(leaf: jax.ShapeDtypeStruct) -> tuple[Any, Any]:
    """The least and greatest value of a part of a state."""
    if leaf.dtype == bool:
        return 0, 1
    return (0, np.iinfo(leaf.dtype).max) if jnp.issubdtype(leaf.dtype, jnp.integer) else (-jnp.inf, jnp.inf)


def _register() -> None:
    """Enters the shipped scenarios, unless they are there."""
    for scenario in scenario_names():
        for name, five in ((f"{scenario}-aljax", False), (f"{scenario}-aljax-5", True)):
            if name not in _gymnax.registered_envs:
                _gymnax.register(name, lambda scenario=scenario, five=five, **given: _named(scenario, five, **given))


def _named(scenario: str, five_values: bool, overrides: Given = ()) -> Environment:
    return make(scenario, overrides, five_values=five_values)[0]


if hasattr(_gymnax, "register"):
    _register()
