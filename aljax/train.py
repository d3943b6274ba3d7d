"""REINFORCE: the whole training run as one jitted function.

``train(key, hyperparameters, params) -> (weights, curve)`` is pure, so seeds, hyperparameters and environments are
``jax.vmap`` away from a sweep. The policy gradient is the score-function estimator on costs to go,

    ∇J(π) = E[Σ_t ∇ log π(A_t | O_t) (G_t − b_t)],   G_t = Σ_{s ≥ t} Σ_k λ_k C_k(S_s, A_s),

(paper, section 3.4) minimised with Adam. Under a critic, a λ-return stands for G_t (see `Hyperparameters.trace`).
Which rows were played need not be all that teaches: see `aljax.learning.lookahead`.
`TrainConfig` holds what recompiles, `Hyperparameters` what does not.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from aljax import env
from aljax.env import EnvParams
from aljax.episodes import Trajectory
from aljax.host.modules import make_callable
from aljax.keys import one_key
from aljax.learning.baselines import Running, baselined, critic_frame, run_on
from aljax.learning.curriculum import training_chance
from aljax.learning.gradients import critic_values, surrogate
from aljax.learning.lookahead import Ahead, look_ahead
from aljax.learning.optimiser import AdamState, adam_init, adam_step, falling
from aljax.learning.replay import begin_replay, entry_of, keep, replayed
from aljax.learning.returns import lambda_advantages, residual_costs, root_mean_square, togo_of
from aljax.learning.risk import Risk, begin_risk, charges, promised, take_in
from aljax.learning.run_state import Curve, PackedState, Replay, TrainState, no_curve, packed, row_of
from aljax.networks.architecture import Architecture, Variables
from aljax.networks.inputs import architecture_of, inputs_of
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import learned_of
from aljax.posterior import worlds_of
from aljax.rollout import Outcome, blocks_of, in_blocks, outcome, play
from aljax.shapes import check_weights
from aljax.target import Target, here

make_callable(__name__)

jax.tree_util.register_dataclass(Hyperparameters)


def train(
    key: jax.Array,
    hyperparameters: Hyperparameters,
    params: EnvParams,
    variables: Variables | None = None,
    *,
    config: TrainConfig,
    steps: int,
    target: Target | None = None,
) -> tuple[Variables, Curve]:
    """Trains a policy, from scratch or from one that there is.

    Args:
      key: a PRNG key; the same one gives the same run.
      hyperparameters: traced numbers.
      params: the environment.
      variables: weights to begin with; None: drawn.
      config: static shape of the run.
      steps: static length of an episode's scan, at least the largest horizon.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      The network's weights and the learning curve.
    """
    state = init(key, params, variables, config=config, steps=steps)
    state = advance(state, 0, config.updates, hyperparameters, params, config=config, steps=steps, target=target)
    return state.variables, state.curve


def policy_architecture(config: TrainConfig, params: EnvParams) -> Architecture:
    """What the policy's network is like under a configuration in an environment.

    Args:
      config: shape of the run.
      params: the environment.

    Returns:
      The architecture: as many outputs as there are rows.
    """
    return architecture_of(config, env.num_actions(params))


def init(
    key: jax.Array, params: EnvParams, variables: Variables | None = None, *, config: TrainConfig, steps: int
) -> TrainState:
    """The state before the first update; of a policy with these weights, if any are given. See `train`.

    Args:
      key: a PRNG key; the same one gives the same run.
      params: the environment.
      variables: the policy's weights to begin with; None: drawn.
      config: static shape of the run.
      steps: T, static length of an episode's scan.

    Returns:
      Everything that `advance` carries on.
    """
    run_key, policy_key, critic_key = jax.random.split(one_key(key), 3)
    weights: Variables = variables
    network, inputs = policy_architecture(config, params), inputs_of(config).size(params)
    if variables is not None:
        check_weights("variables", variables, jax.eval_shape(lambda: network.init(jax.random.key(0), inputs)))
    if variables is None:
        weights = network.init(policy_key, inputs)
    critic: Variables = {}
    if config.baseline == "critic":
        critic = architecture_of(config, 1).init(critic_key, inputs)
    return TrainState(
        key=run_key,
        variables=weights,
        optimiser=adam_init(weights),
        critic=critic,
        critic_optimiser=adam_init(critic),
        running=Running(jnp.zeros(steps), jnp.zeros(()), jnp.zeros(())),
        curve=no_curve(config),
        risk=begin_risk(config),
        replay=begin_replay(config, steps),
    )


def advance(
    state: TrainState,
    start: int | jax.Array,
    stop: int | jax.Array,
    hyperparameters: Hyperparameters,
    params: EnvParams,
    *,
    config: TrainConfig,
    steps: int,
    target: Target | None = None,
) -> TrainState:
    """Runs the updates from `start` up to `stop`, both traced: a run in pieces is the run in one, bit for bit.

    Args:
      state: as `init` gave it, or an earlier piece.
      start: the first update to run.
      stop: the update not to run any more.
      hyperparameters: traced numbers.
      params: the environment.
      config: static shape of the run, as for `init`.
      steps: as for `init`.
      target: what it is compiled for; None: this process's default backend.

    Returns:
      The state after those updates, its curve filled so far.
    """
    static = config, steps, target or here()

    def body(update: jax.Array, state: TrainState) -> TrainState:
        learnt = _learn(update, state, hyperparameters, params, *static)
        if config.replays:
            return _descend_again(update, state, learnt, hyperparameters, params, config, static[-1])
        return _descend(update, state, learnt, hyperparameters, config)

    def packed_body(update: jax.Array, state: PackedState) -> PackedState:
        learnt = _learn(update, apart(state), hyperparameters, params, *static)
        return _descend_packed(update, state, learnt, hyperparameters, config)

    if config.replays or not static[-1].stores_packed:
        return jax.lax.fori_loop(start, stop, body, state)
    together, apart = packed(state)
    return apart(jax.lax.fori_loop(start, stop, packed_body, together))


class _Learnt(NamedTuple):
    """What a batch of episodes teaches."""

    gradient: Variables
    """Of the policy, not clipped."""
    critic_gradient: Variables
    """Of no tree where there is no critic."""
    running: Running
    """The batch taken in."""
    point: Curve
    """Of the learning curve, but for the gradient's length."""
    risk: Risk | None
    """The batch taken in."""
    kept: Replay | None
    """Of the batch, where batches are replayed. ``[T, B]``"""


