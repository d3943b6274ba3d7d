"""What public functions are given is checked while it is traced: one line says what was expected."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import pytest

from aljax import UserError, env
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import Random
from aljax.rollout import rollout
from aljax.train import init, train

from tiny import tiny_scenario

PARAMS = tiny_scenario().params
CONFIG = TrainConfig(episodes=40, batch=20, hidden=(4,))


def with_action(**changes):
    return dataclasses.replace(PARAMS, actions=dataclasses.replace(PARAMS.actions, **changes))


REAL = "expected real numbers of shape"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (with_action(money=jnp.zeros(2)), f"actions.money: {REAL} (3,) [A], got float32 of shape (2,)"),
        (with_action(gain=jnp.ones((1, 3))), f"actions.gain: {REAL} (3, 1) [A, d], got float32 of shape (1, 3)"),
        (
            with_action(ends=jnp.zeros(3)),
            "actions.ends: expected booleans of shape (3,) [A], got float32 of shape (3,)",
        ),
        (dataclasses.replace(PARAMS, weights=jnp.ones(4)), f"weights: {REAL} (5,) [k], got float32 of shape (4,)"),
        (
            dataclasses.replace(PARAMS, horizon=jnp.float32(3)),
            "horizon: expected integers of shape (), got float32 of shape ()",
        ),
    ],
)
def test_an_environment_whose_arrays_do_not_go_together_is_one_line(params, message):
    for play in (
        functools.partial(rollout, jax.random.key(0), Random(), episodes=4, steps=3),
        functools.partial(env.reset, jax.random.key(0)),
        functools.partial(train, jax.random.key(0), Hyperparameters(), config=CONFIG, steps=3),
    ):
        with pytest.raises(UserError, match=rf"^params\.{re.escape(message)}(\n|$)"):
            play(params=params)


def test_environments_on_a_leading_axis_are_checked_one_by_one():
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), PARAMS)
    observation, _ = jax.vmap(env.reset, in_axes=(None, 0))(jax.random.key(0), many)
    assert observation.shape == (2, env.observation_size(PARAMS))
    with pytest.raises(UserError, match=r"^params.actions.latency: expected real numbers of shape \(3,\) \[A\]"):
        env.reset(jax.random.key(0), many)


def test_a_step_takes_as_many_actions_as_there_are_episodes():
    _, state = env.reset(jax.random.key(0), PARAMS, (5,))
    luck = env.draw_luck(jax.random.key(1), PARAMS, (5,))
    with pytest.raises(UserError, match=r"^action: expected integers of shape \(5,\), got int32 of shape \(4,\)"):
        env.transition(state, jnp.zeros(4, jnp.int32), luck, PARAMS)
    with pytest.raises(UserError, match=rf"^epsilon: {REAL} \(1, 5\), got float32 of shape \(5,\)"):
        env.transition(state, jnp.zeros(5, jnp.int32), (luck.u, luck.epsilon[0]), PARAMS)


def test_weights_of_another_network_are_one_line():
    other = init(jax.random.key(0), PARAMS, config=dataclasses.replace(CONFIG, hidden=(5,)), steps=3).variables
    with pytest.raises(UserError, match=r"^variables: expected weights of shapes \(4,\), .* got \(5,\)"):
        train(jax.random.key(0), Hyperparameters(), PARAMS, other, config=CONFIG, steps=3)
