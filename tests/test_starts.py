"""What is seen of an environment, and what is drawn: observations, starts and luck."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import env

import oracle
import strategies
from plays import after, assert_same_bits, observe, reset, resets, stack, step, steps, transition
from strategies import SHAPES, env_params, env_state, simple_environment

# What is seen


def test_the_observation_of_an_environment_without_optional_fields_has_five_parts_in_order():
    scales = {"z_scale": [2.0, 4.0], "latency_scale": 10.0, "money_scale": 5.0}
    plain = simple_environment(tolerance=[1.0, 2.0], horizon=8, **scales)
    before = oracle.start([3.0, -3.0], [-2.0, 0.5])
    before |= {"latency": 5.0, "money": 1.0, "time": 2}
    seen = np.asarray(observe(env_state(before), env_params(plain)))
    z, latency, money, outside, time = np.split(seen, np.cumsum([2, 1, 1, 2]))
    np.testing.assert_array_equal(z, [(3 - 2) / 2, (-3 + 0.5) / 4])
    np.testing.assert_allclose([*latency, *money], [0.5, 0.2], rtol=1e-6)
    np.testing.assert_array_equal(outside, [0, 1])  # as read: the first lies on its tolerance, truly outside
    np.testing.assert_array_equal(time, [0.25])


def test_the_observation_reads_too_much_done_as_fine_where_it_is():
    plain = simple_environment(tolerance=1.0, tolerance_low=[np.inf, 0.5])
    for z, outside in ((-9.0, [0, 1]), (2.0, [1, 1]), (-0.5, [0, 0])):
        seen = np.asarray(env.observe(env_state(oracle.start([z, z])), env_params(plain)))
        np.testing.assert_array_equal(seen[4:6], outside)


BLOCKS = {
    "failed": ({"after_failed": 0.5}, [0, 0, 1]),
    "worked": ({"after_ok": 0.5}, [0, 1, 0]),
    "calls": ({"max_calls": [4.0, np.inf, 2.0]}, [0.75, 0, 0.5]),
    "tokens": ({"rate_limit": [0.5, 0.5, np.inf], "rate_burst": [2.0, 1.0, 4.0]}, [0.25, 1, 0]),
}
"""Blocks of the observation beyond the first five, what makes each of them be there, and what one state shows in it."""


@pytest.mark.parametrize("chosen", [
    names for size in range(5) for names in itertools.combinations(BLOCKS, size)
])  # fmt: skip
def test_further_blocks_follow_in_order_where_they_are_there(chosen):
    plain = simple_environment(**{name: value for block in chosen for name, value in BLOCKS[block][0].items()})
    if "worked" in chosen and "failed" not in chosen:
        chosen = ("failed", *chosen)  # statuses are seen as soon as the past matters
    history = {"status": [0, 1, 2], "calls": [3, 7, 1], "tokens": [0.5, 1.0, 4.0]}
    state = env_state(oracle.start([3.0, 3.0], params=plain) | history, plain)
    params = env_params(plain)
    seen = np.asarray(env.observe(state, params))
    np.testing.assert_array_equal(seen[7:], np.concatenate([[], *(BLOCKS[block][1] for block in chosen)]))
    assert tuple(env.places(params)) == ("task", "latency", "money", "out", "time", *chosen)
    assert env.observation_size(params) == len(seen) == 7 + 3 * len(chosen)
    for i, block in enumerate(chosen):
        assert env.places(params)[block] == slice(7 + 3 * i, 10 + 3 * i)


def test_an_outage_shows_statuses_and_not_what_is_down():
    plain = simple_environment(mean_uptime=2.0, mean_downtime=2.0)
    state = oracle.start([3.0, 3.0], params=plain) | {"status": [1, 0, 2]}
    for down in (False, True):
        seen = np.asarray(env.observe(env_state(state | {"down": [down] * 3}, plain), env_params(plain)))
        np.testing.assert_array_equal(seen[7:], [0, 0, 1])


@pytest.mark.parametrize(("A", "d"), SHAPES)
def test_the_observation_has_2d_and_3_entries_and_a_for_each_further_block(A, d):
    for units, blocks in ((strategies.NOTHING, 0), (strategies.EVERYTHING, 4)):
        plain = strategies.random_environment(np.random.default_rng(0), A, d, units)
        params = env_params(plain)
        seen, _ = jax.eval_shape(env.reset, jax.random.key(0), params)
        assert seen.shape == (2 * d + 3 + blocks * A,)
        assert env.observation_size(params) == 2 * d + 3 + blocks * A
        assert (env.num_actions(params), env.num_coordinates(params)) == (A, d)


# Chance


SEEN_AT_A_START = {"start_points": np.zeros((4, 2)), "blind": False, "mean_uptime": np.inf}
"""All that a start may have, without effect."""


def drawn(**changes):
    """4,096 resets of a simple environment, with what it has at its start or, where nothing else is said, without."""
    keys = jax.random.split(jax.random.key(3), 4096)
    return resets(keys, env_params(simple_environment(**SEEN_AT_A_START | changes)))[1]


def test_a_reset_starts_uniform_in_the_box_and_everything_else_at_zero():
    low, high = np.array([-4.0, 1.5], np.float32), np.array([3.0, 1.5], np.float32)
    states = drawn(start_low=low, start_high=high)
    z = np.asarray(states.z)
    assert np.all(z >= low) and np.all(z <= high)
    np.testing.assert_array_equal(z[:, 1], 1.5)  # a box may be flat
    quantiles = np.quantile(z[:, 0], np.linspace(0.1, 0.9, 9))
    np.testing.assert_allclose(quantiles, np.linspace(-3.3, 2.3, 9), atol=5 * 7 * np.sqrt(0.25 / 4096))
    for leaf in (states.misread, states.latency, states.money, states.time, states.done):
        assert not np.any(leaf)


def test_a_start_has_one_of_its_points_added_drawn_by_weight():
    points = [[0.0, 0.0], [10.0, 20.0], [30.0, 40.0], [50.0, 60.0]]
    for weights, shares in (([1, 1, 1, 1], [0.25] * 4), ([3, 0, 6, 3], [0.25, 0, 0.5, 0.25])):
        z = np.asarray(drawn(start_points=points, start_weights=weights, start_low=-1.0, start_high=1.0).z)
        which = np.argmin(np.abs(z[:, None] - np.array(points)).sum(2), axis=1)
        np.testing.assert_allclose(np.bincount(which, minlength=4) / 4096, shares, atol=5 * 0.5 / 64)
        assert not np.any(which == 1) or shares[1]
        box = z - np.array(points)[which]
        assert np.all(np.abs(box) <= 1)
        independent = np.corrcoef(np.column_stack([box, which]), rowvar=False)
        np.testing.assert_allclose(independent, np.eye(3), atol=5 / 64)


def test_of_a_blind_coordinate_is_seen_what_such_tasks_need_and_what_was_done_until_a_row_reveals():
    points, weights = [[0.0, 0.0], [8.0, 4.0], [0.0, 0.0], [9.0, 9.0]], [1.0, 6.0, 1.0, 0.0]
    states = drawn(start_points=points, start_weights=weights, blind=[True, False], misread=[5.0, 0.0])
    seen = np.asarray(states.z + states.misread)
    np.testing.assert_allclose(seen[:, 0], 2.5 + 6.0, rtol=1e-6)  # of the middle of the box and of the points
    np.testing.assert_array_equal(seen[:, 1], states.z[:, 1])
    assert np.std(states.z[:, 0]) > 3
    plain = simple_environment(blind=[True, False], shift=-1.0, reveals=[False, True, False])
    state = {"z": np.array([2.5, 3.0]), "misread": np.array([6.0, 0.0])}
    state = vars(after(plain, action=0, **state)[0])
    np.testing.assert_array_equal(state["z"] + state["misread"], [7.5, 2.0])
    state = vars(after(plain, action=1, **state)[0])
    np.testing.assert_array_equal(state["z"] + state["misread"], [0.5, 1.0])
    np.testing.assert_array_equal(state["misread"], [0, 0])


def test_a_reset_misreads_each_coordinate_by_its_own_normal_and_independently_of_the_start():
    states = drawn(misread=[0.5, 3.0], start_low=-1.0, start_high=1.0)
    misread = np.asarray(states.misread) / [0.5, 3.0]
    np.testing.assert_allclose(misread.mean(0), 0, atol=5 / np.sqrt(4096))
    np.testing.assert_allclose(misread.std(0), 1, atol=5 / np.sqrt(2 * 4096))
    assert np.mean(np.abs(misread) < 1) == pytest.approx(0.6827, abs=0.03)
    correlations = np.corrcoef(np.hstack([misread, states.z]), rowvar=False)
    np.testing.assert_allclose(correlations, np.eye(4), atol=5 / np.sqrt(4096))


def test_the_same_key_gives_the_same_bits_and_another_key_others():
    params = env_params(simple_environment(noise=1.0, misread=1.0))
    one, other = jax.random.split(jax.random.key(7))
    first, again, elsewhere = reset(one, params), reset(one, params), reset(other, params)
    assert_same_bits(first, again)
    assert np.all(first[1].z != elsewhere[1].z) and np.all(first[1].misread != elsewhere[1].misread)

    state = first[1]
    first, again, elsewhere = (step(key, state, 2, params) for key in (one, one, other))
    assert_same_bits(first, again)
    assert np.all(first[1].z != elsewhere[1].z)


def test_the_same_keys_draw_the_same_vmapped_as_alone():
    params = env_params(simple_environment(failure=0.5, noise=1.0, misread=1.0, start_high=7.3))
    keys = jax.random.split(jax.random.key(8), 5)
    state = env_state(oracle.start([3.0, 4.0]))
    together = resets(keys, params), steps(keys, state, 1, params)
    alone = stack([(reset(key, params), step(key, state, 1, params)) for key in keys])
    for actual, expected in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_a_step_is_a_transition_on_luck_drawn_from_its_key_and_what_is_seen_after():
    params = env_params(simple_environment(failure=0.3, noise=0.5, drift=0.25))
    key = jax.random.key(5)
    state = env_state(oracle.start([3.0, 4.0]))
    seen, moved, costs, done = step(key, state, 1, params)
    expected, expected_costs = transition(state, 1, jax.jit(env.draw_luck)(key, params), params)
    assert_same_bits((moved, costs, done), (expected, expected_costs, expected.done))
    assert_same_bits(seen, observe(expected, params))


def test_a_steps_luck_is_uniform_and_normal_and_independent():
    """Seen through `step` itself: a row of pure noise shows ε in z', a row with failure p shows u < p."""
    count, p = 4096, 0.375
    params = env_params(simple_environment(gain=0.0, noise=1.0, failure=[0.0, p, 0.0], drift=0.0))
    keys = jax.random.split(jax.random.key(9), count)
    state = env_state(oracle.start([9.0, 9.0]))
    eps = np.asarray(steps(keys, state, 0, params)[1].z)
    failed = np.asarray(steps(keys, state, 1, params)[2][:, oracle.FAILURE])
    np.testing.assert_allclose(eps.mean(0), 0, atol=5 / np.sqrt(count))
    np.testing.assert_allclose(eps.std(0), 1, atol=5 / np.sqrt(2 * count))
    assert failed.mean() == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / count))
    correlations = np.corrcoef(np.column_stack([eps, failed]), rowvar=False)
    np.testing.assert_allclose(correlations, np.eye(3), atol=5 / np.sqrt(count))


