"""What keeping promises costs at least, against every policy there is and their best mixture, in float64."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

from aljax.errors import UserError
from aljax.exact.constrained import constrained_bound
from aljax.exact.structure import make_plan
from aljax.options import Protocol
from aljax.params import COMPONENTS
from aljax.promises import parse_constraint

import expectimax
import oracle
from tiny import tiny_scenario

SCENARIO = tiny_scenario("actions.failure.strong=0.25", "actions.shift.strong=[-2.25]", "weights.violation=4.0")
PROTOCOL = Protocol(seeds=1, evaluation_episodes=2)
PLAN = make_plan(SCENARIO.params, scenario=SCENARIO)


def every_policy():
    """The expected components of every policy that may remember all. ``[N, 5]``"""
    plain = oracle.params_dict(SCENARIO.params)

    def walk(state):
        found = []
        for action in expectimax.legal(plain, state):
            after = []
            for outcome in expectimax.outcomes(plain, state, action):
                onward = [np.zeros(5)] if outcome.done else walk(outcome.state)
                after.append([outcome.chance * (outcome.costs + costs) for costs in onward])
            found += [sum(choice) for choice in itertools.product(*after)]
        return [np.array(costs) for costs in {tuple(np.round(costs, 12)) for costs in found}]

    ((_, start),) = expectimax.begin(plain, [2.0])
    return np.stack(walk(start))


def test_the_bound_is_what_the_best_mixture_of_all_policies_costs():
    policies, weights = every_policy(), np.asarray(SCENARIO.params.weights, float)
    costs = policies @ weights
    for promises in ((("latency", 1.5),), (("money", 0.5), ("failure", 0.2))):
        kept = np.stack([policies[:, COMPONENTS.index(name)] for name, _ in promises])
        mixture = linprog(
            costs, A_ub=kept, b_ub=[bound for _, bound in promises], A_eq=np.ones((1, len(costs))), b_eq=1
        )
        given = [parse_constraint(f"{name}<={bound}") for name, bound in promises]
        found = constrained_bound(SCENARIO, PROTOCOL, PLAN, given)
        np.testing.assert_allclose(found.bound.estimate, mixture.fun, rtol=3e-4)
        np.testing.assert_allclose(found.free.estimate, costs.min(), rtol=1e-5)
        assert found.bound.estimate > 1.02 * found.free.estimate and max(found.multipliers) > 0


def test_a_promise_that_costs_nothing_has_no_multiplier():
    found = constrained_bound(SCENARIO, PROTOCOL, PLAN, [parse_constraint("latency<=100")])
    assert found.multipliers == (0.0,) and found.bound == found.free and found.solved == 1


def test_what_nobody_can_keep_and_what_is_no_mean_is_refused():
    with pytest.raises(UserError, match=r"E\[latency\]: no policy in tiny keeps it"):
        constrained_bound(SCENARIO, PROTOCOL, PLAN, [parse_constraint("latency<=0.25")])
    with pytest.raises(UserError, match="bounds means only, such as latency<=1"):
        constrained_bound(SCENARIO, PROTOCOL, PLAN, [parse_constraint("P(latency>1)<=0.5")])
