"""A recurrent architecture: gated recurrent units (Cho et al., 2014) that remember what an episode has shown so far."""

import dataclasses
import itertools
from typing import ClassVar

import jax
import jax.numpy as jnp

from aljax.layout import lift
from aljax.networks.architecture import Layer, Layered, Variables, draw_layers
from aljax.target import Target, here

_INPUTS, _STATE = "GRU_inputs", "GRU_state"
"""The gated units' layers: from what is seen, and, without biases, from what is carried."""


@dataclasses.dataclass(frozen=True)
class GRU(Layered):
    """Tanh layers that see one observation, gated units that carry a state from step to step, and an output layer.

    With x what the tanh layers make of an observation (the observation itself where there are none), h what is
    carried, U units, ⊙ entry by entry and σ the logistic function,

        r, k, n = W x + b,  r', k', n' = V h,
        h ← σ(k + k') ⊙ h + (1 − σ(k + k')) ⊙ tanh(n + σ(r + r') ⊙ n'),

    and the output is linear in h. It begins with h = 0 and the first observation taken in.
    """

    hidden: tuple[int, ...]
    """Units of the tanh layers, and last those of the gated layer."""

    recurrent: ClassVar[bool] = True

    def init(self, key: jax.Array, inputs: int) -> Variables:
        """Draws first weights, uniform with standard deviation scale / √fan-in.

        As with `aljax.networks.architecture.MLP`, the layer that sees the observation starts wide (scale 3), its
        units' bends spread over the observations, and the output layer near 0 (scale 0.01). Biases of the gated units
        are uniform on [−2, 2]: so some units forget at once what others keep for an episode.

        Args:
          key: a PRNG key.
          inputs: numbers of an observation, static.

        Returns:
          The weights.
        """
        units, sizes = self.hidden[-1], (inputs, *self.hidden[:-1])
        layers = {
            f"Dense_{number}": Layer(before, after, 1.0 if number else 3.0, 0.0 if number else 2.0)
            for number, (before, after) in enumerate(itertools.pairwise(sizes))
        }
        layers[_INPUTS] = Layer(sizes[-1], 3 * units, 1.0 if len(sizes) > 1 else 3.0, 2.0)
        layers[_STATE] = Layer(units, 3 * units, 1.0, None)
        layers[self.last] = Layer(units, self.outputs, 0.01, 0.0)
        return draw_layers(key, layers)

    def begin(self, variables: Variables, seen: jax.Array) -> jax.Array:
        """The state ``[U]`` once the first observation is taken in.

        See `aljax.networks.architecture.Architecture.begin`.
        """
        return self.carry(variables, jnp.zeros((self.hidden[-1], *seen.shape[1:])), seen)

    def carry(self, variables: Variables, carried: jax.Array, seen: jax.Array) -> jax.Array:
        """See `aljax.networks.architecture.Architecture.carry`."""
        return self._moved(variables, carried, self._taken_in(variables, seen))

    def output(self, variables: Variables, seen: jax.Array, carried: jax.Array) -> jax.Array:
        """See `aljax.networks.architecture.Architecture.output`."""
        del seen  # it is taken in already
        return _dense(variables["params"][self.last], carried)

    def unroll(self, variables: Variables, seen: jax.Array, target: Target | None = None) -> jax.Array:
        """What observations contribute is worked out for all steps at once; only the state goes from step to step.

        See `aljax.networks.architecture.Architecture.unroll`.
        """
        given = jnp.moveaxis(self._taken_in(variables, seen), 1, 0)

        def step(carried: jax.Array, here: jax.Array) -> tuple[jax.Array, jax.Array]:
            carried = self._moved(variables, carried, here)
            return carried, carried

        unroll = (target or here()).unrolled(len(given))
        _, states = jax.lax.scan(step, jnp.zeros((self.hidden[-1], *seen.shape[2:])), given, unroll=unroll)
        return self.output(variables, seen, jnp.moveaxis(states, 0, 1))

    def products(self, inputs: int) -> int:
        """See `aljax.networks.architecture.Architecture.products`."""
        units = self.hidden[-1]
        layers = itertools.pairwise((inputs, *self.hidden[:-1], 3 * units))
        return sum(before * after for before, after in layers) + units * (3 * units + self.outputs)

    def widths(self, inputs: int) -> tuple[int, ...]:
        """See `aljax.networks.architecture.Architecture.widths`."""
        return inputs, *self.hidden[:-1], 3 * self.hidden[-1], self.hidden[-1], self.outputs

    def _taken_in(self, variables: Variables, seen: jax.Array) -> jax.Array:
        """What an observation ``[I]`` contributes to gates and candidate. ``[3 U]``"""
        layers = variables["params"]
        for number in range(len(self.hidden) - 1):
            seen = jnp.tanh(_dense(layers[f"Dense_{number}"], seen))
        return _dense(layers[_INPUTS], seen)

    def _moved(self, variables: Variables, carried: jax.Array, given: jax.Array) -> jax.Array:
        """The state after a step, of the one before and of what the observation contributes."""
        kernel = variables["params"][_STATE]["kernel"]
        r, k, n = jnp.split(given, 3)
        r_own, k_own, n_own = jnp.split(jnp.tensordot(kernel, carried, (0, 0), precision="highest"), 3)
        candidate = jnp.tanh(n + jax.nn.sigmoid(r + r_own) * n_own)
        kept = jax.nn.sigmoid(k + k_own)
        return kept * carried + (1.0 - kept) * candidate

    @property
    def first(self) -> str:
        """See `aljax.networks.architecture.Layered.first`."""
        return "Dense_0" if len(self.hidden) > 1 else _INPUTS

    @property
    def last(self) -> str:
        """See `aljax.networks.architecture.Layered.last`."""
        return f"Dense_{len(self.hidden) - 1}"


def _dense(layer: Variables, given: jax.Array) -> jax.Array:
    """A linear layer, features first. ``[inputs, ...]`` to ``[outputs, ...]``"""
    return jnp.tensordot(layer["kernel"], given, (0, 0), precision="highest") + lift(layer["bias"], given.ndim - 1)
