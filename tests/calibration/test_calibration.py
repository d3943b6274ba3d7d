"""A scenario is fitted to a log, and says of every number where it comes from."""

import numpy as np
import pytest

from aljax import calibration
from aljax.errors import UserError
from aljax.options import CalibrationSettings
from aljax.scenario import load_scenario

from agents import desk, episode, turn


@pytest.fixture(scope="module")
def fitted():
    return calibration.fit(desk(1, 60), weights={"latency": 0.5})


def test_the_scenario_has_a_row_a_tool_and_one_to_stop(fitted):
    assert fitted.rows == fitted.scenario.action_names == ("look", "update", "terminate")
    assert fitted.scenario.kinds == ("tool", "tool", "terminate")
    assert fitted.scenario.coordinate_names == ("look", "update", "unexplained")


def test_a_successful_call_takes_one_off_its_own_coordinate_and_the_agent_decides_when_it_is_done(fitted):
    params = fitted.scenario.params
    np.testing.assert_array_equal(params.actions.shift, [[-1, 0, 0], [0, -1, 0], [0, 0, 0]])
    assert np.isinf(params.tolerance_low).all() and params.blind.all() and not params.auto_end


def test_every_number_has_its_source(fitted, tmp_path):
    scenario = fitted.scenario
    assert "shrunk" in scenario.source_of("actions.look.failure")
    assert scenario.source_of("weights.latency") == "declared"
    assert scenario.source_of("weights.money").startswith("assumed")
    assert all(scenario.source_of(f"actions.{row}.{column}") for row in fitted.rows for column in ("latency", "money"))
    (tmp_path / "mine.toml").write_text(fitted.text)
    assert load_scenario(tmp_path / "mine.toml").action_names == fitted.rows


def test_intervals_are_those_of_the_estimates(fitted):
    """But for numbers that are known, and ends that no draw could reach."""
    doubts = {doubt.key: doubt for doubt in fitted.scenario.doubts}
    assert {"failure", "after_failed", "latency"} <= {key.rpartition(".")[2] for key in doubts}
    for key, doubt in doubts.items():
        _, row, column = key.split(".")
        estimate = fitted.columns[column][row]
        assert doubt.value == pytest.approx(estimate.value, rel=1e-5)
        assert doubt.low == pytest.approx(min(estimate.low, estimate.value), rel=1e-5)
        assert doubt.high == pytest.approx(max(estimate.high, estimate.value), rel=1e-5)
    assert "actions.terminate.failure" not in doubts  # it cannot fail


def test_numbers_are_near_the_truth(fitted):
    look = {name: column["look"] for name, column in fitted.columns.items()}
    assert look["failure"].low < 0.2 < look["failure"].high
    assert look["after_failed"].low < 0.5 < look["after_failed"].high
    assert look["latency"].value == pytest.approx(1 + np.exp(0.125), rel=0.15)
    assert look["money"].value == pytest.approx(0.01)
    assert look["after_ok"].value < 0.05


def test_what_a_log_does_not_say_is_told_and_assumed():
    bare = [episode(str(n), [{"ok": None}, {"ok": None, "name": "update"}]) for n in range(3)]
    found = calibration.fit(bare, CalibrationSettings(least=1))
    assert found.failing is None and found.columns["failure"]["look"].value == 0
    said = " ".join(found.warnings)
    for words in ("does not say whether tools' calls worked", "no seconds", "no dollars", "whether it succeeded"):
        assert words in said
    assert found.columns["latency"]["look"].value == 1 and "assumed" in found.columns["latency"]["look"].source


def test_seconds_of_whole_runs_stand_for_those_of_calls_that_have_none():
    found = calibration.fit([episode("a", [{}, {}], duration_s=6.0)], CalibrationSettings(least=1))
    assert found.columns["latency"]["look"].value == pytest.approx(2.0)


def test_tools_that_are_hardly_called_are_one_row():
    steps = [*[{}] * 5, {"name": "rare"}, {"name": "odd"}, turn()]
    found = calibration.fit([episode("a", steps, success=True)], CalibrationSettings(least=2))
    assert found.rows == ("look", "other", "terminate") and found.needs.fewest.tolist() == [[5, 2]]


def test_names_become_what_a_scenario_may_have():
    steps = [{"name": name} for name in ("a.b", "a b", "latency", "terminate", "unexplained")]
    found = calibration.fit([episode("a", steps)], CalibrationSettings(least=1))
    assert sorted(found.rows) == ["a_b", "a_b_2", "latency_2", "terminate", "terminate_2", "unexplained_2"]


def test_a_hand_over_resolves_where_it_is_not_known_to_fail():
    handed = [{}, {"kind": "escalate", "name": "transfer", "ok": True}, turn(2.0)]
    for success, resolves in ((None, True), (True, True), (False, False)):
        end = {} if success is None else {"success": success}
        found = calibration.fit([episode("a", handed, **end)], CalibrationSettings(least=1))
        row = found.rows.index("escalate")
        assert found.rows == ("look", "escalate", "terminate") and found.scenario.covers == {"escalate": ("transfer",)}
        assert bool(found.scenario.params.actions.resolves[row]) is resolves


@pytest.mark.parametrize(
    ("given", "message"),
    [({"speed": 1.0}, "weights: unknown speed"), ({"money": -1.0}, "weights: money: expected a number not below 0")],
)
def test_weights_that_cannot_be_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        calibration.fit(desk(0, 2, 1), weights=given)


def test_a_log_without_steps_or_without_tools_is_refused():
    with pytest.raises(UserError, match="nothing to calibrate: the log has no episode with a step"):
        calibration.fit([episode("a", [])])
    with pytest.raises(UserError, match="nothing to calibrate: no tool is called"):
        calibration.fit([episode("a", [turn(), {"kind": "escalate", "name": "b"}])])
