"""What a batch of episodes teaches: the scalar whose gradient is the policy's, and the critic's estimates."""

import jax
import jax.numpy as jnp

from aljax.env import EnvParams
from aljax.episodes import Trajectory
from aljax.learning.baselines import Running, critic_frame
from aljax.networks.architecture import Architecture, Variables
from aljax.networks.inputs import architecture_of
from aljax.options import TrainConfig
from aljax.policy import masked
from aljax.rollout import legal_steps
from aljax.target import Target


def surrogate(
    variables: Variables,
    architecture: Architecture,
    played: Trajectory,
    advantages: jax.Array,
    entropy_weight: float | jax.Array,
    params: EnvParams,
    target: Target | None = None,
    rows: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The scalar whose gradient is the policy gradient, and the policy's mean entropy over steps played.

    Per-step terms are summed over an episode's steps and averaged over episodes, so without normalisation the
    gradient estimates ∇J itself.

    Args:
      variables: the policy's weights, to differentiate by.
      architecture: of its network.
      played: B episodes of T steps.
      advantages: costs to go less a baseline; held constant. ``[T, B]``
      entropy_weight: of the bonus.
      params: the environment.
      target: what it is compiled for; None: this process's default backend.
      rows: what is known of every row besides (`aljax.learning.lookahead`), which adds Σ_a ∇π(a) rows(a); held
        constant, 0 where a step was not played. ``[A, T, B]``

    Returns:
      The scalar, to be minimised, and the entropy in nats.
    """
    log_probabilities = log_policy(variables, architecture, played, params, target)
    chosen = of_the_played(log_probabilities, played)
    score = jnp.where(played.alive, chosen * jax.lax.stop_gradient(advantages), 0.0).sum(0).mean()
    if rows is not None:
        score += (jnp.exp(log_probabilities) * jax.lax.stop_gradient(rows)).sum((0, 1)).mean()
    finite = jnp.where(jnp.isfinite(log_probabilities), log_probabilities, 0.0)
    entropies = jnp.where(played.alive, -(jnp.exp(log_probabilities) * finite).sum(0), 0.0)
    bonus = entropies.sum(0).mean()
    mean = entropies.sum() / jnp.maximum(played.alive.sum(), 1)
    return score - entropy_weight * bonus, mean


def log_policy(
    variables: Variables,
    architecture: Architecture,
    played: Trajectory,
    params: EnvParams,
    target: Target | None = None,
) -> jax.Array:
    """Log-probabilities of the rows under a policy's network, along whole episodes.

    Args:
      variables: the policy's weights.
      architecture: of its network.
      played: B episodes of T steps.
      params: the environment.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      −inf for rows that are not legal. ``[A, T, B]``
    """
    logits = masked(architecture.unroll(variables, _seen(played), target), legal_steps(played, params))
    return jax.nn.log_softmax(logits, axis=0)


def of_the_played(values: jax.Array, played: Trajectory) -> jax.Array:
    """The entry of each step at the row played.

    Args:
      values: one for every row. ``[A, T, B]``
      played: B episodes of T steps.

    Returns:
      ``[T, B]``.
    """
    rows = jnp.arange(values.shape[0]).reshape(-1, 1, 1)
    return jnp.where(rows == played.action, values, 0.0).sum(0)


def critic_values(
    critic: Variables, running: Running, played: Trajectory, config: TrainConfig, target: Target | None = None
) -> jax.Array:
    """The critic's estimates of the costs to go. ``[T, B]``

    Args:
      critic: its weights.
      running: averages over past updates, which are its frame.
      played: B episodes of T steps.
      config: shape of the run, which says its layers.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      In the costs' own units. ``[T, B]``
    """
    offset, scale = critic_frame(running)
    return offset + scale * architecture_of(config, 1).unroll(critic, _seen(played), target)[0]


def _seen(played: Trajectory) -> jax.Array:
    """A trajectory's observations as networks take them. ``[O, T, B]``"""
    return jnp.moveaxis(played.observation, 1, 0)
