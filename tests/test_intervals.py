"""Intervals of a scenario's numbers: what a file may say, what follows from it, and who is refused."""

import numpy as np
import pytest

from aljax import UserError
from aljax.intervals import FARTHEST, Place, Z
from aljax.scenario import Source, parse_scenario
from aljax.scenario_tables import interval_table, scenario_tables

from tiny import TINY, tiny_scenario

UNSURE = """
[intervals]
"actions.weak.failure" = [0.1, 0.4]
"actions.strong.shift.error" = [-2.0, -1.0]
actions.strong.latency = [1.0, 3.0]
"""


def parse(text, *overrides):
    return parse_scenario(text, name="tiny", where="tiny.toml", overrides=overrides)


def unsure_scenario(*overrides):
    return parse(TINY + UNSURE, *overrides)


def test_intervals_change_nothing_but_what_is_known_of_the_numbers():
    plain, unsure = tiny_scenario(), unsure_scenario()
    for name in ("drift", "weights", "latency_scale"):
        np.testing.assert_array_equal(getattr(plain.params, name), getattr(unsure.params, name))
    assert type(plain.params) is type(unsure.params) and plain.doubts == ()
    assert [doubt.key for doubt in unsure.doubts] == [
        "actions.weak.failure", "actions.strong.shift.error", "actions.strong.latency",
    ]  # fmt: skip
    assert [doubt.law for doubt in unsure.doubts] == ["logit", "plain", "log"]
    assert unsure.doubts[0].value == 0.25


def test_the_ends_are_1_96_standard_deviations_from_the_number_on_either_side():
    middle, below, above = unsure_scenario().doubts[0].normal
    for x, normal in ((0.1, middle - Z * below), (0.25, middle), (0.4, middle + Z * above)):
        assert np.isclose(1 / (1 + np.exp(-normal)), x)
    low, high = unsure_scenario().doubts[2].ends
    assert np.isclose(low, 2 * 0.5 ** (FARTHEST / Z)) and np.isclose(high, 2 * 1.5 ** (FARTHEST / Z))


def test_what_a_file_leaves_out_follows_its_default():
    """weak has no after_failed of its own, so it fails after a failure as it fails at first; strong has one."""
    both = [doubt.places for doubt in parse(TINY + '[intervals]\n"actions.weak.failure" = [0.2, 0.3]').doubts]
    assert both == [(Place("failure", "weak"), Place("after_failed", "weak"))]
    text = TINY + '[intervals]\n"actions.strong.failure" = [0.4, 0.6]'
    assert parse(text).doubts[0].places == (Place("failure", "strong"),)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ("actions.weak.failure=0.9", ["strong.shift.error", "strong.latency"]),
        ("actions.failure.weak=0.9", ["strong.shift.error", "strong.latency"]),
        ("actions.strong.shift=-4.0", ["weak.failure", "strong.latency"]),
        ("actions.strong.shift.error=-4.0", ["weak.failure", "strong.latency"]),
        ("actions.strong.failure=0.9", ["weak.failure", "strong.shift.error", "strong.latency"]),
    ],
)
def test_who_sets_a_number_knows_it(change, left):
    assert [doubt.key for doubt in unsure_scenario(change).doubts] == [f"actions.{key}" for key in left]


def test_sweeps_over_a_number_know_it():
    found = Source("tiny", "tiny.toml", TINY + UNSURE).scenarios(["actions.failure.weak"], [[0.3], [0.9]])
    assert [len(scenario.doubts) for scenario in found if scenario] == [2, 2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense = [1, 2]", "'nonsense' is no number of the environment"),
        ('"actions.wek.failure" = [0.1, 0.4]', "no action 'wek': expected one of weak, strong, stop"),
        ('"actions.weak" = [0.1, 0.4]', "expected one number of an action, such as actions.search.failure"),
        ('"actions.weak.speed" = [0.1, 0.4]', "'speed' is no number of an action"),
        ('"actions.weak.failure" = [0.4, 0.1]', "low, 0.4, is above high, 0.1"),
        ('"actions.weak.failure" = [nan, 0.4]', "low, nan, is above high, 0.4"),
        ('"actions.weak.failure" = [0.3, 0.5]', r"the number itself, 0.25, lies outside \[0.3, 0.5\]"),
        ('"actions.weak.failure" = [0.0, 0.5]', "low must be above 0, for failure is drawn on a scale of ratios"),
        ('"actions.weak.failure" = [0.1, 1.0]', "high must be below 1, for failure is drawn on a scale of odds"),
        ('"actions.weak.failure" = [0.1, 1.5]', r"expected numbers within \[0, 1\], as failure takes"),
        ('"actions.weak.failure" = 0.1', r"expected \[low, high\], two numbers, got 0.1"),
        ('"actions.weak.failure" = [0.1, true]', r"expected \[low, high\], two numbers"),
        ('"actions.weak.failure.x" = [0.1, 0.4]', "failure is one number, and has no entry 'x'"),
        ('"actions.weak.timeout" = [1.0, 2.0]', "the file gives no timeout"),
        ('"actions.weak.after_failed" = [0.1, 0.4]', "the file leaves this number out"),
        ('"actions.weak.ends" = [0.1, 0.4]', "ends is known: no weight, scale, start, flag or whole number"),
        ('"weights.latency" = [0.1, 0.4]', "weights is known"),
        ("horizon = [1, 4]", "horizon is known"),
        ("drift = [0.0, 1.0]", "expected one coordinate, of error"),
        ('"drift.error" = [0.0, 1e10]', r"expected numbers within \[-1e\+09, 1e\+09\], as drift takes"),
        ('"actions.weak.latency" = [1e-9, 1e9]', "what could be drawn: an episode could cost"),
        ('"actions.weak.failure" = [0.1, 0.4]\nactions.failure.weak = [0.1, 0.4]', "stands there twice"),
    ],
)
def test_intervals_that_cannot_be_are_refused_in_one_line(line, message):
    text = TINY.replace("latency = 0.5\n", "latency = 1e6\n", 1) if "1e-9" in line else TINY
    with pytest.raises(UserError, match=message) as caught:
        parse(f"{text}\n[intervals]\n{line}\n")
    assert str(caught.value).startswith("tiny.toml: intervals") and "\n" not in str(caught.value)


def test_a_table_shows_them():
    titles = [str(table.title) for table in scenario_tables(unsure_scenario())]
    assert "What is not known for certain: 95 % intervals" in titles
    assert not any("certain" in str(table.title) for table in scenario_tables(tiny_scenario()))
    table = interval_table(unsure_scenario())
    assert [next(iter(column.cells)) for column in table.columns] == ["actions.weak.failure", "0.25", "0.1", "0.4"]


def test_no_table_is_refused():
    with pytest.raises(UserError, match="intervals: expected a table, got 3"):
        parse("intervals = 3\n" + TINY)
