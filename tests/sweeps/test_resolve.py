"""Points of a sweep, resolved together, are what they are one by one."""

import dataclasses
import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aljax import UserError, limits
from aljax.host import toml
from aljax.scenario import parse_scenario, shipped_text
from aljax.sweeps.resolve import Resolver
from aljax.sweeps.space import Axis, Spec

from tiny import TINY

TEXTS = {
    "tiny": TINY,
    "desk": shipped_text("service_desk"),
    "bent": TINY.replace("shift = -0.5", "shift = -0.5\ngain = 1.5") + "\n[unknown]\n",
    "broken": "actions = [",
    "unsure": TINY + '[intervals]\n"actions.weak.failure" = [0.1, 0.4]\n"drift.error" = [0.1, 0.5]\n',
}
NUMBERS = st.one_of(
    st.floats(0, 1), st.floats(-2, 30), st.integers(-2, 30),
    st.sampled_from([0.0, -0.0, 1e-9, 1e-10, 1e9, 1.1e9, math.inf, -math.inf, math.nan, 2**62, 100_001, 1e-300]),
)  # fmt: skip
ODD = st.sampled_from([True, False, "tool", "escalate", [0.5], [1, 2], {"error": 1.0}, {"nobody": 1.0}, {}, "x"])
ROWS, COORDINATES = ("weak", "strong", "look_up", "clarify", "nobody"), ("error", "request", "nothing")
KEYS = st.one_of(
    st.sampled_from(["horizon", "drift", "start_low", "start_high", "misread", "tolerance", "latency_budget",
                     "z_scale", "latency_scale", "weights", "weights.money", "weights.nothing", "title",
                     "latency_limit", "tolerance_low", "auto_end", "blind"]),
    st.builds("actions.{}.{}".format, st.sampled_from(["latency", "failure", "after_failed", "noise", "gain",
                                                       "allowed", "kind", "nothing", "timeout", "mean_uptime",
                                                       "rate_burst", "max_calls", "requires", "retry_failure"]),
              st.sampled_from(ROWS)),
    st.builds("actions.{}.shift.{}".format, st.sampled_from(ROWS), st.sampled_from(COORDINATES)),
    st.builds("{}.{}".format, st.sampled_from(["drift", "tolerance"]), st.sampled_from(COORDINATES)),
)  # fmt: skip


def spec_of(keys, **changes):
    return Spec(tuple(Axis(key, (0,)) for key in keys), where="my.toml", **changes)


def alone(spec, point):
    """What the changes at a point make of a scenario, each read as ``--set`` reads it; or why nothing."""
    values = dict(spec.fixed) | dict(zip((axis.key for axis in spec.axes), point, strict=True))
    name = values.pop("scenario", spec.scenario)
    texts = [f"{key}={toml.dump(value)}" for key, value in values.items()]
    try:
        return parse_scenario(TEXTS[name], name=name, where=name, overrides=texts)
    except UserError as error:
        return str(error)


def assert_same(found, wanted):
    for field in (
        "overrides",
        "kinds",
        "action_names",
        "coordinate_names",
        "horizon",
        "text",
        "title",
        "sources",
        "doubts",
    ):
        assert getattr(found, field) == getattr(wanted, field)
    one, other = (jax.tree.map(np.asarray, each.params) for each in (found, wanted))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


def test_a_file_that_cannot_be_read_is_told_at_its_point_and_not_before():
    spec = spec_of(["horizon", "actions.max_calls.weak", "scenario"], scenario="tiny", fixed={})
    with pytest.raises(UserError, match=r"^my.toml: at horizon = 1.0.*horizon: expected a whole number"):
        Resolver(spec, TEXTS).jobs([(1.0, 1.0, "tiny"), (1.0, 1.0, "broken")])


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_points_together_are_what_they_are_alone_or_refused_alike(data):
    keys = data.draw(st.lists(KEYS, min_size=1, max_size=3, unique=True))
    # Most are within bounds, so that points beyond the first are read too; some axes have lists, texts or tables.
    kinds = [data.draw(st.sampled_from([st.floats(0.1, 1), st.integers(1, 9), NUMBERS, st.one_of(NUMBERS, ODD)]))
             for _ in keys]  # fmt: skip
    fixed = data.draw(st.sampled_from([{}, {"drift": 0.5}, {"horizon": 7, "latency_budget": 9.0}]))
    fixed = {key: value for key, value in fixed.items() if key not in keys}
    if data.draw(st.booleans()):
        keys, kinds = [*keys, "scenario"], [*kinds, st.sampled_from(list(TEXTS)[: data.draw(st.integers(1, 4))])]
    spec = spec_of(keys, scenario=data.draw(st.sampled_from(["tiny", "desk", "unsure"])), fixed=fixed)
    points = data.draw(st.lists(st.tuples(*kinds), min_size=2, max_size=8))
    wanted = [alone(spec, point) for point in points]
    refused = next((text for text in wanted if isinstance(text, str)), None)
    try:
        jobs = Resolver(spec, TEXTS).jobs(points)
    except UserError as error:
        assert refused is not None and str(error).startswith("my.toml: at ") and str(error).endswith(f": {refused}")
    else:
        assert refused is None
        for job, scenario in zip(jobs, wanted, strict=True):
            assert_same(job.scenario, scenario)


