"""Logged episodes: what some policies, the loggers, did and what it cost.

Unlike the rest of the library, arrays have the episode axis *first*: learning draws episodes at random, and an
episode is then one piece of memory.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax.chance import draw_chance
from aljax.env import COMPONENTS, EnvParams, observation_size
from aljax.errors import UserError
from aljax.keys import one_key
from aljax.networks.seen import legal_seen
from aljax.policy import Policy
from aljax.rollout import play

Array = jax.Array | np.ndarray
"""On the device, or on the host."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Episodes:
    """N logged episodes of at most T steps. Steps after an episode's end are not alive and cost 0."""

    observation: Array
    """What the logger saw before each step. ``[N, T, O]``"""
    action: Array
    """The row that it played. Integer ``[N, T]``"""
    costs: Array
    """The five unweighted costs of each step. ``[N, T, 5]``"""
    alive: Array
    """The episode had not ended before the step. Boolean ``[N, T]``"""
    probability: Array
    """With which each logger would have played that row there; NaN where nobody knows. ``[N, T, L]``"""
    logger: Array
    """Which logger acted. Integer ``[N]``"""
    task: Array
    """Which task it was; episodes of one task are not independent. Integer ``[N]``"""
    success: Array
    """Ended with nothing violated. Boolean ``[N]``"""

    def __len__(self) -> int:
        return self.action.shape[0]

    @property
    def failed(self) -> Array:
        """The call failed. Boolean ``[N, T]``"""
        return self.costs[..., COMPONENTS.index("failure")] > 0

    @property
    def own_probability(self) -> jax.Array:
        """With which the logger that acted played what it played; 1 after the end. ``[N, T]``"""
        own = jnp.take_along_axis(self.probability, self.logger[:, None, None], axis=2)[..., 0]
        return jnp.where(self.alive, own, 1.0)


@dataclasses.dataclass(frozen=True)
class Source:
    """A file that episodes were read from."""

    file: str
    """Its path as given."""
    sha256: str
    """Of its bytes as they were read."""


@dataclasses.dataclass(frozen=True)
class Log:
    """A data set: arrays, and what their numbers stand for."""

    episodes: Episodes
    """On the device, or as NumPy arrays."""
    loggers: tuple[str, ...]
    """L names."""
    tasks: tuple[str, ...]
    """Names of the tasks."""
    sources: tuple[Source, ...] = ()
    """The files, where it was read from files."""
    warnings: tuple[str, ...] = ()
    """What is odd about them, in plain words."""
    notes: tuple[str, ...] = ()
    """What they were taken for, where that is not plain."""

    def __len__(self) -> int:
        return len(self.episodes)

    def take(self, rows: Any) -> "Log":
        """These episodes alone, in this order; a slice or integers.

        Args:
          rows: a slice, or integers ``[M]``.

        Returns:
          The data set with these episodes, in this order, and all names.
        """
        return dataclasses.replace(self, episodes=jax.tree.map(lambda leaf: leaf[rows], self.episodes))


def collect(
    key: jax.Array,
    loggers: Mapping[str, Policy],
    params: EnvParams,
    *,
    episodes: int,
    steps: int,
    tasks: str | None = None,
) -> Log:
    """Plays every logger on the same tasks, each with luck of its own, and records with which probability each acted.

    Args:
      key: a PRNG key.
      loggers: policies by name.
      params: the environment.
      episodes: tasks, each played by every logger.
      steps: T, at least the largest horizon.
      tasks: what names of tasks begin with; None: the key, in hexadecimal digits. Key and number of episodes together
        say which tasks they are, so both are in the names: other ones are other tasks, also where logs are pooled.

    Returns:
      ``len(loggers) * episodes`` episodes, logger by logger, as NumPy arrays.
    """
    played, key = [], one_key(key)
    for number, policy in enumerate(loggers.values()):
        found = _collect(key, number, policy, params, episodes=episodes, steps=steps)
        probability = np.stack(
            [
                np.asarray(_logged_probability(other, params, found.observation, found.action, found.failed))
                for other in loggers.values()
            ],
            axis=-1,
        )
        found = jax.tree.map(np.asarray, found)
        probability[~found.alive] = 1.0
        played.append(dataclasses.replace(found, probability=probability))
    whole = jax.tree.map(lambda *leaves: np.concatenate(leaves), *played)
    if tasks is None:
        tasks = "".join(f"{word:08x}" for word in np.ravel(jax.random.key_data(key)))
    return Log(whole, tuple(loggers), tuple(f"{tasks}-{episodes}/{n}" for n in range(episodes)))


