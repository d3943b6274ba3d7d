"""Policies by what a user calls them, and what they cost in the simulator."""

import dataclasses
import os
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax import runs
from aljax.breaker import Breaker, best_breaker
from aljax.errors import UserError, short
from aljax.evaluate import evaluate
from aljax.exact.bracket import find_optimal
from aljax.options import Protocol
from aljax.policy import Learned, Mixture, Policy, Random, Told, heuristics
from aljax.scenario import Scenario
from aljax.seeds import EVALUATION, seed_keys
from aljax.statistics import mean_interval


def policies_of(
    names: tuple[str, ...], scenario: Scenario, protocol: Protocol, epsilon: float, greedy: bool
) -> dict[str, Policy]:
    """Policies by what the user calls them.

    Args:
      names: heuristics, ``optimal``, where something goes down ``breaker``, run folders, or ``RUN:seed``.
      scenario: where they are to play.
      protocol: for what the exact optimum may take.
      epsilon: share of choices that are any allowed row.
      greedy: of runs' policies.

    Returns:
      A policy a name.

    Raises:
      UserError: no such policy, a run on other actions, a seed that the run does not have, an epsilon out of range.
    """
    if not 0 <= epsilon <= 1:
        raise UserError(f"epsilon: expected a number in [0, 1], got {epsilon}")
    found = {name: _policy_of(name, scenario, protocol, greedy) for name in names}
    if epsilon == 0:
        return found
    weights = jnp.array([1 - epsilon, epsilon])
    return {name: Mixture((policy, Random()), weights) for name, policy in found.items()}


def _policy_of(name: str, scenario: Scenario, protocol: Protocol, greedy: bool) -> Policy:
    simple = heuristics(scenario)
    if name in simple:
        return simple[name]
    if name == Breaker.name and scenario.params.actions.mean_uptime is not None:
        return best_breaker(scenario, protocol).policy
    if name == "optimal":
        optimal, reason = find_optimal(scenario, protocol)
        if optimal is None:
            raise UserError(f"policy optimal: {reason}")
        return optimal
    folder, colon, number = name.rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,9}", number):
        folder, number = name, "0"
    if not os.path.isdir(folder):  # noqa: PTH112  (Path.is_dir raises where no folder could have this name)
        known = [*simple, "optimal"] + [Breaker.name] * (scenario.params.actions.mean_uptime is not None)
        raise UserError(f"policy {short(name, 200)}: expected {', '.join(known)} or a run folder")
    run = runs.load(folder)
    stacked = run.policy_in(folder, scenario)
    seeds = jax.tree.leaves(stacked)[0].shape[0]
    if int(number) >= seeds:
        raise UserError(f"policy {short(name, 200)}: the run has seeds 0 to {seeds - 1}")
    if stacked.name == Told.name:
        raise UserError(f"policy {short(name, 200)}: is told which rows are up, which no agent sees and no log tells")
    policy: Learned = jax.tree.map(lambda leaf: leaf[int(number)], stacked)
    return dataclasses.replace(policy, greedy=greedy)


def true_values(policy: Policy, scenario: Scenario, protocol: Protocol) -> dict[str, Any]:
    """A policy's cost and success in the simulator, with intervals.

    Args:
      policy: any.
      scenario: where it plays.
      protocol: seeds and episodes.

    Returns:
      Intervals at the 95 % level: ``cost``, weighted by λ, and ``success``.
    """
    static = {"trained": frozenset(), "episodes": protocol.evaluation_episodes, "steps": scenario.horizon}
    play = jax.jit(evaluate, static_argnames=("trained", "episodes", "steps"))
    found = play(seed_keys(protocol, EVALUATION), {"it": policy}, scenario.params, **static)["it"].outcome
    return {"cost": mean_interval(found.total), "success": mean_interval(np.asarray(found.success, np.float64))}
