"""What holds in the states of one layer of the exact solution: where the task stands, what rows cost and risk.

Of the axes, N is the layer's points (`aljax.exact.lattice`), L the row that failed last (`aljax.exact.structure`),
W the starts that are solved together. Rows are meant by their position i in `Plan.rows`, R of them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from aljax.env import EnvParams, over
from aljax.exact import lattice
from aljax.exact.structure import Plan, adds

LATENCY, MONEY, VIOLATION, FAILURE, DIVERGENCE, SUCCESS = range(6)
"""The components' places in `aljax.env.COMPONENTS`, and after them that of success."""


class Reached(NamedTuple):
    """Where the states of one layer stand."""

    z: tuple[jax.Array, ...]
    """The task vector, d times ``[N, W]``: sums over an axis of d would be several times slower."""
    latency: jax.Array
    """Seconds taken, 0 where no budget can be exceeded. ``[N, 1]``"""
    money: jax.Array
    """Dollars spent, likewise. ``[N, 1]``"""


def reach(params: EnvParams, plan: Plan, tails: jax.Array, start: jax.Array, time: jax.Array) -> Reached:
    """Start, plus how often each class happened times what it adds, plus time times drift.

    Args:
      params: the environment, which may be traced.
      plan: the solution's structure.
      tails: the layer's points. Integer ``[n, N]``
      start: task vectors to start from. ``[d, W]``
      time: t, steps played.

    Returns:
      Where the states of the layer stand.
    """
    often = lattice.happened(tails, time).astype(start.dtype)
    each = jnp.stack([adds(params, plan, event) for event in plan.classes], 1)
    total = jnp.tensordot(each, often, 1, precision="highest")
    d = len(start)
    added, spent = total[:d] + time * params.drift[:, None], total[d:]
    none = jnp.zeros(often.shape[1:])
    latency, money = spent[0] if plan.latency else none, spent[-1] if plan.money else none
    z = tuple(start[i] + added[i, :, None] for i in range(d))
    return Reached(z, latency[:, None], money[:, None])


def violation(params: EnvParams, reached: Reached) -> jax.Array:
    """The constraint g of a layer's states, as `aljax.env.violation`. ``[N, 1, W]``

    Args:
      params: the environment, which may be traced.
      reached: where they stand.

    Returns:
      In the units of `aljax.env.violation`. ``[N, 1, W]``
    """
    over_latency = over(reached.latency, params.latency_budget) / params.latency_budget
    over_money = over(reached.money, params.money_budget) / params.money_budget
    beyond = [over(jnp.abs(z), params.tolerance[i]) for i, z in enumerate(reached.z)]
    return (sum(beyond) + over_latency + over_money)[:, None]


def closing(params: EnvParams, plan: Plan, i: int, reached: Reached) -> jax.Array:
    """The violation with which the i-th row, if it succeeds, ends the episode. ``[N, 1, W]``

    Args:
      params: the environment, which may be traced.
      plan: the solution's structure.
      i: the row's position in `Plan.rows`.
      reached: where the states stand.

    Returns:
      As `violation`. ``[N, 1, W]``
    """
    row = plan.rows[i]
    z = tuple(map(jnp.zeros_like, reached.z)) if plan.resolves[i] else reached.z
    latency, money = params.actions.latency[row], params.actions.money[row]
    return violation(params, Reached(z, reached.latency + latency, reached.money + money))


def failures(params: EnvParams, plan: Plan) -> list[jax.Array]:
    """Each row's probability of failing, by what failed last. R times ``[L, 1]``

    Args:
      params: the environment, which may be traced.
      plan: the solution's structure.

    Returns:
      Probabilities, one array a row: R times ``[L, 1]``.
    """
    table = params.actions
    return [
        jnp.stack(
            [table.failure[row], *((table.retry_failure if s == row else table.failure)[row] for s in plan.sticky)]
        )[:, None]
        for row in plan.rows
    ]


def divergence(params: EnvParams, plan: Plan, i: int, p: jax.Array, reached: Reached) -> jax.Array:
    """Expected ‖ẑ' − z'‖ of the i-th row, which fails with probability p. ``[L, 1]`` or ``[N, L, W]``

    Args:
      params: the environment, which may be traced.
      plan: the solution's structure.
      i: the row's position in `Plan.rows`.
      p: its probability of failing. ``[L, 1]``
      reached: where the states stand.

    Returns:
      ``[L, 1]`` where it is the same in all states, else ``[N, L, W]``.
    """
    drift = jnp.linalg.norm(params.drift)
    if plan.resolves[i]:
        return p * jnp.sqrt(sum((z + params.drift[k]) ** 2 for k, z in enumerate(reached.z)))[:, None]
    if plan.ends[i]:
        return p * drift
    return p * jnp.linalg.norm(params.actions.shift[plan.rows[i]] - params.drift) + (1 - p) * drift


def entry(plan: Plan, i: int) -> int:
    """Where a failure of the i-th row leads on the axis L. (After a success no row has failed last: 0.)

    Args:
      plan: the solution's structure.
      i: the row's position in `Plan.rows`.

    Returns:
      A place on the axis L.
    """
    return plan.sticky.index(plan.rows[i]) + 1 if plan.rows[i] in plan.sticky else 0
