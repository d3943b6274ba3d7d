"""What keeping promises costs at least, against every policy there is and their best mixture, in float64."""

import functools

import numpy as np
import pytest
from scipy.optimize import linprog

from aljax.errors import UserError
from aljax.exact.constrained import constrained_bound
from aljax.options import Protocol
from aljax.promises import parse_constraint

import expectimax
import oracle
from expectimax import laws
from tiny import tiny_scenario

CHANGES = "actions.failure.strong=0.25", "actions.shift.strong=[-2.25]", "weights.violation=4.0"
SCENARIO = tiny_scenario(*CHANGES)
PROTOCOL = Protocol(seeds=1, evaluation_episodes=2)


@functools.cache
def every_policy():
    """Of every policy that may remember all: probabilities of outcomes, and their components ``[5, outcomes]``."""
    plain = oracle.params_dict(SCENARIO.params)
    ((_, start),) = expectimax.begin(plain, [2.0])
    pairs = [list(zip(*law, strict=True)) for law in laws(plain, start)]
    return [(np.array(chances), np.array(costs).T) for chances, costs in pairs]


@pytest.mark.parametrize(
    "promises",
    [
        ("latency<=1.5",),
        ("money<=0.5", "failure<=0.2"),
        ("P(latency>2)<=0.2",),
        ("P(money>0.9)<=0.3", "P(failure>0)<=0.25", "latency<=2.5"),
        ("P(violation>0)<=0.6", "P(divergence>1.5)<=0.2"),
    ],
)
def test_the_bound_is_what_the_best_mixture_of_all_policies_costs(promises):
    weights, given = np.asarray(SCENARIO.params.weights, float), [parse_constraint(text) for text in promises]
    costs = np.array([weights @ components @ chances for chances, components in every_policy()])
    kept = [[each.values(components) @ chances for chances, components in every_policy()] for each in given]
    mixture = linprog(costs, A_ub=kept, b_ub=[each.bound for each in given], A_eq=np.ones((1, len(costs))), b_eq=1)
    found = constrained_bound(SCENARIO, PROTOCOL, given)
    np.testing.assert_allclose(found.bound.estimate, mixture.fun, rtol=3e-4)
    assert found.bound.estimate <= mixture.fun * (1 + 1e-6)
    np.testing.assert_allclose(found.free.estimate, costs.min(), rtol=1e-5)
    assert found.bound.estimate > 1.02 * found.free.estimate and max(found.multipliers) > 0


def test_a_promise_that_costs_nothing_has_no_multiplier():
    found = constrained_bound(SCENARIO, PROTOCOL, [parse_constraint("latency<=100")])
    assert found.multipliers == (0.0,) and found.bound == found.free and found.solved == 1


@pytest.mark.parametrize(
    ("promise", "changes", "said"),
    [
        ("latency<=0.25", (), r"E\[latency\]: no policy in tiny keeps it"),
        ("P(latency>0.25)<=0.5", (), r"P\(latency > 0.25\): no policy in tiny keeps it"),
        (
            "P(latency>1)<=0.5",
            ("actions.latency_spread.weak=0.5",),
            "tiny: the exact solver needs seconds without spread for how late an episode is; row weak has",
        ),
        (
            "P(divergence>1)<=0.5",
            ('actions.kind.stop="escalate"', "actions.failure.stop=0.25"),
            "needs rows that resolve never to fail where the divergence so far matters; row stop may",
        ),
    ],
)
def test_what_nobody_can_keep_and_what_the_solver_cannot_follow_is_refused(promise, changes, said):
    with pytest.raises(UserError, match=rf"constraint: .*{said}"):
        constrained_bound(tiny_scenario(*CHANGES, *changes), PROTOCOL, [parse_constraint(promise)])
