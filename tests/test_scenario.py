"""Scenario files: what they may say, what they become, and how a bad one is refused."""

import dataclasses
import math
import re

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aljax
from aljax import UserError, load_scenario, scenario_names
from aljax.env import COMPONENTS, present
from aljax.fields import Same, fields_of
from aljax.reading import KINDS
from aljax.scenario import parse_scenario, shipped_text

from spoil import spoiled
from tiny import TINY


def parse(text, *overrides):
    return parse_scenario(text, name="tiny", where="tiny.toml", overrides=overrides)


def test_three_scenarios_ship():
    assert {"paper", "escalation", "service_desk"} <= set(scenario_names())


def says(table, column, field):
    """Where a column is not at its default. Boolean, of its shape"""
    default = field.default
    usual = getattr(table, default.as_field) if isinstance(default, Same) else field.neutral
    return np.asarray(getattr(table, column)) != np.asarray(usual)


@pytest.mark.parametrize("name", scenario_names())
def test_every_number_of_a_shipped_scenario_says_where_it_comes_from(name):
    scenario = load_scenario(name)
    keys = ["horizon", "start_low", "start_high", "tolerance", *(f"weights.{name}" for name in COMPONENTS)]
    keys += [key for key in ("drift", "misread") if np.any(getattr(scenario.params, key))]
    for key in ("latency_budget", "money_budget", "latency_limit", "money_limit"):
        bound = getattr(scenario.params, key)
        keys += [key] if bound is not None and math.isfinite(bound) else []
    optional = ("start_points", "start_weights", "blind", "tolerance_low")
    keys += [key for key in optional if getattr(scenario.params, key) is not None]
    table = scenario.params.actions
    keys += [f"actions.{action}.{column}" for action in scenario.action_names for column in ("latency", "money")]
    keys += [
        f"actions.{action}.{column}"
        for column, field in fields_of(type(table)).items()
        for i, action in enumerate(scenario.action_names)
        if not field.kinds and getattr(table, column) is not None and np.any(says(table, column, field)[i])
    ]
    keys += [f"rules.{rule}.weight" for rule in scenario.rule_names]
    assert [key for key in keys if not scenario.source_of(key)] == []
    assert scenario.title and scenario.description


def test_service_desk_has_all_five_kinds_a_misread_task_and_rows_whose_failures_stick():
    scenario = load_scenario("service_desk")
    assert set(scenario.kinds) == set(KINDS)
    assert np.any(np.asarray(scenario.params.misread) > 0)
    actions = scenario.params.actions
    assert np.any(np.asarray(actions.after_failed) > 2 * np.asarray(actions.after_ok))


def test_numbers_reach_the_arrays_in_the_order_of_the_file():
    scenario = parse(TINY)
    assert scenario.action_names == ("weak", "strong", "stop")
    assert scenario.kinds == ("tool", "tool", "terminate")
    assert scenario.horizon == 3
    params = scenario.params
    np.testing.assert_array_equal(params.actions.latency, [1, 2, 0.5])
    np.testing.assert_array_equal(params.actions.shift, [[-0.5], [-1.5], [0]])
    np.testing.assert_array_equal(params.actions.gain, np.ones((3, 1)))
    np.testing.assert_allclose(params.actions.after_failed, [0.25, 0.75, 0])  # failure where not said
    np.testing.assert_array_equal(params.actions.ends, [False, False, True])
    np.testing.assert_array_equal(params.weights, [0.5, 1, 2, 1, 0.5])
    assert math.isinf(params.latency_budget)
    np.testing.assert_array_equal(scenario.tools, [True, True, False])


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        ("tool", set()),
        ("reason", set()),
        ("clarify", {"reveals"}),
        ("escalate", {"ends", "resolves"}),
        ("terminate", {"ends"}),
    ],
)
def test_a_kind_says_what_the_flags_default_to(kind, flags):
    actions = parse(TINY, f'actions.kind.weak="{kind}"').params.actions
    assert {flag for flag in ("ends", "resolves", "reveals") if getattr(actions, flag)[0]} == flags
    assert actions.allowed.all()


@pytest.mark.parametrize("given", ["0.5", "[0.5, 0.5]", "{ a = 0.5, b = 0.5 }"])
def test_a_vector_is_a_number_a_list_or_a_table(given):
    text = TINY.replace('["error"]', '["a", "b"]').replace("drift = 0.25", f"drift = {given}")
    np.testing.assert_array_equal(parse(text).params.drift, [0.5, 0.5])


