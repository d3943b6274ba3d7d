"""The optimum under rules: against expectimax over whole traces, played in the simulator; bounds; what is refused."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aljax.env import EnvParams
from aljax.errors import UserError
from aljax.exact import standings as module
from aljax.exact.bounds import lower_bounds
from aljax.exact.fitting import fits, plan_key
from aljax.exact.plan import Plan
from aljax.exact.policy import Optimal
from aljax.exact.recursion import solve
from aljax.exact.standings import Standings, standings
from aljax.exact.structure import make_plan
from aljax.rollout import outcome, rollout
from aljax.rules.data import Rules
from aljax.rules.templates import TEMPLATES
from aljax.scenario import Scenario

import expectimax
from ruled import ruled
from strategies import env_params, simple_environment
from verdicts import Verdicts

KEY = jax.random.key(0)
ROWS, D, H = "abcd", 1, 4
VARIANTS = (("hard", "success"), ("hard", "call"), ("soft", "success"), ("soft", "call"))


class Case(NamedTuple):
    """Rules that can be kept together, and for what programs are compiled."""

    rules: list[dict]
    """As a file has them."""
    made: Rules
    ends: set[int]
    most: dict[int, float]


def rule_of(rng: np.random.Generator, template: str, mode: str, on: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"template": template, "mode": mode, "on": on, "a": str(rng.choice(list(ROWS)))}
    keys = TEMPLATES[template].keys
    if "b" in keys:
        rule["b"] = str(rng.choice([row for row in ROWS if row != rule["a"]]))
    else:
        rule["steps" if "steps" in keys else "n"] = int(rng.integers(1, 3))
    return rule | ({"weight": 0.5} if mode == "soft" else {})


@functools.cache
def case(number: int) -> Case:
    """Four rules; over as many cases as there are templates, each is hard and soft, of calls and of successes."""
    names, rng = list(TEMPLATES), np.random.default_rng(number)
    ends, most = ("d", {}) if number % 3 else ("", {1: 2.0})
    while True:
        rules = [
            rule_of(rng, names[(number + 5 * k) % len(names)], *variant) | {"name": f"r{k}"}
            for k, variant in enumerate(VARIANTS)
        ]
        try:
            found = ruled(rules, ROWS, ends, H, *[f"actions.max_calls.{ROWS[row]}={n:g}" for row, n in most.items()])
        except UserError as error:
            assert "cannot be kept" in str(error)
            continue
        made = found.params.rules
        assert made is not None
        return Case(rules, made, {ROWS.index(row) for row in ends}, most)


def sticky(number: int, after_failed: np.ndarray) -> dict[str, np.ndarray]:
    """Failures that last, in every third case."""
    return {} if number % 3 else {"after_failed": after_failed}


def environment(found: Case, **changes: Any) -> tuple[expectimax.Params, EnvParams]:
    """The same for the oracle and for the library."""
    ends = np.isin(np.arange(len(ROWS)), list(found.ends))
    most = {"max_calls": [found.most.get(row, np.inf) for row in range(len(ROWS))]} if found.most else {}
    weight = np.asarray(changes.pop("weight", [1.0, 1.0, 0.5, 0.5]))
    plain = simple_environment(len(ROWS), D, ends=ends, resolves=ends, **most, **changes)
    rules = [dict(rule) for rule in found.rules]
    for rule, units in zip(rules, weight, strict=True):
        rule |= {key: ROWS.index(rule[key]) for key in "ab" if key in rule} | {"weight": float(units)}
    verdicts = Verdicts(rules, list(range(len(ROWS))), found.ends, int(plain["horizon"]), found.most)
    params = dataclasses.replace(
        env_params(plain), rules=dataclasses.replace(found.made, weight=jnp.asarray(weight, jnp.float32))
    )
    return plain | {"rules": verdicts}, params


def random_environment(number: int, seed: int) -> tuple[expectimax.Params, EnvParams]:
    """One of a case's rules in which no two choices are equally good."""
    rng = np.random.default_rng(seed)
    return environment(
        case(number), latency=rng.uniform(0, 2, 4), money=rng.uniform(0, 2, 4), failure=rng.uniform(0.1, 0.6, 4),
        shift=rng.normal(0, 1.5, (4, D)), drift=rng.normal(0, 0.2, D), tolerance=rng.uniform(0.2, 1, D),
        auto_end=bool(seed % 2), horizon=H, start_low=1.0, start_high=1.0,
        weights=rng.uniform(0.1, 1, 5) * [1, 1, 4, 1, 1], **sticky(number, rng.uniform(0, 1, 4)),
    )  # fmt: skip


