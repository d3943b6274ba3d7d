"""Bounds on numbers: what passes them stays finite, wherever it lies and whatever is played."""

import functools

import jax
import numpy as np
import pytest

from aljax import UserError, limits
from aljax.evaluate import evaluate
from aljax.exact.recursion import solve
from aljax.exact.structure import make_plan
from aljax.host import toml
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import heuristics
from aljax.scenario import parse_scenario
from aljax.train import train

HORIZON = 12
NAMES = ("a", "b")
NUMBERS = (
    "drift.a", "drift.b", "start_high.a", "start_high.b", "tolerance", "misread", "latency_budget", "money_budget",
    "weights.latency", "weights.money", "weights.violation", "weights.failure", "weights.divergence", "z_scale",
    "latency_scale", "money_scale", "one.latency", "one.money", "one.shift", "one.noise", "two.latency", "two.money",
    "two.gain", "two.shift", "two.noise",
)  # fmt: skip


def text(numbers):
    """A scenario with these numbers: two tools, of which one multiplies, and a way out."""
    lines = ['coordinates = ["a", "b"]', f"horizon = {HORIZON}", "start_low = 0.0"]
    for row in ("", "one", "two"):
        lines += [f"[actions.{row}]", "failure = 0.25"] if row else []
        for key, value in numbers.items():
            if key.startswith(f"{row}.") if row else not key.startswith(("one.", "two.")):
                lines.append(f"{key.removeprefix(f'{row}.')} = {toml.dump(value)}")
    return "\n".join([*lines, "[actions.stop]", 'kind = "terminate"', "latency = 0.5", "money = 0.0"])


def read(numbers):
    return parse_scenario(text(numbers), name="corner", where="corner.toml")


def farthest(rng):
    """A scenario as far from ordinary numbers as is taken, in a random direction: at a corner of the bounds."""
    signed = [key.endswith(("shift", "gain")) or key.startswith("drift") for key in NUMBERS]
    ends = rng.choice([1.0, limits.LARGEST, limits.LEAST], len(NUMBERS), p=[0.6, 0.3, 0.1])
    signs = np.where(signed & (rng.random(len(NUMBERS)) < 0.5), -1.0, 1.0)

    def at(share):
        return {key: float(signs[i] * ends[i] ** share) for i, key in enumerate(NUMBERS)}

    low, high = 0.0, 1.0
    found = read(at(low))
    for _ in range(20):
        middle = (low + high) / 2 if low else high
        try:
            found, low = read(at(middle)), middle
        except UserError:
            high = middle
        if low == 1:
            break
    return found


TAME = dict.fromkeys(NUMBERS, 1.0)
CORNERS = [
    {"weights.money": 1e9, "one.money": 8e3},
    {"latency_budget": 1e-9, "one.latency": 1e3, "two.latency": 8e3},
    {"two.gain": 9.0, "weights.divergence": 1.0},
    {"two.gain": -8.5, "z_scale": 1e-9, "latency_scale": 1e-9, "money_scale": 1e-9, "misread": 1e9},
    {"one.shift": 1e9, "two.shift": -1e9, "drift.a": 1e9, "drift.b": -1e9, "start_high.a": 1e9, "two.noise": 1e8},
]
"""Each as far as it goes: dear, over a budget of next to nothing, multiplied, magnified, moved."""


def test_at_every_corner_of_the_bounds_costs_and_training_are_finite():
    config = TrainConfig(episodes=8 * 20, batch=8, hidden=(4,), baseline="running")
    learn = jax.jit(functools.partial(train, config=config, steps=HORIZON))
    play = jax.jit(functools.partial(evaluate, trained=frozenset(), episodes=20, steps=HORIZON))
    rng, key, costs = np.random.default_rng(0), jax.random.key(0), []
    for scenario in (*(read(TAME | corner) for corner in CORNERS), *(farthest(rng) for _ in range(20))):
        found = play(key[None], heuristics(scenario), scenario.params)
        trained, curve = learn(key, Hyperparameters(), scenario.params)
        for path, leaf in jax.tree_util.tree_leaves_with_path((found, trained, curve.cost)):
            assert np.isfinite(np.asarray(leaf)).all(), (path, scenario.text)
        costs.append(max(float(np.abs(np.asarray(each.outcome.total)).max()) for each in found.values()))
    assert 0.5 * limits.DEAREST < max(costs) <= limits.DEAREST
    assert sum(cost > 1e6 for cost in costs) > 5  # corners are no ordinary places


