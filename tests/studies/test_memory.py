"""The study of policies with memory: its exact figures are exact, and it runs."""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from aljax.breaker import Breaker
from aljax.host import terminal
from aljax.rollout import outcome, rollout
from aljax.scenario import parse_scenario

import expectimax

sys.path.insert(0, str(Path(__file__).parents[2] / "studies"))

import memory


def in_steps(horizon):
    return parse_scenario(memory.SMALL, name="small", where="small.toml", overrides=[f"horizon={horizon}"])


def plain(params):
    """An environment as plain NumPy arrays, None where it has none."""

    def arrays(part):
        fields = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
        return {name: None if value is None else np.asarray(value, float) for name, value in fields.items()}

    found = arrays(dataclasses.replace(params, actions=None))
    return found | {"actions": arrays(params.actions)}


def test_the_optimum_over_histories_is_that_of_brute_force_over_hidden_states():
    params = in_steps(4).params
    brute = plain(params)
    wanted, _ = expectimax.best(brute, expectimax.begin(brute, np.asarray(params.start_low)))
    np.testing.assert_allclose(memory.optimum(params, 4), wanted, rtol=1e-5)


def test_the_exact_cost_of_a_policy_is_what_it_costs_in_the_simulator():
    scenario = memory.small_scenario()
    params, steps = scenario.params, scenario.horizon
    policy = Breaker(jnp.asarray(scenario.tools), jnp.int32(1), jnp.float32(8.0))
    exact = float(jax.jit(memory.expected_cost, static_argnames="steps")(policy, params, steps=steps))
    play = jax.jit(lambda key: outcome(rollout(key, policy, params, episodes=40_000, steps=steps), params).total)
    cost = np.asarray(play(jax.random.key(0)), float)
    assert abs(cost.mean() - exact) < 4 * cost.std() / 200
    assert exact > float(memory.optimum(params, steps))


def test_beliefs_are_held_against_what_was_up():
    found = memory.calibration(memory.small_scenario(), 60_000, 1, terminal.console())
    assert found["steps"] >= 60_000 and sum(point["times"] for point in found["curve"]) == 2 * found["steps"]
    assert 0 < found["largest_error"] < 0.02
    for point in found["curve"]:
        if point["times"] > 500:
            assert abs(point["up"] - point["said"]) < 5 * point["standard_error"]


def test_the_study_runs_and_leaves_a_receipt(tmp_path, monkeypatch):
    receipt = tmp_path / "memory.json"
    options = ["--seeds", "2", "--episodes", "60", "--long", "0", "--parts", "small", "--json", str(receipt)]
    monkeypatch.setattr(sys, "argv", ["memory.py", *options])
    monkeypatch.setattr(memory, "LEARNED", {"mlp, belief": ("mlp", "belief")})
    assert memory.main() == 0
    found = json.loads(receipt.read_text())["results"]["small"]
    (learned,) = found["policies"].values()
    assert len(learned["cost"]) == 2 and min(learned["cost"]) >= found["optimum"] - 1e-6
