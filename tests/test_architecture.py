"""Architectures: what learning, reloading and sweeps ask of them holds for a feed-forward and for a recurrent one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import architecture, env, train
from aljax.architecture import MLP, Architecture
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import Learned
from aljax.rollout import rollout

from tiny import tiny_scenario


@dataclasses.dataclass(frozen=True)
class Elman(Architecture):
    """A simple recurrent network, as an outsider would add it: three functions and nothing of the house."""

    units: int

    def init(self, key, inputs):
        shapes = {"in": (self.units, inputs), "back": (self.units, self.units), "out": (self.outputs, self.units)}
        keys = jax.random.split(key, len(shapes))
        return {name: 0.5 * jax.random.normal(k, shape) for k, (name, shape) in zip(keys, shapes.items(), strict=True)}

    def begin(self, variables, seen):
        return jnp.tanh(jnp.tensordot(variables["in"], seen, 1))

    def carry(self, variables, carried, seen):
        return jnp.tanh(jnp.tensordot(variables["in"], seen, 1) + jnp.tensordot(variables["back"], carried, 1))

    def output(self, variables, seen, carried):
        return jnp.tensordot(variables["out"], carried, 1)

    def widths(self, inputs):
        return inputs, self.units, self.outputs


ARCHITECTURES = [MLP(3, (4, 5)), Elman(3, 4)]


@pytest.mark.parametrize("network", ARCHITECTURES, ids=["mlp", "elman"])
def test_unrolled_over_an_episode_it_gives_what_it_gives_step_by_step(network):
    variables = network.init(jax.random.key(0), 7)
    seen = jax.random.normal(jax.random.key(1), (7, 4, 2))
    together = network.unroll(variables, seen)
    assert together.shape == (3, 4, 2)
    carried = network.begin(variables, seen[:, 0])
    for t in range(4):
        np.testing.assert_allclose(network.output(variables, seen[:, t], carried), together[:, t], rtol=1e-5)
        if t < 3:
            carried = network.carry(variables, carried, seen[:, t + 1])


def test_a_recurrent_policy_trains_by_the_gradient_of_what_it_played(monkeypatch):
    """The surrogate's log-probabilities, unrolled, are those with which the rollout drew: training needs no more."""
    params = tiny_scenario("tolerance=0.0").params
    network = Elman(env.num_actions(params), 4)
    monkeypatch.setattr(train, "architecture_of", lambda options, outputs: Elman(outputs, 4))
    config = TrainConfig(episodes=240, batch=24, baseline="critic")
    variables, curve = jax.jit(train.train, static_argnames=("config", "steps"))(
        jax.random.key(0), Hyperparameters(), params, config=config, steps=3
    )
    assert jax.tree.structure(variables) == jax.tree.structure(network.init(jax.random.key(0), 1))
    assert np.isfinite(curve.gradient_norm).all() and (curve.gradient_norm > 0).all()
    played = rollout(jax.random.key(1), Learned(variables, network, greedy=False), params, episodes=4_000, steps=3)
    logits = network.unroll(variables, jnp.moveaxis(played.observation, 1, 0))
    expected = jax.nn.softmax(logits, axis=0).mean((1, 2))
    found = np.bincount(np.asarray(played.action).ravel(), minlength=3) / played.action.size
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_weights_in_another_order_do_the_same():
    network, rng = MLP(3, (4,)), np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), network.init(jax.random.key(0), 5))
    inputs, outputs, scale = rng.permutation(5), rng.permutation(3), np.array([1.0, 2.0, 1.0, 4.0, 1.0], np.float32)
    moved, seen = network.rearranged(variables, inputs, scale, outputs), rng.normal(size=(5, 6)).astype(np.float32)
    for seed in range(2):
        before, after = (jax.tree.map(lambda leaf, seed=seed: leaf[seed], each) for each in (variables, moved))
        given = seen[inputs] / scale[:, None]
        np.testing.assert_allclose(network.output(after, given), network.output(before, seen)[outputs], atol=1e-7)


def test_scaled_weights_give_scaled_outputs():
    network = MLP(3, (4,))
    variables, seen = network.init(jax.random.key(0), 5), jax.random.normal(jax.random.key(1), (5, 6))
    found = network.output(network.scaled(variables, -3.0), seen)
    np.testing.assert_allclose(found, -3 * network.output(variables, seen), rtol=1e-5)


def test_products_are_the_weights_but_for_biases():
    network = architecture.architecture_of(TrainConfig(hidden=(4, 5)), 3)
    leaves = jax.tree.leaves(network.init(jax.random.key(0), 7))
    assert network.products(7) == sum(leaf.size for leaf in leaves if leaf.ndim == 2)
