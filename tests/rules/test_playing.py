"""Rules in episodes: what is legal, what is owed and paid, judged by brute force over whole traces."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aljax import env, train
from aljax.breaker import Breaker
from aljax.episodes import succeeded
from aljax.errors import UserError
from aljax.networks.architecture import MLP
from aljax.networks.seen import legal_seen
from aljax.options import Hyperparameters, TrainConfig
from aljax.policy import CostAware, Learned, Mixture, Random, heuristics
from aljax.rollout import rollout
from aljax.rules import playing
from aljax.rules.joint import joint_of
from aljax.rules.templates import TEMPLATES
from aljax.scenario import load_scenario

import declare
import ruled
from verdicts import Verdicts

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
    brute = Verdicts(rules, rows, ends, horizon, most)
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
        assert not brute.lasting(())
        return
    assert brute.lasting(())
    names, seen = scenario.action_names, []

    def choose(steps, legal):
        allowed = {row for row, flag in zip(names, legal, strict=True) if flag}
        seen.append((steps, allowed))
        return str(rng.choice(sorted(allowed)))

    states = list(play(scenario, choose, rng))
    compared = 0
    for steps, allowed in seen:
        over = steps and (steps[-1][0] in brute.ends and steps[-1][1])
        expected = brute.lasting(steps)
        if expected and not over:
            assert allowed == expected, steps
            compared += 1
        elif not over:
            assert allowed and allowed <= set(brute.free(steps))
    assert compared
    state, steps, costs, _ = states[-1]
    success = np.asarray(succeeded(state, scenario.params))
    for i in range(EPISODES):
        assert costs[i] == brute.owed(steps[i]) + soft_units(rules, steps[i]), steps[i]
        assert success[i] == (brute.owed(steps[i]) == 0)


def stepping(params):
    """Plays rows one by one, each with whether it is to work by luck: the state, and the violation charged so far."""

    def play(*steps):
        state = env.begin(env.Start(jnp.zeros(1), jnp.zeros(1)), params)
        units = []
        for row, works in steps:
            luck = env.Luck(jnp.float32(0.9 if works else 0.0), jnp.zeros(1))
            state, costs = env.transition(state, jnp.int32("abc".index(row)), luck, params)
            units.append(float(costs[VIOLATION]))
        return state, units

    return play


def test_a_cooldown_in_seconds_runs_from_the_end_of_a_call_and_forbids_its_row_until_it_is_over():
    rule = {"template": "cooldown", "a": "a", "seconds": 2.0}
    params = ruled.ruled([rule], "abc", "", 8).params
    play = stepping(params)
    legal = [np.asarray(env.legal(play(*steps)[0], params)).tolist() for steps in (
        (), [("a", True)], [("a", True), ("b", True)], [("a", True), ("b", True), ("c", False)], [("a", False)],
    )]  # fmt: skip
    assert legal == [[True] * 3, [False, True, True], [False, True, True], [True] * 3, [True] * 3]
    np.testing.assert_allclose(np.asarray(play(("a", True), ("b", True))[0].cooldown), [1.0])
    # Three times 0.7 s are 2.1 s less rounding; 2.1 s are over then.
    exact = ruled.ruled([rule | {"seconds": 2.1}], "abc", "", 8, "actions.latency.b=0.7").params
    assert np.asarray(env.legal(stepping(exact)(("a", True), *[("b", True)] * 3)[0], exact)).all()


def test_a_soft_rule_is_paid_once_when_it_is_broken_or_else_in_the_end():
    rules = [
        {"template": "not_chain_succession", "a": "a", "b": "a", "mode": "soft", "weight": 0.5},
        {"template": "response", "a": "b", "b": "c", "mode": "soft", "weight": 2.0},
        {"template": "cooldown", "a": "c", "seconds": 1.5, "mode": "soft", "weight": 4.0},
    ]
    play = stepping(ruled.ruled(rules, "abc", "", 4).params)
    assert play(*[("a", True)] * 4)[1] == [0.0, 0.5, 0.0, 0.0]
    assert play(("b", True), ("c", False), ("c", True), ("b", True))[1] == [0.0, 0.0, 0.0, 2.0]
    assert play(("c", True), ("c", True), ("c", True), ("b", False))[1] == [0.0, 4.0, 0.0, 0.0]
    state, units = play(("a", True), ("a", True), ("b", True), ("c", True))
    assert units == [0.0, 0.5, 0.0, 0.0] and bool(succeeded(state, ruled.ruled(rules, "abc", "", 4).params))


def test_an_episode_does_not_end_by_itself_while_a_hard_rule_is_owed():
    rules = [{"template": "existence", "a": "a"}]
    params = ruled.ruled(rules, "abc", "", 4, "auto_end=true").params
    play = stepping(params)
    assert not play(("b", True))[0].done and not play(("b", True), ("a", False))[0].done
    state, units = play(("b", True), ("a", True), ("c", True))
    assert state.done and int(state.time) == 2 and units == [0.0, 0.0, 0.0]
    late, units = play(*[("b", True)] * 3, ("a", False))
    assert late.done and units == [0.0, 0.0, 0.0, 1.0] and not bool(succeeded(late, params))


def test_a_row_that_a_rule_forbids_fails_if_it_is_played_and_breaks_only_rules_on_calls():
    for on, broken in (("success", False), ("call", True)):
        params = ruled.ruled([{"template": "precedence", "a": "a", "b": "b", "on": on}], "abc", "", 2).params
        state, units = stepping(params)(("b", True), ("c", True))
        assert units == [0.0, float(broken)] and bool(succeeded(state, params)) != broken


def test_where_rules_cannot_be_kept_any_more_rows_are_legal_that_do_not_break_another():
    rules = [{"template": "existence", "a": "a", "n": 2}, {"template": "precedence", "a": "b", "b": "c"}]
    params = ruled.ruled(rules, "abc", "", 3).params
    play = stepping(params)
    first = np.asarray(env.legal(play()[0], params)).tolist()
    assert first == [True, True, False]
    lost = play(("b", True), ("a", False))[0]
    assert np.asarray(env.legal(lost, params)).tolist() == [True, True, True]
    other = play(("a", False), ("a", False))[0]
    assert np.asarray(env.legal(other, params)).tolist() == [True, True, False]


def test_a_finished_episode_owes_nothing_more():
    params = ruled.ruled([{"template": "response", "a": "a", "b": "b"}], "abc", "c", 4).params
    state, units = stepping(params)(("c", True), ("a", True), ("b", True))
    assert units == [0.0, 0.0, 0.0] and np.asarray(state.rules).tolist() == [0]


def test_one_environment_under_many_weights_is_vmapped():
    params = ruled.ruled([{"template": "existence", "a": "a", "mode": "soft"}], "abc", "", 1).params
    assert params.rules is not None
    rules = dataclasses.replace(params.rules, weight=jnp.array([[1.0], [2.5]]))
    axes = dataclasses.replace(jax.tree.map(lambda _: None, params), rules=dataclasses.replace(rules, weight=0))
    many = dataclasses.replace(params, rules=rules)
    state = env.begin(env.Start(jnp.zeros(1), jnp.zeros(1)), params)
    luck = env.Luck(jnp.float32(0.9), jnp.zeros(1))
    step = jax.vmap(lambda params: env.transition(state, jnp.int32(1), luck, params)[1][VIOLATION], in_axes=(axes,))
    np.testing.assert_array_equal(step(many), [1.0, 2.5])


@pytest.mark.parametrize("name", ["latency", "cost_aware", "random", "breaker", "mixture", "learned", "sampled"])
def test_no_policy_plays_what_a_rule_forbids(name):
    scenario = load_scenario("refunds")
    params, tools = scenario.params, jnp.asarray(scenario.tools)
    network = MLP(len(scenario.action_names), (8,))
    weights = network.scaled(network.init(jax.random.key(1), env.observation_size(params)), 30.0)
    policy = {
        **heuristics(scenario),
        "breaker": Breaker(tools, jnp.int32(1), jnp.float32(9.0)),
        "mixture": Mixture((Random(), CostAware(tools)), jnp.array([0.5, 0.5])),
        "learned": Learned(weights, network),
        "sampled": Learned(weights, network, greedy=False),
    }[name]
    play = jax.jit(lambda key: rollout(key, policy, params, episodes=400, steps=scenario.horizon))
    played = jax.tree.map(np.asarray, play(jax.random.key(0)))
    chosen = np.take_along_axis(played.legal, played.action[:, None], 1)[:, 0]
    assert chosen[played.alive].all()
    structure = params.rules.structure
    broken = [structure.automata[i].broken[played.final.rules[i]] for i in structure.hard]
    assert not np.any(broken)
    unkept = np.any([~structure.automata[i].accepting[played.final.rules[i]] for i in structure.hard], axis=0)
    assert not (unkept & (played.costs[:, env.COMPONENTS.index("failure")].sum(0) == 0)).any()


def operations(jaxpr) -> int:
    """How many a program has, those of its inner programs included."""
    inner = [getattr(x, "jaxpr", x) for equation in jaxpr.eqns for x in jax.tree.leaves(
        list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
    )]  # fmt: skip
    return len(jaxpr.eqns) + sum(operations(each) for each in inner if hasattr(each, "eqns"))


def test_what_a_rule_does_is_compiled_only_where_it_is_there(monkeypatch):
    def step(*rules):
        params = ruled.ruled(list(rules), "abc", "", 5).params
        state = jax.eval_shape(lambda key: env.reset(key, params)[1], jax.random.key(0))
        return operations(jax.make_jaxpr(env.step)(jax.random.key(0), state, jnp.int32(0), params).jaxpr)

    hard, soft = {"template": "precedence", "a": "a", "b": "b"}, {"template": "absence", "a": "c", "mode": "soft"}
    assert step() < min(step(hard), step(soft)) < max(step(hard), step(soft)) < step(hard, soft)

    def called(*_):
        raise AssertionError("a scenario without rules has come to them")

    for name in ("begin", "move", "owed", "charged", "legal", "observed"):
        monkeypatch.setattr(playing, name, called)
    with pytest.raises(AssertionError, match="come to them"):
        step(hard)
    paper = load_scenario("paper")
    assert paper.params.rules is None and env.present(paper.params) == ()
    training = functools.partial(train.train, config=TrainConfig(episodes=4, batch=2), steps=paper.horizon)
    jax.make_jaxpr(training)(jax.random.key(0), jax.tree.map(np.float32, Hyperparameters()), paper.params)


def test_rules_that_do_not_meddle_with_each_other_have_tables_of_their_own():
    structure = load_scenario("refunds").params.rules.structure
    assert {len(part.digits) for part in joint_of(structure).parts} == {1}
    # Two answers are owed, and one step is left: only together do the rules know that this cannot be.
    rules = [{"template": "response", "a": "a", "b": "b"}, {"template": "response", "a": "a", "b": "c"}]
    (part,) = joint_of(ruled.ruled(rules, "abc", "", 5).params.rules.structure).parts
    assert part.digits == (0, 1) and len(part.keepable) == 3
