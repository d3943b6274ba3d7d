"""Rules in scenario files: what is read, what is refused in one line, what can be changed."""

import dataclasses

import jax
import numpy as np
import pytest

from aljax import UserError, env, load_scenario
from aljax.overrides import Override
from aljax.rules.chain import MOST_STATES
from aljax.rules.words import described, warnings
from aljax.scenario import Source
from aljax.scenario_tables import scenario_tables
from aljax.sweeps.space import Axis

from ruled import ruled

RULES = [
    {"template": "precedence", "a": "a", "b": "b"},
    {"name": "twice", "template": "absence", "a": "a", "n": 3, "mode": "soft", "weight": 0.5},
    {"template": "cooldown", "a": "b", "seconds": 4.0, "on": "call"},
]


def refused(rules, *given, match, **options):
    with pytest.raises(UserError, match=match) as caught:
        ruled(rules, *given, **options)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("ruled.toml")


def test_rules_have_names_numbers_and_a_structure():
    scenario = ruled(RULES)
    rules = scenario.params.rules
    assert rules is not None
    assert scenario.rule_names == ("precedence_a_b", "twice", "cooldown_b")
    np.testing.assert_array_equal(rules.weight, [1.0, 0.5, 1.0])
    np.testing.assert_array_equal(np.asarray(rules.seconds), [4.0])
    first, second, third = rules.structure.each
    assert (first.a, first.b, first.hard, first.on_call) == (0, 1, True, False)
    assert (second.n, second.hard) == (3, False)
    assert (third.timed, third.on_call) == (True, True)


def test_a_scenario_without_rules_has_none_of_it():
    for rules in ([], [{"template": "absence", "a": "a"}]):
        scenario = ruled(rules, "ab", "", 3, *(["rules=[]"] if rules else []))
        assert scenario.params.rules is None and scenario.rule_names == ()
        assert not env.legal_varies(scenario.params)
        assert "rules" not in env.present(scenario.params) and "rules" not in env.places(scenario.params)