def test_of_several_points_that_cannot_be_the_first_is_told():
    resolver = Resolver(spec_of(["actions.failure.weak"], scenario="tiny"), TEXTS)
    with pytest.raises(UserError) as refused:
        resolver.jobs([(0.5,), (1.5,), (2.5,), (0.25,)])
    assert str(refused.value) == (
        "my.toml: at actions.failure.weak = 1.5: tiny with actions.failure.weak=1.5: "
        "actions.weak.failure: a probability must lie in [0, 1], got 1.5"
    )


def test_what_numbers_come_to_together_is_checked_at_every_point():
    spec = spec_of(["weights.money", "actions.money.weak"], scenario="tiny")
    points = [(1.0, 1.0), (1e9, 1.0), (1.0, 1e9), (1e9, 1e9)]
    with pytest.raises(UserError, match=r"at weights.money = 1000000000.0, .*an episode could cost 3e\+18"):
        Resolver(spec, TEXTS).jobs(points)
    spec = spec_of(["actions.gain.weak", "horizon"], scenario="tiny")
    with pytest.raises(UserError, match=r"at actions.gain.weak = 9.0, horizon = 50: .*could get to 1.14e\+48"):
        Resolver(spec, TEXTS).jobs([(1.0, 50), (9.0, 3), (9.0, 50)])


def test_a_large_table_is_read_a_few_environments_at_a_time(monkeypatch):
    points = [(0.25 + 0.5 * i, 3 + i % 2) for i in range(7)]
    spec = spec_of(["actions.latency.weak", "horizon"], scenario="tiny")
    whole = Resolver(spec, TEXTS).jobs(points)
    monkeypatch.setattr("aljax.scenario._TOGETHER", 6)  # two environments of three rows and one coordinate
    for job, other in zip(whole, Resolver(spec, TEXTS).jobs(points), strict=True):
        assert_same(job.scenario, other.scenario)


def test_options_and_scenarios_that_are_equal_are_made_once():
    spec = dataclasses.replace(spec_of(["entropy", "weights.money"], scenario="tiny"), fixed={"episodes": 90})
    first, second, third = Resolver(spec, TEXTS).jobs([(0.1, 1.0), (0.1, 2.0), (0.2, 1.0)])
    assert first.scenario is third.scenario and first.scenario is not second.scenario
    assert first.config is second.config and first.hyperparameters is second.hyperparameters
    assert third.hyperparameters.entropy == 0.2 and third.config.episodes == 90


def test_what_is_not_changed_is_one_array_in_all_environments():
    spec = spec_of(["weights.money"], scenario="desk")
    first, second = (job.scenario.params for job in Resolver(spec, TEXTS).jobs([(1.0,), (2.0,)]))
    assert first.actions.gain is second.actions.gain and first.drift is second.drift
    assert first.weights.tolist() != second.weights.tolist()


def test_a_size_that_no_memory_holds_is_told_at_its_point():
    spec = spec_of(["horizon"], scenario="tiny")
    spec = dataclasses.replace(spec, protocol=dataclasses.replace(spec.protocol, evaluation_episodes=10**6))
    with pytest.raises(UserError, match=r"at horizon = 90000: evaluation_episodes: the evaluation would have"):
        Resolver(spec, TEXTS).jobs([(3,), (90_000,), (limits.MOST_HORIZON + 1,)])


def test_runs_of_a_sweep_play_at_the_point():
    spec = spec_of(["environments"], scenario="unsure")
    with pytest.raises(UserError, match="environments: the runs of a sweep play in the environment of their numbers"):
        Resolver(spec, TEXTS).jobs([("posterior",)])
