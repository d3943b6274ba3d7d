"""What a scenario is to a log: a digest of what its numbers depend on, and what differs, in words."""

import dataclasses

import jax
import numpy as np
import orjson
import pytest

from aljax.offline.identity import identity_from, identity_of
from aljax.scenario import load_scenario

from tiny import tiny_scenario

OURS = identity_of(tiny_scenario())


def test_weights_and_the_scenarios_name_do_not_matter():
    other = dataclasses.replace(tiny_scenario("weights.latency=7.5", "weights.violation=0"), name="x", title="y")
    assert identity_of(other).digest == OURS.digest and OURS.differences(identity_of(other)) == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("horizon=4", "horizon 4, here 3"),
        ("tolerance=0.25", "tolerance.error 0.25, here 0.125"),
        ("actions.failure.weak=0.5", "actions.failure.weak 0.5, here 0.25"),
        ("actions.shift.strong={error=-1.0}", "actions.shift.strong.error -1.0, here -1.5"),
        ("latency_budget=9.0", "latency_budget 9.0, here inf"),
        ("actions.ends.weak=true", "actions.ends.weak True, here False"),
        ("misread=0.1", "misread.error 0.1, here 0.0"),
    ],
)
def test_every_number_that_observations_and_costs_depend_on_matters(change, words):
    other = identity_of(tiny_scenario(change))
    assert other.digest != OURS.digest
    assert words in OURS.differences(other)


def test_every_leaf_but_the_weights_is_in_the_digest():
    scenario = load_scenario("service_desk")
    leaves, tree = jax.tree.flatten(scenario.params)
    before, changed = identity_of(scenario).digest, 0
    for k, leaf in enumerate(leaves):
        value = np.asarray(leaf)
        if value.dtype == bool:
            value = ~value
        else:
            value = np.nextafter(value, np.float32(1e9)) if value.dtype == np.float32 else value + 1
        params = jax.tree.unflatten(tree, [*leaves[:k], value, *leaves[k + 1 :]])
        changed += identity_of(dataclasses.replace(scenario, params=params)).digest != before
    assert changed == len(leaves) - 1


def test_names_kinds_and_order_matter_and_many_differences_are_cut():
    turned = dataclasses.replace(OURS, actions=("strong", "weak", "stop"))
    assert turned.digest != OURS.digest
    assert OURS.differences(turned) == "actions strong, weak, stop, here weak, strong, stop"
    service, other = (identity_of(load_scenario("service_desk", x)) for x in ((), ("drift=0.5", "misread=0.25")))
    assert service.differences(other).endswith("; and more")
    assert len(OURS.differences(service)) < 400


def test_what_is_written_is_what_is_read_and_what_is_no_identity_is_none():
    text = orjson.loads(orjson.dumps(OURS.to_json()))
    assert identity_from(text) == OURS and identity_from(text).digest == OURS.digest
    for broken in (
        None, 1, [], {}, text | {"more": 1}, text | {"actions": "abc"}, text | {"kinds": [1]}, text | {"numbers": 3},
        text | {"numbers": {"drift": [[1], [1, 2]]}},
    ):  # fmt: skip
        assert identity_from(broken) is None
    for odd in ({}, {"drift": {"a": 1}}, {"drift": "x", "new": [[]]}, {"horizon": [1, 2], "z_scale": [None]}):
        assert OURS.differences(identity_from(text | {"numbers": odd}))