def test_coordinates_left_out_of_a_table_take_the_neutral_value():
    text = TINY.replace('["error"]', '["a", "b"]').replace("shift = -0.5", "shift = { b = -0.5 }\ngain = { a = 0.5 }")
    actions = parse(text).params.actions
    np.testing.assert_array_equal(actions.shift[0], [0, -0.5])
    np.testing.assert_array_equal(actions.gain[0], [0.5, 1])


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("actions.failure.weak=0.5", lambda s: s.params.actions.failure[0] == 0.5),
        ("actions.weak.failure=0.5", lambda s: s.params.actions.failure[0] == 0.5),
        ("actions.failure.weak=0.5", lambda s: s.params.actions.after_failed[0] == 0.5),
        ("actions.shift.weak.error=-2", lambda s: s.params.actions.shift[0, 0] == -2),
        ("actions.allowed.stop=false", lambda s: not s.params.actions.allowed[2]),
        ("drift=1.5", lambda s: s.params.drift[0] == 1.5),
        ("drift.error=1.5", lambda s: s.params.drift[0] == 1.5),
        ("weights.latency=7", lambda s: s.params.weights[0] == 7),
        ("horizon=9", lambda s: s.horizon == 9),
        ("latency_budget=20", lambda s: s.params.latency_budget == 20),
        ("money_budget=inf", lambda s: math.isinf(s.params.money_budget)),
    ],
)
def test_an_override_changes_one_number(override, value):
    assert value(parse(TINY, override))
    assert parse(TINY, override).overrides == (override,)


BAD = [
    ("horizon = 3", "horizon = ", "not valid TOML"),
    ("horizon = 3", "horizon = 0", "horizon: expected a whole number"),
    ("horizon = 3", "horizon = 2.5", "horizon: expected a whole number"),
    ("horizon = 3", "horizont = 3", "horizont: unknown key (did you mean horizon?)"),
    ("drift = 0.25", "drift = [0.25, 0.5]", "drift: expected 1 numbers, one a coordinate, got 2"),
    ("drift = 0.25", "drift = nan", "drift.error: expected a finite number, got nan"),
    ("drift = 0.25", "drift = 1e300", "drift.error: must lie within ±1e+09, got 1e+300"),
    ("drift = 0.25", 'drift = "much"', "drift.error: expected a number, got 'much'"),
    ("drift = 0.25", "drift = { eror = 1 }", "drift.eror: unknown key (did you mean error?)"),
    ("start_low = 2.0", "start_low = 3.0", "start_low.error: 3 is above start_high's 2"),
    ("start_low = 2.0", "", "start_low: missing"),
    ("tolerance = 0.125", "tolerance = -1", "tolerance.error: must not be negative"),
    ("tolerance = 0.125", "tolerance = 1\nlatency_budget = 0", "latency_budget: must be above 0"),
    ("tolerance = 0.125", "tolerance = 1\nz_scale = 0", "z_scale.error: must be above 0"),
    ("latency = 0.5\nmoney = 1.0", "money = 1.0", "weights: no entry for latency"),
    ("failure = 1.0", "failure = -1.0", "weights.failure: must not be negative"),
    ("failure = 0.25", "failure = 1.2", "actions.weak.failure: a probability must lie in [0, 1], got 1.2"),
    ("failure = 0.25", "failure = true", "actions.weak.failure: expected a number"),
    ("money = 0.25", "money = -0.25", "actions.weak.money: must not be negative"),
    ("money = 0.25", "", "actions.weak.money: missing"),
    ("shift = -0.5", "shift = -0.5\nshfit = 1", "actions.weak.shfit: unknown key (did you mean shift?)"),
    ("shift = -0.5", 'shift = -0.5\nkind = "tol"', "actions.weak.kind: expected one of"),
    ("shift = -0.5", "resolves = true", "actions.weak.resolves: a row that resolves"),
    ("shift = -0.5", "allowed = 1", "actions.weak.allowed: expected true or false"),
    ("[actions.weak]", "[actions.latency]", "actions.latency: an action's name may not be a column's"),
    ('["error"]', '["error", "error"]', "coordinates: expected a list of different names"),
    ('["error"]', "[]", "coordinates: expected a list"),
    ("after_failed = 0.75", "retry_failure = 0.75", "actions.strong.retry_failure: is gone: write after_failed, the"),
    (
        "after_failed = 0.75",
        "after_failed = 1.5",
        "actions.strong.after_failed: a probability must lie in [0, 1], got 1.5",
    ),
    ("shift = -0.5", "rate_burst = 0.5", "actions.weak.rate_burst: must be at least 1, got 0.5"),
    ("shift = -0.5", "rate_limit = 0", "actions.weak.rate_limit: must be above 0"),
    ("shift = -0.5", "mean_uptime = 0", "actions.weak.mean_uptime: must be above 0"),
    ("shift = -0.5", "mean_downtime = inf", "actions.weak.mean_downtime: expected a finite number, got inf"),
    ("shift = -0.5", "timeout = 0", "actions.weak.timeout: must be above 0"),
    ("shift = -0.5", "latency_spread = nan", "actions.weak.latency_spread: expected a finite number, got nan"),
    (
        "shift = -0.5",
        "max_calls = 1.5",
        "actions.weak.max_calls: expected a whole number from 1 to 100,000, or inf, got 1.5",
    ),
    (
        "shift = -0.5",
        "max_calls = 0",
        "actions.weak.max_calls: expected a whole number from 1 to 100,000, or inf, got 0",
    ),
    ("shift = -0.5", 'requires = ["eror"]', "actions.weak.requires.eror: unknown key (did you mean error?)"),
    ("shift = -0.5", 'covers = "get_*"', "actions.weak.covers: expected a list of names or patterns such as get_*"),
    ("shift = -0.5", "covers = [1]", "actions.weak.covers: expected a list of names or patterns such as get_*"),
    ("shift = -0.5", "requires = 1", "actions.weak.requires.error: expected true or false, got 1"),
    ("drift = 0.25", 'blind = "error"', "blind.error: expected true or false, got 'error'"),
    ("drift = 0.25", "start_points = 3", "start_points: expected a list of points, at least one, got 3"),
    ("drift = 0.25", "start_points = []", "start_points: expected a list of points, at least one, got []"),
    ("drift = 0.25", "start_points = [[1, 2]]", "start_points.0: expected 1 numbers, one a coordinate, got 2"),
    ("drift = 0.25", "start_weights = [1]", "start_weights: there are no start_points to weigh"),
    (
        "drift = 0.25",
        "start_points = [[1]]\nstart_weights = [1, 2]",
        "start_weights: expected 1 numbers, one a point, got 2",
    ),
    (
        "drift = 0.25",
        "start_points = [[1]]\nstart_weights = 1",
        "start_weights: expected 1 numbers, one a point, got 1",
    ),
    ("drift = 0.25", "start_points = [[1]]\nstart_weights = [0]", "start_weights: at least one weight must be above 0"),
    ("drift = 0.25", "start_points = [[1]]\nstart_weights = [-1]", "start_weights.0: must not be negative"),
    ("drift = 0.25", "auto_end = 1", "auto_end: expected true or false, got 1"),
    ("drift = 0.25", "latency_limit = 0", "latency_limit: must be above 0"),
    ("drift = 0.25", "tolerance_low = -1", "tolerance_low.error: must not be negative"),
]


