"""Which runs a sweep consists of, and what is refused before any of them starts."""

import datetime
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aljax import UserError
from aljax.sweeps.reader import make_spec, read_spec, restored_spec
from aljax.sweeps.resolve import Resolver
from aljax.sweeps.space import Axis

from spoil import spoiled
from tiny import TINY


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return str(path)


def test_a_grid_is_every_combination_in_the_order_of_the_file():
    spec = make_spec(
        {"axes": {"entropy": [0.1, 0.2], "learning_rate": {"low": 0.01, "high": 1.0, "log": True, "steps": 3}}}
    )
    assert spec.points() == [(0.1, 0.01), (0.1, 0.1), (0.1, 1.0), (0.2, 0.01), (0.2, 0.1), (0.2, 1.0)]
    assert spec.count == 6 and spec.runs == 30


def test_whole_numbers_stay_whole_and_coinciding_grid_steps_are_one():
    spec = make_spec({"axes": {"horizon": {"low": 2, "high": 4, "steps": 9}}})
    assert [point[0] for point in spec.points()] == [2, 3, 4] and spec.count == 3
    assert all(type(point[0]) is int for point in spec.points())


@given(st.floats(0, 1, exclude_max=True), st.floats(1e-3, 1e3), st.floats(1.01, 1e3), st.booleans(), st.booleans())
def test_a_range_gives_values_inside_it_rising_with_the_share(u, low, ratio, log, integer):
    if integer:
        low, high = math.ceil(low), math.ceil(low) + math.ceil(ratio)
    else:
        high = low * ratio
    axis = Axis("x", low=low, high=high, log=log, integer=integer)
    value = axis.at(u)
    assert low <= value <= high
    assert axis.at(0.0) <= value <= axis.at(np.nextafter(1, 0))
    assert type(value) is (int if integer else float)


@pytest.mark.parametrize("log", [False, True])
def test_whole_numbers_of_a_range_are_drawn_about_equally_often_or_in_the_logarithm(log):
    axis = Axis("x", low=1, high=8, log=log, integer=True)
    drawn = np.array([axis.at(u) for u in (np.arange(8000) + 0.5) / 8000])
    edges = np.arange(1, 10) - 0.5
    scale = np.log(edges) if log else edges
    expected = np.diff(scale) / (scale[-1] - scale[0])
    assert np.allclose(np.bincount(drawn, minlength=9)[1:] / 8000, expected, atol=1e-3)


def test_sobol_points_fill_every_axis_evenly_and_differ_with_the_seed():
    raw = {"method": "sobol", "configurations": 64, "axes": {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
           "entropy": {"low": 0.0, "high": 1.0}}}  # fmt: skip
    spec = make_spec(raw)
    points = np.array(spec.points())
    assert spec.points() == make_spec(raw).points() != make_spec(raw | {"seed": 1}).points()
    for shares in (np.log10(points[:, 0]) / 2 + 1.5, points[:, 1]):
        assert (np.bincount((shares * 16).clip(0, 15).astype(int), minlength=16) == 4).all()


def test_random_points_repeat_with_the_seed():
    raw = {"method": "random", "configurations": 5, "axes": {"hidden": [[4], [8]], "trace": {"low": 0, "high": 1}}}
    assert make_spec(raw).points() == make_spec(raw).points() != make_spec(raw | {"seed": 3}).points()


def test_axes_reach_every_kind_of_thing(tiny):
    spec = make_spec(
        {
            "scenario": tiny,
            "set": {"episodes": 90, "weights": {"money": 2.0}},
            "axes": {
                "batch": [30, 45], "hidden": [[4], [4, 4]], "baseline": ["none"], "normalise": [False],
                "entropy": [0.25], "horizon": [4], "weights.latency": [0.75], "actions": {"failure": {"weak": [0.5]}},
                "drift": [{"error": 0.5}],
            },
        }
    )  # fmt: skip
    assert [axis.key for axis in spec.axes if not axis.static] == [
        "entropy",
        "weights.latency",
        "actions.failure.weak",
        "drift",
    ]
    job = Resolver(spec).job(spec.points()[-1])
    assert (job.config.episodes, job.config.batch, job.config.hidden, job.config.baseline) == (90, 45, (4, 4), "none")
    assert job.hyperparameters.entropy == 0.25 and job.scenario.horizon == 4
    assert job.scenario.params.drift.tolist() == [0.5]
    assert np.allclose(job.scenario.params.weights[:2], [0.75, 2.0]) and job.scenario.params.actions.failure[0] == 0.5


