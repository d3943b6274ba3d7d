"""A feed-forward network inside a kernel: from the numbers that a block of episodes is shown to its outputs.

The hidden units of a block are one array; what goes in and what comes out is apart, number by number
(`aljax.kernels.elements`). So the first layer is a sum of outer products, the last one sums over the units, and no
axis of an array is ever a short one, which a compiler of kernels would pad or refuse.
"""

import dataclasses
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from aljax.kernels.elements import Elements, elements, spread
from aljax.networks.architecture import MLP, Architecture
from aljax.policy import Learned, Policy

_WIDEST, _PRODUCT = 256, 64 * 64
"""Units of one hidden layer, and products between two of them, for which an H100 has registers."""


class Weights(NamedTuple):
    """A layer's."""

    kernel: Any
    """``[inputs, outputs]``"""
    bias: Any
    """``[outputs]``"""


@dataclasses.dataclass(frozen=True)
class Given(Architecture):
    """A network that has run already: its weights are its outputs."""

    def output(self, variables: Any, seen: jax.Array, carried: Any) -> jax.Array:
        """See `Architecture.output`."""
        del seen, carried
        return variables


def apart(policy: Policy) -> tuple[MLP | None, Policy]:
    """A policy's network, if it has one that a kernel can run, and the policy without its weights.

    Args:
      policy: what chooses.

    Returns:
      The network or None, and a policy that, given the network's outputs as its variables, chooses as `policy` does.
    """
    if isinstance(policy, Learned) and isinstance(policy.architecture, MLP):
        return policy.architecture, dataclasses.replace(
            policy, architecture=Given(policy.architecture.outputs), variables=None
        )
    return None, policy


def answered(policy: Policy, outputs: jax.Array) -> Policy:
    """The policy of `apart` once its network has run.

    Args:
      policy: of `apart`, that has a network.
      outputs: what it returned. ``[A]``

    Returns:
      The policy.
    """
    assert isinstance(policy, Learned)
    return dataclasses.replace(policy, variables=outputs)


def fits(network: MLP) -> bool:
    """Whether a network's hidden units fit a chip's registers.

    Args:
      network: its shape.

    Returns:
      A Python Boolean.
    """
    units = [_wide(units) for units in network.hidden]
    products = [before * after for before, after in itertools.pairwise(units)]
    return bool(units) and max(units) <= _WIDEST and max(products, default=0) <= _PRODUCT


def layers_of(policy: Policy, network: MLP | None) -> tuple[Weights, ...]:
    """A network's layers, the hidden ones widened to a power of two by units that do nothing.

    Args:
      policy: whose network it is.
      network: its shape; None: there is none.

    Returns:
      The layers, from the first to the last.
    """
    if network is None:
        return ()
    assert isinstance(policy, Learned)
    found: list[Weights] = []
    for number, units in enumerate((*network.hidden, network.outputs)):
        weights = policy.variables["params"][f"Dense_{number}"]
        kernel, bias = weights["kernel"], weights["bias"]
        before = len(found[-1].bias) - len(kernel) if found else 0
        more = _wide(units) - units if number < len(network.hidden) else 0
        if before or more:
            kernel, bias = jnp.pad(kernel, ((0, before), (0, more))), jnp.pad(bias, (0, more))
        found.append(Weights(kernel, bias))
    return tuple(found)


def _wide(units: int) -> int:
    """The least power of two that holds so many units and that matrix products are made for."""
    return max(16, 2 ** math.ceil(math.log2(units)))


def outputs(layers: tuple[Weights, ...], shown: Elements, block: tuple[int, ...]) -> Elements:
    """What a network returns for a block of episodes.

    Args:
      layers: of references, as `layers_of` gives them.
      shown: what it is shown. ``[I]``
      block: shape of a block's values of one number.

    Returns:
      Its outputs, number by number. ``[A]``
    """
    first, *middle, last = layers
    hidden = jnp.zeros((first.bias.shape[0], *block))
    for place, value in enumerate(shown):
        hidden += first.kernel[place, :][:, None] * spread(value, block)[None, :]
    hidden = jnp.tanh(hidden + first.bias[:][:, None])
    for layer in middle:
        product = lax.dot_general(layer.kernel[:, :].T, hidden, (((1,), (0,)), ((), ())), precision="highest")
        hidden = jnp.tanh(product + layer.bias[:][:, None])
    rows = range(last.bias.shape[0])
    sums = [jnp.sum(last.kernel[:, row][:, None] * hidden, axis=0) for row in rows]
    return elements([sums[row] + last.bias[row] for row in rows], (len(rows),))