@pytest.mark.parametrize(("right", "wrong", "message"), BAD)
def test_a_bad_file_is_refused_in_one_line_that_names_file_key_and_reason(right, wrong, message, tmp_path):
    assert right in TINY
    path = tmp_path / "mine.toml"
    path.write_text(TINY.replace(right, wrong, 1))
    with pytest.raises(UserError) as caught:
        load_scenario(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


PAIR = TINY.replace('["error"]', '["a", "b"]')


@pytest.mark.parametrize("given", ['["b"]', "[false, true]", "{ b = true }"])
def test_flags_by_coordinate_are_names_a_list_or_a_table(given):
    text = PAIR.replace("drift = 0.25", f"blind = {given}").replace("shift = -0.5", f"requires = {given}")
    params = parse(text).params
    np.testing.assert_array_equal(params.blind, [False, True])
    np.testing.assert_array_equal(params.actions.requires, [[False, True], [False, False], [False, False]])


def test_starting_points_are_vectors_or_tables_and_leave_the_box_at_0():
    boxless = PAIR.replace("start_low = 2.0", "").replace("start_high = 2.0", "")
    params = parse(boxless.replace("drift = 0.25", "start_points = [[1.0, 2.0], { b = 3.0, a = 0.0 }, 4.0]")).params
    np.testing.assert_array_equal(params.start_points, [[1, 2], [0, 3], [4, 4]])
    np.testing.assert_array_equal(params.start_weights, [1, 1, 1])
    np.testing.assert_array_equal([params.start_low, params.start_high], np.zeros((2, 2)))
    params = parse(PAIR.replace("drift = 0.25", "start_points = [1.0, 2.0]\nstart_weights = [0, 3]")).params
    np.testing.assert_array_equal(params.start_weights, [0, 3])
    np.testing.assert_array_equal([params.start_low, params.start_high], np.full((2, 2), 2))


def test_an_action_may_stand_for_calls_of_other_names_and_no_number_changes():
    covering = parse(TINY.replace("[actions.weak]", '[actions.weak]\ncovers = ["get_*", "read"]'))
    assert covering.covers == {"weak": ("get_*", "read")}
    plain = parse(TINY)
    assert plain.covers == {}
    jax.tree.map(np.testing.assert_array_equal, covering.params, plain.params)


def test_a_lower_tolerance_is_the_tolerance_where_a_table_leaves_it_out():
    assert parse(PAIR).params.tolerance_low is None
    params = parse(PAIR.replace("drift = 0.25", "tolerance_low = { b = inf }")).params
    np.testing.assert_array_equal(params.tolerance_low, [0.125, np.inf])


def test_calls_at_most_are_whole_or_without_end_and_leave_a_row_to_play_in_every_step():
    calls = parse(TINY, "actions.max_calls.weak=2").params.actions.max_calls
    np.testing.assert_array_equal(calls, [2, np.inf, np.inf])
    few = ("actions.max_calls.weak=1", "actions.max_calls.strong=1", "actions.max_calls.stop=1")
    assert parse(TINY, *few).horizon == 3
    with pytest.raises(
        UserError, match=r"actions: rows may be called 2 times together \(max_calls\), fewer than 3 steps$"
    ):
        parse(TINY, *few[:2], "actions.allowed.stop=false")


def test_an_optional_field_is_there_where_the_file_gives_it_with_those_that_belong_to_it():
    fields = {"latency_growth", "timeout", "mean_uptime", "rate_limit", "money_limit"}
    params = parse(TINY, "actions.latency_growth.weak=0.5", "actions.timeout.weak=9", "actions.mean_uptime.strong=60",
                   "actions.rate_limit.weak=2", "money_limit=5").params  # fmt: skip
    assert set(present(params)) == {*fields, "mean_downtime", "rate_burst"} | {"after_failed"}
    np.testing.assert_array_equal(params.actions.mean_downtime, [0, 0, 0])
    np.testing.assert_array_equal(params.actions.rate_burst, [1, 1, 1])
    np.testing.assert_array_equal(params.actions.timeout, [9, np.inf, np.inf])
    assert present(parse(TINY.replace("after_failed = 0.75", "")).params) == ()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("actions.retry_failure.weak=0.3", "retry_failure is gone: write after_failed"),
        ("actions.failure.serch=0.3", "no action 'serch'"),
        ("actions.failur.weak=0.3", "expected actions.COLUMN.ACTION"),
        ("actions.failure.weak=1.2", "a probability must lie in [0, 1]"),
        ("actions.failure.weak", "expected key=value"),
        ("actions.failure.weak=lots", "is not a TOML value"),
        ("horizont=3", "unknown key 'horizont'"),
        ("title='x'", "unknown key"),
        ("drift.nothing=1", "drift has no entry 'nothing'"),
        ("weights=3", "expected a table"),
        ("actions.failure.weak.error=3", "actions.weak.failure"),
    ],
)
def test_a_bad_override_is_refused_in_one_line_that_names_it(override, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        parse(TINY, override)
    assert override in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(UserError, match=r"unknown scenario 'papr' \(did you mean paper\?\).*service_desk"):
        load_scenario("papr")


def test_a_folder_or_a_binary_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected a regular file"):
        load_scenario(tmp_path)
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        load_scenario(tmp_path / "bad.toml")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_is_spoiled_in_a_scenario_is_read_or_refused_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "mine.toml"
    name = data.draw(st.sampled_from(["paper", "service_desk"]))
    path.write_bytes(data.draw(spoiled(shipped_text(name))))
    try:
        scenario = load_scenario(path)
    except UserError as refused:
        assert str(refused).isprintable() and len(str(refused)) < 600, refused
    else:
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(dataclasses.replace(scenario.params, **UNLIMITED))]
        assert all(np.isfinite(leaf).all() for leaf in leaves)
        assert all(name.isprintable() for name in (*scenario.action_names, *scenario.coordinate_names))


UNLIMITED = {"latency_budget": np.float32(0), "money_budget": np.float32(0)}
"""Budgets may be infinite."""


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_is_spoiled_in_an_override_is_taken_or_refused_in_one_line(data):
    good = ["actions.failure.weak=0.5", "drift.error=1.5", "weights={ latency = 1 }", "horizon=9", "money_budget=inf"]
    overrides = [data.draw(spoiled(data.draw(st.sampled_from(good)))).decode(errors="surrogateescape") for _ in "ab"]
    try:
        parse(TINY, *overrides)
    except UserError as refused:
        assert str(refused).isprintable() and len(str(refused)) < 600, refused


def test_the_package_offers_what_the_interface_names():
    scenario = aljax.load_scenario("paper")
    assert len(scenario.action_names) == scenario.params.actions.latency.shape[0]
    assert len(scenario.coordinate_names) == scenario.params.drift.shape[0]
