"""The hand-made answer to outages: a circuit breaker around `cost_aware`, and the best one of a grid.

Agent frameworks offer this rule: after so many failures in a row a tool is not called for so many seconds; then one
call is let through, and the tool is closed off again if it fails. How many and how long is left to the user.
"""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aljax.chance import draw_chance
from aljax.constraint import exceeds
from aljax.env import EnvParams, num_actions, played
from aljax.layout import lift
from aljax.networks.seen import latency_seen
from aljax.options import Protocol
from aljax.policy import CostAware, Policy
from aljax.rollout import outcome, play
from aljax.scenario import Scenario
from aljax.seeds import SELECTION, seed_keys

FAILURES = (1, 2, 3, 5)
"""How many failures in a row open a breaker of the grid."""
SECONDS = 7
"""For how many times it stays open, besides none at all and the rest of the episode."""


class Circuits(NamedTuple):
    """What a breaker remembers of each row."""

    failures: jax.Array
    """Calls that failed since the last one that worked. Integer ``[A]``"""
    until: jax.Array
    """The episode's second until which it is not called; 0: closed. ``[A]``"""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Breaker(Policy):
    """`aljax.policy.CostAware` among the tools whose circuit breakers are not open.

    A breaker is closed at first. It opens when its tool has failed so many times in a row, for so many seconds by the
    episode's clock. Then it is half open: the tool may be called once more, and the breaker opens again if that fails,
    and closes if it works. Where no legal tool is left, all other legal rows are in question.
    """

    tools: jax.Array
    """Which rows are tools. Boolean ``[A]``"""
    failures: jax.Array
    """How many failures in a row open a breaker. Scalar"""
    seconds: jax.Array
    """For how long it stays open; inf: as long as the episode lasts. Scalar"""
    name: ClassVar[str] = "breaker"

    def begin(self, params: EnvParams, observation: jax.Array) -> Circuits:
        """See `Policy.begin`."""
        shape = (num_actions(params), *observation.shape[1:])
        return Circuits(jnp.zeros(shape, jnp.int32), jnp.zeros(shape))

    def logits(self, params: EnvParams, observation: jax.Array, legal: jax.Array, memory: Circuits) -> jax.Array:
        """See `Policy.logits`."""
        tools = lift(self.tools, observation.ndim - 1)
        free = legal & ~(tools & exceeds(memory.until, latency_seen(observation, params)))
        free = jnp.where(jnp.any(free, axis=0), free, legal)
        return CostAware(self.tools).logits(params, observation, free, ())

    def remember(
        self, params: EnvParams, memory: Circuits, action: jax.Array, failed: jax.Array, observation: jax.Array
    ) -> Circuits:
        """See `Policy.remember`."""
        rows = lift(jnp.arange(num_actions(params), dtype=jnp.int32), action.ndim)
        this = rows == played(action, params)
        failures = jnp.where(this, jnp.where(failed, memory.failures + 1, 0), memory.failures)
        opens = this & (failures >= self.failures)
        until = jnp.where(opens, latency_seen(observation, params) + self.seconds, memory.until)
        return Circuits(failures, jnp.where(this & ~failed, 0.0, until))


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The best breaker of a grid, and what all of the grid cost."""

    policy: Breaker
    """The best."""
    failures: np.ndarray
    """Of each breaker of the grid. ``[G]``"""
    seconds: np.ndarray
    """``[G]``"""
    costs: np.ndarray
    """Mean total cost, in episodes that no evaluation has. ``[G]``"""

    @property
    def best(self) -> int:
        """Its place in the grid."""
        return int(np.argmin(self.costs))

    def to_json(self) -> dict[str, Any]:
        """For files, which have no infinity: seconds as text."""
        grid = zip(self.failures.tolist(), self.seconds.tolist(), self.costs.tolist(), strict=True)
        found = [{"failures": int(k), "seconds": f"{c:g}", "cost": cost} for k, c, cost in grid]
        return {"best": found[self.best], "grid": found}


def breakers(scenario: Scenario) -> tuple[np.ndarray, np.ndarray]:
    """The grid: failures in a row, and seconds.

    Seconds are spaced evenly in their logarithm, from the quickest call of a tool to an episode of the slowest one;
    besides, there is no breaker at all, and one that stays open.

    Args:
      scenario: where.

    Returns:
      Failures and seconds of each breaker. ``[G]``
    """
    table, tools = scenario.params.actions, scenario.tools
    calls = np.asarray(table.latency, float)[tools if tools.any() else slice(None)]
    longest = max(float(calls.max()) * scenario.horizon, 1e-3)
    shortest = min([*calls[calls > 0], longest])
    seconds = [*np.geomspace(shortest, longest, SECONDS), np.inf]
    grid = [(FAILURES[0], 0.0), *((k, c) for k in FAILURES for c in seconds)]
    failures, seconds = np.array(grid).T
    return failures.astype(np.int32), seconds.astype(np.float32)


def best_breaker(scenario: Scenario, protocol: Protocol) -> Tuned:
    """The breaker of least cost, in episodes of their own, so that having chosen does not flatter it.

    Args:
      scenario: where.
      protocol: how many episodes.

    Returns:
      That breaker, and the grid.
    """
    failures, seconds = breakers(scenario)
    tools = jax.device_put(np.asarray(scenario.tools))
    grid = Breaker(tools, *jax.device_put((failures, seconds)))
    keys = seed_keys(protocol, SELECTION)
    costs = np.asarray(_costs(grid, keys, scenario.params, protocol.evaluation_episodes, scenario.horizon), float)
    best = int(np.argmin(costs))
    policy = Breaker(tools, *jax.device_put((failures[best], seconds[best])))
    return Tuned(policy, failures, seconds, costs)


@functools.partial(jax.jit, static_argnames=("episodes", "steps"))
def _costs(grid: Breaker, keys: jax.Array, params: EnvParams, episodes: int, steps: int) -> jax.Array:
    """The mean cost of each breaker of a grid on the same starts and luck. ``[G]``"""

    def seed(key: jax.Array) -> jax.Array:
        chance = draw_chance(key, params, episodes=episodes, steps=steps)

        def one(failures: jax.Array, seconds: jax.Array) -> jax.Array:
            return outcome(play(chance, Breaker(grid.tools, failures, seconds), params), params).total.mean()

        return jax.vmap(one)(grid.failures, grid.seconds)

    return jax.lax.map(seed, keys).mean(0)
