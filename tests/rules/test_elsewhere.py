"""Rules where they meet the rest: logs and their identity, replays, policies in other scenarios."""

import json
import re

import jax
import numpy as np
import pytest

from aljax import UserError, env, transfer
from aljax.networks.architecture import MLP
from aljax.offline.data import collect
from aljax.offline.identity import identity_of
from aljax.offline.reading import read_log
from aljax.offline.writing import write_log
from aljax.policy import Learned, Random
from aljax.scenario import Scenario, parse_scenario

DESK = """
coordinates = ["work"]
horizon = 6
start_points = [[1.0], [2.0]]
blind = true
tolerance = 0.5
tolerance_low = inf
auto_end = false
weights = { latency = 0.1, money = 1.0, violation = 2.0, failure = 0.5, divergence = 0.1 }

[actions.ask]
latency = 1.0
money = 0.0

[actions.act]
latency = 2.0
money = 0.0
failure = 0.5
shift = { work = -1.0 }

[actions.stop]
kind = "terminate"
latency = 1.0
money = 0.0
"""
RULES = """
[[rules]]
name = "ask_first"
template = "precedence"
a = "ask"
b = "act"

[[rules]]
name = "ask_again"
template = "response"
a = "act"
b = "ask"

[[rules]]
name = "rarely"
template = "absence"
a = "ask"
n = 2
mode = "soft"
weight = 0.25

[[rules]]
name = "slowly"
template = "cooldown"
a = "act"
seconds = 2.5
mode = "soft"
weight = 4.0
"""
VIOLATION = env.COMPONENTS.index("violation")


def desk(text: str = DESK + RULES, *overrides: str) -> Scenario:
    return parse_scenario(text, name="desk", where="desk.toml", overrides=overrides)


def logged(tmp_path, scenario, *episodes):
    """The arrays of an agent log in which these calls were made, each a name and whether it worked."""
    lines = []
    for number, (calls, success) in enumerate(episodes):
        about = {"episode": str(number), "logger": "agent"}
        lines += [
            about | {"t": t, "kind": "tool", "name": name, "ok": ok, "latency_s": 1.0, "cost_usd": 0.0}
            for t, (name, ok) in enumerate(calls)
        ]
        lines.append(about | {"t": len(calls), "kind": "end", "success": success})
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_log(path, scenario)


def test_a_replay_moves_the_rules_and_charges_what_they_cost(tmp_path):
    scenario = desk()
    log = logged(
        tmp_path,
        scenario,
        ([("ask", True), ("act", True), ("ask", True)], True),
        ([("act", True), ("ask", True), ("act", True)], True),
        ([("ask", True), ("ask", True), ("act", False)], False),
    )
    first, second, third = log.episodes.costs[..., VIOLATION]
    # 0: asked twice. 1: acted before it had asked, acted again too soon, and has not asked since. 2: asked twice.
    np.testing.assert_allclose(first[:4], [0, 0, 0.25, 0], atol=1e-6)
    np.testing.assert_allclose(second[:4], [0, 0, 4.0, 2.0], atol=1e-6)
    assert third[1] == 0.25 and third[3] >= 0.5
    assert log.episodes.success.tolist() == [True, False, False]
    assert any("2 calls were of rows that are not legal there" in note for note in log.notes)


def test_a_log_keeps_in_which_step_a_soft_rule_was_broken(tmp_path):
    scenario = desk(DESK + RULES, "tolerance=9.0")
    log = collect(jax.random.key(0), {"random": Random()}, scenario.params, episodes=40, steps=scenario.horizon)
    write_log(tmp_path / "log.jsonl", log, scenario)
    again = read_log(tmp_path / "log.jsonl", scenario)
    violation = np.asarray(log.episodes.costs)[..., VIOLATION]
    read = again.episodes.costs[..., VIOLATION]
    np.testing.assert_allclose(read, violation[:, : read.shape[1]], atol=1e-6)
    np.testing.assert_array_equal(again.episodes.success, log.episodes.success)
    last = np.asarray(log.episodes.alive).sum(1) - 1
    assert any(violation[n, : last[n]].any() and log.episodes.success[n] for n in range(40))
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    broken = next(i for i, line in enumerate(lines) if '"violation":' in line and '"kind":"end"' not in line)
    for change, told in (("-1.0", "violation"), ("90.0", "in the steps before the last")):
        spoiled = re.sub(r'"violation":[0-9.]+', f'"violation":{change}', lines[broken])
        path = tmp_path / f"{change}.jsonl"
        path.write_text("\n".join([*lines[:broken], spoiled, *lines[broken + 1 :]]) + "\n")
        with pytest.raises(UserError, match=told):
            read_log(path, scenario)


