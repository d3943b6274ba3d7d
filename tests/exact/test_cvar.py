"""How low the CVaR of the total cost can be, against every policy there is, in float64."""

import itertools

import numpy as np
import pytest

from aljax.errors import UserError
from aljax.exact.bracket import starts
from aljax.exact.cvar import cvar_bound
from aljax.options import Protocol

import expectimax
import oracle
from expectimax import laws, tail_mean
from tiny import tiny_scenario

CHANGES = (
    "actions.failure.strong=0.2", "actions.shift.strong=[-2.2]", "actions.failure.weak=0.05", "weights.violation=4",
)  # fmt: skip


def every_law(scenario, start):
    """Of every policy from a start: the probability and the cost of each outcome."""
    plain = oracle.params_dict(scenario.params)
    ((_, state),) = expectimax.begin(plain, [start])
    weights = np.asarray(plain["weights"], float)
    return [[(chance, float(weights @ costs)) for chance, costs in law] for law in laws(plain, state)]


@pytest.mark.parametrize("alpha", [0.1, 0.25, 1.0])
def test_no_policy_is_below_and_the_best_is_at_most_a_thousandth_above(alpha):
    scenario = tiny_scenario(*CHANGES)
    least = min(tail_mean(law, alpha) for law in every_law(scenario, 2.0))
    found = cvar_bound(scenario, Protocol(seeds=1, evaluation_episodes=2), alpha)
    assert 0.999 * least <= found.bound.estimate <= least * (1 + 1e-6)
    assert least * (1 - 1e-6) <= found.attained.estimate <= 1.001 * least
    np.testing.assert_allclose(found.attained.estimate - found.attained.low, found.bound.estimate - found.bound.low)


def test_episodes_of_all_starts_share_one_tail():
    """What is worst is so among all episodes, and each start's policy is the best for that."""
    scenario = tiny_scenario(*CHANGES, "start_low=1.0", "start_high=3.0", "horizon=2", "weights.divergence=0")
    protocol = Protocol(seeds=1, seed=1, evaluation_episodes=2)
    first, second = np.asarray(starts(scenario, protocol))[0, 0]
    pairs = itertools.product(every_law(scenario, float(first)), every_law(scenario, float(second)))
    least = min(tail_mean([(chance / 2, cost) for chance, cost in (*one, *other)], 0.3) for one, other in pairs)
    found = cvar_bound(scenario, protocol, 0.3)
    assert 0.999 * least <= found.bound.estimate <= least * (1 + 1e-6)
    assert abs(first - second) > 0.1


def test_where_nothing_costs_anything_the_bound_is_0():
    free = [f"weights.{name}=0" for name in ("latency", "money", "violation", "failure", "divergence")]
    found = cvar_bound(tiny_scenario(*free), Protocol(seeds=1, evaluation_episodes=2), 0.1)
    assert (found.bound.estimate, found.attained.estimate, found.solved) == (0.0, 0.0, 1)


def test_costs_that_do_not_follow_from_counts_are_refused():
    spread = tiny_scenario("actions.latency_spread.weak=0.5")
    with pytest.raises(UserError, match="CVaR: tiny: the exact solver needs seconds without spread for how late"):
        cvar_bound(spread, Protocol(seeds=1, evaluation_episodes=2), 0.1)
    without = tiny_scenario("actions.latency_spread.weak=0.5", "weights.latency=0")
    assert cvar_bound(without, Protocol(seeds=1, evaluation_episodes=2), 1.0).bound.estimate > 0