def test_the_observation_ends_with_one_hots_in_the_files_order_and_then_the_seconds_left():
    params = ruled(RULES, "abc", "", 6).params
    at = env.places(params)
    assert (at["rules"], at["cooldowns"]) == (slice(5, 5 + 3 + 4 + 2), slice(14, 15))
    assert env.observation_size(params) == 15
    state = env.reset(jax.random.key(0), params)[1]
    luck = env.Luck(np.float32(0.9), np.zeros(1, np.float32))
    for row in (0, 1):
        state, _ = env.transition(state, np.int32(row), luck, params)
    seen = np.asarray(env.observe(state, params))
    np.testing.assert_array_equal(seen[at["rules"]], [0, 1, 0, 0, 1, 0, 0, 1, 0])
    assert seen[14] == 1.0
    state, _ = env.transition(state, np.int32(2), luck, params)
    assert np.asarray(env.observe(state, params))[14] == 0.75


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"template": "always"}, "rules, number 1: template: expected one of absence, existence"),
        ({"a": "d"}, r"rules.precedence_d_b.a: no action 'd': expected one of a, b, c"),
        ({"b": None}, r"rules.precedence_a.b: missing: expected one of a, b, c"),
        ({"n": 2}, r"rules.precedence_a_b.n: precedence has none"),
        ({"steps": 2}, r"rules.precedence_a_b.steps: precedence has none"),
        ({"on": "failure"}, r"rules.precedence_a_b.on: expected call or success, got 'failure'"),
        ({"mode": "firm"}, r"rules.precedence_a_b.mode: expected hard or soft, got 'firm'"),
        ({"weight": 2.0}, r"rules.precedence_a_b.weight: a hard rule has none"),
        ({"mode": "soft", "weight": -1.0}, r"rules.precedence_a_b.weight: must not be negative"),
        ({"wieght": 2.0}, r"rules.precedence_a_b.wieght: unknown key \(did you mean weight\?\)"),
        ({"name": "a.b"}, "rules, number 1: name: a rule's name is a text without dots"),
        ({"template": "absence", "b": None, "n": 0}, r"rules.absence_a.n: expected a whole number from 1 to 1,000"),
        ({"template": "cooldown", "b": None}, r"rules.cooldown_a: a cooldown has either steps or seconds"),
        ({"template": "cooldown", "b": None, "seconds": 0.0}, r"rules.cooldown_a.seconds: must be above 0"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_in_one_line(change, match):
    rule = {"template": "precedence", "a": "a", "b": "b"} | change
    refused([{key: value for key, value in rule.items() if value is not None}], match=match)


def test_two_rules_of_one_name_and_what_is_no_rule_are_refused():
    rule = {"template": "precedence", "a": "a", "b": "b"}
    refused([rule, rule], match="rules.precedence_a_b: two rules of this name")
    refused([], "abc", "", 5, "rules=3", match=r"rules: expected tables \[\[rules\]\], got 3")
    many = [{"name": f"r{i}", "template": "precedence", "a": "a", "b": "b", "mode": "soft"} for i in range(65)]
    refused(many, match="rules: 65 rules, expected at most 64")


def test_more_joint_states_than_there_is_room_for_are_refused():
    rules = [{"name": f"r{n}", "template": "absence", "a": "a", "n": n} for n in (30, 31, 32)]
    refused(rules, match=f"rules: the hard rules have 29,760 states together, expected at most {MOST_STATES:,}")


@pytest.mark.parametrize(
    ("rules", "most", "match"),
    [
        ([{"template": "existence", "a": "a", "n": 6}], {}, "existence_a cannot be kept in 5 steps"),
        (
            [
                {"template": "precedence", "a": "a", "b": "b"},
                {"template": "absence", "a": "a", "n": 1},
                {"template": "response", "a": "c", "b": "a"},
                {"template": "existence", "a": "b"},
            ],
            {},
            "precedence_a_b, absence_a, existence_b cannot be kept together in 5 steps",
        ),
        ([{"template": "existence", "a": "a", "n": 3}], {"a": 2}, "existence_a cannot be kept in 5 steps"),
    ],
)
def test_rules_that_contradict_each_other_are_refused_and_no_others_are_named(rules, most, match):
    refused(rules, "abc", "", 5, *(f"actions.{row}.max_calls={n}" for row, n in most.items()), match=match)


def test_a_rule_that_can_never_bind_is_warned_of():
    rules = [
        {"template": "absence", "a": "a", "n": 3},
        {"name": "implied", "template": "absence", "a": "a", "n": 4},
        {"name": "too_far", "template": "absence", "a": "b", "n": 7},
        {"name": "binds_where_calls_fail", "template": "precedence", "a": "b", "b": "c", "on": "call", "mode": "soft"},
    ]
    scenario = ruled(rules)
    assert [line.split()[1] for line in warnings(scenario)] == ["implied", "too_far"]
    assert all("\n" not in line for line in warnings(scenario))
    assert not warnings(load_scenario("refunds"))


def test_every_number_of_a_rule_can_be_set_by_its_name():
    changes = "rules.twice.weight=2.0", "rules.cooldown_b.seconds=2.5", "rules.twice.n=2"
    scenario = ruled(RULES, "abc", "", 5, *changes, 'rules.precedence_a_b.on="call"')
    rules = scenario.params.rules
    assert rules is not None and float(rules.weight[1]) == 2.0 and float(np.asarray(rules.seconds)[0]) == 2.5
    assert rules.structure.each[1].n == 2 and rules.structure.each[0].on_call
    for change, match in (
        ("rules.thrice.weight=2.0", "no rule 'thrice': expected one of precedence_a_b, twice, cooldown_b"),
        ("rules.twice.a=2", "unknown key 'a' of a rule: expected one of weight"),
    ):
        refused(RULES, "abc", "", 5, change, match=match)


def test_environments_that_differ_in_rules_read_together_are_those_read_alone():
    source = Source("refunds", "refunds.toml", load_scenario("refunds").text)
    keys = ["rules.few_searches.weight", "rules.few_searches.n", "horizon", "actions.search.failure"]
    rows = [[0.5, 4, 12, 0.1], [2.0, 4, 14, 0.2], [1.0, 2, 12, 0.3], [1.0, 0, 12, 0.3]]
    together = source.scenarios(keys, rows)
    assert [scenario is None for scenario in together] == [False, False, False, True]
    for found, row in zip(together[:3], rows, strict=False):
        assert found is not None
        alone = source.scenario([Override(key, value) for key, value in zip(keys, row, strict=True)])
        assert jax.tree.structure(found.params) == jax.tree.structure(alone.params)
        jax.tree.map(np.testing.assert_array_equal, found.params, alone.params)


def test_an_axis_over_what_a_rule_is_made_of_compiles_anew_and_one_over_its_numbers_does_not():
    keys = ("rules.few.weight", "rules.few.seconds", "rules.few.n", "rules.few.mode", "rules")
    assert [Axis(key, (1, 2)).static for key in keys] == [False, False, True, True, True]


def test_structures_that_differ_are_told_apart_where_programs_are_shared():
    one, other = ruled(RULES).params, ruled(RULES[:2]).params
    assert env.present(one) != env.present(other)
    assert env.present(one) == env.present(ruled(RULES, "abc", "", 5, "rules.twice.weight=3.0").params)


def test_tables_show_the_rules():
    (table,) = [table for table in scenario_tables(load_scenario("refunds")) if table.title == "Rules"]
    assert table.row_count == 9
    assert described(ruled(RULES))["cooldown_b"] == (
        "no b within 4 s of the b before it; calls count, failed or not; hard"
    )


def test_arrays_that_do_not_go_together_are_refused():
    params = ruled(RULES).params
    assert params.rules is not None
    broken = dataclasses.replace(params, rules=dataclasses.replace(params.rules, weight=np.ones(2, np.float32)))
    with pytest.raises(UserError, match=r"params.rules.weight: expected real numbers of shape \(3,\) \[R\]"):
        env.reset(jax.random.key(0), broken)


def test_where_it_goes_on_mattering_how_many_steps_are_left_the_table_has_a_column_for_each():
    """Of two rows that must follow each other in pairs, an even number of steps can be filled and no odd one."""
    pairs = [{"template": template, "a": "a", "b": "b"} for template in ("chain_precedence", "chain_response")]
    params = ruled(pairs, "ab", "", 6).params
    assert params.rules is not None and params.rules.structure.columns == 6
    state = env.reset(jax.random.key(0), params)[1]
    assert np.asarray(env.legal(state, params)).tolist() == [True, False]
    names = "chain_precedence_a_b, chain_response_a_b"
    refused(pairs, "ab", "", 7, match=f"{names} cannot be kept together in 7 steps")
    assert ruled(pairs, "abc", "", 7).params.rules.structure.columns == 2
