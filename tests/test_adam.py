"""Adam beside optax's, of which it has the bits."""

import jax
import numpy as np
import optax

from aljax.adam import adam_init, adam_step, added, norm_of, scaled


def tree_of(rng):
    return {"a": rng.normal(size=(3, 4)).astype(np.float32), "b": {"c": rng.normal(size=5).astype(np.float32)}}


def equal(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_steps_have_the_bits_of_optax():
    rng, theirs = np.random.default_rng(0), optax.scale_by_adam()
    weights = tree_of(rng)
    state, their_state = adam_init(weights), theirs.init(weights)
    ours, reference = jax.jit(adam_step), jax.jit(lambda gradient, state: theirs.update(gradient, state))
    for _ in range(50):
        gradient = tree_of(rng)
        direction, state = ours(gradient, state)
        their_direction, their_state = reference(gradient, their_state)
        assert equal(direction, their_direction) and equal(state, their_state)
    assert int(state.steps) == 50


def test_arithmetic_of_trees_has_the_bits_of_optax():
    rng = np.random.default_rng(1)
    for _ in range(20):
        one, other, factor = tree_of(rng), tree_of(rng), np.float32(rng.normal())
        assert equal(scaled(factor, one), optax.tree.scale(factor, one))
        assert equal(added(one, other), optax.tree.add(one, other))
        assert equal(added(one, other, factor), optax.tree.add_scale(one, factor, other))
        assert norm_of(one) == optax.tree.norm(one)
