"""How well any policy could do in a scenario: the exact optimum, or a bracket around it where there is none."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aljax import env
from aljax.chance import draw_chance
from aljax.errors import UserError
from aljax.evaluate import Evaluation, Summary, check_finite, evaluate, summarise
from aljax.exact.bounds import lower_bounds
from aljax.exact.policy import Optimal
from aljax.exact.recursion import solve
from aljax.exact.structure import Plan, make_plan
from aljax.options import Protocol
from aljax.policy import Learned, Policy, heuristics
from aljax.rollout import Outcome
from aljax.scenario import Scenario
from aljax.seeds import EVALUATION, RELAXATION, SELECTION, seed_keys
from aljax.statistics import Interval, mean_interval, paired_gap

_MOST_WORK = 5e9  # rows times states times episodes: about a quarter of a minute on a CPU


def find_optimal(scenario: Scenario, protocol: Protocol) -> tuple[Optimal | None, str]:
    """The exact optimum as a policy, where finding it takes seconds; else None, and the reason in a line.

    Args:
      scenario: where.
      protocol: how many episodes it is to play.

    Returns:
      The policy and no text, or None and why there is none.
    """
    try:
        plan = make_plan(scenario.params, scenario=scenario)
    except UserError as refusal:
        return None, str(refusal)
    episodes = protocol.seeds * protocol.evaluation_episodes
    if plan.looks is not None:
        episodes = min(episodes, protocol.seeds * plan.looks)
    if plan.predicted_bytes(episodes, tables=True) > plan.memory_limit:
        return None, f"{scenario.name}: the exact policy's tables for {episodes:,} episodes do not fit in memory"
    if episodes * plan.past.size * plan.decisions * len(plan.rows) > _MOST_WORK:
        return None, f"{scenario.name}: the exact policy of {episodes:,} episodes would take minutes to compute"
    return Optimal(plan), ""


def starts(scenario: Scenario, protocol: Protocol) -> jax.Array:
    """The task vectors from which the episodes of an evaluation start. ``[S, d, B]``

    Args:
      scenario: where.
      protocol: seeds and episodes.

    Returns:
      ``[S, d, B]``
    """

    def begin(key: jax.Array) -> jax.Array:
        chance = draw_chance(key, scenario.params, episodes=protocol.evaluation_episodes, steps=scenario.horizon)
        return env.begin(chance.start, scenario.params).z

    return jax.jit(jax.vmap(begin))(seed_keys(protocol, EVALUATION))


def exact(
    scenario: Scenario, protocol: Protocol, plan: Plan, on_progress: Callable[[], object] = lambda: None
) -> Evaluation:
    """The exact expectations, over luck, of the optimum from each start of an evaluation.

    The same in form as an evaluation, but success is a probability, and there are no plays.

    Args:
      scenario: where.
      protocol: seeds and episodes.
      plan: of the exact solution.
      on_progress: called from the host after each seed.

    Returns:
      The expectations.
    """
    solve_seed, solutions = jax.jit(functools.partial(solve, plan=plan)), []
    for start in starts(scenario, protocol):
        solutions.append(jax.block_until_ready(solve_seed(scenario.params, start)))
        on_progress()
    found = jax.tree.map(lambda *leaves: jnp.stack(leaves), *solutions)
    none = jnp.zeros(0)
    expected = Evaluation(Outcome(found.components, found.value, found.success, steps=none), plays=none)
    check_finite(expected, "costs of the exact optimum")
    return expected


def _flat(starts: jax.Array) -> jax.Array:
    """``[S, d, B]`` to ``[d, S B]``."""
    return jnp.moveaxis(starts, 1, 0).reshape(starts.shape[1], -1)


@dataclasses.dataclass(frozen=True)
class Bracket:
    """Bounds on the optimum's expected cost; all intervals at the 95 % level."""

    lower: Interval
    """No policy costs less (`aljax.exact.bounds`)."""
    upper: Interval
    """What `policy` costs."""
    gap: Interval
    """By how many percent the upper bound exceeds the lower, paired start by start."""
    policy: str
    """The best policy that was found."""
    summary: Summary
    """Its evaluation."""

    def to_json(self) -> dict[str, Any]:
        """For files."""
        intervals = {"lower": self.lower, "upper": self.upper, "gap_percent": self.gap}
        return {name: interval.to_json() for name, interval in intervals.items()} | {"upper_policy": self.policy}


def bracket(
    scenario: Scenario,
    protocol: Protocol,
    plan: Plan,
    learned: Learned | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Bracket:
    """Bounds the optimum from below by relaxation and from above by the best policy at hand.

    The policy is chosen by its cost in episodes of their own, so that having chosen does not flatter it.

    Args:
      scenario: where.
      protocol: seeds and episodes; the bounds share the evaluation's starts.
      plan: relaxed.
      learned: S trained policies, on a leading axis, to choose from besides the heuristics.
      on_progress: called from the host with the number of starts bounded.

    Returns:
      The bracket.
    """
    static = {"episodes": protocol.evaluation_episodes, "steps": scenario.horizon}
    policies: dict[str, Policy] = dict(heuristics(scenario)) | ({} if learned is None else {learned.name: learned})
    trained = frozenset() if learned is None else frozenset({learned.name})
    count = jax.tree.leaves(learned)[0].shape[0] if learned is not None else 1
    one_key = jnp.repeat(seed_keys(protocol, SELECTION)[:1], count)  # the same episodes for every trained seed
    select = jax.jit(functools.partial(evaluate, trained=trained, **static))
    costs = {
        (name, seed): float(cost)
        for name, found in select(one_key, policies, scenario.params).items()
        for seed, cost in enumerate(np.asarray(found.outcome.total, np.float64).mean(1))
    }
    name, seed = min(costs, key=costs.__getitem__)
    policy = jax.tree.map(lambda leaf: leaf[seed], policies[name]) if name in trained else policies[name]
    play = jax.jit(functools.partial(evaluate, trained=frozenset(), **static))
    played = play(seed_keys(protocol, EVALUATION), {name: policy}, scenario.params)
    upper = np.asarray(played[name].outcome.total, np.float64)
    label = f"{name}, seed {seed}" if name in trained else name

    begin, key = _flat(starts(scenario, protocol)), seed_keys(protocol, RELAXATION)[0]
    lower = lower_bounds(key, scenario.params, begin, plan, on_progress).reshape(upper.shape)
    return Bracket(mean_interval(lower), mean_interval(upper), paired_gap(upper, lower), label, summarise(played[name]))