@functools.cache
def program(number: int) -> tuple[Plan, Any]:
    """Of any environment with the rules of a case: each is compiled once."""
    _, params = environment(
        case(number), failure=0.5, shift=[[-1.0], [-2.0], [0.5], [0.25]], **sticky(number, np.full(4, 0.25))
    )
    plan = make_plan(params, horizon=max(H, int(params.horizon)))
    return plan, jax.jit(functools.partial(solve, plan=plan))


def grid(low: float, high: float) -> st.SearchStrategy[float]:
    return st.integers(round(low * 8), round(high * 8)).map(lambda k: k / 8)


def numbers(shape: Any, elements: st.SearchStrategy[Any]) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float64, shape, elements=elements, fill=st.nothing())


chances = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
drawn = st.fixed_dictionaries({
    "latency": numbers(4, grid(0, 2)), "money": numbers(4, grid(0, 2)), "failure": numbers(4, chances),
    "shift": numbers((4, D), grid(-2, 2)), "drift": numbers(D, grid(-0.5, 0.5)),
    "tolerance": numbers(D, grid(0, 1)), "auto_end": st.booleans(), "horizon": st.integers(1, H),
    "weights": numbers(5, grid(0, 2)),
    "weight": numbers(2, grid(0, 2)).map(lambda units: np.array([1.0, 1.0, *units])),
})  # fmt: skip


