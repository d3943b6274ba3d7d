"""Networks as options say them: which architecture, and what it is shown at each step."""

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from aljax import env
from aljax.architecture import MLP, Architecture
from aljax.env import EnvParams
from aljax.layout import lift
from aljax.options import PolicyName
from aljax.recurrent import GRU


class Shaped(Protocol):
    """Options that say what networks are like (`aljax.options`)."""

    @property
    def hidden(self) -> tuple[int, ...]:
        """Units of the hidden layers."""
        ...

    @property
    def policy(self) -> PolicyName:
        """Which architecture."""
        ...


def architecture_of(options: Shaped, outputs: int) -> Architecture:
    """The architecture that options stand for: the one place that chooses it.

    Args:
      options: of training, or of learning from logs.
      outputs: numbers that it is to return.

    Returns:
      The architecture.
    """
    return {"mlp": MLP, "gru": GRU}[options.policy](outputs, options.hidden)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a network is shown at each step: the environment's observation, and what is appended to it.

    Static: two that are equal share one compilation.
    """

    last: bool = False
    """Append which row was played last, one-hot ``[A]``, 0 at the start: what an observation does not say, and what an
    architecture that carries a state needs for taking in what came of it."""

    def size(self, params: EnvParams) -> int:
        """Numbers that a network is shown at each step.

        Args:
          params: the environment.

        Returns:
          I.
        """
        return env.observation_size(params) + self.last * env.num_actions(params)

    def begin(self, params: EnvParams, observation: jax.Array) -> Any:
        """What must be remembered at the start of an episode.

        Args:
          params: the environment.
          observation: the first. ``[O]``

        Returns:
          The memory: which row was played last, −1 for none, an integer scalar, where that is shown.
        """
        del params
        return jnp.full(observation.shape[1:], -1, jnp.int32) if self.last else ()

    def remember(
        self, params: EnvParams, memory: Any, action: jax.Array, failed: jax.Array, observation: jax.Array
    ) -> Any:
        """The memory once `action` is played and the next `observation` seen.

        Args:
          params: the environment.
          memory: before.
          action: the row played. Integer scalar
          failed: whether that call failed. Boolean scalar
          observation: what is seen next. ``[O]``

        Returns:
          The memory.
        """
        del memory, failed, observation
        return env.played(action, params) if self.last else ()

    def seen(self, params: EnvParams, observation: jax.Array, memory: Any) -> jax.Array:
        """What the network is shown.

        Args:
          params: the environment.
          observation: ``[O]``.
          memory: of what came before.

        Returns:
          ``[I]``.
        """
        if not self.last:
            return observation
        rows = lift(jnp.arange(env.num_actions(params), dtype=jnp.int32), observation.ndim - 1)
        return jnp.concatenate([observation, (rows == memory).astype(observation.dtype)])

    def along(self, params: EnvParams, observation: jax.Array, action: jax.Array, failed: jax.Array) -> jax.Array:
        """What the network is shown along whole episodes, of what was seen and played in them.

        Args:
          params: the environment.
          observation: before each step. ``[T, O, ...]``
          action: the rows played. Integer ``[T, ...]``
          failed: whether those calls failed. Boolean ``[T, ...]``

        Returns:
          ``[T, I, ...]``.
        """

        def step(memory: Any, given: tuple[jax.Array, ...]) -> tuple[Any, jax.Array]:
            here, row, fault, after = given
            return self.remember(params, memory, row, fault, after), self.seen(params, here, memory)

        after = jnp.concatenate([observation[1:], observation[-1:]])
        _, found = jax.lax.scan(step, self.begin(params, observation[0]), (observation, action, failed, after))
        return found


def inputs_of(options: Shaped) -> Inputs:
    """What networks are shown under some options.

    Args:
      options: of training, or of learning from logs.

    Returns:
      See `Inputs`.
    """
    return Inputs(last=architecture_of(options, 1).recurrent)