def play_logged(
    key: jax.Array, number: jax.Array, policy: Policy, params: EnvParams, *, episodes: int, steps: int
) -> Episodes:
    """One logger's episodes, probabilities left out.

    Args:
      key: of the tasks, the same for every logger.
      number: the logger's, which its own luck is drawn by.
      policy: the logger.
      params: the environment.
      episodes: how many, each on a task of its own.
      steps: T, at least the horizon.

    Returns:
      N episodes; probabilities ``[N, T, 0]``.
    """
    tasks = draw_chance(key, params, episodes=episodes, steps=1)
    own = draw_chance(jax.random.fold_in(key, number), params, episodes=episodes, steps=steps)
    played = play(own._replace(start=tasks.start), policy, params)
    return Episodes(
        # Logs have what the environment shows, and nothing that a policy makes of it.
        observation=jnp.moveaxis(played.observation[:, : observation_size(params)], 2, 0),
        action=played.action.T.astype(jnp.int32),
        costs=jnp.moveaxis(played.costs, 2, 0),
        alive=played.alive.T,
        probability=jnp.zeros((episodes, steps, 0)),
        logger=jnp.full(episodes, number, jnp.int32),
        task=jnp.arange(episodes, dtype=jnp.int32),
        success=played.success,
    )


_collect = jax.jit(play_logged, static_argnames=("episodes", "steps"))


def distributions(
    policy: Policy, params: EnvParams, observation: jax.Array, action: jax.Array, failed: jax.Array
) -> jax.Array:
    """With which probabilities a policy would have played each row along logged episodes.

    A policy that remembers is told what was played.

    Args:
      policy: any.
      params: the environment.
      observation: ``[N, T, O]``.
      action: what was played, integer ``[N, T]``.
      failed: whether it failed, Boolean ``[N, T]``.

    Returns:
      ``[N, T, A]``.
    """
    seen, played = jnp.moveaxis(observation, 0, 2), action.T  # [T, O, N], [T, N]
    following = jnp.concatenate([seen[1:], seen[-1:]])

    def step(memory: Any, given: tuple[jax.Array, ...]) -> tuple[Any, jax.Array]:
        here, row, fault, after = given
        found = jax.nn.softmax(policy.logits(params, here, legal_seen(here, params), memory), axis=0)
        return policy.remember(params, memory, row, fault, after), found

    _, found = jax.lax.scan(step, policy.begin(params, seen[0]), (seen, played, failed.T, following))
    return jnp.moveaxis(found, 2, 0)


@jax.jit
def _logged_probability(
    policy: Policy, params: EnvParams, observation: jax.Array, action: jax.Array, failed: jax.Array
) -> jax.Array:
    found = distributions(policy, params, observation, action, failed)
    return jnp.take_along_axis(found, action[..., None], axis=2)[..., 0]


def joined(logs: Sequence[Log]) -> Log:
    """Several data sets as one: loggers and tasks of the same name are the same.

    Shorter ones are padded to the longest T.

    Args:
      logs: data sets with observations of one size.

    Returns:
      All episodes, in this order, as NumPy arrays; NaN where a logger's probability is known in another set only.

    Raises:
      UserError: observations of another size.
    """
    loggers = tuple(dict.fromkeys(name for log in logs for name in log.loggers))
    tasks = tuple(dict.fromkeys(name for log in logs for name in log.tasks))
    logger_number, task_number = ({name: i for i, name in enumerate(names)} for names in (loggers, tasks))
    steps = max(log.episodes.action.shape[1] for log in logs)
    parts = []
    for log in logs:
        part = jax.tree.map(np.asarray, log.episodes)
        sizes = [x.episodes.observation.shape[2] for x in (logs[0], log)]
        if sizes[0] != sizes[1]:
            raise UserError(f"data sets with observations of {sizes[0]} and of {sizes[1]} numbers cannot be joined")
        probability = np.full((*part.action.shape, len(loggers)), np.nan, np.float32)
        probability[..., [logger_number[name] for name in log.loggers]] = part.probability
        parts.append(
            dataclasses.replace(
                part,
                observation=_padded(part.observation, steps),
                action=_padded(part.action, steps),
                costs=_padded(part.costs, steps),
                alive=_padded(part.alive, steps),
                probability=_padded(probability, steps, np.nan),
                logger=np.array([logger_number[name] for name in log.loggers], np.int32)[part.logger],
                task=np.array([task_number[name] for name in log.tasks], np.int32)[part.task],
            )
        )
    whole = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return Log(
        whole,
        loggers,
        tasks,
        tuple(source for log in logs for source in log.sources),
        tuple(warning for log in logs for warning in log.warnings),
        tuple(note for log in logs for note in log.notes),
    )


def _padded(values: np.ndarray, steps: int, fill: float = 0) -> np.ndarray:
    """To so many steps, on the second axis."""
    missing = steps - values.shape[1]
    return np.pad(values, [(0, 0), (0, missing)] + [(0, 0)] * (values.ndim - 2), constant_values=fill)


def weighted(episodes: Episodes, weights: Any) -> Any:
    """Σ_k λ_k C_k of each step. ``[N, T]``

    Args:
      episodes: N episodes of T steps.
      weights: λ. ``[5]``

    Returns:
      ``[N, T]``.
    """
    return jnp.einsum("ntk,k->nt", episodes.costs, weights, precision="highest")
