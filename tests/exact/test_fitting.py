"""Whether a plan is right for another environment: before it is solved, and while it is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aljax import UserError
from aljax.exact import facts
from aljax.exact.facts import KNOWN, VALUES_ONLY
from aljax.exact.fitting import fits, plan_key
from aljax.exact.recursion import solve
from aljax.exact.structure import make_plan

from enumeration import MEMBERS, D, family, stacked, starts, with_fields
from strategies import env_params, simple_environment

CHANGES = {
    "failure": ([0.0, 0.25, 0.5], [0.5, 0.25, 0.5], 0.0),
    "after_ok": ([0.0, 0.25, 0.5], [0.5, 0.5, 0.5], 0.25),
    "after_failed": ([0.0, 0.25, 0.5], [0.5, 0.5, 0.5], 0.0),
    "latency": ([1.0, 2.0, 3.0], 1.0),
    "failure_latency": ([1.0, 2.0, 3.0], 2.0),
    "money": ([1.0, 2.0, 3.0], 1.0),
    "failure_money": (0.0, 1.0),
    "latency_growth": (0.0, [0.0, 0.5, 0.5]),
    "latency_spread": (0.0, [0.0, 0.5, 0.0]),
    "timeout": (np.inf, [np.inf, 1.5, 2.5]),
    "max_calls": (np.inf, [2.0, np.inf, 9.0]),
    "requires": (False, [[True, False], [False, False], [False, False]]),
    "mean_uptime": (np.inf, [np.inf, np.inf, 9.0]),
    "rate_limit": (np.inf, [np.inf, 2.0, np.inf]),
    "shift": (0.0, np.arange(6.0).reshape(3, 2), 1.0),
    "gain": (1.0, [[1.0, 1.0], [0.5, 1.0], [1.0, 1.0]]),
    "noise": (0.0, [0.0, 0.5, 0.0]),
    "ends": (False, [False, False, True]),
    "reveals": (False, [False, True, False]),
    "allowed": (True, [True, False, True]),
    "misread": (0.0, [0.0, 0.5]),
    "blind": (False, [True, False]),
    "start_high": (2.0, 3.0),
    "auto_end": (True, False),
    "latency_budget": (np.inf, 2.0, 50.0),
    "money_budget": (np.inf, 2.0),
    "latency_limit": (np.inf, 3.0),
    "money_limit": (np.inf, 3.0, 50.0),
    "horizon": (2, 4),
    "tolerance": (0.5, 1.0),
    "tolerance_low": (0.5, np.inf),
    "drift": (0.0, 0.25),
    "weights": (1.0, 2.0),
}
USUAL = {name: values[0] for name, values in CHANGES.items()} | {"mean_downtime": 1.0, "rate_burst": 1.0}
SOME = sorted(set(CHANGES) - {"gain", "noise", "misread", "mean_uptime", "rate_limit"})
"""Which change what the solver can do, not whether."""


def environments(changing):
    """Environments of a few values a field, so that equal keys are met often."""
    one = st.sampled_from([(name, value) for name in changing for value in CHANGES[name]])
    return st.lists(one, max_size=4).map(lambda found: simple_environment(3, 2, **USUAL | dict(found)))


ENDING = simple_environment(3, 2, **USUAL | {"ends": [False, False, True]})


def plan_or_reason(params):
    try:
        return make_plan(params)
    except UserError as refused:
        return str(refused)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_environments_of_one_key_have_one_plan_or_one_reason_against_it(data):
    """The other is equal but in what no plan depends on, or in one field at random."""
    first, other = (data.draw(environments(sorted(CHANGES))) for _ in range(2))
    picked = data.draw(st.sampled_from([*CHANGES, ""]))
    kept = [picked] if picked else sorted(VALUES_ONLY & set(CHANGES))
    everything = first | first["actions"]
    second = with_fields(other, **{name: x for name, x in everything.items() if name not in (*kept, "actions")})
    one, two = (jax.tree.map(np.asarray, env_params(plain)) for plain in (first, second))
    if plan_key(one) == plan_key(two):
        assert plan_or_reason(one) == plan_or_reason(two)


@settings(max_examples=60, deadline=None)
@given(environments(SOME), environments(SOME))
@example(ENDING, with_fields(ENDING, failure=np.zeros(3)))
def test_a_plan_fits_where_it_would_be_made_and_where_it_fits_it_can_be_made(first, second):
    """Of two environments: the plan of both fits each; where one's fits the other, the other has a plan as well."""
    one, two = env_params(first), env_params(second)
    for params in (one, two):
        plan = plan_or_reason(params)
        if isinstance(plan, str):
            continue
        assert fits(params, plan)
        other = two if params is one else one
        if fits(other, plan):
            assert not isinstance(plan_or_reason(other), str)
        both = plan_or_reason(stacked([first, second]))
        if not isinstance(both, str):
            assert fits(one, both) and fits(two, both)


def test_what_would_follow_a_success_that_ends_says_nothing_of_the_optimum():
    """A row that ends has failed before or is called for the first time, even where it would fail alike after both."""
    z = jnp.asarray(starts(7, 3), jnp.float32)

    def value(after_ok):
        chances = {"failure": [0.25, 0.25, 0.25], "after_ok": [0.25, 0.25, after_ok], "after_failed": [0.25, 0.25, 0.5]}
        params = env_params(with_fields(ENDING, **{name: np.array(x) for name, x in chances.items()}))
        return np.asarray(solve(params, z, plan=make_plan(params)).value)

    assert np.isfinite(value(0.25)).all()
    np.testing.assert_array_equal(value(0.5), value(0.25))