def _learn(
    update: jax.Array,
    state: TrainState,
    hyper: Hyperparameters,
    params: EnvParams,
    config: TrainConfig,
    steps: int,
    target: Target,
) -> _Learnt:
    """Plays one batch of episodes."""
    import optax  # where it is traced: see `aljax.learning.optimiser`

    architecture, learns_critic = policy_architecture(config, params), config.baseline == "critic"
    blocks = blocks_of(config.batch, target.block)
    remaining = 1.0 - update / config.updates

    def play_block(key: jax.Array) -> _Block:
        worlds = worlds_of(key, params, config, config.batch // blocks)
        sampler = worlds.policy(learned_of(config, params, state.variables, greedy=False))
        chance = training_chance(key, remaining, hyper, params, config, config.batch // blocks, steps, target)
        played = worlds.each(lambda drawn, own, on: play(drawn, sampler, own, target=on), chance, target)
        values = critic_values(state.critic, state.running, played, config, target) if learns_critic else None
        ahead = None
        if config.gradient == "all_rows":
            ahead = worlds.each(
                lambda both, own, on: look_ahead(both[0], both[1], state, config, own, on), (chance, played), target
            )
        charged = charges(played, params, state.risk, remaining, config, hyper)
        kept = entry_of(state.variables, played, params, config, target) if config.replays else None
        return _Block(played, charged, values, ahead, outcome(played, params), kept)

    batch: _Block = in_blocks(play_block, jax.random.fold_in(state.key, update), blocks)
    alive, costs = _joined(batch.played.alive), _joined(batch.costs)
    togo = togo_of(costs, target)
    if batch.values is not None:
        trace = 1.0 - (1.0 - hyper.trace) * remaining
        if batch.ahead is None:
            raw = surprise = lambda_advantages(costs, _joined(batch.values), alive, trace, target)
        else:
            expected = _joined(batch.ahead.expected)
            residuals = residual_costs(costs, expected, _joined(batch.ahead.played), trace, target)
            raw = hyper.residual * residuals
            surprise = jnp.where(alive, expected + trace * residuals - _joined(batch.values), 0.0)
        # Of the mean squared error over the steps played, in the critic's own frame, where costs are over `scale`.
        _, scale = critic_frame(state.running)
        errors = surprise * (-2.0 / (scale**2 * jnp.maximum(alive.sum(), 1)))
    else:
        raw = baselined(config.baseline, togo, alive, state.running)
        errors = raw  # of no critic
    spread = None if batch.ahead is None else _joined(batch.ahead.spread)
    size = root_mean_square(raw, alive, spread) if config.normalise else 1.0
    rows = None if batch.ahead is None else batch.ahead.rows / size

    def gradients(
        block: tuple[Trajectory, jax.Array, jax.Array, jax.Array | None],
    ) -> tuple[Variables, Variables, jax.Array]:
        """Of the policy, of the critic, and the policy's summed entropy: one block's share of them."""
        played, advantages, errors, rows = block
        (_, entropy), gradient = jax.value_and_grad(surrogate, has_aux=True)(
            state.variables, architecture, played, advantages, hyper.entropy * remaining, params, target, rows
        )
        critic_gradient: Variables = {}
        if learns_critic:  # the compiler sees that these estimates are those of `play_block`
            estimate = functools.partial(
                critic_values, running=state.running, played=played, config=config, target=target
            )
            (critic_gradient,) = jax.vjp(estimate, state.critic)[1](errors)
        return optax.tree.scale(1.0 / blocks, gradient), critic_gradient, entropy * played.alive.sum()

    given = (batch.played, _parted(raw / size, blocks), _parted(errors, blocks), rows)
    first = jax.tree.map(lambda leaf: leaf[0], given)
    if blocks == 1:
        gradient, critic_gradient, entropy = gradients(first)
    else:
        nothing = jax.tree.map(jnp.zeros_like, jax.eval_shape(gradients, first))
        sums, _ = jax.lax.scan(lambda sums, block: (optax.tree.add(sums, gradients(block)), None), nothing, given)
        gradient, critic_gradient, entropy = sums

    components = batch.result.costs.mean((0, 2))
    if target.stores_packed:  # one pass over the episodes fewer
        cost = jnp.tensordot(params.weights, components, 1, precision="highest")
    else:
        cost = batch.result.total.mean()
    risk = take_in(state.risk, batch.result, remaining, config, hyper)
    point = Curve(
        cost=cost,
        success=batch.result.success.mean(),
        components=components,
        entropy=entropy / jnp.maximum(alive.sum(), 1),
        gradient_norm=jnp.zeros(()),
        **promised(risk),
    )
    running = run_on(state.running, togo, alive, hyper.running_decay)
    return _Learnt(gradient, critic_gradient, running, point, risk, jax.tree.map(_joined, batch.kept))


def _descend(
    update: jax.Array, state: TrainState, learnt: _Learnt, hyper: Hyperparameters, config: TrainConfig
) -> TrainState:
    """One step of Adam along what was learnt."""
    import optax

    shrink = falling(config.schedule, 1.0 - update / config.updates, hyper)
    norm = optax.tree.norm(learnt.gradient)
    clipped = optax.tree.scale(_clipping(norm, hyper), learnt.gradient)
    direction, optimiser = adam_step(clipped, state.optimiser)
    variables = optax.tree.add_scale(state.variables, -hyper.learning_rate * shrink, direction)
    critic, critic_optimiser = state.critic, state.critic_optimiser
    if config.baseline == "critic":
        direction, critic_optimiser = adam_step(learnt.critic_gradient, critic_optimiser)
        critic = optax.tree.add_scale(critic, -hyper.critic_learning_rate * shrink, direction)
    point = learnt.point._replace(gradient_norm=norm)
    curve = jax.tree.map(lambda whole, entry: whole.at[update].set(entry), state.curve, point)
    further = learnt.running, curve, learnt.risk, state.replay
    return TrainState(state.key, variables, optimiser, critic, critic_optimiser, *further)


def _descend_again(
    update: jax.Array,
    state: TrainState,
    learnt: _Learnt,
    hyper: Hyperparameters,
    params: EnvParams,
    config: TrainConfig,
    target: Target,
) -> TrainState:
    """Keeps the batch, and makes steps along what the batches that are kept teach, in the place of one along its own.

    The compiler drops what its own gradients are worked out of.
    """
    assert state.replay is not None and learnt.kept is not None
    state = state._replace(running=learnt.running, replay=keep(state.replay, update, learnt.kept))

    def again(number: jax.Array, state: TrainState) -> TrainState:
        gradient, of_critic = replayed(update, number, state, hyper, params, config, target)
        return _descend(update, state, learnt._replace(gradient=gradient, critic_gradient=of_critic), hyper, config)

    return jax.lax.fori_loop(0, config.replays, again, state)


def _descend_packed(
    update: jax.Array, state: PackedState, learnt: _Learnt, hyper: Hyperparameters, config: TrainConfig
) -> PackedState:
    """`_descend` on all weights at once, the policy's and the critic's; what is behind them is as it was learnt."""
    shrink = falling(config.schedule, 1.0 - update / config.updates, hyper)
    given, _ = ravel_pytree(
        (learnt.gradient, learnt.critic_gradient, learnt.running, learnt.risk, state.numbers[-1] + 1.0)
    )
    # One array is made of them first: then all numbers are worked out in one go, each in its place.
    given = jax.lax.optimization_barrier(given)
    steps = (given[-1] - 1.0).astype(jnp.int32)
    of_policy, of_both = (
        jnp.arange(len(given)) < sum(leaf.size for leaf in jax.tree.leaves(trees))
        for trees in (learnt.gradient, (learnt.gradient, learnt.critic_gradient))
    )
    norm = jnp.sqrt(jnp.where(of_policy, given**2, 0.0).sum())
    clipped = jnp.where(of_both, jnp.where(of_policy, _clipping(norm, hyper), 1.0) * given, 0.0)
    direction, optimiser = adam_step(clipped, AdamState(steps, state.mean, state.square))
    rate = jnp.where(of_policy, hyper.learning_rate, hyper.critic_learning_rate)
    numbers = jnp.where(of_both, state.numbers - rate * shrink * direction, given)
    row = row_of(learnt.point._replace(gradient_norm=norm))
    return PackedState(state.key, numbers, optimiser.mean, optimiser.square, state.curve.at[update].set(row))


def _clipping(norm: jax.Array, hyper: Hyperparameters) -> jax.Array:
    """What shortens a gradient of this length to the longest that is taken."""
    return jnp.minimum(1.0, hyper.clip_norm / jnp.maximum(norm, 1e-12))


class _Block(NamedTuple):
    """What a block of a batch's episodes came to; stacked blocks have a leading axis."""

    played: Trajectory
    costs: jax.Array
    """What each step is charged. ``[T, B]``"""
    values: jax.Array | None
    """The critic's estimates. ``[T, B]``"""
    ahead: Ahead | None
    """What is known of every row."""
    result: Outcome
    kept: Replay | None
    """What is kept of it. ``[T, B]``"""


def _joined(blocks: jax.Array) -> jax.Array:
    """``[blocks, T, B]`` to ``[T, blocks B]``."""
    return jnp.moveaxis(blocks, 0, 1).reshape(blocks.shape[1], -1)


def _parted(whole: jax.Array, blocks: int) -> jax.Array:
    """The reverse of `_joined`."""
    return jnp.moveaxis(whole.reshape(len(whole), blocks, -1), 1, 0)
