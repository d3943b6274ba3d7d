"""What of an environment makes the structure of its exact solution, and what stands in the way of one."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from aljax import UserError, load_scenario
from aljax.env import ActionTable, EnvParams
from aljax.exact import facts
from aljax.exact.facts import KNOWN
from aljax.exact.recursion import choices
from aljax.exact.structure import make_plan
from aljax.fields import fields_of

from enumeration import stacked, with_fields
from strategies import env_params, simple_environment

NEUTRAL = {
    "after_ok": 0.0, "after_failed": 0.0, "failure_latency": 1.0, "failure_money": 1.0, "latency_growth": 0.0,
    "money_growth": 0.0, "latency_spread": 0.0, "timeout": math.inf, "mean_uptime": math.inf, "mean_downtime": 0.0,
    "rate_limit": math.inf, "rate_burst": 1.0, "max_calls": math.inf, "requires": False, "start_points": [[0.0, 0.0]],
    "start_weights": [1.0], "blind": False, "tolerance_low": 1.0, "latency_limit": math.inf, "money_limit": math.inf,
}  # fmt: skip


def plan_of(**changes):
    return make_plan(env_params(simple_environment(3, 2, **changes)))


def test_structure_is_as_small_as_it_can_be():
    six = make_plan(env_params(simple_environment(6, 4, shift=np.eye(6, 4) + 1, failure=0.1, horizon=10)))
    assert (six.counts, six.past.size, six.states) == (5, 1, math.comb(15, 5))  # the last two are twins
    assert not (six.latency or six.money or six.past.levels)
    # A row without effect, one not allowed and a twin add no count; one that never fails adds no failure.
    tools = simple_environment(
        5, 1, shift=[[-1.0], [0.0], [-3.0], [-1.0], [-2.0]], failure=[0.5, 0.5, 0.5, 0.5, 0.0],
        allowed=[True, True, False, True, True],
    )  # fmt: skip
    plan = make_plan(env_params(tools))
    assert (plan.rows, plan.counts, plan.failure[-1]) == ((0, 1, 3, 4), 2, None)
    assert plan.success[0] == plan.success[2] != plan.success[1] == plan.failure[0]
    # A budget that cannot be exceeded is none; one that can tells failures apart by their price only.
    assert not make_plan(env_params(with_fields(tools, money_budget=6.0))).money
    priced = make_plan(env_params(with_fields(tools, money=[1.0, 1.0, 1.0, 2.0, 1.0], money_budget=4.0)))
    assert priced.money and len(priced.classes) == 5  # −1 at 1, −1 at 2, −2 at 1, nothing at 1, nothing at 2


@pytest.mark.parametrize(
    ("columns", "levels"),
    [
        ({"failure": 0.25, "after_ok": 0.25, "after_failed": 0.25}, None),
        ({"failure": 0.25, "after_failed": 0.5}, (0, 0, 1)),
        ({"failure": 0.25, "after_ok": 0.125}, (0, 1, 0)),
        ({"failure": 0.25, "after_ok": 0.5, "after_failed": 0.5}, (0, 1, 1)),
        ({"failure": 0.25, "after_ok": 0.125, "after_failed": 0.5}, (0, 1, 2)),
        ({"failure": 0.25, "after_ok": 0.125, "after_failed": 0.5, "shift": [[1, 1], [2, 2], [3, 3]]}, (0, 0, 1)),
        ({"failure": 0.25, "after_ok": 0.125, "ends": True}, None),  # worked is over
        ({"failure": 0.0, "after_failed": 0.5}, None),  # it never fails
        ({"failure": 0.0, "after_failed": 0.5, "requires": True}, (0, 0, 1)),  # it may
    ],
)
def test_a_row_has_a_level_for_each_chance_that_comes_up(columns, levels):
    assert plan_of(**columns).past.levels == (() if levels is None else tuple((row, levels) for row in range(3)))


def test_a_count_of_its_own_successes_tells_whether_a_row_that_did_not_fail_was_called():
    kept = {"failure": 0.25, "after_ok": 0.125, "after_failed": 0.5}
    assert plan_of(**kept, shift=[[1, 1], [2, 2], [2, 2]]).apart == (True, False, False)
    assert plan_of(failure=0.25, after_failed=0.5, shift=[[1, 1], [2, 2], [3, 3]]).apart == (False, False, False)


def test_environments_together_share_levels_where_they_all_do():
    plains = [simple_environment(2, 1, failure=[0.25, 0.5], after_failed=[0.25, 0.5 + more]) for more in (0.0, 0.25)]
    assert make_plan(stacked(plains)).past.levels == ((1, (0, 0, 1)),)


def test_growth_is_kept_only_where_a_bound_is_kept_and_rows_differ():
    growing = {"latency_growth": [0.0, 0.5, 0.5]}
    assert plan_of(**growing).past.sizes == (1,)  # nothing is bounded
    kept = plan_of(**growing, latency_budget=4.0)
    assert kept.past.growing == ((0,), (1, 2)) and kept.past.sizes == (11, 1)
    alike = plan_of(latency_growth=0.5, latency_budget=4.0)
    assert alike.latency and alike.past.sizes == (1,)  # time says it
    ending = plan_of(latency_growth=[0.5, 0.5, 0.25], latency_budget=4.0, ends=[False, False, True])
    assert ending.past.sizes == (1,)  # the last step's time is known


def test_seconds_and_dollars_are_kept_where_a_budget_can_be_exceeded_or_a_limit_reached_before_the_end():
    assert not plan_of(latency_budget=5.0).latency and plan_of(latency_budget=4.9).latency
    assert not plan_of(latency_limit=4.5).latency and plan_of(latency_limit=4.0).latency
    assert not plan_of(money_limit=4.5).money and plan_of(money_limit=4.5, failure_money=2.0).money
    assert plan_of(money_budget=5.5, money_growth=0.1).money
    assert not plan_of(latency=30.0, timeout=1.0, latency_budget=5.0).latency
    assert not plan_of(latency_spread=1.0, timeout=1.0, latency_budget=5.0).latency


def test_events_of_rows_that_may_run_out_of_calls_are_counted_apart():
    plan = plan_of(failure=0.5, max_calls=[2.0, math.inf, 5.0])
    assert plan.limited == (True, False, False)
    assert len(plan.classes) == 3 and plan.success[1] == plan.failure[2]
    assert len({plan.success[0], plan.failure[0], plan.success[1]}) == 3


@pytest.mark.parametrize("relaxed", [False, True])
def test_optional_fields_at_their_defaults_change_no_plan(relaxed):
    """The whole table of them, one at a time and together."""
    optional = {n for kind in (ActionTable, EnvParams) for n, field in fields_of(kind).items() if field.optional}
    assert set(NEUTRAL) == optional & KNOWN
    bare = make_plan(env_params(simple_environment(3, 2)), relaxed=relaxed)
    groups = [{name: value} for name, value in NEUTRAL.items() if name not in ("start_points", "start_weights")]
    for changes in [*groups, NEUTRAL]:
        assert make_plan(env_params(simple_environment(3, 2, **changes)), relaxed=relaxed) == bare, changes


def test_the_solver_knows_fields_that_there_are():
    assert {*fields_of(ActionTable), *fields_of(EnvParams)} >= KNOWN


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"gain": 0.5}, "needs gain 1 everywhere; row 0 has gain 0.5 on 0"),
        ({"noise": 0.25}, "needs rows without noise; row 0 has noise 0.25"),
        ({"misread": 2.0}, "needs a task that is not misread; 0 is, by 2"),
        ({"resolves": True}, "needs rows that resolve to end the episode too; row 0 does not"),
        (
            {"mean_uptime": [math.inf, 60.0, 30.0], "mean_downtime": [1.0, 0.0, 5.0]},
            "needs rows that are never down; row 2 has mean_uptime 30",
        ),
        ({"rate_limit": [math.inf, 0.5, 2.0]}, "needs rows without a token bucket; row 1 has rate_limit 0.5"),
        (
            {"latency_spread": [0.0, 0.5, 0.0], "latency_budget": 9.0},
            "needs seconds without spread under a latency_budget or latency_limit; row 1 has latency_spread 0.5",
        ),
        (
            {"latency_spread": [0.0, 0.5, 0.0], "latency_limit": 9.0},
            "needs seconds without spread under a latency_budget or latency_limit; row 1 has latency_spread 0.5",
        ),
        (
            {"latency": 2.0, "failure_latency": 1.0, "timeout": [9.0, 1.5, 9.0], "latency_budget": 4.0},
            "needs failed calls of one duration under a latency_budget or latency_limit; row 1 has timeout 1.5",
        ),
        (
            {"latency_growth": 0.5, "timeout": [9.0, 9.0, 2.5], "latency_limit": 4.0},
            "needs failed calls of one duration under a latency_budget or latency_limit; row 2 has timeout 2.5",
        ),
        (
            {"blind": [False, True], "start_low": 2.0, "start_high": 3.0},
            "needs starts that are points alone (start_low = start_high) where a coordinate is blind; 1 is",
        ),
        (
            {"blind": [True, False], "start_low": 2.0, "start_high": 2.0},
            "needs auto_end = false where a coordinate is blind; 0 is",
        ),
        (
            {"blind": [True, False], "start_high": 2.0, "auto_end": False, "reveals": [False, False, True]},
            "needs rows that reveal nothing where a coordinate is blind; row 2 reveals 0",
        ),
        (
            {"blind": [False, True], "start_high": 2.0, "auto_end": False, "requires": [[1, 0], [0, 1], [0, 0]]},
            "needs rows that require no blind coordinate; row 1 requires 1",
        ),
        ({"allowed": False}, "needs from 1 to 126 rows that are allowed; there are 0"),
    ],
)
def test_refusals_name_the_field_that_stands_in_the_way(changes, reason):
    with pytest.raises(UserError) as refused:
        plan_of(**changes)
    assert str(refused.value) == f"this environment: the exact solver {reason}"


def test_what_is_near_to_a_refusal_is_solved():
    """Spread without a bound on seconds, time-outs that leave one duration, blindness that hides nothing more."""
    plan_of(latency_spread=0.5, money_budget=3.0)
    plan_of(latency=2.0, failure_latency=1.0, timeout=2.0, latency_budget=4.0)
    plan_of(latency=2.0, failure_latency=9.0, timeout=1.5, latency_budget=4.0)
    plan_of(latency_growth=0.5, timeout=3.0, latency_limit=4.0)
    plan_of(mean_uptime=60.0, mean_downtime=0.0)
    plan_of(blind=[True, False], start_high=2.0, auto_end=False, requires=[[0, 1], [0, 1], [0, 0]])


@pytest.mark.parametrize(("name", "value"), [("drift", 0.25), ("noise", 0.5), ("timeout", 2.0)])
def test_a_field_that_the_solver_does_not_know_is_refused_unless_it_is_at_its_default(name, value, monkeypatch):
    plan = plan_of(ends=[False, True, True])
    monkeypatch.setattr(facts, "KNOWN", KNOWN - {name})
    with pytest.raises(UserError, match=f"this environment: the exact solver does not reckon with {name}"):
        plan_of(ends=[False, True, True], **{name: value})
    assert plan_of(ends=[False, True, True]) == plan


def test_refusals_name_scenario_row_and_size():
    scenario = load_scenario("paper")
    row, coordinate = scenario.action_names[-1], scenario.coordinate_names[0]
    with pytest.raises(UserError) as refused:
        bent = load_scenario("paper", [f"actions.gain.{row}=0.6"])
        make_plan(bent.params, scenario=bent)
    reason = f"the exact solver needs gain 1 everywhere; row {row} has gain 0.6 on {coordinate}"
    assert str(refused.value) == f"paper: {reason}"
    scenario = load_scenario("paper", ["horizon=5000"])
    sizes = r"would need \S+e\d+ states \(horizon 5000, \d counts, 1 kinds of past\), \S+ GiB a start"
    with pytest.raises(UserError, match=rf"^paper: the exact solver {sizes}; the limit is 1 GiB$"):
        make_plan(scenario.params, scenario=scenario)
    scenario = load_scenario("paper")
    with pytest.raises(UserError, match=r"^paper: .* states .*; the limit is 9.3e-07 GiB$"):
        make_plan(scenario.params, scenario=scenario, memory_limit=1000)
    with pytest.raises(UserError, match="asked for horizon 3, but an episode lasts up to 10 steps"):
        make_plan(scenario.params, horizon=3)
    with pytest.raises(UserError, match="agree on which rows have ends; on 0 they differ"):
        make_plan(stacked([simple_environment(2, 1), simple_environment(2, 1, ends=True)]))
    with pytest.raises(UserError, match="agree on which coordinates are blind; on 0 they differ"):
        make_plan(stacked([simple_environment(2, 1, blind=False), simple_environment(2, 1, blind=True)]))
    plan = make_plan(scenario.params, memory_limit=2**24)
    with pytest.raises(UserError, match=r"tables for 1,000,000 starts need \d+ GiB; the limit is 0.016 GiB$"):
        choices(scenario.params, jnp.zeros((len(scenario.coordinate_names), 1_000_000)), plan)
