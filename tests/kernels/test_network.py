"""A network inside a kernel: what it returns, and how wide it may be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax.kernels.elements import elements
from aljax.kernels.network import answered, apart, fits, layers_of, outputs
from aljax.networks.architecture import MLP
from aljax.networks.recurrent import GRU
from aljax.policy import Learned, Random


@pytest.mark.parametrize("hidden", [(5,), (16,), (20, 33)])
def test_outputs_are_the_networks_own(hidden):
    network = MLP(3, hidden)
    variables = network.scaled(network.init(jax.random.key(0), 7), 100.0)
    seen = jax.random.normal(jax.random.key(1), (7, 4))
    layers = layers_of(Learned(variables, network), network)
    assert {len(layer.bias) & (len(layer.bias) - 1) for layer in layers[:-1]} == {0}, "powers of two"
    found = outputs(layers, elements(list(seen), (7,)), (4,))
    np.testing.assert_allclose(jnp.stack(list(found)), network.output(variables, seen), rtol=1e-5, atol=1e-5)


def test_a_policy_given_its_networks_outputs_chooses_as_before():
    network = MLP(3, (5,))
    policy = Learned(network.init(jax.random.key(0), 7), network, greedy=False)
    seen, legal = jnp.ones(7), jnp.array([True, False, True])
    found, rest = apart(policy)
    assert found == network and not jax.tree.leaves(rest)
    raw = network.output(policy.variables, seen)
    memory = rest.inputs.begin(None, seen), ()
    np.testing.assert_array_equal(
        answered(rest, raw).logits(None, seen, legal, memory), policy.logits(None, seen, legal, memory)
    )


def test_policies_without_such_a_network_stay_whole():
    recurrent = Learned({}, GRU(3, (5,)))
    for policy in (Random(), recurrent):
        assert apart(policy) == (None, policy)
    assert layers_of(recurrent, None) == ()


@pytest.mark.parametrize(
    ("hidden", "there"),
    [
        ((64,), True),
        ((256,), True),
        ((257,), False),
        ((64, 64), True),
        ((128, 32), True),
        ((65, 64), False),
        ((), False),
    ],
)
def test_networks_fit_that_registers_hold(hidden, there):
    assert fits(MLP(3, hidden)) == there
