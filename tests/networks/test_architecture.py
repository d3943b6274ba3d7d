"""Architectures: what learning, reloading and sweeps ask of them holds for a feed-forward and for a recurrent one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import env, policy, train
from aljax.learning import gradients
from aljax.networks import inputs
from aljax.networks.architecture import MLP, Architecture
from aljax.networks.inputs import Inputs, architecture_of
from aljax.networks.recurrent import GRU
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


LAYERED = {"mlp": MLP(3, (4, 5)), "gru": GRU(3, (4,)), "deep gru": GRU(3, (5, 4))}
ARCHITECTURES = LAYERED | {"elman": Elman(3, 4)}


@pytest.mark.parametrize("network", ARCHITECTURES.values(), ids=ARCHITECTURES)
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
    for module in (gradients, train, policy, inputs):
        monkeypatch.setattr(module, "architecture_of", lambda options, outputs: Elman(outputs, 4))
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


@pytest.mark.parametrize("network", LAYERED.values(), ids=LAYERED)
def test_weights_in_another_order_do_the_same(network):
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), network.init(jax.random.key(0), 5))
    inputs, outputs, scale = rng.permutation(5), rng.permutation(3), np.array([1.0, 2.0, 1.0, 4.0, 1.0], np.float32)
    moved, seen = network.rearranged(variables, inputs, scale, outputs), rng.normal(size=(5, 6)).astype(np.float32)
    for seed in range(2):
        before, after = (jax.tree.map(lambda leaf, seed=seed: leaf[seed], each) for each in (variables, moved))
        given = seen[inputs] / scale[:, None]
        found, wanted = output(network, after, given), output(network, before, seen)
        np.testing.assert_allclose(found, wanted[outputs], atol=1e-6)


@pytest.mark.parametrize("network", LAYERED.values(), ids=LAYERED)
def test_scaled_weights_give_scaled_outputs(network):
    variables, seen = network.init(jax.random.key(0), 5), jax.random.normal(jax.random.key(1), (5, 6))
    found = output(network, network.scaled(variables, -3.0), seen)
    np.testing.assert_allclose(found, -3 * output(network, variables, seen), rtol=1e-5)


def output(network, variables, seen):
    """At the first step of an episode."""
    return network.output(variables, seen, network.begin(variables, seen))


@pytest.mark.parametrize("name", ["mlp", "gru"])
def test_products_are_the_weights_but_for_biases(name):
    network = architecture_of(TrainConfig(policy=name, hidden=(4, 5)), 3)
    leaves = jax.tree.leaves(network.init(jax.random.key(0), 7))
    assert network.products(7) == sum(leaf.size for leaf in leaves if leaf.ndim == 2)


def test_a_recurrent_network_remembers_what_is_no_longer_seen():
    """Two episodes that differ in their first observation alone: a feed-forward network tells them apart only there."""
    seen = np.zeros((7, 4, 2), np.float32)
    seen[:, 0, 1] = 1.0
    for network in ARCHITECTURES.values():
        variables = jax.tree.map(lambda leaf: leaf + 0.3, network.init(jax.random.key(0), 7))
        apart = np.abs(np.diff(network.unroll(variables, seen), axis=2)).max((0, 2))
        assert ((apart > 1e-4) == [True, *[not isinstance(network, MLP)] * 3]).all()


def test_gated_units_are_those_of_the_literature():
    """Cho et al. (2014), equations (5) to (8), one unit at a time in double precision."""
    network, rng = GRU(2, (3,)), np.random.default_rng(1)
    variables = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), network.init(jax.random.key(0), 4))
    seen, h, layers = rng.normal(size=(4, 5)), np.zeros(3), variables["params"]
    from_seen, from_state = layers["GRU_inputs"], layers["GRU_state"]["kernel"]
    found = np.asarray(network.unroll(jax.tree.map(np.float32, variables), np.float32(seen[..., None])))[..., 0]
    for t in range(5):
        taken_in, before = seen[:, t] @ from_seen["kernel"] + from_seen["bias"], h.copy()
        for unit in range(3):
            own = before @ from_state[:, unit::3]
            r, z = (1 / (1 + np.exp(-taken_in[unit + 3 * gate] - own[gate])) for gate in (0, 1))
            h[unit] = z * before[unit] + (1 - z) * np.tanh(taken_in[unit + 6] + r * own[2])
        expected = h @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"]
        np.testing.assert_allclose(found[:, t], expected, rtol=1e-4, atol=1e-5)


def test_a_recurrent_policy_is_shown_which_row_was_played_last():
    params, shown = tiny_scenario().params, Inputs(last=True)
    size, rng = env.observation_size(params), np.random.default_rng(0)
    observation, action = np.float32(rng.normal(size=(3, size, 2))), np.array([[2, 0], [1, 1], [0, 2]])
    found = np.asarray(shown.along(params, observation, action, action < 0))
    assert found.shape == (3, shown.size(params), 2)
    np.testing.assert_array_equal(found[:, :size], observation)
    np.testing.assert_array_equal(found[0, size:], 0)
    np.testing.assert_array_equal(found[1:, size:].argmax(1), action[:-1])