def test_equal_scenarios_are_read_once(tiny):
    spec = make_spec({"scenario": tiny, "axes": {"entropy": [0.1, 0.2]}})
    resolver = Resolver(spec)
    assert resolver.job((0.1,)).scenario is resolver.job((0.2,)).scenario


def test_a_fingerprint_gives_the_sweep_back_without_the_scenario_s_file(tiny):
    spec = make_spec(
        {"scenario": tiny, "axes": {"hidden": [[4], [8]], "weights.latency": {"low": 0, "high": 1, "steps": 2}}}
    )
    found = spec.fingerprint()
    again = restored_spec(found, "there")
    assert again.points() == spec.points() and again.fingerprint(found["scenarios"]) == found


@pytest.mark.parametrize(
    "changed",
    [
        {"set": True}, {"set": {"batch": "60"}}, {"protocol": 5}, {"protocol": {"seeds": 2.0}}, {"axes": 1},
        {"axes": [{"key": "entropy", "choices": ["much"]}]}, {"axes": [{"key": "entropy", "low": 0.5, "high": 0.1}]},
        {"method": "guess"}, {"scenario": 1}, {"configurations": 0.5}, {"configurations": 10**7}, {"optimum": 1},
    ],
)  # fmt: skip
def test_what_is_no_sweeps_fingerprint_is_refused(changed):
    found = make_spec({"axes": {"entropy": [0.1, 0.2]}}).fingerprint()
    assert restored_spec(found, "there").axes == (Axis("entropy", (0.1, 0.2)),)
    with pytest.raises((KeyError, TypeError, ValueError)):
        restored_spec(found | changed, "there")


