"""One step ahead over every row: what each action would cost, the simulator being its own model.

Along episodes that were played, for every step and every row a of the table,

    q(a) = E[Σ_k λ_k C_k(S, a) + V(O')],

the expectation being over whether the call fails, and V a critic's estimate at what would be seen next, 0 where the
episode would be over. What else is random in a step (noise, the spread of seconds, outages) is the episode's own luck,
the same for all rows, and so is what is hidden: the average over episodes is that over them too. So a policy's gradient
need not wait until a row is tried (`all_rows` of `aljax.options.TrainConfig.gradient`): it is planning with the model,
which a trainer that only plays does not have.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from aljax import env
from aljax.chance import Chance
from aljax.env import EnvParams, EnvState, Luck
from aljax.episodes import Trajectory
from aljax.layout import lift
from aljax.learning.baselines import critic_frame
from aljax.learning.gradients import log_policy, of_the_played
from aljax.learning.run_state import TrainState
from aljax.networks.inputs import architecture_of
from aljax.options import TrainConfig
from aljax.policy import Learned
from aljax.target import Target, here

_FAILURE = env.COMPONENTS.index("failure")


class Ahead(NamedTuple):
    """What is known of every row at every step of B episodes; 0 after an episode's end."""

    rows: jax.Array
    """q(a) less what is expected of the policy, Σ_b π(b) q(b). ``[A, T, B]``"""
    expected: jax.Array
    """Σ_a π(a) q(a). ``[T, B]``"""
    played: jax.Array
    """q of the row played. ``[T, B]``"""
    spread: jax.Array
    """Σ_a π(a) rows(a)². ``[T, B]``"""


def look_ahead(
    chance: Chance,
    played: Trajectory,
    state: TrainState,
    config: TrainConfig,
    params: EnvParams,
    target: Target | None = None,
) -> Ahead:
    """Looks one step ahead along episodes that a policy played in training.

    Args:
      chance: of the episodes.
      played: the episodes, B of T steps.
      state: of the run: the policy that played them, and the critic.
      config: shape of the run.
      params: the environment.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      What is known of every row.
    """
    offset, scale = critic_frame(state.running)
    network = architecture_of(config, 1)
    critic = Learned(network.scaled(state.critic, scale), network, shown=config.inputs)
    costs = jnp.where(played.alive, along(chance, played.action, critic, offset[:, 0], params, target), 0.0)
    policy = architecture_of(config, env.num_actions(params))
    probabilities = jnp.exp(log_policy(state.variables, policy, played, params, target))
    expected = (probabilities * costs).sum(0)
    rows = costs - expected
    return Ahead(rows, expected, of_the_played(costs, played), (probabilities * rows**2).sum(0))


def along(
    chance: Chance,
    action: jax.Array,
    critic: Learned,
    offset: jax.Array,
    params: EnvParams,
    target: Target | None = None,
) -> jax.Array:
    """What every row would cost at every step of episodes that were played.

    Args:
      chance: of B episodes of T steps.
      action: the rows played on it. Integer ``[T, B]``
      critic: a network of one output, its estimate of the costs to go but for `offset`.
      offset: added to its estimate before each step. ``[T]``
      params: the environment.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      q; 0 after an episode's end. ``[A, T, B]``
    """
    target = target or here()
    state = env.begin(chance.start, params)
    observation = critic.observe(params, state)

    def body(carry: tuple[EnvState, Any], given: tuple[jax.Array, Luck, jax.Array]) -> tuple[Any, jax.Array]:
        (state, memory), (action, luck, after) = carry, given
        moved, costs = env.transition_apart(state, action, luck, params, target)
        seen = critic.observe(params, moved)
        onward = critic.remember(params, memory, action, costs[_FAILURE] > 0, seen)
        return (moved, onward), row_costs(state, memory, luck, critic, after, params, target)

    after = jnp.concatenate([offset[1:], jnp.zeros_like(offset[:1])])
    carry, given = (state, critic.begin(params, observation)), (action, chance.luck, after)
    _, found = jax.lax.scan(body, carry, given, unroll=target.unrolled(len(action)))
    return jnp.moveaxis(found, 1, 0)


def row_costs(
    state: EnvState,
    memory: Any,
    luck: Luck,
    critic: Learned,
    offset: jax.Array,
    params: EnvParams,
    target: Target | None = None,
) -> jax.Array:
    """q: what every row would cost here, this step and what the critic makes of what would be seen next.

    Args:
      state: where episodes stand, with any trailing axes.
      memory: what the critic remembers there.
      luck: ξ of the step, of which it takes everything but u.
      critic: a network of one output.
      offset: added to the critic's estimate. Scalar
      params: the environment.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      Weighted costs. ``[A]``
    """
    rows, batch = env.num_actions(params), state.time.shape
    ndim, outcomes = len(batch), (rows, 2)
    action = jnp.broadcast_to(lift(jnp.arange(rows, dtype=jnp.int32), 1 + ndim), (*outcomes, *batch))

    def spread(leaf: jax.Array) -> jax.Array:
        own = leaf.shape[: leaf.ndim - ndim]
        return jnp.broadcast_to(leaf.reshape(*own, 1, 1, *batch), (*own, *outcomes, *batch))

    before, remembered, luck = jax.tree.map(spread, (state, memory, luck))
    # Below every probability, so that the call fails, and not below any, so that only what makes it certain does.
    luck = luck._replace(u=jnp.broadcast_to(lift(jnp.array([-1.0, 1.0]), ndim), action.shape))
    moved, costs = env.transition_apart(before, action, luck, params, target)
    seen = critic.observe(params, moved)
    remembered = critic.remember(params, remembered, action, costs[_FAILURE] > 0, seen)
    shown = critic.sees(params, seen, remembered)
    value = offset + critic.architecture.output(critic.variables, shown, remembered[1])[0]
    total = sum(lam * cost for lam, cost in zip(params.weights, costs, strict=True)) + jnp.where(moved.done, 0.0, value)
    fails = env.failure_after(state.status, jax.tree.map(lambda column: lift(column, ndim), params.actions))
    return fails * total[:, 0] + (1.0 - fails) * total[:, 1]
