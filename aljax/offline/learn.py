"""Learning from logged episodes: each algorithm a pure function of a key, numbers and a data set.

``learn(key, hyperparameters, params, episodes, config=...) -> (weights, losses)`` is jitted and vmapped like the
online ``train``; what it gives are the weights of an ordinary policy network, so `aljax.train` goes on from there.
What an algorithm minimises is in its own file (`aljax.offline.algorithms`); here are its steps.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aljax import env
from aljax.chance import uniform
from aljax.env import EnvParams
from aljax.keys import one_key
from aljax.learning.optimiser import AdamState, adam_init, adam_step
from aljax.networks.architecture import Variables
from aljax.networks.inputs import architecture_of, inputs_of
from aljax.offline.algorithms import ALGORITHMS
from aljax.offline.algorithms.common import Batch, Frame, lesson
from aljax.offline.data import Episodes, weighted
from aljax.options import LearnConfig, LearnHyperparameters

jax.tree_util.register_dataclass(LearnHyperparameters)


class LearnState(NamedTuple):
    """Everything that learning carries from one step to the next."""

    key: jax.Array
    nets: dict[str, Variables]
    targets: dict[str, Variables]
    optimiser: AdamState
    frame: Frame
    losses: jax.Array
    """So far, one a step. ``[updates]``"""


def learn(
    key: jax.Array,
    hyperparameters: LearnHyperparameters,
    params: EnvParams,
    episodes: Episodes,
    count: int | jax.Array | None = None,
    *,
    config: LearnConfig,
) -> tuple[Variables, jax.Array]:
    """Learns a policy from logged episodes.

    Args:
      key: a PRNG key; the same one gives the same policy.
      hyperparameters: traced numbers.
      params: the environment, for the weights λ and for which rows are allowed.
      episodes: the data set.
      count: learn from the first so many episodes; None: all. Traced, so that data sets of one padded size share a
        compilation.
      config: static shape.

    Returns:
      The policy network's weights and the losses ``[updates]``.
    """
    episodes = as_shown(episodes, params, config)
    state = init(key, params, episodes, count, config=config)
    state = advance(state, 0, config.updates, hyperparameters, params, episodes, count, config=config)
    return policy_weights(state, config), state.losses


def as_shown(episodes: Episodes, params: EnvParams, config: LearnConfig) -> Episodes:
    """Logged episodes as networks see them: logs have what was observed, and nothing that a network makes of it.

    Args:
      episodes: the data set.
      params: the environment.
      config: static shape, which says what networks are shown.

    Returns:
      The data set with what is shown in the place of observations. ``[N, T, I]``
    """
    inputs = inputs_of(config)
    if inputs.size(params) == env.observation_size(params):
        return episodes
    observed = jnp.moveaxis(jnp.asarray(episodes.observation), 0, 2)
    shown = inputs.along(params, observed, jnp.asarray(episodes.action).T, jnp.asarray(episodes.failed).T)
    return dataclasses.replace(episodes, observation=jnp.moveaxis(shown, 2, 0))


def policy_weights(state: LearnState, config: LearnConfig) -> Variables:
    """The weights of the policy's network, as the algorithm makes them of its networks.

    Args:
      state: after the last step.
      config: static shape.

    Returns:
      The weights.
    """
    return ALGORITHMS[config.algorithm].policy(state.nets, config)


def init(
    key: jax.Array,
    params: EnvParams,
    episodes: Episodes,
    count: int | jax.Array | None = None,
    *,
    config: LearnConfig,
) -> LearnState:
    """The state before the first step.

    Args:
      key: a PRNG key.
      params: the environment.
      episodes: the data set, `as_shown`.
      count: see `learn`.
      config: static shape.

    Returns:
      The state.
    """
    rule = ALGORITHMS[config.algorithm]
    run_key, *keys = jax.random.split(one_key(key), 1 + len(rule.networks))
    nets = {}
    for (name, outputs), own in zip(rule.networks.items(), keys, strict=True):
        architecture = architecture_of(config, env.num_actions(params) if outputs is None else outputs)
        nets[name] = architecture.init(own, inputs_of(config).size(params))
    steps = weighted(episodes, params.weights)
    known = _known(episodes, count)
    togo = jnp.where(known, _togo(steps.T).T, 0.0)
    each = jnp.maximum(known.sum(0), 1)
    offset = togo.sum(0) / each
    spread = jnp.where(known, (togo - offset) ** 2, 0.0).sum() / jnp.maximum(known.sum(), 1)
    return LearnState(
        key=run_key,
        nets=nets,
        targets={name: nets[name] for name in rule.targets},
        optimiser=adam_init(nets),
        frame=Frame(offset, jnp.sqrt(spread) + 1e-3),
        losses=jnp.zeros(config.updates),
    )


def advance(
    state: LearnState,
    start: int | jax.Array,
    stop: int | jax.Array,
    hyperparameters: LearnHyperparameters,
    params: EnvParams,
    episodes: Episodes,
    count: int | jax.Array | None = None,
    *,
    config: LearnConfig,
) -> LearnState:
    """Takes some steps: learning in pieces is learning in one, bit for bit.

    Args:
      state: before them.
      start: the first step, traced.
      stop: the first that is not taken, traced.
      hyperparameters: traced numbers.
      params: the environment.
      episodes: the data set, `as_shown`.
      count: see `learn`.
      config: static shape.

    Returns:
      The state after them.
    """
    import optax  # where it is traced: see `aljax.learning.optimiser`

    rule = ALGORITHMS[config.algorithm]
    episodes = jax.tree.map(jnp.asarray, episodes)  # NumPy's cannot be indexed by traced rows
    own = episodes.own_probability
    # Once, not at every step: a pass over the whole log.
    seen_steps = _known(episodes, count).sum()

    def body(update: jax.Array, state: LearnState) -> LearnState:
        drawn = uniform(jax.random.fold_in(state.key, update), (config.minibatch,), 0.0, 1.0)
        rows = (drawn * _count(episodes, count)).astype(jnp.int32)
        batch = _batch(episodes, own, rows, params, state.frame)
        given = functools.partial(
            lesson, targets=state.targets, batch=batch, frame=state.frame, hyper=hyperparameters,
            params=params, config=config, steps=seen_steps,
        )  # fmt: skip
        value, gradient = jax.value_and_grad(lambda nets: rule.loss(given(nets)))(state.nets)
        direction, optimiser = adam_step(gradient, state.optimiser)
        remaining = 1.0 - update / config.updates
        rate = hyperparameters.step_size * (0.02 + 0.98 * 0.5 * (1.0 - jnp.cos(jnp.pi * remaining)))
        nets = optax.tree.add_scale(state.nets, -rate, direction)
        targets = jax.tree.map(
            lambda old, new: old + hyperparameters.target_rate * (new - old),
            state.targets, {name: nets[name] for name in state.targets},
        )  # fmt: skip
        return LearnState(state.key, nets, targets, optimiser, state.frame, state.losses.at[update].set(value))

    return jax.lax.fori_loop(start, stop, body, state)


def _count(episodes: Episodes, count: int | jax.Array | None) -> int | jax.Array:
    return len(episodes) if count is None else count


def _known(episodes: Episodes, count: int | jax.Array | None) -> jax.Array:
    """The logged steps among those of padded episodes. Boolean ``[N, T]``"""
    return jnp.asarray(episodes.alive) & (jnp.arange(len(episodes)) < _count(episodes, count))[:, None]


def _togo(costs: jax.Array) -> jax.Array:
    """Of costs ``[T, B]``."""
    return jnp.cumsum(costs[::-1], axis=0)[::-1]


def _batch(episodes: Episodes, own: jax.Array, rows: jax.Array, params: EnvParams, frame: Frame) -> Batch:
    costs = jnp.einsum("btk,k->tb", episodes.costs[rows], params.weights, precision="highest")
    togo = (_togo(costs) - frame.offset[:, None]) / frame.scale
    return Batch(
        seen=jnp.transpose(episodes.observation[rows], (2, 1, 0)),
        action=episodes.action[rows].T,
        costs=costs,
        togo=togo,
        alive=episodes.alive[rows].T,
        probability=own[rows].T,
    )