AXIS = {"axes": {"entropy": [0.1]}}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "axes: at least one axis is needed"),
        ({"axes": {"learnin_rate": [1]}}, "axes.learnin_rate: unknown axis (did you mean learning_rate?)"),
        ({"axes": {"weights.latncy": [1.0]}}, "weights.latncy"),
        ({"axes": {"actions.failure.guess": [0.5]}}, "no action 'guess'"),
        ({"axes": {"entropy": []}}, "axes.entropy: expected a list of at least one value"),
        ({"axes": {"entropy": {"low": 2, "high": 1, "steps": 3}}}, "axes.entropy: an empty range"),
        ({"axes": {"entropy": {"low": 1, "high": 1, "steps": 3}}}, "axes.entropy: an empty range"),
        ({"axes": {"entropy": {"low": 0, "high": 1, "log": True, "steps": 3}}}, "starts above 0"),
        ({"axes": {"entropy": {"low": 0, "high": 1}}}, "axes.entropy: a grid needs steps"),
        ({"axes": {"entropy": {"low": 0, "high": 1, "steps": 1}}}, "axes.entropy.steps"),
        ({"axes": {"entropy": {"low": 0, "hi": 1}}}, "axes.entropy.hi: unknown key"),
        ({"axes": {"entropy": {"high": 1}}}, "axes.entropy.low: missing"),
        ({"axes": {"entropy": ["much"]}}, "axes.entropy: expected a number, got 'much'"),
        ({"axes": {"entropy": [-1.0]}}, "entropy: expected a number not below 0"),
        ({"axes": {"entropy": [0.1, 0.1]}}, "axes.entropy: a value stands twice"),
        ({"axes": {"batch": [30.5]}}, "axes.batch: expected a whole number, got 30.5"),
        ({"axes": {"batch": {"low": 10.5, "high": 20, "steps": 2}}}, "axes.batch.low: expected a whole number"),
        ({"axes": {"hidden": [64]}}, "axes.hidden: expected lists of units"),
        ({"axes": {"hidden": {"low": 1, "high": 2, "steps": 2}}}, "axes.hidden: is no number"),
        ({"axes": {"baseline": ["best"]}}, "axes.baseline: expected one of none, running"),
        ({"axes": {"normalise": [1]}}, "axes.normalise: expected true or false"),
        ({"axes": {"horizon": [0]}}, "horizon: expected a whole number"),
        ({"axes": {"scenario": ["papr"]}}, "unknown scenario 'papr'"),
        ({"axes": {"scenario": [3]}}, "axes.scenario: expected names"),
        ({"axes": {"actions.failure.weak": {"low": 0, "high": 2, "steps": 3}}}, "probability must lie in [0, 1]"),
        ({"axes": {f: {"low": 0.0, "high": 1.0, "steps": 1000} for f in ("entropy", "trace", "learning_rate")}},
         "1,000,000,000 configurations × 5 seeds = 5,000,000,000 runs; at most 1,000,000"),
        ({"method": "random", "configurations": 10**9, **AXIS}, "at most 1,000,000 make one sweep"),
        ({"method": "random", **AXIS}, "configurations: missing"),
        ({"method": "random", "configurations": 0, **AXIS}, "configurations: expected a whole number of at least 1"),
        ({"configurations": 5, **AXIS}, "configurations: a grid has its own number"),
        ({"method": "best", **AXIS}, "method: expected one of grid, random, sobol"),
        ({"seeds": 2.5, **AXIS}, "seeds: expected a whole number"),
        ({"seeds": 0, **AXIS}, "seeds: expected a whole number of at least 1"),
        ({"sedes": 2, **AXIS}, "sedes: unknown key (did you mean seeds?)"),
        ({"set": {"entropy": 0.5}, **AXIS}, "set.entropy: is an axis as well"),
        ({"set": {"batch": 1.5}, **AXIS}, "set.batch: expected a whole number"),
        ({"set": {"bach": 1}, **AXIS}, "set.bach: unknown key (did you mean batch?)"),
        ({"optimum": "yes", **AXIS}, "optimum: expected true or false"),
        ({"axes": 3}, "axes: expected a table"),
        # Everything is counted before anything is made.
        ({"seeds": 0, "axes": {"learning_rate": {"low": 0.1, "high": 0.5, "steps": 10**10}}}, "at least 1, got 0"),
        ({"axes": {"learning_rate": {"low": 0.1, "high": 0.5, "steps": 10**10}}}, "rate.steps: expected a whole"),
        ({"axes": {"entropy": {"low": 0, "high": 1, "steps": 10**400}}}, "entropy.steps: expected a whole"),
        ({"axes": {f"actions.{i}": {"low": 0, "high": 1, "steps": 10**6} for i in range(90)}}, "more than 10^540 conf"),
        ({"axes": {f"actions.{i}": [1] for i in range(101)}}, "axes: 101 axes, expected at most 100"),
        ({"seeds": 10**400, **AXIS}, "seeds: expected a whole number of at most 1,000,000, got a whole"),
        ({"method": "random", "configurations": 10**400, **AXIS}, "more than 10^400 configurations × 5 seeds"),
        ({"seed": True, **AXIS}, "seed: expected a whole number, got True"),
        ({"evaluation_episodes": 2**40, **AXIS}, "evaluation_episodes: expected a whole number of at most"),
        ({"evaluation_episodes": 10**8, **AXIS}, "the evaluation would have 5 seeds × 100,000,000 episodes × 3 steps"),
        # Numbers that no array holds, wherever they stand.
        ({"axes": {"learning_rate": {"low": 0, "high": 10**400, "steps": 2}}}, "learning_rate.high: expected a num"),
        ({"axes": {"learning_rate": [10**400]}}, "axes.learning_rate: expected a number that single precision holds"),
        ({"axes": {"drift": {"low": 0, "high": 1e39, "steps": 2}}}, "axes.drift.high: must lie within ±1e+09"),
        ({"axes": {"drift": {"low": 0, "high": 10**400, "steps": 2}}}, "axes.drift.high: must lie within ±1e+09"),
        ({"axes": {"horizon": {"low": 1, "high": 10**400, "steps": 2}}}, "axes.horizon.high: must lie within ±1e+09"),
        ({"axes": {"drift": [10**400]}}, "axes.drift: expected a number, text"),
        ({"axes": {"drift": [math.nan]}}, "axes.drift: expected a finite number, got nan"),
        ({"axes": {"drift": {"low": math.nan, "high": 1, "steps": 2}}}, "axes.drift.low: expected a number, got nan"),
        ({"axes": {"drift": [0.1, math.nan]}}, "axes.drift: expected a finite number, got nan"),
        ({"axes": {"drift": [datetime.date(1979, 5, 27)]}}, "axes.drift: expected a number, text, true or false"),
        ({"axes": {"hidden": [[10**12]]}}, "axes.hidden: at most 1,000,000 units a layer"),
        ({"axes": {"hidden": [[10**6, 10**6]]}}, "hidden: training would have 5 seeds"),
        ({"axes": {"hidden": [[1] * 33]}}, "axes.hidden: at most 32 layers, got 33"),
        ({"axes": {"episodes": [10**12]}}, "axes.episodes: expected a whole number of at most 1,000,000,000"),
        ({"set": {"batch": 10**400}, **AXIS}, "set.batch: expected a whole number of at most"),
        ({"axes": {"actions": {"failure": {"weak": {"x": {"y": [0.5]}}}}}}, "actions.weak.failure"),
        ({"scenario": "\0"}, "axes: at least one axis"),
        ({"scenario": "\0", **AXIS}, "unknown scenario"),
        ({"axes": {"scenario": ["a" * 5_000]}}, "unknown scenario"),
        ({"method": [1] * 10**5, **AXIS}, "method: expected one of"),
        ({"x" * 10**6: 1}, "unknown key"),
    ],
)  # fmt: skip
def test_a_bad_sweep_is_refused_in_one_line(tiny, raw, message):
    with pytest.raises(UserError) as refused:
        spec = make_spec({"scenario": tiny} | raw, "my.toml")
        for point in spec.points():  # what only shows at some points
            Resolver(spec).job(point)
    assert str(refused.value).startswith("my.toml: ") and message in str(refused.value)
    assert str(refused.value).isprintable() and len(str(refused.value)) < 600


