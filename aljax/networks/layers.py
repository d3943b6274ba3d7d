"""Layers in Flax, for inputs whose features are the *first* axis: nothing is transposed on the way.

Products are in full single precision, which accelerators have to be asked for.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Dense(nn.Module):
    """`flax.linen.Dense`, features first."""

    features: int
    """Numbers that it returns."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[I, ...]`` to ``[features, ...]``."""
        kernel = self.param("kernel", nn.initializers.zeros, (x.shape[0], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return jnp.tensordot(kernel, x, (0, 0), precision="highest") + bias.reshape(bias.shape + (1,) * (x.ndim - 1))


class Layers(nn.Module):
    """Tanh layers and an output layer; `aljax.networks.architecture.MLP` draws their first weights."""

    hidden: tuple[int, ...]
    """Units of each tanh layer."""
    outputs: int
    """Numbers that the output layer returns."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps ``[I, ...]`` to ``[outputs, ...]``."""
        for units in self.hidden:
            x = nn.tanh(Dense(units)(x))
        return Dense(self.outputs)(x)
