"""Learning again and again from episodes that were played: replay, with the simulator's answers for every row.

A gradient of the policy uses a step once, a trainer with a buffer many times. Here the rows of the latest batches are
kept, and after each batch several gradient steps are made, each on some of these batches drawn anew. Nothing is played
for that: a batch's chance is drawn once more from its key, so that the same rows meet the same states, and what every
row would cost there is asked of the simulator and the critic as they are *now* (`aljax.learning.lookahead`). It is
planning from states that were seen, as Dyna does (Sutton, 1990), with a gradient over all actions (Sutton et al., 2001;
Ciosek and Whiteson, 2018), which needs no weights for what other policies chose:

    Σ_a ∇π(a) q(a),   and   V → Σ_a π(a) q(a).

To the policy's gradient is added what came of the rows played otherwise than expected, by the probability that the
policy now gives them over the one that it gave them then, at most 1, and onwards by the product of these: the λ-returns
of Munos et al. (2016), with a model's expectation as their control variate. The critic learns from expectations alone,
as in fitted value iteration.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from aljax import env
from aljax.chance import Chance, uniform_pairs
from aljax.env import EnvParams, EnvState
from aljax.episodes import Trajectory
from aljax.learning.baselines import critic_frame
from aljax.learning.curriculum import training_chance
from aljax.learning.gradients import critic_values, log_policy, of_the_played, surrogate
from aljax.learning.lookahead import look_ahead
from aljax.learning.returns import residual_costs, root_mean_square, step_costs
from aljax.learning.run_state import Replay, TrainState
from aljax.networks.architecture import Variables
from aljax.networks.inputs import architecture_of
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import Learned, Policy, learned_of, only
from aljax.rollout import blocks_of, in_blocks, play
from aljax.target import Target


def begin_replay(config: TrainConfig, steps: int) -> Replay | None:
    """Room for the batches that are kept, before any was played.

    Args:
      config: shape of the run.
      steps: T, static length of an episode's scan.

    Returns:
      None where nothing is replayed.
    """
    if not config.replays:
        return None
    shape = (min(config.replay_last, config.updates), steps, config.batch)
    return Replay(jnp.zeros(shape, jnp.int32), jnp.zeros(shape))


def entry_of(
    variables: Variables, played: Trajectory, params: EnvParams, config: TrainConfig, target: Target
) -> Replay:
    """What is kept of episodes.

    Args:
      variables: weights of the policy that played them.
      played: the episodes, B of T steps.
      params: the environment.
      config: shape of the run.
      target: what it is compiled for.

    Returns:
      Arrays ``[T, B]``.
    """
    network = architecture_of(config, env.num_actions(params))
    scores = of_the_played(log_policy(variables, network, played, params, target), played)
    return Replay(played.action, scores)


def keep(replay: Replay, update: int | jax.Array, entry: Replay) -> Replay:
    """Keeps a batch, in the place of the oldest.

    Args:
      replay: what is kept.
      update: the batch's number.
      entry: as `entry_of` gave it.

    Returns:
      What is kept now.
    """
    place = update % len(replay.rows)
    return jax.tree.map(lambda whole, new: whole.at[place].set(new), replay, entry)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Again(Policy):
    """Plays rows that were played before, in B episodes side by side; it is shown what another policy is shown."""

    rows: jax.Array
    """Integer ``[T, B]``"""
    shown: Learned
    """Who is shown it, and remembers."""
    name: ClassVar[str] = "again"

    def observe(self, params: EnvParams, state: EnvState) -> jax.Array:
        """See `Policy.observe`."""
        return self.shown.observe(params, state)

    def begin(self, params: EnvParams, observation: jax.Array) -> Any:
        """The step that it stands at, and the other's memory. See `Policy.begin`."""
        return jnp.int32(0), self.shown.begin(params, observation)

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.logits`."""
        return only(self.rows[memory[0]], env.num_actions(params))

    def remember(
        self, params: EnvParams, memory: Any, action: jax.Array, failed: jax.Array, observation: jax.Array
    ) -> Any:
        """See `Policy.remember`."""
        return memory[0] + 1, self.shown.remember(params, memory[1], action, failed, observation)

    def sees(self, params: EnvParams, observation: jax.Array, memory: Any) -> jax.Array:
        """See `Policy.sees`."""
        return self.shown.sees(params, observation, memory[1])


def drawn_again(
    update: jax.Array,
    number: jax.Array,
    state: TrainState,
    hyper: Hyperparameters,
    params: EnvParams,
    config: TrainConfig,
    target: Target,
) -> tuple[Chance, Replay]:
    """Draws some of the batches that are kept, all equally likely, with the chance that they were played on.

    Args:
      update: the latest batch.
      number: which of its replays this is.
      state: of the run.
      hyper: its numbers.
      params: the environment.
      config: its shape.
      target: what it is compiled for.

    Returns:
      Chance and entries of N episodes, side by side.
    """
    assert state.replay is not None
    kept, steps, episodes = state.replay.rows.shape
    # Batches are played by keys of the numbers below `updates`.
    key = jax.random.fold_in(jax.random.fold_in(state.key, config.updates + update), number)
    there = jnp.minimum(update + 1, kept)
    share, _ = uniform_pairs(key, (config.replay_batches,))
    chosen = update - jnp.minimum((share * there).astype(jnp.int32), there - 1)
    blocks = blocks_of(episodes, target.block)

    def batch(chosen: jax.Array) -> Chance:
        remaining = 1.0 - chosen / config.updates

        def block(key: jax.Array) -> Chance:
            return training_chance(key, remaining, hyper, params, config, episodes // blocks, steps, target)

        return side_by_side(in_blocks(block, jax.random.fold_in(state.key, chosen), blocks))

    entries = jax.tree.map(lambda leaf: leaf[chosen % kept], state.replay)
    return side_by_side(jax.vmap(batch)(chosen)), side_by_side(entries)


def side_by_side(many: Any) -> Any:
    """Leaves ``[N, ..., B]`` to ``[..., N B]``.

    Args:
      many: a tree of arrays.

    Returns:
      The tree.
    """
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -2).reshape(*leaf.shape[1:-1], -1), many)


def replayed(
    update: jax.Array,
    number: jax.Array,
    state: TrainState,
    hyper: Hyperparameters,
    params: EnvParams,
    config: TrainConfig,
    target: Target,
) -> tuple[Variables, Variables]:
    """What some of the batches that are kept teach now.

    Args:
      update: the latest batch.
      number: which of its replays this is.
      state: of the run.
      hyper: its numbers.
      params: the environment.
      config: its shape.
      target: what it is compiled for.

    Returns:
      The policy's gradient and the critic's.
    """
    remaining = 1.0 - update / config.updates
    chance, entry = drawn_again(update, number, state, hyper, params, config, target)
    learned = learned_of(config, params, state.variables)
    played = play(chance, Again(entry.rows, learned), params, target=target)
    ahead = look_ahead(chance, played, state, config, params, target)
    now = entry_of(state.variables, played, params, config, target).scores
    ratio = jnp.where(played.alive, jnp.exp(jnp.minimum(now - entry.scores, 0.0)), 0.0)
    trace = ratio * (1.0 - (1.0 - hyper.trace) * remaining)
    residuals = residual_costs(step_costs(played, params), ahead.expected, ahead.played, trace, target)
    raw = hyper.residual * ratio * residuals
    size = root_mean_square(raw, played.alive, ahead.spread) if config.normalise else 1.0
    network = architecture_of(config, env.num_actions(params))
    _, gradient = jax.value_and_grad(surrogate, has_aux=True)(
        state.variables, network, played, raw / size, hyper.entropy * remaining, params, target, ahead.rows / size
    )
    _, scale = critic_frame(state.running)

    def error(critic: Variables) -> jax.Array:
        values = critic_values(critic, state.running, played, config, target)
        squares = jnp.where(played.alive, ((values - ahead.expected) / scale) ** 2, 0.0)
        return squares.sum() / jnp.maximum(played.alive.sum(), 1)

    return gradient, jax.grad(error)(state.critic)