@pytest.mark.parametrize(("text", "message"), [("axes = [", "not valid TOML"), (None, "cannot be read")])
def test_a_file_that_cannot_be_read_is_named(tmp_path, text, message):
    path = tmp_path / "my.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message) as refused:
        read_spec(path)
    assert str(path) in str(refused.value)


def test_options_go_in_place_of_the_file_s_values(tmp_path, tiny):
    path = tmp_path / "my.toml"
    path.write_text(
        f'scenario = "{tiny}"\nseeds = 7\n[set]\nbatch = 20\nepisodes = 50\n[axes]\nweights.latency = [1.0]\n'
    )
    spec = read_spec(path, {"seeds": 2, "set": {"episodes": 80}})
    assert spec.protocol.seeds == 2 and spec.fixed == {"batch": 20, "episodes": 80}
    assert spec.axes[0].key == "weights.latency"


SWEEP = """
scenario = "TINY"
seeds = 3
method = "sobol"
configurations = 8

[set]
episodes = 60
hidden = [4, 4]
weights.money = 2.0

[axes]
learning_rate = { low = 0.001, high = 0.1, log = true }
baseline = ["none", "critic"]
horizon = { low = 2, high = 9 }
normalise = { choice = [true, false] }
"actions.failure.weak" = [0.0, 0.5]
"""


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_is_spoiled_in_a_sweep_is_read_or_refused_in_one_line(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    (folder / "tiny.toml").write_text(TINY)
    path = folder / "sweep.toml"
    path.write_bytes(data.draw(spoiled(SWEEP.replace("TINY", f"{folder}/tiny.toml"))))
    try:
        spec = read_spec(path)
        points = spec.points() if spec.runs < 1_000 else []
        jobs = [Resolver(spec).job(point) for point in points[:: max(1, len(points) - 1)]]
    except UserError as refused:
        assert str(refused).isprintable() and len(str(refused)) < 900, refused
    else:
        assert 1 <= spec.runs <= 1_000_000 and all(job.scenario.horizon >= 1 for job in jobs)