def test_a_key_ignores_what_no_plan_depends_on_and_nothing_else():
    plain = simple_environment(3, 2, failure=0.25, after_failed=0.5, start_high=3.0, latency_growth=0.0)

    def key(**changes):
        return plan_key(jax.tree.map(np.asarray, env_params(with_fields(plain, **changes))))

    usual = key()
    assert key(weights=np.full(5, 9.0), drift=np.full(2, 7.0), tolerance=np.full(2, 3.0), auto_end=False) == usual
    assert key(failure=[0.125, 0.25, 0.75], latency=[9.0, 9.0, 9.0], latency_growth=[0.0, 0.5, 0.5]) == usual
    assert key(failure=[0.5, 0.25, 0.75]) != usual  # failures no longer stick
    assert key(latency_budget=5.0) != usual
    assert key(latency_budget=5.0, latency=[9.0, 9.0, 9.0]) != key(latency_budget=5.0)
    assert key(latency_budget=5.0, latency_growth=[0.0, 0.5, 0.5]) != key(latency_budget=5.0)
    assert key(misread=[0.0, 1.0]) != usual
    assert key(blind=[False, True]) != key(blind=[False, True], auto_end=False) != usual


FREE = {"failure": [0.5, 0.25, 0.0, 0.5], "shift": [[-1, 0], [0, -1], [-2, 0], [0, 0]], "ends": [False] * 3 + [True]}
OPTIONAL = {
    "after_ok": FREE["failure"], "after_failed": FREE["failure"], "failure_latency": 2.0, "latency_growth": 0.0,
    "latency_spread": 0.0, "timeout": np.inf, "mean_uptime": np.inf, "mean_downtime": 1.0, "rate_limit": np.inf,
    "rate_burst": 1.0, "max_calls": np.inf, "requires": False, "blind": False, "latency_limit": np.inf,
}  # fmt: skip


@functools.cache
def checked():
    """An environment with optional fields at their defaults, and a program that tells whether its plan fits."""
    plain = simple_environment(4, 2, **FREE, **OPTIONAL, latency=2.0)
    return plain, jax.jit(functools.partial(fits, plan=make_plan(env_params(plain))))


@pytest.mark.parametrize(
    "changes",
    [
        {"after_ok": [0.25, 0.25, 0.0, 0.5]}, {"after_failed": [0.75, 0.25, 0.0, 0.5]}, {"gain": np.full((4, 2), 0.5)},
        {"noise": np.ones(4)}, {"misread": np.ones(2)}, {"ends": np.ones(4, bool)}, {"resolves": np.ones(4, bool)},
        {"latency_budget": 9.0}, {"money_budget": 4.0}, {"latency_limit": 8.0}, {"horizon": 9.0},
        {"failure": np.full(4, 0.5)}, {"requires": np.ones((4, 2), bool)}, {"timeout": np.full(4, 9.0)},
        {"max_calls": np.full(4, 4.0)}, {"mean_uptime": np.full(4, 60.0)}, {"rate_limit": np.ones(4)},
        {"blind": np.ones(2, bool)}, {"latency_growth": np.full(4, 0.1), "latency_budget": 10.5},
        {"latency_spread": np.ones(4), "latency_budget": 99.0},
    ],
    ids=lambda changes: "+".join(changes),
)  # fmt: skip
def test_what_a_plan_has_not_foreseen_is_noticed(changes):
    plain, check = checked()
    assert check(env_params(plain))
    assert not check(env_params(with_fields(plain, **changes)))


def test_what_no_plan_depends_on_is_not_minded():
    plain, check = checked()
    half = np.array(FREE["failure"]) / 2
    harmless = with_fields(
        plain, failure=half, after_ok=half, after_failed=half, weights=np.full(5, 2.0), drift=np.ones(2),
        auto_end=False, failure_latency=np.full(4, 1.0), latency_growth=np.full(4, 0.5), latency_spread=np.ones(4),
        money_budget=5.0, max_calls=np.full(4, 5.0), latency=np.array([2.0, 1.0, 0.5, 3.0]), horizon=4.0,
    )  # fmt: skip
    assert check(env_params(harmless))


def test_a_class_holds_only_events_that_do_the_same():
    alike = family("pooled")[0]
    plan = make_plan(env_params(alike))
    assert fits(env_params(alike), plan)
    assert not fits(env_params(with_fields(alike, shift=alike["actions"]["shift"] + np.eye(4, D))), plan)


def test_a_plan_of_several_fits_each_and_elsewhere_there_is_no_value():
    """NaN, also under vmap, where nothing can be raised."""
    plains, z = family("free"), jnp.asarray(starts(7, 3), jnp.float32)
    plan = make_plan(stacked(plains))
    assert all(fits(env_params(plain), plan) for plain in plains)
    wrong = [with_fields(plain, misread=np.full(D, float(n == 1))) for n, plain in enumerate(plains)]
    value = jax.jit(jax.vmap(functools.partial(solve, plan=plan), (0, None)))(stacked(wrong), z).value
    np.testing.assert_array_equal(np.isnan(value).all(1), np.arange(MEMBERS) == 1)


@pytest.mark.parametrize(("name", "value"), [("drift", 0.25), ("noise", 0.5)])
def test_a_field_that_the_solver_does_not_know_does_not_fit_unless_at_its_default(name, value, monkeypatch):
    plain = simple_environment(3, 2, ends=[False, True, True])
    plan = make_plan(env_params(plain))
    monkeypatch.setattr(facts, "KNOWN", KNOWN - {name})
    assert fits(env_params(plain), plan)
    assert not fits(env_params(with_fields(plain, **{name: np.full_like(plain.get(name, np.ones(3)), value)})), plan)
