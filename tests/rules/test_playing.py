"""Rules in episodes: what is legal, what is owed and paid, judged by brute force over whole traces."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from aljax import env
from aljax.episodes import succeeded
from aljax.errors import UserError
from aljax.rules.templates import TEMPLATES
from aljax.seen import legal_seen

import declare
import ruled

EPISODES = 12
VIOLATION = env.COMPONENTS.index("violation")


def random_rule(rng, rows, soft=0.2):
    template = str(rng.choice(list(TEMPLATES)))
    keys = TEMPLATES[template].keys
    rule: dict[str, Any] = {"template": template, "a": str(rng.choice(list(rows)))}
    if "b" in keys:
        rule["b"] = str(rng.choice([row for row in rows if row != rule["a"]]))
    elif "n" in keys:
        rule["n"] = int(rng.integers(1, 4))
    else:
        rule["steps"] = int(rng.integers(1, 3))
    if rng.random() < 0.3:
        rule["on"] = "call"
    if rng.random() < soft:
        rule |= {"mode": "soft", "weight": float(rng.integers(1, 9)) / 4}
    return rule


def random_case(rng):
    """Rules with rows, and a scenario of them, or none where they contradict each other."""
    rows, horizon = "abc", int(rng.integers(2, 7))
    ends = "c" if rng.random() < 0.6 else ""
    rules = [random_rule(rng, rows) for _ in range(rng.integers(1, 4))]
    rules = [rule | {"name": f"r{i}"} for i, rule in enumerate(rules)]
    most = {"b": int(rng.integers(1, 3))} if rng.random() < 0.3 else {}
    calls = [f"actions.{row}.max_calls={n}" for row, n in most.items()]
    brute = ruled.BruteForce(rules, rows, ends, horizon, most)
    try:
        scenario = ruled.ruled(rules, rows, ends, horizon, *calls)
    except UserError as error:
        assert "cannot be kept" in str(error)
        return rules, None, brute
    return rules, scenario, brute


def soft_units(rules, steps):
    return sum(rule["weight"] for rule in rules if rule.get("mode") == "soft" and not declare.kept(rule, steps))


def play(scenario, choose, rng):
    """Plays some episodes side by side to the horizon, `choose` being told what is legal."""
    params, rows = scenario.params, scenario.action_names
    state = env.begin(env.Start(jnp.zeros((1, EPISODES)), jnp.zeros((1, EPISODES))), params)
    steps: list[tuple[tuple[str, bool], ...]] = [()] * EPISODES
    costs = np.zeros(EPISODES)
    for _ in range(scenario.horizon):
        legal = np.broadcast_to(np.asarray(env.legal(state, params)), (len(rows), EPISODES))
        known = np.asarray(legal_seen(env.observe(state, params), params))
        np.testing.assert_array_equal(np.broadcast_to(known, legal.shape), legal)
        actions = np.array([rows.index(choose(steps[i], legal[:, i])) for i in range(EPISODES)])
        done, fails = np.asarray(state.done), rng.random(EPISODES) < 0.4
        luck = env.Luck(jnp.where(fails, 0.0, 0.9), jnp.zeros((1, EPISODES)))
        state, cost = env.transition(state, jnp.asarray(actions, jnp.int32), luck, params)
        for i in np.flatnonzero(~done):
            steps[i] = (*steps[i], (rows[actions[i]], float(cost[3, i]) == 0))
        costs += np.asarray(cost[VIOLATION])
        yield state, steps, costs, legal


@pytest.mark.parametrize("seed", range(60))
def test_a_row_is_legal_if_and_only_if_some_continuation_keeps_all_hard_rules(seed):
    rng = np.random.default_rng(seed)
    rules, scenario, brute = random_case(rng)
    if scenario is None:
        assert not brute.legal(())
        return
    assert brute.legal(())
    names, seen = scenario.action_names, []

    def choose(steps, legal):
        allowed = {row for row, flag in zip(names, legal, strict=True) if flag}
        seen.append((steps, allowed))
        return str(rng.choice(sorted(allowed)))

    states = list(play(scenario, choose, rng))
    compared = 0
    for steps, allowed in seen:
        over = steps and (steps[-1][0] in brute.ends and steps[-1][1])
        expected = brute.legal(steps)
        if expected and not over:
            assert allowed == expected, steps
            compared += 1
        elif not over:
            assert allowed and allowed <= set(brute.free(steps))
    assert compared
    state, steps, costs, _ = states[-1]
    success = np.asarray(succeeded(state, scenario.params))
    for i in range(EPISODES):
        assert costs[i] == brute.unkept(steps[i]) + soft_units(rules, steps[i]), steps[i]
        assert success[i] == (brute.unkept(steps[i]) == 0)
