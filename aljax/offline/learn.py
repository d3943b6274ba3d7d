"""Learning from logged episodes: each algorithm a pure function of a key, numbers and a data set.

``learn(key, hyperparameters, params, episodes, config=...) -> (weights, losses)`` is jitted and vmapped like the
online ``train``; what it gives are the weights of an ordinary policy network, so `aljax.train` goes on from there.

Supervised (paper, section 3.4 (a)): ``imitation``, cross-entropy on what was logged, and ``cost_sensitive``, the
same with every logged action weighed by how cheap the episode was from there on. Offline (b): ``fitted_q``, ``cql`` and
``gradient``. Each has one setting of pessimism.

Costs to go are learned in a frame: less their mean at the step, over their standard deviation. There an action that
nobody logged is worth about as much as the average, not 0.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from aljax import env
from aljax.architecture import Variables, architecture_of
from aljax.chance import uniform
from aljax.env import EnvParams
from aljax.keys import one_key
from aljax.offline.data import Episodes, weighted
from aljax.options import Algorithm, LearnConfig, LearnHyperparameters
from aljax.policy import masked

_NETS: dict[Algorithm, tuple[str, ...]] = {
    "imitation": ("policy",),
    "cost_sensitive": ("policy", "value"),
    "fitted_q": ("policy", "q", "logger"),
    "cql": ("q",),
    "gradient": ("policy", "q", "logger"),
}

_SPREAD_OVER = 100.0
"""Into how many places logged steps are taken to fall, when an action's share of them is turned into a count."""
_MOST_PENALTY = 3.0
"""Standard deviations that pessimism adds to a target at most: further along, it would add up without end."""
_GENTLE = 0.3
"""Turns the common setting of pessimism into one that suits algorithms that draw on whole costs to go."""
_SHARPNESS = 10.0
"""Logits a standard deviation of cost, where costs stand for a policy: for those who draw its actions."""


jax.tree_util.register_dataclass(LearnHyperparameters)


class Frame(NamedTuple):
    """What costs to go are measured in."""

    offset: jax.Array
    """Their mean at each step. ``[T]``"""
    scale: jax.Array
    """Their standard deviation around it. Scalar"""


class LearnState(NamedTuple):
    """Everything that learning carries from one step to the next."""

    key: jax.Array
    nets: dict[str, Variables]
    targets: dict[str, Variables]
    optimiser: optax.OptState
    frame: Frame
    losses: jax.Array
    """So far, one a step. ``[updates]``"""


class _Batch(NamedTuple):
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
    state = init(key, params, episodes, count, config=config)
    state = advance(state, 0, config.updates, hyperparameters, params, episodes, count, config=config)
    return policy_weights(state, config), state.losses


def policy_weights(state: LearnState, config: LearnConfig) -> Variables:
    """The weights of the policy's network; where there is none, of one whose logits are the negative costs."""
    if "policy" in state.nets:
        return state.nets["policy"]
    return architecture_of(config, 1).scaled(state.nets["q"], -_SHARPNESS)