@pytest.mark.parametrize("number", range(len(TEMPLATES)))
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_values_equal_expectimax_over_whole_traces(number, data):
    """Every template, hard and soft, of calls and of successes, with rows that end, run out of calls and stick."""
    changes, z = data.draw(drawn), data.draw(grid(-2, 2))
    changes |= sticky(number, data.draw(numbers(4, chances)))
    plain, params = environment(case(number), **changes)
    value, _ = expectimax.best(plain, expectimax.begin(plain, [z]))
    _, run = program(number)
    found = run(params, jnp.full((D, 1), z, jnp.float32))
    np.testing.assert_allclose(found.value[0], value, rtol=1e-5, atol=1e-5)
    total = float(changes["weights"] @ np.asarray(found.components[:, 0], np.float64))
    np.testing.assert_allclose(total, value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("number", range(len(TEMPLATES)))
def test_components_and_success_do_too_where_no_two_choices_are_equally_good(number):
    plan, run = program(number)
    for seed in range(4):
        plain, params = random_environment(number, seed)
        z = seed - 1.5
        value, parts = expectimax.best(plain, expectimax.begin(plain, [z]))
        found = run(params, jnp.full((D, 1), z, jnp.float32))
        np.testing.assert_allclose(found.value[0], value, rtol=1e-5)
        np.testing.assert_allclose(found.components[:, 0], parts[:5], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.success[0], parts[5], atol=1e-5)
    assert plan.past.standings is not None and plan.past.standings.states.shape[1] > 1


def test_played_in_the_simulator_the_optimum_costs_what_the_solution_says():
    _, params = random_environment(1, 0)
    plan, run = program(1)
    play = jax.jit(lambda params: outcome(rollout(KEY, Optimal(plan), params, episodes=1024, steps=H), params))
    played = play(params)
    found = run(params, jnp.full((D, 1), 1.0))
    for costs, expected in zip(
        [played.total, played.success.astype(jnp.float32), *played.costs],
        [found.value, found.success, *found.components], strict=True,
    ):  # fmt: skip
        error = max(float(costs.std()) / 32, 1e-5)
        assert abs(float(costs.mean()) - float(expected[0])) < 4.5 * error
    assert float(played.total.std()) > 0


def test_a_plan_fits_no_environment_of_other_rules():
    plan, _ = program(1)
    _, params = random_environment(1, 0)
    check = jax.jit(functools.partial(fits, plan=plan))
    assert check(params)
    assert not check(random_environment(2, 0)[1])
    assert not check(dataclasses.replace(params, rules=None))
    keys = {plan_key(x) for x in (params, random_environment(2, 0)[1], dataclasses.replace(params, rules=None))}
    assert len(keys) == 3


# Bounds


@pytest.mark.parametrize("seed", [0, 1])
def test_where_nothing_is_relaxed_the_bound_is_the_exact_value(seed):
    plain, params = random_environment(3, seed)
    z = np.linspace(-2, 2, 3)[None]
    below = lower_bounds(KEY, params, z, make_plan(params, relaxed=True))
    exact = [expectimax.best(plain, expectimax.begin(plain, z[:, b]))[0] for b in range(3)]
    np.testing.assert_allclose(below, exact, rtol=1e-5)


WAITING = {"name": "wait", "template": "cooldown", "a": "a", "seconds": 3.0, "on": "call"}


def waiting(*rules: dict[str, Any], rows: str = ROWS) -> tuple[expectimax.Params, EnvParams, Scenario]:
    """Four rows, of which one must rest after it was called."""
    scenario = ruled([WAITING, *rules], rows, "", H)
    made = scenario.params.rules
    assert made is not None
    found = Case([WAITING, *rules], made, set(), {})
    weight = np.asarray(made.weight, np.float64)
    plain, params = environment(
        found, latency=[1.0, 2.0, 0.5, 1.5], money=[0.25, 0.5, 0.75, 0.5], failure=[0.25, 0.5, 0.125, 0.375],
        shift=[[-2.0], [-0.5], [-0.75], [0.25]], allowed=[row in rows for row in ROWS], tolerance=0.25, horizon=H,
        weights=[0.25, 0.5, 2.0, 0.5, 0.25], weight=weight,
    )  # fmt: skip
    return plain, params, scenario


@pytest.mark.parametrize("rules", [
    [], [{"name": "next", "template": "chain_response", "a": "a", "b": "b"}],
    [{"name": "soon", "template": "chain_response", "a": "b", "b": "a", "mode": "soft", "weight": 2.0}],
], ids=["alone", "beside a hard rule", "beside a soft rule"])  # fmt: skip
def test_of_a_cooldown_in_seconds_there_is_a_bound(rules):
    """Whoever decides may say whether it is running: not above the optimum, and half of it at least."""
    plain, params, _ = waiting(*rules)
    z = np.array([[1.0, 3.0, 5.0]])
    below = lower_bounds(KEY, params, z, make_plan(params, relaxed=True))
    exact = np.array([expectimax.best(plain, expectimax.begin(plain, z[:, b]))[0] for b in range(3)])
    assert (below <= exact * (1 + 1e-6)).all()
    assert below.mean() > 0.5 * exact.mean()
    assert rules or below.mean() < 0.99 * exact.mean()  # it does bind


def test_the_exact_solver_takes_cooldowns_in_steps_only():
    _, params, scenario = waiting()
    with pytest.raises(UserError) as refused:
        make_plan(params, scenario=scenario)
    assert str(refused.value) == "ruled: the exact solver needs cooldowns in steps; rule wait has seconds 3"
    with pytest.raises(UserError, match=r"^this environment: .* rule 0 has seconds 3$"):
        make_plan(params)


# Standings


def standings_of(rules: list[dict[str, Any]], **options: Any) -> Standings:
    made = ruled(rules, **options).params.rules
    assert made is not None
    found = standings(made.structure)
    assert found is not None
    return found


def test_a_hard_rule_that_cannot_be_broken_has_no_standing_for_that():
    rule = {"template": "precedence", "a": "a", "b": "b"}
    assert standings_of([rule]).states.tolist() == [[0, 1]]
    assert standings_of([rule | {"mode": "soft"}]).states.tolist() == [[0, 1, 2]]


def test_standings_that_nothing_tells_apart_are_one():
    """After `c`, neither `a` nor `b` may follow: whether they came before does not matter any more."""
    rules = [
        {"template": "precedence", "a": "a", "b": "b"},
        {"template": "not_succession", "a": "c", "b": "a"},
        {"template": "not_succession", "a": "c", "b": "b"},
    ]
    assert standings_of(rules, rows="abcd").states.shape == (3, 3)


def test_calls_lead_where_the_automata_do_and_where_they_may_not_be_chosen_nowhere():
    found = standings_of([{"template": "precedence", "a": "a", "b": "b"}])
    assert found.after[:, 0].tolist() == [[1, 1], [0, 1], [0, 1]]
    assert found.after[:, 1].tolist() == [[0, 1]] * 3


def test_too_many_standings_are_refused(monkeypatch):
    monkeypatch.setattr(module, "MOST", 3)
    rules = [{"template": "absence", "a": "a", "n": 7, "mode": "soft"}]
    made = ruled(rules).params
    with pytest.raises(UserError, match="the exact solver needs rules that can stand in at most"):
        make_plan(made)