def test_the_exact_optimum_is_finite_at_the_bounds():
    numbers = dict.fromkeys(NUMBERS, 1e8) | {"two.gain": 1.0, "one.noise": 0.0, "two.noise": 0.0, "misread": 0.0}
    numbers |= {f"weights.{name}": 1e3 for name in ("latency", "money", "violation", "failure", "divergence")}
    scenario = read(numbers | {"latency_budget": 1e3, "money_budget": 1e3})
    starts = np.array([[0.0, 1e8], [0.0, 1e8]], np.float32)
    found = solve(scenario.params, starts, make_plan(scenario.params, scenario=scenario))
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"two.gain": 1e30}, "actions.two.gain.a: must lie within ±1e+09, got 1e+30"),
        ({"two.gain": -20.0}, "actions.two.gain.a: within 12 steps the coordinate could get to 5.8"),
        ({"one.shift": -1e9, "two.gain": 2.0}, "actions.two.gain.a: within 12 steps"),
        ({"weights.violation": 1e38}, "weights.violation: must lie within ±1e+09"),
        ({"weights.money": 1e9, "one.money": 1e5}, "weights.money: an episode could cost 1.2e+15 (1e+09 × money"),
        ({"latency_budget": 1e-9, "one.latency": 1e6}, "weights.violation: an episode could cost 1.2e+16"),
        ({"latency_budget": 1e-42}, "latency_budget: must be at least 1e-09, because it is divided by; got 1e-42"),
        ({"money_budget": -0.0}, "money_budget: must be above 0"),
        ({"z_scale": 1e-10}, "z_scale.a: must be at least 1e-09"),
        ({"latency_scale": 1e10}, "latency_scale: must lie within ±1e+09"),
        ({"misread": 1e10}, "misread.a: must lie within ±1e+09"),
        ({"tolerance": -1e10}, "tolerance.a: must not be negative"),
        ({"one.noise": float("inf")}, "actions.one.noise: expected a finite number, got inf"),
    ],
)  # fmt: skip
def test_numbers_that_cannot_work_are_refused_with_key_number_and_bound(numbers, message):
    with pytest.raises(UserError, match=r"^corner.toml: ") as refused:
        read(TAME | numbers)
    assert message in str(refused.value)


def test_what_is_next_to_nothing_is_no_scale():
    """Scales that a file leaves out follow from its other numbers: never to something that division makes infinite."""
    tiny = {"one.money": 1e-42, "two.money": 0.0, "start_high.a": 1e-42, "tolerance": 0.0, "drift.a": 1e-42}
    numbers = {key: value for key, value in (TAME | tiny).items() if not key.endswith("_scale")}
    params = read(numbers).params
    assert params.money_scale == 1 and params.z_scale[0] == 1 and params.latency_scale == HORIZON


@pytest.mark.parametrize(
    ("size", "key", "message"),
    [
        ((10_001, 1, 1, 5), "actions", "10,001 actions, expected at most 10,000"),
        ((1, 1_001, 1, 5), "coordinates", "1,001 coordinates, expected at most 1,000"),
        ((2_000, 501, 1, 5), "actions", "2,000 actions × 501 coordinates = 1,002,000, expected at most 1,000,000"),
        (
            (1, 2, 1, 5, 500_001),
            "start_points",
            "500,001 points × 2 coordinates = 1,000,002, expected at most 1,000,000",
        ),
        (
            (9_000, 1, 2_000, 9_005),
            "horizon",
            "2,000 steps × 9,005 numbers seen at each = 18,010,000, expected at most",
        ),
    ],
)
def test_what_is_too_large_for_arrays_is_refused_with_its_size(size, key, message):
    found = limits.too_large(*size)
    assert found is not None and found[0] == key and message in found[1]
    assert limits.too_large(300, 3, 1_000, 1_509, 300_000) is None
