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
from aljax.exact.plan import Plan
from aljax.exact.recursion import solve
from aljax.exact.structure import make_plan
from aljax.rules.data import Rules
from aljax.rules.templates import TEMPLATES

import expectimax
from ruled import ruled
from strategies import env_params, simple_environment
from verdicts import Verdicts

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
    rng = np.random.default_rng(number)
    plan, run = program(number)
    for _ in range(4):
        plain, params = environment(
            case(number), latency=rng.uniform(0, 2, 4), money=rng.uniform(0, 2, 4), failure=rng.uniform(0, 0.6, 4),
            shift=rng.normal(0, 1.5, (4, D)), drift=rng.normal(0, 0.2, D), tolerance=rng.uniform(0.2, 1, D),
            auto_end=bool(rng.integers(2)), horizon=H, weights=rng.uniform(0.1, 1, 5) * [1, 1, 4, 1, 1],
            **sticky(number, rng.uniform(0, 1, 4)),
        )  # fmt: skip
        z = float(rng.uniform(-2, 2))
        value, parts = expectimax.best(plain, expectimax.begin(plain, [z]))
        found = run(params, jnp.full((D, 1), z, jnp.float32))
        np.testing.assert_allclose(found.value[0], value, rtol=1e-5)
        np.testing.assert_allclose(found.components[:, 0], parts[:5], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.success[0], parts[5], atol=1e-5)
    assert plan.past.standings is not None and plan.past.standings.states.shape[1] > 1
