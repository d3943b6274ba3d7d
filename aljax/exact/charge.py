"""What is charged of an episode's totals when it is over: what of them is beyond a threshold, or that it is beyond.

Weights charge each step by itself. A chance P(C_k > s) and the excess E[(C − η)₊] are no such sums: they need what an
episode has come to so far, which a plan then keeps (`aljax.exact.structure.make_plan`, `keeps`).
"""

import dataclasses

import jax
import jax.numpy as jnp

from aljax.constraint import exceeds


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Charge:
    """J charges on totals."""

    chances: tuple[bool, ...] = dataclasses.field(metadata={"static": True})
    """Whether 1 is charged where a total is beyond its threshold; else what it is beyond it by. ``[J]``"""
    weights: jax.Array
    """Of the five components, of which each total is the sum. ``[J, 5]``"""
    thresholds: jax.Array
    """``[J]``"""
    prices: jax.Array
    """Of a unit of each. ``[J]``"""

    def units(self, totals: list[jax.Array]) -> tuple[jax.Array, ...]:
        """What episodes of these totals are charged for.

        Args:
          totals: of the five components. ``[...]``, or what broadcasts to that

        Returns:
          J arrays ``[...]``.
        """
        found = []
        for j, chance in enumerate(self.chances):
            total = sum((self.weights[j, k] * x for k, x in enumerate(totals[1:], 1)), self.weights[j, 0] * totals[0])
            beyond = exceeds(total, self.thresholds[j])
            found.append(beyond.astype(total.dtype) if chance else jnp.maximum(total - self.thresholds[j], 0.0))
        return tuple(found)

    def priced(self, units: tuple[jax.Array, ...]) -> jax.Array:
        """What these units cost together.

        Args:
          units: as `units` gives them.

        Returns:
          ``[...]``
        """
        return sum(
            (price * each for price, each in zip(self.prices[1:], units[1:], strict=True)), self.prices[0] * units[0]
        )
