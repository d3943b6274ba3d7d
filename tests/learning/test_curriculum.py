"""Starts nearer to what is asked: which episodes have them, and what training sees of them."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import env, train
from aljax.chance import draw_chance
from aljax.checks import check
from aljax.learning.curriculum import nearer_starts
from aljax.options import NEARER, REPLAY, Hyperparameters, Protocol, TrainConfig
from aljax.scenario import load_scenario

EPISODES = 4_000


def test_a_share_of_the_episodes_starts_nearer_and_nothing_else_changes():
    params, key = load_scenario("escalation").params, jax.random.key(1)
    chance = draw_chance(key, params, episodes=EPISODES, steps=2)
    nearer = nearer_starts(chance, key, 0.3)
    z, moved = (np.asarray(env.begin(drawn.start, params).z) for drawn in (chance, nearer))
    factor = moved / z
    np.testing.assert_allclose(factor[0], factor[1], rtol=1e-5)
    near = factor[0] < 1.0 - 1e-6
    assert abs(near.mean() - 0.3) < 0.03
    squares = np.sort(factor[0][near] ** 2)  # √u squared: uniform
    assert np.abs(squares - (np.arange(len(squares)) + 0.5) / len(squares)).max() < 1.95 / np.sqrt(len(squares))
    np.testing.assert_array_equal(z[:, ~near], moved[:, ~near])
    unchanged = nearer._replace(start=nearer.start._replace(nearer=None))
    jax.tree.map(np.testing.assert_array_equal, unchanged, chance)


def test_the_share_falls_over_the_run():
    """What a batch costs by it less, against the same batch from the scenario's own starts."""
    params = load_scenario("paper").params
    config = TrainConfig(episodes=4_000, batch=400, hidden=(4,), curriculum="nearer")
    state = train.init(jax.random.key(0), params, config=config, steps=10)
    advance = jax.jit(functools.partial(train.advance, config=config, steps=10))

    def saved(update):
        own, nearer = (
            advance(state, update, update + 1, Hyperparameters(nearer=share), params).curve.cost[update]
            for share in (0.0, 1.0)
        )
        return float(own - nearer)

    assert saved(0) > 3.0 * saved(config.updates - 2) > 0.0


def test_a_point_start_goes_nearer_too():
    params = load_scenario("service_desk").params
    chance = draw_chance(jax.random.key(2), params, episodes=64, steps=1)
    half = chance.start._replace(nearer=jnp.full(64, 0.5))
    np.testing.assert_allclose(env.begin(half, params).z, 0.5 * env.begin(chance.start, params).z, rtol=1e-6)


@pytest.mark.parametrize("named", [NEARER, REPLAY])
def test_the_page_has_the_command_of_the_named_options(named):
    page = (Path(__file__).parents[2] / "docs" / "explanation" / "training.md").read_text(encoding="utf-8")
    given = "".join(f" --{key.replace('_', '-')} {value}" for key, value in named.items())
    assert f"aljax train{given} " in page
    shape = {key: value for key, value in named.items() if key in TrainConfig.__dataclass_fields__}
    numbers = {key: value for key, value in named.items() if key not in shape}
    check(TrainConfig(**shape), Hyperparameters(**numbers), Protocol())