def test_what_a_rule_says_is_in_the_digest_and_differences_are_told_by_its_name():
    own = identity_of(desk())
    for change, told in (
        ("rules.rarely.weight=0.5", "rules.rarely"),
        ("rules.slowly.seconds=3.0", "rules.slowly"),
        ('rules.ask_first.on="call"', "rules.ask_first"),
        ("rules.rarely.n=3", "rules.rarely"),
    ):
        other = identity_of(desk(DESK + RULES, change))
        assert own.digest != other.digest and told in own.differences(other), change
    assert own.digest != identity_of(desk(DESK)).digest


def policy_of(scenario: Scenario) -> Learned:
    architecture = MLP(len(scenario.action_names), (6,))
    weights = architecture.init(jax.random.key(2), env.observation_size(scenario.params))
    return Learned(jax.tree.map(lambda leaf: leaf[None], architecture.scaled(weights, 30.0)), architecture, False)


def chosen(policy: Learned, scenario: Scenario, names: list[str]) -> np.ndarray:
    """Probabilities of rows, by these names, after it has asked and acted."""
    params, one = scenario.params, jax.tree.map(lambda leaf: leaf[0], policy)
    state = env.reset(jax.random.key(0), params)[1]
    luck = env.Luck(np.float32(0.9), np.zeros(1, np.float32))
    for name in ("ask", "act"):
        state, _ = env.transition(state, np.int32(scenario.action_names.index(name)), luck, params)
    seen = env.observe(state, params)
    logits = one.logits(params, seen, env.legal(state, params), one.begin(params, seen))
    return np.asarray(jax.nn.softmax(logits))[[scenario.action_names.index(name) for name in names]]


def test_a_policy_goes_by_the_rules_that_it_knows_in_any_order_of_rows_and_rules():
    own = desk()
    policy, names = policy_of(own), list(own.action_names)
    parts = DESK.split("[actions.")
    turned = "[actions.".join([parts[0], *parts[:0:-1]])
    rules = ["\n[[rules]]" + rule for rule in RULES.split("\n[[rules]]")[1:]]
    other = desk(turned + "".join(rules[::-1]).replace('"ask_first"', '"another_name"'))
    assert other.action_names == ("stop", "act", "ask") and other.rule_names[0] == "slowly"
    moved = transfer.policy_in(policy, own, "run", other)
    np.testing.assert_allclose(chosen(moved, other, names), chosen(policy, own, names), rtol=1e-5)
    seen = transfer.as_seen(own, "run", other)
    assert seen.action_names == own.action_names
    again = transfer.policy_in(policy, own, "run", seen)
    np.testing.assert_allclose(chosen(again, seen, names), chosen(policy, own, names), rtol=1e-5)


def test_a_longer_cooldown_is_seen_in_the_seconds_of_training():
    own, other = desk(), desk(DESK + RULES, "rules.slowly.seconds=10.0")
    policy, at = policy_of(own), env.places(own.params)["cooldowns"].start
    moved = transfer.policy_in(policy, own, "run", other)
    first, second = (jax.tree.leaves(each.variables) for each in (policy, moved))
    (kernel,) = [(a, b) for a, b in zip(first, second, strict=True) if a.shape[1] == env.observation_size(own.params)]
    np.testing.assert_allclose(kernel[1][0, at], 4 * kernel[0][0, at], rtol=1e-6)


def test_rules_that_a_policy_never_saw_change_nothing_for_it_and_those_that_are_gone_are_left_out():
    own, bare = desk(), desk(DESK)
    names = list(own.action_names)
    untold = policy_of(bare)
    soft = desk(DESK + RULES, 'rules.ask_first.mode="soft"', 'rules.ask_again.mode="soft"')
    moved = transfer.policy_in(untold, bare, "run", soft)
    np.testing.assert_allclose(chosen(moved, soft, names), chosen(untold, bare, names), rtol=1e-5)
    freed = transfer.policy_in(policy_of(own), own, "run", bare)
    assert np.isfinite(chosen(freed, bare, names)).all()
