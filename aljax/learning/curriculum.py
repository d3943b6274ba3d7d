"""Starts of training that are nearer to what is asked than the scenario's: a reverse curriculum.

What pays only at the end of many steps that do not is never tried often enough to be learned, if every episode starts
far from it. Started near, a policy learns the last steps first, and from there on backwards, as the exact solution does
(Sutton and Barto, section 5.3, "exploring starts"; Florensa et al., 2017, "Reverse curriculum generation for
reinforcement learning"). Only a simulator can start where it likes, so this too is planning with the model.
"""

import jax
import jax.numpy as jnp

from aljax.chance import Chance, draw_chance, uniform_pairs
from aljax.env import EnvParams
from aljax.options import Hyperparameters, TrainConfig
from aljax.target import Target

_STREAM = 5
"""What the key of a batch is folded with: its chance needs none of that."""


def training_chance(
    key: jax.Array,
    remaining: float | jax.Array,
    hyper: Hyperparameters,
    params: EnvParams,
    config: TrainConfig,
    episodes: int,
    steps: int,
    target: Target | None = None,
) -> Chance:
    """All that is random in episodes of training, under the run's curriculum.

    Args:
      key: a PRNG key.
      remaining: of the run, from 1 to 0.
      hyper: its numbers.
      params: the environment.
      config: its shape.
      episodes: B.
      steps: T.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      The chance of B episodes.
    """
    chance = draw_chance(key, params, episodes=episodes, steps=steps, target=target)
    return nearer_starts(chance, key, hyper.nearer * remaining) if config.curriculum == "nearer" else chance


def nearer_starts(chance: Chance, key: jax.Array, share: float | jax.Array) -> Chance:
    """Lets a share of the episodes start nearer to what is asked: their task vectors are multiplied by √u.

    With u uniform on [0, 1], half of them start at seven tenths of the way or farther.

    Args:
      chance: of B episodes.
      key: the PRNG key that it was drawn from.
      share: of the episodes, on average.

    Returns:
      The chance, but for the starts the same.
    """
    chosen, u = uniform_pairs(jax.random.fold_in(key, _STREAM), chance.choice.shape[1:])
    factor = jnp.where(chosen < share, jnp.sqrt(u), 1.0)
    return chance._replace(start=chance.start._replace(nearer=factor))
