"""Policies in environments drawn from what is known of a scenario: how they do on average, and in the worst tenth.

For each seed E environments are drawn, and every policy plays the same episodes in each of them: the same starts and
the same luck. The worst tenth is the mean cost of the dearest tenth of a seed's environments, each policy's own.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.table import Table

from aljax.chance import draw_chance
from aljax.errors import UserError
from aljax.host.programs import Program
from aljax.learning.risk import cvar
from aljax.limits import check_size, check_whole
from aljax.options import Protocol
from aljax.policy import Policy
from aljax.posterior import Posterior, Unaware, draw_environments, placed, posterior_of
from aljax.rollout import outcome, play
from aljax.scenario import Scenario
from aljax.seeds import ENVIRONMENTS, keys_of, seed_numbers
from aljax.statistics import Interval, mean_interval
from aljax.tables import new_table
from aljax.target import Target, here

SHARE = 0.1
"""The worst environments' share."""


class Played(NamedTuple):
    """Means over the episodes of one policy in each environment."""

    cost: jax.Array
    """Of the total. ``[S, E]``"""
    success: jax.Array
    """``[S, E]``"""
    components: jax.Array
    """Unweighted. ``[S, E, 5]``"""


@dataclasses.dataclass(frozen=True)
class Robust:
    """What policies came to in drawn environments, S seeds of E each."""

    draws: int
    """E."""
    widen: float
    """How many times as unsure each number was taken to be as the file says."""
    played: Mapping[str, Played]
    """By policy; NumPy's arrays."""
    trained: frozenset[str]
    """Policies that differ from seed to seed."""

    def mean(self, name: str) -> Interval:
        """A policy's mean cost, with its interval over seeds."""
        return _over_seeds(np.asarray(self.played[name].cost, np.float64).mean(-1))

    def worst(self, name: str) -> Interval:
        """A policy's mean cost in its dearest tenth of environments, with its interval over seeds."""
        return _over_seeds(cvar(self.played[name].cost, SHARE))

    def less(self, name: str, reference: str) -> Interval:
        """By how much a policy's worst tenth costs less than another's; seeds are paired."""
        worst = {each: cvar(self.played[each].cost, SHARE) for each in (name, reference)}
        return _over_seeds(worst[reference] - worst[name])

    def to_json(self) -> dict[str, Any]:
        """As in ``metrics.json``."""
        policies = {
            name: {
                "mean": self.mean(name).to_json(),
                "worst_tenth": self.worst(name).to_json(),
                "success": float(np.mean(found.success)),
            }
            for name, found in self.played.items()
        }
        return {"draws": self.draws, "widen": self.widen, "policies": policies}


def evaluate_environments(
    scenario: Scenario,
    policies: Mapping[str, Policy],
    protocol: Protocol,
    *,
    trained: frozenset[str] = frozenset(),
    draws: int = 200,
    widen: float = 1.0,
    moved: float = 0.0,
) -> Robust:
    """Plays policies in environments that are drawn from a scenario's intervals.

    Args:
      scenario: whose file has intervals.
      policies: by name. Those named in `trained` have a leading seed axis on every array and meet seed by seed.
      protocol: seeds, and episodes in each environment.
      trained: which policies are a stack of S.
      draws: E, environments a seed.
      widen: how many times as unsure each number is as the file says (`aljax.posterior.posterior_of`).
      moved: by how many standard deviations all numbers are larger.

    Returns:
      What they came to.

    Raises:
      UserError: there are no intervals, or a number is out of range.
    """
    check_whole("draws", draws)
    played = ((protocol.evaluation_episodes, "episodes"), (scenario.horizon, "steps"), (8, "numbers"))
    check_size("evaluation_episodes", "an environment's evaluation", *played)
    known = posterior_of(scenario, widen=widen, moved=moved)
    found = {}
    for name, policy in policies.items():
        program = _program(name in trained, protocol.evaluation_episodes, scenario.horizon, draws, here())
        given = np.int32(protocol.seed), seed_numbers(protocol), policy, known
        found[name] = jax.tree.map(np.asarray, program(*given))
        if not np.isfinite(found[name].cost).all():
            raise UserError(f"costs of policy {name} are not finite in some environment that was drawn")
    return Robust(draws, widen, found, frozenset(trained))


@functools.lru_cache(16)
def _program(stacked: bool, episodes: int, steps: int, draws: int, target: Target) -> Program:
    """`_seeds`, compiled once for all policies of a form and all numbers of a scenario."""
    static: dict[str, Any] = {"episodes": episodes, "steps": steps, "draws": draws, "target": target}
    function = functools.partial(_seeds, stacked=stacked, **static)
    return Program(function, ("environments", stacked, static), compiler_options=target.compiler_options(once=True))


def _seeds(
    seed: jax.Array, numbers: jax.Array, policy: Policy, params: Posterior, *, stacked: bool, **static: Any
) -> Played:
    """All seeds of a policy, one after the other."""
    keys = keys_of(seed, ENVIRONMENTS, numbers)
    alone = functools.partial(_play, params=params, **static)
    if stacked:
        return jax.lax.map(lambda given: alone(*given), (keys, policy))
    return jax.lax.map(lambda key: alone(key, policy), keys)


def _play(
    key: jax.Array, policy: Policy, params: Posterior, episodes: int, steps: int, draws: int, target: Target
) -> Played:
    """One seed: the same chance in all its environments."""
    own = draw_environments(key, params, draws)
    chance = draw_chance(key, params, episodes=episodes, steps=steps, target=target)
    unaware = Unaware(policy, placed(params, {}))

    def there(drawn: Mapping[str, jax.Array]) -> Played:
        world = placed(params, drawn)
        result = outcome(play(chance, unaware, world, target=target), world)
        return Played(result.total.mean(), result.success.mean(), result.costs.mean(-1))

    return jax.lax.map(there, jax.tree.map(lambda leaf: jax.numpy.moveaxis(leaf, -1, 0), dict(own)))


def _over_seeds(values: np.ndarray) -> Interval:
    return mean_interval(values[:, None], by_seed=True)


def robust_table(robust: Robust, *, plain: bool = False) -> Table:
    """Policies in drawn environments, a row a policy.

    Args:
      robust: what they came to.
      plain: without colours, for a file.

    Returns:
      The table.
    """
    wider = "" if robust.widen == 1 else f", {robust.widen:g} times as unsure as the file says"
    table = new_table(f"{robust.draws} environments a seed, drawn from the scenario's intervals{wider}", plain)
    table.add_column("policy")
    for heading in ("mean cost [95 % CI]", "worst tenth of environments [95 % CI]", "success"):
        table.add_column(heading, justify="right")
    for name, found in robust.played.items():
        table.add_row(name, str(robust.mean(name)), str(robust.worst(name)), f"{np.mean(found.success):.4f}")
    return table
