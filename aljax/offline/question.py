"""What is asked of logs: a policy's choices on logged episodes, and what to add up."""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np

from aljax.env import EnvParams
from aljax.offline import model
from aljax.offline.data import Log, distributions
from aljax.policy import Policy

THRESHOLDS = 16
"""So many of the features' thresholds may serve to fit how loggers choose, fewer than for the model of costs to go."""


@dataclasses.dataclass(frozen=True)
class Question:
    """A policy's choices on logged episodes, N of at most T steps; all NumPy arrays."""

    outcomes: Mapping[str, np.ndarray]
    """What to add up, by name: costs, say, or success at the last step; 0 after the end. ``[N, T]`` each"""
    action: np.ndarray
    """What was played. Integer ``[N, T]``"""
    alive: np.ndarray
    """Boolean ``[N, T]``"""
    target: np.ndarray
    """With which probability the policy would have played each action there. ``[N, T, A]``"""
    phi: np.ndarray
    """Features of what was seen, for how loggers choose; the first is constant. ``[N, T, F]``"""
    probability: np.ndarray
    """With which each logger would have played the logged action; NaN where unknown. ``[N, T, L]``"""
    logger: np.ndarray
    """Who acted. Integer ``[N]``"""
    task: np.ndarray
    """On which task. Integer ``[N]``"""
    model_phi: np.ndarray | None = None
    """Features for the model of costs to go, if others are needed there. ``[N, T, F']``"""
    sizes: tuple[int, ...] = ()
    """How many of the first features of `phi` a fit of how loggers choose may look at: what is likeliest on held-out
    tasks is taken. Without, 1 or all."""
    names: tuple[str, ...] = ()
    """Of the loggers, for warnings; without, their numbers."""


def question_of(log: Log, policy: Policy, params: EnvParams, seed: int = 0) -> Question:
    """A policy's choices on a scenario's logs; outcomes are ``cost``, weighted by λ, and ``success``.

    Args:
      log: the data set.
      policy: any, remembering or not.
      params: the scenario.
      seed: of the features.

    Returns:
      The question for `aljax.offline.estimate.estimate`.
    """
    episodes = jax.tree.map(np.asarray, log.episodes)
    alive = episodes.alive
    costs = np.where(alive, episodes.costs.astype(np.float64) @ np.asarray(params.weights, np.float64), 0.0)
    last = alive & ~np.concatenate([alive[:, 1:], np.zeros_like(alive[:, :1])], axis=1)
    success = np.where(last, episodes.success[:, None], False).astype(np.float64)
    features = model.features_of(episodes.observation, alive, seed=seed)
    phi = features(episodes.observation)
    linear = 1 + episodes.observation.shape[2]
    target = _distributions(policy, params, episodes.observation, episodes.action, episodes.failed)
    return Question(
        outcomes={"cost": costs, "success": success},
        action=episodes.action,
        alive=alive,
        target=np.asarray(target, np.float64),
        phi=phi[..., : linear + THRESHOLDS],
        model_phi=features(episodes.observation, steps=True),
        probability=episodes.probability.astype(np.float64),
        logger=episodes.logger,
        task=episodes.task,
        sizes=(1, linear, linear + THRESHOLDS),
        names=log.loggers,
    )


_distributions = jax.jit(distributions)


def chosen(of_all: np.ndarray, action: np.ndarray) -> np.ndarray:
    """What belongs to the action that was played.

    Args:
      of_all: a value an action. ``[N, T, A]``
      action: which. Integer ``[N, T]``

    Returns:
      ``[N, T]``.
    """
    return np.take_along_axis(of_all, action[..., None], 2)[..., 0]
