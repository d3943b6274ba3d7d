"""The random numbers: the published generator, and streams that do not depend on what else is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from aljax.chance import draw_chance, threefry
from aljax.scenario import load_scenario
from aljax.target import target_of


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [  # the known answers that come with Random123 for threefry2x32 with 20 rounds
        ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_the_generator_gives_the_published_answers(key, counter, expected):
    found = threefry(*map(jnp.uint32, key), *map(jnp.uint32, counter))
    assert tuple(map(int, found)) == expected


def test_the_generator_is_that_of_jax_random():
    key, counter = jnp.array([123, 456], jnp.uint32), jnp.arange(64, dtype=jnp.uint32)
    ours = jnp.concatenate(threefry(key[0], key[1], counter[:32], counter[32:]))
    np.testing.assert_array_equal(ours, threefry_2x32(key, counter))


def test_a_steps_numbers_do_not_depend_on_how_many_steps_follow():
    params = load_scenario("service_desk").params
    short, long = (draw_chance(jax.random.key(3), params, episodes=50, steps=steps) for steps in (4, 9))
    jax.tree.map(np.testing.assert_array_equal, short.start, long.start)
    np.testing.assert_array_equal(short.luck.u, long.luck.u[:4])
    np.testing.assert_array_equal(short.luck.epsilon, long.luck.epsilon[:4])
    np.testing.assert_array_equal(short.choice, long.choice[:4])


@pytest.mark.parametrize("name", ["service_desk", "outage", "timeouts"])
def test_all_devices_draw_the_same_numbers(name):
    params = load_scenario(name, ["actions.terminate.noise=0.5", "misread=0.5"]).params
    draw = jax.jit(draw_chance, static_argnames=("episodes", "steps", "target"))
    first, *others = (
        draw(jax.random.key(7), params, episodes=11, steps=3, target=target_of(platform))
        for platform in ("cpu", "gpu", "tpu")
    )
    assert first.luck.epsilon.std() > 0.5 and first.start.misread.std() > 0.5
    for other in others:
        jax.tree.map(lambda one, same: np.testing.assert_allclose(one, same, rtol=1e-6, atol=1e-7), first, other)
        np.testing.assert_array_equal(first.luck.u, other.luck.u)


def test_numbers_of_different_use_are_not_the_same_numbers():
    chance = draw_chance(jax.random.key(4), load_scenario("service_desk").params, episodes=200, steps=20)
    d = chance.start.task.shape[0]
    series = [chance.luck.u, chance.choice, *(chance.luck.epsilon[:, i] for i in range(d))]
    series = np.stack([np.asarray(x).ravel() for x in series])
    correlations = np.corrcoef(series) - np.eye(len(series))
    assert np.abs(correlations).max() < 5 / np.sqrt(series.shape[1])
    other = draw_chance(jax.random.key(5), load_scenario("service_desk").params, episodes=200, steps=20)
    assert not np.isclose(chance.luck.u, other.luck.u).mean() > 1e-3


def test_normal_numbers_that_nothing_uses_are_not_drawn():
    chance = draw_chance(jax.random.key(6), load_scenario("paper").params, episodes=10, steps=3)
    np.testing.assert_array_equal(chance.luck.epsilon, 0)
    np.testing.assert_array_equal(chance.start.misread, 0)
    assert chance.luck.epsilon.shape == (3, 3, 10)


def test_environments_with_and_without_noise_may_be_vmapped_together():
    calm = load_scenario("paper").params
    noisy = load_scenario("paper", ["actions.noise.retrieve=0.5"]).params
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), calm, noisy)
    drawn = jax.vmap(lambda params: draw_chance(jax.random.key(7), params, episodes=64, steps=3))(both)
    alone = draw_chance(jax.random.key(7), noisy, episodes=64, steps=3)
    np.testing.assert_array_equal(drawn.luck.epsilon[0], 0)
    np.testing.assert_allclose(drawn.luck.epsilon[1], alone.luck.epsilon, rtol=1e-5, atol=1e-6)
