"""Architectures: what turns observations into numbers, a policy's logits or a critic's value.

An `Architecture` is static, its weights are a tree beside it. Training, learning from logs, reloading and sweeps ask
it for everything that depends on its shape, and know no layer by name. One that carries a state from step to step says
so by `begin`, `carry` and `unroll`; a feed-forward one leaves them as they are.

As in `aljax.env`, shapes are written for one episode, features first, and every function takes trailing batch axes as
well.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax.chance import uniform
from aljax.keys import one_key
from aljax.target import Target, here

Variables = Any
"""A tree of weights."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network's shape. Subclasses are frozen and hashable: two that are equal share one compilation."""

    outputs: int
    """Numbers that it returns at each step."""
    recurrent: ClassVar[bool] = False
    """It carries a state from step to step."""

    def init(self, key: jax.Array, inputs: int) -> Variables:
        """Draws first weights for observations of `inputs` numbers, from one PRNG key."""
        raise NotImplementedError

    def begin(self, variables: Variables, seen: jax.Array) -> Any:
        """What is carried once the first observation ``[I]`` of an episode is seen; nothing by default."""
        del variables, seen
        return ()

    def output(self, variables: Variables, seen: jax.Array, carried: Any) -> jax.Array:
        """The numbers for one step.

        Args:
          variables: weights.
          seen: the observation. ``[I]``
          carried: what `begin` or `carry` gave, this observation taken in.

        Returns:
          ``[outputs]``.
        """
        raise NotImplementedError

    def carry(self, variables: Variables, carried: Any, seen: jax.Array) -> Any:
        """What is carried once the next observation ``[I]`` is seen too."""
        del variables, seen
        return carried

    def unroll(self, variables: Variables, seen: jax.Array, target: Target | None = None) -> jax.Array:
        """The numbers for all steps of whole episodes, as learning needs them.

        Args:
          variables: weights.
          seen: every step's observation. ``[I, T, B]``
          target: what it is compiled for; None: this process's default backend.

        Returns:
          ``[outputs, T, B]``.
        """
        steps = jnp.moveaxis(seen, 1, 0)

        def step(carried: Any, observations: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
            here, after = observations
            return self.carry(variables, carried, after), self.output(variables, here, carried)

        after = jnp.concatenate([steps[1:], steps[-1:]])
        unroll = (target or here()).unrolled(len(steps))
        _, found = jax.lax.scan(step, self.begin(variables, steps[0]), (steps, after), unroll=unroll)
        return jnp.moveaxis(found, 0, 1)

    def widths(self, inputs: int) -> tuple[int, ...]:
        """Numbers at each stage of a step, from the inputs to the outputs: what work and memory are estimated from."""
        raise NotImplementedError

    def products(self, inputs: int) -> int:
        """Multiplications of a step, which is about how many weights there are."""
        return sum(before * after for before, after in itertools.pairwise(self.widths(inputs)))

    def rearranged(self, variables: Variables, inputs: np.ndarray, scale: np.ndarray, outputs: np.ndarray) -> Variables:
        """Weights that do the same on observations, and give outputs, in another order.

        Args:
          variables: weights, with any leading axes.
          inputs: which of the inputs that the weights know stands at each place of the new observations. ``[I]``
          scale: what the new observation at each place is to be multiplied by. ``[I]``
          outputs: which of the outputs stands at each place of the new ones. ``[outputs]``

        Returns:
          The weights.
        """
        raise NotImplementedError

    def scaled(self, variables: Variables, factor: float | jax.Array) -> Variables:
        """Weights whose outputs are those of `variables` times a factor."""
        raise NotImplementedError


class Layer(NamedTuple):
    """A linear layer, and how its first weights are drawn."""

    inputs: int
    outputs: int
    scale: float
    """Standard deviation of the kernel's entries times √inputs."""
    bias: float | None
    """Biases are uniform between its negative and it; None: there are none."""


def draw_layers(key: jax.Array, layers: Mapping[str, Layer]) -> Variables:
    """Draws first weights, all of them uniform.

    Args:
      key: a PRNG key.
      layers: by name.

    Returns:
      ``{"params": {NAME: {"kernel": [inputs, outputs], "bias": [outputs]}}}``.
    """
    shapes = {
        name: {"kernel": jax.ShapeDtypeStruct((layer.inputs, layer.outputs), jnp.float32)}
        | ({} if layer.bias is None else {"bias": jax.ShapeDtypeStruct((layer.outputs,), jnp.float32)})
        for name, layer in layers.items()
    }
    leaves, tree = jax.tree_util.tree_flatten_with_path({"params": shapes})
    # All numbers in one draw: Flax's key a weight takes several times as long to compile.
    numbers = uniform(one_key(key), (sum(leaf.size for _, leaf in leaves),), -1.0, 1.0)
    weights, used = [], 0
    for path, leaf in leaves:
        layer, kind = layers[path[-2].key], path[-1].key
        bound = layer.scale * (3.0 / layer.inputs) ** 0.5 if kind == "kernel" else layer.bias or 0.0
        weights.append(bound * numbers[used : used + leaf.size].reshape(leaf.shape))
        used += leaf.size
    return tree.unflatten(weights)


class Layered(Architecture):
    """An architecture whose weights are layers by name, as `draw_layers` gives them."""

    @property
    def first(self) -> str:
        """The layer that sees observations."""
        raise NotImplementedError

    @property
    def last(self) -> str:
        """The layer that gives the outputs."""
        raise NotImplementedError

    def rearranged(self, variables: Variables, inputs: np.ndarray, scale: np.ndarray, outputs: np.ndarray) -> Variables:
        """See `Architecture.rearranged`."""
        layers = dict(variables["params"])
        first = layers[self.first]
        layers[self.first] = first | {"kernel": first["kernel"][..., inputs, :] * scale[:, None]}
        layers[self.last] = jax.tree.map(lambda leaf: leaf[..., outputs], layers[self.last])
        return {"params": layers}

    def scaled(self, variables: Variables, factor: float | jax.Array) -> Variables:
        """See `Architecture.scaled`."""
        layers = variables["params"]
        last = jax.tree.map(lambda leaf: (factor * leaf).astype(leaf.dtype), layers[self.last])
        return {"params": layers | {self.last: last}}


@dataclasses.dataclass(frozen=True)
class MLP(Layered):
    """A feed-forward network of tanh layers, which sees one observation and carries nothing."""

    hidden: tuple[int, ...]
    """Units a hidden layer."""

    def init(self, key: jax.Array, inputs: int) -> Variables:
        """Draws first weights.

        They are uniform with standard deviation scale / √fan-in. The first layer starts wide (scale 3, biases uniform
        on [−2, 2]), its units' bends spread over the observations; the output layer starts near 0 (scale 0.01).
        Measured (studies/gap.py) to come nearer to the optimum than a first layer that starts narrow; presumably
        because what is best to do changes at sharp thresholds: one call fewer is needed, the deadline passes.

        Args:
          key: a PRNG key.
          inputs: numbers of an observation, static.

        Returns:
          The weights.
        """
        layers = {
            f"Dense_{number}": Layer(before, after, 1.0, 0.0)
            for number, (before, after) in enumerate(itertools.pairwise(self.widths(inputs)))
        }
        layers[self.first] = layers[self.first]._replace(scale=3.0, bias=2.0)
        layers[self.last] = layers[self.last]._replace(scale=0.01, bias=0.0)
        return draw_layers(key, layers)

    def output(self, variables: Variables, seen: jax.Array, carried: Any = ()) -> jax.Array:
        """See `Architecture.output`."""
        from aljax.networks.layers import (
            Layers,  # Flax is loaded where a program is traced: one that was kept needs none
        )

        del carried
        found: Any = Layers(self.hidden, self.outputs).apply(variables, seen)
        return found

    def unroll(self, variables: Variables, seen: jax.Array, target: Target | None = None) -> jax.Array:
        """All steps at once, wherever it runs. See `Architecture.unroll`."""
        del target
        size, steps, episodes = seen.shape
        return self.output(variables, seen.reshape(size, steps * episodes)).reshape(-1, steps, episodes)

    def widths(self, inputs: int) -> tuple[int, ...]:
        """See `Architecture.widths`."""
        return inputs, *self.hidden, self.outputs

    @property
    def first(self) -> str:
        """See `Layered.first`."""
        return "Dense_0"

    @property
    def last(self) -> str:
        """See `Layered.last`."""
        return f"Dense_{len(self.hidden)}"