def test_the_luck_is_the_same_whichever_action_is_taken():
    params = env_params(simple_environment(gain=0.0, noise=[1.0, 1.0, 2.0], failure=[0.0, 0.3, 0.6]))
    keys = jax.random.split(jax.random.key(11), 64)
    state = env_state(oracle.start([9.0, 9.0]))
    _, states, costs, _ = stack([steps(keys, state, action, params) for action in range(3)])
    failed = np.asarray(costs[..., oracle.FAILURE], bool)
    assert np.all(failed[0] <= failed[1]) and np.all(failed[1] <= failed[2])  # u is shared
    assert 0 < failed[1].sum() < failed[2].sum() < 64
    z = np.asarray(states.z)
    works = ~failed[2]
    np.testing.assert_array_equal(z[1, works], z[0, works])  # and so is ε
    np.testing.assert_array_equal(z[2, works], 2 * z[0, works])


def test_a_chain_starts_in_its_stationary_law_and_stays_in_it():
    changes = {"mean_uptime": [3.0, 1.0, np.inf], "mean_downtime": [1.0, 4.0, 2.0], "latency": 0.7}
    states, share, rate = drawn(**changes), np.array([0.25, 0.8, 0.0]), np.array([1 / 3 + 1, 1 + 1 / 4, 1 / 2])
    np.testing.assert_allclose(states.down.mean(0), share, atol=5 * 0.5 / 64)
    v = np.random.default_rng(0).random((4096, 3))
    luck = env.Luck(jnp.zeros(4096), jnp.zeros((4096, 2)), None, jnp.asarray(v, jnp.float32))
    params = env_params(simple_environment(**SEEN_AT_A_START | changes))
    moved, _ = jax.vmap(env.transition, in_axes=(0, None, 0, None))(states, jnp.int32(0), luck, params)
    np.testing.assert_allclose(moved.down.mean(0), share, atol=5 * 0.5 / 64)
    turned = np.mean(np.asarray(moved.down) != np.asarray(states.down), axis=0)
    np.testing.assert_allclose(turned, 2 * share * (1 - share) * (1 - np.exp(-rate * 0.7)), atol=5 * 0.5 / 64)
