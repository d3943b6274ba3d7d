"""Replay: the episodes that are met again, the gradient that they make, and runs that learn from them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import train
from aljax.learning import replay
from aljax.learning.baselines import Running
from aljax.learning.curriculum import training_chance
from aljax.options import Hyperparameters, Protocol, TrainConfig
from aljax.policy import learned_of
from aljax.rollout import blocks_of, play
from aljax.scenario import load_scenario
from aljax.target import here
from aljax.training import train_seeds

from paths import CONFIG, averages_to, enumeration

AGAIN = dataclasses.replace(
    CONFIG, gradient="all_rows", normalise=False, replays=2, replay_batches=1, replay_last=1, episodes=16
)


@pytest.mark.parametrize(
    ("scenario", "shape", "batch"),
    [
        ("outage", {"policy": "gru", "inputs": "belief"}, 16),
        ("service_desk", {"curriculum": "nearer"}, 16),
        ("refunds", {}, 520),
    ],
)
def test_the_episodes_of_batches_that_are_kept_are_met_again(scenario, shape, batch):
    """Under weights that have changed since: observations, costs and what is legal are those of then, bit for bit."""
    params, target, hyper, updates = load_scenario(scenario).params, here(), Hyperparameters(), 6
    config = TrainConfig(episodes=10 * batch, batch=batch, hidden=(4,), gradient="all_rows", **shape)
    config = dataclasses.replace(config, replays=1, replay_batches=3, replay_last=4)
    state = train.init(jax.random.key(1), params, config=config, steps=5)
    blocks = blocks_of(batch, target.block)
    assert blocks == (2 if batch > 16 else 1)

    @jax.jit
    def played(state, number):
        key, remaining = jax.random.fold_in(state.key, number), 1.0 - number / config.updates
        keys = [key] if blocks == 1 else [jax.random.fold_in(key, block) for block in range(blocks)]
        acting = learned_of(config, params, state.variables, greedy=False)
        own = [
            play(training_chance(key, remaining, hyper, params, config, batch // blocks, 5), acting, params)
            for key in keys
        ]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, -1), *own)

    @jax.jit
    def again(state, number):
        chance, entry = replay.drawn_again(jnp.int32(updates - 1), number, state, hyper, params, config, target)
        shown = learned_of(config, params, jax.tree.map(jnp.zeros_like, state.variables))
        return play(chance, replay.Again(entry.rows, shown), params), entry

    first = []
    for number in range(updates):
        episodes = played(state, jnp.int32(number))
        entry = replay.entry_of(state.variables, episodes, params, config, target)
        first.append((episodes, entry))
        changed = jax.tree.map(lambda leaf: leaf + 0.1, state.variables)
        state = state._replace(replay=replay.keep(state.replay, jnp.int32(number), entry), variables=changed)
    found, entry = again(state, jnp.int32(0))
    rows = np.asarray(entry.rows)
    met = [
        [number for number, (_, kept) in enumerate(first) if np.array_equal(kept.rows, rows[:, place : place + batch])]
        for place in range(0, 3 * batch, batch)
    ]
    assert all(len(numbers) == 1 and numbers[0] >= 2 for numbers in met)  # of the last four
    numbers = [number for (number,) in met]
    expected = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, -1), *(first[number] for number in numbers))
    jax.tree.map(np.testing.assert_array_equal, (found, entry), expected)


def test_the_gradient_of_what_was_just_played_is_unbiased_whatever_the_critic_says():
    """With all of the residual and λ = 1."""
    scenario, _, variables, exact = enumeration(AGAIN)
    hyper = Hyperparameters(entropy=0.0, trace=1.0, residual=1.0)
    state = train.init(jax.random.key(6), scenario.params, config=AGAIN, steps=scenario.horizon)
    running = Running(jnp.array([9.0, 6.0, 3.0]), jnp.float32(30.0), jnp.float32(1.0))
    state, static = state._replace(variables=variables, running=running), (scenario.params, AGAIN, here())

    def gradient(key, scores=0.0):
        begun = state._replace(key=key)
        acting = learned_of(AGAIN, scenario.params, variables, greedy=False)
        chance = training_chance(jax.random.fold_in(key, 0), 1.0, hyper, scenario.params, AGAIN, 8, 3)
        entry = replay.entry_of(variables, play(chance, acting, scenario.params), *static)
        entry = entry._replace(scores=entry.scores + scores)
        begun = begun._replace(replay=replay.keep(begun.replay, 0, entry))
        found, _ = replay.replayed(jnp.int32(0), jnp.int32(0), begun, hyper, *static)
        return jax.flatten_util.ravel_pytree(found)[0]

    @jax.jit
    def gradients(keys):
        return jax.lax.map(gradient, keys, batch_size=500)

    keys = jax.random.split(jax.random.key(7), 3000)
    averages_to(np.asarray(gradients(keys), np.float64), exact)
    # What the policy would hardly play any more counts for nothing beyond what every row is expected to cost.
    once, likelier, never = (np.asarray(jax.jit(gradient)(keys[0], scores)) for scores in (0.0, -1.0, 60.0))
    np.testing.assert_allclose(once, likelier, rtol=1e-6)
    assert np.abs(once - never).max() > 1e-3


def test_replay_learns_from_fewer_episodes_and_a_run_in_pieces_is_the_run_in_one():
    scenario, _, _, _ = enumeration(AGAIN)
    config = dataclasses.replace(AGAIN, episodes=80, normalise=True, replays=4, replay_batches=2, replay_last=6)

    def advanced(config):
        further = functools.partial(train.advance, config=config, steps=3)
        return jax.jit(jax.vmap(further, (0, None, None, None, None)))

    def begun(config):
        return jax.vmap(lambda key: train.init(key, scenario.params, config=config, steps=3))(keys)

    keys, given = jax.random.split(jax.random.key(0), 16), (Hyperparameters(), scenario.params)
    advance, once = advanced(config), dataclasses.replace(config, replays=0)
    whole = advance(begun(config), 0, config.updates, *given)
    parts = advance(advance(begun(config), 0, 7, *given), 7, config.updates, *given)
    jax.tree.map(np.testing.assert_array_equal, whole._replace(key=0), parts._replace(key=0))
    plain = advanced(once)(begun(once), 0, once.updates, *given)
    assert whole.curve.cost[:, 5:].mean() < plain.curve.cost[:, 5:].mean() - 0.3
    assert np.asarray(whole.curve.entropy > 0.0).all() and np.asarray(whole.curve.gradient_norm > 0.0).all()


def test_a_seed_learns_the_same_alone_and_among_others():
    scenario = load_scenario("paper")
    config = TrainConfig(episodes=60, batch=20, hidden=(4,), gradient="all_rows", replays=2)
    both = train_seeds(scenario, config, Hyperparameters(), Protocol(seeds=2))
    alone = train_seeds(scenario, config, Hyperparameters(), Protocol(seeds=1, first_seed=1))
    for among, own in zip(*map(jax.tree.leaves, (both.policy.variables, alone.policy.variables)), strict=True):
        np.testing.assert_allclose(among[1], own[0], rtol=1e-4, atol=1e-5)
