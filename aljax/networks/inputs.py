"""Networks as options say them: which architecture, and what it is shown at each step."""

import dataclasses
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from aljax import env
from aljax.env import EnvParams, EnvState
from aljax.layout import lift
from aljax.networks.architecture import MLP, Architecture
from aljax.networks.belief import Belief, begin_belief, update_belief
from aljax.networks.recurrent import GRU
from aljax.options import InputsName, PolicyName


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

    @property
    def inputs(self) -> InputsName:
        """What networks are shown."""
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


class Remembered(NamedTuple):
    """What must be remembered of an episode to know what its next step shows; None where that is not shown."""

    belief: Belief | None
    last: jax.Array | None
    """The row played last, −1 at the start. Integer scalar"""


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a network is shown at each step: the environment's observation, and what is appended to it.

    Static: two that are equal share one compilation.
    """

    kind: InputsName = "observation"
    """belief: append for every row the probability that it is up, given what the episode has shown
    (`aljax.networks.belief`); told: append which rows are up, which no agent sees. ``[A]``"""
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
        return env.observation_size(params) + ((self.kind != "observation") + self.last) * env.num_actions(params)

    def observe(self, params: EnvParams, state: EnvState) -> jax.Array:
        """What a policy is shown of a state.

        Args:
          params: the environment.
          state: where the episode stands.

        Returns:
          The environment's observation ``[O]``; who is told has behind it 1 for each row that is up. ``[O + A]``
        """
        observation = env.observe(state, params)
        if self.kind != "told":
            return observation
        down = jnp.zeros((env.num_actions(params), *state.time.shape), bool) if state.down is None else state.down
        return jnp.concatenate([observation, (~down).astype(observation.dtype)])

    def begin(self, params: EnvParams, observation: jax.Array) -> Remembered:
        """What must be remembered at the start of an episode.

        Args:
          params: the environment.
          observation: the first. ``[O]``

        Returns:
          The memory.
        """
        return Remembered(
            begin_belief(params, observation) if self.kind == "belief" else None,
            jnp.full(observation.shape[1:], -1, jnp.int32) if self.last else None,
        )

    def remember(
        self, params: EnvParams, memory: Remembered, action: jax.Array, failed: jax.Array, observation: jax.Array
    ) -> Remembered:
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
        belief = memory.belief
        if belief is not None:
            belief = update_belief(params, belief, action, failed, observation)
        return Remembered(belief, env.played(action, params) if self.last else None)

    def seen(self, params: EnvParams, observation: jax.Array, memory: Remembered) -> jax.Array:
        """What the network is shown.

        Args:
          params: the environment.
          observation: `observe`'s. ``[O]``
          memory: of what came before.

        Returns:
          ``[I]``.
        """
        parts = [observation]
        if memory.belief is not None:
            parts.append(memory.belief.up)
        if memory.last is not None:
            rows = lift(jnp.arange(env.num_actions(params), dtype=jnp.int32), observation.ndim - 1)
            parts.append((rows == memory.last).astype(observation.dtype))
        return jnp.concatenate(parts) if len(parts) > 1 else observation

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

        def step(memory: Remembered, given: tuple[jax.Array, ...]) -> tuple[Remembered, jax.Array]:
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
    return Inputs(options.inputs, architecture_of(options, 1).recurrent)
