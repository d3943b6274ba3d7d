"""What algorithms that learn from logs share: the data that a step draws, and what a loss may ask of them.

Costs to go are learned in a frame: less their mean at the step, over their standard deviation. There an action that
nobody logged is worth about as much as the average, not 0.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aljax import env
from aljax.env import EnvParams
from aljax.networks.architecture import Variables
from aljax.networks.inputs import architecture_of
from aljax.networks.seen import legal_seen
from aljax.options import LearnConfig, LearnHyperparameters
from aljax.policy import masked

GENTLE = 0.3
"""Turns the common setting of pessimism into one that suits algorithms that draw on whole costs to go."""
SPREAD_OVER = 100.0
"""Into how many places logged steps are taken to fall, when an action's share of them is turned into a count."""


class Frame(NamedTuple):
    """What costs to go are measured in."""

    offset: jax.Array
    """Their mean at each step. ``[T]``"""
    scale: jax.Array
    """Their standard deviation around it. Scalar"""


class Batch(NamedTuple):
    """A draw of episodes, steps and episodes as trailing axes."""

    seen: jax.Array
    """``[O, T, B]``"""
    action: jax.Array
    """``[T, B]``"""
    costs: jax.Array
    """Weighted, not in the frame. ``[T, B]``"""
    togo: jax.Array
    """Of the costs, in the frame. ``[T, B]``"""
    alive: jax.Array
    """``[T, B]``"""
    probability: jax.Array
    """Of the logged action under its logger; NaN: unknown. ``[T, B]``"""


@dataclasses.dataclass(frozen=True)
class Lesson:
    """All that a loss may look at in one step of learning. What a network learns from another is held constant."""

    nets: Mapping[str, Variables]
    """The networks' weights by name, with respect to which the loss is differentiated."""
    targets: Mapping[str, Variables]
    """Of some networks, weights that follow slowly."""
    batch: Batch
    frame: Frame
    hyper: LearnHyperparameters
    params: EnvParams
    config: LearnConfig
    steps: jax.Array
    """Logged steps in the whole data set."""
    legal: jax.Array
    """Which rows may be chosen. Boolean ``[A, T, B]``, of length 1 where it is the same always"""
    total: jax.Array
    """Steps of the batch that are alive, at least 1."""
    one_hot: jax.Array
    """The logged action. Boolean ``[A, T, B]``"""

    def mean(self, values: jax.Array) -> jax.Array:
        """Over the steps that are alive. ``[T, B]`` to a scalar

        Args:
          values: of every step. ``[T, B]``

        Returns:
          Scalar.
        """
        return jnp.where(self.batch.alive, values, 0.0).sum() / self.total

    def output(self, weights: Variables, outputs: int | None = None) -> jax.Array:
        """A network's numbers at every step, one a row unless told otherwise. ``[outputs, T, B]``

        Args:
          weights: the network's.
          outputs: how many numbers it returns; None: one a row.

        Returns:
          ``[outputs, T, B]``.
        """
        outputs = env.num_actions(self.params) if outputs is None else outputs
        return architecture_of(self.config, outputs).unroll(weights, self.batch.seen)

    def log_policy(self, weights: Variables) -> jax.Array:
        """Log-probabilities of the rows, from a network's logits; −inf where a row is not legal. ``[A, T, B]``

        Args:
          weights: the network's.

        Returns:
          ``[A, T, B]``.
        """
        return jax.nn.log_softmax(masked(self.output(weights), self.legal), axis=0)

    def chosen(self, values: jax.Array) -> jax.Array:
        """What belongs to the logged action. ``[A, T, B]`` to ``[T, B]``

        Args:
          values: of every row. ``[A, T, B]``

        Returns:
          ``[T, B]``.
        """
        return jnp.where(self.one_hot, values, 0.0).sum(0)

    def bootstrapped(self, following: jax.Array) -> jax.Array:
        """Targets in the frame, held constant, from estimates at each step in the frame. ``[T, B]`` to ``[T, B]``

        Args:
          following: costs to go from each step on, in the frame. ``[T, B]``

        Returns:
          What was paid at the step and the estimate at the next, in the frame, held constant. ``[T, B]``
        """
        frame, batch = self.frame, self.batch
        whole = jnp.where(batch.alive, frame.offset[:, None] + frame.scale * following, 0.0)
        ahead = jnp.concatenate([whole[1:], jnp.zeros_like(whole[:1])])
        return jax.lax.stop_gradient((batch.costs + ahead - frame.offset[:, None]) / frame.scale)


def lesson(
    nets: Mapping[str, Variables],
    *,
    targets: Mapping[str, Variables],
    batch: Batch,
    frame: Frame,
    hyper: LearnHyperparameters,
    params: EnvParams,
    config: LearnConfig,
    steps: jax.Array,
) -> Lesson:
    """A step's lesson, with what follows from the rest of it. See `Lesson`.

    Args:
      nets: the networks' weights by name.
      targets: those that follow slowly.
      batch: the step's draw.
      frame: what costs to go are measured in.
      hyper: traced numbers.
      params: the environment.
      config: static shape.
      steps: logged steps in the whole data set.

    Returns:
      See `Lesson`.
    """
    rows = jnp.arange(env.num_actions(params)).reshape(-1, 1, 1)
    return Lesson(
        nets,
        targets,
        batch,
        frame,
        hyper,
        params,
        config,
        steps,
        legal=legal_seen(batch.seen, params),
        total=jnp.maximum(batch.alive.sum(), 1),
        one_hot=rows == batch.action,
    )


def policy_network(nets: Mapping[str, Variables], config: LearnConfig) -> Variables:
    """The weights of the network called ``policy``.

    Args:
      nets: weights by name.
      config: static shape.

    Returns:
      Its weights.
    """
    del config
    return nets["policy"]


@dataclasses.dataclass(frozen=True)
class Rule:
    """An algorithm."""

    networks: Mapping[str, int | None]
    """Its networks by name, in the order in which their first weights are drawn, with how many numbers each returns;
    None: one a row."""
    loss: Callable[[Lesson], jax.Array]
    """The sum of all networks' losses on one step's draw. Scalar"""
    targets: tuple[str, ...] = ()
    """Networks that others learn from, by weights that follow slowly."""
    policy: Callable[[Mapping[str, Variables], LearnConfig], Variables] = policy_network
    """The weights of the policy, of the networks'."""


def only_least(logits: jax.Array) -> jax.Array:
    """1 at the first of the largest logits, else 0. ``[A, ...]``

    Args:
      logits: of the rows. ``[A, ...]``

    Returns:
      Boolean ``[A, ...]``.
    """
    rows = jnp.arange(logits.shape[0]).reshape((-1,) + (1,) * (logits.ndim - 1))
    return rows == jnp.argmax(logits, axis=0)