def init(
    key: jax.Array,
    params: EnvParams,
    episodes: Episodes,
    count: int | jax.Array | None = None,
    *,
    config: LearnConfig,
) -> LearnState:
    """The state before the first step. See `learn`."""
    run_key, *keys = jax.random.split(one_key(key), 1 + len(_NETS[config.algorithm]))
    nets = {}
    for name, own in zip(_NETS[config.algorithm], keys, strict=True):
        outputs = 1 if name == "value" else env.num_actions(params)
        nets[name] = architecture_of(config, outputs).init(own, env.observation_size(params))
    steps = weighted(episodes, params.weights)
    known = _known(episodes, count)
    togo = jnp.where(known, _togo(steps.T).T, 0.0)
    each = jnp.maximum(known.sum(0), 1)
    offset = togo.sum(0) / each
    spread = jnp.where(known, (togo - offset) ** 2, 0.0).sum() / jnp.maximum(known.sum(), 1)
    return LearnState(
        key=run_key,
        nets=nets,
        targets={name: nets[name] for name in ("q",) if name in nets},
        optimiser=optax.scale_by_adam().init(nets),
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
    """Takes the steps from `start` up to `stop`, both traced: learning in pieces is learning in one, bit for bit."""
    episodes = jax.tree.map(jnp.asarray, episodes)  # NumPy's cannot be indexed by traced rows
    own = episodes.own_probability
    # Once, not at every step: a pass over the whole log.
    seen_steps = _known(episodes, count).sum()

    def body(update: jax.Array, state: LearnState) -> LearnState:
        drawn = uniform(jax.random.fold_in(state.key, update), (config.minibatch,), 0.0, 1.0)
        rows = (drawn * _count(episodes, count)).astype(jnp.int32)
        batch = _batch(episodes, own, rows, params, state.frame)
        loss = functools.partial(
            _loss, targets=state.targets, batch=batch, frame=state.frame, hyper=hyperparameters,
            params=params, config=config, steps=seen_steps,
        )  # fmt: skip
        value, gradient = jax.value_and_grad(loss)(state.nets)
        direction, optimiser = optax.scale_by_adam().update(gradient, state.optimiser)
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


def _batch(episodes: Episodes, own: jax.Array, rows: jax.Array, params: EnvParams, frame: Frame) -> _Batch:
    costs = jnp.einsum("btk,k->tb", episodes.costs[rows], params.weights, precision="highest")
    togo = (_togo(costs) - frame.offset[:, None]) / frame.scale
    return _Batch(
        seen=jnp.transpose(episodes.observation[rows], (2, 1, 0)),
        action=episodes.action[rows].T,
        costs=costs,
        togo=togo,
        alive=episodes.alive[rows].T,
        probability=own[rows].T,
    )


def _loss(
    nets: dict[str, Variables],
    *,
    targets: dict[str, Variables],
    batch: _Batch,
    frame: Frame,
    hyper: LearnHyperparameters,
    params: EnvParams,
    config: LearnConfig,
    steps: jax.Array,
) -> jax.Array:
    """The sum of every network's loss; what a network learns from another is held constant."""
    legal = env.always_legal(params)[:, None, None]
    total = jnp.maximum(batch.alive.sum(), 1)

    def mean(values: jax.Array) -> jax.Array:
        return jnp.where(batch.alive, values, 0.0).sum() / total

    def output(weights: Variables, outputs: int = env.num_actions(params)) -> jax.Array:
        return architecture_of(config, outputs).unroll(weights, batch.seen)

    def log_policy(weights: Variables) -> jax.Array:
        return jax.nn.log_softmax(masked(output(weights), legal), axis=0)

    rows = jnp.arange(env.num_actions(params)).reshape(-1, 1, 1)
    one_hot = rows == batch.action

    def chosen(values: jax.Array) -> jax.Array:
        return jnp.where(one_hot, values, 0.0).sum(0)

    held = jax.lax.stop_gradient

    def bootstrapped(following: jax.Array) -> jax.Array:
        """Targets in the frame, from estimates at each step in the frame. ``[T, B]``"""
        whole = jnp.where(batch.alive, frame.offset[:, None] + frame.scale * following, 0.0)
        ahead = jnp.concatenate([whole[1:], jnp.zeros_like(whole[:1])])
        return held((batch.costs + ahead - frame.offset[:, None]) / frame.scale)

    if config.algorithm == "imitation":
        return -mean(chosen(log_policy(nets["policy"])))

    if config.algorithm == "cost_sensitive":
        value = output(nets["value"], 1)[0]
        advantage = held(batch.togo - value)
        weight = jnp.exp(jnp.clip(-advantage / jnp.maximum(_GENTLE * hyper.pessimism, 1e-6), -20.0, 3.0))
        return mean((batch.togo - value) ** 2) - mean(weight * chosen(log_policy(nets["policy"])))

    q = output(nets["q"])
    if config.algorithm == "cql":
        greedy = only_least(masked(-q, legal))
        aim = bootstrapped((greedy * output(targets["q"])).sum(0))
        error = chosen(q) - aim
        push = jax.nn.logsumexp(masked(-q, legal), axis=0) + chosen(q)
        return mean(error**2) + hyper.pessimism * jnp.sqrt(_SPREAD_OVER / steps) * mean(push)

    log_logger, log_chosen, slow = log_policy(nets["logger"]), log_policy(nets["policy"]), output(targets["q"])
    imitation = -mean(chosen(log_logger))
    # How many logged steps speak for an action here: its share of them, over what the network must tell apart.
    share = held(jnp.exp(log_logger))
    scale = _GENTLE * hyper.pessimism if config.algorithm == "gradient" else hyper.pessimism
    penalty = scale / jnp.sqrt(steps / _SPREAD_OVER * share + 1e-6)
    pessimistic = slow + jnp.minimum(penalty, _MOST_PENALTY)
    if config.algorithm == "fitted_q":
        greedy = only_least(masked(-(held(q) + penalty), legal))
        aim = bootstrapped((greedy * pessimistic).sum(0))
        distilled = -mean(jnp.where(greedy, log_chosen, 0.0).sum(0))
        return mean((chosen(q) - aim) ** 2) + imitation + distilled

    policy = jnp.exp(log_chosen)  # gradient
    now = held(policy)
    aim = bootstrapped((now * pessimistic).sum(0))
    logged = jnp.where(jnp.isnan(batch.probability), chosen(share), batch.probability)
    advantage = _doubly_robust(batch, frame, slow, now, jnp.maximum(logged, 1e-3), hyper.ratio_limit, one_hot)
    above = jnp.where(jnp.isfinite(log_chosen), log_chosen - held(log_logger), 0.0)
    divergence = hyper.pessimism * jnp.sqrt(_SPREAD_OVER / steps) * (policy * above).sum(0)
    return mean((chosen(q) - aim) ** 2) + imitation + mean((policy * held(advantage)).sum(0) + divergence)


def only_least(logits: jax.Array) -> jax.Array:
    """1 at the first of the largest logits, else 0. ``[A, ...]``"""
    rows = jnp.arange(logits.shape[0]).reshape((-1,) + (1,) * (logits.ndim - 1))
    return rows == jnp.argmax(logits, axis=0)


def _doubly_robust(
    batch: _Batch,
    frame: Frame,
    q: jax.Array,
    policy: jax.Array,
    logged: jax.Array,
    limit: float | jax.Array,
    one_hot: jax.Array,
) -> jax.Array:
    """Costs to go of every action less those of the policy, in the frame: the model's, corrected by what was logged.

    The recursion of Jiang and Li (2016), V_t = V̂_t + ρ_t (c_t + V_{t+1} − Q̂_t), with ratios cut at a limit; the
    logged action's estimate is Q̂_t + (c_t + V_{t+1} − Q̂_t) / μ_t, of the others Q̂_t.
    """
    value = (policy * q).sum(0)
    q_chosen = jnp.where(one_hot, q, 0.0).sum(0)
    ratio = jnp.minimum(jnp.where(one_hot, policy, 0.0).sum(0) / logged, limit)
    offset = frame.offset / frame.scale
    ahead = jnp.concatenate([offset[1:], jnp.zeros(1)]) - offset
    next_alive = jnp.concatenate([batch.alive[1:], jnp.zeros_like(batch.alive[:1])])
    costs = batch.costs / frame.scale

    def back(onward: jax.Array, step: Any) -> tuple[jax.Array, jax.Array]:
        cost, value, q_chosen, ratio, follows, ahead, offset = step
        later = jnp.where(follows, onward + ahead, -offset)
        error = cost + later - q_chosen
        return value + ratio * error, error

    given = (costs, value, q_chosen, ratio, next_alive, ahead, offset)
    _, error = jax.lax.scan(back, jnp.zeros_like(value[0]), given, reverse=True)
    inverse = jnp.minimum(1.0 / logged, limit)
    return q + jnp.where(one_hot, inverse * error, 0.0) - value
